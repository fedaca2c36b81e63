//! What happened to a DLQ, for tests to read: calls, the fate of every entry, and the new workflow runs.

use std::{collections::BTreeMap, num::NonZeroU64, sync::Arc};

use serde::{Serialize, Serializer};

use crate::{
    clock::Millis,
    entry::{Entry, Settings},
    operation::{Action, Operation},
};

/// One call as it came in, and what came of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    pub seq: u64,
    /// When it came in.
    pub arrived_at: Millis,
    /// When it took place, after its latency.
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
    /// How often it was acted on: more than once only where the DLQ lags behind. All else here is of the first time.
    pub actions: u32,
    /// The call that acted on it.
    pub call_seq: Option<NonZeroU64>,
    pub new_workflow_run_id: Option<Arc<str>>,
    /// The new entry that its new workflow run came back as, and when.
    pub refailed_as: Option<Arc<str>>,
    pub refailed_at: Option<Millis>,
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
    #[serde(flatten, serialize_with = "with_label")]
    pub settings: Arc<Settings>,
}

/// A label is joined only when somebody reads it: a million workflow runs are made, and few are looked at.
fn with_label<S: Serializer>(settings: &Settings, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Labelled<'a> {
        #[serde(flatten)]
        settings: &'a Settings,
        label: Option<String>,
    }
    Labelled { settings, label: settings.label() }.serialize(serializer)
}

/// How many entries arrived, and where they are now: `arrived` is the sum of all the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    pub arrived: u64,
    pub in_dlq: u64,
    pub resumed: u64,
    pub restarted: u64,
    pub deleted: u64,
    pub expired: u64,
}

impl Totals {
    fn with(&mut self, fate: Fate) -> &mut u64 {
        match fate {
            Fate::InDlq => &mut self.in_dlq,
            Fate::Resumed => &mut self.resumed,
            Fate::Restarted => &mut self.restarted,
            Fate::Deleted => &mut self.deleted,
            Fate::Expired => &mut self.expired,
        }
    }
}

/// Where the entries that arrived came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Arrivals {
    /// New ones: seeded, or sent by a fault.
    pub seeded: u64,
    /// Workflow runs of earlier entries that failed again.
    pub refailed: u64,
}

/// All that happened. Only its own methods write down what became of entries, so that the totals are always right.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    pub calls: Vec<Call>,
    /// In order of arrival: an entry's sequence is its index here.
    entries: Vec<Record>,
    workflow_runs: Vec<WorkflowRun>,
    totals: Totals,
    arrivals: Arrivals,
    #[serde(skip)]
    last_seq: u64,
}

impl Ledger {
    pub fn entries(&self) -> &[Record] {
        &self.entries
    }

    pub fn workflow_runs(&self) -> &[WorkflowRun] {
        &self.workflow_runs
    }

    pub fn totals(&self) -> Totals {
        self.totals
    }

    pub fn arrivals(&self) -> Arrivals {
        self.arrivals
    }

    /// The number of the next call. Numbers are not used again when the calls are cleared.
    pub fn open_call(&mut self) -> u64 {
        self.last_seq += 1;
        self.last_seq
    }

    pub(crate) fn record(&self, sequence: u64) -> Option<&Record> {
        self.entries.get(usize::try_from(sequence).ok()?)
    }

    /// The sequence of the next entry to arrive.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.totals.arrived
    }

    /// An entry comes into the DLQ; `refailed_from` is the sequence of the entry it was before.
    pub(crate) fn enter(&mut self, entry: &Entry, now: Millis, refailed_from: Option<u64>) {
        if let Some(earlier) = refailed_from.and_then(|sequence| self.record_mut(sequence)) {
            earlier.refailed_as.get_or_insert_with(|| Arc::clone(&entry.dlq_id));
            earlier.refailed_at.get_or_insert(now);
        }
        self.entries.push(Record {
            dlq_id: Arc::clone(&entry.dlq_id),
            arrived_at: now,
            failed_at: entry.failed_at,
            fate: Fate::InDlq,
            actions: 0,
            call_seq: None,
            new_workflow_run_id: None,
            refailed_as: None,
            refailed_at: None,
        });
        self.totals.arrived += 1;
        self.totals.in_dlq += 1;
        *(if refailed_from.is_some() { &mut self.arrivals.refailed } else { &mut self.arrivals.seeded }) += 1;
    }

    /// An entry leaves the DLQ: acted on by a call, or expired. One that has left before stays where it went.
    pub(crate) fn leave(&mut self, sequence: u64, fate: Fate, call_seq: Option<u64>) {
        let Some(record) = self.record_mut(sequence) else { return };
        record.actions += u32::from(call_seq.is_some());
        if record.fate != Fate::InDlq {
            return;
        }
        let earlier = std::mem::replace(&mut record.fate, fate);
        record.call_seq = call_seq.and_then(NonZeroU64::new);
        *self.totals.with(earlier) -= 1;
        *self.totals.with(fate) += 1;
    }

    /// A new workflow run takes the place of the entry with that sequence.
    pub(crate) fn start(&mut self, run: WorkflowRun, sequence: u64) {
        if let Some(record) = self.record_mut(sequence) {
            record.new_workflow_run_id.get_or_insert_with(|| Arc::clone(&run.workflow_run_id));
        }
        self.workflow_runs.push(run);
    }

    fn record_mut(&mut self, sequence: u64) -> Option<&mut Record> {
        self.entries.get_mut(usize::try_from(sequence).ok()?)
    }
}
