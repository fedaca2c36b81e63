//! `spec.connection`: which Upstash account a policy talks to.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{ConnectionUrlText, SecretKeyText, SecretNameText};

/// An Upstash account.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.tokenSecretRef)")
        .message("tokenSecretRef must be set, as the operator's own token never goes to a URL that a policy chose; without connection the operator's default is used")
        .field_path(".tokenSecretRef").reason(Reason::FieldValueRequired),
)]
pub struct Connection {
    /// The base URL of the region. It must be one that the operator allows. Default: the operator's `QSTASH_URL`,
    /// else `https://qstash.upstash.io`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<ConnectionUrlText>,

    /// Where the token is: a Secret in the policy's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_secret_ref: Option<SecretKeyRef>,
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

fn default_secret_key() -> SecretKeyText {
    "token".into()
}
