//! A crowd of policies on schedules, for a while: replicas come and go, the API misbehaves, entries fail all the time.
//!
//! A minute of a hundred policies in every test run; `make soak` asks for ten minutes of two thousand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{Entry, Fate, eventually};

use crate::replicas::{FIRST, Replicas, SECOND};
use crate::scene::{DLQ, PATIENCE};

const PAGE: i64 = 50;

fn asked(name: &str, otherwise: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
    let value = std::env::var(name).ok();
    value.map_or(otherwise, |value| value.parse().expect("a number"))
}

fn label(policy: usize) -> String {
    format!("team-{policy:04}")
}

fn faults() -> Value {
    let some =
        |probability: f64, fault: Value| json!({ "dlq": DLQ, "probability": probability, "fault": fault });
    json!([
        { "dlq": DLQ, "fault": { "latency": { "ms": 2, "jitterMs": 20 } } },
        some(0.01, json!({ "lostAnswer": { "how": "close" } })),
        some(0.01, json!({ "drop": { "when": "beforeAction" } })),
        some(0.02, json!({ "status": { "code": 503 } })),
        some(0.01, json!({ "status": { "code": 429, "headers": { "retry-after": "1" } } })),
    ])
}

/// Policies that each drain what carries their label, every ten seconds in a short test and every minute in a long one.
async fn apply(replicas: &Replicas, policies: usize, is_long: bool) {
    let (schedule, jitter) = if is_long { ("* * * * *", "50s") } else { ("@every 10s", "9s") };
    let namespace = replicas.scene.namespace.name();
    let items: Vec<_> = (0..policies)
        .map(|policy| {
            json!({
                "apiVersion": "dlq-operator.dev/v1alpha1",
                "kind": "DlqPolicy",
                "metadata": { "name": label(policy), "namespace": namespace },
                "spec": {
                    "action": "resume", "filters": { "labels": [label(policy)] }, "historyLimit": 50,
                    "schedule": schedule, "jitter": jitter,
                    "connection": { "tokenSecretRef": { "name": "upstash", "key": "token" } },
                },
            })
        })
        .collect();
    replicas.scene.apply_all(items).await;
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[tokio::test]
async fn a_crowd_keeps_exact_books_and_takes_no_more_memory_over_time() {
    let policies = usize::try_from(asked("SOAK_POLICIES", 100)).unwrap();
    let length = Duration::from_secs(asked("SOAK_SECONDS", 40));
    let mut replicas = Replicas::start("soak", &["--lease-duration=5s"]).await;
    let scene = &replicas.scene;
    scene.simulator.set_faults(&faults()).await.unwrap();
    apply(&replicas, policies, length > Duration::from_secs(300)).await;

    let mut labels = BTreeMap::new();
    let (mut round, mut samples) = (0, Vec::new());
    let began = Instant::now();
    let mut restarted = Instant::now();
    while began.elapsed() < length {
        for _ in 0..5 {
            let policy = fastrand::usize(..policies);
            let entry = Entry { labels: vec![label(policy)], ..Entry::default() };
            let count = fastrand::usize(1..80);
            let ids = replicas.scene.simulator.generate(DLQ, count, &entry).await.unwrap();
            labels.extend(ids.into_iter().map(|id| (id, label(policy))));
        }
        // The second half is quiet, to see the memory of one process over time.
        if began.elapsed() > length / 2 {
            let leader = replicas.leader().await;
            if let Some(pod) = [FIRST, SECOND].into_iter().find(|pod| leader.starts_with(pod)) {
                samples.extend(replicas.replica(pod).process().resident_kib());
            }
        } else if restarted.elapsed() > Duration::from_secs(10) {
            let pod = if round % 3 == 0 { SECOND } else { FIRST };
            if round % 2 == 0 {
                replicas.replica(pod).terminate().await.unwrap();
            }
            replicas.replica(pod).restart(None).await.unwrap();
            (round, restarted) = (round + 1, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    replicas.scene.simulator.clear_faults().await.unwrap();
    eventually(PATIENCE * 3, "all is drained", async || {
        let ledger = replicas.ledger().await;
        match ledger.with_fate(Fate::InDlq).count() {
            0 => Ok(()),
            left => Err(format!("{left} are left")),
        }
    })
    .await
    .unwrap();
    for pod in [SECOND, FIRST] {
        assert!(replicas.replica(pod).terminate().await.unwrap().success());
    }
    let figures = check_books(&replicas, policies, &labels).await;
    let later = samples.split_off(samples.len() / 2);
    let (earlier, later) = (median(samples), median(later));
    #[expect(clippy::print_stdout, reason = "the figures of a soak")]
    {
        println!("{figures}; {round} restarts; memory {earlier} KiB, later {later} KiB");
    }
    assert!(later * 4 < earlier * 5, "memory grows: {earlier} KiB, later {later} KiB");
}

/// Every entry was acted on once, and each policy's counts are exact or say what they do not know.
async fn check_books(replicas: &Replicas, policies: usize, labels: &BTreeMap<String, String>) -> String {
    let ledger = replicas.ledger().await;
    let acted_on: BTreeSet<_> = ledger.workflow_runs.iter().map(|run| run.from_dlq_id.as_str()).collect();
    assert_eq!(ledger.workflow_runs.len(), acted_on.len(), "an entry was acted on twice");
    assert!(acted_on.iter().copied().eq(labels.keys().map(String::as_str)), "an entry was left or invented");
    let mut done: BTreeMap<&str, i64> = BTreeMap::new();
    for label in labels.values() {
        *done.entry(label.as_str()).or_default() += 1;
    }
    let list = replicas.scene.kubectl(&["get", "dlqp", "--output=json"]).await;
    let list: Value = serde_json::from_str(&list).unwrap();
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), policies);
    let (mut runs, mut exact) = (0, 0);
    for policy in items {
        let (name, status) = (policy["metadata"]["name"].as_str().unwrap(), &policy["status"]);
        let count = |field: &str| {
            let ended = status["history"].as_array().unwrap().iter();
            ended.chain(status.get("currentRun")).map(|run| run[field].as_i64().unwrap()).sum::<i64>()
        };
        runs += status["totals"]["runs"].as_i64().unwrap();
        let unknown = count("uncertainPages") + 2 * count("interruptions");
        let missing = done.get(name).copied().unwrap_or_default() - count("processed");
        assert!((0..=unknown * PAGE).contains(&missing), "{name}: {missing} unsaid: {status:#}");
        exact += usize::from(unknown == 0);
    }
    assert!(exact > 0, "no policy had a quiet life");
    format!("{policies} policies, {exact} of them exact, {runs} runs, {} entries", labels.len())
}
