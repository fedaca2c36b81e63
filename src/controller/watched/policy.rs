//! A policy as the watch keeps it.

use std::borrow::Cow;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::class::Class;
use super::summary::{Loose, PolicySummary, Spec, Status};
use dlq_crd::{DlqPolicy, annotations};
use dlq_policy::ConnectionName;

/// Identity, generation, a hash of the annotations that control the policy, and what metrics show. The rest of spec and
/// status, labels and `managedFields` are skipped while the answer is read, so they never take memory, and no value in them can make an
/// object unreadable: one broken object must not stop the watch of all.
#[derive(Clone, Debug)]
pub(crate) struct WatchedPolicy {
    metadata: ObjectMeta,
    requests: u64,
    deleting: bool,
    /// Whether a run was asked for that the status does not name.
    is_requested: bool,
    summary: PolicySummary,
    /// Whether it differs from what was watched before, if anything was.
    news: bool,
    /// The whole object, until it is taken.
    object: Option<Box<RawValue>>,
}

/// What makes a policy another than it was: whatever may change the plan, and nothing that the operator writes itself.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct ChangeKey {
    uid: Option<String>,
    generation: Option<i64>,
    requests: u64,
    deleting: bool,
    /// The version of its shared connection; 0 where there is none, and while only objects are compared.
    connection: u64,
}

impl ChangeKey {
    /// The key of an object that was read in full.
    pub(crate) fn of(metadata: &ObjectMeta) -> Self {
        let mut requests = Requests::default();
        for (key, value) in metadata.annotations.iter().flatten() {
            requests.add(key, value);
        }
        Self {
            uid: metadata.uid.clone(),
            generation: metadata.generation,
            requests: requests.hash,
            deleting: metadata.deletion_timestamp.is_some(),
            connection: 0,
        }
    }

    /// The same, with its shared connection in this version.
    pub(crate) fn with_connection(self, version: u64) -> Self {
        Self { connection: version, ..self }
    }
}

impl ChangeKey {
    /// Whether the policy is being deleted.
    pub(crate) fn is_of_one_that_goes(&self) -> bool {
        self.deleting
    }
}

impl WatchedPolicy {
    /// Compares it with what was known before.
    pub(crate) fn note_news(&mut self, before: Option<&ChangeKey>) {
        self.news = before != Some(&self.key());
    }

    /// Whether it may change the plan. A policy that comes back, as its labels match again, is news.
    pub(crate) fn is_news(&self) -> bool {
        self.news
    }

    /// Takes the whole object, which nothing keeps.
    pub(crate) fn take_object(&mut self) -> Option<Box<RawValue>> {
        self.object.take()
    }

    /// How soon its turn is to come, when nobody edited it just now.
    pub(crate) fn class(&self, now: Timestamp) -> Class {
        Class::of(&self.summary, self.metadata.generation, self.is_requested, now)
    }

    /// What metrics show of it.
    pub(crate) fn summary(&self) -> &PolicySummary {
        &self.summary
    }

    pub(crate) fn key(&self) -> ChangeKey {
        ChangeKey {
            uid: self.uid(),
            generation: self.metadata.generation,
            requests: self.requests,
            deleting: self.deleting,
            connection: 0,
        }
    }

    /// Its namespace.
    pub(crate) fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// The shared connection that it names.
    pub(crate) fn connection(&self) -> Option<ConnectionName> {
        let (kind, name) = self.summary.connection.as_deref()?;
        Some(ConnectionName::new(*kind, self.namespace(), name.to_string()))
    }
}

impl Resource for WatchedPolicy {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        DlqPolicy::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        DlqPolicy::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        DlqPolicy::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        DlqPolicy::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl<'de> Deserialize<'de> for WatchedPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Object {
            #[serde(default)]
            metadata: Metadata,
            #[serde(default)]
            spec: Loose<Spec>,
            #[serde(default)]
            status: Loose<Status>,
        }

        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        struct Metadata {
            name: Option<String>,
            namespace: Option<String>,
            uid: Option<String>,
            resource_version: Option<String>,
            generation: Option<i64>,
            deletion_timestamp: Option<IgnoredAny>,
            annotations: Option<Requests>,
        }

        let object = Box::<RawValue>::deserialize(deserializer)?;
        let Object { metadata, spec, status } =
            serde_json::from_str(object.get()).map_err(serde::de::Error::custom)?;
        let requests = metadata.annotations.unwrap_or_default();
        let is_requested =
            requests.run.as_deref().is_some_and(|run| Some(run) != Status::handled_request(&status));
        Ok(Self {
            summary: PolicySummary::new(spec, status),
            requests: requests.hash,
            is_requested,
            deleting: metadata.deletion_timestamp.is_some(),
            news: true,
            object: Some(object),
            metadata: ObjectMeta {
                name: metadata.name,
                namespace: metadata.namespace,
                uid: metadata.uid,
                resource_version: metadata.resource_version,
                generation: metadata.generation,
                ..ObjectMeta::default()
            },
        })
    }
}

/// A hash of the annotations in [`annotations::ALL`], whatever their order.
#[derive(Default)]
struct Requests {
    hash: u64,
    /// The value of `requestedAt`.
    run: Option<String>,
}

impl Requests {
    fn add(&mut self, key: &str, value: &str) {
        if annotations::ALL.contains(&key) {
            let mut hasher = DefaultHasher::new();
            (key, value).hash(&mut hasher);
            if key == annotations::REQUESTED_AT {
                self.run = Some(value.to_owned());
            }
            self.hash ^= hasher.finish();
        }
    }
}

impl<'de> Deserialize<'de> for Requests {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Annotations;

        impl<'de> Visitor<'de> for Annotations {
            type Value = Requests;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("annotations")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Requests, A::Error> {
                let mut requests = Requests::default();
                while let Some((key, value)) = map.next_entry::<Cow<'de, str>, Cow<'de, str>>()? {
                    requests.add(&key, &value);
                }
                Ok(requests)
            }
        }

        deserializer.deserialize_map(Annotations)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn watched(object: serde_json::Value) -> WatchedPolicy {
        serde_json::from_value(object).unwrap()
    }

    fn object() -> serde_json::Value {
        json!({
            "metadata": {
                "name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7", "generation": 2,
                "labels": {"x": "y"},
                "annotations": {"other": "z", "dlq-operator.dev/requestedAt": "now"},
                "managedFields": [{"manager": "kubectl"}],
            },
            "spec": {"filters": {"workflowCreatedAt": 7}, "historyLimit": "many"},
            "status": {"currentRun": {"startTime": "9999-12-31T23:59:59Z"}},
        })
    }

    #[test]
    fn a_watched_policy_is_read_from_any_object_and_keeps_little() {
        let watched = watched(object());
        assert_eq!(watched.name_any(), "a");
        assert!(watched.metadata.managed_fields.is_none() && watched.metadata.labels.is_none());
        assert!(watched.metadata.annotations.is_none());
    }

    #[test]
    fn a_watched_policy_has_the_key_of_the_full_object() {
        let meta: ObjectMeta = serde_json::from_value(object()["metadata"].clone()).unwrap();
        assert_eq!(watched(object()).key(), ChangeKey::of(&meta));
    }

    #[test]
    fn a_watched_policy_is_news_unless_the_same_was_known() {
        let mut again = watched(object());
        let key = again.key();
        again.note_news(Some(&key));
        assert!(!again.is_news());
        again.note_news(None);
        assert!(again.is_news());
    }

    #[test]
    fn only_what_may_change_the_plan_changes_the_key() {
        let key = watched(object()).key();
        let changed = |pointer: &str, value: &str| {
            let mut object = object();
            *object.pointer_mut(pointer).unwrap() = value.into();
            watched(object).key()
        };
        assert_eq!(changed("/metadata/resourceVersion", "8"), key);
        assert_eq!(changed("/metadata/labels/x", "z"), key);
        assert_eq!(changed("/metadata/annotations/other", "q"), key);
        assert_ne!(changed("/metadata/annotations/dlq-operator.dev~1requestedAt", "later"), key);
        assert_ne!(changed("/metadata/uid", "v"), key);
    }
}
