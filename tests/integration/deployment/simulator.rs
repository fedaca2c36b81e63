//! The simulated Upstash as a pod: that of `examples/simulator`, with an empty queue.

use serde_json::{Value, json};
use testbed::{ControlPlane, Simulator, workspace_root};

/// Starts one in a namespace, and waits until it can be used.
pub(super) async fn start_simulator(control_plane: &ControlPlane, namespace: &str) -> Simulator {
    let yaml = std::fs::read_to_string(workspace_root().join("examples/simulator/simulator.yaml")).unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&yaml).unwrap();
    for mut object in objects {
        match object["kind"].as_str().unwrap() {
            "Namespace" | "Secret" => continue,
            "ConfigMap" => object["data"] = json!({ "seed.json": "{}" }),
            _ => {}
        }
        object["metadata"]["namespace"] = json!(namespace);
        control_plane.kubectl_apply(&object.to_string()).await.unwrap().ok().unwrap();
    }
    let rollout =
        ["rollout", "status", "deployment/dlq-simulator", "--namespace", namespace, "--timeout=60s"];
    control_plane.kubectl(&rollout).await.unwrap().ok().unwrap();
    Simulator::in_cluster(control_plane, namespace).await.unwrap()
}
