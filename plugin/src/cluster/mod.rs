//! The cluster: which one, and reading and changing the policies in it.

mod connect;
mod error;
mod stored;

use std::time::Duration;

use dlq_crd::{ClusterDlqConnection, ConnectionKind, DlqConnection, DlqPolicy};
use dlq_policy::ConnectionName;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, ObjectList, Patch, PatchParams};
use kube::{Client, Resource};
use serde_json::{Value, json};

pub use self::connect::ClusterArgs;
pub use self::error::Error;
pub use self::stored::Stored;

/// Who writes, as `metadata.managedFields` names it.
const FIELD_MANAGER: &str = "kubectl-dlq";

/// How many objects one page of a list holds, as with kubectl.
const CHUNK: u32 = 500;

/// In which namespaces to look.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Scope {
    /// In this one.
    Namespace(String),
    /// In all.
    All,
}

/// A connection to an API server. Objects are read as they are, so that those of a newer operator can still be shown.
pub struct Cluster {
    client: Client,
    url: String,
    namespace: String,
    timeout: Option<Duration>,
}

impl Cluster {
    /// The namespace that the command line names, else that of the context.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A policy of the namespace.
    pub async fn policy(&self, name: &str) -> Result<Stored, Error> {
        let api = self.policies_in(&Scope::Namespace(self.namespace.clone()));
        let object = self.answer(api.get(name), &format!("get the policy {}/{name}", self.namespace)).await;
        object.map(Stored::from)
    }

    /// The policies of one namespace or of all.
    pub async fn policies(&self, scope: &Scope) -> Result<Vec<Stored>, Error> {
        let objects = self.list(&self.policies_in(scope), "list policies").await?;
        Ok(objects.into_iter().map(Stored::from).collect())
    }

    /// The `DlqConnection`s of one namespace or of all.
    pub async fn connections(&self, scope: &Scope) -> Result<Vec<DynamicObject>, Error> {
        let resource = ApiResource::erase::<DlqConnection>(&());
        self.list(&self.api(scope, &resource), "list connections").await
    }

    /// The `ClusterDlqConnection`s.
    pub async fn cluster_connections(&self) -> Result<Vec<DynamicObject>, Error> {
        let resource = ApiResource::erase::<ClusterDlqConnection>(&());
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        self.list(&api, "list cluster connections").await
    }

    /// A connection that policies share.
    pub async fn connection(&self, name: &ConnectionName) -> Result<DynamicObject, Error> {
        let api: Api<DynamicObject> = match name.kind {
            ConnectionKind::DlqConnection => {
                let resource = ApiResource::erase::<DlqConnection>(&());
                self.api(&Scope::Namespace(name.namespace.clone()), &resource)
            }
            ConnectionKind::ClusterDlqConnection => {
                self.api(&Scope::All, &ApiResource::erase::<ClusterDlqConnection>(&()))
            }
        };
        self.answer(api.get(&name.name), &format!("get the policy's {name}")).await
    }

    /// Changes a policy by a merge patch, if it is still the one that was read.
    pub async fn patch(&self, policy: &Stored, patch: &Value) -> Result<Stored, Error> {
        let api = self.policies_in(&Scope::Namespace(policy.namespace().to_owned()));
        let mut patch = patch.clone();
        if let (Some(uid), Some(metadata)) = (policy.uid(), metadata_of(&mut patch)) {
            metadata.insert("uid".to_owned(), uid.into());
        }
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let what = format!("change the policy {}/{}", policy.namespace(), policy.name());
        self.answer(api.patch(policy.name(), &params, &Patch::Merge(&patch)), &what).await.map(Stored::from)
    }

    fn policies_in(&self, scope: &Scope) -> Api<DynamicObject> {
        self.api(scope, &ApiResource::erase::<DlqPolicy>(&()))
    }

    fn api(&self, scope: &Scope, resource: &ApiResource) -> Api<DynamicObject> {
        match scope {
            Scope::Namespace(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
            Scope::All => Api::all_with(self.client.clone(), resource),
        }
    }

    async fn list(&self, api: &Api<DynamicObject>, what: &str) -> Result<Vec<DynamicObject>, Error> {
        let mut objects = Vec::new();
        let mut params = ListParams::default().limit(CHUNK);
        loop {
            let page: ObjectList<DynamicObject> = self.answer(api.list(&params), what).await?;
            objects.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(objects),
            }
        }
    }

    /// Waits for an answer as long as the command line allows, and puts a refusal into plain words.
    async fn answer<T>(
        &self,
        call: impl Future<Output = Result<T, kube::Error>>,
        what: &str,
    ) -> Result<T, Error> {
        let answer = match self.timeout {
            None => call.await,
            Some(timeout) => match tokio::time::timeout(timeout, call).await {
                Ok(answer) => answer,
                Err(_) => return Err(Error::Timeout { url: self.url.clone(), timeout }),
            },
        };
        match answer {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.explained(error, what).await),
        }
    }

    async fn explained(&self, error: kube::Error, what: &str) -> Error {
        let is_unknown_resource =
            matches!(&error, kube::Error::Api(status) if error::is_unknown_resource(status));
        if is_unknown_resource {
            return Error::unknown_resource(&self.served_versions().await, &DlqPolicy::version(&()));
        }
        Error::of(error, what, &self.url, &self.namespace)
    }

    /// The versions of our group that the API server serves; none where it has no definitions of ours.
    async fn served_versions(&self) -> Vec<String> {
        let groups = self.client.list_api_groups();
        let limit = self.timeout.unwrap_or(Duration::from_secs(10));
        let Ok(Ok(groups)) = tokio::time::timeout(limit, groups).await else { return Vec::new() };
        let group = groups.groups.into_iter().find(|group| group.name == DlqPolicy::group(&()));
        group
            .map(|group| group.versions.into_iter().map(|version| version.version).collect())
            .unwrap_or_default()
    }
}

/// The `metadata` of a patch, made where it is absent.
fn metadata_of(patch: &mut Value) -> Option<&mut serde_json::Map<String, Value>> {
    let patch = patch.as_object_mut()?;
    patch.entry("metadata").or_insert_with(|| json!({})).as_object_mut()
}
