//! What an operator takes of a processor: the chart's request comes from here.

#![expect(clippy::print_stdout, reason = "figures, for whoever runs it with --nocapture")]

use std::time::{Duration, Instant};

use serde_json::json;
use testbed::Entry;

use crate::metrics::scrape::Scrape;
use crate::scene::{DLQ, Scene};

/// How long a leader is watched at rest.
const REST: Duration = Duration::from_secs(10);
const ENTRIES: usize = 20_000;

/// Processor time so far, in milliseconds.
async fn used(scene: &Scene) -> f64 {
    let scrape = Scrape::of(scene.operator.admin_url()).await;
    let found = scrape.series.iter().find(|series| series.name == "process_cpu_seconds_total");
    found.unwrap().value * 1000.0
}

/// Thousandths of a processor, as requests count them.
fn share(used: f64, since: Instant) -> f64 {
    used / since.elapsed().as_secs_f64()
}

#[tokio::test]
async fn a_leader_at_rest_takes_a_small_part_of_its_request() {
    let scene = Scene::start_with("processor", &["--leader-elect"]).await;
    let spec = json!({ "action": "resume", "filters": { "all": true }, "schedule": "0 0 1 1 *" });
    scene.apply_crowd(100, &spec).await;
    scene.condition("p99", "Ready", "True", "Scheduled").await;
    let (before, since) = (used(&scene).await, Instant::now());
    tokio::time::sleep(REST).await;
    let rest = share(used(&scene).await - before, since);
    println!("a leader of 100 policies at rest: {rest:.0}m");

    scene.simulator.generate(DLQ, ENTRIES, &Entry::default()).await.unwrap();
    let (before, since) = (used(&scene).await, Instant::now());
    scene.apply("drain", json!({ "action": "resume", "filters": { "all": true } })).await;
    assert_eq!(scene.ran("drain", 1).await["processed"], ENTRIES);
    let used = used(&scene).await - before;
    println!("{ENTRIES} entries, as fast as they come: {used:.0} ms, {:.0}m meanwhile", share(used, since));
    assert!(rest < 50.0, "{rest}m");
}
