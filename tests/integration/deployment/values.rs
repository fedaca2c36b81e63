//! Values that change what the operator may do, or which policies it manages.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{Entry, eventually};

use super::from_chart::FromChart;
use super::manifests::{policy, secret};
use super::release::NAME;
use super::rights::may;
use crate::cluster::control_plane;
use crate::scene::{DLQ, PATIENCE, TOKEN, condition};

#[tokio::test]
async fn with_namespaces_to_watch_the_operator_has_no_right_in_any_other() {
    let control_plane = control_plane().await;
    let (team, other) =
        (control_plane.namespace("team").await.unwrap(), control_plane.namespace("other").await.unwrap());
    let values = |home: &str| json!({ "watchNamespaces": [home, team.name()] });
    let scene = FromChart::prepare("watched", values).await.start().await;
    let home = scene.namespace.name();
    scene.simulator.generate(DLQ, 5, &Entry::default()).await.unwrap();
    for (namespace, name) in [(home, "here"), (team.name(), "there"), (other.name(), "untouched")] {
        let policy = policy(namespace, name, scene.simulator.api_url());
        for object in [secret(namespace, "upstash"), policy] {
            control_plane.kubectl_apply(&object.to_string()).await.unwrap().ok().unwrap();
        }
    }
    let runs = async |namespace: &str, name: &str| {
        let runs = "--output=jsonpath={.status.totals.runs}";
        let args = ["get", "dlqpolicy", name, "--namespace", namespace, runs];
        control_plane.kubectl(&args).await.unwrap().ok().unwrap()
    };
    for (namespace, name) in [(home, "here"), (team.name(), "there")] {
        eventually(PATIENCE, &format!("{name} has run"), async || runs(namespace, name).await == "1")
            .await
            .unwrap();
    }
    let conditions = "--output=jsonpath={.status.conditions}";
    let args = ["get", "dlqpolicy", "untouched", "--namespace", other.name(), conditions];
    assert_eq!(
        control_plane.kubectl(&args).await.unwrap().ok().unwrap(),
        "",
        "the operator never looked at it"
    );
    assert_eq!(may(control_plane, (home, NAME), other.name()).await, Vec::<String>::new());
    let bound = "--output=jsonpath={.items[*].subjects[*].namespace}";
    let bound = control_plane.kubectl(&["get", "clusterrolebindings", bound]).await.unwrap().ok().unwrap();
    assert!(!bound.split(' ').any(|namespace| namespace == home), "{bound}");
    if let Some(calls) = control_plane.audited(home, NAME).unwrap() {
        assert!(calls.iter().all(|call| ![401, 403].contains(&call.code)), "{calls:#?}");
    }
}

#[tokio::test]
async fn for_connections_of_the_cluster_the_operator_reads_secrets_where_it_is_told_and_nowhere_else() {
    let control_plane = control_plane().await;
    let (platform, other) =
        (control_plane.namespace("platform").await.unwrap(), control_plane.namespace("other").await.unwrap());
    let connections = json!({ "enabled": true, "secretNamespaces": [platform.name()] });
    let values = json!({ "clusterConnections": connections, "rbac": { "userRoles": false } });
    let scene = FromChart::prepare("lent", |_| values).await.start().await;
    let in_the_cluster = [
        "get dlq-operator.dev/clusterdlqconnections",
        "list /namespaces",
        "list dlq-operator.dev/clusterdlqconnections",
        "patch dlq-operator.dev/clusterdlqconnections/status",
        "watch /namespaces",
        "watch dlq-operator.dev/clusterdlqconnections",
    ];
    let mut in_platform = [&["get /secrets"], &in_the_cluster[..]].concat();
    in_platform.sort_unstable();
    for (namespace, expected) in [(&other, in_the_cluster.to_vec()), (&platform, in_platform)] {
        eventually(PATIENCE, "the API server knows the roles", async || {
            let found = may(control_plane, (scene.namespace.name(), NAME), namespace.name()).await;
            if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn secrets_are_watched_where_that_is_allowed() {
    let values = json!({ "rbac": { "secretAccess": "watch" } });
    let scene = FromChart::prepare("secrets", |_| values).await.start().await;
    scene.kubectl(&["delete", "secret", "upstash"]).await;
    scene.simulator.generate(DLQ, 3, &Entry::default()).await.unwrap();
    let policy = policy(scene.namespace.name(), "resume", scene.simulator.api_url());
    scene.control_plane.kubectl_apply(&policy.to_string()).await.unwrap().ok().unwrap();
    let waits = |status: &Value| condition(status, "Ready")["reason"] == "SecretNotFound";
    scene.status("resume", "it waits for its Secret", waits).await;
    let since = Instant::now();
    scene.apply_secret("upstash", "token", TOKEN).await;
    assert_eq!(scene.ran("resume", 1).await["lastRun"]["processed"], 3);
    // Otherwise it would have looked again after a minute.
    assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
    let calls = async || scene.control_plane.audited(scene.namespace.name(), NAME).unwrap();
    if calls().await.is_none() {
        return;
    }
    eventually(PATIENCE, "each right to Secrets is used", async || {
        let calls = calls().await.unwrap_or_default();
        let used = |verb: &str| calls.iter().any(|call| call.resource == "secrets" && call.verb == verb);
        ["get", "list", "watch"].into_iter().find(|verb| !used(verb)).map_or(Ok(()), Err)
    })
    .await
    .unwrap();
    let calls = calls().await.unwrap_or_default();
    assert!(calls.iter().all(|call| call.code != 403), "{calls:#?}");
}
