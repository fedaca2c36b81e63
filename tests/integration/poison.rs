//! Entries that the API refuses to act on, among others.

use serde_json::{Value, json};
use testbed::{Entry, Fate};

use crate::scene::{DLQ, Scene};

const GOOD: usize = 5000;
const POISON: usize = 20;

/// A DLQ in which every 251st entry cannot be resumed.
fn entries() -> Vec<Entry> {
    (0..GOOD + POISON).map(|index| Entry { unresumable: index % 251 == 100, ..Entry::default() }).collect()
}

fn all() -> Value {
    json!({ "action": "resume", "filters": { "all": true } })
}

#[tokio::test]
async fn among_five_thousand_entries_those_that_cannot_be_resumed_are_counted_and_the_others_resumed() {
    let scene = Scene::start_with("poison", &[]).await;
    scene.simulator.add(DLQ, &entries()).await.unwrap();
    scene.apply("poisoned", all()).await;
    let status = scene.ran("poisoned", 1).await;
    let run = &status["lastRun"];
    assert_eq!((&run["result"], &run["reason"]), (&json!("Succeeded"), &json!("RunSucceeded")), "{run:#}");
    assert_eq!((&run["processed"], &run["rejected"]), (&json!(GOOD), &json!(POISON)), "{run:#}");
    assert!(run["message"].as_str().unwrap().contains("20 refused"), "{run:#}");
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_eq!(ledger.with_fate(Fate::InDlq).count(), POISON);
    // A call a page; and for each poisoned one a list, and two calls a halving at most.
    let most = GOOD / 50 + POISON * 13;
    assert!(ledger.calls.len() <= most, "{} calls of {most}", ledger.calls.len());

    // What is left does not fail the runs to come.
    scene.annotate("poisoned", &[("requestedAt", "again")]).await;
    let run = scene.ran("poisoned", 2).await["lastRun"].take();
    assert_eq!((&run["result"], &run["rejected"]), (&json!("Succeeded"), &json!(POISON)), "{run:#}");
}

#[tokio::test]
async fn a_cursor_that_has_gone_stale_is_dropped_once() {
    let scene = Scene::start("stale").await;
    scene.simulator.generate(DLQ, 500, &Entry::default()).await.unwrap();
    let stale = json!({ "status": { "code": 400, "body": "{\"error\":\"invalid cursor\"}" } });
    scene.simulator.set_faults(&json!([{ "dlq": DLQ, "nth": 4, "fault": stale }])).await.unwrap();
    scene.apply("stale", all()).await;
    let run = scene.ran("stale", 1).await["lastRun"].take();
    assert_eq!((&run["result"], &run["processed"]), (&json!("Succeeded"), &json!(500)), "{run:#}");
    assert_eq!((&run["rejected"], &run["retries"]), (&json!(0), &json!(1)), "{run:#}");
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_eq!(ledger.calls.len(), 11);
    assert!(ledger.calls[3].query.contains("cursor=") && !ledger.calls[4].query.contains("cursor="));
}

#[tokio::test]
async fn a_request_that_is_refused_for_every_entry_ends_as_a_bad_request_after_a_few_calls() {
    let scene = Scene::start("refused").await;
    scene.simulator.generate(DLQ, 500, &Entry::default()).await.unwrap();
    let refusal = json!({ "status": { "code": 400, "body": "{\"error\":\"no such setting\"}" } });
    let rules = json!([{ "dlq": DLQ, "operation": "resume", "fault": refusal }]);
    scene.simulator.set_faults(&rules).await.unwrap();
    scene.apply("refused", all()).await;
    let run = scene.ran("refused", 1).await["lastRun"].take();
    assert_eq!((&run["result"], &run["reason"]), (&json!("Failed"), &json!("BadRequest")), "{run:#}");
    assert!(run["message"].as_str().unwrap().contains("no such setting"), "{run:#}");
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert!(ledger.calls.len() < 12, "{} calls", ledger.calls.len());
    assert_eq!(ledger.with_fate(Fate::InDlq).count(), 500);
}

#[tokio::test]
async fn a_request_that_is_refused_fails_the_run_however_many_entries_match() {
    let scene = Scene::start("bad-request").await;
    let labelled = |label: &str| Entry { labels: vec![label.to_owned()], ..Entry::default() };
    let refusal = json!({ "status": { "code": 400, "body": "{\"error\":\"no such setting\"}" } });
    let rules = json!([{ "dlq": DLQ, "operation": ["resume", "resumeOne"], "fault": refusal }]);
    scene.simulator.set_faults(&rules).await.unwrap();
    let mut policies = Vec::new();
    for count in [0, 1, 2, 50, 51] {
        let name = format!("n{count}");
        let of_filter = scene.simulator.generate(DLQ, count, &labelled(&name)).await.unwrap();
        // At least one ID has to be named: of none, one that is not there.
        let ids = if of_filter.is_empty() { vec!["1763640000000-999".to_owned()] } else { of_filter };
        policies.push((format!("{name}-ids"), json!({ "dlqIds": ids })));
        policies.push((name.clone(), json!({ "labels": [name] })));
    }
    for (name, filters) in &policies {
        let spec = json!({
            "action": "resume", "filters": filters,
            "failurePolicy": { "openCircuitAfter": 1 },
        });
        scene.apply(name, spec).await;
    }
    for (name, _) in &policies {
        let status = scene.ran(name, 1).await;
        let run = &status["lastRun"];
        assert_eq!(
            (&run["result"], &run["reason"]),
            (&json!("Failed"), &json!("BadRequest")),
            "{name}: {run:#}"
        );
        let state = (&status["consecutiveFailures"], &status["phase"]);
        assert_eq!(state, (&json!(1), &json!("CircuitOpen")), "{name}");
    }
    assert_eq!(scene.simulator.ledger(DLQ).await.unwrap().with_fate(Fate::InDlq).count(), 104);
}

#[tokio::test]
async fn ids_that_cannot_be_resumed_are_counted_apart_from_the_unknown_ones() {
    let scene = Scene::start("poison-ids").await;
    let entries: Vec<_> = (0..120)
        .map(|index| Entry {
            dlq_id: Some(format!("dlq-{index}")),
            unresumable: index % 40 == 7,
            ..Entry::default()
        })
        .collect();
    scene.simulator.add(DLQ, &entries).await.unwrap();
    let ids: Vec<_> = (0..125).map(|index| format!("dlq-{index}")).collect();
    scene.apply("ids", json!({ "action": "resume", "filters": { "dlqIds": ids } })).await;
    let run = scene.ran("ids", 1).await["lastRun"].take();
    assert_eq!(
        (&run["result"], &run["processed"], &run["rejected"], &run["notFound"], &run["position"]),
        (&json!("Succeeded"), &json!(117), &json!(3), &json!(5), &json!(125)),
        "{run:#}"
    );
}
