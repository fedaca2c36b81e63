//! A run: one execution of a policy, as the status tells it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::conditions::Reason;
use super::limits::Limits;
use super::matching::{Skipped, is_zero};
use super::spec::Action;
use super::summary::EntrySummary;
use super::time::MilliTime;
use super::words::{known, undescribed};

/// One execution of a policy.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRun {
    /// Made from what triggered the run, so that the same trigger always has the same run.
    #[schemars(length(max = 128))]
    pub id: String,

    /// The process that executes the run: `pod/process`. Empty after a clean stop, absent once the run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 320))]
    pub holder: Option<String>,

    /// Counts the writes of the run's state. Each write names the revision that it replaces, so that one that was held up
    /// on its way cannot undo a newer one. Absent once the run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,

    /// What started the run.
    pub trigger: Trigger,

    /// The `metadata.generation` that the run executes.
    #[serde(default)]
    pub generation: i64,

    /// What the run does with each entry.
    pub action: Action,

    /// Whether the run only lists and counts.
    #[serde(default)]
    pub dry_run: bool,

    /// The scheduled time that the run is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_time: Option<MilliTime>,

    /// When the run started.
    pub start_time: MilliTime,

    /// When the run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<MilliTime>,

    /// How the run ended.
    #[serde(default, deserialize_with = "known", skip_serializing_if = "Option::is_none")]
    pub result: Option<RunResult>,

    /// Why the run ended as it did.
    #[serde(default, deserialize_with = "known", skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,

    /// How the run ended, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,

    /// The annotation `requestedBy` of a run by hand: free text, unverified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub requested_by: Option<String>,

    /// The annotation `requestedMode` of a run by hand. Such a dry run continues also while the policy is suspended, paused or
    /// has an open circuit.
    #[serde(default, deserialize_with = "known", skip_serializing_if = "Option::is_none")]
    pub requested_mode: Option<RequestedMode>,

    /// Of a run with `requestedMode`: the hash of what it works on. An edit of that ends it; what is new to the policy stays to
    /// be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub spec_hash: Option<String>,

    /// Of a run with a shared connection: the hash of the connection's URL and token reference. An edit of these ends the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub connection_hash: Option<String>,

    /// The annotation `requestReason` of a run by hand: free text, unverified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub request_reason: Option<String>,

    /// The span of failure times that the run looks at, both ends inclusive, to the millisecond. Frozen when the run
    /// started; absent with `dlqIds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,

    /// The policy's limits when the run started: later edits are for later runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,

    /// The last cursor that the API gave, kept after the end. Absent while there are `windows`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16_384))]
    pub cursor: Option<String>,

    /// With `limits.parallelism`: the parts of `window` that are not done yet, each with a cursor of its own, in place of
    /// `cursor`. Empty until the first page shows that there is more, and for the last pass over the whole of `window`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub windows: Vec<RunWindow>,

    /// Of `dlqIds`: how many are done.
    #[serde(default)]
    pub position: i64,

    /// How many pages the API answered.
    #[serde(default)]
    pub pages: i64,

    /// How many entries were acted on (dry run: how many match). Exact when `uncertainPages` and `interruptions` are 0,
    /// otherwise a lower bound.
    #[serde(default)]
    pub processed: i64,

    /// Of `dlqIds`: how many were not in the DLQ.
    #[serde(default)]
    pub not_found: i64,

    /// How many entries the API refused one by one.
    #[serde(default)]
    pub rejected: i64,

    /// How many entries Upstash listed that the run left alone, because their own fields do not match `filters` or are
    /// missing.
    #[serde(default)]
    pub left_alone: i64,

    /// How many entries the last pass left alone because of `match`, by reason. A run that is taken over, or repeats its
    /// calls after an unclear answer, begins another pass.
    #[serde(default, skip_serializing_if = "Skipped::is_none")]
    pub skipped: Skipped,

    /// How many entries the last pass left alone because they had been acted on `loopProtection.maxAttempts` times, or have an
    /// attempt label that is no number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub exhausted: i64,

    /// How many of the workflow runs that this run made are back in the DLQ: the most that one complete pass of a later run
    /// saw. With `loopProtection`; counted in `status.history`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub returned: i64,

    /// How many calls were repeated after an error.
    #[serde(default)]
    pub retries: i64,

    /// How many acting calls have an unknown outcome: they were sent, and no readable answer came.
    #[serde(default)]
    pub uncertain_pages: i64,

    /// How often the run was taken over from a process that did not stop cleanly. What happened after that process'
    /// last checkpoint is not in the counts.
    #[serde(default)]
    pub interruptions: i64,

    /// Until when the run waits, while throttled or backing off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_until: Option<MilliTime>,

    /// Why the run waits: Upstash asked for it (`Throttled`), a call that failed is repeated later (`Retrying`), or all slots
    /// are taken (`Queued`).
    #[serde(default, deserialize_with = "known", skip_serializing_if = "Option::is_none")]
    pub waiting_reason: Option<WaitingReason>,

    /// Up to ten of the new workflow runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(max = 256)))]
    pub sample_workflow_run_ids: Vec<String>,

    /// What a dry run saw of the entries that match. Also what a run with `limits.approvalAbove` saw while it counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Box<EntrySummary>>,

    /// With `limits.approvalAbove`: how many entries matched when the run counted them, before it acts. It acts on no more.
    /// Absent until all are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<i64>,

    /// What the annotation `dlq-operator.dev/approvedRun` must say to start a run that matches more than
    /// `limits.approvalAbove`: random, and made after counting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub approval_id: Option<String>,

    /// Since when the run waits for approval, or waited. A day later it ends as `Expired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_requested_time: Option<MilliTime>,

    /// When the operator saw the approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_time: Option<MilliTime>,
}

/// How a run that was asked for acts.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = undescribed)]
pub enum RequestedMode {
    /// It lists and counts only.
    DryRun,
}

/// Why a run waits.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = undescribed)]
pub enum WaitingReason {
    /// Upstash asked for it.
    Throttled,
    /// A call that failed is repeated later.
    Retrying,
    /// All slots are taken.
    Queued,
}

/// A span of failure times.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// The earliest time; absent: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_date: Option<MilliTime>,

    /// The latest time, never after the run's start.
    pub to_date: MilliTime,
}

/// A part of a run's window.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunWindow {
    /// The earliest time; absent: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_date: Option<MilliTime>,

    /// The latest time, to the millisecond and inclusive: no two parts share one.
    pub to_date: MilliTime,

    /// The last cursor that the API gave for this part; absent: at its first entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16_384))]
    pub cursor: Option<String>,
}

/// What started a run.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Trigger {
    /// A scheduled time.
    Schedule,
    /// The annotation `requestedAt`.
    Manual,
    /// A new spec, without a schedule.
    Spec,
}

impl Trigger {
    /// The word used in status and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "Schedule",
            Self::Manual => "Manual",
            Self::Spec => "Spec",
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = undescribed)]
pub enum RunResult {
    /// All that matched was acted on.
    Succeeded,
    /// It could not continue.
    Failed,
    /// Somebody ended it.
    Cancelled,
    /// It acted on `maxEntriesPerRun` entries, and there are more.
    LimitReached,
    /// It took longer than `activeDeadlineSeconds`.
    DeadlineExceeded,
}

impl RunResult {
    /// The word used in status and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
            Self::LimitReached => "LimitReached",
            Self::DeadlineExceeded => "DeadlineExceeded",
        }
    }
}

impl fmt::Display for RunResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
