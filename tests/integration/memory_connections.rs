//! What many connections take of an operator's memory.

#![expect(clippy::print_stdout, reason = "figures, for reading with --nocapture")]

use serde_json::{Value, json};
use testbed::eventually;

use crate::memory::memory;
use crate::metrics::scrape::Scrape;
use crate::scene::{PATIENCE, Scene};

const CONNECTIONS: u64 = 1000;
/// What each has that the operator has no use for.
const USELESS_KIB: usize = 32;
/// What each may take: its name, its guardrails, its status, and what the allocator keeps. Half of what it would take to
/// keep the objects whole.
const EACH_KIB: u64 = 16;
/// Two pages of the watch's list, as text and as values.
const PAGES_KIB: u64 = 80 * 1024;

async fn fill(scene: &Scene) {
    let note = "x".repeat(USELESS_KIB << 10);
    let connection = |index: u64| {
        json!({
            "apiVersion": "dlq-operator.dev/v1alpha1",
            "kind": "DlqConnection",
            "metadata": {
                "name": format!("connection-{index:04}"), "namespace": scene.namespace.name(),
                "annotations": { "example.com/note": note },
            },
            "spec": { "tokenSecretRef": { "name": "upstash" }, "allowedLabels": ["payments"] },
        })
    };
    let indices: Vec<_> = (0..CONNECTIONS).collect();
    for batch in indices.chunks(100) {
        scene.apply_all(batch.iter().map(|index| connection(*index)).collect()).await;
    }
}

async fn all_are_connected(scene: &Scene) {
    let reasons = "--output=jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].reason}";
    eventually(PATIENCE, "each token was tried", async || {
        let reasons = scene.kubectl(&["get", "dlqconnections", reasons]).await;
        let connected = reasons.split(' ').filter(|reason| *reason == "Connected").count() as u64;
        if connected == CONNECTIONS { Ok(()) } else { Err(format!("{connected} are connected")) }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_connection_takes_a_few_kibibytes_and_is_not_kept_whole() {
    let mut scene = Scene::start_with("many-connections", &[]).await;
    let sharing = |name: &str| -> Value {
        json!({
            "action": "resume", "filters": { "labels": ["payments"] }, "schedule": "0 0 29 2 *",
            "connection": { "name": name },
        })
    };
    scene.apply("sharing", sharing("connection-0999")).await;
    scene.condition("sharing", "Ready", "False", "ConnectionNotFound").await;
    let (alone, _) = memory(&scene.operator);
    fill(&scene).await;
    all_are_connected(&scene).await;
    scene.condition("sharing", "Ready", "True", "Scheduled").await;
    let (resident, peak) = memory(&scene.operator);
    println!("{CONNECTIONS} connections, one by one: {alone} KiB before, {resident} KiB, {peak} KiB at most");
    assert!(resident.saturating_sub(alone) < CONNECTIONS * EACH_KIB, "{alone} KiB, then {resident} KiB");

    // A start lists them all.
    scene.operator.restart(None).await.unwrap();
    scene.apply("later", sharing("connection-0998")).await;
    scene.condition("later", "Ready", "True", "Scheduled").await;
    assert!(Scrape::of(scene.operator.admin_url()).await.count("reconcile_total", &[]) >= Some(1));
    let (resident, peak) = memory(&scene.operator);
    println!("{CONNECTIONS} connections, at a start: {resident} KiB, {peak} KiB at most");
    assert!(peak.saturating_sub(alone) < CONNECTIONS * EACH_KIB + PAGES_KIB, "{alone} KiB, then {peak} KiB");
}
