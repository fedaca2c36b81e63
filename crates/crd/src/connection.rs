//! `spec.connection`: which Upstash account a policy talks to.

use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{ConnectionNameText, ConnectionUrlText, SecretKeyText, SecretNameText};
use super::words::undescribed;

/// An Upstash account.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.tokenSecretRef) || has(self.name)")
        .message("tokenSecretRef or name must be set, as the operator's own token never goes to a URL that a policy chose; without connection the operator's default is used")
        .field_path(".tokenSecretRef").reason(Reason::FieldValueRequired),
    validation = Rule::new("!has(self.name) || (!has(self.url) && !has(self.tokenSecretRef))")
        .message("name must not be set with url or tokenSecretRef, as the connection of that name has its own; remove name, or url and tokenSecretRef")
        .field_path(".name").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.kind) || has(self.name)")
        .message("kind must come with name; add the name of a connection, or remove kind")
        .field_path(".kind").reason(Reason::FieldValueForbidden),
)]
pub struct Connection {
    /// The base URL of the region. It must be one that the operator allows. Default: the operator's `QSTASH_URL`,
    /// else `https://qstash.upstash.io`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<ConnectionUrlText>,

    /// Where the token is: a Secret in the policy's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_secret_ref: Option<SecretKeyRef>,

    /// The name of a connection that policies share, instead of `url` and `tokenSecretRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ConnectionNameText>,

    /// What `name` names: a `DlqConnection` in the policy's own namespace, or a `ClusterDlqConnection`. Default:
    /// `DlqConnection`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ConnectionKind>,
}

/// The kind of a shared connection.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[schemars(transform = undescribed)]
pub enum ConnectionKind {
    /// In the policy's own namespace.
    #[default]
    DlqConnection,
    /// For every namespace that its selector names.
    ClusterDlqConnection,
}

impl ConnectionKind {
    /// The kind as it stands in manifests, metrics and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DlqConnection => "DlqConnection",
            Self::ClusterDlqConnection => "ClusterDlqConnection",
        }
    }
}

impl fmt::Display for ConnectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One key of a Secret in the policy's own namespace.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The Secret's name.
    pub name: SecretNameText,

    /// The key that holds the token; one newline at its end is dropped. Default: `token`.
    #[serde(default = "default_secret_key")]
    pub key: SecretKeyText,
}

pub(super) fn default_secret_key() -> SecretKeyText {
    "token".into()
}
