//! Checks a ledger against itself and against what is in the DLQ. Reads both as a user of the admin port would.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Ledger {
    pub(crate) calls: Vec<Call>,
    pub(crate) entries: Vec<Record>,
    workflow_runs: Vec<WorkflowRun>,
    pub(crate) totals: Totals,
    pub(crate) arrivals: Arrivals,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Call {
    pub(crate) seq: u64,
    pub(crate) operation: String,
    pub(crate) status: u16,
    pub(crate) dlq_ids: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) dlq_id: String,
    arrived_at: i64,
    pub(crate) failed_at: i64,
    pub(crate) fate: String,
    actions: u32,
    pub(crate) call_seq: Option<u64>,
    pub(crate) new_workflow_run_id: Option<String>,
    refailed_as: Option<String>,
    refailed_at: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the ledger's own names")]
struct WorkflowRun {
    workflow_run_id: String,
    from_dlq_id: String,
    action: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Totals {
    pub(crate) arrived: u64,
    pub(crate) in_dlq: u64,
    pub(crate) resumed: u64,
    restarted: u64,
    pub(crate) deleted: u64,
    expired: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Arrivals {
    pub(crate) seeded: u64,
    pub(crate) refailed: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    dlq_id: String,
    workflow_run_id: String,
    failed_at: i64,
}

/// Fails unless every entry is accounted for, once. Of calls up to `forgotten` nothing is known any more.
pub(crate) fn audit(ledger: Value, in_dlq: Value, forgotten: u64) -> Ledger {
    let ledger: Ledger = serde_json::from_value(ledger).expect("the ledger has its shape");
    let in_dlq: Vec<Entry> = serde_json::from_value(in_dlq).expect("entries have their shape");
    let records: BTreeMap<&str, &Record> =
        ledger.entries.iter().map(|record| (record.dlq_id.as_str(), record)).collect();
    assert_eq!(records.len(), ledger.entries.len(), "no DLQ ID stands for two entries");
    places_agree(&records, &in_dlq);
    totals_add_up(&ledger);
    calls_own_what_they_acted_on(&ledger, forgotten);
    workflow_runs_stem_from_entries(&ledger, &records);
    comebacks_are_told_once(&records, &in_dlq);
    ledger
}

fn places_agree(records: &BTreeMap<&str, &Record>, in_dlq: &[Entry]) {
    let there: BTreeSet<(&str, i64)> =
        in_dlq.iter().map(|entry| (entry.dlq_id.as_str(), entry.failed_at)).collect();
    assert_eq!(there.len(), in_dlq.len(), "nothing is in the DLQ twice");
    let told: BTreeSet<(&str, i64)> = records
        .iter()
        .filter(|(_, record)| record.fate == "inDlq")
        .map(|(id, record)| (*id, record.failed_at))
        .collect();
    assert_eq!(there, told, "the DLQ holds what the ledger says");
    for record in records.values() {
        let acted_on = matches!(record.fate.as_str(), "resumed" | "restarted" | "deleted");
        assert_eq!(
            acted_on,
            record.call_seq.is_some(),
            "a call acts on an entry that it takes out: {record:?}"
        );
        assert_eq!(record.actions, u32::from(acted_on), "once, as this DLQ does not lag: {record:?}");
        let restarted = matches!(record.fate.as_str(), "resumed" | "restarted");
        assert_eq!(restarted, record.new_workflow_run_id.is_some(), "only these run again: {record:?}");
        assert_eq!(record.refailed_as.is_some(), record.refailed_at.is_some(), "{record:?}");
        assert!(restarted || record.refailed_as.is_none(), "only what ran again can fail again: {record:?}");
    }
}

fn totals_add_up(ledger: &Ledger) {
    let Totals { arrived, in_dlq, resumed, restarted, deleted, expired } = ledger.totals;
    assert_eq!(arrived, in_dlq + resumed + restarted + deleted + expired, "{:?}", ledger.totals);
    assert_eq!(arrived, ledger.arrivals.seeded + ledger.arrivals.refailed, "{:?}", ledger.arrivals);
    let count = |fate| ledger.entries.iter().filter(|record| record.fate == fate).count() as u64;
    assert_eq!(
        [arrived, in_dlq, resumed, restarted, deleted, expired],
        [
            ledger.entries.len() as u64,
            count("inDlq"),
            count("resumed"),
            count("restarted"),
            count("deleted"),
            count("expired")
        ],
        "the totals are those of the entries"
    );
    let refailed = ledger.entries.iter().filter(|record| record.refailed_as.is_some()).count() as u64;
    assert_eq!(refailed, ledger.arrivals.refailed, "what came back came from somewhere");
}

fn calls_own_what_they_acted_on(ledger: &Ledger, forgotten: u64) {
    let mut by_call: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
    for record in &ledger.entries {
        if let Some(seq) = record.call_seq.filter(|seq| *seq > forgotten) {
            by_call.entry(seq).or_default().insert(&record.dlq_id);
        }
    }
    for call in &ledger.calls {
        let its_own = by_call.remove(&call.seq).unwrap_or_default();
        if matches!(call.operation.as_str(), "list" | "get" | "callback" | "cancelCallback" | "unknown") {
            assert!(its_own.is_empty(), "reading takes nothing out: {call:?} {its_own:?}");
        } else {
            let named: BTreeSet<&str> = call.dlq_ids.iter().map(String::as_str).collect();
            assert_eq!(named.len(), call.dlq_ids.len(), "no call acts on an entry twice: {call:?}");
            assert_eq!(named, its_own, "a call names what it acted on: {call:?}");
        }
    }
    assert!(by_call.is_empty(), "calls that nobody made acted: {by_call:?}");
}

fn workflow_runs_stem_from_entries(ledger: &Ledger, records: &BTreeMap<&str, &Record>) {
    let mut runs = BTreeSet::new();
    for run in &ledger.workflow_runs {
        assert!(runs.insert(&run.workflow_run_id), "two workflow runs have one ID: {run:?}");
        let record = records.get(run.from_dlq_id.as_str()).expect("a workflow run stems from an entry");
        assert_eq!(record.new_workflow_run_id.as_ref(), Some(&run.workflow_run_id), "{record:?}");
        let fate = if run.action == "resume" { "resumed" } else { "restarted" };
        assert_eq!(record.fate, fate, "{run:?}");
    }
    let told = ledger.entries.iter().filter(|record| record.new_workflow_run_id.is_some()).count();
    assert_eq!(told, ledger.workflow_runs.len(), "every workflow run is told once");
}

fn comebacks_are_told_once(records: &BTreeMap<&str, &Record>, in_dlq: &[Entry]) {
    let runs: BTreeMap<&str, &str> =
        in_dlq.iter().map(|entry| (entry.dlq_id.as_str(), entry.workflow_run_id.as_str())).collect();
    let mut comebacks = BTreeSet::new();
    for record in records.values() {
        let Some(id) = record.refailed_as.as_deref() else { continue };
        assert!(comebacks.insert(id), "{id} came back from two entries");
        let later = records.get(id).expect("what came back is an entry");
        assert_eq!(Some(later.arrived_at), record.refailed_at, "{record:?} {later:?}");
        if let Some(run) = runs.get(id) {
            assert_eq!(
                Some(*run),
                record.new_workflow_run_id.as_deref(),
                "it is the new run that failed again"
            );
        }
    }
}
