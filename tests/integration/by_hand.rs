//! Runs that somebody asks for by annotation, policies that run only then, and manifests that come back from a backup.

use dlq_operator::runtime::clock;
use futures::future::join_all;
use jiff::SignedDuration;
use serde_json::{Value, json};
use testbed::{Entry, Fate};

use crate::events::{told, wait_until_told};
use crate::scene::{DLQ, Scene};

fn all(further: Value) -> Value {
    let mut spec = json!({ "action": "resume", "filters": { "all": true } });
    spec.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    spec
}

fn manual() -> Value {
    all(json!({ "trigger": "Manual" }))
}

fn minutes_ago(minutes: i64) -> String {
    (clock::now() - SignedDuration::from_mins(minutes)).to_string()
}

/// Acting calls that reached Upstash.
async fn acting_calls(scene: &Scene) -> usize {
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    ledger.calls.iter().filter(|call| !["list", "get"].contains(&call.operation.as_str())).count()
}

#[tokio::test]
async fn a_manual_policy_runs_when_it_is_asked_to_and_not_when_it_is_created_edited_or_given_a_token() {
    let mut scene = Scene::start("manual").await;
    scene.simulator.generate(DLQ, 30, &Entry::default()).await.unwrap();
    scene.apply_secret("upstash", "token", "nobody-knows-this-one").await;
    scene.apply("by-hand", manual()).await;
    let status = scene.condition("by-hand", "Ready", "True", "Idle").await;
    assert_eq!((&status["phase"], &status["totals"]["runs"]), (&json!("Pending"), &json!(0)));
    assert!(status["message"].as_str().unwrap().contains("requestedAt"), "{status:#}");

    scene.patch("by-hand", json!({ "filters": { "all": null, "labels": ["none"] } })).await;
    scene.status("by-hand", "the edit is seen", |status| status["observedGeneration"] == 2).await;
    // Refused by its token, it waits for no other one.
    scene.annotate("by-hand", &[("requestedAt", "1")]).await;
    assert_eq!(scene.ran("by-hand", 1).await["lastRun"]["reason"], "Unauthorized");
    scene.apply_secret("upstash", "token", crate::scene::TOKEN).await;
    scene.operator.restart(None).await.unwrap();
    scene.patch("by-hand", json!({ "trigger": "OnChange" })).await;
    let status =
        scene.status("by-hand", "the edit is seen", |status| status["observedGeneration"] == 3).await;
    assert_eq!(status["totals"]["runs"], 1, "what was seen of a manual policy starts nothing: {status:#}");

    scene.patch("by-hand", json!({ "trigger": "Manual", "filters": { "labels": null, "all": true } })).await;
    scene.status("by-hand", "the edit is seen", |status| status["observedGeneration"] == 4).await;
    scene.annotate("by-hand", &[("requestedAt", "2")]).await;
    let run = scene.ran("by-hand", 2).await["lastRun"].take();
    assert_eq!((&run["trigger"], &run["processed"]), (&json!("Manual"), &json!(30)), "{run:#}");
}

/// The policies of a backup: each with what it asked for before, and whether it may act again when it is restored.
fn backed_up() -> [(&'static str, Value, Value); 4] {
    let old = json!({ "dlq-operator.dev/requestedAt": minutes_ago(60) });
    let words = json!({ "dlq-operator.dev/requestedAt": "please" });
    [
        ("scheduled", all(json!({ "schedule": "0 0 29 2 *" })), old.clone()),
        ("manual-at-a-time", manual(), old),
        ("manual-in-words", manual(), words),
        ("manual-unasked", manual(), json!({})),
    ]
}

#[tokio::test]
async fn policies_that_are_restored_with_their_annotations_and_without_their_status_act_no_second_time() {
    let scene = Scene::start("restored").await;
    scene.simulator.generate(DLQ, 30, &Entry::default()).await.unwrap();
    join_all(backed_up().map(async |(name, spec, annotations)| {
        // As Velero creates it: annotations and spec as they were, metadata and status anew.
        scene.apply_annotated(name, spec, annotations).await;
    }))
    .await;
    for (name, _, annotations) in backed_up() {
        let asked = annotations["dlq-operator.dev/requestedAt"].as_str();
        if asked.is_some() {
            wait_until_told(&scene, name, "RunRequestIgnored", 1).await;
        }
        let status = scene.status(name, "it is seen", |status| status["observedGeneration"] == 1).await;
        assert_eq!(status["totals"]["runs"], 0, "{name}: {status:#}");
        assert_eq!(status["lastHandledRequestedAt"].is_string(), asked.is_some(), "{name}");
    }
    assert_eq!(acting_calls(&scene).await, 0);
    // A new request starts a run, and so does a new manifest with a time in it.
    scene.annotate("manual-in-words", &[("requestedAt", "once more")]).await;
    assert_eq!(scene.ran("manual-in-words", 1).await["lastRun"]["processed"], 30);
    let now = json!({ "dlq-operator.dev/requestedAt": clock::now().to_string() });
    scene.apply_annotated("new", manual(), now).await;
    assert_eq!(scene.ran("new", 1).await["lastRun"]["trigger"], "Manual");
    assert_eq!(told(&scene, "manual-in-words", "RunRequestIgnored").await, 1);
}

#[tokio::test]
async fn a_dry_run_can_be_asked_for_while_nothing_else_may_run_and_acts_on_nothing() {
    let scene = Scene::start_with("dry-by-hand", &["--retry-limit=1"]).await;
    scene.simulator.generate(DLQ, 120, &Entry::default()).await.unwrap();
    scene.apply("suspended", all(json!({ "suspend": true }))).await;
    let paused = json!({ "dlq-operator.dev/paused": "incident 7" });
    scene.apply_annotated("paused", all(json!({ "schedule": "0 0 29 2 *" })), paused).await;
    let refuse = json!([{ "operation": "resume", "fault": { "status": { "code": 422 } } }]);
    scene.simulator.set_faults(&refuse).await.unwrap();
    scene.apply("broken", all(json!({ "failurePolicy": { "openCircuitAfter": 1 } }))).await;
    let open = scene.condition("broken", "Ready", "True", "CircuitOpen").await;
    let message = open["message"].as_str().unwrap();
    assert!(message.starts_with("1 run failed, last: Upstash answered 422"), "{message}");
    assert!(message.ends_with("then set dlq-operator.dev/resetAt to a new value"), "{message}");
    let status = scene.condition("paused", "Ready", "True", "Paused").await;
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("dlq-operator.dev/paused, \"incident 7\""), "{message}");
    let calls = acting_calls(&scene).await;

    for (name, phase, runs) in
        [("suspended", "Suspended", 1), ("paused", "Paused", 1), ("broken", "CircuitOpen", 2)]
    {
        scene.annotate(name, &[("requestedAt", "1"), ("requestedMode", "DryRun")]).await;
        let status = scene.ran(name, runs).await;
        let run = &status["lastRun"];
        assert_eq!(
            (&run["dryRun"], &run["requestedMode"], &run["reason"], &run["processed"]),
            (&json!(true), &json!("DryRun"), &json!("DryRunSucceeded"), &json!(120)),
            "{name}: {run:#}"
        );
        assert_eq!(status["phase"], phase, "{name}: {status:#}");
        assert_eq!(status["totals"]["processed"], 0, "{name}");
    }
    let failures = scene.policy("broken").await["status"]["consecutiveFailures"].take();
    assert_eq!(failures, 1, "no dry run resets what acting runs failed");
    assert_eq!(acting_calls(&scene).await, calls);

    scene.annotate("suspended", &[("requestedAt", "2"), ("requestedMode", "dry-run")]).await;
    wait_until_told(&scene, "suspended", "RunRequestIgnored", 1).await;
    assert_eq!(scene.policy("suspended").await["status"]["totals"]["runs"], 1);

    // What it was suspended with is still to be done.
    scene.simulator.clear_faults().await.unwrap();
    scene.patch("suspended", json!({ "suspend": false })).await;
    let run = scene.ran("suspended", 2).await["lastRun"].take();
    assert_eq!((&run["trigger"], &run["processed"]), (&json!("Spec"), &json!(120)), "{run:#}");
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_eq!(ledger.with_fate(Fate::Resumed).count(), 120);
}
