//! The operator as a process under the `ServiceAccount`, flags and environment that the chart gives its pods: for what the API
//! server alone decides, without a node.

use serde_json::{Value, json};
use testbed::{Namespace, Operator, OperatorOptions, Simulator};

use super::release::{NAME, merge};
use crate::chart::rendered_as;
use crate::cluster::control_plane;
use crate::scene::{DLQ, Scene, TOKEN};

/// The objects of a release in a namespace that manages that namespace alone, with these values on top.
pub(super) async fn objects(namespace: &str, api_url: &str, more: &Value) -> Vec<Value> {
    let mut values = json!({
        "watchNamespaces": [namespace],
        // The definition is there.
        "crds": { "enabled": false },
        "config": { "allowedUrls": [api_url] },
    });
    merge(&mut values, more);
    rendered_as(NAME, namespace, &values).await.unwrap()
}

/// The chart's objects for a namespace of its own, with a simulator: nothing of it is applied yet.
pub(super) struct FromChart {
    pub(super) namespace: Namespace,
    pub(super) simulator: Simulator,
    pub(super) objects: Vec<Value>,
}

impl FromChart {
    /// With values that may depend on the namespace.
    pub(super) async fn prepare(name: &str, values: impl FnOnce(&str) -> Value) -> Self {
        let namespace = control_plane().await.namespace(name).await.unwrap();
        let simulator = Simulator::start().await.unwrap();
        simulator.allow(TOKEN, DLQ).await.unwrap();
        let objects = objects(namespace.name(), simulator.api_url(), &values(namespace.name())).await;
        Self { namespace, simulator, objects }
    }

    /// Applies the objects, and starts an operator as the Deployment would. It may never be ready.
    pub(super) async fn start(self) -> Scene {
        let Self { namespace, simulator, objects } = self;
        let (control_plane, home) = (control_plane().await, namespace.name());
        let is_applied = |object: &&Value| !["Deployment", "Pod"].contains(&object["kind"].as_str().unwrap());
        let items: Vec<_> = objects.iter().filter(is_applied).collect();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        control_plane.kubectl_apply(&list.to_string()).await.unwrap().ok().unwrap();

        let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
        let pod = &deployment["spec"]["template"]["spec"];
        let account = pod["serviceAccountName"].as_str().unwrap();
        let token = control_plane.service_account_token(home, account).await.unwrap();
        let mut options = OperatorOptions::new(control_plane, &simulator, home);
        options.kubeconfig = control_plane.kubeconfig_for(home, &token).unwrap();
        // The flags say which.
        options.namespaces = Vec::new();
        options.args = args(&pod["containers"][0]);
        options.env = environment(&pod["containers"][0], home);
        let operator = Operator::start_alive(options).await.unwrap();
        let scene = Scene { operator, control_plane, namespace, simulator };
        scene.apply_secret("upstash", "token", TOKEN).await;
        scene
    }
}

/// The flags of the container. Where it listens, on a machine of many, the testbed says.
fn args(container: &Value) -> Vec<String> {
    let args = container["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap().to_owned());
    args.filter(|arg| !arg.starts_with("--admin-address=")).collect()
}

fn environment(container: &Value, namespace: &str) -> Vec<(String, String)> {
    let variable = |variable: &Value| {
        let field = &variable["valueFrom"]["fieldRef"]["fieldPath"];
        let value = match field.as_str() {
            Some("metadata.name") => "dlq-operator-0",
            Some("metadata.namespace") => namespace,
            _ => variable["value"].as_str().unwrap_or_else(|| panic!("a kubelet has to read {variable}")),
        };
        (variable["name"].as_str().unwrap().to_owned(), value.to_owned())
    };
    container["env"].as_array().unwrap().iter().map(variable).collect()
}
