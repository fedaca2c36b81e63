//! What a policy cannot reach: Secrets of other namespaces, and anything but its own status.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testbed::Entry;

use crate::scene::{DLQ, Scene, TOKEN};

#[tokio::test]
async fn no_reference_names_a_secret_of_another_namespace() {
    let scene = Scene::start("tenants").await;
    let other = scene.control_plane.namespace("victim").await.unwrap();
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "theirs", "namespace": other.name() },
        "stringData": { "token": TOKEN },
    });
    scene.control_plane.kubectl_apply(&secret.to_string()).await.unwrap().ok().unwrap();
    let other = other.name();
    let policy = |name: &str, reference: Value| {
        json!({
            "apiVersion": "dlq-operator.dev/v1alpha1",
            "kind": "DlqPolicy",
            "metadata": { "name": name, "namespace": scene.namespace.name() },
            "spec": {
                "action": "resume",
                "filters": { "all": true },
                "connection": { "tokenSecretRef": reference },
            },
        })
    };
    let names = [
        format!("{other}/theirs"),
        format!("../{other}/theirs"),
        format!("../../{other}/secrets/theirs"),
        format!("..%2f{other}%2ftheirs"),
        format!("{other}%2Ftheirs"),
        "..".to_owned(),
        ".".to_owned(),
        "theirs?namespace=x".to_owned(),
        "theirs#".to_owned(),
        "theirs\n".to_owned(),
        " theirs".to_owned(),
        "*".to_owned(),
        String::new(),
    ];
    for name in &names {
        let manifest = policy("refused", json!({ "name": name, "key": "token" })).to_string();
        let refusal = scene.control_plane.kubectl_apply(&manifest).await.unwrap();
        assert!(!refusal.status.success(), "{name:?} is taken");
        assert!(
            refusal.stderr.contains("spec.connection.tokenSecretRef.name"),
            "{name:?}: {}",
            refusal.stderr
        );
    }
    for key in ["../token", "a/b", "", "token\n"] {
        let manifest = policy("refused", json!({ "name": "upstash", "key": key })).to_string();
        assert!(
            !scene.control_plane.kubectl_apply(&manifest).await.unwrap().status.success(),
            "{key:?} is taken"
        );
    }
    // A field that would name the namespace is none.
    let with_namespace =
        policy("strict", json!({ "name": "theirs", "key": "token", "namespace": other })).to_string();
    assert!(!scene.control_plane.kubectl_apply(&with_namespace).await.unwrap().status.success());

    let plain = policy("alone", json!({ "name": "theirs", "key": "token" })).to_string();
    scene.control_plane.kubectl_apply(&plain).await.unwrap().ok().unwrap();
    let status = scene.condition("alone", "Ready", "False", "SecretNotFound").await;
    assert!(status["message"].as_str().unwrap().contains(scene.namespace.name()), "{status}");
    assert_eq!(scene.simulator.ledger(DLQ).await.unwrap().calls.len(), 0);
}

#[tokio::test]
async fn the_operator_writes_nothing_of_a_policy_but_its_status() {
    let scene = Scene::start("own-status").await;
    scene.simulator.generate(DLQ, 120, &Entry::default()).await.unwrap();
    scene
        .apply_annotated(
            "written",
            json!({ "action": "resume", "filters": { "all": true } }),
            json!({ "a/b": "c" }),
        )
        .await;
    scene.ran("written", 1).await;
    scene.annotate("written", &[("requestedAt", "1"), ("requestedBy", "ada")]).await;
    scene.ran("written", 2).await;
    scene.patch("written", json!({ "suspend": true })).await;
    scene.condition("written", "Ready", "True", "Suspended").await;

    let shown =
        scene.kubectl(&["get", "dlqpolicy", "written", "--show-managed-fields", "--output=json"]).await;
    let policy: Value = serde_json::from_str(&shown).unwrap();
    let managed = policy["metadata"]["managedFields"].as_array().unwrap();
    let ours: Vec<_> = managed.iter().filter(|entry| entry["manager"] == "dlq-operator").collect();
    assert!(!ours.is_empty());
    for entry in &ours {
        assert_eq!(entry["subresource"], "status", "{entry}");
        let fields: BTreeSet<_> = entry["fieldsV1"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, BTreeSet::from(["f:status"]), "{entry}");
    }
    let managers: BTreeSet<_> = managed.iter().filter_map(|entry| entry["manager"].as_str()).collect();
    assert!(
        managers.iter().all(|manager| *manager == "dlq-operator" || manager.starts_with("kubectl")),
        "{managers:?}"
    );
    assert_eq!(policy["metadata"]["annotations"]["a/b"], "c");
    assert!(policy["metadata"]["finalizers"].is_null() && policy["metadata"]["ownerReferences"].is_null());
}
