//! An entry of a list.

use std::collections::BTreeMap;

use super::DlqId;

/// What of a failed call's response body is read, in bytes.
pub const MAX_RESPONSE_BODY_BYTES: usize = 16 * 1024;

/// An entry as a list shows it: what tells whether a selection means it. A field that is missing or of another type is
/// `None`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListedEntry {
    /// `dlqId`
    pub id: DlqId,
    /// `workflowUrl`
    pub workflow_url: Option<String>,
    /// `workflowRunId`
    pub workflow_run_id: Option<String>,
    /// `workflowCreatedAt`, Unix milliseconds
    pub workflow_created_at: Option<i64>,
    /// `labels`, or the one in `label` where there are none
    pub labels: Option<Vec<String>>,
    /// `failureFunctionState`
    pub failure_function_state: Option<String>,
    /// `callerIP`
    pub caller_ip: Option<String>,
    /// `flowControlKey`
    pub flow_control_key: Option<String>,
    /// `responseStatus`, what the call that failed was answered with
    pub response_status: Option<u16>,
    /// `responseHeader`: names in lower case, each with its values. Empty where the list is read in `Detail::Brief`.
    pub response_headers: BTreeMap<String, Vec<String>>,
    /// `responseBody`, at most its first [`MAX_RESPONSE_BODY_BYTES`] and whole characters; `None` likewise.
    pub response_body: Option<String>,
}

impl ListedEntry {
    /// Of which nothing but the ID is known.
    pub fn bare(id: DlqId) -> Self {
        Self {
            id,
            workflow_url: None,
            workflow_run_id: None,
            workflow_created_at: None,
            labels: None,
            failure_function_state: None,
            caller_ip: None,
            flow_control_key: None,
            response_status: None,
            response_headers: BTreeMap::new(),
            response_body: None,
        }
    }

    /// When the workflow run failed, in Unix milliseconds. An ID is this time and a sequence, with a `-` between them.
    pub fn failed_at(&self) -> Option<i64> {
        let (time, sequence) = self.id.0.split_once('-')?;
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // 13 digits until the year 2286; a shorter number is something else.
        (time.len() == 13 && is_number(time) && is_number(sequence)).then(|| time.parse().ok()).flatten()
    }
}
