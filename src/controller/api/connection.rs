//! Reads shared connections afresh, and writes their statuses. Each write has a precondition.

use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use serde_json::json;
use tokio::time::timeout;

use super::FIELD_MANAGER;
use super::observe::API_TIMEOUT;
use crate::controller::shared::object::ConnectionObject;
use dlq_crd::{ClusterDlqConnection, ConnectionKind, ConnectionStatus, DlqConnection};
use dlq_policy::ConnectionName;
use dlq_upstash::error::with_causes;

/// Why a status was not written, or why that is not known.
pub(crate) enum NotWritten {
    /// The object is another than the one that was seen, or gone.
    Conflict,
    /// Anything else.
    Failed(String),
}

/// Writes a status, if the object is still the one that was seen. Gives its new version.
pub(crate) async fn write(
    client: &kube::Client,
    seen: &ConnectionObject,
    next: &ConnectionStatus,
) -> Result<String, NotWritten> {
    let patch = Patch::Merge(json!({
        "metadata": { "uid": seen.uid, "resourceVersion": seen.version },
        "status": next,
    }));
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let api = of_name(client, &seen.name);
    match timeout(API_TIMEOUT, api.patch_status(&seen.name.name, &parameters, &patch)).await {
        Ok(Ok(object)) => Ok(object.metadata.resource_version.unwrap_or_default()),
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => Err(NotWritten::Conflict),
        Ok(Err(error)) => Err(NotWritten::Failed(with_causes(&error))),
        Err(_) => Err(NotWritten::Failed("no answer from the API server in time".to_owned())),
    }
}

/// A connection as it stands; none if it is gone.
pub(crate) async fn read(
    client: &kube::Client,
    name: &ConnectionName,
) -> Result<Option<DynamicObject>, String> {
    match timeout(API_TIMEOUT, of_name(client, name).get_opt(&name.name)).await {
        Ok(read) => read.map_err(|error| with_causes(&error)),
        Err(_) => Err("no answer from the API server in time".to_owned()),
    }
}

fn of_name(client: &kube::Client, name: &ConnectionName) -> Api<DynamicObject> {
    let namespace = (name.kind == ConnectionKind::DlqConnection).then_some(name.namespace.as_str());
    connections(client, name.kind, namespace)
}

/// The connections of a kind, in this namespace or in all, untyped: what cannot be read of one is not to stop the others.
pub(crate) fn connections(
    client: &kube::Client,
    kind: ConnectionKind,
    namespace: Option<&str>,
) -> Api<DynamicObject> {
    let resource = match kind {
        ConnectionKind::DlqConnection => ApiResource::erase::<DlqConnection>(&()),
        ConnectionKind::ClusterDlqConnection => ApiResource::erase::<ClusterDlqConnection>(&()),
    };
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}
