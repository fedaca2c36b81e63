//! A run in line for a slot.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use testbed::{Entry, eventually};

use crate::scene::{DLQ, PATIENCE, Scene, condition};

/// A scene with one slot, which a run of many slow pages holds for ten seconds at a time.
async fn crowded(name: &str) -> Scene {
    let scene = Scene::start_with(name, &["--max-concurrent-runs=1", "--checkpoint-interval=0"]).await;
    scene.simulator.generate(DLQ, 1000, &Entry::default()).await.unwrap();
    scene.slow_down(1000).await;
    scene.apply("holder", one_by_one()).await;
    scene
        .status("holder", "it holds the slot", |status| status["currentRun"]["pages"].as_i64() > Some(0))
        .await;
    scene
}

fn one_by_one() -> Value {
    json!({ "action": "resume", "filters": { "all": true }, "limits": { "pageSize": 1 } })
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_run_in_line_ends_at_its_deadline() {
    let scene = crowded("deadline-in-line").await;
    let mut spec = one_by_one();
    spec["limits"]["activeDeadlineSeconds"] = 2.into();
    scene.apply("late", spec).await;
    scene.condition("late", "Running", "True", "Queued").await;
    let run = scene.ran("late", 1).await["lastRun"].take();
    assert_eq!((&run["result"], &run["pages"]), (&json!("DeadlineExceeded"), &json!(0)), "{run}");
    let took = time(&run["completionTime"]).duration_since(time(&run["startTime"]));
    assert!(took < SignedDuration::from_secs(5), "{took:#}");
}

#[tokio::test]
async fn the_next_time_of_a_run_in_line_is_kept_up_to_date() {
    let scene = crowded("next-in-line").await;
    let mut spec = one_by_one();
    spec["schedule"] = "@every 2s".into();
    scene.apply("waiting", spec).await;
    let first = scene.condition("waiting", "Running", "True", "Queued").await;
    let later = scene
        .status("waiting", "the next scheduled time is named", |status| {
            status["nextScheduleTime"] != first["nextScheduleTime"]
        })
        .await;
    assert!(time(&later["nextScheduleTime"]) > time(&first["nextScheduleTime"]));
    assert_eq!(condition(&later, "Running")["reason"], "Queued");
    assert_eq!(later["currentRun"]["id"], first["currentRun"]["id"]);
}

#[tokio::test]
async fn an_edit_that_is_no_new_work_costs_a_run_no_place_in_line() {
    let scene = crowded("place-in-line").await;
    for name in ["edited", "behind"] {
        scene.apply(name, one_by_one()).await;
        scene.condition(name, "Running", "True", "Queued").await;
    }
    for limit in 1..4 {
        scene.patch("edited", json!({ "historyLimit": limit })).await;
        let generation = scene.policy("edited").await["metadata"]["generation"].take();
        scene
            .status("edited", "the edit is seen, and the run in line again", |status| {
                status["observedGeneration"] == generation
                    && condition(status, "Running")["reason"] == "Queued"
            })
            .await;
    }
    let first = eventually(PATIENCE, "one of the two has its turn", async || {
        for name in ["edited", "behind"] {
            if scene.policy(name).await["status"]["currentRun"]["pages"].as_i64() > Some(0) {
                return Ok(name);
            }
        }
        Err("both wait")
    })
    .await
    .unwrap();
    assert_eq!(first, "edited");
}

#[tokio::test]
async fn a_run_that_takes_the_place_of_one_in_line_takes_its_place_in_line_too() {
    let scene = crowded("replaced-in-line").await;
    scene.apply("before", one_by_one()).await;
    scene.condition("before", "Running", "True", "Queued").await;
    let mut spec = one_by_one();
    spec["schedule"] = "@every 4s".into();
    spec["concurrencyPolicy"] = "Replace".into();
    scene.apply("replaced", spec).await;
    scene
        .status("replaced", "one in line was replaced", |status| status["totals"]["runs"].as_i64() > Some(0))
        .await;
    let status = scene
        .status("replaced", "it has its turn", |status| {
            status["currentRun"]["pages"].as_i64() > Some(0)
                || status["totals"]["processed"].as_i64() > Some(0)
        })
        .await;
    assert!(status["totals"]["runs"].as_i64() < Some(9), "two others' slices of ten seconds: {status:#}");
}
