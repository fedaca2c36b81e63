//! The main job: a policy applied with kubectl drains a DLQ page by page, and everybody agrees on what was done.

use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;
use serde_json::json;
use testbed::{Entry, Fate, Ledger};

use crate::scene::{DLQ, Scene, condition};

const URL: &str = "https://app.example.com/api/pay";
const MINUTE: i64 = 60_000;

/// 1,234 entries of which the policies below select those of two labels, one URL, and older than a quarter of an hour.
fn mixed(now: i64) -> Vec<Entry> {
    (0..1234)
        .map(|index: i64| Entry {
            dlq_id: Some(format!("dlq-{index:04}")),
            labels: match index % 4 {
                0 => vec!["payments".to_owned()],
                1 => vec!["checkout".to_owned(), "eu".to_owned()],
                2 => vec!["emails".to_owned()],
                _ => vec![],
            },
            workflow_url: Some(
                if index % 5 == 0 { "https://app.example.com/api/other" } else { URL }.to_owned(),
            ),
            failed_at: Some(now - (index % 60) * MINUTE - 1000),
            ..Entry::default()
        })
        .collect()
}

fn is_selected(entry: &Entry, start: i64) -> bool {
    entry.labels.iter().any(|label| label == "payments" || label == "checkout")
        && entry.workflow_url.as_deref() == Some(URL)
        && entry.failed_at.unwrap() <= start - 15 * MINUTE
}

fn ids<'a>(ids: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
    ids.into_iter().cloned().collect()
}

async fn drains(action: &str, fate: Fate, path: &str) {
    let scene = Scene::start(action).await;
    let now = dlq_operator::runtime::clock::now().as_millisecond();
    let entries = mixed(now);
    scene.simulator.add(DLQ, &entries).await.unwrap();
    let mut spec = json!({
        "action": action,
        "filters": { "labels": ["payments", "checkout"], "workflowUrls": [URL], "olderThan": "15m" },
    });
    if action != "delete" {
        spec["overrides"] = json!({ "retries": 7, "labels": ["retried"] });
    }
    scene.apply("drain", spec).await;
    let status = scene.ran("drain", 1).await;
    let ledger: Ledger = scene.simulator.ledger(DLQ).await.unwrap();
    let run = &status["lastRun"];

    // What was acted on is what the filters select at the run's start, and nothing else.
    let start = run["startTime"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let selected: BTreeSet<_> = entries
        .iter()
        .filter(|entry| is_selected(entry, start.as_millisecond()))
        .map(|entry| entry.dlq_id.clone().unwrap())
        .collect();
    assert_eq!(ids(ledger.with_fate(fate).map(|entry| &entry.dlq_id)), selected);
    assert_eq!(ledger.with_fate(Fate::InDlq).count(), entries.len() - selected.len());

    // The status says the same, and how many calls it took.
    let count = selected.len();
    assert!(count > 300, "{count}");
    assert_eq!(run["processed"], count);
    assert_eq!(status["processed"], count);
    assert_eq!(status["totals"], json!({ "runs": 1, "failedRuns": 0, "processed": count }));
    assert_eq!(run["pages"], count.div_ceil(50));
    assert_eq!(ledger.calls.len(), count.div_ceil(50));
    assert_eq!(run["result"], "Succeeded");
    assert_eq!(condition(&status, "LastRunSucceeded")["reason"], "RunSucceeded");
    for field in ["uncertainPages", "interruptions", "retries", "notFound", "rejected"] {
        assert_eq!(run[field], 0, "{field}");
    }
    let last_cursor =
        ledger.calls.last().unwrap().query.split('&').find_map(|pair| pair.strip_prefix("cursor=")).unwrap();
    let decoded = percent_decode_str(last_cursor).decode_utf8().unwrap();
    assert_eq!(run["cursor"], *decoded, "the last cursor the API gave");

    // Every call was the one that was meant, with the token in its header and nowhere else.
    for call in &ledger.calls {
        assert_eq!((call.operation.as_str(), call.path.as_str(), call.status), (action, path, 200));
        assert!(call.authorization && !call.token_in_query);
        assert!(call.header("user-agent").unwrap().starts_with("dlq-operator/"));
        assert_eq!(call.header("upstash-retries"), (action != "delete").then_some("7"));
        assert_eq!(call.header("upstash-label"), (action != "delete").then_some("retried"));
    }
    let samples = run["sampleWorkflowRunIds"].as_array().map_or(0, Vec::len);
    assert_eq!(samples, if action == "delete" { 0 } else { 10 });
    if action != "delete" {
        assert_eq!(ledger.workflow_runs.len(), count);
        assert!(ledger.workflow_runs.iter().all(|run| run.retries == 7 && run.labels == ["retried"]));
    }

    // And so does what people see.
    let table = scene.kubectl(&["get", "dlqp", "drain"]).await;
    let columns: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
    let expected = ["drain", action, "false", "Succeeded", "Succeeded", "false", &count.to_string()];
    assert_eq!(&columns[..7], expected, "{table}");
}

#[tokio::test]
async fn a_resume_drains_what_its_filters_select_and_leaves_the_rest() {
    drains("resume", Fate::Resumed, "/v2/workflows/dlq/resume").await;
}

#[tokio::test]
async fn a_restart_drains_what_its_filters_select_and_leaves_the_rest() {
    drains("restart", Fate::Restarted, "/v2/workflows/dlq/restart").await;
}

#[tokio::test]
async fn a_delete_drains_what_its_filters_select_and_leaves_the_rest() {
    drains("delete", Fate::Deleted, "/v2/workflows/dlq").await;
}
