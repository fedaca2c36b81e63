//! What `status.history` keeps of a run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::conditions::Reason;
use super::matching::is_zero;
use super::run::{PolicyRun, RunResult, Trigger};
use super::spec::Action;
use super::time::MilliTime;
use super::words::known;

/// What `status.history` keeps of a run.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunSummary {
    /// As in the run.
    #[schemars(length(max = 128))]
    pub id: String,

    /// As in the run.
    pub trigger: Trigger,

    /// As in the run.
    #[serde(default)]
    pub generation: i64,

    /// As in the run.
    pub action: Action,

    /// As in the run.
    #[serde(default)]
    pub dry_run: bool,

    /// As in the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_time: Option<MilliTime>,

    /// As in the run.
    pub start_time: MilliTime,

    /// As in the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<MilliTime>,

    /// As in the run.
    #[serde(default, deserialize_with = "known", skip_serializing_if = "Option::is_none")]
    pub result: Option<RunResult>,

    /// As in the run.
    #[serde(default, deserialize_with = "known", skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,

    /// As in the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub requested_by: Option<String>,

    /// As in the run.
    #[serde(default)]
    pub pages: i64,

    /// As in the run.
    #[serde(default)]
    pub processed: i64,

    /// As in the run.
    #[serde(default)]
    pub not_found: i64,

    /// As in the run.
    #[serde(default)]
    pub rejected: i64,

    /// As in the run.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub returned: i64,

    /// As in the run.
    #[serde(default)]
    pub uncertain_pages: i64,

    /// As in the run.
    #[serde(default)]
    pub interruptions: i64,
}

impl From<&PolicyRun> for RunSummary {
    fn from(run: &PolicyRun) -> Self {
        Self {
            id: run.id.clone(),
            trigger: run.trigger,
            generation: run.generation,
            action: run.action,
            dry_run: run.dry_run,
            scheduled_time: run.scheduled_time,
            start_time: run.start_time,
            completion_time: run.completion_time,
            result: run.result,
            reason: run.reason,
            requested_by: run.requested_by.clone(),
            pages: run.pages,
            processed: run.processed,
            not_found: run.not_found,
            rejected: run.rejected,
            returned: run.returned,
            uncertain_pages: run.uncertain_pages,
            interruptions: run.interruptions,
        }
    }
}
