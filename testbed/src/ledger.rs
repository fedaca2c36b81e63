//! What the simulator is told and what it tells, in types of our own: a type shared with it would hide a shared
//! mistake.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An entry of a DLQ to be; the simulator makes up what is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dlq_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_run_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_url: Option<String>,
    /// Unix milliseconds, like every time here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_created_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Such as `CALLBACK_FAIL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_function_state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller_ip: Option<String>,
    /// What the workflow's last failed step answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_status: Option<u16>,
    /// The values of each header that it answered with, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub response_headers: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_control_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_control_value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_delay: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_callback: Option<String>,
    /// Its workflow's code has changed: a resume is refused.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unresumable: bool,
}

/// Which entries a call lists or acts on first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Order {
    OldestFirst,
    NewestFirst,
}

impl Order {
    /// For tests of what holds in either order.
    pub const BOTH: [Self; 2] = [Self::OldestFirst, Self::NewestFirst];
}

/// Everything that ever happened to one DLQ. What is missing in it is an error, lest a test pass on a default.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    pub calls: Vec<LedgerCall>,
    pub entries: Vec<LedgerEntry>,
    pub workflow_runs: Vec<WorkflowRun>,
}

/// One request that reached the API, in the order in which they took place: one with a latency comes after those that
/// overtook it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerCall {
    pub seq: u64,
    /// When it came in.
    pub arrived_at: i64,
    /// When it took place, after its latency.
    pub at: i64,
    /// Such as `resume`.
    pub operation: String,
    pub token: Option<String>,
    pub method: String,
    pub path: String,
    /// As it was sent, without the question mark.
    pub query: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub status: u16,
    pub dlq_ids: Vec<String>,
    /// Whether the answer was sent whole.
    pub delivered: bool,
    /// The fault that was injected into this call, if one was.
    pub fault: Option<String>,
    /// Whether there was an `Authorization` header, which `headers` leaves out.
    pub authorization: bool,
    /// Whether the token was in the query, where it must never be.
    pub token_in_query: bool,
}

impl LedgerCall {
    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What became of an entry.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerEntry {
    pub dlq_id: String,
    pub arrived_at: i64,
    pub failed_at: i64,
    pub fate: Fate,
    /// How often it was acted on.
    pub actions: u32,
    /// The call that decided it.
    pub call_seq: Option<u64>,
    pub new_workflow_run_id: Option<String>,
    /// The entry it came back as.
    pub refailed_as: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fate {
    InDlq,
    Resumed,
    Restarted,
    Deleted,
    Expired,
}

/// A workflow run that a resume or a restart started, with the settings it got.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowRun {
    pub workflow_run_id: String,
    pub from_dlq_id: String,
    pub action: String,
    pub retries: u32,
    pub delay: Option<String>,
    pub retry_delay: Option<String>,
    pub flow_control_key: Option<String>,
    pub flow_control_value: Option<String>,
    pub labels: Vec<String>,
    pub failure_callback: Option<String>,
    pub workflow_url: String,
}

impl Ledger {
    /// The entries that met this fate.
    pub fn with_fate(&self, fate: Fate) -> impl Iterator<Item = &LedgerEntry> {
        self.entries.iter().filter(move |entry| entry.fate == fate)
    }

    /// The calls of one operation, such as `resume`.
    pub fn calls_of(&self, operation: &str) -> impl Iterator<Item = &LedgerCall> {
        self.calls.iter().filter(move |call| call.operation == operation)
    }
}
