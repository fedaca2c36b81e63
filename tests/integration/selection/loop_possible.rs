//! A policy that may act on the same workflow run for ever is told so.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testbed::eventually;

use super::{all, protected};
use crate::events::wait_until_told;
use crate::scene::{PATIENCE, Scene, condition};

const YEARLY: &str = "0 0 1 1 *";

fn yearly(action: &str, further: Value) -> Value {
    let mut spec = all(action, further);
    spec["schedule"] = YEARLY.into();
    spec
}

fn filtered(filters: Value, further: Value) -> Value {
    let mut spec = yearly("resume", further);
    spec["filters"] = filters;
    spec
}

/// Whether the status says so, in `Ready` and for machines.
fn says_so(name: &str, status: &Value) -> bool {
    let message = condition(status, "Ready")["message"].as_str().unwrap().to_owned();
    let says = message.contains("set spec.loopProtection");
    if !says {
        assert_eq!(message, "runs on its schedule", "{name}");
    }
    assert_eq!(status["loopPossible"].as_bool().unwrap_or_default(), says, "{name}: {status:#}");
    says
}

/// How often each policy was told of each reason.
async fn told(scene: &Scene) -> BTreeMap<(String, String), i64> {
    let list = scene.kubectl(&["get", "events.events.k8s.io", "--output=json"]).await;
    let list: Value = serde_json::from_str(&list).unwrap();
    let mut told = BTreeMap::new();
    for event in list["items"].as_array().unwrap() {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let key = (text(&event["regarding"]["name"]), text(&event["reason"]));
        *told.entry(key).or_default() += event["series"]["count"].as_i64().unwrap_or(1);
    }
    told
}

#[tokio::test]
async fn a_loop_is_told_of_once_and_where_nothing_can_come_back_never() {
    let mut scene = Scene::start("loop-possible").await;
    let relabelled = |labels: Value| json!({ "overrides": { "labels": labels } });
    let looping = [
        ("resume", yearly("resume", json!({}))),
        ("restart", yearly("restart", json!({}))),
        ("matching", yearly("resume", json!({ "match": { "responseStatuses": ["503"] } }))),
        ("labels", filtered(json!({ "labels": ["payments"] }), json!({}))),
        (
            "same-label",
            filtered(json!({ "labels": ["payments"] }), relabelled(json!(["retried", "payments"]))),
        ),
        // Another may begin so.
        ("short-id", filtered(json!({ "workflowRunId": "wfr_8f" }), json!({}))),
        ("later-date", filtered(json!({ "toDate": "2090-01-01T00:00:00Z" }), json!({}))),
    ];
    let another_key = json!({ "overrides": { "flowControl": { "key": "slow" } } });
    let ending = [
        ("protected", {
            let mut spec = protected("resume", 3, json!({}));
            spec["schedule"] = YEARLY.into();
            spec
        }),
        ("delete", yearly("delete", json!({}))),
        ("dry", yearly("resume", json!({ "dryRun": true }))),
        ("earlier-date", filtered(json!({ "toDate": "2026-01-01T00:00:00Z" }), json!({}))),
        ("one-run", filtered(json!({ "workflowRunId": "wfr_8f3a9c21" }), json!({}))),
        ("one-time", filtered(json!({ "workflowCreatedAt": "2026-01-01T12:00:00.123Z" }), json!({}))),
        ("another-label", filtered(json!({ "labels": ["payments"] }), relabelled(json!(["retried"])))),
        ("another-key", filtered(json!({ "flowControlKeys": ["fast"] }), another_key)),
    ];
    let policy = |(name, spec): &(&str, Value)| {
        let mut spec = spec.clone();
        spec["connection"] = json!({ "tokenSecretRef": { "name": "upstash", "key": "token" } });
        json!({
            "apiVersion": "dlq-operator.dev/v1alpha1", "kind": "DlqPolicy", "spec": spec,
            "metadata": { "name": name, "namespace": scene.namespace.name() },
        })
    };
    // Without a schedule nothing comes round again.
    let once = [("once", all("resume", json!({})))];
    scene.apply_all(looping.iter().chain(&ending).chain(&once).map(policy).collect()).await;
    let status = scene.ran("once", 1).await;
    assert_eq!(
        (&status["loopPossible"], &condition(&status, "Ready")["reason"]),
        (&Value::Null, &json!("Idle"))
    );
    for (name, _) in &looping {
        assert!(says_so(name, &scene.condition(name, "Ready", "True", "Scheduled").await), "{name}");
    }
    for (name, _) in &ending {
        assert!(!says_so(name, &scene.condition(name, "Ready", "True", "Scheduled").await), "{name}");
    }
    // Once: not again after a restart, an edit or a run.
    scene.operator.restart(None).await.unwrap();
    scene.patch("resume", json!({ "historyLimit": 3 })).await;
    scene.annotate("resume", &[("requestedAt", "1")]).await;
    assert!(says_so("resume", &scene.ran("resume", 1).await));
    // Nor is it only late: what comes after it is told.
    let ignored = format!("dlq-operator.dev/cancelAt={}", "x".repeat(300));
    scene.kubectl(&["annotate", "dlqpolicy", "--all", &ignored]).await;
    let names: Vec<_> = looping.iter().chain(&ending).chain(&once).map(|(name, _)| *name).collect();
    let told_of = eventually(PATIENCE, "each policy is told that its annotation is ignored", async || {
        let told = told(&scene).await;
        let is_told = |name: &&str| told.contains_key(&((*name).to_owned(), "RunRequestIgnored".to_owned()));
        if names.iter().all(is_told) { Ok(told) } else { Err(format!("{told:?}")) }
    })
    .await
    .unwrap();
    let loops: BTreeMap<_, _> = told_of
        .iter()
        .filter(|((_, reason), _)| reason == "LoopPossible")
        .map(|((name, _), times)| (name.as_str(), *times))
        .collect();
    assert_eq!(loops, looping.iter().map(|(name, _)| (*name, 1)).collect());

    // A policy that is protected is told of no more, and one whose protection is taken back is told of again.
    scene.patch("resume", json!({ "loopProtection": { "maxAttempts": 3 } })).await;
    let is_protected = |status: &Value| status["loopPossible"].is_null();
    assert!(!says_so("resume", &scene.status("resume", "it is protected", is_protected).await));
    scene.patch("resume", json!({ "loopProtection": null })).await;
    let may_loop = |status: &Value| status["loopPossible"] == true;
    assert!(says_so("resume", &scene.status("resume", "it is so no more", may_loop).await));
    wait_until_told(&scene, "resume", "LoopPossible", 2).await;
}
