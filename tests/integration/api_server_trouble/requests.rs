//! Single requests that are refused, hang, or whose answer is lost, and watches that end.

use std::time::{Duration, Instant};

use serde_json::json;
use testbed::{CallKind, Entry, Trouble, eventually};

use super::{assert_as_if_nothing_had_happened, behind_a_proxy};
use crate::metrics::scrape::Scrape;
use crate::scene::{DLQ, PATIENCE, Scene};

fn all() -> serde_json::Value {
    json!({ "action": "resume", "filters": { "all": true } })
}

#[tokio::test]
async fn a_run_is_exact_whatever_befalls_its_requests() {
    let (scene, proxy) = behind_a_proxy("requests", &["--checkpoint-interval=0"]).await;
    scene.simulator.generate(DLQ, 3000, &Entry::default()).await.unwrap();
    scene.slow_down(400).await;
    scene.apply("drain", all()).await;
    let mut known = Some(0);
    let table = [
        (&[CallKind::WriteStatus][..], Trouble::TooManyRequests, 5),
        (&[CallKind::WriteStatus], Trouble::LoseAnswer, 3),
        (&[CallKind::WriteStatus], Trouble::Hang, 1),
        (&[CallKind::ReadPolicy], Trouble::TooManyRequests, 2),
        (&[CallKind::ReadPolicy], Trouble::LoseAnswer, 2),
        (&[CallKind::ReadPolicy], Trouble::Hang, 1),
        (&[], Trouble::TooManyRequests, 8),
        (&[], Trouble::LoseAnswer, 4),
    ];
    for (number, (kinds, trouble, times)) in table.into_iter().enumerate() {
        scene
            .status("drain", "the run continues", |status| status["currentRun"]["pages"].as_i64() > known)
            .await;
        let since = Instant::now();
        proxy.trouble_times(kinds, trouble, times);
        // A new slice, which reads the policy.
        scene.patch("drain", json!({ "historyLimit": number + 1 })).await;
        eventually(PATIENCE, "the trouble is over", async || proxy.is_over()).await.unwrap();
        println!("{trouble:?} of {kinds:?} {times} times: over after {:?}", since.elapsed());
        known = scene.policy("drain").await["status"]["currentRun"]["pages"].as_i64();
    }
    scene.status("drain", "the run continues", |status| status["currentRun"]["pages"].as_i64() > known).await;
    scene.simulator.clear_faults().await.unwrap();
    let run = scene.ran("drain", 1).await["lastRun"].take();
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_as_if_nothing_had_happened(&run, &ledger, 3000, 60);
}

#[tokio::test]
async fn a_start_and_an_end_whose_writes_get_no_answer_count_once() {
    let (scene, proxy) = behind_a_proxy("unanswered", &[]).await;
    scene.slow_down(1500).await;
    let troubles = [Trouble::LoseAnswer, Trouble::Hang, Trouble::TooManyRequests];
    for (number, trouble) in troubles.into_iter().enumerate() {
        let (name, runs_before) =
            (format!("short-{number}"), scene.simulator.ledger(DLQ).await.unwrap().calls.len());
        scene.simulator.generate(DLQ, 20, &Entry::default()).await.unwrap();
        proxy.trouble_times(&[CallKind::ReadSecret, CallKind::WriteStatus], trouble, 2);
        scene.apply(&name, all()).await;
        let called = || async { scene.simulator.ledger(DLQ).await.unwrap().calls.len() > runs_before };
        scene.status(&name, "it has begun", |status| status["currentRun"].is_object()).await;
        // The checkpoint and the end.
        proxy.trouble_times(&[CallKind::WriteStatus], trouble, 2);
        eventually(PATIENCE, "it has called", called).await.unwrap();
        let status = scene.ran(&name, 1).await;
        assert!(proxy.is_over(), "{trouble:?}");
        assert_eq!(
            (&status["totals"]["runs"], &status["totals"]["processed"], &status["lastRun"]["interruptions"]),
            (&json!(1), &json!(20), &json!(0)),
            "{trouble:?}: {status:#}"
        );
        assert_eq!(scene.simulator.ledger(DLQ).await.unwrap().calls.len(), runs_before + 1, "{trouble:?}");
        assert_told_once(&scene, &name).await;
    }
    assert_eq!(Scrape::of(scene.operator.admin_url()).await.count("runs_total", &[]), Some(3));
}

#[tokio::test]
async fn starts_whose_writes_get_no_answer_are_counted_with_how_late_they_were() {
    let (scene, proxy) = behind_a_proxy("unanswered-starts", &[]).await;
    let mut spec = all();
    spec["schedule"] = json!("@every 3s");
    scene.apply("often", spec).await;
    for runs in 1..=3 {
        scene.ran("often", runs).await;
        // The next write is the next run's claim.
        proxy.trouble_times(&[CallKind::WriteStatus], Trouble::LoseAnswer, 1);
        eventually(PATIENCE, "the answer is lost", async || proxy.is_over()).await.unwrap();
    }
    scene.patch("often", json!({ "suspend": true })).await;
    let status = scene.status("often", "it is at rest", |status| status["phase"] == "Suspended").await;
    let (runs, missed) = (status["totals"]["runs"].as_i64(), status["missedSchedules"].as_i64());
    Scrape::until(scene.operator.admin_url(), "starts and ends are counted once", |scrape| {
        scrape.count("schedule_lateness_seconds_count", &[]) == runs
            && scrape.count("runs_total", &[]) == runs
    })
    .await;
    assert_eq!(Scrape::of(scene.operator.admin_url()).await.count("missed_schedules_total", &[]), missed);
}

/// Its end is one line in the log and one event.
async fn assert_told_once(scene: &Scene, name: &str) {
    let policy = format!("\"policy\":\"{}/{name}\"", scene.namespace.name());
    let ended = |line: &&str| line.contains(&policy) && line.contains("\"result\":\"Succeeded\"");
    eventually(PATIENCE, "the end is logged", async || scene.operator.log().lines().any(|line| ended(&line)))
        .await
        .unwrap();
    assert_eq!(scene.operator.log().lines().filter(ended).count(), 1, "{name}");
    let events = async || {
        let of_policy = format!("--field-selector=regarding.name={name},reason=RunSucceeded");
        let events = scene.kubectl(&["get", "events.events.k8s.io", &of_policy, "--output=json"]).await;
        let events: serde_json::Value = serde_json::from_str(&events).unwrap();
        let times = |event: &serde_json::Value| event["series"]["count"].as_i64().unwrap_or(1);
        events["items"].as_array().unwrap().iter().map(times).sum::<i64>()
    };
    let told = async || events().await == 1;
    eventually(PATIENCE, &format!("{name}: its end is told once"), told).await.unwrap();
}

#[tokio::test]
async fn a_checkpoint_that_fails_is_tried_again_a_few_times_a_second_and_after_five_no_call_is_made() {
    let (scene, proxy) = behind_a_proxy("read-only", &[]).await;
    scene.simulator.generate(DLQ, 10_000, &Entry::default()).await.unwrap();
    let mut spec = all();
    spec["limits"] = json!({ "pageSize": 1 });
    scene.apply("drain", spec).await;
    scene
        .status("drain", "pages are written", |status| status["currentRun"]["pages"].as_i64() > Some(0))
        .await;
    let since = Instant::now();
    proxy.trouble(&[CallKind::WriteStatus], Trouble::Drop);
    let span = Duration::from_secs(10);
    eventually(PATIENCE, "the time is over", async || since.elapsed() > span).await.unwrap();
    let writes = proxy.counts_since(since)[&CallKind::WriteStatus];
    let calls = scene.simulator.ledger(DLQ).await.unwrap().calls;
    println!("{writes} writes tried in {span:?}, {} calls in all", calls.len());
    assert!(writes < 60, "{writes} writes in {span:?}");
    let first = proxy.calls_since(since).into_iter().find(|call| call.kind == CallKind::WriteStatus).unwrap();
    let failing = i64::try_from(first.at.elapsed().as_millis()).unwrap();
    let last = dlq_operator::runtime::clock::now().as_millisecond() - calls.last().unwrap().at;
    assert!(failing - last < 5000 + 500, "a call {} ms after the first failure", failing - last);
    proxy.clear();
    let run = scene.ran("drain", 1).await["lastRun"].take();
    assert_as_if_nothing_had_happened(&run, &scene.simulator.ledger(DLQ).await.unwrap(), 10_000, 10_000);
}

#[tokio::test]
async fn watches_that_expire_forget_no_policy_and_repeat_no_run() {
    let (scene, proxy) = behind_a_proxy("expired", &["--checkpoint-interval=0"]).await;
    scene.simulator.generate(DLQ, 1000, &Entry::default()).await.unwrap();
    scene.slow_down(500).await;
    let none = json!({ "action": "resume", "filters": { "labels": ["none"] } });
    for name in ["done", "deleted"] {
        scene.apply(name, none.clone()).await;
        scene.ran(name, 1).await;
    }
    scene.apply("drain", all()).await;
    let known =
        |pages| move |status: &serde_json::Value| status["currentRun"]["pages"].as_i64() > Some(pages);
    scene.status("drain", "pages are written", known(0)).await;

    let watches = [CallKind::ListPolicies, CallKind::WatchPolicies];
    let blind = Instant::now();
    proxy.trouble(&watches, Trouble::Gone);
    proxy.expire_watches();
    eventually(PATIENCE, "it looks for all policies again, in vain", async || {
        proxy.counts_since(blind).contains_key(&CallKind::ListPolicies)
    })
    .await
    .unwrap();
    scene.apply("new", none.clone()).await;
    scene.kubectl(&["delete", "dlqpolicy", "deleted"]).await;
    scene.patch("done", json!({ "filters": { "labels": ["others"] } })).await;
    let seconds = blind.elapsed();
    proxy.clear();
    println!("while blind for {seconds:?}: {:?}", proxy.counts_since(blind));
    let back = Instant::now();
    scene.ran("new", 1).await;
    scene.ran("done", 2).await;
    println!("it sees again after {:?}", back.elapsed());

    // Again and again, also while the answer is being read.
    let often = Instant::now();
    eventually(PATIENCE, "watches have begun and expired", async || {
        proxy.expire_watches();
        proxy.counts_since(often).get(&CallKind::WatchPolicies) > Some(&2)
    })
    .await
    .unwrap();
    let run = scene.ran("drain", 1).await["lastRun"].take();
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    let drained: Vec<_> =
        ledger.calls.iter().filter(|call| !call.query.contains("label=")).cloned().collect();
    let others = ledger.calls.len() - drained.len();
    let drained = testbed::Ledger { calls: drained, ..ledger };
    assert_as_if_nothing_had_happened(&run, &drained, 1000, 20);
    assert_eq!(others, 4, "each of the others ran once for each spec");
}

#[tokio::test]
async fn a_status_that_the_api_server_writes_in_other_letters_holds_nothing_up() {
    let scene = Scene::start("letters").await;
    scene.simulator.generate(DLQ, 10, &Entry::default()).await.unwrap();
    scene.apply("drain", all()).await;
    // A request that comes during this run starts none.
    scene.ran("drain", 1).await;
    for (request, runs) in [("R&D <a>", 2), ("\u{2028}", 3), ("é\u{1f600}", 4)] {
        scene.annotate("drain", &[("requestedAt", request), ("requestReason", request)]).await;
        let status = scene.ran("drain", runs).await;
        assert_eq!(
            (&status["totals"]["runs"], &status["lastHandledRequestedAt"]),
            (&json!(runs), &json!(request))
        );
    }
    scene.patch("drain", json!({ "suspend": true })).await;
    scene.condition("drain", "Ready", "True", "Suspended").await;
}
