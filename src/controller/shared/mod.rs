//! The connections that policies share: what the watches show of them, and which policy may use which.

pub(crate) mod object;
mod shown;

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::api::DynamicObject;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{Instant, timeout_at};

use self::object::ConnectionObject;
use crate::controller::names::lock;
use crate::controller::slots::Limit;
use dlq_crd::{Connection, ConnectionKind, ConnectionStatus, Reason};
use dlq_policy::{ConnectionName, Invalid, Permissions, SharedConnection};

/// For how long after the start policies wait until the connections are known.
const UNTIL_LISTED: Duration = Duration::from_secs(10);
/// How many changes are told one by one. More at once affect all.
const MOST_UNTOLD: usize = 64;

/// The policies that a change affects.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Affected {
    /// Those that name this connection.
    Connection(ConnectionName),
    /// Those that name one of this kind.
    Kind(ConnectionKind),
    /// Those of this namespace that name a cluster-wide one.
    Namespace(String),
}

impl Affected {
    /// Whether a policy of this namespace that names this connection is affected.
    pub(crate) fn is(&self, name: &ConnectionName, namespace: &str) -> bool {
        match self {
            Self::Connection(changed) => changed == name,
            Self::Kind(kind) => *kind == name.kind,
            Self::Namespace(changed) => {
                name.kind == ConnectionKind::ClusterDlqConnection && changed == namespace
            }
        }
    }
}

/// The shared connections that this process knows.
pub(crate) struct SharedConnections {
    permissions: Permissions,
    state: Mutex<State>,
    /// What each change affects.
    affected: broadcast::Sender<Affected>,
    /// How many first lists are still to come, and until when turns wait for them.
    outstanding: watch::Sender<usize>,
    patience: Instant,
    /// Notified when a status may have to be written.
    pub(crate) changed: Notify,
}

#[derive(Default)]
struct State {
    connections: HashMap<ConnectionName, ConnectionObject>,
    /// The labels of each namespace, once a cluster-wide connection needs them and they are known.
    namespaces: Option<HashMap<String, BTreeMap<String, String>>>,
    /// Why nothing is known of a kind, in a namespace or in all.
    unavailable: HashMap<(ConnectionKind, Option<String>), String>,
}

impl SharedConnections {
    /// None is known yet; `lists`: how many lists are to come.
    pub(crate) fn new(permissions: Permissions, lists: usize) -> Self {
        Self {
            permissions,
            state: Mutex::default(),
            affected: broadcast::Sender::new(MOST_UNTOLD),
            outstanding: watch::Sender::new(lists),
            patience: Instant::now() + UNTIL_LISTED,
            changed: Notify::new(),
        }
    }

    /// Waits until the first lists came, for a while after the start: what is not known by then counts as missing until it is.
    pub(crate) async fn listed(&self) {
        let mut outstanding = self.outstanding.subscribe();
        if *outstanding.borrow_and_update() > 0 {
            // The sender lives as long as this.
            let _ = timeout_at(self.patience, outstanding.wait_for(|lists| *lists == 0)).await;
        }
    }

    /// What a policy of this namespace names, or why it cannot be used; none where it names none.
    pub(crate) fn find(
        &self,
        connection: Option<&Connection>,
        namespace: &str,
    ) -> Option<Result<Arc<SharedConnection>, Invalid>> {
        let name = ConnectionName::of(connection?, namespace)?;
        let state = lock(&self.state);
        Some(match state.connections.get(&name) {
            Some(object) if object.is_for(state.labels(namespace)) => object.shared.clone(),
            Some(_) if state.namespaces.is_none() => Err(not_found(&format!(
                "{name} cannot be used: the operator does not know the labels of namespaces; its log says why"
            ))),
            Some(_) => Err(not_found(&format!(
                "{name} is not for namespace {namespace}; ask its owner to select the namespace's labels in \
                 namespaceSelector"
            ))),
            None => Err(not_found(&state.why_not_found(&name, namespace, *self.outstanding.borrow() > 0))),
        })
    }

    /// What makes the connection another than it was for policies of this namespace; 0 where there is none.
    pub(crate) fn version(&self, name: Option<&ConnectionName>, namespace: &str) -> u64 {
        let Some(name) = name else { return 0 };
        let state = lock(&self.state);
        let Some(object) = state.connections.get(name) else { return 0 };
        let is_for = object.is_for(state.labels(namespace));
        let mut hasher = DefaultHasher::new();
        (&object.uid, object.generation, is_for).hash(&mut hasher);
        hasher.finish()
    }

    /// One of them, as it was last shown.
    pub(crate) fn object(&self, name: &ConnectionName) -> Option<ConnectionObject> {
        lock(&self.state).connections.get(name).cloned()
    }

    /// How many runs may be at work with one of them.
    pub(crate) fn limit_of_runs(&self, name: &ConnectionName) -> Limit {
        let shared = self.object(name).and_then(|object| object.shared.ok());
        shared.map_or(Limit::AsBefore, |shared| Limit::Runs(shared.max_concurrent_runs))
    }

    /// Makes something of an object.
    pub(crate) fn read(&self, kind: ConnectionKind, object: DynamicObject) -> ConnectionObject {
        ConnectionObject::read(object, kind, &self.permissions)
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<ConnectionObject> {
        lock(&self.state).connections.values().cloned().collect()
    }

    /// The names of all of them.
    pub(crate) fn names(&self) -> Vec<ConnectionName> {
        lock(&self.state).connections.keys().cloned().collect()
    }

    /// Tells of what changes from now on.
    pub(crate) fn affected(&self) -> broadcast::Receiver<Affected> {
        self.affected.subscribe()
    }

    /// Takes in a status that this process wrote, before the watch shows it.
    pub(crate) fn wrote(&self, object: &ConnectionObject, status: ConnectionStatus, version: String) {
        let mut state = lock(&self.state);
        let known = state.connections.get_mut(&object.name).filter(|known| known.version == object.version);
        if let Some(known) = known {
            (known.status, known.version) = (status, version);
        }
    }
}

impl State {
    fn labels(&self, namespace: &str) -> Option<&BTreeMap<String, String>> {
        self.namespaces.as_ref()?.get(namespace)
    }

    fn why_not_found(&self, name: &ConnectionName, namespace: &str, is_early: bool) -> String {
        let of = |scope| self.unavailable.get(&(name.kind, scope));
        if let Some(why) = of(None).or_else(|| of(Some(namespace.to_owned()))) {
            return format!("{name} cannot be looked up: {why}");
        }
        if is_early {
            return format!("{name} is not known yet; the operator's log says why if that stays so");
        }
        match name.kind {
            ConnectionKind::DlqConnection => format!(
                "{name} is not in namespace {namespace}; create it, or name another in spec.connection.name (a \
                 cluster-wide one takes kind: ClusterDlqConnection)"
            ),
            ConnectionKind::ClusterDlqConnection => {
                format!("{name} does not exist; name another in spec.connection.name")
            }
        }
    }
}

fn not_found(message: &str) -> Invalid {
    Invalid::new(Reason::ConnectionNotFound, message)
}
