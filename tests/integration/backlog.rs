//! What waits between runs: counted without acting, shared by policies, and never in the way of a run.

use dlq_operator::runtime::clock;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use testbed::{Entry, eventually};

use crate::events::{told, wait_until_told};
use crate::metrics::scrape::Scrape;
use crate::scene::{DLQ, PATIENCE, Scene};

fn watching(further: Value) -> Value {
    let mut spec = json!({
        "action": "resume", "trigger": "Manual", "filters": { "all": true },
        "backlog": { "interval": "15m", "retention": "7d" },
    });
    spec.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    spec
}

/// Entries that failed so many hours ago with this status.
async fn fail(scene: &Scene, count: usize, hours_ago: i64, status: u16, label: &str) -> i64 {
    let failed_at = (clock::now() - SignedDuration::from_hours(hours_ago)).as_millisecond();
    let entry = Entry {
        failed_at: Some(failed_at),
        response_status: Some(status),
        labels: vec![label.to_owned()],
        ..Entry::default()
    };
    scene.simulator.generate(DLQ, count, &entry).await.unwrap();
    failed_at
}

async fn counted(scene: &Scene, policy: &str) -> Value {
    let looked = |status: &Value| status["backlog"]["observedTime"].is_string();
    scene.status(policy, &format!("{policy} has looked"), looked).await["backlog"].take()
}

async fn calls(scene: &Scene) -> Vec<String> {
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    ledger.calls.into_iter().map(|call| call.operation).collect()
}

#[tokio::test]
async fn policies_that_may_not_run_and_a_token_that_may_not_act_count_what_waits() {
    let mut scene = Scene::start("backlog").await;
    scene.simulator.allow_read_only("scene-token-reads", DLQ).await.unwrap();
    scene.apply_secret("upstash", "token", "scene-token-reads").await;
    let oldest = fail(&scene, 120, 150, 503, "old").await;
    fail(&scene, 90, 2, 500, "new").await;
    fail(&scene, 3, 1, 429, "new").await;

    scene.apply("watches", watching(json!({}))).await;
    let backlog = counted(&scene, "watches").await;
    assert_eq!((&backlog["entries"], &backlog["atLeast"]), (&json!(213), &json!(false)), "{backlog:#}");
    assert_eq!(backlog["expiringWithinDay"], 120, "{backlog:#}");
    let told_oldest: Timestamp = backlog["oldestTime"].as_str().unwrap().parse().unwrap();
    assert_eq!(told_oldest.as_millisecond(), oldest);
    let status = |value: &str, count: i64| json!({ "value": value, "count": count });
    assert_eq!(
        backlog["responseStatuses"],
        json!([status("503", 120), status("500", 90), status("429", 3)]),
        "{backlog:#}"
    );

    let further = json!({ "suspend": true, "trigger": null, "schedule": "@every 1s",
        "backlog": { "interval": "15m", "countUpTo": 100 } });
    scene.apply("suspended", watching(further)).await;
    let backlog = counted(&scene, "suspended").await;
    assert_eq!((&backlog["entries"], &backlog["atLeast"]), (&json!(100), &json!(true)), "{backlog:#}");
    assert_eq!(backlog["expiringWithinDay"], Value::Null, "nobody said how long entries are kept");
    scene.apply("some", watching(json!({ "filters": { "labels": ["new"], "newerThan": "90m" } }))).await;
    assert_eq!(counted(&scene, "some").await["entries"], 3);

    wait_until_told(&scene, "watches", "EntriesExpiring", 1).await;
    let list = calls(&scene).await;
    assert!(list.iter().all(|operation| operation == "list"), "{list:?}");
    assert_eq!(list.len(), 3 + 2 + 1, "{list:?}");
    let wide = scene.kubectl(&["get", "dlqp", "--output=wide"]).await;
    assert!(wide.contains("BACKLOG") && wide.contains("213"), "{wide}");
    let of = [("name", "watches")];
    let admin_url = scene.operator.admin_url().to_owned();
    Scrape::until(&admin_url, "the backlog is shown", |scrape| {
        scrape.count("backlog_entries", &of) == Some(213)
            && scrape.count("backlog_expiring_entries", &of) == Some(120)
    })
    .await;

    // A restart looks no sooner.
    scene.operator.restart(None).await.unwrap();
    scene.apply("another", watching(json!({ "filters": { "labels": ["old"] } }))).await;
    assert_eq!(counted(&scene, "another").await["entries"], 120);
    assert_eq!(calls(&scene).await.len(), 3 + 2 + 1 + 2);
    assert_eq!(told(&scene, "watches", "EntriesExpiring").await, 1);

    // What is counted follows the spec.
    scene.patch("watches", json!({ "filters": { "all": null, "labels": ["new"] } })).await;
    scene.status("watches", "counts others", |status| status["backlog"]["entries"] == 93).await;
    scene.patch("watches", json!({ "backlog": null })).await;
    scene.status("watches", "counts nothing", |status| status["backlog"].is_null()).await;
    let admin_url = scene.operator.admin_url().to_owned();
    Scrape::until(&admin_url, "the series are gone", |scrape| {
        scrape.count("backlog_entries", &of).is_none() && scrape.count("policy_info", &of).is_some()
    })
    .await;
    scene.condition("watches", "Ready", "True", "Idle").await;
}

/// So many policies share a look. That a thousand do is held where the looks are shared; the API server takes its time for
/// them.
const CROWD: usize = 200;

#[tokio::test]
async fn a_crowd_of_policies_with_equal_filters_makes_one_look() {
    let scene = Scene::start("shared-look").await;
    fail(&scene, 130, 1, 500, "a").await;
    scene.apply_crowd(CROWD, &watching(json!({}))).await;
    let statuses = eventually(PATIENCE, "all have looked", async || {
        let statuses = scene.statuses().await;
        let left = statuses.iter().filter(|status| status["backlog"].is_null()).count();
        if left == 0 && statuses.len() == CROWD { Ok(statuses) } else { Err(format!("{left} have not")) }
    })
    .await
    .unwrap();
    assert!(statuses.iter().all(|status| status["backlog"] == statuses[0]["backlog"]));
    assert_eq!(statuses[0]["backlog"]["entries"], 130);
    assert_eq!(calls(&scene).await, ["list", "list"]);
}

#[tokio::test]
async fn a_429_ends_a_look_for_all_who_share_it_until_the_next_interval() {
    let scene = Scene::start("throttled-look").await;
    fail(&scene, 130, 1, 500, "a").await;
    let limit = json!({ "headers": "retryAfter", "resetInSeconds": 1 });
    let rules = json!([{ "dlq": DLQ, "times": 1, "fault": { "rateLimit": limit } }]);
    scene.simulator.set_faults(&rules).await.unwrap();
    scene.apply_crowd(10, &watching(json!({}))).await;
    eventually(PATIENCE, "the look has failed", async || {
        let log = scene.operator.log();
        if log.contains("what waits was not counted") { Ok(()) } else { Err(log) }
    })
    .await
    .unwrap();
    scene.apply("other", watching(json!({ "filters": { "labels": ["a"] } }))).await;
    assert_eq!(counted(&scene, "other").await["entries"], 130);
    assert_eq!(calls(&scene).await.len(), 3, "one was refused, and two counted");
    for number in 0..10 {
        let status = scene.condition(&format!("p{number}"), "Ready", "True", "Idle").await;
        assert_eq!(status["backlog"], Value::Null);
    }
    assert_eq!(scene.operator.log().matches("what waits was not counted").count(), 1, "it is told once");
}

#[tokio::test]
async fn scheduled_runs_start_on_time_during_a_slow_look() {
    let scene = Scene::start("slow-look").await;
    fail(&scene, 130, 1, 500, "a").await;
    let rules = json!([{ "dlq": DLQ, "operation": "list", "fault": { "latency": { "ms": 9000 } } }]);
    scene.simulator.set_faults(&rules).await.unwrap();
    let further = json!({ "trigger": null, "schedule": "@every 4s", "filters": { "labels": ["none"] } });
    scene.apply("busy", watching(further)).await;
    let status = scene.ran("busy", 4).await;
    let time = |value: &Value| value.as_str().unwrap().parse::<Timestamp>().unwrap();
    let runs = status["history"].as_array().unwrap();
    for run in runs {
        let late = time(&run["startTime"]).duration_since(time(&run["scheduledTime"]));
        assert!(late < SignedDuration::from_secs(3), "{run:#}");
    }
    assert_eq!(status["missedSchedules"], 0);
    assert_eq!(status["backlog"], Value::Null, "no look has come to its end");
    assert!(scene.operator.log().contains("stopped counting what waits"), "it was begun");
}
