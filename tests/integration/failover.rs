//! Two replicas, of which one leads: what the other does when the leader stops, dies or freezes.

use std::time::{Duration, Instant};

use dlq_operator::runtime::clock;
use serde_json::{Value, json};
use testbed::{
    ApiServerProxy, CallKind, Entry, Fate, Ledger, LedgerCall, Operator, Signal, Trouble, User, eventually,
};

use crate::at_most_once::{Runs, tempt};
use crate::cluster::control_plane;
use crate::metrics::scrape::Scrape;
use crate::replicas::{FIRST, Replicas, SECOND, calls_of};
use crate::scene::{DLQ, PATIENCE};

const ENTRIES: usize = 2000;

/// Replicas with a run under way: pages of so many milliseconds.
async fn at_work(name: &str, lease: &str, page: u64) -> Replicas {
    let replicas = Replicas::start(name, &[lease, "--checkpoint-interval=0"]).await;
    drain(&replicas, page).await;
    replicas
}

async fn drain(replicas: &Replicas, page: u64) {
    let scene = &replicas.scene;
    scene.simulator.generate(DLQ, ENTRIES, &Entry::default()).await.unwrap();
    tempt(&scene.simulator, DLQ).await;
    scene.slow_down(page).await;
    scene.apply("drain", json!({ "action": "resume", "filters": { "all": true } })).await;
    scene
        .status("drain", "three pages have landed", |status| {
            status["currentRun"]["pages"].as_i64() >= Some(3)
        })
        .await;
    assert_eq!(calls_of(&replicas.ledger().await, SECOND).count(), 0, "a standby makes no call");
}

/// Waits for the run's end, and checks that every entry was acted on once. Gives the run.
async fn drained(replicas: &Replicas) -> Value {
    drained_but_for(replicas, |_, _| false).await
}

/// But for calls of which it is known that they were made too late, nobody acted at the same time as another.
async fn drained_but_for(replicas: &Replicas, is_late: impl Fn(&Ledger, &LedgerCall) -> bool) -> Value {
    let run = replicas.scene.ran("drain", 1).await["lastRun"].take();
    assert_eq!(run["result"], "Succeeded", "{run:#}");
    let ledger = replicas.ledger().await;
    let temptation = Runs::of_one(&run).check(&ledger, |call| !is_late(&ledger, call));
    assert!(temptation.comebacks > ENTRIES / 2, "the comebacks came too late: {temptation:?}");
    assert_eq!(ledger.entries.iter().filter(|entry| entry.new_workflow_run_id.is_some()).count(), ENTRIES);
    assert_eq!(ledger.workflow_runs.len(), ENTRIES, "each once");
    run
}

#[tokio::test]
async fn at_sigterm_the_standby_takes_over_within_three_seconds_and_the_counts_are_exact() {
    let mut replicas = at_work("handed-over", "--lease-duration=15s", 200).await;
    let told = clock::now().as_millisecond();
    assert!(replicas.scene.operator.terminate().await.unwrap().success());
    replicas.led_by(SECOND).await;
    let run = drained(&replicas).await;
    assert_eq!(
        (&run["processed"], &run["interruptions"], &run["uncertainPages"]),
        (&json!(ENTRIES), &json!(0), &json!(0)),
        "{run:#}"
    );
    assert_taken_over(&replicas, told, 3000).await;
}

/// The second's first call came soon after the first was told to stop.
async fn assert_taken_over(replicas: &Replicas, told: i64, within: i64) {
    let ledger = replicas.ledger().await;
    let after = calls_of(&ledger, SECOND).next().unwrap().at - told;
    assert!(after < within, "the first call came {after} ms after SIGTERM");
}

#[tokio::test]
async fn at_sigterm_neither_a_slow_call_nor_a_long_line_holds_up_the_standby() {
    let lined_up = 100;
    let args = ["--lease-duration=15s", "--max-concurrent-runs=1", "--checkpoint-interval=0"];
    let mut replicas = Replicas::start("lined-up", &args).await;
    let scene = &replicas.scene;
    scene.simulator.generate(DLQ, 50, &Entry::default()).await.unwrap();
    // Longer than the call's grace.
    scene.slow_down(8000).await;
    scene.apply_crowd(lined_up, &json!({ "action": "resume", "filters": { "all": true } })).await;
    eventually(PATIENCE, "all have begun", async || {
        let statuses = replicas.scene.statuses().await;
        statuses.iter().filter(|status| status["currentRun"].is_object()).count() == lined_up
    })
    .await
    .unwrap();
    eventually(PATIENCE, "one calls", async || replicas.ledger().await.calls.len() == 1).await.unwrap();

    let told = clock::now().as_millisecond();
    assert!(replicas.scene.operator.terminate().await.unwrap().success());
    replicas.scene.simulator.clear_faults().await.unwrap();
    eventually(PATIENCE, "the standby calls", async || {
        calls_of(&replicas.ledger().await, SECOND).next().is_some()
    })
    .await
    .unwrap();
    // The call's grace, and a look at the lease; without its release it would take the lease's 15 s.
    assert_taken_over(&replicas, told, 4000).await;
    eventually(PATIENCE, "all have ended", async || {
        let statuses = replicas.scene.statuses().await;
        statuses.iter().filter(|status| status["lastRun"].is_object()).count() == lined_up
    })
    .await
    .unwrap();
    let statuses = replicas.scene.statuses().await;
    let interrupted = statuses.iter().filter(|status| status["lastRun"]["interruptions"] != 0).count();
    assert_eq!(interrupted, 0, "say that they were interrupted");
}

#[tokio::test]
async fn a_leader_that_is_killed_is_replaced_when_its_lease_has_run_out_and_says_what_it_does_not_know() {
    let mut replicas = at_work("killed", "--lease-duration=3s", 200).await;
    replicas.scene.operator.kill().unwrap();
    replicas.led_by(SECOND).await;
    let run = drained(&replicas).await;
    assert_eq!(run["interruptions"], 1, "{run:#}");
    let processed = usize::try_from(run["processed"].as_i64().unwrap()).unwrap();
    // At most the page under way, and the one whose checkpoint was.
    assert!((ENTRIES - 100..=ENTRIES).contains(&processed), "{run:#}");
}

#[tokio::test]
async fn a_leader_that_freezes_makes_no_call_after_its_successors_first() {
    let mut replicas = at_work("frozen", "--lease-duration=3s", 400).await;
    replicas.scene.operator.process_mut().signal(Signal::STOP).unwrap();
    eventually(PATIENCE, "the standby continues with the run", async || {
        calls_of(&replicas.ledger().await, SECOND).next().is_some()
    })
    .await
    .unwrap();
    replicas.scene.operator.process_mut().signal(Signal::CONT).unwrap();
    // The call under way at the freeze may go out after the thaw.
    let is_late = |ledger: &Ledger, call: &LedgerCall| {
        let successors = calls_of(ledger, SECOND).next().unwrap().seq;
        call.seq > successors && calls_of(ledger, FIRST).any(|its| its.seq == call.seq)
    };
    let run = drained_but_for(&replicas, is_late).await;
    assert_eq!(run["interruptions"], 1, "{run:#}");
    assert!(run["processed"].as_i64().unwrap() <= i64::try_from(ENTRIES).unwrap(), "{run:#}");
    let ledger = replicas.ledger().await;
    let successors = calls_of(&ledger, SECOND).next().unwrap().seq;
    let late: Vec<_> = calls_of(&ledger, FIRST).filter(|call| call.seq > successors).collect();
    assert!(late.len() <= 1, "at most the call under way: {late:?}");
    // It continues as the standby, ready to lead again.
    let lost = "lost the lease";
    eventually(PATIENCE, lost, async || replicas.scene.operator.log().contains(lost)).await.unwrap();
    replicas.second.terminate().await.unwrap();
    replicas.led_by(FIRST).await;
    replicas.scene.simulator.clear_faults().await.unwrap();
    replicas.scene.annotate("drain", &[("requestedAt", "again")]).await;
    let run = replicas.scene.ran("drain", 2).await["lastRun"].take();
    // It finds nothing but what came back from the first run.
    assert_eq!((&run["result"], &run["processed"]), (&json!("Succeeded"), &json!(ENTRIES)), "{run:#}");
    let ledger = replicas.ledger().await;
    let comebacks = ledger.entries.iter().filter(|entry| entry.refailed_as.is_some());
    assert_eq!((comebacks.count(), ledger.with_fate(Fate::Resumed).count()), (2 * ENTRIES, 2 * ENTRIES));
}

#[tokio::test]
async fn a_standby_leaves_new_work_to_the_leader() {
    let replicas = at_work("at-rest", "--lease-duration=3s", 50).await;
    drained(&replicas).await;
    for (request, runs) in [("1", 2), ("2", 3), ("3", 4)] {
        replicas.scene.annotate("drain", &[("requestedAt", request)]).await;
        replicas
            .scene
            .status("drain", "the request is handled", |status| status["lastHandledRequestedAt"] == request)
            .await;
        // There is always something to do, and a request during a run starts none.
        replicas.scene.ran("drain", runs).await;
    }
    let status = replicas.scene.ran("drain", 4).await;
    assert_eq!(status["totals"]["runs"], 4);
    assert!(Runs::of(&status).check_all(&replicas.ledger().await).comebacks > ENTRIES / 2);
    assert_eq!(calls_of(&replicas.ledger().await, SECOND).count(), 0);
}

#[tokio::test]
async fn a_leader_that_the_api_server_cannot_hear_stops_before_another_can_lead() {
    // Cut off from all, or from the lease alone.
    for (kinds, trouble) in [(vec![], Trouble::Hang), (vec![CallKind::Other], Trouble::Drop)] {
        let proxy = ApiServerProxy::start(control_plane().await, User::Admin).await.unwrap();
        let kubeconfig = proxy.kubeconfig();
        let replicas = Replicas::start_changed("cut-off", &["--lease-duration=4s"], |options| {
            options.kubeconfig = kubeconfig;
        })
        .await;
        drain(&replicas, 200).await;
        proxy.trouble(&kinds, trouble);
        proxy.cut();
        eventually(PATIENCE, "the standby continues with the run", async || {
            calls_of(&replicas.ledger().await, SECOND).next().is_some()
        })
        .await
        .unwrap();
        proxy.clear();
        proxy.cut();
        let run = drained(&replicas).await;
        assert_eq!(run["interruptions"], 1, "{trouble:?}: {run:#}");
        let ledger = replicas.ledger().await;
        let successors = calls_of(&ledger, SECOND).next().unwrap();
        let last = calls_of(&ledger, FIRST).last().unwrap();
        assert!(last.seq < successors.seq, "{trouble:?}: {last:?} after {successors:?}");
        // It knew by its own clock, a third of the lease before anybody else could.
        assert!(successors.at - last.at > 800, "{trouble:?}: {} ms apart", successors.at - last.at);
    }
}

/// Over both replicas.
async fn counted(replicas: &Replicas, name: &str) -> i64 {
    let first = Scrape::of(replicas.scene.operator.admin_url()).await;
    let second = Scrape::of(replicas.second.admin_url()).await;
    [first, second].iter().filter_map(|scrape| scrape.count(name, &[])).sum()
}

#[tokio::test]
async fn a_run_whose_end_was_written_and_not_answered_before_the_term_was_lost_is_counted_once() {
    let proxy = ApiServerProxy::start(control_plane().await, User::Admin).await.unwrap();
    let kubeconfig = proxy.kubeconfig();
    let replicas =
        Replicas::start_changed("counted", &["--lease-duration=9s", "--checkpoint-interval=1m"], |options| {
            options.kubeconfig = kubeconfig;
        })
        .await;
    replicas.scene.simulator.generate(DLQ, 20, &Entry::default()).await.unwrap();
    replicas.scene.slow_down(2500).await;
    replicas.scene.apply("drain", json!({ "action": "resume", "filters": { "all": true } })).await;
    replicas.scene.status("drain", "the run has begun", |status| status["currentRun"].is_object()).await;
    // The end is written, and it does not learn of it, nor is it heard from then on.
    proxy.trouble(&[CallKind::WriteStatus], Trouble::HangAnswer);
    replicas.scene.ran("drain", 1).await;
    proxy.trouble(&[CallKind::Other, CallKind::ReadPolicy], Trouble::Drop);
    replicas.led_by(SECOND).await;
    assert_eq!(counted(&replicas, "runs_total").await, 0, "nobody knows yet");
    proxy.clear();
    proxy.cut();
    eventually(PATIENCE, "who wrote the end learns of it", async || {
        counted(&replicas, "runs_total").await == 1
    })
    .await
    .unwrap();
    let runs = Scrape::of(replicas.scene.operator.admin_url()).await.count("runs_total", &[]);
    assert_eq!(runs, Some(1), "by who did the work");
    // Also when it leads again.
    let mut replicas = replicas;
    assert!(replicas.second.terminate().await.unwrap().success());
    replicas.led_by(FIRST).await;
    replicas.scene.annotate("drain", &[("requestedAt", "now")]).await;
    replicas.scene.ran("drain", 2).await;
    Scrape::until(replicas.scene.operator.admin_url(), "both runs are counted", |scrape| {
        scrape.count("runs_total", &[]) == Some(2)
    })
    .await;
}

#[tokio::test]
async fn a_wait_that_upstash_asked_for_is_counted_by_who_holds_the_run() {
    let replicas = Replicas::start("waits", &["--lease-duration=3s"]).await;
    replicas.scene.simulator.generate(DLQ, 100, &Entry::default()).await.unwrap();
    let limit = json!({ "status": { "code": 429, "headers": { "Retry-After": "60" }, "body": "{\"error\":\"slow down\"}" } });
    let rules = json!([{ "dlq": DLQ, "nth": 2, "fault": limit }]);
    replicas.scene.simulator.set_faults(&rules).await.unwrap();
    replicas.scene.apply("drain", json!({ "action": "resume", "filters": { "all": true } })).await;
    replicas.scene.condition("drain", "Running", "True", "Throttled").await;
    let waited = |scrape: &Scrape| scrape.sum("rate_limited_seconds_total", &[]).unwrap_or_default();
    let grows = async |operator: &Operator, from: f64| {
        Scrape::until(operator.admin_url(), "the wait counts", |scrape| waited(scrape) > from).await
    };
    grows(&replicas.scene.operator, 0.5).await;
    assert!(waited(&Scrape::of(replicas.second.admin_url()).await) == 0.0, "a standby waits for nothing");
    let mut replicas = replicas;
    replicas.scene.operator.kill().unwrap();
    grows(&replicas.second, 2.0).await;
    // A cancelled run waits no more.
    replicas.scene.annotate("drain", &[("cancelAt", "now")]).await;
    replicas.scene.ran("drain", 1).await;
    let counted = waited(&Scrape::of(replicas.second.admin_url()).await);
    let since = Instant::now();
    eventually(PATIENCE, "two seconds pass", async || since.elapsed() > Duration::from_secs(2))
        .await
        .unwrap();
    let later = waited(&Scrape::of(replicas.second.admin_url()).await);
    assert!((later - counted).abs() < 0.01, "{counted} s, and {later} s later");
}
