//! What changes during a run takes effect within one page, also while the run waits for something else.

use std::time::Duration;

use dlq_operator::runtime::clock;
use futures::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};
use testbed::{Entry, LedgerCall, eventually};

use crate::cases::{self, Case, Cases};
use crate::scene::{DLQ, PATIENCE, Scene};

/// How soon a change must have taken effect, by the operator's clock and ours, which are the same.
const SOON: i64 = 3000;

/// What somebody does to a policy whose run is in progress.
#[derive(Clone, Copy, Debug)]
enum Change {
    Suspend,
    Pause,
    Cancel,
    NewFilter,
    Delete,
}

const CHANGES: [Change; 5] =
    [Change::Suspend, Change::Pause, Change::Cancel, Change::NewFilter, Change::Delete];

impl Change {
    async fn make(self, scene: &Scene, policy: &str) {
        match self {
            Self::Suspend => scene.patch(policy, json!({ "suspend": true })).await,
            Self::Pause => scene.annotate(policy, &[("paused", "incident 7")]).await,
            Self::Cancel => scene.annotate(policy, &[("cancelAt", "2026-11-20T12:00:00Z")]).await,
            Self::NewFilter => {
                scene.patch(policy, json!({ "filters": { "all": null, "labels": ["new"] } })).await;
            }
            Self::Delete => drop(scene.kubectl(&["delete", "dlqpolicy", policy, "--wait=false"]).await),
        }
    }
}

fn now() -> i64 {
    clock::now().as_millisecond()
}

/// Calls of the run that was changed, and not of the one that a new filter starts.
async fn calls_of_the_run(scene: &Scene, dlq: &str) -> Vec<LedgerCall> {
    let calls = scene.simulator.ledger(dlq).await.unwrap().calls;
    calls.into_iter().filter(|call| !call.query.contains("label=new")).collect()
}

/// Makes every change to a run of its own, and expects it to end soon with at most the call under way.
async fn take_effect(scene: &Scene, goes_on: impl Fn(&Value) -> bool) {
    let entries = || (0..200).map(|_| Entry::default()).collect();
    let spec = || json!({ "action": "resume", "filters": { "all": true } });
    let cases = CHANGES.iter().map(|_| Case { entries: entries(), spec: spec() }).collect();
    let applied = Cases::apply(scene, cases).await;
    applied.statuses("every run continues", goes_on).await;
    join_all(CHANGES.iter().enumerate().map(async |(index, change)| {
        let name = cases::name(index);
        let before = calls_of_the_run(scene, &name).await.len();
        let changed_at = now();
        change.make(scene, &name).await;
        // kubectl itself takes a while on a busy machine.
        let by = now() + SOON;
        if !matches!(change, Change::Delete) {
            let status = scene
                .status(&name, &format!("{change:?} ends the run"), |status| {
                    status["history"].as_array().is_some_and(|history| !history.is_empty())
                })
                .await;
            let run = status["history"].as_array().unwrap().last().unwrap();
            assert_eq!(run["result"], "Cancelled", "{change:?}: {run:#}");
            let ended: Timestamp = run["completionTime"].as_str().unwrap().parse().unwrap();
            let ended = ended.as_millisecond();
            assert!((changed_at..=by).contains(&ended), "{change:?}: after {} ms", ended - changed_at);
        }
        // Whatever was still to come has come.
        eventually(PATIENCE, "the time is over", async || now() > by + 3000).await.unwrap();
        let calls = calls_of_the_run(scene, &name).await;
        assert!(calls.len() <= before + 1, "{change:?}: {} calls after it", calls.len() - before);
        assert!(calls.iter().all(|call| call.at <= by), "{change:?}");
    }))
    .await;
}

#[tokio::test]
async fn a_change_takes_effect_within_a_page_of_two_seconds() {
    let scene = Scene::start("slow-pages").await;
    let rules = json!([{ "fault": { "latency": { "ms": 2000 } } }]);
    scene.simulator.set_faults(&rules).await.unwrap();
    take_effect(&scene, |status| status["currentRun"]["pages"].as_i64() > Some(0)).await;
}

#[tokio::test]
async fn a_change_takes_effect_while_a_run_waits_out_a_rate_limit() {
    let scene = Scene::start("long-waits").await;
    let rules: Vec<_> = (0..CHANGES.len())
        .map(|index| {
            let limit = json!({ "rateLimit": { "headers": "burst", "resetInSeconds": 60 } });
            json!({ "dlq": cases::name(index), "from": 2, "fault": limit })
        })
        .collect();
    scene.simulator.set_faults(&json!(rules)).await.unwrap();
    take_effect(&scene, |status| status["currentRun"]["waitingUntil"].is_string()).await;
}

#[tokio::test]
async fn an_edit_that_is_no_new_work_changes_nothing_of_a_run() {
    let scene = Scene::start("no-new-work").await;
    scene.simulator.generate(DLQ, 400, &Entry::default()).await.unwrap();
    scene.slow_down(500).await;
    scene.apply("drain", json!({ "action": "resume", "filters": { "all": true } })).await;
    let started = scene
        .status("drain", "a page has landed", |status| status["currentRun"]["pages"].as_i64() > Some(0))
        .await;
    for edit in [
        json!({ "limits": { "pageSize": 7, "maxEntriesPerRun": 60 } }),
        json!({ "historyLimit": 3 }),
        json!({ "failurePolicy": { "openCircuitAfter": 1 } }),
        json!({ "schedule": "0 0 1 1 *", "timeZone": "Europe/Berlin" }),
    ] {
        scene.patch("drain", edit).await;
    }
    let run = scene.ran("drain", 1).await["lastRun"].take();
    assert_eq!((&run["id"], &run["result"]), (&started["currentRun"]["id"], &json!("Succeeded")));
    assert_eq!((&run["processed"], &run["pages"]), (&json!(400), &json!(8)), "{run:#}");
    assert_eq!((&run["interruptions"], &run["uncertainPages"]), (&json!(0), &json!(0)));
    assert_eq!(scene.simulator.ledger(DLQ).await.unwrap().calls.len(), 8);
}

#[tokio::test]
async fn a_new_token_is_taken_up_within_a_page_of_the_old_ones_end() {
    let scene = Scene::start("rotated").await;
    scene.simulator.generate(DLQ, 400, &Entry::default()).await.unwrap();
    scene.slow_down(500).await;
    scene.apply("drain", json!({ "action": "resume", "filters": { "all": true } })).await;
    scene
        .status("drain", "a page has landed", |status| status["currentRun"]["pages"].as_i64() > Some(0))
        .await;
    scene.simulator.allow("rotated-token", DLQ).await.unwrap();
    scene.apply_secret("upstash", "token", "rotated-token").await;
    scene
        .simulator
        .send(reqwest::Method::DELETE, &format!("/tokens/{}", crate::scene::TOKEN), None)
        .await
        .unwrap();
    let run = scene.ran("drain", 1).await["lastRun"].take();
    assert_eq!((&run["result"], &run["processed"]), (&json!("Succeeded"), &json!(400)), "{run:#}");
    let refused = scene.simulator.ledger("_unauthorized").await.unwrap().calls.len();
    assert_eq!(refused, 1, "one page asked with the old token");
    eventually(Duration::from_secs(1), "nothing is refused any more", async || {
        scene.condition("drain", "Ready", "True", "Idle").await["phase"] == "Succeeded"
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_edit_that_is_no_new_work_abandons_no_slow_call() {
    let scene = Scene::start("slow-no-new-work").await;
    scene.simulator.generate(DLQ, 150, &Entry::default()).await.unwrap();
    scene.slow_down(4000).await;
    scene.apply("drain", json!({ "action": "resume", "filters": { "all": true } })).await;
    scene
        .status("drain", "a page has landed", |status| status["currentRun"]["pages"].as_i64() > Some(0))
        .await;
    scene.patch("drain", json!({ "historyLimit": 3 })).await;
    scene.annotate("drain", &[("requestedAt", "while it runs")]).await;
    let run = scene.ran("drain", 1).await["lastRun"].take();
    assert_eq!((&run["processed"], &run["uncertainPages"]), (&json!(150), &json!(0)), "{run:#}");
    assert_eq!(scene.simulator.ledger(DLQ).await.unwrap().calls.len(), 3);
}
