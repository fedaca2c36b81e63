//! Each override of a policy reaches Upstash as its header and changes its setting alone: the new workflow runs keep
//! the rest of what the failed ones had.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testbed::{Entry, Fate, LedgerCall, WorkflowRun};

use crate::cases::{Case, Cases, Differences, Outcome};
use crate::scene::Scene;

/// What a workflow run is configured with.
#[derive(Clone, Debug, PartialEq)]
struct Settings<'a> {
    retries: u32,
    delay: &'a str,
    retry_delay: &'a str,
    flow_control_key: &'a str,
    flow_control_value: &'a str,
    labels: Vec<&'a str>,
    failure_callback: &'a str,
}

impl<'a> Settings<'a> {
    /// Those of every workflow run that failed.
    fn original() -> Self {
        Self {
            retries: 2,
            delay: "30s",
            retry_delay: "retried * 500",
            flow_control_key: "original",
            flow_control_value: "parallelism=1, rate=2, period=3s",
            labels: vec!["first", "second"],
            failure_callback: "https://app.example.com/original",
        }
    }

    fn of(run: &'a WorkflowRun) -> Self {
        let text = |text: &'a Option<String>| text.as_deref().unwrap_or_default();
        Self {
            retries: run.retries,
            delay: text(&run.delay),
            retry_delay: text(&run.retry_delay),
            flow_control_key: text(&run.flow_control_key),
            flow_control_value: text(&run.flow_control_value),
            labels: run.labels.iter().map(String::as_str).collect(),
            failure_callback: text(&run.failure_callback),
        }
    }

    fn entry(self, id: &str) -> Entry {
        let text = |text: &str| Some(text.to_owned());
        Entry {
            dlq_id: text(id),
            retries: Some(self.retries),
            delay: text(self.delay),
            retry_delay: text(self.retry_delay),
            flow_control_key: text(self.flow_control_key),
            flow_control_value: text(self.flow_control_value),
            labels: self.labels.into_iter().map(str::to_owned).collect(),
            failure_callback: text(self.failure_callback),
            ..Entry::default()
        }
    }
}

/// A policy's overrides, the headers they are sent as, and how they change the settings.
struct Row {
    /// Reads as a sentence.
    name: &'static str,
    overrides: Value,
    headers: &'static [(&'static str, &'static str)],
    change: fn(&mut Settings),
}

fn single_settings() -> Vec<Row> {
    vec![
        Row {
            name: "without overrides everything is as it was",
            overrides: Value::Null,
            headers: &[],
            change: |_| {},
        },
        Row {
            name: "retries",
            overrides: json!({ "retries": 5 }),
            headers: &[("upstash-retries", "5")],
            change: |new| new.retries = 5,
        },
        Row {
            name: "no retries are not the same as no override",
            overrides: json!({ "retries": 0 }),
            headers: &[("upstash-retries", "0")],
            change: |new| new.retries = 0,
        },
        Row {
            name: "the most retries",
            overrides: json!({ "retries": i32::MAX }),
            headers: &[("upstash-retries", "2147483647")],
            change: |new| new.retries = 2_147_483_647,
        },
        Row {
            name: "a delay",
            overrides: json!({ "delay": "10s" }),
            headers: &[("upstash-delay", "10s")],
            change: |new| new.delay = "10s",
        },
        Row {
            name: "a delay of nothing is not the same as no override",
            overrides: json!({ "delay": "0s" }),
            headers: &[("upstash-delay", "0s")],
            change: |new| new.delay = "0s",
        },
        Row {
            name: "a retry delay",
            overrides: json!({ "retryDelay": "(1 + retried) * 1000" }),
            headers: &[("upstash-retry-delay", "(1 + retried) * 1000")],
            change: |new| new.retry_delay = "(1 + retried) * 1000",
        },
        Row {
            name: "a retry delay with commas",
            overrides: json!({ "retryDelay": "min(86400000, pow(2, retried) * 1000)" }),
            headers: &[("upstash-retry-delay", "min(86400000, pow(2, retried) * 1000)")],
            change: |new| new.retry_delay = "min(86400000, pow(2, retried) * 1000)",
        },
        Row {
            name: "a label",
            overrides: json!({ "labels": ["retried"] }),
            headers: &[("upstash-label", "retried")],
            change: |new| new.labels = vec!["retried"],
        },
        Row {
            name: "several labels are joined with commas, in their order",
            overrides: json!({ "labels": ["retried", "by-hand", "Team_1.eu"] }),
            headers: &[("upstash-label", "retried,by-hand,Team_1.eu")],
            change: |new| new.labels = ["retried", "by-hand", "Team_1.eu"].into(),
        },
        Row {
            name: "a failure callback",
            overrides: json!({ "failureCallback": "https://app.example.com/failed?a=b,c&d=%20" }),
            headers: &[("upstash-failure-callback", "https://app.example.com/failed?a=b,c&d=%20")],
            change: |new| new.failure_callback = "https://app.example.com/failed?a=b,c&d=%20",
        },
    ]
}

fn flow_control() -> Vec<Row> {
    vec![
        Row {
            name: "a flow-control key leaves the limits",
            overrides: json!({ "flowControl": { "key": "Team-1_payments.eu" } }),
            headers: &[("upstash-flow-control-key", "Team-1_payments.eu")],
            change: |new| new.flow_control_key = "Team-1_payments.eu",
        },
        Row {
            name: "parallelism leaves the key",
            overrides: json!({ "flowControl": { "parallelism": 5 } }),
            headers: &[("upstash-flow-control-value", "parallelism=5")],
            change: |new| new.flow_control_value = "parallelism=5",
        },
        Row {
            name: "a rate leaves the key",
            overrides: json!({ "flowControl": { "rate": 10 } }),
            headers: &[("upstash-flow-control-value", "rate=10")],
            change: |new| new.flow_control_value = "rate=10",
        },
        Row {
            name: "a period leaves the key",
            overrides: json!({ "flowControl": { "period": "1m" } }),
            headers: &[("upstash-flow-control-value", "period=1m")],
            change: |new| new.flow_control_value = "period=1m",
        },
        Row {
            name: "a rate in a period",
            overrides: json!({ "flowControl": { "rate": 10, "period": "2h" } }),
            headers: &[("upstash-flow-control-value", "rate=10, period=2h")],
            change: |new| new.flow_control_value = "rate=10, period=2h",
        },
        Row {
            name: "a key with its parallelism",
            overrides: json!({ "flowControl": { "key": "payments", "parallelism": 1 } }),
            headers: &[
                ("upstash-flow-control-key", "payments"),
                ("upstash-flow-control-value", "parallelism=1"),
            ],
            change: |new| {
                new.flow_control_key = "payments";
                new.flow_control_value = "parallelism=1";
            },
        },
        Row {
            name: "all parts of flow control",
            overrides: json!({ "flowControl": { "period": "1m", "rate": 10, "parallelism": 5, "key": "payments" } }),
            headers: &[
                ("upstash-flow-control-key", "payments"),
                ("upstash-flow-control-value", "parallelism=5, rate=10, period=1m"),
            ],
            change: |new| {
                new.flow_control_key = "payments";
                new.flow_control_value = "parallelism=5, rate=10, period=1m";
            },
        },
    ]
}

fn everything() -> Row {
    Row {
        name: "everything at once",
        overrides: json!({
            "retries": 3,
            "delay": "10s",
            "retryDelay": "(1 + retried) * 1000",
            "flowControl": { "key": "payments", "parallelism": 5, "rate": 10, "period": "1m" },
            "labels": ["retried", "eu"],
            "failureCallback": "https://app.example.com/failed",
        }),
        headers: &[
            ("upstash-retries", "3"),
            ("upstash-delay", "10s"),
            ("upstash-retry-delay", "(1 + retried) * 1000"),
            ("upstash-flow-control-key", "payments"),
            ("upstash-flow-control-value", "parallelism=5, rate=10, period=1m"),
            ("upstash-label", "retried,eu"),
            ("upstash-failure-callback", "https://app.example.com/failed"),
        ],
        change: |new| {
            *new = Settings {
                retries: 3,
                delay: "10s",
                retry_delay: "(1 + retried) * 1000",
                flow_control_key: "payments",
                flow_control_value: "parallelism=5, rate=10, period=1m",
                labels: vec!["retried", "eu"],
                failure_callback: "https://app.example.com/failed",
            };
        },
    }
}

/// How the entries are named, and the calls that act on them.
pub(crate) struct Way {
    spec: Value,
    /// How many are in the DLQ.
    entries: usize,
    acted_on: usize,
    paths: &'static [&'static str],
}

impl Way {
    pub(crate) async fn sends_each_override_as_its_header(self, scene: &Scene) {
        let rows: Vec<_> =
            single_settings().into_iter().chain(flow_control()).chain([everything()]).collect();
        let case = |row: &Row| {
            let mut spec = self.spec.clone();
            if !row.overrides.is_null() {
                spec["overrides"] = row.overrides.clone();
            }
            Case { entries: originals(self.entries), spec }
        };
        let cases = Cases::apply(scene, rows.iter().map(case).collect()).await;
        let mut differences = Differences::default();
        for (row, Outcome { status, ledger }) in rows.iter().zip(cases.outcomes().await) {
            let run = &status["lastRun"];
            differences.expect_eq(row.name, "the result", &run["result"], &json!("Succeeded"));
            differences.expect_eq(row.name, "the count of entries", &run["processed"], &json!(self.acted_on));
            let paths: Vec<_> = ledger.calls.iter().map(|call| call.path.as_str()).collect();
            differences.expect_eq(row.name, "the calls", &paths[..], self.paths);
            for call in &ledger.calls {
                let headers = row.headers.iter().copied().collect();
                differences.expect_eq(row.name, "the headers", upstash_headers(call), headers);
            }
            let mut settings = Settings::original();
            (row.change)(&mut settings);
            differences.expect_eq(
                row.name,
                "the new workflow runs",
                ledger.workflow_runs.len(),
                self.acted_on,
            );
            if let Some(other) = ledger.workflow_runs.iter().map(Settings::of).find(|its| *its != settings) {
                differences.expect_eq(row.name, "a new workflow run's settings", other, settings);
            }
        }
        differences.report();
    }
}

fn originals(count: usize) -> Vec<Entry> {
    (0..count).map(|index| Settings::original().entry(&format!("dlq-{index}"))).collect()
}

/// All of a call's headers that Upstash takes for settings.
fn upstash_headers(call: &LedgerCall) -> BTreeMap<&str, &str> {
    let headers = call.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    headers.filter(|(name, _)| name.starts_with("upstash-")).collect()
}

fn resumed_pages() -> Way {
    Way {
        spec: json!({ "action": "resume", "filters": { "labels": ["first"] }, "limits": { "pageSize": 2 } }),
        entries: 3,
        acted_on: 3,
        paths: &["/v2/workflows/dlq/resume", "/v2/workflows/dlq/resume"],
    }
}

fn restarted_pages() -> Way {
    Way {
        spec: json!({ "action": "restart", "filters": { "all": true }, "limits": { "pageSize": 2 } }),
        entries: 3,
        acted_on: 3,
        paths: &["/v2/workflows/dlq/restart", "/v2/workflows/dlq/restart"],
    }
}

fn one_resumed() -> Way {
    Way {
        spec: json!({ "action": "resume", "filters": { "dlqIds": ["dlq-1"] } }),
        entries: 3,
        acted_on: 1,
        paths: &["/v2/workflows/dlq/resume/dlq-1"],
    }
}

fn restarted_ids() -> Way {
    Way {
        spec: json!({ "action": "restart", "filters": { "dlqIds": ["dlq-1", "dlq-2"] } }),
        entries: 3,
        acted_on: 2,
        paths: &["/v2/workflows/dlq/restart"],
    }
}

pub(crate) fn ways() -> [Way; 4] {
    [resumed_pages(), restarted_pages(), one_resumed(), restarted_ids()]
}

#[tokio::test]
async fn a_resume_sends_each_override_as_its_header_with_every_page() {
    resumed_pages().sends_each_override_as_its_header(&Scene::start("overrides").await).await;
}

#[tokio::test]
async fn a_restart_sends_each_override_as_its_header_with_every_page() {
    restarted_pages().sends_each_override_as_its_header(&Scene::start("overrides").await).await;
}

#[tokio::test]
async fn a_resume_of_one_entry_sends_each_override_as_its_header() {
    one_resumed().sends_each_override_as_its_header(&Scene::start("overrides").await).await;
}

#[tokio::test]
async fn a_restart_of_entries_by_id_sends_each_override_as_its_header() {
    restarted_ids().sends_each_override_as_its_header(&Scene::start("overrides").await).await;
}

#[tokio::test]
async fn a_delete_and_a_dry_run_send_no_overrides() {
    let scene = Scene::start("none").await;
    let overrides = everything().overrides;
    let specs = [
        json!({ "action": "delete", "filters": { "all": true } }),
        json!({ "action": "delete", "filters": { "dlqIds": ["dlq-0"] } }),
        json!({ "action": "resume", "dryRun": true, "filters": { "all": true }, "overrides": overrides }),
        json!({ "action": "restart", "dryRun": true, "filters": { "dlqIds": ["dlq-0"] }, "overrides": overrides }),
    ];
    let cases = specs.map(|spec| Case { entries: originals(3), spec }).into();
    let outcomes = Cases::apply(&scene, cases).await.outcomes().await;
    let deleted: Vec<_> =
        outcomes.iter().map(|outcome| outcome.ledger.with_fate(Fate::Deleted).count()).collect();
    assert_eq!(deleted, [3, 1, 0, 0]);
    for Outcome { ledger, .. } in &outcomes {
        assert_eq!(ledger.calls.len(), 1);
        assert_eq!(upstash_headers(&ledger.calls[0]), BTreeMap::new());
        assert!(ledger.workflow_runs.is_empty());
    }
}
