//! When runs start, what bounds them, and that each is done once.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Entry, Fate, eventually};

use crate::scene::{DLQ, Scene, condition};

fn all() -> Value {
    json!({ "action": "resume", "filters": { "all": true } })
}

fn with(mut spec: Value, part: Value) -> Value {
    let Value::Object(part) = part else { panic!("an object") };
    spec.as_object_mut().unwrap().extend(part);
    spec
}

#[tokio::test]
async fn without_a_schedule_a_policy_runs_once_for_each_new_spec() {
    let scene = Scene::start("once").await;
    scene.simulator.generate(DLQ, 10, &Entry::default()).await.unwrap();
    scene.apply("once", all()).await;
    assert_eq!(scene.ran("once", 1).await["lastRun"]["trigger"], "Spec");

    // Limits, history, suspend and back, a schedule and its removal start nothing.
    let edits = [
        json!({ "limits": { "pageSize": 10 } }),
        json!({ "historyLimit": 3 }),
        json!({ "suspend": true }),
        json!({ "suspend": false }),
        json!({ "schedule": "0 0 1 1 *" }),
        json!({ "schedule": null }),
    ];
    for (generation, edit) in (2..).zip(edits) {
        scene.patch("once", edit.clone()).await;
        let seen = scene
            .status("once", "the edit is seen", |status| status["observedGeneration"] == generation)
            .await;
        assert_eq!(seen["totals"]["runs"], 1, "{edit}");
    }
    scene.patch("once", json!({ "action": "restart" })).await;
    assert_eq!(scene.ran("once", 2).await["lastRun"]["action"], "restart");
}

#[tokio::test]
async fn a_schedule_runs_at_its_instants_and_never_for_one_before_it_was_seen() {
    let scene = Scene::start("scheduled").await;
    scene.simulator.generate(DLQ, 10, &Entry::default()).await.unwrap();
    scene.apply("every", with(all(), json!({ "schedule": "@every 4s" }))).await;
    let first =
        scene.status("every", "the schedule is seen", |status| status["nextScheduleTime"].is_string()).await;
    assert_eq!(first["totals"]["runs"], 0);
    assert_eq!(condition(&first, "Ready")["reason"], "Scheduled");
    let status = scene.ran("every", 2).await;
    let time = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let run = &status["lastRun"];
    assert_eq!(run["trigger"], "Schedule");
    let scheduled = time(&run["scheduledTime"]);
    assert_eq!(scheduled, time(&status["lastScheduleTime"]));
    assert_eq!(run["id"], format!("{}-schedule", scheduled.as_second()));
    let late = time(&run["startTime"]).duration_since(scheduled);
    assert!(late.is_positive() && late < jiff::SignedDuration::from_secs(3), "{late}");
    assert_eq!(scheduled.duration_since(time(&status["scheduleSince"])).as_secs() % 4, 0);
    assert_eq!(status["missedSchedules"], 0);
    assert_eq!(status["totals"]["processed"], 10);
    assert_eq!(condition(&status, "LastRunSucceeded")["reason"], "NothingMatched");
}

#[tokio::test]
async fn a_five_field_schedule_runs_on_the_minute() {
    let scene = Scene::start("minute").await;
    scene.apply("minute", with(all(), json!({ "schedule": "* * * * *", "timeZone": "Asia/Kolkata" }))).await;
    let status = eventually(Duration::from_secs(90), "the minute's run has ended", async || {
        let status = scene.policy("minute").await["status"].take();
        if status["totals"]["runs"] == 1 { Ok(status) } else { Err(status) }
    })
    .await
    .unwrap();
    assert!(status["lastScheduleTime"].as_str().unwrap().ends_with(":00Z"), "{status}");
}

#[tokio::test]
async fn a_suspended_policy_does_nothing_until_it_is_not() {
    let scene = Scene::start("suspended").await;
    scene.simulator.generate(DLQ, 10, &Entry::default()).await.unwrap();
    scene.apply("held", with(all(), json!({ "suspend": true }))).await;
    let status = scene.condition("held", "Ready", "True", "Suspended").await;
    assert_eq!((&status["phase"], &status["totals"]["runs"]), (&json!("Suspended"), &json!(0)));
    scene.annotate("held", &[("requestedAt", "one")]).await;
    scene.status("held", "the request is recorded", |status| status["lastHandledRequestedAt"] == "one").await;
    assert_eq!(scene.simulator.ledger(DLQ).await.unwrap().calls.len(), 0);
    scene.patch("held", json!({ "suspend": false })).await;
    assert_eq!(scene.ran("held", 1).await["lastRun"]["processed"], 10);
}

#[tokio::test]
async fn a_dry_run_lists_and_counts_and_acts_on_nothing() {
    let scene = Scene::start("dry").await;
    let labelled = Entry { labels: vec!["a".to_owned()], ..Entry::default() };
    scene.simulator.generate(DLQ, 123, &labelled).await.unwrap();
    scene.simulator.generate(DLQ, 77, &Entry::default()).await.unwrap();
    let spec = json!({ "action": "delete", "dryRun": true, "filters": { "labels": ["a"] } });
    scene.apply("dry", spec).await;
    let status = scene.ran("dry", 1).await;
    assert_eq!((&status["processed"], &status["lastRun"]["pages"]), (&json!(123), &json!(3)));
    assert_eq!(status["lastRun"]["dryRun"], true);
    assert_eq!(condition(&status, "LastRunSucceeded")["reason"], "DryRunSucceeded");
    assert_eq!(status["totals"], json!({ "runs": 1, "failedRuns": 0, "processed": 0 }));
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert!(ledger.calls.iter().all(|call| call.operation == "list"));
    assert_eq!(ledger.with_fate(Fate::InDlq).count(), 200);
}

#[tokio::test]
async fn the_page_size_and_the_limit_of_a_run_are_kept_exactly() {
    let scene = Scene::start("limits").await;
    scene.simulator.generate(DLQ, 100, &Entry::default()).await.unwrap();
    let limits = json!({ "limits": { "pageSize": 20, "maxEntriesPerRun": 50 } });
    scene.apply("limited", with(all(), limits)).await;
    let status = scene.ran("limited", 1).await;
    assert_eq!((&status["lastRun"]["result"], &status["processed"]), (&json!("LimitReached"), &json!(50)));
    assert_eq!(condition(&status, "LastRunSucceeded")["status"], "True");
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    let counts: Vec<_> = ledger.calls.iter().map(|call| call.query.split('&').next().unwrap()).collect();
    assert_eq!(counts, ["count=20", "count=20", "count=10"]);
    assert_eq!(ledger.with_fate(Fate::Resumed).count(), 50);
}

#[tokio::test]
async fn ids_go_in_chunks_of_fifty_and_the_missing_ones_are_counted() {
    let scene = Scene::start("ids").await;
    let known: Vec<_> =
        (0..120).map(|index| Entry { dlq_id: Some(format!("dlq-{index}")), ..Entry::default() }).collect();
    scene.simulator.add(DLQ, &known).await.unwrap();
    let ids: Vec<_> = (0..110).map(|index| format!("dlq-{index}")).collect();
    scene.apply("whole", json!({ "action": "resume", "filters": { "dlqIds": ids } })).await;
    let run = scene.ran("whole", 1).await["lastRun"].clone();
    assert_eq!(
        (&run["processed"], &run["position"], &run["notFound"]),
        (&json!(110), &json!(110), &json!(0))
    );
    let sizes: Vec<_> =
        scene.simulator.ledger(DLQ).await.unwrap().calls.iter().map(|call| call.dlq_ids.len()).collect();
    assert_eq!(sizes, [50, 50, 10]);

    // The rest with some that are gone: refused chunks are halved until the missing ones stand alone.
    let ids: Vec<_> = (100..130).map(|index| format!("dlq-{index}")).collect();
    scene.apply("partly", json!({ "action": "restart", "filters": { "dlqIds": ids } })).await;
    let run = scene.ran("partly", 1).await["lastRun"].clone();
    assert_eq!((&run["processed"], &run["position"], &run["notFound"]), (&json!(10), &json!(30), &json!(20)));
    assert_eq!(run["result"], "Succeeded");
}

#[tokio::test]
async fn one_id_is_resumed_by_the_single_call_and_a_missing_one_is_told() {
    let scene = Scene::start("single").await;
    let entry = Entry { dlq_id: Some("dlq-1".to_owned()), ..Entry::default() };
    scene.simulator.add(DLQ, &[entry]).await.unwrap();
    for (name, id, processed, reason) in
        [("there", "dlq-1", 1, "RunSucceeded"), ("gone", "dlq-2", 0, "NothingMatched")]
    {
        scene.apply(name, json!({ "action": "resume", "filters": { "dlqIds": [id] } })).await;
        let run = scene.ran(name, 1).await["lastRun"].clone();
        assert_eq!((&run["processed"], &run["reason"]), (&json!(processed), &json!(reason)), "{name}");
        assert_eq!(run["notFound"], 1 - processed);
    }
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    let calls: Vec<_> = ledger.calls.iter().map(|call| (call.method.as_str(), call.path.as_str())).collect();
    assert_eq!(
        calls,
        [("POST", "/v2/workflows/dlq/resume/dlq-1"), ("POST", "/v2/workflows/dlq/resume/dlq-2")]
    );
}

#[tokio::test]
async fn a_request_by_hand_starts_one_run_and_says_who_asked() {
    let scene = Scene::start("manual").await;
    let spec = with(all(), json!({ "schedule": "0 0 1 1 *" }));
    scene.apply("manual", spec).await;
    scene.condition("manual", "Ready", "True", "Scheduled").await;
    scene
        .annotate("manual", &[("requestedBy", "ada"), ("requestReason", "deploy"), ("requestedAt", "1")])
        .await;
    let run = scene.ran("manual", 1).await["lastRun"].clone();
    assert_eq!(
        (&run["trigger"], &run["requestedBy"], &run["requestReason"]),
        (&json!("Manual"), &json!("ada"), &json!("deploy"))
    );
    scene.annotate("manual", &[("requestedBy", "bob")]).await;
    scene.patch("manual", json!({ "historyLimit": 4 })).await;
    let status = scene.status("manual", "the edit is seen", |status| status["observedGeneration"] == 2).await;
    assert_eq!(status["totals"]["runs"], 1, "the same value is handled once");
}

#[tokio::test]
async fn entries_that_fail_again_during_a_run_are_left_for_the_next_one() {
    let scene = Scene::start("refail").await;
    scene.simulator.generate(DLQ, 300, &Entry::default()).await.unwrap();
    scene.simulator.refail(DLQ, &json!({ "delayMs": 0 })).await.unwrap();
    scene.apply("drain", all()).await;
    let run = scene.ran("drain", 1).await["lastRun"].clone();
    assert_eq!((&run["processed"], &run["result"]), (&json!(300), &json!("Succeeded")));
    assert_eq!(run["window"]["toDate"], run["startTime"], "frozen at the start, with milliseconds");
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_eq!(ledger.with_fate(Fate::InDlq).count(), 300, "they have come back");
    assert_eq!(ledger.with_fate(Fate::Resumed).filter(|entry| entry.refailed_as.is_some()).count(), 300);
}

#[tokio::test]
async fn two_policies_of_one_spec_run_side_by_side_and_share_the_work() {
    let scene = Scene::start("pair").await;
    scene.simulator.generate(DLQ, 400, &Entry::default()).await.unwrap();
    scene.simulator.set_faults(&json!([{ "fault": { "latency": { "ms": 700 } } }])).await.unwrap();
    scene.apply("one", all()).await;
    scene.apply("two", all()).await;
    let (one, two) = (scene.ran("one", 1).await, scene.ran("two", 1).await);
    let counts = [&one, &two].map(|status| status["processed"].as_i64().unwrap());
    assert_eq!(counts.iter().sum::<i64>(), 400);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

#[tokio::test]
async fn a_run_waits_for_a_free_slot_and_says_so() {
    let scene = Scene::start_with("slots", &["--max-concurrent-runs=1"]).await;
    scene.simulator.generate(DLQ, 400, &Entry::default()).await.unwrap();
    scene.slow_down(1000).await;
    scene.apply("first", all()).await;
    scene.condition("first", "Running", "True", "RunInProgress").await;
    scene.apply("second", all()).await;
    scene.condition("second", "Running", "True", "Queued").await;
    scene.simulator.clear_faults().await.unwrap();
    let (first, second) = (scene.ran("first", 1).await, scene.ran("second", 1).await);
    assert_eq!((&first["lastRun"]["result"], &first["processed"]), (&json!("Succeeded"), &json!(400)));
    assert_eq!(second["lastRun"]["reason"], "NothingMatched");
}

#[tokio::test]
async fn a_cancel_by_hand_ends_the_run_that_goes_on_and_no_other() {
    let scene = Scene::start("cancel").await;
    scene.simulator.generate(DLQ, 400, &Entry::default()).await.unwrap();
    scene.slow_down(1000).await;
    scene.apply("cancelled", all()).await;
    scene
        .status("cancelled", "a page has landed", |status| status["currentRun"]["pages"].as_i64() > Some(0))
        .await;
    scene.annotate("cancelled", &[("cancelAt", "now")]).await;
    let status = scene.ran("cancelled", 1).await;
    assert_eq!(status["lastRun"]["result"], "Cancelled");
    assert!(status["lastRun"]["message"].as_str().unwrap().contains("cancelAt"), "{status}");
    assert_eq!(status["lastHandledCancelAt"], "now");
    scene.simulator.clear_faults().await.unwrap();
    scene.annotate("cancelled", &[("requestedAt", "now")]).await;
    assert_eq!(scene.ran("cancelled", 2).await["lastRun"]["result"], "Succeeded");
}

#[tokio::test]
async fn a_paused_policy_does_nothing_until_the_annotation_is_gone() {
    let scene = Scene::start("paused").await;
    scene.simulator.generate(DLQ, 10, &Entry::default()).await.unwrap();
    scene.apply_annotated("held", all(), json!({ "dlq-operator.dev/paused": "true" })).await;
    let status = scene.condition("held", "Ready", "True", "Paused").await;
    assert_eq!((&status["phase"], &status["totals"]["runs"]), (&json!("Paused"), &json!(0)));
    scene.kubectl(&["annotate", "dlqpolicy", "held", "dlq-operator.dev/paused-"]).await;
    assert_eq!(scene.ran("held", 1).await["lastRun"]["processed"], 10);
}

#[tokio::test]
async fn a_flag_pauses_all_policies() {
    let scene = Scene::start_with("paused", &["--pause-all"]).await;
    scene.apply("held", all()).await;
    scene.condition("held", "Ready", "True", "Paused").await;
    assert_eq!(scene.simulator.ledger(DLQ).await.unwrap().calls.len(), 0);
}

#[tokio::test]
async fn failures_in_a_row_open_the_circuit_and_a_reset_closes_it() {
    let scene = Scene::start_with("circuit", &["--retry-limit=1"]).await;
    scene.simulator.generate(DLQ, 10, &Entry::default()).await.unwrap();
    scene.simulator.set_faults(&json!([{ "fault": { "status": { "code": 503 } } }])).await.unwrap();
    let breaker = json!({
        "schedule": "@every 2s", "failurePolicy": { "openCircuitAfter": 2 },
    });
    scene.apply("breaker", with(all(), breaker)).await;
    let status = scene.condition("breaker", "Ready", "True", "CircuitOpen").await;
    assert_eq!((&status["phase"], &status["totals"]["runs"]), (&json!("CircuitOpen"), &json!(2)));
    assert!(condition(&status, "Stalled").is_null(), "kstatus: not stalled");
    assert!(status["nextScheduleTime"].is_null());
    scene.simulator.clear_faults().await.unwrap();
    scene.annotate("breaker", &[("resetAt", "now")]).await;
    let status =
        scene.status("breaker", "a run succeeds", |status| status["totals"]["processed"] == 10).await;
    assert_eq!((&status["consecutiveFailures"], &status["totals"]["failedRuns"]), (&json!(0), &json!(2)));
}

#[tokio::test]
async fn a_policy_that_leaves_the_selection_is_handed_back_and_taken_up_when_it_returns() {
    let scene = Scene::start_with("selection", &["--selector=team=a", "--checkpoint-interval=0"]).await;
    scene.simulator.generate(DLQ, 400, &Entry::default()).await.unwrap();
    scene.slow_down(1000).await;
    scene.apply("moved", all()).await;
    scene.kubectl(&["label", "dlqpolicy", "moved", "team=a"]).await;
    scene
        .status("moved", "a page has landed", |status| status["currentRun"]["pages"].as_i64() > Some(0))
        .await;
    scene.kubectl(&["label", "dlqpolicy", "moved", "team-"]).await;
    scene.status("moved", "the run is handed back", |status| status["currentRun"]["holder"] == "").await;
    scene.simulator.clear_faults().await.unwrap();
    scene.kubectl(&["label", "dlqpolicy", "moved", "team=a"]).await;
    let run = scene.ran("moved", 1).await["lastRun"].clone();
    assert_eq!((&run["processed"], &run["interruptions"]), (&json!(400), &json!(0)));
}
