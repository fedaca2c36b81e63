//! Reads a policy afresh. A cached copy could hold an old cursor.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{ApiResource, DynamicObject};
use serde_json::Value;
use tokio::time::timeout;

use crate::controller::error;
use crate::controller::shared::SharedConnections;
use crate::controller::watched::policy::ChangeKey;
use dlq_crd::{DlqPolicy, DlqPolicySpec, DlqPolicyStatus};
use dlq_policy::attempt::{FailedStep, Trouble};
use dlq_policy::spec::validate::Source;
use dlq_policy::{ConnectionName, Permissions, Policy, validate, with_advice};
use dlq_upstash::error::printable;

/// How long the API server may take for one answer.
pub(crate) const API_TIMEOUT: Duration = Duration::from_secs(5);

/// A policy as it stands in the API server, in the parts of which a [`dlq_policy::attempt::Seen`] is made.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    pub(crate) metadata: ObjectMeta,
    /// The spec, or why it cannot be read: the API server accepts values that the types do not.
    spec: Result<DlqPolicySpec, String>,
    /// The status as it was written; but for its conditions empty when it cannot be read.
    pub(crate) status: DlqPolicyStatus,
    /// The status as it stands, to write only what differs.
    pub(crate) raw_status: Value,
    /// Whether `status` says what `raw_status` does.
    pub(crate) is_status_readable: bool,
}

impl Observed {
    /// What its spec and annotations mean.
    pub(crate) fn policy(&self, permissions: &Permissions, shared: &SharedConnections) -> Policy {
        let none = BTreeMap::new();
        let connection = self.spec.as_ref().ok().and_then(|spec| spec.connection.as_ref());
        let found = shared.find(connection, self.metadata.namespace.as_deref().unwrap_or_default());
        let source = Source {
            namespace: self.metadata.namespace.as_deref().unwrap_or_default(),
            name: self.metadata.name.as_deref().unwrap_or_default(),
            generation: self.metadata.generation.unwrap_or_default(),
            created: self.metadata.creation_timestamp.as_ref().map(|time| time.0),
            annotations: self.metadata.annotations.as_ref().unwrap_or(&none),
            spec: self.spec.as_ref().map_err(String::as_str),
            shared: found.as_ref().map(Result::as_deref),
        };
        validate(&source, permissions)
    }

    pub(crate) fn key(&self, shared: &SharedConnections) -> ChangeKey {
        let namespace = self.metadata.namespace.as_deref().unwrap_or_default();
        let connection = self.spec.as_ref().ok().and_then(|spec| spec.connection.as_ref());
        let name = connection.and_then(|connection| ConnectionName::of(connection, namespace));
        ChangeKey::of(&self.metadata).with_connection(shared.version(name.as_ref(), namespace))
    }
}

/// The policies of a namespace, untyped: decoding is done here, part by part.
pub(crate) fn policies(client: kube::Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client, namespace, &ApiResource::erase::<DlqPolicy>(&()))
}

/// Reads a policy; `None` when it is gone.
pub(crate) async fn observe(
    client: &kube::Client,
    namespace: &str,
    name: &str,
) -> Result<Option<Observed>, Trouble> {
    let api = policies(client.clone(), namespace);
    let object = timeout(API_TIMEOUT, api.get_opt(name))
        .await
        .map_err(|_| error::no_answer("reading the policy"))?
        .map_err(|error| error::of(FailedStep::ReadPolicy, "cannot read the policy", &error))?;
    Ok(object.filter(|object| object.metadata.deletion_timestamp.is_none()).map(decode))
}

/// Takes an object apart.
pub(crate) fn decode(object: DynamicObject) -> Observed {
    let DynamicObject { mut metadata, mut data, .. } = object;
    metadata.managed_fields = None;
    let mut part = |name: &str| data.get_mut(name).map_or(Value::Null, Value::take);
    let (spec, raw_status) = (part("spec"), part("status"));
    let mut spec = serde_json::from_value(spec)
        .map_err(|error| format!("spec: cannot be read: {}", printable(&error.to_string())));
    let decoded =
        if raw_status.is_null() { Ok(None) } else { serde_path_to_error::deserialize(raw_status.clone()) };
    let is_status_readable = decoded.is_ok();
    let status = decoded.unwrap_or_else(|error| {
        // Without the status nobody knows what was done: the policy must not run before somebody looks.
        spec = Err(unreadable(&metadata, &error));
        // The conditions are read by themselves, so that what they say already is not written and told anew.
        let conditions = raw_status.get("conditions").cloned().unwrap_or_default();
        let conditions = serde_json::from_value(conditions).unwrap_or_default();
        Some(DlqPolicyStatus { conditions, ..DlqPolicyStatus::default() })
    });
    Observed { metadata, spec, status: status.unwrap_or_default(), raw_status, is_status_readable }
}

/// Names the field of a status that cannot be read, and the command that clears it, which is never cut: with the policy's name
/// where that is not too long.
fn unreadable(metadata: &ObjectMeta, error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let path = error.path().to_string();
    let field = match path.split(['.', '[']).next() {
        None | Some("") => String::new(),
        Some(field) => format!("/{field}"),
    };
    let short = |text: &Option<String>, placeholder: &str| {
        text.as_deref().filter(|text| text.len() <= 48).unwrap_or(placeholder).to_owned()
    };
    let (name, namespace) = (short(&metadata.name, "NAME"), short(&metadata.namespace, "NAMESPACE"));
    let way_out = format!(
        "clear it: kubectl patch dlqp {name} -n {namespace} --subresource=status --type=json \
         -p '[{{\"op\":\"remove\",\"path\":\"/status{field}\"}}]'"
    );
    let at = if path == "." { "status".to_owned() } else { format!("status.{path}") };
    let problem: String = printable(&error.inner().to_string()).chars().take(60).collect();
    with_advice(&format!("{at} cannot be read: {problem}"), &way_out)
}
