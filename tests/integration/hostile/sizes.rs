//! The largest policies that the API server takes.

use serde_json::{Value, json};
use testbed::{Entry, Fate, ScratchDir};

use crate::cases::{Case, Cases};
use crate::scene::{DLQ, Scene, condition};

/// What RFC 9110 asks every server to take.
const MAX_TARGET: usize = 8000;

/// Each of these characters takes three bytes in a URL.
fn longest_ids() -> Vec<String> {
    (0..1000).map(|index| format!("{index:04}{}", ":".repeat(252))).collect()
}

fn longest(prefix: &str, count: usize, length: usize) -> Vec<String> {
    let rest = |index: usize| format!("{prefix}{index:02}{}", "x".repeat(length - prefix.len() - 2));
    (0..count).map(rest).collect()
}

#[tokio::test]
async fn a_thousand_ids_of_the_longest_kind_are_acted_on_in_calls_that_a_url_can_carry() {
    let scene = Scene::start_with("longest-ids", &[]).await;
    let ids = longest_ids();
    let known = ids.iter().enumerate().filter(|(index, _)| index % 100 != 7);
    let entries: Vec<_> =
        known.map(|(_, id)| Entry { dlq_id: Some(id.clone()), ..Entry::default() }).collect();
    scene.simulator.add(DLQ, &entries).await.unwrap();
    let manifest = json!({
        "apiVersion": "dlq-operator.dev/v1alpha1",
        "kind": "DlqPolicy",
        "metadata": { "name": "ids", "namespace": scene.namespace.name() },
        "spec": {
            "action": "restart",
            "filters": { "dlqIds": ids },
            "connection": { "tokenSecretRef": { "name": "upstash", "key": "token" } },
        },
    });
    // Too large for the annotation that a client-side apply writes.
    let dir = ScratchDir::create("manifest").unwrap();
    let file = dir.path().join("policy.json");
    std::fs::write(&file, manifest.to_string()).unwrap();
    scene.kubectl(&["apply", "--server-side", "--filename", file.to_str().unwrap()]).await;
    let run = scene.ran("ids", 1).await["lastRun"].take();
    assert_eq!(
        (&run["result"], &run["processed"], &run["notFound"], &run["position"]),
        (&json!("Succeeded"), &json!(990), &json!(10), &json!(1000))
    );
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_eq!(ledger.with_fate(Fate::Restarted).count(), 990);
    let targets: Vec<_> = ledger.calls.iter().map(|call| call.path.len() + 1 + call.query.len()).collect();
    assert!(targets.iter().all(|bytes| *bytes <= MAX_TARGET), "{targets:?}");
    assert!(
        targets.iter().any(|bytes| *bytes > MAX_TARGET - 800),
        "the calls are smaller than they need to be"
    );
}

#[tokio::test]
async fn filters_and_labels_that_no_call_can_carry_are_refused_before_any_call() {
    let scene = Scene::start("too-long").await;
    let everything = json!({
        "workflowUrls": longest("https://app.example.com/", 50, 2048),
        "labels": longest("", 50, 256),
        "flowControlKeys": longest("", 50, 256),
        "workflowRunId": "w".repeat(256),
        "callerIps": (0..50).map(|index| format!("2001:db8::{index}")).collect::<Vec<_>>(),
    });
    let labels = json!({ "labels": longest("", 50, 256) });
    let table = [
        ("everything", json!({ "action": "resume", "filters": everything }), "spec.filters.workflowUrls"),
        ("labels", json!({ "action": "delete", "filters": labels }), "spec.filters.labels"),
        (
            "overrides",
            json!({ "action": "resume", "filters": { "all": true }, "overrides": labels }),
            "spec.overrides.labels",
        ),
    ];
    for (name, spec, _) in &table {
        scene.apply(name, spec.clone()).await;
    }
    for (name, _, field) in &table {
        let status = scene.condition(name, "Ready", "False", "InvalidSpec").await;
        assert_eq!(condition(&status, "Stalled")["status"], "True");
        let message = status["message"].as_str().unwrap();
        assert!(message.starts_with(field) && message.contains("give fewer or shorter"), "{message}");
        assert!(!message.ends_with('x') && message.len() < 256, "{message}");
    }
    assert_eq!(scene.simulator.ledger(DLQ).await.unwrap().calls.len(), 0);
    // The way out.
    scene.patch("labels", json!({ "filters": { "labels": longest("", 20, 256) } })).await;
    scene.ran("labels", 1).await;
}

#[tokio::test]
async fn the_longest_filters_and_overrides_that_a_call_can_carry_arrive_whole() {
    let scene = Scene::start("longest").await;
    let (urls, labels) = (longest("https://app.example.com/", 3, 2048), longest("", 4, 256));
    let overrides = json!({
        "labels": longest("", 31, 256),
        "retryDelay": "1".repeat(256),
        "flowControl": { "key": "k".repeat(256), "parallelism": 1, "rate": 1, "period": "1m" },
        "failureCallback": longest("https://app.example.com/", 1, 2048)[0],
    });
    let entry = |url: &str, label: &str| Entry {
        workflow_url: Some(url.to_owned()),
        labels: vec![label.to_owned()],
        ..Entry::default()
    };
    let spec = json!({
        "action": "resume",
        "filters": { "workflowUrls": urls, "labels": labels },
        "overrides": overrides,
    });
    let entries = vec![
        entry(&urls[2], &labels[3]),
        entry(&urls[0], "other"),
        entry("https://other.example", &labels[0]),
    ];
    let cases = Cases::apply(&scene, vec![Case { entries, spec }]).await;
    let outcome = cases.outcomes().await.pop().unwrap();
    assert_eq!(outcome.status["lastRun"]["processed"], 1, "{}", outcome.status);
    let run: &testbed::WorkflowRun = &outcome.ledger.workflow_runs[0];
    let expected: Vec<String> = serde_json::from_value(overrides["labels"].clone()).unwrap();
    assert_eq!(run.labels, expected);
    let texts: [(&Option<String>, &Value); 2] = [
        (&run.retry_delay, &overrides["retryDelay"]),
        (&run.failure_callback, &overrides["failureCallback"]),
    ];
    for (sent, wanted) in texts {
        assert_eq!(sent.as_deref(), wanted.as_str());
    }
}
