//! How a policy is called, what time it is, and how a lock is taken: what every part of the controller says.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;

use super::watched::policy::WatchedPolicy;
use dlq_policy::ConnectionName;

/// Tells what time it is.
pub type Clock = fn() -> Timestamp;

pub(crate) type PolicyRef = ObjectRef<WatchedPolicy>;

/// A policy in logs: `namespace/name`.
pub(crate) struct Named<'a>(pub(crate) &'a PolicyRef);

impl fmt::Display for Named<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.0.namespace.as_deref().unwrap_or_default(), self.0.name)
    }
}

const POLICY: &str = "DlqPolicy";

/// What events are about: a policy or a shared connection.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) kind: &'static str,
    /// None of what is cluster-wide.
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
}

impl Subject {
    /// The policy in logs, if it is one: `namespace/name`.
    pub(crate) fn policy(&self) -> Option<String> {
        (self.kind == POLICY).then(|| self.text())
    }

    /// The connection in logs, if it is one.
    pub(crate) fn connection(&self) -> Option<String> {
        (self.kind != POLICY).then(|| format!("{} {}", self.kind, self.text()))
    }

    fn text(&self) -> String {
        self.namespace.iter().chain([&self.name]).map(String::as_str).collect::<Vec<_>>().join("/")
    }
}

impl From<&PolicyRef> for Subject {
    fn from(policy: &PolicyRef) -> Self {
        Self { kind: POLICY, namespace: policy.namespace.clone(), name: policy.name.clone() }
    }
}

impl From<&ConnectionName> for Subject {
    fn from(connection: &ConnectionName) -> Self {
        let namespace = Some(&connection.namespace).filter(|namespace| !namespace.is_empty()).cloned();
        Self { kind: connection.kind.as_str(), namespace, name: connection.name.clone() }
    }
}

/// A connection in logs: kind and `namespace/name`, or the name alone where it is cluster-wide.
pub(crate) fn named(connection: &ConnectionName) -> String {
    Subject::from(connection).connection().unwrap_or_default()
}

/// A lock is never held while somebody waits, and what it guards is whole at any time.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_called_by_its_kind_too() {
        use dlq_crd::ConnectionKind::{ClusterDlqConnection, DlqConnection};
        let of = |kind| named(&ConnectionName::new(kind, "payments", "production".to_owned()));
        assert_eq!(of(DlqConnection), "DlqConnection payments/production");
        assert_eq!(of(ClusterDlqConnection), "ClusterDlqConnection production");
    }

    #[test]
    fn a_policy_is_called_by_namespace_and_name() {
        let policy = PolicyRef::new("drain").within("payments");
        assert_eq!(Named(&policy).to_string(), "payments/drain");
    }
}
