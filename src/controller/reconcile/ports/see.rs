//! What a turn makes of an object.

use std::sync::Arc;

use kube::api::DynamicObject;

use super::PolicyPorts;
use crate::controller::api::observe::{Observed, decode};
use crate::controller::names::lock;
use dlq_policy::attempt::{Seen, Stored};

impl PolicyPorts<'_> {
    /// What a turn makes of an object that it was given.
    pub(crate) fn show(&self, object: DynamicObject) -> Option<Arc<Seen>> {
        object.metadata.deletion_timestamp.is_none().then(|| self.see(decode(object)))
    }

    /// The same of one that a list showed, unless the watch has shown another since.
    pub(crate) fn show_listed(&self, object: DynamicObject) -> Option<Arc<Seen>> {
        let version = object.metadata.resource_version.as_deref()?;
        let is_newest = self.watched?.has_shown(self.policy, version);
        is_newest.then_some(object).and_then(|object| self.show(object))
    }

    /// What the policy was seen as. What its spec means is found out anew only where that was edited.
    pub(super) fn see(&self, observed: Observed) -> Arc<Seen> {
        let shared = &self.context.shared;
        let key = observed.key(shared);
        let mut state = lock(&self.state);
        let before = state.seen.take().filter(|(before, seen)| {
            *before == key && seen.is_status_readable && observed.is_status_readable
        });
        let policy = before.map_or_else(
            || Arc::new(observed.policy(&self.context.permissions, shared)),
            |(_, seen)| Arc::clone(&seen.policy),
        );
        let connection = policy.work.as_ref().ok().map(|work| &work.connection);
        let clock_offset = connection.map(|it| self.context.connections.clock_offset(it));
        let seen = Arc::new(Seen {
            uid: observed.metadata.uid.unwrap_or_default(),
            clock_offset: clock_offset.unwrap_or_default(),
            policy,
            status: observed.status,
            is_status_readable: observed.is_status_readable,
            stored: Stored {
                version: observed.metadata.resource_version.unwrap_or_default(),
                status: observed.raw_status,
            },
        });
        // That it is being deleted is still to be heeded.
        if !key.is_of_one_that_goes() {
            state.known.push(key.clone());
        }
        state.seen = Some((key, Arc::clone(&seen)));
        seen
    }
}
