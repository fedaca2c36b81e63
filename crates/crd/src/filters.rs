//! `spec.filters`: which entries of the dead letter queue a policy acts on.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{
    AgeText, CallerIpText, DateTimeText, DlqIdText, FilterText, WorkflowRunIdText, WorkflowUrlText,
};

/// Which entries of the dead letter queue a policy acts on.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.all), has(self.dlqIds), has(self.labels), has(self.workflowUrls), has(self.workflowRunId), has(self.workflowCreatedAt), has(self.failureFunctionStates), has(self.callerIps), has(self.flowControlKeys), has(self.fromDate), has(self.toDate), has(self.newerThan), has(self.olderThan)].exists(x, x)")
        .message("filters must have at least one criterion, dlqIds, or all: true for the whole DLQ"),
    validation = Rule::new("!has(self.all) || ![has(self.dlqIds), has(self.labels), has(self.workflowUrls), has(self.workflowRunId), has(self.workflowCreatedAt), has(self.failureFunctionStates), has(self.callerIps), has(self.flowControlKeys), has(self.fromDate), has(self.toDate), has(self.newerThan), has(self.olderThan)].exists(x, x)")
        .message("all must stand alone; remove all, or every other filter")
        .field_path(".all").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.dlqIds) || ![has(self.labels), has(self.workflowUrls), has(self.workflowRunId), has(self.workflowCreatedAt), has(self.failureFunctionStates), has(self.callerIps), has(self.flowControlKeys), has(self.fromDate), has(self.toDate), has(self.newerThan), has(self.olderThan)].exists(x, x)")
        .message("dlqIds must stand alone, as the API ignores every other filter beside it; remove dlqIds, or every other filter")
        .field_path(".dlqIds").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.newerThan) || !has(self.fromDate)")
        .message("newerThan and fromDate must not be set together; keep one of them")
        .field_path(".newerThan").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.olderThan) || !has(self.toDate)")
        .message("olderThan and toDate must not be set together; keep one of them")
        .field_path(".olderThan").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.fromDate) || !has(self.toDate) || self.fromDate <= self.toDate")
        .message("fromDate must not be after toDate")
        .field_path(".fromDate"),
    validation = Rule::new("!has(self.newerThan) || !has(self.olderThan) || !self.newerThan.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?([0-9]{1,6}ms)?$') || !self.newerThan.matches('[1-9]') || !self.olderThan.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?([0-9]{1,6}ms)?$') || !self.olderThan.matches('[1-9]') || timestamp(int('0' + self.newerThan.find('^[0-9]+d').replace('d', '')) * 86400) + duration('0' + self.newerThan.find('[^d]*$')) > timestamp(int('0' + self.olderThan.find('^[0-9]+d').replace('d', '')) * 86400) + duration('0' + self.olderThan.find('[^d]*$'))")
        .message("newerThan must be longer than olderThan, else no entry can match")
        .field_path(".newerThan"),
)]
pub struct Filters {
    /// `true`, alone: the whole dead letter queue. It must be said aloud, because the API takes "no filter" for
    /// "everything".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self").message("all must be true or left out"))]
    pub all: Option<bool>,

    /// Exact DLQ IDs, at most 1,000, and no other filter: the API ignores every other filter beside them. They are
    /// sent in chunks of 50, or of what the limits and a URL's length allow; IDs that are no longer in the DLQ are counted in the run's `notFound`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1000))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub dlq_ids: Option<Vec<DlqIdText>>,

    /// Entries whose workflow run carries any of these labels. At most 50, each at most 256 characters, without a
    /// comma: the API would split the value there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub labels: Option<Vec<FilterText>>,

    /// Entries of the workflows served at any of these URLs, compared letter for letter. At most 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub workflow_urls: Option<Vec<WorkflowUrlText>>,

    /// The entry of this workflow run, or of all whose ID begins so (`wfr_8f`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_run_id: Option<WorkflowRunIdText>,

    /// Entries whose workflow run was created at this very millisecond (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_created_at: Option<DateTimeText>,

    /// Entries whose failure function is in any of these states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub failure_function_states: Option<Vec<FailureFunctionState>>,

    /// Entries whose workflow run was started from any of these IP addresses. At most 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub caller_ips: Option<Vec<CallerIpText>>,

    /// Entries whose workflow run has any of these flow-control keys. At most 50, written like `labels`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub flow_control_keys: Option<Vec<FilterText>>,

    /// Entries that failed at this time or later (RFC 3339, inclusive, to the millisecond). Not with `newerThan`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_date: Option<DateTimeText>,

    /// Entries that failed at this time or earlier (RFC 3339, inclusive, to the millisecond). Not with `olderThan`.
    /// A run never looks beyond its own start, whatever is given here: entries that fail while it is in progress are left
    /// for the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_date: Option<DateTimeText>,

    /// Entries that failed within this time before the run's start (`7d`, `1h30m`). Not with `fromDate`; longer than
    /// `olderThan`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer_than: Option<AgeText>,

    /// Entries that failed longer ago than this at the run's start (`15m`). Not with `toDate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than: Option<AgeText>,
}

/// How far the failure function of a workflow run came.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum FailureFunctionState {
    /// It is running.
    #[serde(rename = "CALLBACK_INPROGRESS")]
    InProgress,
    /// It ran to its end.
    #[serde(rename = "CALLBACK_SUCCESS")]
    Success,
    /// It failed.
    #[serde(rename = "CALLBACK_FAIL")]
    Fail,
    /// Somebody cancelled it.
    #[serde(rename = "CALLBACK_CANCELED")]
    Canceled,
}

impl FailureFunctionState {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "CALLBACK_INPROGRESS",
            Self::Success => "CALLBACK_SUCCESS",
            Self::Fail => "CALLBACK_FAIL",
            Self::Canceled => "CALLBACK_CANCELED",
        }
    }
}
