//! Writes that are held up on their way, and arrive when nobody waits for them any more.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{ApiServerProxy, CallKind, Entry, Fate, Trouble, eventually};

use super::behind_a_proxy;
use crate::scene::{DLQ, PATIENCE, Scene};

fn all() -> Value {
    json!({ "action": "resume", "filters": { "all": true } })
}

/// The API server refuses what is held back: a test of the patch does not hold any more.
async fn release_in_vain(proxy: &ApiServerProxy) {
    proxy.release();
    eventually(PATIENCE, "the late write arrives", async || proxy.held() == 0).await.unwrap();
    let answers = proxy.late_answers();
    assert_eq!(answers, [422]);
}

async fn is_at_page(scene: &Scene, pages: Option<i64>) -> Option<i64> {
    let run = |status: &Value| status["currentRun"]["pages"].as_i64();
    run(&scene.status("drain", "a page more is written", |status| run(status) > pages).await)
}

#[tokio::test]
async fn a_release_that_was_held_up_does_not_undo_a_newer_claim_of_the_same_process() {
    let args = ["--selector=team=a", "--checkpoint-interval=0"];
    let (scene, proxy) = behind_a_proxy("late-release", &args).await;
    scene.simulator.generate(DLQ, 1000, &Entry::default()).await.unwrap();
    scene.slow_down(1000).await;
    scene.apply("drain", all()).await;
    scene.kubectl(&["label", "dlqpolicy", "drain", "team=a"]).await;
    is_at_page(&scene, Some(0)).await;
    // The call under way may end, and be written; what comes after it is the release.
    proxy.trouble(&[CallKind::WriteStatus], Trouble::Hold);
    scene.kubectl(&["label", "dlqpolicy", "drain", "team-"]).await;
    eventually(PATIENCE, "a write is held back", async || proxy.held() > 0).await.unwrap();
    // Until the operator has given up on its last write, it is one process that works on one run.
    let is_released = async || scene.operator.log().contains("cannot give the run back");
    eventually(PATIENCE, "nothing more is written", is_released).await.unwrap();
    proxy.clear();
    scene.kubectl(&["label", "dlqpolicy", "drain", "team=a"]).await;
    let before = is_at_page(&scene, None).await;
    is_at_page(&scene, before).await;
    let held = proxy.held();
    proxy.release();
    eventually(PATIENCE, "the late writes arrive", async || proxy.held() == 0).await.unwrap();
    let answers = proxy.late_answers();
    assert_eq!(answers, vec![422; held]);

    scene.simulator.clear_faults().await.unwrap();
    let run = scene.ran("drain", 1).await["lastRun"].take();
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_eq!((&run["result"], ledger.with_fate(Fate::Resumed).count()), (&json!("Succeeded"), 1000));
    // What happened since the last checkpoint is not known, and the run says so.
    assert_eq!((&run["interruptions"], &run["holder"]), (&json!(1), &Value::Null), "{run:#}");
    assert!(run["processed"].as_i64() <= Some(1000), "{run:#}");
}

#[tokio::test]
async fn a_checkpoint_that_was_held_up_does_not_undo_a_newer_one() {
    let (scene, proxy) = behind_a_proxy("late-checkpoint", &["--checkpoint-interval=0"]).await;
    scene.simulator.generate(DLQ, 1000, &Entry::default()).await.unwrap();
    scene.slow_down(1000).await;
    scene.apply("drain", all()).await;
    is_at_page(&scene, Some(0)).await;
    proxy.trouble_times(&[CallKind::WriteStatus], Trouble::Hold, 1);
    eventually(PATIENCE, "a checkpoint is held back", async || proxy.held() == 1).await.unwrap();
    let stands = scene.policy("drain").await["status"]["currentRun"]["pages"].as_i64();
    // Given up on, and another one written.
    let newer = is_at_page(&scene, stands).await;
    release_in_vain(&proxy).await;
    let pages = scene.policy("drain").await["status"]["currentRun"]["pages"].as_i64();
    assert!(pages >= newer, "{pages:?} pages, {newer:?} were written before");
    scene.simulator.clear_faults().await.unwrap();
    let run = scene.ran("drain", 1).await["lastRun"].take();
    let counts = ["processed", "interruptions", "uncertainPages"].map(|key| &run[key]);
    assert_eq!(counts, [&json!(1000), &json!(0), &json!(0)], "{run:#}");
}

#[tokio::test]
async fn of_a_policy_that_is_deleted_while_its_checkpoint_is_stuck_nothing_is_kept() {
    let (mut scene, proxy) = behind_a_proxy("stuck-and-gone", &["--checkpoint-interval=0"]).await;
    scene.simulator.generate(DLQ, 1000, &Entry::default()).await.unwrap();
    scene.slow_down(1000).await;
    scene.apply("drain", all()).await;
    is_at_page(&scene, Some(0)).await;
    proxy.trouble(&[CallKind::WriteStatus], Trouble::Hang);
    scene.kubectl(&["delete", "dlqpolicy", "drain"]).await;
    // The slice ends, with a last write that nobody answers.
    let (mut quiet_since, mut seen) = (Instant::now(), 0);
    let start = quiet_since;
    eventually(PATIENCE, "no more is tried", async || {
        let tried = proxy.calls_since(start).iter().filter(|call| call.kind == CallKind::WriteStatus).count();
        if tried > seen {
            (quiet_since, seen) = (Instant::now(), tried);
        }
        seen > 0 && quiet_since.elapsed() > Duration::from_secs(8)
    })
    .await
    .unwrap();
    proxy.clear();
    let stopped = Instant::now();
    scene.operator.terminate().await.unwrap();
    let writes = proxy.calls_since(stopped).iter().filter(|call| call.kind == CallKind::WriteStatus).count();
    assert_eq!(writes, 0, "a run of a policy that is gone is given back at the end");
}

#[tokio::test]
async fn at_sigterm_every_run_is_given_back_however_slow_the_api_server_is() {
    let crowd = 50;
    let args = ["--max-concurrent-runs=1", "--checkpoint-interval=0", "--request-timeout=3m"];
    let (mut scene, proxy) = behind_a_proxy("slow-stop", &args).await;
    scene.simulator.generate(DLQ, 50, &Entry::default()).await.unwrap();
    // Longer than the grace period, and than the other runs need to start.
    scene.slow_down(150_000).await;
    scene.apply_crowd(crowd, &all()).await;
    let count = async |wished: &dyn Fn(&Value) -> bool| {
        scene.statuses().await.iter().filter(|status| wished(&status["currentRun"])).count()
    };
    eventually(PATIENCE, "all have begun", async || count(&Value::is_object).await == crowd).await.unwrap();
    proxy.trouble(&[CallKind::WriteStatus], Trouble::Slow);
    assert!(scene.operator.terminate().await.unwrap().success());
    let given_back =
        scene.statuses().await.iter().filter(|status| status["currentRun"]["holder"] == "").count();
    assert_eq!(given_back, crowd);
}
