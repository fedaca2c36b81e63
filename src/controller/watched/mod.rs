//! The policies of one watch, and how one of them is looked at again before anybody edits it.

pub(crate) mod class;
pub(crate) mod glance;
pub(crate) mod head;
pub(crate) mod in_hand;

use kube::Resource;
use kube::runtime::reflector::Store;
use tokio::sync::mpsc::UnboundedSender;

use crate::controller::names::PolicyRef;
use crate::controller::watched::head::{HeadKey, PolicyHead};

/// The policies of one watch.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) heads: Store<PolicyHead>,
    /// Those whose permit was granted.
    pub(crate) granted: UnboundedSender<PolicyRef>,
}

impl Watched {
    /// What makes the policy differ from others that were seen, as the watch has it; none if it is gone.
    pub(crate) fn key(&self, policy: &PolicyRef) -> Option<HeadKey> {
        self.heads.get(policy).map(|head| head.key())
    }

    /// Whether the watch has shown the policy in this version.
    pub(crate) fn has_shown(&self, policy: &PolicyRef, version: &str) -> bool {
        let shown = self.heads.get(policy);
        shown.is_some_and(|head| head.meta().resource_version.as_deref() == Some(version))
    }

    /// Has the policy looked at again, when it is called.
    pub(crate) fn wake(&self, policy: &PolicyRef) -> impl FnOnce() + Send + 'static {
        let (granted, policy) = (self.granted.clone(), policy.clone());
        move || {
            // Nobody listens once the process stops.
            let _ = granted.send(policy);
        }
    }
}
