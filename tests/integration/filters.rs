//! Each filter of a policy selects what it says, and reaches Upstash as it was written.

mod criteria;
mod escapes;
mod times;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};
use testbed::{Entry, Fate, LedgerCall};
use url::form_urlencoded;

use crate::cases::{Case, Cases, Differences, Outcome};
use crate::scene::Scene;

/// 2023-11-14T22:13:20.123Z, when every entry failed that says nothing else.
const FAILED: i64 = 1_700_000_000_123;

/// A policy's filters and the DLQ it works on. What is selected and sent is written down by hand.
pub(crate) struct Row {
    /// Reads as a sentence.
    name: String,
    action: &'static str,
    entries: Vec<Entry>,
    filters: Value,
    /// The IDs of the entries that leave.
    selected: Vec<String>,
    /// Names and values of the query's parameters, but for `count`, and for `toDate` where it is the run's start.
    sent: Vec<(String, String)>,
}

/// A row about the DLQ of [`criteria::entries`].
fn row(name: &str, filters: Value, selected: &[&str], sent: &[(&str, &str)]) -> Row {
    Row {
        name: name.to_owned(),
        action: "delete",
        entries: criteria::entries(),
        filters,
        selected: selected.iter().map(|&id| id.to_owned()).collect(),
        sent: sent.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
    }
}

impl Row {
    fn among(self, entries: Vec<Entry>) -> Self {
        Self { entries, ..self }
    }

    fn by(self, action: &'static str) -> Self {
        Self { action, ..self }
    }

    fn case(&self) -> Case {
        let spec = json!({ "action": self.action, "filters": self.filters });
        Case { entries: self.entries.clone(), spec }
    }

    fn check(&self, outcome: &Outcome, differences: &mut Differences) {
        let Outcome { status, ledger } = outcome;
        let mut differs = |what: &str, actual: Value, expected: Value| {
            differences.expect_eq(&self.name, what, actual, expected);
        };
        let run = &status["lastRun"];
        differs("the result", run["result"].clone(), json!("Succeeded"));
        differs("the count of entries", run["processed"].clone(), json!(self.selected.len()));
        let gone: BTreeSet<_> = ledger
            .entries
            .iter()
            .filter(|entry| entry.fate != Fate::InDlq)
            .map(|entry| &entry.dlq_id)
            .collect();
        differs("what has left the DLQ", json!(gone), json!(self.selected.iter().collect::<BTreeSet<_>>()));
        differs(
            "what is still in the DLQ",
            json!(ledger.with_fate(Fate::InDlq).count()),
            json!(self.entries.len() - self.selected.len()),
        );
        let calls: Vec<_> = ledger.calls.iter().map(|call| (&call.operation, call.status)).collect();
        let operation = if self.is_single() { "resumeOne" } else { self.action };
        differs("the calls", json!(calls), json!([(operation, 200)]));
        if let Some(call) = ledger.calls.first() {
            differs("the query", json!(pairs(call)), json!(self.query(run)));
        }
    }

    fn is_single(&self) -> bool {
        self.action == "resume" && self.filters["dlqIds"].as_array().is_some_and(|ids| ids.len() == 1)
    }

    /// What the query holds, with the bounds that the run has frozen.
    fn query(&self, run: &Value) -> Vec<(String, String)> {
        let mut pairs = self.sent.clone();
        if self.filters["dlqIds"].is_null() {
            pairs.push(("count".to_owned(), "50".to_owned()));
            if self.sent.iter().all(|(name, _)| name != "toDate") {
                pairs.push(("toDate".to_owned(), millis(&run["startTime"]).to_string()));
            }
        }
        pairs.sort();
        pairs
    }
}

/// A call's parameters, decoded, in an order of their own.
fn pairs(call: &LedgerCall) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = form_urlencoded::parse(call.query.as_bytes()).into_owned().collect();
    pairs.sort();
    pairs
}

fn millis(time: &Value) -> i64 {
    time.as_str().unwrap().parse::<Timestamp>().unwrap().as_millisecond()
}

/// An entry that no filter of the tables selects by chance.
fn entry(id: &str) -> Entry {
    Entry {
        dlq_id: Some(id.to_owned()),
        workflow_run_id: Some(format!("run-of-{id}")),
        workflow_url: Some("https://app.example.com/api/other".to_owned()),
        workflow_created_at: Some(FAILED - 60_000),
        caller_ip: Some("198.51.100.1".to_owned()),
        failed_at: Some(FAILED),
        ..Entry::default()
    }
}

/// Every table whose rows can be run at once.
pub(crate) fn rows() -> Vec<Row> {
    [criteria::rows(), escapes::rows(), times::dates()].into_iter().flatten().collect()
}

/// Runs a table, and gives the outcomes for a closer look.
pub(crate) async fn run(scene: &Scene, rows: &[Row]) -> Vec<Outcome> {
    let outcomes = Cases::apply(scene, rows.iter().map(Row::case).collect()).await.outcomes().await;
    let mut differences = Differences::default();
    for (row, outcome) in rows.iter().zip(&outcomes) {
        row.check(outcome, &mut differences);
    }
    differences.report();
    outcomes
}
