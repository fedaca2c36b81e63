//! The control plane that all tests of this binary share, with the definitions installed.

use std::path::Path;

use dlq_crd::{ClusterDlqConnection, DlqConnection, DlqPolicy};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Resource as _};
use serde_json::{Value, json};
use testbed::{ControlPlane, Namespace, Node, ScratchDir};
use tokio::sync::OnceCell;

use crate::generated_files::definitions;

/// The control plane, with the definitions as the types render them now: whether the committed files say the same is a
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

/// The node that all tests of this binary share, with the definitions installed.
pub(crate) async fn node() -> &'static Node {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let node = Node::shared().await.unwrap();
    INSTALLED.get_or_init(async || install(node.control_plane()).await).await;
    node
}

async fn install(control_plane: &ControlPlane) {
    let dir = ScratchDir::create("definitions").unwrap();
    let path = dir.path().join("crds.yaml");
    std::fs::write(&path, definitions().map(|(_, text)| text).join("---\n")).unwrap();
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

/// Reads an object as the operator would; `Err` says why it cannot.
pub(crate) fn decoded(kind: &str, object: Value) -> Result<(), String> {
    let read = match kind {
        "DlqPolicy" => serde_json::from_value::<DlqPolicy>(object).map(drop),
        "DlqConnection" => serde_json::from_value::<DlqConnection>(object).map(drop),
        "ClusterDlqConnection" => serde_json::from_value::<ClusterDlqConnection>(object).map(drop),
        other => return Err(format!("no resource of ours: {other}")),
    };
    read.map_err(|error| error.to_string())
}

impl Judge {
    pub(crate) async fn new() -> Self {
        let control_plane = control_plane().await;
        let client = client(control_plane.kubeconfig()).await;
        Self { client, namespace: control_plane.namespace("judge").await.unwrap() }
    }

    /// What would be stored, defaults filled in. A manifest that does not say its kind is a policy's.
    pub(crate) async fn judge(&self, manifest: &Value) -> Result<Value, Refusal> {
        let mut object = manifest.clone();
        object["apiVersion"] = DlqPolicy::api_version(&()).into();
        let kind = object["kind"].as_str().unwrap_or("DlqPolicy").to_owned();
        object["kind"] = kind.as_str().into();
        if object["metadata"].is_null() {
            object["metadata"] = json!({ "name": "judged" });
        }
        let namespace = (kind != "ClusterDlqConnection").then_some(self.namespace.name());
        if let Some(namespace) = namespace {
            object["metadata"]["namespace"] = namespace.into();
        }
        let path = match kind.as_str() {
            "DlqPolicy" => DlqPolicy::url_path(&(), namespace),
            "DlqConnection" => DlqConnection::url_path(&(), namespace),
            "ClusterDlqConnection" => ClusterDlqConnection::url_path(&(), namespace),
            other => panic!("no resource of ours: {other}"),
        };
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
