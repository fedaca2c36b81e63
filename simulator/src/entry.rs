//! What is in a DLQ: entries, and the shape in which they are seeded.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{clock::Millis, cursor::Position};

/// How far the failure function of a failed workflow run got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FailureFunctionState {
    #[serde(rename = "CALLBACK_INPROGRESS")]
    CallbackInProgress,
    CallbackSuccess,
    CallbackFail,
    CallbackCanceled,
}

impl FailureFunctionState {
    /// Reads the API's spelling.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "CALLBACK_INPROGRESS" => Some(Self::CallbackInProgress),
            "CALLBACK_SUCCESS" => Some(Self::CallbackSuccess),
            "CALLBACK_FAIL" => Some(Self::CallbackFail),
            "CALLBACK_CANCELED" => Some(Self::CallbackCanceled),
            _ => None,
        }
    }
}

/// A failed workflow run in the DLQ. Texts are shared, because a million generated entries have most of them in common.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub dlq_id: Arc<str>,
    pub workflow_run_id: Arc<str>,
    pub workflow_url: Arc<str>,
    pub workflow_created_at: Millis,
    /// When the message that failed was created: after its workflow run started, and before it failed.
    pub created_at: Millis,
    pub failed_at: Millis,
    #[serde(flatten)]
    pub settings: Arc<Settings>,
    pub failure_function_state: Option<FailureFunctionState>,
    pub caller_ip: Arc<str>,
    /// What the workflow's last failed step answered.
    #[serde(flatten)]
    pub response: Arc<FailedResponse>,
    /// The workflow's code has changed before the failed step: it can be restarted or deleted, but not resumed.
    pub unresumable: bool,
    pub expires_at: Option<Millis>,
    /// Order of arrival within the DLQ.
    #[serde(skip)]
    pub sequence: u64,
    /// How many times this workflow run came back after an action.
    #[serde(skip)]
    pub comebacks: u32,
}

impl Entry {
    pub fn position(&self) -> Position {
        Position { failed_at: self.failed_at, sequence: self.sequence }
    }

    /// The ID of the message that failed.
    pub fn message_id(&self) -> String {
        format!("msg_{}", self.dlq_id)
    }
}

/// What a workflow run is configured with, and what override headers can change.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    pub retries: u32,
    pub delay: Option<Arc<str>>,
    pub retry_delay: Option<Arc<str>>,
    pub flow_control_key: Option<Arc<str>>,
    pub flow_control_value: Option<Arc<str>>,
    pub labels: Arc<[Arc<str>]>,
    pub failure_callback: Option<Arc<str>>,
}

impl Settings {
    /// The labels as the override header has them, or nothing when there are none.
    pub fn label(&self) -> Option<String> {
        (!self.labels.is_empty()).then(|| self.labels.join(","))
    }

    /// The same settings with the labels of others.
    pub fn with_labels_of(self: &Arc<Self>, others: &Self) -> Arc<Self> {
        if self.labels == others.labels {
            return Arc::clone(self);
        }
        Arc::new(Self { labels: Arc::clone(&others.labels), ..Self::clone(self) })
    }
}

/// The headers of a response: the values of each, by name.
pub type Headers = BTreeMap<String, Vec<String>>;

/// What a failed step answered. Bodies and headers can be large, so answers and entries that come back share them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FailedResponse {
    #[serde(rename = "responseStatus")]
    pub status: u16,
    #[serde(rename = "responseHeaders")]
    pub headers: Arc<Headers>,
    #[serde(rename = "responseBody")]
    pub body: Arc<str>,
}

/// An entry as it is seeded: whatever is missing is made up.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NewEntry {
    pub dlq_id: Option<Arc<str>>,
    pub workflow_run_id: Option<Arc<str>>,
    pub workflow_url: Option<Arc<str>>,
    pub workflow_created_at: Option<Millis>,
    pub created_at: Option<Millis>,
    pub failed_at: Option<Millis>,
    pub labels: Option<Arc<[Arc<str>]>>,
    pub failure_function_state: Option<FailureFunctionState>,
    pub caller_ip: Option<Arc<str>>,
    pub response_status: Option<u16>,
    pub response_headers: Option<Arc<Headers>>,
    pub response_body: Option<Arc<str>>,
    pub flow_control_key: Option<Arc<str>>,
    pub retries: Option<u32>,
    pub delay: Option<Arc<str>>,
    pub retry_delay: Option<Arc<str>>,
    pub flow_control_value: Option<Arc<str>>,
    pub failure_callback: Option<Arc<str>>,
    pub unresumable: Option<bool>,
    pub expires_at: Option<Millis>,
}

/// How many entries can come at once.
pub const MOST_ENTRIES: usize = 10_000_000;

/// What to seed: entries one by one, and any number made from one template.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Seed {
    pub entries: Vec<NewEntry>,
    pub generate: Option<Generate>,
}

/// A number of entries made from one template.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Generate {
    pub count: u64,
    #[serde(default)]
    pub entry: NewEntry,
    /// They failed evenly over so many milliseconds, the last of them when `entry` says.
    #[serde(default)]
    pub spread_ms: u32,
}

const WORKFLOW_URL: &str = "https://app.example.com/api/workflow";
const CALLER_IP: &str = "203.0.113.1";
const RESPONSE_BODY: &str = "simulated failure";

impl NewEntry {
    /// Fills the gaps, except for sequence and DLQ ID, which the DLQ gives. `run_id` makes an ID for the workflow run.
    pub fn into_entry(self, now: Millis, run_id: impl FnOnce() -> Arc<str>) -> Entry {
        let failed_at = self.failed_at.unwrap_or(now);
        let workflow_created_at =
            self.workflow_created_at.unwrap_or_else(|| failed_at.saturating_sub(60_000));
        let created_at =
            self.created_at.unwrap_or_else(|| message_created_at(workflow_created_at, failed_at));
        Entry {
            dlq_id: self.dlq_id.unwrap_or_default(),
            workflow_run_id: self.workflow_run_id.unwrap_or_else(run_id),
            workflow_url: self.workflow_url.unwrap_or_else(|| WORKFLOW_URL.into()),
            workflow_created_at,
            created_at,
            failed_at,
            settings: Arc::new(Settings {
                retries: self.retries.unwrap_or(3),
                delay: self.delay,
                retry_delay: self.retry_delay,
                flow_control_key: self.flow_control_key,
                flow_control_value: self.flow_control_value,
                labels: self.labels.unwrap_or_default(),
                failure_callback: self.failure_callback,
            }),
            failure_function_state: self.failure_function_state,
            caller_ip: self.caller_ip.unwrap_or_else(|| CALLER_IP.into()),
            response: Arc::new(FailedResponse {
                status: self.response_status.unwrap_or(500),
                headers: self.response_headers.unwrap_or_default(),
                body: self.response_body.unwrap_or_else(|| RESPONSE_BODY.into()),
            }),
            unresumable: self.unresumable.unwrap_or(false),
            expires_at: self.expires_at,
            sequence: 0,
            comebacks: 0,
        }
    }
}

/// Makes up when the failed message was created: halfway between the two times. The result differs from the time of
/// failure, so that tests find a caller that confuses them, unless the workflow run failed as it started.
pub fn message_created_at(workflow_created_at: Millis, failed_at: Millis) -> Millis {
    workflow_created_at.midpoint(failed_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_763_647_200_000;

    fn created_at(new: NewEntry) -> Millis {
        new.into_entry(NOW, Arc::default).created_at
    }

    #[test]
    fn a_message_is_created_between_the_start_of_its_workflow_run_and_its_failure() {
        let started = |ago| NewEntry { workflow_created_at: Some(NOW - ago), ..NewEntry::default() };
        assert_eq!(created_at(NewEntry::default()), NOW - 30_000);
        assert_eq!(created_at(started(1000)), NOW - 500);
        assert_eq!(created_at(started(1)), NOW - 1, "before the failure, where there is room");
        assert_eq!(created_at(started(0)), NOW);
    }

    #[test]
    fn a_message_is_created_when_it_was_seeded_to_be() {
        let new = NewEntry { created_at: Some(7), failed_at: Some(NOW - 5), ..NewEntry::default() };
        assert_eq!(created_at(new), 7);
    }
}
