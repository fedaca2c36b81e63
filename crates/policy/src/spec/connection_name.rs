//! Which shared connection a policy names.

use std::fmt;

use dlq_crd::{Connection, ConnectionKind};

/// A shared connection's identity.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnectionName {
    /// Its kind.
    pub kind: ConnectionKind,
    /// Its namespace; empty for a cluster-wide one.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ConnectionName {
    /// What a policy of this namespace names; none where it names none.
    pub fn of(connection: &Connection, namespace: &str) -> Option<Self> {
        let name = connection.name.as_ref()?.to_string();
        Some(Self::new(connection.kind.unwrap_or_default(), namespace, name))
    }

    /// The name of a connection that policies of this namespace may mean.
    pub fn new(kind: ConnectionKind, namespace: &str, name: String) -> Self {
        let namespace = match kind {
            ConnectionKind::DlqConnection => namespace.to_owned(),
            ConnectionKind::ClusterDlqConnection => String::new(),
        };
        Self { kind, namespace, name }
    }
}

impl fmt::Display for ConnectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}
