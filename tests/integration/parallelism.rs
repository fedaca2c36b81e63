//! Several calls of a run at once: `limits.parallelism`.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testbed::{Entry, Fate, Ledger, LedgerCall};

use crate::scene::{DLQ, Scene};

const HOUR: u32 = 3_600_000;

/// A policy that resumes all there is.
fn resume(limits: &Value) -> Value {
    json!({ "action": "resume", "filters": { "all": true }, "limits": limits })
}

/// The most calls that were under way at once.
fn most_at_once(calls: &[LedgerCall]) -> usize {
    let under_way = |at: i64| calls.iter().filter(|call| call.arrived_at <= at && at < call.at).count();
    calls.iter().map(|call| under_way(call.arrived_at)).max().unwrap_or_default()
}

/// A parameter of a call.
fn parameter<'a>(call: &'a LedgerCall, name: &str) -> Option<&'a str> {
    let pairs = call.query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// From the first call to the last, in milliseconds.
fn took(calls: &[LedgerCall]) -> i64 {
    let first = calls.iter().map(|call| call.arrived_at).min().unwrap();
    calls.iter().map(|call| call.at).max().unwrap() - first
}

/// Each entry was acted on once, and the run counted all of them.
fn assert_exact(run: &Value, ledger: &Ledger, entries: usize) {
    assert_eq!(
        (&run["result"], &run["processed"], &run["uncertainPages"], &run["interruptions"]),
        (&json!("Succeeded"), &json!(entries), &json!(0), &json!(0)),
        "{run:#}"
    );
    let acted_on: BTreeSet<_> = ledger.workflow_runs.iter().map(|run| &run.from_dlq_id).collect();
    assert_eq!((acted_on.len(), ledger.workflow_runs.len()), (entries, entries));
}

#[tokio::test]
async fn eight_cursors_are_faster_than_one_and_end_with_a_call_over_the_whole_window() {
    let scene = Scene::start("several-cursors").await;
    let mut times = Vec::new();
    for parallelism in [1, 8] {
        scene.simulator.clear(DLQ).await.unwrap();
        scene.simulator.generate_spread(DLQ, 3000, 24 * HOUR).await.unwrap();
        scene.slow_down(100).await;
        let name = format!("cursors-{parallelism}");
        scene.apply(&name, resume(&json!({ "parallelism": parallelism }))).await;
        let run = scene.ran(&name, 1).await["lastRun"].take();
        let ledger = scene.simulator.ledger(DLQ).await.unwrap();
        assert_exact(&run, &ledger, 3000);
        assert!(run["windows"].is_null(), "{run:#}");
        let calls = &ledger.calls;
        assert!(most_at_once(calls) <= parallelism, "{} at once", most_at_once(calls));
        let bulk: Vec<_> = calls.iter().filter(|call| call.operation == "resume").collect();
        let [first, .., last] = &*bulk else { panic!("{bulk:?}") };
        assert_eq!(parameter(first, "toDate"), parameter(last, "toDate"), "the whole window");
        assert_eq!(
            (parameter(last, "fromDate"), parameter(last, "cursor").is_some()),
            (None, parallelism == 1)
        );
        times.push((took(calls), calls.len()));
    }
    let [(one, calls), (eight, more)] = *times else { panic!("{times:?}") };
    // A busy machine takes its share; by the clock of the unit tests it is four times.
    assert!(one > 2 * eight && more * 2 <= calls * 3, "{times:?}");
}

#[tokio::test]
async fn the_next_process_continues_all_windows_of_one_that_was_killed() {
    let mut scene = Scene::start_with("windows-taken-over", &["--checkpoint-interval=100ms"]).await;
    scene.simulator.generate_spread(DLQ, 6000, HOUR).await.unwrap();
    scene.slow_down(150).await;
    scene.apply("drain", resume(&json!({ "parallelism": 6 }))).await;
    let status = scene
        .status("drain", "there are windows", |status| {
            status["currentRun"]["windows"].as_array().is_some_and(|windows| windows.len() >= 4)
                && status["currentRun"]["processed"].as_i64() > Some(1000)
        })
        .await;
    let windows = status["currentRun"]["windows"].as_array().unwrap();
    assert!(windows.len() <= 32 && status["currentRun"]["cursor"].is_null(), "{status:#}");
    assert!(windows.windows(2).all(|pair| pair[0]["toDate"].as_str() < pair[1]["fromDate"].as_str()));
    scene.operator.kill().unwrap();
    let before = scene.simulator.ledger(DLQ).await.unwrap().calls.len();
    scene.operator.restart(None).await.unwrap();
    let run = scene.ran("drain", 1).await["lastRun"].take();
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_eq!(ledger.with_fate(Fate::Resumed).count(), 6000, "none is left");
    assert_eq!(ledger.workflow_runs.len(), 6000, "none was acted on twice");
    assert_eq!((&run["result"], &run["interruptions"]), (&json!("Succeeded"), &json!(1)), "{run:#}");
    let unknown = 6000 - run["processed"].as_i64().unwrap();
    assert!((0..=12 * 50).contains(&unknown), "{unknown} are not counted");
    let after = ledger.calls.iter().filter(|call| call.arrived_at > ledger.calls[before - 1].at);
    let first: Vec<_> = after.take(4).collect();
    assert!(
        first.iter().any(|call| parameter(call, "fromDate").is_some()),
        "windows are continued: {first:?}"
    );
}

#[tokio::test]
async fn limits_and_rates_are_those_of_the_whole_run() {
    let scene = Scene::start("several-limits").await;
    scene.simulator.generate_spread(DLQ, 2000, HOUR).await.unwrap();
    scene.slow_down(30).await;
    scene.apply("limited", resume(&json!({ "parallelism": 8, "maxEntriesPerRun": 777 }))).await;
    let run = scene.ran("limited", 1).await["lastRun"].take();
    assert_eq!((&run["result"], &run["processed"]), (&json!("LimitReached"), &json!(777)), "{run:#}");
    let acted = scene.simulator.ledger(DLQ).await.unwrap().workflow_runs.len();
    assert_eq!(acted, 777);
    let paced = json!({ "parallelism": 8, "maxEntriesPerRun": 500, "entriesPerSecond": 100, "pageSize": 20 });
    scene.apply("paced", resume(&paced)).await;
    scene.ran("paced", 1).await;
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    let calls: Vec<_> =
        ledger.calls.iter().filter(|call| parameter(call, "count") == Some("20")).cloned().collect();
    // 500 entries at 100 a second; a second's worth may come at once.
    assert!(took(&calls) >= 3900, "{} ms", took(&calls));
}

#[tokio::test]
async fn a_dry_run_counts_each_entry_once_and_named_entries_and_listed_ones_are_acted_on_side_by_side() {
    let scene = Scene::start("several-ways").await;
    scene.slow_down(60).await;
    let rows = [
        ("dry", json!({ "dryRun": true }), 2000, false),
        ("listed", json!({ "loopProtection": { "maxAttempts": 3 } }), 2000, true),
        ("named", json!({}), 600, true),
    ];
    for (name, fields, entries, acts) in rows {
        scene.simulator.clear(DLQ).await.unwrap();
        let ids = scene.simulator.generate_spread(DLQ, entries, HOUR).await.unwrap();
        let mut spec = resume(&json!({ "parallelism": 6 }));
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        if name == "named" {
            spec["filters"] = json!({ "dlqIds": ids });
        }
        scene.apply(name, spec).await;
        let run = scene.ran(name, 1).await["lastRun"].take();
        let ledger = scene.simulator.ledger(DLQ).await.unwrap();
        if acts {
            assert_exact(&run, &ledger, entries);
        } else {
            assert_eq!(
                (&run["result"], &run["processed"]),
                (&json!("Succeeded"), &json!(entries)),
                "{run:#}"
            );
            assert!(ledger.workflow_runs.is_empty());
        }
        let at_once = most_at_once(&ledger.calls);
        assert!((3..=6).contains(&at_once), "{name}: {at_once} at once");
    }
}

#[tokio::test]
async fn each_call_under_way_takes_a_place_of_its_connection() {
    let scene = Scene::start_with("several-places", &["--max-runs-per-connection=3"]).await;
    scene.simulator.generate_spread(DLQ, 3000, HOUR).await.unwrap();
    scene.slow_down(60).await;
    scene.apply("wide", resume(&json!({ "parallelism": 16 }))).await;
    scene.ran("wide", 1).await;
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_eq!(most_at_once(&ledger.calls), 3);
}

#[tokio::test]
async fn a_cancelled_run_ends_with_the_calls_under_way() {
    let scene = Scene::start("several-cancelled").await;
    scene.simulator.generate_spread(DLQ, 6000, HOUR).await.unwrap();
    scene.slow_down(200).await;
    scene.apply("drain", resume(&json!({ "parallelism": 8 }))).await;
    scene
        .status("drain", "it is at work", |status| status["currentRun"]["processed"].as_i64() > Some(800))
        .await;
    scene.annotate("drain", &[("cancelAt", "now")]).await;
    let run = scene.ran("drain", 1).await["lastRun"].take();
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_eq!((&run["result"], &run["uncertainPages"]), (&json!("Cancelled"), &json!(0)), "{run:#}");
    assert_eq!(run["processed"], json!(ledger.workflow_runs.len()), "what was under way is counted");
    assert!(ledger.workflow_runs.len() < 6000);
}

#[tokio::test]
async fn entries_that_cannot_be_resumed_are_refused_one_by_one_in_each_window() {
    let scene = Scene::start("several-refused").await;
    scene.simulator.generate_spread(DLQ, 1500, HOUR).await.unwrap();
    let bad = Entry { unresumable: true, ..Entry::default() };
    scene.simulator.generate(DLQ, 3, &bad).await.unwrap();
    scene.slow_down(20).await;
    scene.apply("drain", resume(&json!({ "parallelism": 8 }))).await;
    let run = scene.ran("drain", 1).await["lastRun"].take();
    assert_eq!(
        (&run["result"], &run["processed"], &run["rejected"]),
        (&json!("Succeeded"), &json!(1500), &json!(3)),
        "{run:#}"
    );
}
