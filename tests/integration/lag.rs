//! A DLQ that lags behind its actions: what was acted on can be selected again for a while.
//!
//! The simulator's own DLQs do not lag, and whether Upstash's do is not documented.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testbed::{Entry, Ledger};

use crate::scene::{DLQ, Scene};

const ENTRIES: usize = 500;
/// Longer than a test takes.
const LONG: u32 = 3_600_000;

async fn lagging(name: &str, lag: u32) -> Scene {
    let scene = Scene::start_with(name, &["--checkpoint-interval=0", "--request-timeout=1s"]).await;
    scene.simulator.generate(DLQ, ENTRIES, &Entry::default()).await.unwrap();
    scene.simulator.lag(DLQ, lag).await.unwrap();
    scene
}

async fn drained(scene: &Scene, runs: i64) -> (Value, Ledger) {
    if runs == 1 {
        scene.apply("drain", json!({ "action": "resume", "filters": { "all": true } })).await;
    } else {
        scene.annotate("drain", &[("requestedAt", &runs.to_string())]).await;
    }
    let run = scene.ran("drain", runs).await["lastRun"].take();
    assert_eq!(run["result"], "Succeeded", "{run:#}");
    (run, scene.simulator.ledger(DLQ).await.unwrap())
}

/// How many entries were acted on how often.
fn times(ledger: &Ledger) -> BTreeMap<u32, usize> {
    let mut times = BTreeMap::new();
    for entry in &ledger.entries {
        *times.entry(entry.actions).or_default() += 1;
    }
    times
}

fn total(ledger: &Ledger) -> u32 {
    ledger.entries.iter().map(|entry| entry.actions).sum()
}

#[tokio::test]
async fn a_run_without_trouble_acts_once_although_the_dlq_lags() {
    for lag in [50, LONG] {
        let scene = lagging("lag", lag).await;
        let (run, ledger) = drained(&scene, 1).await;
        assert_eq!(times(&ledger), BTreeMap::from([(1, ENTRIES)]), "a cursor leads past what was acted on");
        assert_eq!((&run["processed"], &run["pages"]), (&json!(ENTRIES), &json!(10)));
    }
}

#[tokio::test]
async fn a_lagging_dlq_lets_a_repeated_page_and_a_last_pass_act_again_and_the_count_holds_both() {
    let scene = lagging("lag-lost", LONG).await;
    let lost = json!([{ "dlq": DLQ, "nth": 3, "fault": { "lostAnswer": { "how": "close" } } }]);
    scene.simulator.set_faults(&lost).await.unwrap();
    let (run, ledger) = drained(&scene, 1).await;
    // The page whose answer was lost is asked for again, and then all are, once.
    assert_eq!(times(&ledger), BTreeMap::from([(2, ENTRIES - 50), (3, 50)]), "{run:#}");
    assert_eq!((&run["processed"], &run["uncertainPages"]), (&json!(2 * ENTRIES), &json!(1)), "{run:#}");
    assert_eq!(total(&ledger), u32::try_from(2 * ENTRIES + 50).unwrap(), "all but the lost page is counted");
}

#[tokio::test]
async fn a_lag_that_is_over_before_the_last_pass_lets_nothing_be_acted_on_again() {
    let scene = lagging("lag-short", 50).await;
    // The answer never comes, and the call is given up on long after the lag.
    let lost = json!([
        { "dlq": DLQ, "nth": 3, "fault": { "lostAnswer": { "how": "hang" } } },
        { "dlq": DLQ, "fault": { "latency": { "ms": 60 } } },
    ]);
    scene.simulator.set_faults(&lost).await.unwrap();
    let (run, ledger) = drained(&scene, 1).await;
    assert_eq!(times(&ledger), BTreeMap::from([(1, ENTRIES)]), "{run:#}");
    assert_eq!((&run["processed"], &run["uncertainPages"]), (&json!(ENTRIES - 50), &json!(1)), "{run:#}");
}

#[tokio::test]
async fn the_next_run_acts_again_on_what_a_lagging_dlq_still_shows() {
    let scene = lagging("lag-next", LONG).await;
    drained(&scene, 1).await;
    let (run, ledger) = drained(&scene, 2).await;
    assert_eq!(times(&ledger), BTreeMap::from([(2, ENTRIES)]), "{run:#}");
    assert_eq!(run["processed"], ENTRIES, "{run:#}");
    // It is the service's to say that an entry is gone.
    assert_eq!(ledger.workflow_runs.len(), 2 * ENTRIES, "each started a workflow run twice");
}
