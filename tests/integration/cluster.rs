//! The control plane that all tests of this binary share, with the definition installed.

use std::path::Path;

use dlq_crd::DlqPolicy;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Resource as _};
use serde_json::{Value, json};
use testbed::{ControlPlane, Namespace, Node, ScratchDir};
use tokio::sync::OnceCell;

use crate::generated_files::definition;

/// The control plane, with the definition as the types render it now: whether the committed file says the same is a
/// test of its own.
pub(crate) async fn control_plane() -> &'static ControlPlane {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let control_plane = ControlPlane::shared().await.unwrap();
    INSTALLED.get_or_init(async || install(control_plane).await).await;
    control_plane
}

/// One that a test may stop parts of. Like the shared one it is stopped when this process ends.
pub(crate) async fn own_control_plane() -> &'static ControlPlane {
    let control_plane = Box::leak(Box::new(ControlPlane::start().await.unwrap()));
    install(control_plane).await;
    control_plane
}

/// The node that all tests of this binary share, with the definition installed.
pub(crate) async fn node() -> &'static Node {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let node = Node::shared().await.unwrap();
    INSTALLED.get_or_init(async || install(node.control_plane()).await).await;
    node
}

async fn install(control_plane: &ControlPlane) {
    let dir = ScratchDir::create("definition").unwrap();
    let path = dir.path().join("dlqpolicies.yaml");
    std::fs::write(&path, definition()).unwrap();
    control_plane.install_crd(&path).await.unwrap();
}

/// A client of one test's own: it must not outlive that test's runtime.
pub(crate) async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

/// Asks the API server whether it would take objects, as `kubectl create --dry-run=server --validate=strict` does.
pub(crate) struct Judge {
    client: Client,
    namespace: Namespace,
}

/// Why the API server refuses an object.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) message: String,
    /// Field and message of each thing that is wrong. Empty when the object could not be read.
    pub(crate) causes: Vec<(String, String)>,
}

impl Judge {
    pub(crate) async fn new() -> Self {
        let control_plane = control_plane().await;
        let client = client(control_plane.kubeconfig()).await;
        Self { client, namespace: control_plane.namespace("judge").await.unwrap() }
    }

    /// What would be stored, defaults filled in.
    pub(crate) async fn judge(&self, manifest: &Value) -> Result<Value, Refusal> {
        let mut object = manifest.clone();
        object["apiVersion"] = DlqPolicy::api_version(&()).into();
        object["kind"] = DlqPolicy::kind(&()).into();
        if object["metadata"].is_null() {
            object["metadata"] = json!({ "name": "judged" });
        }
        object["metadata"]["namespace"] = self.namespace.name().into();
        let path = DlqPolicy::url_path(&(), Some(self.namespace.name()));
        let request = http::Request::post(format!("{path}?dryRun=All&fieldValidation=Strict"))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(serde_json::to_vec(&object).unwrap())
            .unwrap();
        match self.client.request(request).await {
            Ok(stored) => Ok(stored),
            Err(kube::Error::Api(status)) => {
                let causes = status.details.map(|details| details.causes).unwrap_or_default();
                let causes = causes.into_iter().map(|cause| (cause.field, cause.message)).collect();
                Err(Refusal { message: status.message, causes })
            }
            Err(error) => panic!("the API server cannot be asked: {error}"),
        }
    }
}
