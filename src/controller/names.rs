//! How a policy is called, what time it is, and how a lock is taken: what every part of the controller says.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;

use super::watched::policy::WatchedPolicy;

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

/// A lock is never held while somebody waits, and what it guards is whole at any time.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_called_by_namespace_and_name() {
        let policy = PolicyRef::new("drain").within("payments");
        assert_eq!(Named(&policy).to_string(), "payments/drain");
    }
}
