//! Where scheduled times fall: shifted by jitter, during a run that they replace, and while nothing can start.

use std::collections::BTreeSet;

use dlq_operator::runtime::clock;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use testbed::{Entry, Fate, OperatorOptions, eventually};

use crate::at_most_once::Runs;
use crate::cases::{self, Case, Cases};
use crate::scene::{DLQ, PATIENCE, Scene, TOKEN};

/// How late something may be on a busy machine.
const LATE: SignedDuration = SignedDuration::from_millis(1500);

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap_or_else(|| panic!("{value} is no time")).parse().unwrap()
}

fn runs(status: &Value) -> i64 {
    status["totals"]["runs"].as_i64().unwrap_or_default()
}

/// A policy's ended runs, the oldest first.
fn ended(status: &Value) -> Vec<Value> {
    let mut history = status["history"].as_array().cloned().unwrap_or_default();
    history.reverse();
    history
}

fn all(schedule: &str, further: Value) -> Value {
    let mut spec = json!({ "action": "resume", "filters": { "all": true }, "schedule": schedule });
    spec.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    spec
}

/// How many policies run each minute, of those whose jitter is looked at; the others run every few seconds.
const MINUTELY: usize = 8;
const INTERVAL: i64 = 6;

fn jittered(history_limit: i64) -> Vec<Case> {
    let minutely = || all("* * * * *", json!({ "jitter": "40s", "historyLimit": history_limit }));
    let frequent =
        || all(&format!("@every {INTERVAL}s"), json!({ "jitter": "3s", "historyLimit": history_limit }));
    let specs = (0..MINUTELY).map(|_| minutely()).chain((0..3).map(|_| frequent()));
    specs.map(|spec| Case { entries: Vec::new(), spec }).collect()
}

/// How far, in whole seconds, a policy's next start is after a scheduled time of its schedule.
fn offset(index: usize, status: &Value) -> i64 {
    let next = time(&status["nextScheduleTime"]);
    if index < MINUTELY {
        next.as_second() % 60
    } else {
        next.duration_since(time(&status["scheduleSince"])).as_secs() % INTERVAL
    }
}

fn offsets(statuses: &[Value]) -> Vec<i64> {
    statuses.iter().enumerate().map(|(index, status)| offset(index, status)).collect()
}

#[tokio::test]
async fn jitter_shifts_all_instants_of_a_policy_alike_and_loses_none() {
    let mut scene = Scene::start("jitter").await;
    let applied = Cases::apply(&scene, jittered(9)).await;
    let named = |status: &Value| status["nextScheduleTime"].is_string();
    let before = offsets(&applied.statuses("every next start is named", named).await);
    let (minutely, frequent) = before.split_at(MINUTELY);
    assert!(minutely.iter().all(|offset| (0..=40).contains(offset)), "{minutely:?}");
    assert!(frequent.iter().all(|offset| (0..=3).contains(offset)), "{frequent:?}");
    let distinct: BTreeSet<_> = minutely.iter().collect();
    assert!(distinct.len() > 2, "names spread policies: {minutely:?}");

    scene.operator.kill().unwrap();
    scene.operator.restart(None).await.unwrap();
    let applied = Cases::apply(&scene, jittered(8)).await;
    let seen = |status: &Value| status["observedGeneration"] == 2;
    let after = offsets(&applied.statuses("the new process has seen every policy", seen).await);
    assert_eq!(after, before, "another process shifts each by the same");

    let frequent = |status: &Value| status["observedSchedule"].as_str().unwrap().starts_with("@every");
    let statuses =
        applied.statuses("four runs have ended", |status| !frequent(status) || runs(status) >= 4).await;
    for (index, status) in statuses.iter().enumerate().skip(MINUTELY) {
        let (ended, since) = (ended(status), time(&status["scheduleSince"]));
        assert_eq!(status["missedSchedules"], 0, "{status:#}");
        assert_eq!(time(&ended.last().unwrap()["scheduledTime"]), time(&status["lastScheduleTime"]));
        for pair in ended.windows(2) {
            let gap = time(&pair[1]["scheduledTime"]).duration_since(time(&pair[0]["scheduledTime"]));
            assert_eq!(gap.as_secs(), INTERVAL, "no scheduled time is skipped or done twice: {status:#}");
        }
        for run in &ended {
            let nominal = time(&run["scheduledTime"]);
            assert_eq!(nominal.duration_since(since).as_secs() % INTERVAL, 0, "{run:#}");
            // What the status names is rounded up to a second.
            let late =
                time(&run["startTime"]).duration_since(nominal + SignedDuration::from_secs(before[index]));
            assert!(late > SignedDuration::from_secs(-1) && late < LATE, "{late:#}: {run:#}");
        }
    }
}

/// The runs that the next scheduled time ended, each with when that was due and the run after it.
fn replaced(status: &Value, interval: i64, offset: i64) -> Vec<(Value, Timestamp, Option<Value>)> {
    let ended = ended(status);
    let with_next = ended.iter().enumerate().map(|(index, run)| (run, ended.get(index + 1)));
    let cancelled = with_next.filter(|(run, _)| run["result"] == "Cancelled");
    cancelled
        .map(|(run, next)| {
            let due = time(&run["scheduledTime"]) + SignedDuration::from_secs(interval + offset);
            (run.clone(), due, next.cloned())
        })
        .collect()
}

#[tokio::test]
async fn replace_ends_a_run_at_the_edge_of_a_page_and_the_next_one_loses_and_repeats_nothing() {
    const PAGE: SignedDuration = SignedDuration::from_millis(1200);
    let scene = Scene::start("page-edge").await;
    let spec = |further: Value| {
        let mut spec =
            all("@every 5s", json!({ "concurrencyPolicy": "Replace", "limits": { "pageSize": 20 } }));
        spec.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        spec
    };
    let latency = json!([{ "fault": { "latency": { "ms": PAGE.as_millis() } } }]);
    scene.simulator.set_faults(&latency).await.unwrap();
    let entries = || (0..240).map(|_| Entry::default()).collect();
    let specs = [spec(json!({})), spec(json!({ "jitter": "2s" }))];
    for index in 0..specs.len() {
        // Each workflow run fails once more, and is then an entry of a later run.
        let refail = json!({ "delayMs": 1, "times": 1 });
        scene.simulator.refail(&cases::name(index), &refail).await.unwrap();
    }
    let cases = specs.map(|spec| Case { entries: entries(), spec });
    let applied = Cases::apply(&scene, cases.into()).await;
    let statuses = applied
        .statuses("all entries are acted on", |status| status["totals"]["processed"].as_i64() >= Some(480))
        .await;
    for (index, status) in statuses.iter().enumerate() {
        let ledger = scene.simulator.ledger(&cases::name(index)).await.unwrap();
        let acted: Vec<_> = ledger.calls.iter().flat_map(|call| &call.dlq_ids).collect();
        assert_eq!(acted.len(), 480, "no entry is acted on twice: {status:#}");
        assert_eq!(ledger.with_fate(Fate::Resumed).count(), 480);
        assert_eq!(status["totals"]["processed"], 480, "no page is lost: {status:#}");
        assert!(Runs::of(status).check_all(&ledger).comebacks > 100, "they came back during the runs");

        let next = time(&status["nextScheduleTime"]).duration_since(time(&status["scheduleSince"]));
        let replaced = replaced(status, 5, next.as_secs() % 5);
        assert!(replaced.len() >= 2, "{status:#}");
        for (run, due, next) in replaced {
            let end = time(&run["completionTime"]);
            let (early, late) = (due - SignedDuration::from_secs(1), due + PAGE + LATE);
            assert!((early..late).contains(&end), "ended at {end}, due at {due}: {run:#}");
            assert_eq!((&run["uncertainPages"], &run["interruptions"]), (&json!(0), &json!(0)), "{run:#}");
            assert_eq!(run["reason"], "Cancelled");
            let Some(next) = next else { continue };
            let gap = time(&next["scheduledTime"]).duration_since(time(&run["scheduledTime"]));
            assert_eq!(gap.as_secs(), 5, "the scheduled time that ended it starts the next: {next:#}");
            let gap = time(&next["startTime"]).duration_since(end);
            assert!(!gap.is_negative() && gap < LATE, "{gap:#}: {next:#}");
        }
        assert_eq!(status["consecutiveFailures"], 0);
    }
}

#[tokio::test]
async fn replace_gives_up_on_a_call_that_outlasts_its_grace_and_says_so() {
    const GRACE: SignedDuration = SignedDuration::from_millis(2500);
    let scene = Scene::start("long-calls").await;
    scene.simulator.generate(DLQ, 300, &Entry::default()).await.unwrap();
    scene.slow_down(9000).await;
    scene.apply("replaced", all("@every 5s", json!({ "concurrencyPolicy": "Replace" }))).await;
    // Not until none is in progress: the next one follows at once.
    let has_ended = |status: &Value| status["totals"]["runs"].as_i64() >= Some(1);
    let status = scene.status("replaced", "a run was replaced", has_ended).await;
    let (run, due, _) = replaced(&status, 5, 0).remove(0);
    let end = time(&run["completionTime"]);
    assert!((due..due + GRACE + LATE).contains(&end), "ended at {end}, due at {due}: {run:#}");
    assert_eq!((&run["uncertainPages"], &run["processed"]), (&json!(1), &json!(0)), "{run:#}");
}

#[tokio::test]
async fn replace_ends_no_run_while_the_secret_for_the_next_one_is_missing() {
    let scene = Scene::start("no-secret").await;
    scene.simulator.generate(DLQ, 2000, &Entry::default()).await.unwrap();
    scene.slow_down(500).await;
    scene.apply("kept", all("@every 4s", json!({ "concurrencyPolicy": "Replace" }))).await;
    let pages = |status: &Value| status["currentRun"]["pages"].as_i64();
    let status = scene.status("kept", "a run is at work", |status| pages(status) > Some(0)).await;
    scene.kubectl(&["delete", "secret", "upstash"]).await;
    // One run may be replaced before the Secret is gone.
    let first = time(&status["nextScheduleTime"]);
    let later =
        |status: &Value| status["currentRun"].is_object() && time(&status["nextScheduleTime"]) > first;
    let status = scene.status("kept", "the next scheduled time has come", later).await;
    let run = status["currentRun"]["id"].clone();
    let end = time(&status["nextScheduleTime"]) + SignedDuration::from_secs(8);
    let status = scene
        .status("kept", "two more have come", |status| {
            status["nextScheduleTime"].is_string() && time(&status["nextScheduleTime"]) > end
        })
        .await;
    assert_eq!((&status["currentRun"]["id"], pages(&status) > Some(2)), (&run, true), "{status:#}");
    scene.apply_secret("upstash", "token", TOKEN).await;
    scene.status("kept", "the next one replaces it", |status| status["lastRun"]["id"] == run).await;
}

#[tokio::test]
async fn scheduled_times_that_a_run_skipped_are_not_brought_back_by_a_request() {
    let scene = Scene::start("skipped").await;
    scene.simulator.generate(DLQ, 60, &Entry::default()).await.unwrap();
    scene.slow_down(2500).await;
    scene.apply("slow", all("@every 4s", json!({ "limits": { "pageSize": 20 } }))).await;
    for runs in 1..=3 {
        scene.ran("slow", runs).await;
        scene.annotate("slow", &[("requestedAt", &runs.to_string())]).await;
    }
    let status = scene.ran("slow", 6).await;
    let mut runs = status["history"].as_array().unwrap().clone();
    runs.reverse();
    let passed = |run: &Value| (time(&run["startTime"]), time(&run["completionTime"]));
    for (index, run) in runs.iter().enumerate().filter(|(_, run)| run["trigger"] == "Schedule") {
        let at = time(&run["scheduledTime"]);
        let during = runs[..index].iter().map(passed).find(|(start, end)| *start < at && at <= *end);
        assert_eq!(during, None, "{at} came during an earlier run: {status:#}");
    }
    assert!(runs.iter().any(|run| run["trigger"] == "Manual"), "{status:#}");
    assert!(time(&status["lastSkippedTime"]) > time(&runs[0]["startTime"]), "{status:#}");
}

#[tokio::test]
async fn instants_that_pass_while_a_policy_cannot_run_are_over_also_for_another_process() {
    let mut scene = Scene::start("over").await;
    let mut options = OperatorOptions::new(scene.control_plane, &scene.simulator, scene.namespace.name());
    options.args = vec!["--retry-limit=1".to_owned()];
    scene.operator.restart(Some(options)).await.unwrap();
    scene.simulator.allow("broken-token", "broken").await.unwrap();
    scene.apply_secret("broken", "token", "broken-token").await;
    scene.apply_secret("later", "token", TOKEN).await;
    let with = |secret: &str, further| {
        let mut spec = all("@every 3s", further);
        spec["connection"] = json!({ "tokenSecretRef": { "name": secret, "key": "token" } });
        spec
    };
    let breaker = json!({ "failurePolicy": { "openCircuitAfter": 1 } });
    scene.apply("paused", with("upstash", json!({}))).await;
    scene.apply("secretless", with("later", json!({}))).await;
    scene.apply("broken", with("broken", breaker)).await;
    let names = ["paused", "secretless", "broken"];
    for name in names {
        scene.ran(name, 1).await;
    }
    let down = json!([{ "dlq": "broken", "fault": { "status": { "code": 503 } } }]);
    scene.simulator.set_faults(&down).await.unwrap();
    scene.kubectl(&["delete", "secret", "later"]).await;
    scene.annotate("paused", &[("paused", "incident 7")]).await;
    let held = [
        scene.condition("paused", "Ready", "True", "Paused").await,
        scene.condition("secretless", "Ready", "False", "SecretNotFound").await,
        scene.condition("broken", "Ready", "True", "CircuitOpen").await,
    ];
    let since = clock::now();
    scene.operator.kill().unwrap();
    scene.operator.restart(None).await.unwrap();
    let over = since + SignedDuration::from_secs(7);
    eventually(PATIENCE, "two scheduled times pass", async || clock::now() > over).await.unwrap();
    for (name, held) in names.iter().zip(&held) {
        let status = scene.policy(name).await["status"].take();
        assert_eq!(runs(&status), runs(held), "{name} does nothing meanwhile: {status:#}");
        assert!(status["nextScheduleTime"].is_null(), "{name}: {status:#}");
    }

    let released = clock::now();
    scene.simulator.clear_faults().await.unwrap();
    scene.annotate("broken", &[("resetAt", "fixed")]).await;
    scene.kubectl(&["annotate", "dlqpolicy", "paused", "dlq-operator.dev/paused-"]).await;
    scene.apply_secret("later", "token", TOKEN).await;
    // A new generation is looked at afresh, not only once a minute.
    scene.patch("secretless", json!({ "historyLimit": 9 })).await;
    for (name, held) in names.iter().zip(&held) {
        let status = scene.ran(name, runs(held) + 1).await;
        let first = ended(&status).iter().map(|run| time(&run["scheduledTime"])).find(|at| *at > since);
        assert!(first > Some(released), "{name}: {first:?} is before {released}: {status:#}");
        assert_eq!(status["missedSchedules"], 0, "{name}");
    }
}
