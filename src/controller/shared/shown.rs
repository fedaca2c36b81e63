//! What the watches bring: each change is kept, and told to the policies that it affects.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::object::ConnectionObject;
use super::{Affected, SharedConnections};
use crate::controller::names::lock;
use dlq_crd::ConnectionKind;
use dlq_policy::ConnectionName;

impl SharedConnections {
    /// A connection as it stands.
    pub(crate) fn shown(&self, object: ConnectionObject) {
        let name = object.name.clone();
        let identity = |object: &ConnectionObject| (object.uid.clone(), object.generation);
        let now = identity(&object);
        let before = lock(&self.state).connections.insert(name.clone(), object);
        if before.as_ref().map(identity) == Some(now) {
            self.changed.notify_one();
        } else {
            self.tell(Affected::Connection(name));
        }
    }

    /// What a read of a connection that was `seen` so found; none: that it is gone. Where the watch has shown anything since,
    /// it may be newer than the read, and is kept.
    pub(crate) fn read_again(&self, seen: &ConnectionObject, current: Option<ConnectionObject>) {
        let affected = {
            let mut state = lock(&self.state);
            let known = state.connections.get_mut(&seen.name);
            let Some(known) = known.filter(|known| known.version == seen.version && known.uid == seen.uid)
            else {
                return;
            };
            let is_edited = match current {
                Some(current) => {
                    let is_edited = (&known.uid, known.generation) != (&current.uid, current.generation);
                    *known = current;
                    is_edited
                }
                None => state.connections.remove(&seen.name).is_some(),
            };
            is_edited.then(|| Affected::Connection(seen.name.clone()))
        };
        match affected {
            Some(affected) => self.tell(affected),
            None => self.changed.notify_one(),
        }
    }

    /// Connections that were deleted.
    pub(crate) fn gone(&self, names: &[ConnectionName]) {
        for name in names {
            let was_known = lock(&self.state).connections.remove(name).is_some();
            if was_known {
                self.tell(Affected::Connection(name.clone()));
            }
        }
    }

    /// The connections of a watch that its list did not show.
    pub(crate) fn others(
        &self,
        kind: ConnectionKind,
        scope: Option<&str>,
        listed: &HashSet<ConnectionName>,
    ) -> Vec<ConnectionName> {
        let is_other = |name: &&ConnectionName| {
            name.kind == kind && scope.is_none_or(|scope| scope == name.namespace) && !listed.contains(*name)
        };
        lock(&self.state).connections.keys().filter(is_other).cloned().collect()
    }

    /// Whether there is a connection of this kind.
    pub(crate) fn has_any(&self, kind: ConnectionKind) -> bool {
        lock(&self.state).connections.keys().any(|name| name.kind == kind)
    }

    /// Connections of this kind cannot be watched in this namespace, or in any. Whether that is new.
    pub(crate) fn unavailable(&self, kind: ConnectionKind, scope: Option<String>, why: String) -> bool {
        let is_new = lock(&self.state).unavailable.insert((kind, scope), why.clone()) != Some(why);
        if is_new {
            self.tell(Affected::Kind(kind));
        }
        is_new
    }

    /// Connections of this kind are watched in this namespace, or in all.
    pub(crate) fn available(&self, kind: ConnectionKind, scope: Option<String>) {
        let was_unavailable = lock(&self.state).unavailable.remove(&(kind, scope)).is_some();
        if was_unavailable {
            self.tell(Affected::Kind(kind));
        }
    }

    /// The labels of all namespaces.
    pub(crate) fn namespaces(&self, all: &HashMap<String, BTreeMap<String, String>>) {
        // Those of before stay known until these are.
        let known = lock(&self.state).namespaces.replace(all.clone());
        let before = known.as_ref();
        let gone = before.into_iter().flat_map(HashMap::keys).filter(|name| !all.contains_key(*name));
        let is_new = |name: &String, labels| before.and_then(|before| before.get(name)) != Some(labels);
        let changed = all.iter().filter(|(name, labels)| is_new(name, labels)).map(|(name, _)| name);
        let affected: Vec<String> = gone.chain(changed).cloned().collect();
        if known.is_none() {
            self.tell(Affected::Kind(ConnectionKind::ClusterDlqConnection));
        } else {
            for name in affected {
                self.tell(Affected::Namespace(name));
            }
        }
    }

    /// The labels of one namespace; none if it was deleted.
    pub(crate) fn namespace(&self, name: String, labels: Option<BTreeMap<String, String>>) {
        let is_new = {
            let mut state = lock(&self.state);
            let namespaces = state.namespaces.get_or_insert_default();
            let is_new = namespaces.get(&name) != labels.as_ref();
            match labels {
                Some(labels) => namespaces.insert(name.clone(), labels),
                None => namespaces.remove(&name),
            };
            is_new
        };
        if is_new {
            self.tell(Affected::Namespace(name));
        }
    }

    /// A first list came.
    pub(crate) fn list_came(&self) {
        self.outstanding.send_modify(|lists| *lists = lists.saturating_sub(1));
        if *self.outstanding.borrow() == 0 {
            // What was not known until now is missing for good.
            self.tell(Affected::Kind(ConnectionKind::DlqConnection));
            self.tell(Affected::Kind(ConnectionKind::ClusterDlqConnection));
        }
    }

    fn tell(&self, affected: Affected) {
        self.changed.notify_one();
        // Nobody listens before the policies are watched, nor once the process stops.
        let _ = self.affected.send(affected);
    }
}
