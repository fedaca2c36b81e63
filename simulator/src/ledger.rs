//! What happened to a DLQ, for tests to read: calls, the fate of every entry, and the new workflow runs.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use crate::{
    clock::Millis,
    entry::Settings,
    operation::{Action, Operation},
};

/// One call as it came in, and what came of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    pub seq: u64,
    pub at: Millis,
    pub operation: Operation,
    pub token: Option<String>,
    pub method: String,
    pub path: String,
    /// The raw query string.
    pub query: String,
    /// By lower-case name, without `authorization`.
    pub headers: BTreeMap<String, String>,
    /// Whether there was an `Authorization` header.
    pub authorization: bool,
    /// Whether the query held `qstash_token`.
    pub token_in_query: bool,
    pub status: u16,
    /// The entries acted on, listed or read.
    pub dlq_ids: Vec<Arc<str>>,
    /// Whether the answer was sent whole and readable.
    pub delivered: bool,
    pub fault: Option<&'static str>,
}

/// Where an entry is, or how it left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Fate {
    InDlq,
    Resumed,
    Restarted,
    Deleted,
    Expired,
}

impl From<Action> for Fate {
    fn from(action: Action) -> Self {
        match action {
            Action::Resume => Self::Resumed,
            Action::Restart => Self::Restarted,
            Action::Delete => Self::Deleted,
        }
    }
}

/// The life of one entry. There is one for every entry that ever was in the DLQ.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    pub dlq_id: Arc<str>,
    pub arrived_at: Millis,
    pub failed_at: Millis,
    pub fate: Fate,
    /// The call that acted on it.
    pub call_seq: Option<u64>,
    pub new_workflow_run_id: Option<Arc<str>>,
    /// The new entry that its new workflow run came back as.
    pub refailed_as: Option<Arc<str>>,
}

/// A workflow run made by a resume or restart, with the settings in force.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowRun {
    pub workflow_run_id: Arc<str>,
    pub from_dlq_id: Arc<str>,
    pub action: Action,
    pub workflow_created_at: Millis,
    pub workflow_url: Arc<str>,
    #[serde(flatten)]
    pub settings: Settings,
    pub label: Option<String>,
}

/// All that happened.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    pub calls: Vec<Call>,
    /// In order of arrival: an entry's sequence is its index here.
    pub entries: Vec<Record>,
    pub workflow_runs: Vec<WorkflowRun>,
    #[serde(skip)]
    last_seq: u64,
}

impl Ledger {
    /// The number of the next call. Numbers are not used again when the calls are cleared.
    pub fn open_call(&mut self) -> u64 {
        self.last_seq += 1;
        self.last_seq
    }
}
