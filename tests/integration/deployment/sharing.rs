//! A connection of each kind with a policy that names it, which make an operator use all that it may do with connections.

use std::time::Duration;

use dlq_crd::{ClusterDlqConnection, DlqConnection};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use testbed::{ControlPlane, Entry, Simulator};
use tokio::task::JoinHandle;

use super::manifests::{policy, secret};
use crate::cluster::client;

/// The policies, each with a DLQ of its name.
pub(super) const OWN: &str = "own";
pub(super) const SHARED: &str = "shared";
/// How many entries each has. The day's limit makes each of them a write of the connection's status.
const ENTRIES: usize = 60;
/// How often each connection is edited meanwhile.
const EDITED: Duration = Duration::from_millis(10);
/// After how many of these edits one connection becomes usable or no longer is.
const FLIPPED_AFTER: u64 = 100;

/// The cluster-wide connection of a team that is alternately usable and unusable.
pub(super) fn flips(team: &str) -> String {
    format!("{team}-flips")
}

/// The objects of one team: connections, and policies that name them. The cluster-wide connection has the name of the team's
/// namespace.
pub(super) struct Sharing {
    control_plane: &'static ControlPlane,
    team: String,
    /// Where the Secret of the cluster-wide connection is.
    home: String,
    /// Edits of the connections, so that the operator's writes of their statuses meet some.
    edits: Option<JoinHandle<()>>,
    /// What else is not in the team's namespace and goes with it, as arguments of `kubectl delete`.
    cluster_scoped: Vec<Vec<String>>,
}

fn token(name: &str) -> String {
    format!("token-of-{name}-4d2e")
}

impl Sharing {
    pub(super) async fn prepare(
        control_plane: &'static ControlPlane,
        simulator: &Simulator,
        (home, team): (&str, &str),
    ) -> Self {
        for name in [OWN, SHARED] {
            simulator.allow(&token(name), name).await.unwrap();
            simulator.generate(name, ENTRIES, &Entry::default()).await.unwrap();
        }
        let (home, team) = (home.to_owned(), team.to_owned());
        let cluster_scoped =
            [team.clone(), flips(&team)].map(|name| vec!["clusterdlqconnection".to_owned(), name]);
        let cluster_scoped = cluster_scoped.into();
        Self { control_plane, team, home, edits: None, cluster_scoped }
    }

    /// Deletes those of these objects too, in the end, that are cluster-wide or in the namespace `default`.
    pub(super) fn deletes(&mut self, objects: &[Value]) {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        for object in objects {
            let namespace = object["metadata"]["namespace"].as_str();
            if namespace.is_none_or(|namespace| namespace == "default") {
                let mut arguments = vec![text(&object["kind"]), text(&object["metadata"]["name"])];
                arguments.extend(namespace.map(|namespace| format!("--namespace={namespace}")));
                self.cluster_scoped.push(arguments);
            }
        }
    }

    pub(super) fn objects(&self, api_url: &str) -> Vec<Value> {
        let named = |place: &str, name: &str| {
            let mut secret = secret(place, name);
            secret["stringData"]["token"] = token(name).into();
            secret
        };
        let sharing = |name: &str, connection: Value| {
            let mut policy = policy(&self.team, name, api_url);
            policy["spec"]["connection"] = connection;
            policy["spec"]["limits"] = json!({ "pageSize": 1 });
            policy
        };
        let limits = json!({ "maxEntriesPerDay": ENTRIES + 30 });
        vec![
            named(&self.team, OWN),
            named(&self.home, SHARED),
            json!({
                "apiVersion": "dlq-operator.dev/v1alpha1", "kind": "DlqConnection",
                "metadata": { "name": OWN, "namespace": self.team },
                "spec": { "url": api_url, "tokenSecretRef": { "name": OWN }, "limits": limits },
            }),
            json!({
                "apiVersion": "dlq-operator.dev/v1alpha1", "kind": "ClusterDlqConnection",
                "metadata": { "name": self.team },
                "spec": {
                    "url": api_url, "tokenSecretRef": { "namespace": self.home, "name": SHARED }, "limits": limits,
                    "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": self.team } },
                },
            }),
            self.flipping(&json!({ "url": api_url })),
            {
                let mut policy =
                    sharing("flips", json!({ "kind": "ClusterDlqConnection", "name": flips(&self.team) }));
                policy["spec"]["suspend"] = true.into();
                policy
            },
            sharing(OWN, json!({ "name": OWN })),
            sharing(SHARED, json!({ "kind": "ClusterDlqConnection", "name": self.team })),
        ]
    }

    fn flipping(&self, fields: &Value) -> Value {
        let mut spec = json!({
            "tokenSecretRef": { "namespace": self.home, "name": SHARED },
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": self.team } },
        });
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({
            "apiVersion": "dlq-operator.dev/v1alpha1", "kind": "ClusterDlqConnection",
            "metadata": { "name": flips(&self.team) }, "spec": spec,
        })
    }

    /// Edits the connections from now on. The operator notices each edit a moment late; a write of a status that comes before
    /// that is refused, and the connection is read.
    pub(super) async fn edit(&mut self, api_url: &str) {
        let client = client(self.control_plane.kubeconfig()).await;
        let own = ApiResource::erase::<DlqConnection>(&());
        let own = Api::<DynamicObject>::namespaced_with(client.clone(), &self.team, &own);
        let shared = Api::<DynamicObject>::all_with(client, &ApiResource::erase::<ClusterDlqConnection>(&()));
        let (team, flips, api_url) = (self.team.clone(), flips(&self.team), api_url.to_owned());
        self.edits = Some(tokio::spawn(async move {
            for number in 0_u64.. {
                let note =
                    json!({ "metadata": { "annotations": { "example.com/note": number.to_string() } } });
                for (api, name) in [(&own, OWN), (&shared, team.as_str())] {
                    // It is gone at the end of a test.
                    let _ = api.patch(name, &PatchParams::default(), &Patch::Merge(&note)).await;
                }
                if number % FLIPPED_AFTER == 0 {
                    let is_allowed = number % (2 * FLIPPED_AFTER) == 0;
                    let url = if is_allowed { &api_url } else { "https://not-allowed.example" };
                    let url = Patch::Merge(json!({ "spec": { "url": url } }));
                    let _ = shared.patch(&flips, &PatchParams::default(), &url).await;
                }
                tokio::time::sleep(EDITED).await;
            }
        }));
    }
}

impl Drop for Sharing {
    fn drop(&mut self) {
        if let Some(edits) = &self.edits {
            edits.abort();
        }
        for object in &self.cluster_scoped {
            let gone = std::process::Command::new(self.control_plane.kubectl_binary())
                .arg("delete")
                .args(object)
                .args(["--wait=false", "--ignore-not-found", "--kubeconfig"])
                .arg(self.control_plane.kubeconfig())
                .output()
                .unwrap();
            let error = String::from_utf8_lossy(&gone.stderr);
            assert!(gone.status.success() || std::thread::panicking(), "{error}");
        }
    }
}
