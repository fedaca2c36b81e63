//! Values that change what the operator may do, or whom it serves.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{AuditedCall, eventually};

use super::release::{NAME, Release};
use crate::scene::{PATIENCE, condition};

#[tokio::test]
async fn with_namespaces_to_watch_the_operator_has_no_right_in_any_other() {
    let Some(release) = Release::beside_others("watched").await else { return };
    let (home, other) = (release.namespace.name(), release.control_plane.namespace("other").await.unwrap());
    let team = release.control_plane.namespace("team").await.unwrap();
    release.secret(other.name(), "upstash").await;
    release.apply(&release.policy(other.name(), "untouched")).await;
    release.install(json!({ "watchNamespaces": [home, team.name()] })).await;
    release.drains(home, "here", 3).await;
    release.drains(team.name(), "there", 2).await;
    let untouched = &release.read(other.name(), "untouched").await["status"];
    assert_eq!(untouched["conditions"], json!(null), "{untouched:#}");
    assert_eq!(release.may(NAME, other.name()).await, Vec::<String>::new());
    let bound = "--output=jsonpath={.items[*].subjects[*].namespace}";
    let bound =
        release.control_plane.kubectl(&["get", "clusterrolebindings", bound]).await.unwrap().ok().unwrap();
    assert!(!bound.split(' ').any(|namespace| namespace == home), "{bound}");
    let calls = release.control_plane.audited(home, NAME).unwrap();
    assert!(calls.iter().all(|call| ![401, 403].contains(&call.code)), "{calls:#?}");
}

#[tokio::test]
async fn policies_without_a_connection_use_that_of_the_release() {
    let Some(release) = Release::beside_others("connected").await else { return };
    let home = release.namespace.name();
    release.secret(home, "account").await;
    let connection = json!({ "url": release.simulator.api_url(), "existingSecret": "account" });
    release.install(json!({ "defaultConnection": connection })).await;
    release.fill(3).await;
    let mut policy = release.policy(home, "default");
    policy["spec"].as_object_mut().unwrap().remove("connection");
    release.apply(&policy).await;
    assert_eq!(release.ran(home, "default", 1).await["processed"], 3);
    let read = |call: &&AuditedCall| call.resource == "secrets";
    let calls = release.control_plane.audited(home, NAME).unwrap();
    assert_eq!(calls.iter().find(read), None, "the kubelet has given it the token");
}

#[tokio::test]
async fn a_pod_waits_for_the_secret_of_the_releases_connection() {
    let Some(release) = Release::beside_others("awaited").await else { return };
    let home = release.namespace.name();
    for object in release.rendered(json!({ "defaultConnection": { "existingSecret": "account" } })).await {
        release.apply(&object).await;
    }
    eventually(PATIENCE, "the pod says what it waits for", async || {
        release.node.pods().iter().any(|pod| pod.problem.as_deref() == Some("there is no Secret account"))
    })
    .await
    .unwrap();
    release.secret(home, "account").await;
    release.kubectl(&["rollout", "status", "deployment", NAME, "--timeout=60s"]).await;
}

#[tokio::test]
async fn secrets_are_watched_where_that_is_allowed() {
    let Some(release) = Release::beside_others("secrets").await else { return };
    let home = release.namespace.name();
    release.install(json!({ "rbac": { "secretAccess": "watch" } })).await;
    release.fill(3).await;
    release.apply(&release.policy(home, "resume")).await;
    let waits = |status: &Value| condition(status, "Ready")["reason"] == "SecretNotFound";
    release.when(home, "resume", "it waits for its Secret", waits).await;
    let since = Instant::now();
    release.secret(home, "upstash").await;
    assert_eq!(release.ran(home, "resume", 1).await["processed"], 3);
    // Otherwise it would have looked again after a minute.
    assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
    eventually(PATIENCE, "each right to Secrets is used", async || {
        let calls = release.control_plane.audited(home, NAME).unwrap();
        let used = |verb: &str| calls.iter().any(|call| call.resource == "secrets" && call.verb == verb);
        ["get", "list", "watch"].into_iter().find(|verb| !used(verb)).map_or(Ok(()), Err)
    })
    .await
    .unwrap();
    let calls = release.control_plane.audited(home, NAME).unwrap();
    assert!(calls.iter().all(|call| call.code != 403), "{calls:#?}");
}
