//! A shared connection as a watch shows it. What cannot be read harms only the policies that name it.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{DynamicObject, ObjectMeta};
use kube::core::{Selector, SelectorExt};
use serde::de::DeserializeOwned;
use serde_json::Value;

use dlq_crd::{ClusterDlqConnectionSpec, ConnectionKind, ConnectionStatus, DlqConnectionSpec, Reason};
use dlq_policy::budget::{Spent, UnreadableCount};
use dlq_policy::{ConnectionName, Invalid, Permissions, SharedConnection};
use dlq_upstash::error::printable;

/// A shared connection in the parts that are kept.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionObject {
    pub(crate) name: ConnectionName,
    pub(crate) uid: String,
    pub(crate) generation: i64,
    pub(crate) version: String,
    /// What its spec means, or why it cannot be used.
    pub(crate) shared: Result<Arc<SharedConnection>, Invalid>,
    /// Which namespaces it is for, by their labels. One without a selector of a cluster-wide connection is for none.
    selector: Option<Selector>,
    pub(crate) status: ConnectionStatus,
    /// Whether `status` is what is stored: one that cannot be read is treated as empty, and no budget is granted under it.
    is_status_readable: bool,
}

impl ConnectionObject {
    /// Reads an object.
    pub(crate) fn read(object: DynamicObject, kind: ConnectionKind, permissions: &Permissions) -> Self {
        let DynamicObject { metadata, mut data, .. } = object;
        let ObjectMeta { name, namespace, uid, generation, resource_version, .. } = metadata;
        let namespace = namespace.unwrap_or_default();
        let name = ConnectionName::new(kind, &namespace, name.unwrap_or_default());
        let spec = data.get_mut("spec").map_or(Value::Null, Value::take);
        let status = data.get_mut("status").map_or(Value::Null, Value::take);
        let status = serde_json::from_value::<Option<ConnectionStatus>>(status);
        let (shared, selector) = match kind {
            ConnectionKind::DlqConnection => {
                let spec = decode::<DlqConnectionSpec>(&name, spec);
                let shared =
                    spec.and_then(|spec| SharedConnection::of_namespace(name.clone(), &spec, permissions));
                (shared, None)
            }
            ConnectionKind::ClusterDlqConnection => match decode::<ClusterDlqConnectionSpec>(&name, spec) {
                Ok(spec) => match spec.namespace_selector.clone().map(|it| selector(&name, it)).transpose() {
                    Ok(selector) => {
                        (SharedConnection::of_cluster(name.clone(), &spec, permissions), selector)
                    }
                    Err(invalid) => (Err(invalid), None),
                },
                Err(invalid) => (Err(invalid), None),
            },
        };
        Self {
            name,
            uid: uid.unwrap_or_default(),
            generation: generation.unwrap_or_default(),
            version: resource_version.unwrap_or_default(),
            shared: shared.map(Arc::new),
            selector,
            is_status_readable: status.is_ok(),
            status: status.unwrap_or_default().unwrap_or_default(),
        }
    }

    /// What its status says of a day's limit.
    pub(crate) fn spent(&self) -> Result<Option<Spent>, UnreadableCount> {
        if self.is_status_readable { Spent::of(&self.status) } else { Err(UnreadableCount) }
    }

    /// Whether policies of a namespace with these labels may use it.
    pub(crate) fn is_for(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        match self.name.kind {
            ConnectionKind::DlqConnection => true,
            ConnectionKind::ClusterDlqConnection => {
                self.selector.as_ref().zip(labels).is_some_and(|(selector, labels)| selector.matches(labels))
            }
        }
    }
}

fn decode<T: DeserializeOwned>(name: &ConnectionName, spec: Value) -> Result<T, Invalid> {
    serde_json::from_value(spec).map_err(|error| {
        let problem = printable(&error.to_string());
        Invalid::new(Reason::InvalidSpec, &format!("{name}: spec cannot be read: {problem}"))
    })
}

/// An empty selector selects everything, and an expression that cannot be read could select anything.
fn selector(name: &ConnectionName, selector: LabelSelector) -> Result<Selector, Invalid> {
    let problem = match Selector::try_from(selector) {
        Ok(selector) if selector.selects_all() => "selects every namespace; name labels".to_owned(),
        Ok(selector) => return Ok(selector),
        Err(error) => printable(&error.to_string()),
    };
    Err(Invalid::new(Reason::InvalidSpec, &format!("{name}: spec.namespaceSelector: {problem}")))
}
