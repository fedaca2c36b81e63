//! Events that cannot be published harm nothing else.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{CallKind, Entry, Simulator, Trouble, eventually};

use super::reasons;
use crate::api_server_trouble::behind_a_proxy;
use crate::cluster::control_plane;
use crate::scene::{DLQ, PATIENCE, Scene};

fn asked() -> Value {
    json!({ "action": "resume", "filters": { "all": true }, "schedule": "0 0 1 1 *" })
}

/// Three runs that find something, each of which has two events to tell.
async fn three_runs(scene: &Scene) {
    for run in 1..=3 {
        scene.simulator.generate(DLQ, 3, &Entry::default()).await.unwrap();
        scene.annotate("asked", &[("requestedAt", &run.to_string())]).await;
        let status = scene.ran("asked", run).await;
        assert_eq!(status["lastRun"]["processed"], 3, "{status:#}");
    }
}

#[tokio::test]
async fn a_role_that_may_not_publish_events_runs_all_the_same() {
    let control_plane = control_plane().await;
    let home = control_plane.namespace("eventless-home").await.unwrap();
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": "eventless", "namespace": home.name() },
    });
    let role = format!("eventless-{}", home.name());
    let rules = json!([
        {
            "apiGroups": ["dlq-operator.dev"],
            "resources": ["dlqpolicies", "dlqconnections", "clusterdlqconnections"],
            "verbs": ["get", "list", "watch"],
        },
        {
            "apiGroups": ["dlq-operator.dev"],
            "resources": ["dlqpolicies/status", "dlqconnections/status", "clusterdlqconnections/status"],
            "verbs": ["patch"],
        },
        { "apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch"] },
        { "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] },
    ]);
    let rbac = "rbac.authorization.k8s.io";
    let may = json!({
        "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole", "metadata": { "name": role }, "rules": rules,
    });
    let binding = json!({
        "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding", "metadata": { "name": role },
        "roleRef": { "apiGroup": rbac, "kind": "ClusterRole", "name": role },
        "subjects": [{ "kind": "ServiceAccount", "name": "eventless", "namespace": home.name() }],
    });
    for object in [account, may, binding] {
        control_plane.kubectl_apply(&object.to_string()).await.unwrap().ok().unwrap();
    }
    let token = control_plane.service_account_token(home.name(), "eventless").await.unwrap();
    let kubeconfig = control_plane.kubeconfig_for(home.name(), &token).unwrap();
    let simulator = Simulator::start().await.unwrap();
    let scene = Scene::start_on(control_plane, "eventless", simulator, &[], |options| {
        options.kubeconfig = kubeconfig;
    })
    .await;
    scene.apply("asked", asked()).await;
    three_runs(&scene).await;
    eventually(PATIENCE, "the log tells of it", async || {
        scene.operator.log().contains("cannot publish an event")
    })
    .await
    .unwrap();
    assert_eq!(reasons(&scene, "asked").await, Vec::<String>::new());
    for kind in ["clusterrole", "clusterrolebinding"] {
        control_plane.kubectl(&["delete", kind, &role]).await.unwrap().ok().unwrap();
    }
}

#[tokio::test]
async fn events_that_nobody_answers_hold_up_no_run_and_no_stop() {
    let (mut scene, proxy) = behind_a_proxy("unanswered-events", &[]).await;
    scene.apply("asked", asked()).await;
    scene.condition("asked", "Ready", "True", "Scheduled").await;
    proxy.trouble(&[CallKind::WriteEvent], Trouble::Hang);
    let since = Instant::now();
    three_runs(&scene).await;
    // Waited for one after the other, six events would have taken half a minute.
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
    let since = Instant::now();
    assert!(scene.operator.terminate().await.unwrap().success());
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
}
