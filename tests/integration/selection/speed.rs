//! What it costs to list before acting: entries per second with `match`, beside those of the bulk way.

use jiff::Timestamp;
use serde_json::{Value, json};
use testbed::Entry;

use crate::scene::{DLQ, Scene};

const ENTRIES: usize = 1000;

fn took(run: &Value) -> f64 {
    let time = |field: &str| -> Timestamp { run[field].as_str().unwrap().parse().unwrap() };
    time("completionTime").duration_since(time("startTime")).as_secs_f64().max(0.001)
}

/// How many entries per second a policy resumes, and in how many calls.
async fn speed(scene: &Scene, name: &str, selection: Value) -> (f64, i64) {
    let labelled = Entry { labels: vec![name.to_owned()], response_status: Some(503), ..Entry::default() };
    scene.simulator.generate(DLQ, ENTRIES, &labelled).await.unwrap();
    let mut spec = json!({ "action": "resume", "filters": { "labels": [name] } });
    spec.as_object_mut().unwrap().extend(selection.as_object().unwrap().clone());
    scene.apply(name, spec).await;
    let status = scene.ran(name, 1).await;
    let run = &status["lastRun"];
    assert_eq!((&run["result"], &run["processed"]), (&json!("Succeeded"), &json!(ENTRIES)), "{run:#}");
    #[expect(clippy::cast_precision_loss, reason = "a thousand")]
    let per_second = ENTRIES as f64 / took(run);
    (per_second, run["pages"].as_i64().unwrap())
}

#[tokio::test]
#[expect(
    clippy::print_stdout,
    reason = "the figures are of interest, and depend on what else the machine does"
)]
async fn listing_costs_a_call_for_two_that_act() {
    let scene = Scene::start("selection-speed").await;
    for latency in [0, 20, 100] {
        scene.slow_down(latency).await;
        let selection =
            json!({ "match": { "responseStatuses": ["5xx"] }, "loopProtection": { "maxAttempts": 3 } });
        let (bulk, bulk_calls) = speed(&scene, &format!("bulk-{latency}"), json!({})).await;
        let (listed, listed_calls) = speed(&scene, &format!("match-{latency}"), selection).await;
        println!(
            "{latency} ms a call: {bulk:.0} entries/s in bulk, {listed:.0} with match, {:.2} of it",
            listed / bulk
        );
        assert_eq!((bulk_calls, listed_calls), (20, 30), "20 calls act, and 10 list");
    }
}
