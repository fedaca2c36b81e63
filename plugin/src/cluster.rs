//! Policies in a cluster, read with the person's own kubeconfig.

use clap::Args;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;

use crate::outcome::Problem;
use dlq_crd::{ClusterDlqConnection, ConnectionKind, DlqConnection, DlqPolicy};
use dlq_policy::ConnectionName;
use dlq_upstash::error::with_causes;

/// Which cluster, and which namespace.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArgs {
    /// The namespace of the policy; without it, the context's own
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// The context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

/// Objects of one kind, as the person may read them.
pub struct Cluster {
    client: Client,
    namespace: String,
}

impl ClusterArgs {
    /// The cluster that the kubeconfig names.
    ///
    /// # Errors
    /// The kubeconfig cannot be read or used.
    pub async fn connect(&self) -> Result<Cluster, Problem> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let kubeconfig =
            Kubeconfig::read().map_err(|error| failed("the kubeconfig cannot be read", &error))?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let config = config.map_err(|error| failed("the kubeconfig cannot be used", &error))?;
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client =
            Client::try_from(config).map_err(|error| failed("the cluster cannot be reached", &error))?;
        Ok(Cluster { client, namespace })
    }
}

impl Cluster {
    /// Reads a policy.
    ///
    /// # Errors
    /// Names what is wrong and the way out.
    pub async fn policy(&self, name: &str) -> Result<Value, Problem> {
        let resource = ApiResource::erase::<DlqPolicy>(&());
        let object =
            self.read(Api::namespaced_with(self.client.clone(), &self.namespace, &resource), name).await?;
        object.ok_or_else(|| {
            Problem::Failed(format!(
                "there is no DlqPolicy {name} in namespace {ns}; see which there are: kubectl get dlqpolicies -n {ns}",
                ns = self.namespace
            ))
        })
    }

    /// Reads a connection that policies of the namespace share.
    ///
    /// # Errors
    /// Names what is wrong and the way out.
    pub async fn connection(&self, name: &ConnectionName) -> Result<Value, Problem> {
        let api = match name.kind {
            ConnectionKind::DlqConnection => {
                let resource = ApiResource::erase::<DlqConnection>(&());
                Api::namespaced_with(self.client.clone(), &name.namespace, &resource)
            }
            ConnectionKind::ClusterDlqConnection => {
                Api::all_with(self.client.clone(), &ApiResource::erase::<ClusterDlqConnection>(&()))
            }
        };
        let missing = || {
            Problem::Failed(format!(
                "the policy names {name}, and there is none; create it, or correct spec.connection"
            ))
        };
        self.read(api, &name.name).await?.ok_or_else(missing)
    }

    async fn read(&self, api: Api<DynamicObject>, name: &str) -> Result<Option<Value>, Problem> {
        let object =
            api.get_opt(name).await.map_err(|error| failed(&format!("{name} cannot be read"), &error))?;
        object
            .map(serde_json::to_value)
            .transpose()
            .map_err(|error| failed(&format!("{name} cannot be read"), &error))
    }
}

fn failed(what: &str, error: &dyn std::error::Error) -> Problem {
    Problem::Failed(format!("{what}: {}", with_causes(error)))
}
