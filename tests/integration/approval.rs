//! Runs that wait for an approval: `limits.approvalAbove`.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use testbed::{Entry, Fate, Ledger};
use tokio::time::sleep;

use crate::events::{told, wait_until_told};
use crate::scene::{DLQ, Scene, condition};
use crate::selection::all;

/// 2026-10-01T00:00:00Z.
const FIRST: i64 = 1_790_812_800_000;

/// A policy for a DLQ and a Secret of its own, both of its name, whose runs need an approval.
fn gated(name: &str, above: u32, mut further: Value) -> Value {
    let limits = further["limits"].take();
    let mut spec = all("resume", further);
    spec["limits"] = json!({ "approvalAbove": above });
    spec["limits"]
        .as_object_mut()
        .unwrap()
        .extend(limits.as_object().into_iter().flatten().map(|(name, limit)| (name.clone(), limit.clone())));
    spec["connection"] = json!({ "tokenSecretRef": { "name": name, "key": "token" } });
    spec
}

async fn account(scene: &Scene, name: &str, entries: usize) {
    let token = format!("token-of-{name}");
    scene.simulator.allow(&token, name).await.unwrap();
    scene.apply_secret(name, "token", &token).await;
    scene.simulator.generate_spread(name, entries, 3_600_000).await.unwrap();
}

/// The status of a policy whose run waits.
async fn waits(scene: &Scene, name: &str) -> Value {
    scene.condition(name, "Running", "True", "AwaitingApproval").await
}

/// So many entries were acted on, each once.
fn acted_once(ledger: &Ledger, entries: usize) {
    let acted: BTreeSet<_> = ledger.workflow_runs.iter().map(|run| &run.from_dlq_id).collect();
    assert_eq!((acted.len(), ledger.workflow_runs.len()), (entries, entries));
}

fn id(status: &Value) -> &str {
    status["currentRun"]["approvalId"].as_str().unwrap()
}

async fn approve(scene: &Scene, name: &str) {
    let status = waits(scene, name).await;
    scene.annotate(name, &[("approvedRun", id(&status))]).await;
}

/// Lets a day pass since the run of this policy asked, and has the operator look.
pub(crate) async fn expire(scene: &Scene, name: &str) {
    let since = "/status/currentRun/approvalRequestedTime";
    let long_ago = json!([{ "op": "replace", "path": since, "value": "2026-01-01T00:00:00.000Z" }]);
    scene.patch_status(name, long_ago).await;
    scene.annotate(name, &[("requestReason", "a day has passed")]).await;
}

#[tokio::test]
async fn a_large_run_counts_waits_for_its_approval_and_acts_on_what_it_counted() {
    let scene = Scene::start("approval").await;
    let entry = |number: i64| Entry {
        labels: vec![["eu", "us"][usize::from(number % 3 == 0)].to_owned()],
        ..Entry::default()
    };
    let entries: Vec<_> = (0..130).map(entry).collect();
    scene.simulator.add(DLQ, &entries).await.unwrap();
    let limits = json!({ "approvalAbove": 100, "activeDeadlineSeconds": 3 });
    scene.apply("large", all("resume", json!({ "limits": limits }))).await;
    let status = waits(&scene, "large").await;
    let run = &status["currentRun"];
    assert_eq!(
        (&status["phase"], &run["matched"], &run["processed"], &run["holder"]),
        (&json!("AwaitingApproval"), &json!(130), &json!(0), &json!("")),
        "{status:#}"
    );
    let counts = json!([{ "value": "eu", "count": 86 }, { "value": "us", "count": 44 }]);
    assert_eq!(run["summary"]["labels"], counts, "{run:#}");
    let message = format!(
        "130 entries match, more than limits.approvalAbove (100); to start the run, set dlq-operator.dev/approvedRun to {}",
        id(&status)
    );
    assert_eq!(
        (&status["message"], &condition(&status, "Running")["message"]),
        (&json!(message), &json!(message))
    );
    assert_eq!(condition(&status, "Ready")["status"], "True");

    // It may take three seconds, and waits for longer; meanwhile it costs no call and no write.
    sleep(Duration::from_secs(4)).await;
    let before = scene.policy("large").await;
    scene.annotate("large", &[("approvedRun", "0123456789abcdef")]).await;
    wait_until_told(&scene, "large", "RunRequestIgnored", 1).await;
    let calls = scene.simulator.ledger(DLQ).await.unwrap().calls;
    assert!(calls.iter().all(|call| call.operation == "list"), "{calls:?}");
    assert_eq!(before["status"], json!(status), "nothing was written while it waited");

    scene.annotate("large", &[("approvedRun", id(&status))]).await;
    let after = scene.ran("large", 1).await;
    let last = &after["lastRun"];
    assert_eq!(
        (&last["result"], &last["processed"], &last["matched"], &last["window"]),
        (&json!("Succeeded"), &json!(130), &json!(130), &run["window"]),
        "{last:#}"
    );
    assert_eq!((&last["approvalId"], &last["interruptions"]), (&run["approvalId"], &json!(0)));
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_eq!(ledger.with_fate(Fate::Resumed).count(), 130);
    assert_eq!(told(&scene, "large", "AwaitingApproval").await, 1);
    assert_eq!(told(&scene, "large", "RunRequestIgnored").await, 1, "once for one wrong ID");
}

#[tokio::test]
async fn a_run_that_matches_no_more_and_a_dry_run_wait_for_nobody() {
    let scene = Scene::start("no-approval").await;
    scene.simulator.generate(DLQ, 120, &Entry::default()).await.unwrap();
    let above = |above: u32| json!({ "limits": { "approvalAbove": above } });
    let dry = json!({ "dryRun": true, "limits": { "approvalAbove": 0 } });
    scene.apply("dry", all("resume", dry)).await;
    let run = scene.ran("dry", 1).await["lastRun"].take();
    assert_eq!((&run["processed"], &run["matched"]), (&json!(120), &Value::Null), "{run:#}");
    scene.apply("as-many", all("resume", above(120))).await;
    let run = scene.ran("as-many", 1).await["lastRun"].take();
    assert_eq!(
        (&run["processed"], &run["matched"], &run["approvalId"]),
        (&json!(120), &json!(120), &Value::Null)
    );
    scene.apply("nothing", all("delete", above(0))).await;
    let run = scene.ran("nothing", 1).await["lastRun"].take();
    assert_eq!((&run["reason"], &run["matched"]), (&json!("NothingMatched"), &json!(0)), "{run:#}");
    assert_eq!(scene.simulator.ledger(DLQ).await.unwrap().calls_of("delete").count(), 0);
}

#[tokio::test]
async fn a_run_keeps_waiting_over_restarts_and_an_approval_that_comes_meanwhile_counts() {
    let mut scene = Scene::start("approval-restart").await;
    scene.simulator.generate(DLQ, 30, &Entry::default()).await.unwrap();
    scene.apply("waits", all("resume", json!({ "limits": { "approvalAbove": 10 } }))).await;
    let before = waits(&scene, "waits").await;
    let calls = scene.simulator.ledger(DLQ).await.unwrap().calls.len();
    scene.operator.kill().unwrap();
    scene.operator.restart(None).await.unwrap();
    // It is looked at again: what comes after it is handled.
    scene.annotate("waits", &[("requestedAt", "now")]).await;
    let after =
        scene.status("waits", "it was seen", |status| status["lastHandledRequestedAt"] == "now").await;
    assert_eq!(after["currentRun"]["approvalId"], before["currentRun"]["approvalId"]);
    assert_eq!(after["currentRun"]["matched"], 30);
    assert_eq!(scene.simulator.ledger(DLQ).await.unwrap().calls.len(), calls, "it does not count again");
    scene.operator.kill().unwrap();
    scene.annotate("waits", &[("approvedRun", id(&before))]).await;
    scene.operator.restart(None).await.unwrap();
    let run = scene.ran("waits", 1).await["lastRun"].take();
    assert_eq!(
        (&run["result"], &run["processed"], &run["interruptions"], &run["approvalId"]),
        (&json!("Succeeded"), &json!(30), &json!(0), &before["currentRun"]["approvalId"]),
        "{run:#}"
    );
}

#[tokio::test]
async fn a_count_that_is_interrupted_begins_anew() {
    let mut scene = Scene::start("count-interrupted").await;
    scene.simulator.generate_spread(DLQ, 1000, 3_600_000).await.unwrap();
    scene.slow_down(300).await;
    scene.apply("counts", all("resume", json!({ "limits": { "approvalAbove": 10 } }))).await;
    let counting = "a run counts what it would act on, as limits.approvalAbove is set";
    scene.status("counts", "it counts", |status| status["message"] == counting).await;
    scene.operator.kill().unwrap();
    scene.simulator.clear_faults().await.unwrap();
    scene.operator.restart(None).await.unwrap();
    let run = waits(&scene, "counts").await["currentRun"].take();
    assert_eq!((&run["matched"], &run["interruptions"]), (&json!(1000), &json!(1)), "{run:#}");
    approve(&scene, "counts").await;
    assert_eq!(scene.ran("counts", 1).await["lastRun"]["processed"], 1000);
    acted_once(&scene.simulator.ledger(DLQ).await.unwrap(), 1000);
}

#[tokio::test]
async fn a_run_that_waits_ends_unapproved_when_something_ends_it_or_a_day_has_passed() {
    let scene = Scene::start("approval-ends").await;
    let names = ["asked", "suspended", "paused", "edited", "expired"];
    join_all(names.iter().map(async |name| {
        account(&scene, name, 20).await;
        scene.apply(name, gated(name, 5, json!({}))).await;
        waits(&scene, name).await;
    }))
    .await;
    let first = waits(&scene, "edited").await;
    scene.annotate("asked", &[("cancelAt", "now")]).await;
    scene.patch("suspended", json!({ "suspend": true })).await;
    scene.annotate("paused", &[("paused", "yes")]).await;
    scene.patch("edited", json!({ "action": "restart" })).await;
    expire(&scene, "expired").await;
    for name in names {
        let status = scene
            .status(name, "its run has ended", |status| status["totals"]["runs"].as_i64() > Some(0))
            .await;
        let run = &status["lastRun"];
        let reason = if name == "expired" { "Expired" } else { "Cancelled" };
        assert_eq!(
            (&run["result"], &run["reason"]),
            (&json!("Cancelled"), &json!(reason)),
            "{name}: {run:#}"
        );
        let last = condition(&status, "LastRunSucceeded");
        assert_eq!((&last["status"], &last["reason"]), (&json!("False"), &json!(reason)), "{name}");
        assert_eq!(status["consecutiveFailures"], 0, "{name}");
        assert_eq!(scene.simulator.ledger(name).await.unwrap().with_fate(Fate::InDlq).count(), 20, "{name}");
    }
    let second = waits(&scene, "edited").await;
    assert_ne!(second["currentRun"]["approvalId"], first["currentRun"]["approvalId"], "new work asks anew");
    // An approval that comes too late starts nothing.
    let late = scene.policy("expired").await["status"]["lastRun"]["approvalId"].as_str().unwrap().to_owned();
    scene.annotate("expired", &[("approvedRun", &late)]).await;
    wait_until_told(&scene, "expired", "RunRequestIgnored", 1).await;
    assert_eq!(scene.policy("expired").await["status"]["currentRun"], Value::Null);
}

#[tokio::test]
async fn scheduled_times_replace_no_run_that_waits_and_are_skipped() {
    let scene = Scene::start("approval-replace").await;
    scene.simulator.generate(DLQ, 20, &Entry::default()).await.unwrap();
    let timing =
        json!({ "schedule": "@every 1s", "concurrencyPolicy": "Replace", "limits": { "approvalAbove": 5 } });
    scene.apply("waits", all("resume", timing)).await;
    let before = waits(&scene, "waits").await;
    assert_eq!(before["nextScheduleTime"], Value::Null);
    // Three scheduled times.
    sleep(Duration::from_secs(3)).await;
    let after = waits(&scene, "waits").await;
    assert_eq!(after, before, "the same run, and nothing written");
    scene.patch("waits", json!({ "concurrencyPolicy": "Forbid" })).await;
    scene.annotate("waits", &[("approvedRun", id(&before))]).await;
    let status = scene.status("waits", "it has run", |status| status["totals"]["processed"] == 20).await;
    let run = status["history"].as_array().unwrap().iter().find(|run| run["processed"] == 20).unwrap();
    assert_eq!((&run["id"], &run["result"]), (&before["currentRun"]["id"], &json!("Succeeded")));
    let time = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let skipped = time(&status["lastSkippedTime"]).duration_since(time(&before["currentRun"]["startTime"]));
    assert!(skipped.as_secs() >= 2, "what came while it waited is skipped: {status:#}");
}

#[tokio::test]
async fn a_run_that_waits_holds_no_slot() {
    let scene = Scene::start_with("approval-slots", &["--max-concurrent-runs=1"]).await;
    scene.simulator.generate(DLQ, 20, &Entry::default()).await.unwrap();
    scene.apply("waits", all("resume", json!({ "limits": { "approvalAbove": 5 } }))).await;
    waits(&scene, "waits").await;
    scene.apply("acts", all("delete", json!({ "limits": { "maxEntriesPerRun": 3 } }))).await;
    assert_eq!(scene.ran("acts", 1).await["lastRun"]["processed"], 3);
    approve(&scene, "waits").await;
    assert_eq!(scene.ran("waits", 1).await["lastRun"]["processed"], 17);
}

#[tokio::test]
async fn however_it_selects_a_run_acts_on_no_more_than_it_counted() {
    let scene = Scene::start("approval-cap").await;
    let entry = |name: &str, number: i64| Entry {
        dlq_id: Some(format!("{}-{number}", FIRST + number * 1000)),
        failed_at: Some(FIRST + number * 1000),
        response_status: Some(503),
        labels: vec![name.to_owned()],
        ..Entry::default()
    };
    let ids: Vec<_> = (0..700).filter_map(|number| entry("ids", number).dlq_id).collect();
    let cases = [
        ("one-cursor", json!({})),
        ("cursors", json!({ "limits": { "parallelism": 6 } })),
        ("match", json!({ "match": { "responseStatuses": ["503"] }, "limits": { "parallelism": 3 } })),
        ("protected", json!({ "loopProtection": { "maxAttempts": 2 } })),
        ("ids", json!({ "filters": { "dlqIds": ids }, "limits": { "parallelism": 4 } })),
    ];
    join_all(cases.iter().map(async |(name, further)| {
        account(&scene, name, 0).await;
        let counted: Vec<_> = (0..650).map(|number| entry(name, number)).collect();
        scene.simulator.add(name, &counted).await.unwrap();
        scene.apply(name, gated(name, 100, further.clone())).await;
        let status = waits(&scene, name).await;
        assert_eq!(status["currentRun"]["matched"], 650, "{name}: {status:#}");
        // More match by now: Upstash's list was late with them.
        let late: Vec<_> = (650..700).map(|number| entry(name, number)).collect();
        scene.simulator.add(name, &late).await.unwrap();
        scene.annotate(name, &[("approvedRun", id(&status))]).await;
        let run = scene.ran(name, 1).await["lastRun"].take();
        assert_eq!(
            (&run["processed"], &run["result"]),
            (&json!(650), &json!("Succeeded")),
            "{name}: {run:#}"
        );
        let ledger = scene.simulator.ledger(name).await.unwrap();
        acted_once(&ledger, 650);
        assert_eq!(ledger.with_fate(Fate::InDlq).count(), 50, "{name}");
    }))
    .await;
}
