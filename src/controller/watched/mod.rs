//! The policies of one watch, and how one of them is looked at again before anybody edits it.

pub(crate) mod class;
pub(crate) mod in_hand;
pub(crate) mod policy;
pub(crate) mod summary;

use std::sync::Arc;

use kube::Resource;
use kube::runtime::reflector::Store;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

use crate::controller::names::PolicyRef;
use crate::controller::shared::SharedConnections;
use crate::controller::watched::policy::{ChangeKey, WatchedPolicy};

/// The policies of one watch.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) store: Store<WatchedPolicy>,
    /// Those that are to be looked at again.
    pub(crate) again: UnboundedSender<PolicyRef>,
    /// Has all of them looked at, page by page.
    pub(crate) round: Arc<Notify>,
    pub(crate) shared: Arc<SharedConnections>,
}

impl Watched {
    /// What makes the policy differ from others that were seen, as the watches have it; none if it is gone.
    pub(crate) fn key(&self, policy: &PolicyRef) -> Option<ChangeKey> {
        self.store.get(policy).map(|watched| {
            let version = self.shared.version(watched.connection().as_ref(), watched.namespace());
            watched.key().with_connection(version)
        })
    }

    /// Whether the policy names a shared connection.
    pub(crate) fn names_connection(&self, policy: &PolicyRef) -> bool {
        self.store.get(policy).is_some_and(|watched| watched.connection().is_some())
    }

    /// Whether the watch has shown the policy in this version.
    pub(crate) fn has_shown(&self, policy: &PolicyRef, version: &str) -> bool {
        let shown = self.store.get(policy);
        shown.is_some_and(|watched| watched.meta().resource_version.as_deref() == Some(version))
    }

    /// Has the policy looked at again, when it is called.
    pub(crate) fn wake(&self, policy: &PolicyRef) -> impl FnOnce() + Send + 'static {
        let (again, policy) = (self.again.clone(), policy.clone());
        move || {
            // Nobody listens once the process stops.
            let _ = again.send(policy);
        }
    }
}
