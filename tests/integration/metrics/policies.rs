//! How the policies stand, on every replica, and how long their series stay.

use serde_json::json;
use testbed::Entry;

use super::scrape::{Scrape, TEXT, get};
use super::{resume, scene, with};
use crate::replicas::{FIRST, Replicas};
use crate::scene::{DLQ, Scene};

#[tokio::test]
async fn a_circuit_that_opens_is_shown_and_so_is_a_run_that_goes_on() {
    let scene = Scene::start("circuit").await;
    scene.apply_secret("unknown", "token", "unknown-token").await;
    let connection = json!({ "tokenSecretRef": { "name": "unknown", "key": "token" } });
    let policy = json!({ "connection": connection, "schedule": "@every 1s",
        "failurePolicy": { "openCircuitAfter": 2 } });
    scene.apply("broken", with(resume(), policy)).await;
    scene.condition("broken", "Ready", "True", "CircuitOpen").await;
    let of = [("name", "broken")];
    let admin_url = scene.operator.admin_url();
    let scrape = Scrape::until(admin_url, "the circuit is open", |scrape| {
        scrape.count("circuit_open", &of) == Some(1)
    })
    .await;
    assert_eq!(scrape.count("consecutive_failures", &of), Some(2));
    let ready = |status| [("name", "broken"), ("type", "Ready"), ("status", status)];
    let shown = ["True", "False", "Unknown"].map(|status| scrape.count("policy_condition", &ready(status)));
    assert_eq!(shown, [Some(1), Some(0), Some(0)], "it stays ready");
    scene.simulator.generate(DLQ, 100, &Entry::default()).await.unwrap();
    scene.slow_down(2_000).await;
    scene.apply("slow", resume()).await;
    let running = [("name", "slow")];
    Scrape::until(admin_url, "a run is in progress", |scrape| {
        scrape.count("run_active", &running) == Some(1)
    })
    .await;
    scene.simulator.clear_faults().await.unwrap();
    scene.ran("slow", 1).await;
    Scrape::until(admin_url, "it has ended", |scrape| scrape.count("run_active", &running) == Some(0)).await;
}

#[tokio::test]
async fn the_series_of_a_policy_go_when_it_is_deleted_or_leaves_the_selection() {
    let scene = Scene::start_with("gone", &["--selector=team=a"]).await;
    let admin_url = scene.operator.admin_url();
    for name in ["deleted", "moved", "stays"] {
        scene.apply(name, resume()).await;
        scene.kubectl(&["label", "dlqpolicy", name, "team=a"]).await;
        scene.ran(name, 1).await;
        Scrape::until(admin_url, "it is counted", |scrape| {
            scrape.count("runs_total", &[("name", name), ("result", "Succeeded")]) == Some(1)
        })
        .await;
    }
    scene.kubectl(&["delete", "dlqpolicy", "deleted"]).await;
    scene.kubectl(&["label", "dlqpolicy", "moved", "team-"]).await;
    let scrape =
        Scrape::until(admin_url, "two are gone", |scrape| !scrape.names("deleted") && !scrape.names("moved"))
            .await;
    assert_eq!(scrape.count("runs_total", &[("name", "stays"), ("result", "Succeeded")]), Some(1));
    scene.kubectl(&["label", "dlqpolicy", "moved", "team=a"]).await;
    let back = Scrape::until(admin_url, "one is back", |scrape| scrape.names("moved")).await;
    assert_eq!(back.count("runs_total", &[("name", "moved")]), Some(0), "counts begin anew");
}

#[tokio::test]
async fn a_restarted_operator_shows_the_policies_as_soon_as_it_is_ready() {
    let mut scene = scene("restarted", &[]).await;
    scene.operator.restart(None).await.unwrap();
    let scrape = Scrape::of(scene.operator.admin_url()).await;
    let status = scene.policy("once").await["status"].take();
    let start: jiff::Timestamp = status["lastRun"]["startTime"].as_str().unwrap().parse().unwrap();
    let shown = scrape.sum("last_run_timestamp_seconds", &[("name", "once")]).unwrap();
    assert!((shown - start.as_duration().as_secs_f64()).abs() < 0.001, "{shown}");
    let ready = [("name", "once"), ("type", "Ready"), ("status", "True")];
    assert_eq!(scrape.count("policy_condition", &ready), Some(1));
    assert_eq!(scrape.count("policy_info", &[("name", "yearly"), ("schedule", "0 0 1 1 *")]), Some(1));
    assert_eq!(scrape.count("runs_total", &[("name", "once")]), Some(0), "counts are those of the process");
}

#[tokio::test]
async fn a_standby_is_ready_and_shows_the_policies_as_the_leader_does() {
    let replicas = Replicas::start("metrics-standby", &[]).await;
    let scene = &replicas.scene;
    scene.apply("once", resume()).await;
    scene.ran("once", 1).await;
    let (leader, standby) = (scene.operator.admin_url(), replicas.second.admin_url());
    assert!(replicas.leader().await.starts_with(FIRST));
    assert_eq!(get(&format!("{standby}/readyz"), TEXT).await.status, 200);
    let policy = [("name", "once")];
    let has_run = |scrape: &Scrape| scrape.count("last_run_timestamp_seconds", &policy) > Some(0);
    let [leading, waiting] = [
        Scrape::until(leader, "the leader shows it", has_run).await,
        Scrape::until(standby, "the standby shows it", has_run).await,
    ];
    assert_eq!((leading.count("leader", &[]), waiting.count("leader", &[])), (Some(1), Some(0)));
    for gauge in
        ["last_run_timestamp_seconds", "last_success_timestamp_seconds", "policy_info", "circuit_open"]
    {
        let [here, there] = [&leading, &waiting].map(|scrape| scrape.sum(gauge, &policy).map(f64::to_bits));
        assert_eq!(here, there, "{gauge}");
    }
    assert_eq!(waiting.count("runs_total", &policy), Some(0));
    assert_eq!(waiting.count("reconcile_total", &[]), Some(0), "a standby looks at nothing");
}
