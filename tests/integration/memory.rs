//! What many policies and many entries take of an operator's memory.

#![expect(clippy::print_stdout, reason = "figures, for whoever runs it with --nocapture")]

use std::sync::Arc;
use std::time::Instant;

use futures::future::join_all;
use serde_json::{Value, json};
use testbed::{Entry, MemoryCgroup, Operator, OperatorOptions, Simulator, eventually, workspace_root};

use crate::cluster::control_plane;
use crate::metrics::scrape::{Scrape, get};
use crate::replicas::{Replicas, SECOND};
use crate::scene::{DLQ, PATIENCE, Scene};
use crate::soak::asked;

/// In every test run; `make soak` asks for ten thousand.
const POLICIES: u64 = 1000;
const ENTRIES: usize = 100_000;
const SCRAPERS: usize = 8;
/// Two pages of the watch's list, with 500 of these policies and their managed fields each, and two pages of 100 for their
/// turns: as text and as values.
const PAGES_KIB: u64 = 34 * 1024;

/// The limit of the chart's own Deployment, in bytes.
fn chart_limit() -> u64 {
    let values = std::fs::read_to_string(workspace_root().join("charts/dlq-operator/values.yaml")).unwrap();
    let (_, after) = values.split_once("\n  limits:\n    memory: ").unwrap();
    let mebibytes: u64 = after.split_once("Mi\n").unwrap().0.parse().unwrap();
    mebibytes << 20
}

/// A cgroup with the chart's limit; `None`, with a line that says so, where this user cannot make one.
fn container() -> Option<Arc<MemoryCgroup>> {
    match MemoryCgroup::create(chart_limit()) {
        Ok(cgroup) => Some(Arc::new(cgroup)),
        Err(problem) => {
            assert_eq!(asked("REQUIRE_NODE", 0), 0, "REQUIRE_NODE=1, and no cgroup can be made: {problem:#}");
            println!(
                "testbed: SKIPPED: no cgroup can be made, so the process alone is measured: {problem:#}"
            );
            None
        }
    }
}

/// Resident memory and its peak, in KiB.
pub(crate) fn memory(operator: &Operator) -> (u64, u64) {
    (operator.process().resident_kib().unwrap(), operator.process().peak_kib().unwrap())
}

/// Waits until an operator has looked at so many policies.
async fn looked_at(operator: &Operator, policies: u64) {
    // As long as usual for each two thousand: a debug build takes its time.
    let patience = PATIENCE * u32::try_from(1 + policies / 2000).unwrap();
    eventually(patience, "every policy was looked at", async || {
        let looks = Scrape::of(operator.admin_url()).await.count("reconcile_total", &[]);
        if looks >= i64::try_from(policies).ok() { Ok(()) } else { Err(format!("{looks:?} looks")) }
    })
    .await
    .unwrap();
}

/// So many policies: half suspended, half on a schedule, each of five kilobytes of which the operator has no use
/// before a run.
async fn fill(scene: &Scene, policies: u64) {
    let ids: Vec<_> = (0..200).map(|index| format!("an-entry-with-a-long-name-{index}")).collect();
    let policy = |index: u64| {
        let mut spec = json!({
            "action": "resume", "filters": { "dlqIds": ids },
            "connection": { "tokenSecretRef": { "name": "upstash", "key": "token" } },
        });
        if index.is_multiple_of(2) {
            spec["suspend"] = json!(true);
        } else {
            spec["schedule"] = json!("0 0 29 2 *");
        }
        json!({
            "apiVersion": "dlq-operator.dev/v1alpha1",
            "kind": "DlqPolicy",
            "metadata": { "name": format!("at-rest-{index:05}"), "namespace": scene.namespace.name() },
            "spec": spec,
        })
    };
    let indices: Vec<_> = (0..policies).collect();
    for batch in indices.chunks(500) {
        scene.apply_all(batch.iter().map(|index| policy(*index)).collect()).await;
    }
}

#[tokio::test]
async fn a_policy_takes_a_few_kibibytes_also_at_a_start_and_within_the_charts_limit() {
    let policies = asked("MEMORY_POLICIES", POLICIES);
    let mut replicas = Replicas::start("at-rest", &["--lease-duration=3s"]).await;
    let scene = &replicas.scene;
    scene.apply("first", json!({ "action": "resume", "filters": { "all": true }, "suspend": true })).await;
    scene.condition("first", "Ready", "True", "Suspended").await;
    // Of a process that was just started, as what is compared with it below.
    replicas.scene.operator.terminate().await.unwrap();
    replicas.led_by(SECOND).await;
    replicas.scene.operator.restart(None).await.unwrap();
    replicas.second.terminate().await.unwrap();
    looked_at(&replicas.scene.operator, 1).await;
    let (alone, alone_peak) = memory(&replicas.scene.operator);

    // The operator of the chart, started where all policies are new.
    replicas.scene.operator.terminate().await.unwrap();
    fill(&replicas.scene, policies).await;
    let container = container();
    let mut options = OperatorOptions::new(
        replicas.scene.control_plane,
        &replicas.scene.simulator,
        replicas.scene.namespace.name(),
    );
    options.args = vec!["--leader-elect".to_owned(), "--lease-duration=3s".to_owned()];
    options.memory.clone_from(&container);
    replicas.scene.operator.restart(Some(options)).await.unwrap();
    looked_at(&replicas.scene.operator, policies).await;
    let each = |what: &str, (resident, peak): (u64, u64)| {
        let (grown, most) = (resident.saturating_sub(alone), peak.saturating_sub(alone_peak));
        println!(
            "{policies} policies, {what}: {resident} KiB, {peak} KiB at most; {} and {} bytes each",
            grown * 1024 / policies,
            most * 1024 / policies
        );
        // Beside what each policy takes: pages of the list on their way, and 32 looks at once.
        assert!(grown < policies * 8 + PAGES_KIB, "{what}: {grown} KiB for {policies} policies");
        assert!(most < policies * 8 + PAGES_KIB, "{what}: {most} KiB at most for {policies} policies");
    };
    each("new ones", memory(&replicas.scene.operator));
    if let Some(container) = &container {
        println!("the cgroup held {} KiB at most", container.peak().unwrap() >> 10);
    }

    // A standby that wins the Lease looks at all at once, from a full cache.
    replicas.second.restart(None).await.unwrap();
    let cached = memory(&replicas.second);
    replicas.scene.operator.terminate().await.unwrap();
    replicas.led_by(SECOND).await;
    looked_at(&replicas.second, policies).await;
    each("a standby", cached);
    each("a standby that leads now", memory(&replicas.second));

    let (url, since) = (format!("{}/metrics", replicas.second.admin_url()), Instant::now());
    let answers = join_all((0..SCRAPERS).map(async |_| get(&url, "").await.text.len())).await;
    println!("{SCRAPERS} scrapes of {} KiB at once: {:?}", answers[0] / 1024, since.elapsed());
    let (resident, _) = memory(&replicas.second);
    assert!(
        resident.saturating_sub(alone) < policies * 32 + PAGES_KIB,
        "{resident} KiB: the scrapes take turns"
    );
}

/// Accounts whose server answers with as much as is read, and policies that ask all of them at once.
const ACCOUNTS: usize = 16;
const POLICIES_EACH: usize = 4;

#[tokio::test]
async fn large_answers_of_many_accounts_at_once_stay_within_the_charts_limit() {
    let simulator = Simulator::start().await.unwrap();
    let container = container();
    let args = ["--max-concurrent-runs=64", "--retry-limit=3"];
    let scene = Scene::start_on(control_plane().await, "large-answers", simulator, &args, |options| {
        options.memory.clone_from(&container);
    })
    .await;
    let hostile = |account: usize| format!("hostile-{account}");
    for account in 0..ACCOUNTS {
        let token = format!("{}-token-7f3a", hostile(account));
        scene.simulator.allow(&token, &hostile(account)).await.unwrap();
        scene.apply_secret(&hostile(account), "token", &token).await;
        scene.simulator.generate(&hostile(account), 400, &Entry::default()).await.unwrap();
    }
    scene.simulator.generate(DLQ, 3, &Entry::default()).await.unwrap();
    let page = json!({ "body": { "kind": "huge", "bytes": 15 << 20 } });
    let refusal = json!({ "status": { "code": 500, "body": "x".repeat(15 << 20) } });
    for (round, fault) in [("pages", page), ("refusals", refusal)] {
        let rules: Vec<_> =
            (0..ACCOUNTS).map(|account| json!({ "dlq": hostile(account), "fault": fault })).collect();
        scene.simulator.set_faults(&json!(rules)).await.unwrap();
        let policies = (0..ACCOUNTS * POLICIES_EACH).map(|index| {
            json!({
                "apiVersion": "dlq-operator.dev/v1alpha1",
                "kind": "DlqPolicy",
                "metadata": { "name": format!("{round}-{index}"), "namespace": scene.namespace.name() },
                "spec": {
                    "action": "restart", "filters": { "all": true },
                    "connection": { "tokenSecretRef": { "name": hostile(index % ACCOUNTS), "key": "token" } },
                },
            })
        });
        scene.apply_all(policies.collect()).await;
        // Small answers do not wait for large ones.
        let healthy = format!("{round}-healthy");
        scene.apply(&healthy, json!({ "action": "restart", "filters": { "all": true } })).await;
        scene.ran(&healthy, 1).await;
        eventually(PATIENCE * 3, "every run has ended", async || {
            let statuses = scene.statuses().await;
            let left = statuses.iter().filter(|status| status["lastRun"].is_null()).count();
            if left == 0 { Ok(()) } else { Err(left) }
        })
        .await
        .unwrap();
    }
    let (resident, peak) = memory(&scene.operator);
    println!("{} runs with answers of 15 MiB: {resident} KiB, {peak} KiB at most", ACCOUNTS * POLICIES_EACH);
    assert!(peak << 10 < chart_limit(), "{peak} KiB");
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

#[tokio::test]
async fn an_expression_on_large_bodies_takes_little_more_memory_than_one_on_small_ones() {
    const LISTED: usize = 300;
    let scene = Scene::start_with("bodies", &["--request-timeout=2m"]).await;
    scene.simulator.generate(DLQ, LISTED, &Entry::default()).await.unwrap();
    let spec = |expression: &str| {
        json!({
            "action": "resume", "filters": { "all": true }, "dryRun": true,
            "match": { "expression": expression },
        })
    };
    scene.apply("small", spec("entry.responseBody.contains('simulated')")).await;
    assert_eq!(scene.ran("small", 1).await["lastRun"]["processed"], LISTED);
    let before = scene.operator.process().peak_kib().unwrap();
    let large = json!({ "body": { "kind": "largeBodies", "bytes": 1 << 20 } });
    scene.simulator.set_faults(&json!([{ "fault": large }])).await.unwrap();
    // Of a body its beginning is seen.
    scene.apply("large", spec("entry.responseBody.size() == 16 * 1024")).await;
    let run = scene.ran("large", 1).await["lastRun"].take();
    assert_eq!((&run["processed"], &run["skipped"]), (&json!(LISTED), &Value::Null), "{run:#}");
    let after = scene.operator.process().peak_kib().unwrap();
    println!("{LISTED} entries: {before} KiB with small bodies, {after} KiB with bodies of a MiB");
    // The beginnings of a page's bodies, and the texts that an expression makes of one.
    assert!(after < before + 8 * 1024, "{before} KiB for small bodies, {after} KiB for large ones");
}
