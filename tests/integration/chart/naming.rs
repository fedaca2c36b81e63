//! Names and labels: releases do not meet, and nothing that cannot be changed changes.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{everything, rendered, rendered_as, the};

/// What tells objects apart.
fn identities(objects: &[Value]) -> BTreeSet<[String; 3]> {
    objects
        .iter()
        .map(|object| {
            let metadata = &object["metadata"];
            [&object["kind"], &metadata["namespace"], &metadata["name"]].map(ToString::to_string)
        })
        .collect()
}

#[tokio::test]
async fn releases_of_the_same_name_in_two_namespaces_share_only_the_definitions() {
    let with_a_role = json!({
        "watchNamespaces": ["payments"],
        "clusterConnections": { "enabled": true, "secretNamespaces": ["platform"] },
    });
    for values in [json!({}), json!({ "watchNamespaces": ["payments"] }), with_a_role] {
        let one = identities(&rendered_as("dlq-operator", "one", &values).await.unwrap());
        let two = identities(&rendered_as("dlq-operator", "two", &values).await.unwrap());
        let shared: Vec<_> = one.intersection(&two).collect();
        assert_eq!(shared.len(), 3, "{shared:?}");
        assert!(shared.iter().all(|[kind, ..]| kind.contains("CustomResourceDefinition")), "{shared:?}");
    }
}

#[tokio::test]
async fn two_releases_in_one_namespace_share_only_the_definitions() {
    let one = identities(&rendered_as("a", "one", &json!({})).await.unwrap());
    let two = identities(&rendered_as("b", "one", &json!({})).await.unwrap());
    assert_eq!(one.intersection(&two).count(), 3);
}

#[tokio::test]
async fn a_selector_never_changes_and_pods_keep_its_labels() {
    let selector = |objects: &[Value]| the(objects, "Deployment")["spec"]["selector"]["matchLabels"].clone();
    let plain = selector(&rendered(&json!({})).await.unwrap());
    let fixed = json!({
        "app.kubernetes.io/name": "dlq-operator",
        "app.kubernetes.io/instance": "dlq-operator",
    });
    assert_eq!(plain, fixed);
    let mut values = everything();
    let hostile = json!({ "app.kubernetes.io/name": "x", "app.kubernetes.io/instance": "y", "mine": "z" });
    for field in ["commonLabels", "podLabels"] {
        values[field] = hostile.clone();
    }
    let objects = rendered(&values).await.unwrap();
    assert_eq!(selector(&objects), fixed);
    let labels = &the(&objects, "Deployment")["spec"]["template"]["metadata"]["labels"];
    for (name, value) in fixed.as_object().unwrap() {
        assert_eq!(labels[name], *value);
    }
    assert_eq!(labels["mine"], "z");
}

#[tokio::test]
async fn pods_are_not_replaced_for_a_new_version_of_the_chart_alone() {
    let objects = rendered(&json!({})).await.unwrap();
    let labels = &the(&objects, "Deployment")["spec"]["template"]["metadata"]["labels"];
    assert!(labels["helm.sh/chart"].is_null() && labels["app.kubernetes.io/version"].is_null(), "{labels}");
}

#[tokio::test]
async fn every_object_has_the_recommended_labels_and_the_common_ones() {
    let objects = rendered(&everything()).await.unwrap();
    assert!(objects.len() > 15, "only {} objects", objects.len());
    // Those of `extraObjects` are the user's.
    let ours = objects.iter().filter(|object| {
        object["kind"] != "ConfigMap" || object["metadata"]["name"] == "dlq-operator-dashboard"
    });
    for object in ours {
        let labels = &object["metadata"]["labels"];
        for name in ["name", "instance", "version", "part-of", "managed-by"] {
            let label = format!("app.kubernetes.io/{name}");
            assert!(
                labels[&label].is_string(),
                "{} {} has no {label}",
                object["kind"],
                object["metadata"]["name"]
            );
        }
        assert_eq!(labels["owner"], "platform", "{} {}", object["kind"], object["metadata"]["name"]);
        assert!(labels["helm.sh/chart"].as_str().unwrap().starts_with("dlq-operator-"));
    }
}

#[tokio::test]
async fn every_object_says_its_namespace() {
    const CLUSTER_WIDE: [&str; 3] = ["CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"];
    let mut values = everything();
    values.as_object_mut().unwrap().remove("extraObjects");
    for values in [json!({}), values] {
        for object in rendered(&values).await.unwrap() {
            let kind = object["kind"].as_str().unwrap();
            let says = object["metadata"]["namespace"].is_string();
            assert_eq!(says, !CLUSTER_WIDE.contains(&kind), "{kind} {}", object["metadata"]["name"]);
        }
    }
}

#[tokio::test]
async fn names_follow_the_release_and_can_be_replaced() {
    let name = async |release: &str, values: Value| {
        let objects = rendered_as(release, "n", &values).await.unwrap();
        the(&objects, "Deployment")["metadata"]["name"].as_str().unwrap().to_owned()
    };
    assert_eq!(name("dlq-operator", json!({})).await, "dlq-operator");
    assert_eq!(name("live", json!({})).await, "live-dlq-operator");
    assert_eq!(name("live", json!({ "nameOverride": "queue" })).await, "live-queue");
    assert_eq!(name("live", json!({ "fullnameOverride": "queue" })).await, "queue");
}

#[tokio::test]
async fn the_longest_name_of_a_release_leaves_room_for_every_suffix() {
    let release = "r".repeat(53);
    let objects = rendered_as(&release, &"n".repeat(63), &everything()).await.unwrap();
    for object in objects {
        let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
        // Names of RBAC are parts of a path, and may be longer.
        if !kind.contains("Role") {
            assert!(name.len() <= 63, "{kind} {name}");
        }
        for label in object["metadata"]["labels"].as_object().into_iter().flatten() {
            assert!(label.1.as_str().unwrap().len() <= 63, "{kind} {name}: {label:?}");
        }
    }
}
