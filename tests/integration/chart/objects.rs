//! What the chart renders, judged by the API server.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testbed::{ControlPlane, ScratchDir};
use tokio::process::Command;

use super::{everything, rendered_as, the};
use crate::cluster::control_plane;

/// Where the definitions of the Prometheus Operator are, and what the module's content must be.
const PROMETHEUS_OPERATOR: &str = "github.com/prometheus-operator/prometheus-operator@v0.85.0";
const PROMETHEUS_OPERATOR_SUM: &str = "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=";

/// Asks the API server whether it would take objects, with every field known to it.
async fn judged(control_plane: &ControlPlane, objects: &[Value]) -> Result<String, String> {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string();
    let dir = ScratchDir::create("objects").unwrap();
    let file = dir.path().join("objects.json");
    std::fs::write(&file, list).unwrap();
    let apply = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"];
    let args = [&apply[..], &["--filename", file.to_str().unwrap()]].concat();
    control_plane.kubectl(&args).await.unwrap().ok().map_err(|error| error.to_string())
}

/// `everything`, with the namespaces that are there.
fn everything_in(namespace: &str) -> Value {
    let mut values = everything();
    values["watchNamespaces"] = json!([namespace]);
    values["leaderElection"]["leaseNamespace"] = json!(namespace);
    values["clusterConnections"]["secretNamespaces"] = json!(["default"]);
    for object in values["extraObjects"].as_array_mut().unwrap() {
        if object.is_object() {
            object["metadata"]["namespace"] = json!(namespace);
        } else {
            *object = json!(format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: t, namespace: {namespace} }}"
            ));
        }
    }
    values
}

#[tokio::test]
async fn the_api_server_takes_every_object() {
    let control_plane = control_plane().await;
    install_monitors(control_plane).await;
    let namespace = control_plane.namespace("objects").await.unwrap();
    let recreated = json!({ "strategy": { "type": "Recreate" } });
    for values in [json!({}), recreated, everything_in(namespace.name())] {
        let objects = rendered_as("judged", namespace.name(), &values).await.unwrap();
        let said = judged(control_plane, &objects).await.unwrap_or_else(|error| panic!("{values}: {error}"));
        assert_eq!(said.lines().count(), objects.len(), "{said}");
    }
}

#[tokio::test]
async fn an_object_with_an_unknown_field_is_refused() {
    let control_plane = control_plane().await;
    install_monitors(control_plane).await;
    let namespace = control_plane.namespace("objects").await.unwrap();
    let objects = rendered_as("judged", namespace.name(), &everything_in(namespace.name())).await.unwrap();
    for kind in ["Deployment", "ServiceMonitor", "PodMonitor", "PrometheusRule"] {
        let mut object = the(&objects, kind).clone();
        object["spec"]["tpyo"] = json!(1);
        assert!(judged(control_plane, &[object]).await.unwrap_err().contains("tpyo"), "{kind}");
    }
}

/// The definitions of what the Prometheus Operator reads, from its Go module.
async fn install_monitors(control_plane: &ControlPlane) {
    let folder = monitors().await;
    for kind in ["podmonitors", "prometheusrules", "servicemonitors"] {
        let file = folder.join(format!("monitoring.coreos.com_{kind}.yaml"));
        control_plane.install_crd(&file).await.unwrap();
    }
}

async fn monitors() -> PathBuf {
    let dir = ScratchDir::create("module").unwrap();
    let output = Command::new("go")
        .args(["mod", "download", "-json", PROMETHEUS_OPERATOR])
        .env("GOWORK", "off")
        // No module of ours is to note it.
        .current_dir(dir.path())
        .output()
        .await
        .expect("Go is needed for the definitions of the Prometheus Operator");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let module: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(module["Sum"], PROMETHEUS_OPERATOR_SUM);
    Path::new(module["Dir"].as_str().unwrap()).join("example/prometheus-operator-crd")
}

/// Whether a pod like those of a template may be made in a namespace.
async fn admitted(control_plane: &ControlPlane, namespace: &str, pod: &Value) -> Result<String, String> {
    let mut pod =
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": pod["metadata"], "spec": pod["spec"] });
    pod["metadata"]["namespace"] = json!(namespace);
    pod["metadata"]["name"] = json!("judged");
    let dir = ScratchDir::create("pod").unwrap();
    let file = dir.path().join("pod.json");
    std::fs::write(&file, pod.to_string()).unwrap();
    let args = ["create", "--dry-run=server", "--filename", file.to_str().unwrap()];
    control_plane.kubectl(&args).await.unwrap().ok().map_err(|error| error.to_string())
}

#[tokio::test]
async fn the_pods_are_admitted_where_pod_security_is_restricted() {
    let control_plane = control_plane().await;
    let namespace = control_plane.namespace("restricted").await.unwrap();
    let label = "pod-security.kubernetes.io/enforce=restricted";
    control_plane.kubectl(&["label", "namespace", namespace.name(), label]).await.unwrap().ok().unwrap();
    for values in [json!({}), everything()] {
        let objects = rendered_as("judged", namespace.name(), &values).await.unwrap();
        let template = &the(&objects, "Deployment")["spec"]["template"];
        for pod in [template, the(&objects, "Pod")] {
            // Priority classes of the system are for system namespaces only.
            let mut pod = pod.clone();
            pod["spec"].as_object_mut().unwrap().remove("priorityClassName");
            admitted(control_plane, namespace.name(), &pod).await.unwrap();
        }
    }
    let loose = json!({ "securityContext": { "allowPrivilegeEscalation": null } });
    let objects = rendered_as("judged", namespace.name(), &loose).await.unwrap();
    let template = &the(&objects, "Deployment")["spec"]["template"];
    let refusal = admitted(control_plane, namespace.name(), template).await.unwrap_err();
    assert!(refusal.contains("violates PodSecurity"), "{refusal}");
}
