//! What survives the operator where each entry is decided on: kills, lost answers.

use serde_json::{Value, json};
use testbed::{Entry, Fate, Ledger, eventually};

use super::{acting, assert_lineages, lineages, protected, strings};
use crate::at_most_once::tempt;
use crate::cases::{self, Case, Cases, Outcome};
use crate::scene::{DLQ, PATIENCE, Scene};

const MOST: u32 = 3;

fn drain(further: Value) -> Value {
    let mut spec = protected("resume", MOST, further);
    spec["match"] = json!({ "responseStatuses": ["5xx"] });
    spec
}

/// Of two kinds, and some that the policy leaves alone.
async fn fill(scene: &Scene, each: usize) {
    for (label, status) in [("payments", 503), ("emails", 500), ("orders", 404)] {
        let entry = Entry { labels: strings(&[label]), response_status: Some(status), ..Entry::default() };
        scene.simulator.generate(DLQ, each, &entry).await.unwrap();
    }
    tempt(&scene.simulator, DLQ).await;
}

/// How many workflow runs were acted on so often.
fn acted_on_so_often(ledger: &Ledger, times: usize) -> usize {
    lineages(ledger).values().filter(|lineage| lineage.actions.len() == times).count()
}

#[tokio::test]
async fn a_killed_operators_run_goes_on_and_acts_on_each_entry_once() {
    let mut scene = Scene::start("killed-listing").await;
    fill(&scene, 200).await;
    scene.slow_down(200).await;
    scene.apply("drain", drain(json!({}))).await;
    let is_at_work = |status: &Value| status["currentRun"]["processed"].as_i64() > Some(100);
    scene.status("drain", "some entries are done", is_at_work).await;
    scene.operator.kill().unwrap();
    let left = scene.policy("drain").await["status"]["currentRun"].take();
    scene.simulator.clear_faults().await.unwrap();
    scene.operator.restart(None).await.unwrap();
    let run = scene.ran("drain", 1).await["lastRun"].take();
    for field in ["id", "startTime", "window"] {
        assert_eq!(run[field], left[field], "it is the same run");
    }
    assert_eq!((&run["result"], &run["interruptions"]), (&json!("Succeeded"), &json!(1)), "{run:#}");
    // One call may have been under way, and one's checkpoint.
    let processed = run["processed"].as_i64().unwrap();
    assert!((300..=400).contains(&processed), "{run:#}");
    assert!(run["message"].as_str().unwrap().starts_with("resumed at least "), "{run:#}");
    // What it counts is of the last pass, and none of what came back meanwhile.
    assert_eq!((&run["skipped"], &run["exhausted"]), (&json!({ "status": 200 }), &Value::Null), "{run:#}");
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_eq!((acted_on_so_often(&ledger, 1), acted_on_so_often(&ledger, 0)), (400, 200));

    for round in 2..=4 {
        scene.annotate("drain", &[("requestedAt", &round.to_string())]).await;
        let run = scene.ran("drain", round).await["lastRun"].take();
        assert_eq!(run["interruptions"], 0, "{run:#}");
    }
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_eq!((acted_on_so_often(&ledger, 3), acted_on_so_often(&ledger, 0)), (400, 200));
}

#[tokio::test]
async fn however_often_it_is_killed_nothing_is_acted_on_more_often_than_it_may_be() {
    const ENTRIES: usize = 300;
    const KILLS: usize = 4;
    let mut scene = Scene::start("killed-often").await;
    let entry = Entry { labels: strings(&["payments"]), ..Entry::default() };
    scene.simulator.generate(DLQ, ENTRIES, &entry).await.unwrap();
    tempt(&scene.simulator, DLQ).await;
    scene.slow_down(60).await;
    scene
        .apply(
            "drain",
            drain(json!({ "schedule": "@every 1s", "limits": { "pageSize": 20 }, "historyLimit": 50 })),
        )
        .await;
    let mut acted = 0;
    for _ in 0..KILLS {
        eventually(PATIENCE, "it gets on", async || {
            let calls = acting(&scene.simulator.ledger(DLQ).await.unwrap()).len();
            if calls > acted { Ok(()) } else { Err(calls) }
        })
        .await
        .unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(fastrand::u64(0..200))).await;
        scene.operator.restart(None).await.unwrap();
        acted = acting(&scene.simulator.ledger(DLQ).await.unwrap()).len() + 3;
    }
    scene.simulator.clear_faults().await.unwrap();
    let is_done = |status: &Value| status["lastRun"]["exhausted"] == ENTRIES;
    let status = scene.status("drain", "all are exhausted", is_done).await;
    let runs = status["history"].as_array().unwrap().iter();
    let interruptions: i64 = runs.filter_map(|run| run["interruptions"].as_i64()).sum();
    assert!(interruptions > 0, "no kill hit a run: {status:#}");
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_lineages(lineages(&ledger), &["payments"], ENTRIES, &["resume"; MOST as usize], Fate::InDlq);
}

#[tokio::test]
async fn a_lost_answer_is_counted_as_uncertain_and_nothing_is_acted_on_too_often() {
    const HOW: [&str; 2] = ["close", "status500"];
    let scene = Scene::start_with("lost-listing", &[]).await;
    let mut rules = Vec::new();
    for (index, how) in HOW.iter().enumerate() {
        let dlq = cases::name(index);
        tempt(&scene.simulator, &dlq).await;
        let fault = json!({ "lostAnswer": { "how": how } });
        rules.extend(
            [1, 3].map(|nth| json!({ "dlq": dlq, "operation": "resume", "nth": nth, "fault": fault })),
        );
    }
    scene.simulator.set_faults(&json!(rules)).await.unwrap();
    let entry = |index: usize| Entry {
        labels: strings(&[["payments", "emails", "orders"][index % 3]]),
        response_status: Some([503, 500, 404][index % 3]),
        ..Entry::default()
    };
    let case = |_| Case { entries: (0..300).map(entry).collect(), spec: drain(json!({})) };
    let outcomes = Cases::apply(&scene, HOW.map(case).into()).await.outcomes().await;
    for (index, (how, Outcome { status, ledger })) in HOW.iter().zip(outcomes).enumerate() {
        let run = &status["lastRun"];
        assert_eq!(run["result"], "Succeeded", "{how}: {run:#}");
        let lost: Vec<_> = acting(&ledger).into_iter().filter(|call| !call.delivered).collect();
        assert_eq!(run["uncertainPages"], lost.len(), "{how}: {run:#}");
        let unsaid: usize = lost.iter().map(|call| call.dlq_ids.len()).sum();
        assert!(unsaid >= 50, "{how}: the faults took the answers of calls that acted: {lost:#?}");
        assert_eq!(run["processed"], 200 - unsaid, "{how}: what is lost is not counted, openly");
        assert_eq!(run["notFound"], 0, "{how}: it may have been acted on");
        assert_eq!((acted_on_so_often(&ledger, 1), acted_on_so_often(&ledger, 0)), (200, 100), "{how}");
        let name = cases::name(index);
        for round in 2..=4 {
            scene.annotate(&name, &[("requestedAt", &round.to_string())]).await;
            scene.ran(&name, round).await;
        }
        let ledger = scene.simulator.ledger(&name).await.unwrap();
        assert_eq!((acted_on_so_often(&ledger, 3), acted_on_so_often(&ledger, 0)), (200, 100), "{how}");
    }
}
