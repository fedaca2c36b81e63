//! A cluster with the definition of policies alone, as an upgrade of the operator before that of its definitions leaves it.

use std::fs;

use serde_json::json;
use testbed::{ControlPlane, Entry, ScratchDir, Simulator};

use crate::generated_files::{definition, definitions};
use crate::scene::{DLQ, Scene, condition};

async fn install(control_plane: &ControlPlane, definitions: &[String]) {
    let dir = ScratchDir::create("definitions").unwrap();
    let path = dir.path().join("crds.yaml");
    fs::write(&path, definitions.join("\n---\n")).unwrap();
    control_plane.install_crd(&path).await.unwrap();
}

#[tokio::test]
async fn without_the_definitions_of_connections_policies_run_and_find_a_connection_once_they_come() {
    let control_plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start().await.unwrap()));
    install(control_plane, &[definition()]).await;
    // The operator is ready, or this would fail.
    let simulator = Simulator::start().await.unwrap();
    let scene = Scene::start_on(control_plane, "policies-alone", simulator, &[], |_| ()).await;
    scene.simulator.generate(DLQ, 3, &Entry::default()).await.unwrap();
    scene.apply("own", json!({ "action": "resume", "filters": { "all": true } })).await;
    assert_eq!(scene.ran("own", 1).await["lastRun"]["processed"], 3);

    let sharing = |kind: &str| {
        json!({
            "action": "resume", "filters": { "all": true }, "connection": { "kind": kind, "name": "production" },
        })
    };
    for (name, kind) in [("sharing", "DlqConnection"), ("cluster-wide", "ClusterDlqConnection")] {
        scene.apply(name, sharing(kind)).await;
        let status = scene.condition(name, "Ready", "False", "ConnectionNotFound").await;
        let ready = condition(&status, "Ready");
        let message = ready["message"].as_str().unwrap();
        let missing = format!("the definition of {kind} is not installed");
        assert!(message.contains(&missing), "{message}");
        let lines = scene.operator.log().lines().filter(|line| line.contains(&missing)).count();
        assert!(lines > 0, "the log says it too");
    }

    install(control_plane, &definitions().map(|(_, text)| text)).await;
    let connection = json!({
        "apiVersion": "dlq-operator.dev/v1alpha1",
        "kind": "DlqConnection",
        "metadata": { "name": "production", "namespace": scene.namespace.name() },
        "spec": { "tokenSecretRef": { "name": "upstash" } },
    });
    scene.simulator.generate(DLQ, 2, &Entry::default()).await.unwrap();
    control_plane.kubectl_apply(&connection.to_string()).await.unwrap().ok().unwrap();
    assert_eq!(scene.ran("sharing", 1).await["lastRun"]["processed"], 2);
    scene
        .status("cluster-wide", "the definition is known to be there", |status| {
            let ready = condition(status, "Ready");
            ready["message"].as_str().is_some_and(|message| message.contains("production does not exist"))
        })
        .await;
}
