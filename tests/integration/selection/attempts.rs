//! How often a workflow run that keeps failing is acted on.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testbed::{Entry, Fate, eventually};

use super::{all, assert_lineages, lineages, protected, strings};
use crate::at_most_once::tempt;
use crate::scene::{DLQ, PATIENCE, Scene};

fn labelled(id: &str, labels: &[&str]) -> Entry {
    Entry { dlq_id: Some(id.to_owned()), labels: strings(labels), ..Entry::default() }
}

#[tokio::test]
async fn a_workflow_run_that_keeps_failing_is_acted_on_so_often_and_then_left() {
    let scene = Scene::start_with("exhausted", &[]).await;
    let entry = Entry { labels: strings(&["payments", "eu"]), ..Entry::default() };
    scene.simulator.generate(DLQ, 70, &entry).await.unwrap();
    tempt(&scene.simulator, DLQ).await;
    scene.apply("drain", protected("resume", 3, json!({}))).await;
    let mut told = Vec::new();
    for run in 1..=5 {
        let mut status = scene.ran("drain", run).await;
        let last = status["lastRun"].take();
        let exhausted = last["exhausted"].as_i64().unwrap_or_default();
        assert_eq!(status["skipped"], exhausted, "{last:#}");
        told.push((
            last["processed"].as_i64().unwrap(),
            exhausted,
            last["message"].as_str().unwrap().to_owned(),
        ));
        if run < 5 {
            scene.annotate("drain", &[("requestedAt", &run.to_string())]).await;
        }
    }
    let acted = (70, 0, "resumed 70 entries in 3 calls, 0 refused".to_owned());
    let left = (0, 70, "nothing matched, 70 exhausted".to_owned());
    assert_eq!(told, [acted.clone(), acted.clone(), acted, left.clone(), left]);
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_lineages(lineages(&ledger), &["payments", "eu"], 70, &["resume"; 3], Fate::InDlq);
    // All that each run made came back.
    let status = scene.policy("drain").await["status"].take();
    let returned: Vec<_> =
        status["history"].as_array().unwrap().iter().map(|run| run["returned"].clone()).collect();
    assert_eq!(returned, [Value::Null, Value::Null, json!(70), json!(70), json!(70)], "newest first");
    assert_eq!(status["totals"]["processed"], 210);
}

#[tokio::test]
async fn attempts_are_read_from_labels_and_written_into_them() {
    let scene = Scene::start_with("attempts", &[]).await;
    let entries = [
        labelled("unlabelled", &[]),
        labelled("labelled", &["payments"]),
        labelled("once", &["payments", "dlq-attempt-1"]),
        labelled("twice-over", &["dlq-attempt-2", "payments", "dlq-attempt-1"]),
        labelled("enough", &["payments", "dlq-attempt-3"]),
        labelled("more-than-enough", &["dlq-attempt-99999999999999999999"]),
        labelled("no-number", &["dlq-attempt-x"]),
        labelled("unsendable", &["order 66"]),
    ];
    scene.simulator.add(DLQ, &entries).await.unwrap();
    for (dlq, token) in [("named", "named-token-1c2d"), ("ranged", "ranged-token-1c2d")] {
        scene.simulator.allow(token, dlq).await.unwrap();
        scene.apply_secret(dlq, "token", token).await;
        scene.simulator.add(dlq, &entries).await.unwrap();
    }
    let with = |name: &str, further: Value| {
        let mut spec = protected("restart", 3, further);
        spec["connection"] = json!({ "tokenSecretRef": { "name": name, "key": "token" } });
        spec
    };
    scene.apply("own", protected("restart", 3, json!({}))).await;
    scene.apply("named", with("named", json!({ "overrides": { "labels": ["retried", "by-hand"] } }))).await;
    scene.apply("ranged", with("ranged", json!({ "match": { "attempts": { "min": 1, "max": 2 } } }))).await;

    let made = async |dlq: &str| -> BTreeMap<String, Vec<String>> {
        let runs = scene.simulator.ledger(dlq).await.unwrap().workflow_runs;
        runs.into_iter().map(|run| (run.from_dlq_id, run.labels)).collect()
    };
    let expected = |rows: &[(&str, &[&str])]| -> BTreeMap<String, Vec<String>> {
        rows.iter().map(|(id, labels)| ((*id).to_owned(), strings(labels))).collect()
    };
    let run = scene.ran("own", 1).await["lastRun"].take();
    let counts = ["processed", "exhausted", "rejected"].map(|count| &run[count]);
    assert_eq!(counts, [&json!(4), &json!(3), &json!(1)], "{run:#}");
    let message = run["message"].as_str().unwrap();
    assert!(
        message.contains("1 refused, 3 exhausted, the last: Upstash takes no label such as \"order 66\""),
        "{message}"
    );
    assert_eq!(
        made(DLQ).await,
        expected(&[
            ("unlabelled", &["dlq-attempt-1"]),
            ("labelled", &["payments", "dlq-attempt-1"]),
            ("once", &["payments", "dlq-attempt-2"]),
            ("twice-over", &["payments", "dlq-attempt-3"]),
        ])
    );

    let run = scene.ran("named", 1).await["lastRun"].take();
    let counts = ["processed", "exhausted", "rejected"].map(|count| &run[count]);
    assert_eq!(counts, [&json!(5), &json!(3), &json!(0)], "what is replaced need not be sent: {run:#}");
    assert_eq!(
        made("named").await,
        expected(&[
            ("unlabelled", &["retried", "by-hand", "dlq-attempt-1"]),
            ("labelled", &["retried", "by-hand", "dlq-attempt-1"]),
            ("unsendable", &["retried", "by-hand", "dlq-attempt-1"]),
            ("once", &["retried", "by-hand", "dlq-attempt-2"]),
            ("twice-over", &["retried", "by-hand", "dlq-attempt-3"]),
        ])
    );

    let run = scene.ran("ranged", 1).await["lastRun"].take();
    assert_eq!((&run["processed"], &run["exhausted"]), (&json!(2), &json!(1)), "{run:#}");
    assert_eq!(run["skipped"], json!({ "attempts": 5 }), "{run:#}");
    let acted: Vec<_> = made("ranged").await.into_keys().collect();
    assert_eq!(acted, ["once", "twice-over"]);
}

#[tokio::test]
async fn policies_share_the_count_whatever_their_names_and_whoever_is_killed() {
    const ENTRIES: usize = 40;
    let mut scene = Scene::start("shared-count").await;
    let entry = Entry { labels: strings(&["payments"]), ..Entry::default() };
    scene.simulator.generate(DLQ, ENTRIES, &entry).await.unwrap();
    tempt(&scene.simulator, DLQ).await;
    let every = |action: &str, attempts: Value| {
        protected(action, 5, json!({ "schedule": "@every 1s", "match": { "attempts": attempts } }))
    };
    // Two that get in each other's way, and one that continues where they leave off.
    scene.apply("early", every("resume", json!({ "max": 2 }))).await;
    scene.apply("rival", every("resume", json!({ "max": 2 }))).await;
    scene.apply("late", every("restart", json!({ "min": 3 }))).await;
    eventually(PATIENCE, "each was acted on once", async || {
        scene.simulator.ledger(DLQ).await.unwrap().workflow_runs.len() >= ENTRIES
    })
    .await
    .unwrap();
    scene.operator.restart(None).await.unwrap();
    let is_done =
        |status: &Value| status["lastRun"]["exhausted"] == ENTRIES && status["currentRun"].is_null();
    let status = scene.status("late", "there is nothing more to do", is_done).await;
    // Nor is there in the runs to come.
    let runs = status["totals"]["runs"].as_i64().unwrap();
    for name in ["early", "rival", "late"] {
        scene
            .status(name, "it has run again", |status| status["totals"]["runs"].as_i64() > Some(runs + 1))
            .await;
    }
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    let actions = ["resume", "resume", "resume", "restart", "restart"];
    assert_lineages(lineages(&ledger), &["payments"], ENTRIES, &actions, Fate::InDlq);
}

#[tokio::test]
async fn a_policy_without_loop_protection_acts_for_ever_and_another_still_sees_the_count() {
    let scene = Scene::start_with("uncounted", &[]).await;
    scene.simulator.add(DLQ, &[labelled("one", &["payments", "dlq-attempt-2"])]).await.unwrap();
    tempt(&scene.simulator, DLQ).await;
    scene.apply("plain", all("resume", json!({ "match": { "responseStatuses": ["5xx"] } }))).await;
    scene.ran("plain", 1).await;
    scene.annotate("plain", &[("requestedAt", "1")]).await;
    scene.ran("plain", 2).await;
    let kept = strings(&["payments", "dlq-attempt-2"]);
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_eq!(lineages(&ledger)["one"].labels, [kept.clone(), kept.clone()]);
    scene.apply("protected", protected("resume", 2, json!({}))).await;
    let run = scene.ran("protected", 1).await["lastRun"].take();
    assert_eq!((&run["processed"], &run["exhausted"]), (&json!(0), &json!(1)), "{run:#}");
}
