//! What a policy does about scheduled times that pass while nobody can run them, and about requests that come at a bad time.

use dlq_operator::runtime::clock;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use testbed::{Entry, Fate, eventually};

use crate::scene::{DLQ, PATIENCE, Scene};

fn every(interval: &str, further: Value) -> Value {
    let mut spec = json!({ "action": "resume", "filters": { "all": true }, "schedule": interval });
    spec.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    spec
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap_or_else(|| panic!("{value} is no time")).parse().unwrap()
}

/// The reasons of a policy's events, and how often each was told.
async fn events(scene: &Scene, policy: &str) -> Vec<(String, i64)> {
    let list: Value =
        serde_json::from_str(&scene.kubectl(&["get", "events.events.k8s.io", "--output=json"]).await)
            .unwrap();
    let mut events = Vec::new();
    for event in list["items"].as_array().unwrap() {
        if event["regarding"]["name"] == policy {
            let times = event["series"]["count"].as_i64().unwrap_or(1);
            events.push((event["reason"].as_str().unwrap().to_owned(), times));
        }
    }
    events
}

async fn told(scene: &Scene, policy: &str, reason: &str) -> i64 {
    events(scene, policy).await.iter().filter(|(its, _)| its == reason).map(|(_, times)| times).sum()
}

async fn wait_until_told(scene: &Scene, policy: &str, reason: &str) {
    eventually(PATIENCE, &format!("{policy} is told {reason}"), async || {
        let events = events(scene, policy).await;
        if events.iter().any(|(its, _)| its == reason) { Ok(()) } else { Err(format!("{events:?}")) }
    })
    .await
    .unwrap();
}

/// Waits until so many seconds have passed since a time of the operator's.
async fn wait_for(since: Timestamp, seconds: i64) {
    let until = since + SignedDuration::from_secs(seconds);
    eventually(PATIENCE, "time passes", async || clock::now() > until).await.unwrap();
}

#[tokio::test]
async fn instants_that_pass_while_the_operator_is_down_are_caught_up_once() {
    let mut scene = Scene::start("down").await;
    scene.apply("down", every("@every 7s", json!({}))).await;
    let since = time(&scene.ran("down", 1).await["scheduleSince"]);
    scene.operator.kill().unwrap();
    let before = scene.policy("down").await["status"].take();
    let last = time(&before["lastScheduleTime"]);
    wait_for(last, 25).await;
    scene.operator.restart(None).await.unwrap();

    let after = scene.ran("down", before["totals"]["runs"].as_i64().unwrap() + 1).await;
    let caught_up = after["history"].as_array().unwrap().iter().map(|run| time(&run["scheduledTime"]));
    let caught_up: Vec<_> = caught_up.filter(|at| *at > last).collect();
    let first = *caught_up.last().unwrap();
    assert_eq!(
        first.duration_since(since).as_secs() % 7,
        0,
        "the scheduled time that was due, and not the start"
    );
    let passed = first.duration_since(last).as_secs() / 7;
    assert!(passed >= 3, "the latest of them: {after:#}");
    assert_eq!(after["missedSchedules"], json!(passed - 1), "{after:#}");
    wait_until_told(&scene, "down", "MissedSchedule").await;
    assert_eq!(told(&scene, "down", "MissedSchedule").await, 1);
}

#[tokio::test]
async fn an_instant_that_is_too_late_is_missed_and_told_once() {
    let mut scene = Scene::start("late").await;
    scene.apply("late", every("@every 20s", json!({ "startingDeadlineSeconds": 2 }))).await;
    let status =
        scene.status("late", "the schedule is seen", |status| status["nextScheduleTime"].is_string()).await;
    let since = time(&status["scheduleSince"]);
    scene.operator.kill().unwrap();
    wait_for(since, 26).await;
    scene.operator.restart(None).await.unwrap();
    let status = scene.status("late", "the miss is counted", |status| status["missedSchedules"] == 1).await;
    assert_eq!(status["totals"]["runs"], 0, "{status:#}");
    assert_eq!(time(&status["lastMissedTime"]), since + SignedDuration::from_secs(20));
    let status = scene.ran("late", 1).await;
    assert_eq!(status["missedSchedules"], 1, "the next scheduled time is on time: {status:#}");
    assert_eq!(time(&status["lastScheduleTime"]), since + SignedDuration::from_secs(40));
    wait_until_told(&scene, "late", "MissedSchedule").await;
    assert_eq!(told(&scene, "late", "MissedSchedule").await, 1);
}

#[tokio::test]
async fn instants_that_pass_during_a_run_are_over() {
    let scene = Scene::start("forbid").await;
    scene.simulator.generate(DLQ, 400, &Entry::default()).await.unwrap();
    scene.slow_down(1500).await;
    scene.apply("forbid", every("@every 4s", json!({}))).await;
    let first = scene.ran("forbid", 1).await;
    scene.simulator.clear_faults().await.unwrap();
    let run = &first["lastRun"];
    let (start, end) = (time(&run["startTime"]), time(&run["completionTime"]));
    assert!(end.duration_since(start) > SignedDuration::from_secs(8), "scheduled times passed meanwhile");
    assert_eq!((&run["result"], &run["processed"]), (&json!("Succeeded"), &json!(400)));
    assert_eq!(scene.simulator.ledger(DLQ).await.unwrap().with_fate(Fate::Resumed).count(), 400);
    let second = scene.ran("forbid", 2).await;
    let next = time(&second["history"][0]["scheduledTime"]);
    assert!(next > end, "none of them is caught up: {next} after {end}");
    assert_eq!(second["missedSchedules"], 0, "nor is it a miss");
    wait_until_told(&scene, "forbid", "RunAlreadyActive").await;
}

#[tokio::test]
async fn instants_that_pass_while_a_policy_is_held_are_over() {
    let scene = Scene::start("held").await;
    scene.apply("held", every("@every 3s", json!({}))).await;
    scene.ran("held", 1).await;
    scene.patch("held", json!({ "suspend": true })).await;
    let held = scene.condition("held", "Ready", "True", "Suspended").await;
    let runs = held["totals"]["runs"].as_i64().unwrap();
    wait_for(clock::now(), 7).await;
    let released = clock::now();
    assert_eq!(scene.policy("held").await["status"]["totals"]["runs"], json!(runs));
    scene.patch("held", json!({ "suspend": false })).await;
    let status = scene.ran("held", runs + 1).await;
    let first = status["history"].as_array().unwrap().iter().map(|run| time(&run["scheduledTime"]));
    let first = first.filter(|at| *at > time(&held["lastScheduleTime"])).min().unwrap();
    assert!(first > released - SignedDuration::from_secs(1), "{first} before {released}");
    assert_eq!(status["missedSchedules"], 0);
}

#[tokio::test]
async fn a_request_is_handled_once_over_restarts_and_ignored_while_suspended() {
    let mut scene = Scene::start("requests").await;
    scene.simulator.generate(DLQ, 10, &Entry::default()).await.unwrap();
    scene.apply("asked", every("0 0 1 1 *", json!({ "suspend": true }))).await;
    scene.condition("asked", "Ready", "True", "Suspended").await;
    scene.annotate("asked", &[("requestedAt", "1")]).await;
    scene.status("asked", "the request is recorded", |status| status["lastHandledRequestedAt"] == "1").await;
    wait_until_told(&scene, "asked", "RunRequestIgnored").await;
    scene.patch("asked", json!({ "suspend": false })).await;
    scene.condition("asked", "Ready", "True", "Scheduled").await;
    scene.operator.restart(None).await.unwrap();
    scene.annotate("asked", &[("requestedAt", "2"), ("cancelAt", "1"), ("resetAt", "1")]).await;
    let status = scene.ran("asked", 1).await;
    assert_eq!(status["lastRun"]["processed"], 10);
    for _ in 0..2 {
        scene.operator.restart(None).await.unwrap();
        scene.patch("asked", json!({ "historyLimit": status["totals"]["runs"] })).await;
    }
    scene.annotate("asked", &[("requestedAt", "3")]).await;
    let status = scene.ran("asked", 2).await;
    assert_eq!(status["totals"]["runs"], 2, "one for each new value, and none for a restart: {status:#}");
    assert_eq!(told(&scene, "asked", "RunRequestIgnored").await, 1);
}

#[tokio::test]
async fn entries_a_second_are_held_within_five_percent_over_a_minute() {
    const RATE: i64 = 20;
    let scene = Scene::start_with("rate", &[]).await;
    scene.simulator.generate(DLQ, 1300, &Entry::default()).await.unwrap();
    let limits = json!({ "limits": { "entriesPerSecond": RATE, "pageSize": 50 } });
    let mut spec = json!({ "action": "delete", "filters": { "all": true } });
    spec.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
    scene.apply("rate", spec).await;
    let calls = eventually(PATIENCE + PATIENCE, "a minute of calls", async || {
        let calls = scene.simulator.ledger(DLQ).await.unwrap().calls;
        let lasted = calls.last().map_or(0, |last| last.at - calls[0].at);
        if lasted >= 60_000 { Ok(calls) } else { Err(format!("{lasted} ms")) }
    })
    .await
    .unwrap();
    assert!(calls.iter().all(|call| call.dlq_ids.len() <= usize::try_from(RATE).unwrap()));
    let minute = calls.iter().take_while(|call| call.at < calls[0].at + 60_000);
    let acted_on: usize = minute.map(|call| call.dlq_ids.len()).sum();
    let acted_on = i64::try_from(acted_on).unwrap();
    assert!((acted_on - 60 * RATE).abs() * 20 <= 60 * RATE, "{acted_on} entries in a minute");
}
