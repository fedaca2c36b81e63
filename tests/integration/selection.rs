//! Runs that decide on each entry that Upstash lists: with `match`, and with `loopProtection`.

mod attempts;
mod calls;
mod control;
mod criteria;
mod interruption;
mod labels;
mod ladder;
mod loop_possible;
mod speed;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use testbed::{Fate, Ledger, LedgerCall};

/// A policy for the whole DLQ with these further fields.
pub(crate) fn all(action: &str, further: Value) -> Value {
    let mut spec = json!({ "action": action, "filters": { "all": true } });
    spec.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    spec
}

/// One that acts on a workflow run so often.
fn protected(action: &str, most: u32, further: Value) -> Value {
    let mut spec = all(action, further);
    spec["loopProtection"] = json!({ "maxAttempts": most });
    spec
}

/// What was done to a workflow run that failed, and to those that were made of it.
#[derive(Debug)]
struct Lineage {
    /// Such as `resume`, in their order.
    actions: Vec<String>,
    /// The labels of the new workflow runs, in the same order.
    labels: Vec<Vec<String>>,
    /// Of the last entry.
    fate: Fate,
}

/// A lineage for each entry that did not come back from an action, by its ID. No entry was acted on twice.
fn lineages(ledger: &Ledger) -> BTreeMap<&str, Lineage> {
    let entries: BTreeMap<_, _> = ledger.entries.iter().map(|entry| (&*entry.dlq_id, entry)).collect();
    let mut runs = BTreeMap::new();
    for run in &ledger.workflow_runs {
        let earlier = runs.insert(&*run.from_dlq_id, run);
        assert!(earlier.is_none(), "{} was acted on twice: {earlier:?} {run:?}", run.from_dlq_id);
    }
    let comebacks: BTreeSet<_> =
        ledger.entries.iter().filter_map(|entry| entry.refailed_as.as_deref()).collect();
    let seeded = ledger.entries.iter().filter(|entry| !comebacks.contains(&*entry.dlq_id));
    let lineage = |seeded: &str| {
        let mut entry = entries[seeded];
        let (mut actions, mut labels) = (Vec::new(), Vec::new());
        loop {
            assert!(entry.actions <= 1, "acted on twice: {entry:?}");
            if entry.fate == Fate::Deleted {
                actions.push("delete".to_owned());
            } else if let Some(run) = runs.get(&*entry.dlq_id) {
                actions.push(run.action.clone());
                labels.push(run.labels.clone());
            }
            match &entry.refailed_as {
                Some(next) => entry = entries[&**next],
                None => return Lineage { actions, labels, fate: entry.fate },
            }
        }
    };
    seeded.map(|entry| (&*entry.dlq_id, lineage(&entry.dlq_id))).collect()
}

/// Each workflow run was acted on by these actions, counts them in its labels, and is where it is now.
fn assert_lineages(
    lineages: BTreeMap<&str, Lineage>,
    own: &[&str],
    count: usize,
    actions: &[&str],
    fate: Fate,
) {
    assert_eq!(lineages.len(), count);
    for (id, lineage) in lineages {
        assert_eq!((lineage.actions.as_slice(), lineage.fate), (&strings(actions)[..], fate), "{id}");
        let counted = (1..).map(|number| format!("dlq-attempt-{number}"));
        for (labels, number) in lineage.labels.iter().zip(counted) {
            assert_eq!(*labels, [strings(own), vec![number]].concat(), "{id}");
        }
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

/// The calls that act, whatever came of them.
fn acting(ledger: &Ledger) -> Vec<&LedgerCall> {
    let acts = |call: &&LedgerCall| !["list", "get"].contains(&call.operation.as_str());
    ledger.calls.iter().filter(acts).collect()
}

/// The IDs of the entries that left the DLQ.
fn acted_on(ledger: &Ledger) -> BTreeSet<&str> {
    let gone = ledger.entries.iter().filter(|entry| entry.fate != Fate::InDlq);
    gone.map(|entry| &*entry.dlq_id).collect()
}
