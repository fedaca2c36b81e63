//! What bounds a run: entries, also where the API gives more than was asked for, and time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Query, State};
use axum::routing::post;
use axum::{Json, Router};
use dlq_operator::runtime::clock;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use testbed::{Entry, Fate, LedgerCall, Simulator, eventually};

use crate::cases::{self, Case, Cases, Differences};
use crate::scene::{DLQ, PATIENCE, Scene, condition};

fn entries(count: usize) -> Vec<Entry> {
    (0..count).map(|index| Entry { dlq_id: Some(format!("dlq-{index}")), ..Entry::default() }).collect()
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("dlq-{index}")).collect()
}

/// How many entries a call may act on or list at most.
fn asked(call: &LedgerCall) -> usize {
    let of = |name: &str| {
        let pairs = call.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).collect::<Vec<_>>()
    };
    let ids: usize =
        of("dlqIds").iter().map(|value| value.split("%2C").flat_map(|part| part.split(',')).count()).sum();
    of("count").first().map_or(ids, |count| count.parse().unwrap())
}

#[tokio::test]
async fn a_run_asks_for_what_is_left_of_its_limit_and_never_for_more() {
    struct Row {
        name: &'static str,
        entries: usize,
        spec: Value,
        asked: &'static [usize],
        processed: i64,
        result: &'static str,
    }
    let row =
        |name, entries, spec, asked, processed, result| Row { name, entries, spec, asked, processed, result };
    let all = |limits: Value| json!({ "action": "resume", "filters": { "all": true }, "limits": limits });
    let dry = json!({
        "action": "delete", "filters": { "all": true }, "dryRun": true,
        "limits": { "pageSize": 20, "maxEntriesPerRun": 50 },
    });
    let delete = json!({
        "action": "delete", "filters": { "all": true }, "limits": { "pageSize": 30, "maxEntriesPerRun": 31 },
    });
    let some_ids = json!({
        "action": "restart", "filters": { "dlqIds": ids(40) }, "limits": { "pageSize": 25, "maxEntriesPerRun": 30 },
    });
    let missing_ids = json!({
        "action": "resume", "filters": { "dlqIds": ids(20) }, "limits": { "pageSize": 8, "maxEntriesPerRun": 10 },
    });
    let max = |page: u32, most: u32| all(json!({ "pageSize": page, "maxEntriesPerRun": most }));
    let paced = all(json!({ "pageSize": 50, "maxEntriesPerRun": 25, "entriesPerSecond": 10 }));
    let table = [
        row("less than a page", 60, max(50, 7), &[7], 7, "LimitReached"),
        row("one", 3, max(50, 1), &[1], 1, "LimitReached"),
        row("whole pages", 60, max(20, 40), &[20, 20], 40, "LimitReached"),
        row("pages that come short", 120, max(100, 70), &[70, 20], 70, "LimitReached"),
        row("as many as there are", 40, max(20, 40), &[20, 20], 40, "Succeeded"),
        row("more than there are", 30, max(20, 40), &[20, 20], 30, "Succeeded"),
        row("paced", 60, paced, &[10, 10, 5], 25, "LimitReached"),
        row("a delete", 60, delete, &[30, 1], 31, "LimitReached"),
        row("a dry run", 60, dry, &[20, 20, 10], 50, "LimitReached"),
        row("named", 40, some_ids, &[25, 5], 30, "LimitReached"),
        // Of the twenty the last eight are gone: nothing is acted on before they are reached.
        row("named and partly gone", 12, missing_ids, &[8, 2], 10, "LimitReached"),
    ];
    let scene = Scene::start("max-entries").await;
    let cases = table.iter().map(|row| Case { entries: entries(row.entries), spec: row.spec.clone() });
    let applied = Cases::apply(&scene, cases.collect()).await;
    let mut differences = Differences::default();
    for (row, outcome) in table.iter().zip(applied.outcomes().await) {
        let run = &outcome.status["lastRun"];
        differences.expect_eq(row.name, "result", &run["result"], &json!(row.result));
        differences.expect_eq(row.name, "processed", &run["processed"], &json!(row.processed));
        let asked: Vec<_> = outcome.ledger.calls.iter().map(asked).collect();
        differences.expect_eq(row.name, "asked for", asked.as_slice(), row.asked);
        let acted = outcome.ledger.entries.iter().filter(|entry| entry.fate != Fate::InDlq).count();
        let is_dry = run["dryRun"] == true;
        let expected = if is_dry { 0 } else { usize::try_from(row.processed).unwrap() };
        differences.expect_eq(row.name, "acted on", acted, expected);
        let last = condition(&outcome.status, "LastRunSucceeded");
        differences.expect_eq(row.name, "went well", &last["status"], &json!("True"));
        differences.expect_eq(row.name, "failures", &outcome.status["consecutiveFailures"], &json!(0));
    }
    differences.report();
}

/// What a server was asked that gives sixty entries whatever the count.
type Counts = Arc<Mutex<Vec<String>>>;

async fn give_sixty(
    State(counts): State<Counts>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Json<Value> {
    let mut counts = counts.lock().unwrap();
    counts.push(query.get("count").cloned().unwrap_or_default());
    let runs: Vec<_> =
        (0..60).map(|run| json!({ "workflowRunId": format!("wfr_{}_{run}", counts.len()) })).collect();
    Json(json!({ "workflowRuns": runs, "cursor": format!("page-{}", counts.len()) }))
}

#[tokio::test]
async fn a_page_that_brings_more_than_was_asked_for_is_counted_and_ends_the_run() {
    let counts = Counts::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router =
        Router::new().route("/v2/workflows/dlq/resume", post(give_sixty)).with_state(Arc::clone(&counts));
    // Ends with the test's runtime.
    tokio::spawn(async move { axum::serve(listener, router).await });
    let simulator = Simulator::start().await.unwrap();
    let scene = Scene::start_behind("generous", simulator, url, &[]).await;
    let limits = json!({ "pageSize": 20, "maxEntriesPerRun": 130 });
    scene
        .apply("generous", json!({ "action": "resume", "filters": { "all": true }, "limits": limits }))
        .await;
    let status = scene.ran("generous", 1).await;
    let run = &status["lastRun"];
    assert_eq!(
        (&run["result"], &run["processed"], &run["pages"]),
        (&json!("LimitReached"), &json!(180), &json!(3))
    );
    assert_eq!((&status["processed"], &status["totals"]["processed"]), (&json!(180), &json!(180)));
    assert_eq!(*counts.lock().unwrap(), ["20", "20", "10"]);
}

#[tokio::test]
async fn a_run_ends_within_a_page_of_its_deadline_and_nothing_is_called_after_it() {
    const PAGE: i64 = 1500;
    const DEADLINE: i64 = 4;
    /// How late something may be on a busy machine.
    const LATE: i64 = 1500;
    let mut scene = Scene::start("deadline").await;
    let spec = |further: Value| {
        let mut spec = json!({
            "action": "resume", "filters": { "all": true }, "limits": { "activeDeadlineSeconds": DEADLINE },
            "failurePolicy": { "openCircuitAfter": 1 },
        });
        spec.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        spec
    };
    // The pages of the first two are slow; the third waits.
    let specs = [spec(json!({})), spec(json!({ "dryRun": true })), spec(json!({ "action": "delete" }))];
    let limit = json!({ "status": { "code": 429, "headers": { "Retry-After": "600" } } });
    let latency = json!({ "latency": { "ms": PAGE } });
    scene
        .simulator
        .set_faults(&json!([
            { "dlq": cases::name(0), "fault": latency },
            { "dlq": cases::name(1), "fault": latency },
            { "dlq": cases::name(2), "from": 2, "fault": limit },
        ]))
        .await
        .unwrap();
    let cases = specs.map(|spec| Case { entries: entries(600), spec });
    let applied = Cases::apply(&scene, cases.into()).await;
    let outcomes = applied.outcomes().await;
    for (index, outcome) in outcomes.iter().enumerate() {
        let (status, run) = (&outcome.status, &outcome.status["lastRun"]);
        assert_eq!(
            (&run["result"], &run["reason"]),
            (&json!("DeadlineExceeded"), &json!("DeadlineExceeded"))
        );
        let millis = |value: &Value| value.as_str().unwrap().parse::<Timestamp>().unwrap().as_millisecond();
        let took = millis(&run["completionTime"]) - millis(&run["startTime"]);
        let page = if index == 2 { 0 } else { PAGE };
        assert!(
            (DEADLINE * 1000..DEADLINE * 1000 + page + LATE).contains(&took),
            "{index}: {took} ms: {run:#}"
        );
        let acted: usize = outcome.ledger.calls.iter().map(|call| call.dlq_ids.len()).sum();
        assert_eq!(run["processed"], acted, "{index}: what was done is counted");
        // A dry run counts towards no circuit.
        let (failures, phase) = if run["dryRun"] == true { (0, "Failed") } else { (1, "CircuitOpen") };
        assert_eq!(
            (&status["consecutiveFailures"], &status["totals"]["failedRuns"], &status["phase"]),
            (&json!(failures), &json!(1), &json!(phase)),
            "{index}: {status:#}"
        );
        let last = condition(status, "LastRunSucceeded");
        assert_eq!((&last["status"], &last["reason"]), (&json!("False"), &json!("DeadlineExceeded")));
    }

    // A deadline that passes while nobody runs the run.
    scene.simulator.generate(DLQ, 600, &Entry::default()).await.unwrap();
    scene.simulator.add_faults(&json!([{ "dlq": DLQ, "fault": latency }])).await.unwrap();
    scene.apply("down", spec(json!({}))).await;
    let going_on = |status: &Value| status["currentRun"]["pages"].as_i64() > Some(0);
    let status = scene.status("down", "a page has landed", going_on).await;
    scene.operator.kill().unwrap();
    let start: Timestamp = status["currentRun"]["startTime"].as_str().unwrap().parse().unwrap();
    let over = start + SignedDuration::from_secs(DEADLINE);
    eventually(PATIENCE, "the deadline passes", async || clock::now() > over).await.unwrap();
    scene.operator.restart(None).await.unwrap();
    let status = scene.ran("down", 1).await;
    assert_eq!(status["lastRun"]["result"], "DeadlineExceeded");
    assert_eq!(status["lastRun"]["interruptions"], 1);
    let calls = scene.simulator.ledger(DLQ).await.unwrap().calls;
    assert!(calls.iter().all(|call| call.at < over.as_millisecond()), "{calls:#?}");

    // By now everything that could still have been called after the first ones' ends was.
    for (index, before) in outcomes.iter().enumerate() {
        let calls = scene.simulator.ledger(&cases::name(index)).await.unwrap().calls;
        assert_eq!(calls.len(), before.ledger.calls.len(), "{index}: nothing is called after the end");
    }
}
