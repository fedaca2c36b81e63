//! What survives the operator: kills, clean stops, lost answers, waits.

use std::collections::BTreeSet;

use serde_json::json;
use testbed::{Entry, Fate, eventually};

use crate::at_most_once::{Runs, tempt};
use crate::scene::{DLQ, PATIENCE, Scene, TOKEN, condition};

fn all(action: &str) -> serde_json::Value {
    json!({ "action": action, "filters": { "all": true } })
}

#[tokio::test]
async fn a_killed_operators_run_goes_on_from_its_cursor_and_acts_on_every_entry() {
    let mut scene = Scene::start("killed").await;
    scene.simulator.generate(DLQ, 1000, &Entry::default()).await.unwrap();
    tempt(&scene.simulator, DLQ).await;
    scene.slow_down(1000).await;
    scene.apply("drain", all("resume")).await;
    scene
        .status("drain", "some pages have landed", |status| status["currentRun"]["pages"].as_i64() > Some(3))
        .await;
    scene.operator.kill().unwrap();
    scene.simulator.clear_faults().await.unwrap();
    let left = scene.policy("drain").await["status"]["currentRun"].clone();
    assert_ne!(left["holder"], "", "a killed process leaves its name");
    scene.operator.restart(None).await.unwrap();
    let status = scene.ran("drain", 1).await;
    let (run, ledger) = (&status["lastRun"], scene.simulator.ledger(DLQ).await.unwrap());

    assert_eq!(run["id"], left["id"], "it is the same run");
    assert_eq!(run["startTime"], left["startTime"]);
    assert_eq!(run["interruptions"], 1);
    assert_eq!(run["window"], left["window"]);
    assert_eq!(run["result"], "Succeeded");
    assert_eq!(ledger.with_fate(Fate::Resumed).count(), 1000);
    let acted: BTreeSet<_> = ledger.calls.iter().flat_map(|call| &call.dlq_ids).collect();
    let times: usize = ledger.calls.iter().map(|call| call.dlq_ids.len()).sum();
    assert_eq!((acted.len(), times), (1000, 1000), "every entry once");
    assert!(Runs::of_one(&left).check_all(&ledger).comebacks >= 950, "they came back during the run");
    // The count is a lower bound, short by at most the page whose checkpoint was lost, and says so.
    let processed = run["processed"].as_u64().unwrap();
    assert!((950..=1000).contains(&processed), "{processed}");
    assert!(run["message"].as_str().unwrap().contains("at least"), "{run}");
    // It went on from the cursor: the first call of the new process carries the last one written.
    let resumed = ledger.calls.iter().filter(|call| !call.query.contains("cursor=")).count();
    assert_eq!(resumed, 2, "without cursor: the first call, and the last pass over what may have been left");
}

#[tokio::test]
async fn a_clean_stop_hands_the_run_back_whole_and_the_next_process_counts_exactly() {
    let mut scene = Scene::start("stopped").await;
    scene.simulator.generate(DLQ, 600, &Entry::default()).await.unwrap();
    tempt(&scene.simulator, DLQ).await;
    scene.slow_down(1000).await;
    scene.apply("drain", all("restart")).await;
    scene
        .status("drain", "some pages have landed", |status| status["currentRun"]["pages"].as_i64() > Some(2))
        .await;
    assert!(scene.operator.terminate().await.unwrap().success());
    scene.simulator.clear_faults().await.unwrap();
    let run = scene.policy("drain").await["status"]["currentRun"].clone();
    assert_eq!(run["holder"], "");
    let acted = scene.simulator.ledger(DLQ).await.unwrap().with_fate(Fate::Restarted).count();
    assert_eq!(run["processed"], acted, "what was done is written");
    scene.operator.restart(None).await.unwrap();
    let run = scene.ran("drain", 1).await["lastRun"].clone();
    assert_eq!(
        (&run["processed"], &run["interruptions"], &run["uncertainPages"]),
        (&json!(600), &json!(0), &json!(0))
    );
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_eq!(ledger.calls.len(), 12);
    assert!(Runs::of_one(&run).check_all(&ledger).comebacks >= 550, "they came back during the run");
}

#[tokio::test]
async fn a_lost_answer_is_counted_as_uncertain_and_nothing_is_left() {
    for how in ["close", "status500"] {
        let scene = Scene::start("lost").await;
        scene.simulator.generate(DLQ, 260, &Entry::default()).await.unwrap();
        tempt(&scene.simulator, DLQ).await;
        let rules = json!([{ "dlq": DLQ, "nth": 3, "fault": { "lostAnswer": { "how": how } } }]);
        scene.simulator.set_faults(&rules).await.unwrap();
        scene.apply("drain", all("resume")).await;
        let status = scene.ran("drain", 1).await;
        let (run, ledger) = (&status["lastRun"], scene.simulator.ledger(DLQ).await.unwrap());
        assert_eq!(ledger.with_fate(Fate::Resumed).count(), 260, "{how}");
        assert_eq!((&run["uncertainPages"], &run["retries"]), (&json!(1), &json!(1)), "{how}");
        assert_eq!(run["processed"], 210, "the lost page is not counted, openly");
        assert_eq!(run["result"], "Succeeded");
        // The last pass found none of what had come back.
        assert_eq!(Runs::of_one(run).check_all(&ledger).comebacks, 260, "{how}");
    }
}

#[tokio::test]
async fn a_rate_limit_is_waited_out_as_long_as_its_header_asks_without_a_call() {
    let scene = Scene::start("limited").await;
    scene.simulator.generate(DLQ, 120, &Entry::default()).await.unwrap();
    let limit = json!({ "status": { "code": 429, "headers": { "Retry-After": "10" }, "body": "{\"error\":\"slow down\"}" } });
    scene.simulator.set_faults(&json!([{ "dlq": DLQ, "nth": 2, "fault": limit }])).await.unwrap();
    scene.apply("drain", all("delete")).await;
    let status = scene.condition("drain", "Running", "True", "Throttled").await;
    assert!(status["currentRun"]["waitingUntil"].is_string());
    let status = scene.ran("drain", 1).await;
    assert_eq!((&status["lastRun"]["processed"], &status["lastRun"]["retries"]), (&json!(120), &json!(1)));
    let calls = scene.simulator.ledger(DLQ).await.unwrap().calls;
    assert!(calls[2].at - calls[1].at >= 10_000, "{} ms", calls[2].at - calls[1].at);
    assert_eq!(condition(&status, "Running")["status"], "False");
}

#[tokio::test]
async fn an_api_that_stays_away_fails_the_run_after_the_retry_limit() {
    let scene = Scene::start_with("away", &["--retry-limit=2"]).await;
    let down = json!({ "status": { "code": 503, "body": "<html>down</html>", "contentType": "text/html" } });
    scene.simulator.set_faults(&json!([{ "fault": down }])).await.unwrap();
    scene.apply("drain", all("resume")).await;
    let status = scene.ran("drain", 1).await;
    assert_eq!(status["lastRun"]["reason"], "UpstreamUnavailable");
    assert_eq!(status["consecutiveFailures"], 1);
    assert_eq!(scene.simulator.ledger(DLQ).await.unwrap().calls.len(), 2);
}

#[tokio::test]
async fn an_edit_of_labels_all_the_time_does_not_disturb_a_run() {
    let scene = Scene::start("labels").await;
    scene.simulator.generate(DLQ, 500, &Entry::default()).await.unwrap();
    tempt(&scene.simulator, DLQ).await;
    scene.slow_down(500).await;
    scene.apply("drain", all("resume")).await;
    let mut edits = 0;
    eventually(PATIENCE, "the run ends", async || {
        edits += 1;
        scene.kubectl(&["label", "--overwrite", "dlqpolicy", "drain", &format!("edit=n{edits}")]).await;
        scene.policy("drain").await["status"]["totals"]["runs"] == 1
    })
    .await
    .unwrap();
    let run = scene.ran("drain", 1).await["lastRun"].clone();
    assert!(edits > 3);
    assert_eq!(
        (&run["processed"], &run["pages"], &run["interruptions"]),
        (&json!(500), &json!(10), &json!(0))
    );
    Runs::of_one(&run).check_all(&scene.simulator.ledger(DLQ).await.unwrap());
}

#[tokio::test]
async fn a_run_that_is_cancelled_stops_within_a_page_and_says_why() {
    let table = [
        ("suspend", json!({ "suspend": true })),
        ("new-filter", json!({ "filters": { "all": null, "labels": ["none"] } })),
    ];
    for (name, edit) in table {
        let scene = Scene::start(name).await;
        scene.simulator.generate(DLQ, 1000, &Entry::default()).await.unwrap();
        tempt(&scene.simulator, DLQ).await;
        scene.slow_down(500).await;
        scene.apply("drain", all("resume")).await;
        scene
            .status("drain", "a page has landed", |status| status["currentRun"]["pages"].as_i64() > Some(0))
            .await;
        scene.patch("drain", edit).await;
        let status = scene.ran("drain", 1).await;
        let cancelled = status["history"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(cancelled["result"], "Cancelled", "{name}");
        let acted = scene.simulator.ledger(DLQ).await.unwrap().with_fate(Fate::Resumed).count();
        assert_eq!(cancelled["processed"], acted, "{name}: the call under way is waited for and counted");
        assert!(acted < 500, "{name}: {acted}");
        Runs::of(&status).check_all(&scene.simulator.ledger(DLQ).await.unwrap());
        assert_eq!(status["consecutiveFailures"], 0);
    }
}

#[tokio::test]
async fn a_policy_that_is_deleted_stops_its_run() {
    let scene = Scene::start("deleted").await;
    scene.simulator.generate(DLQ, 1000, &Entry::default()).await.unwrap();
    tempt(&scene.simulator, DLQ).await;
    scene.slow_down(300).await;
    scene.apply("drain", all("resume")).await;
    scene
        .status("drain", "a page has landed", |status| status["currentRun"]["pages"].as_i64() > Some(0))
        .await;
    scene.kubectl(&["delete", "dlqpolicy", "drain"]).await;
    eventually(PATIENCE, "the operator gives the run up", async || {
        let log = scene.operator.log();
        log.contains("the policy is gone")
    })
    .await
    .unwrap();
    let calls = scene.simulator.ledger(DLQ).await.unwrap().calls.len();
    assert!(calls < 10, "{calls}");
}

#[tokio::test]
async fn a_process_that_lost_its_run_stops_and_takes_it_over_as_interrupted() {
    let scene = Scene::start("stolen").await;
    scene.simulator.generate(DLQ, 600, &Entry::default()).await.unwrap();
    tempt(&scene.simulator, DLQ).await;
    scene.slow_down(1000).await;
    scene.apply("drain", all("resume")).await;
    scene
        .status("drain", "some pages have landed", |status| status["currentRun"]["pages"].as_i64() > Some(1))
        .await;
    scene
        .patch_status(
            "drain",
            json!([{ "op": "replace", "path": "/status/currentRun/holder", "value": "other/1" }]),
        )
        .await;
    scene.simulator.clear_faults().await.unwrap();
    let run = scene.ran("drain", 1).await["lastRun"].clone();
    assert!(scene.operator.log().contains("no longer this process'"), "{}", scene.operator.log());
    assert_eq!((&run["interruptions"], &run["result"]), (&json!(1), &json!("Succeeded")));
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_eq!(ledger.with_fate(Fate::Resumed).count(), 600);
    assert_eq!(Runs::of_one(&run).check_all(&ledger).comebacks, 600, "before the last pass");
}

#[tokio::test]
async fn a_run_that_waits_is_handed_back_at_a_clean_stop() {
    let mut scene = Scene::start("waiting").await;
    scene.simulator.generate(DLQ, 120, &Entry::default()).await.unwrap();
    let limit = json!({ "status": { "code": 429, "headers": { "Retry-After": "10" } } });
    scene.simulator.set_faults(&json!([{ "dlq": DLQ, "nth": 2, "fault": limit }])).await.unwrap();
    scene.apply("drain", all("resume")).await;
    let status = scene.condition("drain", "Running", "True", "Throttled").await;
    let until = status["currentRun"]["waitingUntil"].clone();
    assert!(scene.operator.terminate().await.unwrap().success());
    let run = scene.policy("drain").await["status"]["currentRun"].clone();
    assert_eq!((&run["holder"], &run["waitingUntil"]), (&json!(""), &until));
    scene.operator.restart(None).await.unwrap();
    let run = scene.ran("drain", 1).await["lastRun"].clone();
    assert_eq!((&run["processed"], &run["interruptions"]), (&json!(120), &json!(0)));
    let calls = scene.simulator.ledger(DLQ).await.unwrap().calls;
    assert!(calls[2].at - calls[1].at >= 10_000, "the wait survives the restart");
}

#[tokio::test]
async fn a_run_whose_secret_went_while_nobody_ran_it_waits_for_it_and_goes_on() {
    let mut scene = Scene::start("secretless").await;
    scene.simulator.generate(DLQ, 600, &Entry::default()).await.unwrap();
    tempt(&scene.simulator, DLQ).await;
    scene.slow_down(1000).await;
    scene.apply("drain", all("resume")).await;
    scene
        .status("drain", "a page has landed", |status| status["currentRun"]["pages"].as_i64() > Some(0))
        .await;
    scene.operator.kill().unwrap();
    scene.simulator.clear_faults().await.unwrap();
    scene.kubectl(&["delete", "secret", "upstash"]).await;
    let run = scene.policy("drain").await["status"]["currentRun"].clone();
    scene.operator.restart(None).await.unwrap();
    let status = scene.condition("drain", "Ready", "False", "SecretNotFound").await;
    assert_eq!(status["phase"], "Pending");
    assert_eq!(status["currentRun"]["id"], run["id"], "the run is still open");
    scene.apply_secret("upstash", "token", TOKEN).await;
    scene.patch("drain", json!({ "historyLimit": 5 })).await;
    let last = scene.ran("drain", 1).await["lastRun"].clone();
    assert_eq!((&last["id"], &last["interruptions"]), (&run["id"], &json!(1)));
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_eq!(ledger.with_fate(Fate::Resumed).count(), 600);
    assert_eq!(Runs::of_one(&run).check_all(&ledger).comebacks, 600, "before the last pass");
}

#[tokio::test]
async fn replace_ends_a_run_that_waits_when_the_next_instant_is_due() {
    let scene = Scene::start("replace").await;
    scene.simulator.generate(DLQ, 120, &Entry::default()).await.unwrap();
    tempt(&scene.simulator, DLQ).await;
    let limit = json!({ "status": { "code": 429, "headers": { "Retry-After": "600" } } });
    scene.simulator.set_faults(&json!([{ "dlq": DLQ, "nth": 2, "fault": limit }])).await.unwrap();
    let mut spec = all("resume");
    spec["schedule"] = "@every 6s".into();
    spec["concurrencyPolicy"] = "Replace".into();
    scene.apply("replaced", spec).await;
    let status = scene.ran("replaced", 2).await;
    let history = status["history"].as_array().unwrap();
    let first = history.last().unwrap();
    assert_eq!((&first["result"], &first["processed"]), (&json!("Cancelled"), &json!(50)), "{status:#}");
    let second = &history[history.len() - 2];
    // What the first left, and what came back from it.
    assert_eq!((&second["result"], &second["processed"]), (&json!("Succeeded"), &json!(70 + 50)));
    Runs::of(&status).check_all(&scene.simulator.ledger(DLQ).await.unwrap());
}
