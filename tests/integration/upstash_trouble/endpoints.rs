//! Endpoints that are slow or dead, beside one that is not.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::json;
use testbed::{Entry, Simulator};

use crate::cluster::control_plane;
use crate::scene::{DLQ, Scene, TOKEN, condition};

const DEAD: usize = 20;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a slice may take: its time, the call under way when that is over, and a busy machine.
const SLICE: Duration = Duration::from_secs(10 + 2 + 5);

/// Twenty policies at dead endpoints are under way, and one at a good one has `most` to end its run.
async fn one_among_the_dead(name: &str, args: &[&str], most: Duration) {
    // It accepts, as its backlog is long, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let [silent_url, closed_url] =
        [&silent, &closed].map(|listener| format!("http://{}", listener.local_addr().unwrap()));
    drop(closed);
    let mut flags = vec!["--request-timeout=2s"];
    flags.extend(args);
    let allowed = [format!("--allowed-url={silent_url}"), format!("--allowed-url={closed_url}")];
    flags.extend(allowed.iter().map(String::as_str));
    let simulator = Simulator::start().await.unwrap();
    let scene = Scene::start_on(control_plane().await, name, simulator, &flags, |_| {}).await;
    scene.simulator.generate(DLQ, 500, &Entry::default()).await.unwrap();

    let spec = |url: &str| {
        json!({
            "action": "resume", "filters": { "all": true },
            "connection": { "url": url, "tokenSecretRef": { "name": "upstash", "key": "token" } },
        })
    };
    let policies = (0..DEAD).map(|index| {
        let url = if index % 4 == 0 { &closed_url } else { &silent_url };
        json!({
            "apiVersion": "dlq-operator.dev/v1alpha1",
            "kind": "DlqPolicy",
            "metadata": { "name": format!("dead-{index:02}"), "namespace": scene.namespace.name() },
            "spec": spec(url),
        })
    });
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": policies.collect::<Vec<_>>() });
    scene.control_plane.kubectl_apply(&list.to_string()).await.unwrap().ok().unwrap();
    for index in 0..DEAD {
        let name = format!("dead-{index:02}");
        scene.status(&name, "it is under way", |status| status["currentRun"].is_object()).await;
    }

    let start = Instant::now();
    scene.apply("good", spec(scene.simulator.api_url())).await;
    let status = scene.ran("good", 1).await;
    let took = start.elapsed();
    println!("{name}: the good one has ended after {took:?}");
    assert_eq!((&status["lastRun"]["processed"], &status["lastRun"]["retries"]), (&json!(500), &json!(0)));
    assert!(took < most, "{took:?}");
    let dead = scene.policy("dead-01").await["status"].take();
    let running = condition(&dead, "Running");
    assert!(dead["currentRun"].is_object() || dead["lastRun"]["reason"] == "UpstreamUnavailable", "{dead:#}");
    assert!(!running["message"].as_str().unwrap_or_default().contains(TOKEN), "{running}");
    drop(silent);
}

#[tokio::test]
async fn dead_endpoints_do_not_delay_another_policy() {
    // Every run has a slot of its own.
    one_among_the_dead("dead-endpoints", &[], Duration::from_secs(5)).await;
}

#[tokio::test]
async fn with_two_slots_dead_endpoints_delay_another_policy_by_a_slice_of_theirs() {
    one_among_the_dead("two-slots", &["--max-concurrent-runs=2"], SLICE + REQUEST_TIMEOUT).await;
}
