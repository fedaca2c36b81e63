//! What bounds, holds and disturbs a run that decides on each entry.

use jiff::Timestamp;
use serde_json::{Value, json};
use testbed::{Entry, Fate, Order, eventually};

use super::{acted_on, acting, all, protected};
use crate::at_most_once::tempt;
use crate::cases::{self, Case, Cases, Outcome};
use crate::scene::{DLQ, PATIENCE, Scene, TOKEN, condition};

/// Every other one failed with 503, the others with 404.
fn entries(count: usize) -> Vec<Entry> {
    let status = |index: usize| Some(if index.is_multiple_of(2) { 503 } else { 404 });
    (0..count).map(|index| Entry { response_status: status(index), ..Entry::default() }).collect()
}

fn unavailable(action: &str, further: Value) -> Value {
    let mut spec = all(action, further);
    spec["match"] = json!({ "responseStatuses": ["503"] });
    spec
}

#[tokio::test]
async fn a_dry_run_counts_what_matches_and_acts_on_nothing() {
    let scene = Scene::start("dry-match").await;
    scene.simulator.add(DLQ, &entries(240)).await.unwrap();
    let spec = |further: Value| {
        let mut spec = unavailable("resume", further);
        spec["dryRun"] = json!(true);
        spec
    };
    scene.apply("whole", spec(json!({}))).await;
    let status = scene.ran("whole", 1).await;
    let run = &status["lastRun"];
    assert_eq!((&run["processed"], &run["skipped"]), (&json!(120), &json!({ "status": 120 })), "{run:#}");
    let message = "dry run: 120 entries match, nothing was done, 120 skipped (120 status)";
    assert_eq!((&run["message"], &run["reason"]), (&json!(message), &json!("DryRunSucceeded")));
    assert_eq!(run["summary"]["responseStatuses"], json!([{ "value": "503", "count": 120 }]), "{run:#}");
    assert_eq!((&status["skipped"], &status["labelProbes"]), (&json!(120), &Value::Null));
    scene.apply("some", spec(json!({ "limits": { "maxEntriesPerRun": 70 } }))).await;
    let run = scene.ran("some", 1).await["lastRun"].take();
    assert_eq!((&run["processed"], &run["result"]), (&json!(70), &json!("LimitReached")), "{run:#}");
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert!(ledger.calls_of("list").count() >= 3);
    assert_eq!(acting(&ledger).len(), 0);
}

#[tokio::test]
async fn a_run_stops_within_a_call_when_it_is_cancelled_and_when_match_is_edited() {
    let scene = Scene::start("cancelled-match").await;
    let table = [("asked", None), ("edited", Some(json!({ "match": { "responseStatuses": ["404"] } })))];
    let spec = |name: &str| {
        let connection = json!({ "tokenSecretRef": { "name": name, "key": "token" } });
        unavailable("resume", json!({ "limits": { "pageSize": 10 }, "connection": connection }))
    };
    let mut rules = Vec::new();
    for (name, _) in &table {
        let token = format!("token-of-{name}");
        scene.simulator.allow(&token, name).await.unwrap();
        scene.apply_secret(name, "token", &token).await;
        scene.simulator.add(name, &entries(400)).await.unwrap();
        rules.push(json!({ "dlq": name, "operation": "resume", "fault": { "latency": { "ms": 500 } } }));
    }
    scene.simulator.set_faults(&json!(rules)).await.unwrap();
    for (name, edit) in table {
        scene.apply(name, spec(name)).await;
        let before = scene
            .status(name, "a call has landed", |status| status["currentRun"]["processed"].as_i64() > Some(0))
            .await;
        match &edit {
            None => scene.annotate(name, &[("cancelAt", "1")]).await,
            Some(edit) => scene.patch(name, edit.clone()).await,
        }
        let status = scene
            .status(name, "the run has ended", |status| status["totals"]["runs"].as_i64() > Some(0))
            .await;
        let cancelled = status["history"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(cancelled["result"], "Cancelled", "{name}: {cancelled:#}");
        assert_eq!(cancelled["id"], before["currentRun"]["id"], "{name}");
        let processed = cancelled["processed"].as_u64().unwrap();
        let ledger = scene.simulator.ledger(name).await.unwrap();
        let resumed = u64::try_from(ledger.with_fate(Fate::Resumed).count()).unwrap();
        assert!(processed > 0 && processed < 150, "{name}: {processed}");
        if edit.is_none() {
            assert_eq!(processed, resumed, "{name}: the call under way is waited for and counted");
            continue;
        }
        // The new work begins at once.
        scene.simulator.clear_faults().await.unwrap();
        let status = scene.ran(name, 2).await;
        let run = &status["lastRun"];
        assert_eq!((&run["trigger"], &run["processed"]), (&json!("Spec"), &json!(200)), "{run:#}");
        assert_eq!(run["skipped"], json!({ "status": 200 - processed }));
        assert_ne!(status["lastHandledSpecHash"], before["lastHandledSpecHash"]);
    }
}

#[tokio::test]
async fn what_a_spec_without_match_is_known_by_is_what_older_operators_knew_it_by() {
    let scene = Scene::start("hashes").await;
    // That of `tests/data/stored/handled.yaml`, but for its schedule, which is no part of it.
    let spec = json!({ "action": "delete", "filters": { "labels": ["old"], "olderThan": "30d" } });
    let known = "abd4d3f68a72d3c2";
    scene.apply("older", spec.clone()).await;
    assert_eq!(scene.ran("older", 1).await["lastHandledSpecHash"], known);
    scene.patch("older", json!({ "backlog": { "interval": "1h" }, "historyLimit": 3 })).await;
    let status = scene.status("older", "the edit is seen", |status| status["observedGeneration"] == 2).await;
    assert_eq!((&status["lastHandledSpecHash"], &status["totals"]["runs"]), (&json!(known), &json!(1)));
    scene.patch("older", json!({ "match": { "responseStatuses": ["5xx"] } })).await;
    let status = scene.ran("older", 2).await;
    assert_ne!(status["lastHandledSpecHash"], known);
    scene.patch("older", json!({ "match": null })).await;
    assert_eq!(scene.ran("older", 3).await["lastHandledSpecHash"], known);
}

#[tokio::test]
async fn a_run_that_matches_acts_on_as_many_as_it_may_and_as_fast_as_it_may() {
    let scene = Scene::start_with("bounded-match", &[]).await;
    let limited = |limits: Value| unavailable("restart", json!({ "limits": limits }));
    let cases = [
        json!({ "maxEntriesPerRun": 130 }),
        json!({ "maxEntriesPerRun": 7, "pageSize": 5 }),
        json!({ "entriesPerSecond": 40, "pageSize": 100 }),
    ];
    let cases = cases.map(|limits| Case { entries: entries(300), spec: limited(limits) });
    let outcomes = Cases::apply(&scene, cases.into()).await.outcomes().await;
    let [most, few, slow] = &outcomes[..] else { panic!() };
    for (outcome, processed) in [(most, 130), (few, 7)] {
        let run = &outcome.status["lastRun"];
        assert_eq!(
            (&run["result"], &run["processed"]),
            (&json!("LimitReached"), &json!(processed)),
            "{run:#}"
        );
        assert_eq!(outcome.ledger.with_fate(Fate::Restarted).count(), processed);
        assert_eq!(condition(&outcome.status, "LastRunSucceeded")["status"], "True");
    }
    let run = &slow.status["lastRun"];
    assert_eq!((&run["result"], &run["processed"]), (&json!("Succeeded"), &json!(150)), "{run:#}");
    let time = |field: &str| run[field].as_str().unwrap().parse::<Timestamp>().unwrap();
    let took = time("completionTime").duration_since(time("startTime")).as_millis();
    // A second's worth at once, and then so many a second.
    assert!(took >= 2500, "{took} ms for 150 entries at 40 a second");
    // The next run continues where the limit ended one.
    let name = cases::name(0);
    scene.annotate(&name, &[("requestedAt", "1")]).await;
    let run = scene.ran(&name, 2).await["lastRun"].take();
    assert_eq!((&run["result"], &run["processed"]), (&json!("Succeeded"), &json!(20)), "{run:#}");
}

#[tokio::test]
async fn a_run_that_matches_comes_to_the_same_end_in_either_order_and_past_what_is_refused() {
    const ENTRIES: usize = 600;
    let scene = Scene::start_with("order-match", &[]).await;
    for (index, order) in Order::BOTH.into_iter().enumerate() {
        scene.simulator.set_order(&cases::name(index), order).await.unwrap();
        tempt(&scene.simulator, &cases::name(index)).await;
    }
    let poisoned = || {
        let entry = |(index, entry): (usize, Entry)| Entry { unresumable: index % 100 == 40, ..entry };
        entries(ENTRIES).into_iter().enumerate().map(entry).collect()
    };
    let mut spec = protected("resume", 3, json!({}));
    spec["match"] = json!({ "responseStatuses": ["503"] });
    let cases = Order::BOTH.map(|_| Case { entries: poisoned(), spec: spec.clone() });
    for Outcome { status, ledger } in Cases::apply(&scene, cases.into()).await.outcomes().await {
        let run = &status["lastRun"];
        let counts = ["result", "processed", "rejected", "notFound"].map(|field| &run[field]);
        assert_eq!(counts, [&json!("Succeeded"), &json!(294), &json!(6), &json!(0)], "{run:#}");
        assert_eq!(run["skipped"], json!({ "status": 300 }), "{run:#}");
        assert!(run["message"].as_str().unwrap().contains("6 refused"), "{run:#}");
        assert_eq!(acted_on(&ledger).len(), 294);
        assert!(ledger.workflow_runs.iter().all(|run| run.labels == ["dlq-attempt-1"]));
        // A refused call for each, and two more for each halving, at most.
        assert!(acting(&ledger).len() <= 6 + 6 * 13, "{} calls", acting(&ledger).len());
    }
}

#[tokio::test]
async fn entries_that_another_client_takes_meanwhile_are_counted_as_not_found() {
    const ENTRIES: usize = 60;
    let scene = Scene::start("taken").await;
    let entry = |index: usize| Entry { labels: vec![format!("order-{index}")], ..Entry::default() };
    let entries: Vec<_> = (0..ENTRIES).map(entry).collect();
    let ids = scene.simulator.add(DLQ, &entries).await.unwrap();
    scene.simulator.allow("other-client-51e0", DLQ).await.unwrap();
    let slow = json!([{ "token": TOKEN, "operation": "resume", "fault": { "latency": { "ms": 50 } } }]);
    scene.simulator.set_faults(&slow).await.unwrap();
    scene.apply("drain", protected("resume", 3, json!({}))).await;
    eventually(PATIENCE, "the run acts", async || {
        scene.simulator.ledger(DLQ).await.unwrap().workflow_runs.len() > 5
    })
    .await
    .unwrap();
    let client = reqwest::Client::new();
    for ids in ids.chunks(50) {
        // Every third of what the run has in hand.
        let some: Vec<_> = ids.iter().step_by(3).map(String::as_str).collect();
        let url = format!("{}/v2/workflows/dlq?dlqIds={}", scene.simulator.api_url(), some.join(","));
        client.delete(url).bearer_auth("other-client-51e0").send().await.unwrap().error_for_status().unwrap();
    }
    let run = scene.ran("drain", 1).await["lastRun"].take();
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    let taken = ledger.with_fate(Fate::Deleted).count();
    assert!(taken > 5, "the other client came too late: {taken}");
    let counts = ["result", "processed", "notFound", "rejected"].map(|field| &run[field]);
    let resumed = ENTRIES - taken;
    assert_eq!(counts, [&json!("Succeeded"), &json!(resumed), &json!(taken), &json!(0)], "{run:#}");
    assert_eq!(ledger.with_fate(Fate::Resumed).count(), resumed);
    assert_eq!(ledger.with_fate(Fate::InDlq).count(), 0);
    assert_eq!(
        condition(&scene.policy("drain").await["status"], "LastRunSucceeded")["reason"],
        "RunSucceeded"
    );
}
