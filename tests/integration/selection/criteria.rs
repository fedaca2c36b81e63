//! Which entries `match` lets a run act on, and what is said of the others.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use testbed::Entry;

use super::{acted_on, acting, all};
use crate::cases::{self, Case, Cases, Differences};
use crate::scene::{DLQ, Scene, condition};

fn failed(id: &str, status: u16, headers: &[(&str, &str)], body: &str) -> Entry {
    Entry {
        dlq_id: Some(id.to_owned()),
        labels: vec!["payments".to_owned(), "dlq-attempt-1".to_owned()],
        response_status: Some(status),
        response_headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()]))
            .collect(),
        response_body: Some(body.to_owned()),
        ..Entry::default()
    }
}

/// Their IDs hold no time of failure.
fn entries() -> Vec<Entry> {
    vec![
        failed("bad-gateway", 502, &[("Server", "nginx")], "upstream timeout"),
        failed("unavailable", 503, &[("Retry-After", "30")], "come back later"),
        failed("not-found", 404, &[], "no such order"),
        failed("throttled", 429, &[("retry-after", "soon")], "come back later"),
        failed("in-vain", 489, &[], "no such account"),
        failed("in-vain-by-header", 500, &[("UPSTASH-NonRetryable-Error", "true")], "timeout"),
        failed("not-in-vain", 500, &[("Upstash-NonRetryable-Error", "false")], "out of memory"),
        failed("without-status", 0, &[], "支払い"),
    ]
}

struct Row {
    name: &'static str,
    action: &'static str,
    fields: Value,
    acted_on: &'static [&'static str],
    skipped: Value,
    /// What the run says, of entries and calls and what it left alone.
    message: &'static str,
}

#[expect(clippy::too_many_lines, reason = "it is a table")]
fn rows() -> Vec<Row> {
    let matching = |matching: Value| json!({ "match": matching });
    let expression = |expression: &str| matching(json!({ "expression": expression }));
    vec![
        Row {
            name: "a class and a code",
            action: "resume",
            fields: matching(json!({ "responseStatuses": ["5xx", "429"] })),
            acted_on: &["bad-gateway", "unavailable", "throttled", "not-in-vain"],
            skipped: json!({ "status": 3, "nonRetryable": 1 }),
            message: "resumed 4 entries in 2 calls, 0 refused, 4 skipped (3 status, 1 nonRetryable)",
        },
        Row {
            name: "all but a class and a code",
            action: "restart",
            fields: matching(json!({ "excludeResponseStatuses": ["4xx", "503"] })),
            acted_on: &["bad-gateway", "not-in-vain", "without-status"],
            skipped: json!({ "status": 4, "nonRetryable": 1 }),
            message: "restarted 3 entries in 2 calls, 0 refused, 5 skipped (4 status, 1 nonRetryable)",
        },
        Row {
            name: "what is in vain, on purpose",
            action: "resume",
            fields: matching(json!({ "responseStatuses": ["489", "500"], "skipNonRetryable": false })),
            acted_on: &["in-vain", "in-vain-by-header", "not-in-vain"],
            skipped: json!({ "status": 5 }),
            message: "resumed 3 entries in 2 calls, 0 refused, 5 skipped (5 status)",
        },
        Row {
            name: "a delete takes what is in vain",
            action: "delete",
            fields: matching(json!({ "responseStatuses": ["489", "500"] })),
            acted_on: &["in-vain", "in-vain-by-header", "not-in-vain"],
            skipped: json!({ "status": 5 }),
            message: "deleted 3 entries in 2 calls, 0 refused, 5 skipped (5 status)",
        },
        Row {
            name: "a restart that only leaves alone what is in vain",
            action: "restart",
            fields: matching(json!({ "skipNonRetryable": true })),
            acted_on: &[
                "bad-gateway",
                "unavailable",
                "not-found",
                "throttled",
                "not-in-vain",
                "without-status",
            ],
            skipped: json!({ "nonRetryable": 2 }),
            message: "restarted 6 entries in 2 calls, 0 refused, 2 skipped (2 nonRetryable)",
        },
        Row {
            name: "a body",
            action: "restart",
            fields: expression("entry.responseBody.contains('timeout') || entry.responseBody == '支払い'"),
            acted_on: &["bad-gateway", "without-status"],
            skipped: json!({ "nonRetryable": 2, "expression": 4 }),
            message: "restarted 2 entries in 2 calls, 0 refused, 6 skipped (2 nonRetryable, 4 expression)",
        },
        Row {
            name: "a header, and one that is no number",
            action: "resume",
            fields: expression(
                "'retry-after' in entry.responseHeaders && int(entry.responseHeaders['retry-after'][0]) <= 60",
            ),
            acted_on: &["unavailable"],
            skipped: json!({ "nonRetryable": 2, "expression": 4, "expressionError": 1 }),
            message: "resumed 1 entry in 2 calls, 0 refused, 7 skipped (2 nonRetryable, 4 expression, 1 expressionError)",
        },
        Row {
            name: "a header beside a status",
            action: "delete",
            fields: matching(json!({
                "responseStatuses": ["5xx"],
                "expression": "'server' in entry.responseHeaders && entry.responseStatus == 502",
            })),
            acted_on: &["bad-gateway"],
            skipped: json!({ "status": 4, "expression": 3 }),
            message: "deleted 1 entry in 2 calls, 0 refused, 7 skipped (4 status, 3 expression)",
        },
        Row {
            name: "labels without those that count",
            action: "resume",
            fields: expression(
                "entry.labels == ['payments'] && entry.attempts == 1 && entry.responseStatus == 404",
            ),
            acted_on: &["not-found"],
            skipped: json!({ "nonRetryable": 2, "expression": 5 }),
            message: "resumed 1 entry in 2 calls, 0 refused, 7 skipped (2 nonRetryable, 5 expression)",
        },
        Row {
            name: "attempts that others counted",
            action: "delete",
            fields: matching(json!({ "attempts": { "min": 2 } })),
            acted_on: &[],
            skipped: json!({ "attempts": 8 }),
            message: "nothing matched, 8 skipped (8 attempts)",
        },
        Row {
            name: "a time of failure that cannot be read",
            action: "restart",
            fields: json!({ "filters": { "olderThan": "1ms" }, "match": { "responseStatuses": ["5xx"] } }),
            acted_on: &[],
            skipped: json!({ "unjudged": 8 }),
            message: "nothing matched, 8 skipped (8 unjudged)",
        },
        Row {
            name: "none",
            action: "resume",
            fields: expression("entry.failedAt > now"),
            acted_on: &[],
            skipped: json!({ "nonRetryable": 2, "expression": 6 }),
            message: "nothing matched, 8 skipped (2 nonRetryable, 6 expression)",
        },
    ]
}

/// What a column of `kubectl get` shows, by policy.
fn column(table: &str, name: &str) -> BTreeMap<String, String> {
    let start = table.lines().next().unwrap().find(name).unwrap();
    let cell = |line: &str| {
        let (policy, _) = line.split_once(' ').unwrap();
        // An empty cell begins with a space.
        let cell = line[start..].split(' ').next().unwrap();
        (policy.to_owned(), cell.to_owned())
    };
    table.lines().skip(1).map(cell).collect()
}

#[tokio::test]
async fn exactly_what_matches_is_acted_on_and_the_rest_is_told_by_reason() {
    let scene = Scene::start_with("matching", &[]).await;
    let rows = rows();
    let cases = rows.iter().map(|row| Case { entries: entries(), spec: all(row.action, row.fields.clone()) });
    let outcomes = Cases::apply(&scene, cases.collect()).await.outcomes().await;
    let table = scene.kubectl(&["get", "dlqp", "--output=wide"]).await;
    let column = column(&table, "SKIPPED");
    let mut differences = Differences::default();
    for (index, (row, outcome)) in rows.iter().zip(&outcomes).enumerate() {
        let (status, run) = (&outcome.status, &outcome.status["lastRun"]);
        let expected: BTreeSet<_> = row.acted_on.iter().copied().collect();
        differences.expect_eq(row.name, "acted on", acted_on(&outcome.ledger), expected);
        differences.expect_eq(row.name, "processed", &run["processed"], &json!(row.acted_on.len()));
        differences.expect_eq(row.name, "skipped", &run["skipped"], &row.skipped);
        let total: i64 = row.skipped.as_object().unwrap().values().filter_map(Value::as_i64).sum();
        differences.expect_eq(row.name, "all that is skipped", &status["skipped"], &json!(total));
        let shown = column.get(&cases::name(index)).map(String::as_str);
        differences.expect_eq(row.name, "the column", shown, Some(total.to_string().as_str()));
        let last = condition(status, "LastRunSucceeded");
        differences.expect_eq(row.name, "went well", &last["status"], &json!("True"));
        let reason = if row.acted_on.is_empty() { "NothingMatched" } else { "RunSucceeded" };
        differences.expect_eq(row.name, "reason", &last["reason"], &json!(reason));
        differences.expect_eq(row.name, "message", &last["message"], &json!(row.message));
        // Only loopProtection counts: what is acted on without it keeps the labels that it has.
        for run in &outcome.ledger.workflow_runs {
            differences.expect_eq(
                row.name,
                "labels",
                &run.labels[..],
                &["payments", "dlq-attempt-1"].map(str::to_owned),
            );
        }
        for call in acting(&outcome.ledger) {
            differences.expect_eq(row.name, "labels that are sent", call.header("upstash-label"), None);
        }
    }
    differences.report();
}

#[tokio::test]
async fn an_expression_that_cannot_be_read_is_told_with_its_place_and_nothing_runs() {
    let scene = Scene::start("unreadable").await;
    scene.simulator.generate(DLQ, 3, &Entry::default()).await.unwrap();
    let spec = |expression: &str| all("resume", json!({ "match": { "expression": expression } }));
    let table = [
        ("half", "entry.responseStatus >", "line 1, column "),
        ("second-line", "entry.attempts < 3\n  && entry.responseBody.contains('a'", "line 2, column "),
        ("field", "entry.status == 500", "entry.status is not known; entry has dlqId"),
        ("variable", "item.responseStatus == 500", "item is not known; there are entry and now"),
        ("function", "entry.responseBody.split(' ').size() > 3", "split is not a known function"),
    ];
    for (name, expression, _) in table {
        scene.apply(name, spec(expression)).await;
    }
    for (name, _, said) in table {
        let status = scene.condition(name, "Ready", "False", "InvalidSpec").await;
        let message = condition(&status, "Ready")["message"].as_str().unwrap().to_owned();
        assert!(
            message.starts_with("spec.match.expression: ") && message.contains(said),
            "{name}: {message}"
        );
        assert_eq!(condition(&status, "Stalled")["status"], "True", "{name}");
        assert_eq!((&status["phase"], &status["totals"]["runs"]), (&json!("Invalid"), &json!(0)), "{name}");
        assert_eq!(status["message"], message.as_str(), "{name}");
    }
    assert_eq!(scene.simulator.ledger(DLQ).await.unwrap().calls.len(), 0);
    scene.patch("half", json!({ "match": { "expression": "entry.responseStatus >= 500" } })).await;
    assert_eq!(scene.ran("half", 1).await["lastRun"]["processed"], 3);
}
