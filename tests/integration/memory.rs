//! What many policies and many entries take of an operator's memory.

#![expect(clippy::print_stdout, reason = "figures, for whoever runs it with --nocapture")]

use std::time::Instant;

use futures::future::join_all;
use serde_json::json;
use testbed::Entry;

use crate::metrics::scrape::get;
use crate::scene::{DLQ, Scene};
use crate::soak::asked;

/// In every test run; `make soak` asks for ten thousand.
const POLICIES: u64 = 400;
const ENTRIES: usize = 100_000;
const SCRAPERS: usize = 8;

#[tokio::test]
async fn a_policy_at_rest_takes_a_few_kibibytes() {
    let policies = asked("MEMORY_POLICIES", POLICIES);
    let scene = Scene::start_with("at-rest", &[]).await;
    scene.apply("first", json!({ "action": "resume", "filters": { "all": true }, "suspend": true })).await;
    scene.condition("first", "Ready", "True", "Suspended").await;
    let before = scene.operator.process().resident_kib().unwrap();
    // Five kilobytes each, of which the operator has no use before a run.
    let ids: Vec<_> = (0..200).map(|index| format!("an-entry-with-a-long-name-{index}")).collect();
    let policy = |index: u64| {
        json!({
            "apiVersion": "dlq-operator.dev/v1alpha1",
            "kind": "DlqPolicy",
            "metadata": { "name": format!("at-rest-{index:05}"), "namespace": scene.namespace.name() },
            "spec": {
                "action": "resume", "filters": { "dlqIds": ids }, "suspend": true,
                "connection": { "tokenSecretRef": { "name": "upstash", "key": "token" } },
            },
        })
    };
    let indices: Vec<_> = (0..policies).collect();
    for batch in indices.chunks(500) {
        scene.apply_all(batch.iter().map(|index| policy(*index)).collect()).await;
    }
    scene.condition(&format!("at-rest-{:05}", policies - 1), "Ready", "True", "Suspended").await;
    let each = scene.operator.process().resident_kib().unwrap().saturating_sub(before) / policies;
    println!("{policies} policies at rest: {each} KiB each");
    // Also what 32 looks at once take, and what the allocator keeps of it.
    assert!(each < 16, "{each} KiB a policy");

    let (url, since) = (format!("{}/metrics", scene.operator.admin_url()), Instant::now());
    let answers = join_all((0..SCRAPERS).map(async |_| get(&url, "").await.text.len())).await;
    let (took, size) = (since.elapsed(), answers[0] / 1024);
    let grown = scene.operator.process().resident_kib().unwrap().saturating_sub(before) / policies;
    println!("{SCRAPERS} scrapes of {size} KiB at once: {took:?}; then {grown} KiB a policy");
    assert!(grown < 32, "{grown} KiB a policy: the scrapes take turns");
}

#[tokio::test]
async fn a_hundred_thousand_entries_take_no_more_memory_than_a_page() {
    let scene = Scene::start_with("entries", &[]).await;
    scene.simulator.generate(DLQ, ENTRIES, &Entry::default()).await.unwrap();
    scene.apply("drain", json!({ "action": "resume", "filters": { "all": true }, "dryRun": true })).await;
    let begun = scene
        .status("drain", "pages have landed", |status| {
            status["currentRun"]["pages"].as_i64() > Some(50) || status["totals"]["runs"] == 1
        })
        .await;
    let before = scene.operator.process().resident_kib().unwrap();
    assert_eq!(scene.ran("drain", 1).await["processed"], ENTRIES, "{begun:#}");
    scene.patch("drain", json!({ "dryRun": false })).await;
    assert_eq!(scene.ran("drain", 2).await["totals"]["processed"], ENTRIES);
    let after = scene.operator.process().resident_kib().unwrap();
    assert!(after < before + 8 * 1024, "{before} KiB after fifty pages, {after} KiB after four thousand");
}
