//! `spec`: what a policy declares.
#![expect(
    clippy::duplicated_attributes,
    reason = "each column has a type of its own, and some have the same"
)]

use std::fmt;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::backlog::Backlog;
use super::connection::Connection;
use super::filters::Filters;
use super::limits::{FailurePolicy, Limits};
use super::matching::{LoopProtection, Match};
use super::overrides::Overrides;
use super::status::DlqPolicyStatus;
use super::text::{JitterText, ScheduleText, TimeZoneText};

/// What to do with which failed workflow runs of an Upstash Workflow dead letter queue, when, and how carefully.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "dlq-operator.dev",
    version = "v1alpha1",
    kind = "DlqPolicy",
    plural = "dlqpolicies",
    singular = "dlqpolicy",
    shortname = "dlqp",
    category = "upstash",
    namespaced,
    status = "DlqPolicyStatus",
    derive = "PartialEq",
    selectable = ".spec.action",
    selectable = ".spec.suspend",
    selectable = ".status.phase",
    doc = "A DlqPolicy resumes, restarts or deletes failed workflow runs of an Upstash Workflow dead letter queue (DLQ), once or on a schedule, page by page.",
    printcolumn(
        name = "Action",
        type_ = "string",
        json_path = ".spec.action",
        description = "What the policy does with the entries that match"
    ),
    printcolumn(
        name = "Schedule",
        type_ = "string",
        json_path = ".spec.schedule",
        description = "When it runs; empty: once"
    ),
    printcolumn(
        name = "Suspend",
        type_ = "boolean",
        json_path = ".spec.suspend",
        description = "Whether it is suspended"
    ),
    printcolumn(
        name = "Phase",
        type_ = "string",
        json_path = ".status.phase",
        description = "Where the policy stands"
    ),
    printcolumn(
        name = "Result",
        type_ = "string",
        json_path = ".status.lastRun.result",
        description = "How the last run ended"
    ),
    printcolumn(
        name = "Dry Run",
        type_ = "boolean",
        json_path = ".status.lastRun.dryRun",
        description = "Whether the last run only listed and counted"
    ),
    printcolumn(
        name = "Processed",
        type_ = "integer",
        json_path = ".status.processed",
        description = "Entries of the current run, else of the last one"
    ),
    printcolumn(
        name = "Last Run",
        type_ = "date",
        json_path = ".status.lastRun.startTime",
        description = "When the last run that ended had started"
    ),
    printcolumn(
        name = "Next Run",
        type_ = "string",
        json_path = ".status.nextScheduleTime",
        description = "When the next run starts",
        priority = 1
    ),
    printcolumn(
        name = "Total",
        type_ = "integer",
        json_path = ".status.totals.processed",
        description = "Entries of all runs",
        priority = 1
    ),
    printcolumn(
        name = "Skipped",
        type_ = "integer",
        json_path = ".status.skipped",
        description = "Entries that match or loopProtection left alone in the current run, else in the last one",
        priority = 1
    ),
    printcolumn(
        name = "Backlog",
        type_ = "integer",
        json_path = ".status.backlog.entries",
        description = "Entries that matched the filters at the last look between runs",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.message",
        description = "How the policy fares, in one sentence",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.action != 'delete' || !has(self.overrides)")
        .message("overrides must not be set with a delete; remove overrides, or use resume or restart")
        .field_path(".overrides").reason(Reason::FieldValueForbidden),
    validation = Rule::new("has(self.schedule) || !has(self.timeZone)")
        .message("timeZone must come with a schedule; add schedule, or remove timeZone")
        .field_path(".timeZone").reason(Reason::FieldValueForbidden),
    validation = Rule::new("has(self.schedule) || !has(self.jitter)")
        .message("jitter must come with a schedule; add schedule, or remove jitter")
        .field_path(".jitter").reason(Reason::FieldValueForbidden),
    validation = Rule::new("has(self.schedule) || !has(self.startingDeadlineSeconds)")
        .message("startingDeadlineSeconds must come with a schedule; add schedule, or remove startingDeadlineSeconds")
        .field_path(".startingDeadlineSeconds").reason(Reason::FieldValueForbidden),
    validation = Rule::new("has(self.schedule) || !has(self.concurrencyPolicy)")
        .message("concurrencyPolicy must come with a schedule; add schedule, or remove concurrencyPolicy")
        .field_path(".concurrencyPolicy").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.schedule) || !has(self.trigger)")
        .message("trigger must not be set with a schedule; remove trigger, or remove schedule")
        .field_path(".trigger").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.match) || !has(self.filters.dlqIds)")
        .message("match must not be set with filters.dlqIds, as those entries are acted on unseen; remove match, or select by criteria")
        .field_path(".match").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.loopProtection) || !has(self.filters.dlqIds)")
        .message("loopProtection must not be set with filters.dlqIds, as those entries are acted on unseen; remove loopProtection, or select by criteria")
        .field_path(".loopProtection").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.loopProtection) || self.action != 'delete'")
        .message("loopProtection must not be set with a delete, as nothing comes back; remove loopProtection, or use resume or restart")
        .field_path(".loopProtection").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.match) || !has(self.match.attempts) || has(self.loopProtection) || self.action == 'delete'")
        .message("match.attempts must come with loopProtection, which counts them; add loopProtection, or remove match.attempts")
        .field_path(".match.attempts").reason(Reason::FieldValueForbidden),
    validation = Rule::new("self.action != 'delete' || !has(self.match) || !has(self.match.skipNonRetryable) || !self.match.skipNonRetryable")
        .message("skipNonRetryable must not be true with a delete, as such entries are what a delete is for; remove skipNonRetryable")
        .field_path(".match.skipNonRetryable").reason(Reason::FieldValueForbidden),
    validation = Rule::new("self.action == 'delete' || !has(self.match) || !has(self.match.responseStatuses) || !('489' in self.match.responseStatuses) || (has(self.match.skipNonRetryable) && !self.match.skipNonRetryable)")
        .message("skipNonRetryable must be false beside 489 in responseStatuses, as it skips that status; set skipNonRetryable: false, or remove 489")
        .field_path(".match.skipNonRetryable").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.backlog) || !has(self.filters.dlqIds)")
        .message("backlog must not be set with filters.dlqIds, as it counts by criteria; remove backlog, or select by criteria")
        .field_path(".backlog").reason(Reason::FieldValueForbidden),
)]
pub struct DlqPolicySpec {
    /// What to do with each entry that matches. `resume` continues at the step that failed, `restart` begins anew;
    /// both make a new workflow run with an ID of its own and take the entry out of the DLQ. `delete` drops the entry
    /// for good.
    pub action: Action,

    /// Which entries to act on: `all`, `dlqIds`, or at least one criterion. Criteria combine with AND; the values of one
    /// list combine with OR. More than one value in a list needs the newer Upstash API, except for `labels` with
    /// `delete`. All criteria together may take 7,900 bytes in a URL, where a character other than letters, digits, `-`,
    /// `_` and `.` takes three or more: a policy with longer ones is `InvalidSpec`.
    pub filters: Filters,

    /// What the new workflow runs get instead of their original settings, at least one of them; each that is left out
    /// stays as it was. Not with `delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overrides: Option<Overrides>,

    /// Which of the entries that `filters` select to act on, by what Upstash cannot filter. With it a run lists the
    /// entries, decides one by one, and acts on them by their IDs. Not with `filters.dlqIds`.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matching: Option<Match>,

    /// Leaves entries alone that were acted on often enough, so that a workflow run that fails for ever is not resumed for
    /// ever. Every new workflow run gets a label with its number, `dlq-attempt-2`, beside the labels that it would have had
    /// anyway, by which any policy recognizes it when it is back in the DLQ. With it a run lists the entries and acts on
    /// them by their IDs. Not with `delete` or `filters.dlqIds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loop_protection: Option<LoopProtection>,

    /// What starts a run where there is no schedule. `OnChange`: each new combination of action, filters, overrides,
    /// match, loopProtection, connection and dryRun starts one. `Manual`: only the annotation `dlq-operator.dev/requestedAt` does, and neither
    /// creation, an edit, a new token nor a restore from a backup. Default: `OnChange`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<SpecTrigger>,

    /// When to run, as a CronJob's schedule: five fields, a macro such as `@hourly`, or `@every 15m`. Without it
    /// `trigger` decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleText>,

    /// The IANA name of the zone that `schedule` is read in, such as `Europe/Berlin`. Default: UTC, whatever zone the
    /// operator's pod has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<TimeZoneText>,

    /// Delays every scheduled time by up to this long (`30s`), by the same offset every time, made from the
    /// policy's namespace and name, so that many policies with one schedule do not start at once. The offset is
    /// always shorter than the time between two scheduled times. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<JitterText>,

    /// How many seconds late a run may still start; later the scheduled time counts as missed. With 0 all are, as with a
    /// CronJob. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub starting_deadline_seconds: Option<i64>,

    /// What a scheduled time does while the run before is still in progress: `Forbid` lets it pass, `Replace`
    /// cancels that run and starts anew. Default: `Forbid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_policy: Option<ConcurrencyPolicy>,

    /// `true` starts no run and cancels one that is in progress. Scheduled times that pass meanwhile are not caught up.
    #[serde(default)]
    pub suspend: bool,

    /// `true` lists and counts what matches and acts on nothing; a read-only token is enough.
    #[serde(default)]
    pub dry_run: bool,

    /// How much and how fast one run may act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,

    /// What repeated failures lead to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_policy: Option<FailurePolicy>,

    /// Counts the entries that `filters` select between runs, without acting: also while the policy is suspended, paused or
    /// its circuit is open, and with a read-only token. Not with `filters.dlqIds`. Default: no looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<Backlog>,

    /// How many ended runs `status.history` keeps. Default: 10.
    #[serde(default = "default_history_limit")]
    #[schemars(range(min = 0, max = 50))]
    pub history_limit: i32,

    /// Which Upstash account to talk to. Default: the operator's own connection, where this namespace may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
}

fn default_history_limit() -> i32 {
    10
}

/// What to do with an entry.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Continue at the step that failed.
    Resume,
    /// Begin anew.
    Restart,
    /// Drop the entry.
    Delete,
}

impl Action {
    /// The word used in manifests, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resume => "resume",
            Self::Restart => "restart",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What starts a run where there is no schedule. `OnChange`: each new combination of action, filters, overrides,
/// match, loopProtection, connection and dryRun starts one. `Manual`: only the annotation `dlq-operator.dev/requestedAt` does, and neither
/// creation, an edit, a new token nor a restore from a backup. Default: `OnChange`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum SpecTrigger {
    /// Each new combination starts one run.
    #[default]
    OnChange,
    /// Only a request starts a run.
    Manual,
}

/// What a scheduled time does while the run before is still in progress: `Forbid` lets it pass, `Replace` cancels
/// that run and starts anew. Default: `Forbid`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ConcurrencyPolicy {
    /// The scheduled time passes.
    #[default]
    Forbid,
    /// The run is cancelled and a new one starts.
    Replace,
}
