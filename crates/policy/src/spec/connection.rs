//! Which account a policy talks to.

use url::Url;

use super::connection_name::ConnectionName;
use super::hash::text_hash;
use super::invalid::Invalid;
use super::permissions::{Permissions, base_url};
use dlq_crd::{Connection, ConnectionUrlText, Reason, SecretKeyRef};

/// The longest DNS name and the longest key of a Secret, in bytes.
const MAX_SECRET_TEXT: usize = 253;

/// Which account a policy talks to.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum ConnectionRef {
    /// The operator's own.
    Default,
    /// The policy's own, or one that policies share.
    Secret {
        /// The base URL.
        url: Url,
        /// The namespace of the Secret.
        namespace: String,
        /// Where the token is.
        secret: SecretKeyRef,
        /// The connection that policies share; none where it is the policy's own.
        shared: Option<ConnectionName>,
    },
    /// The policy names a shared one, and there is none: why, and what to do.
    Missing(Invalid),
}

impl ConnectionRef {
    /// Of URL and Secret in sixteen hex digits, where policies share them: their own are a part of the spec.
    pub(crate) fn shared_hash(&self) -> Option<String> {
        let Self::Secret { url, namespace, secret, shared: Some(_) } = self else { return None };
        Some(text_hash(&format!("{url} {namespace} {} {}", secret.name, secret.key)))
    }
}

/// What a policy names that has a connection of its own, or none.
pub(super) fn connection_ref(
    connection: Option<&Connection>,
    namespace: &str,
    permissions: &Permissions,
) -> Result<ConnectionRef, Invalid> {
    let Some(connection) = connection else {
        return if permissions.default_connection_namespaces.iter().any(|allowed| allowed == namespace) {
            if permissions.allows_url(&permissions.default_url) {
                return Ok(ConnectionRef::Default);
            }
            let message = format!(
                "spec.connection is absent, and the operator sends no token to {}; ask its owner to set QSTASH_URL, or \
                 to add the URL to --allowed-url",
                permissions.default_url.as_str().trim_end_matches('/')
            );
            Err(Invalid::new(Reason::UrlNotAllowed, &message))
        } else {
            let message = format!(
                "spec.connection is absent, and the operator has no default connection for namespace {namespace}; \
                 name a Secret in spec.connection.tokenSecretRef, or a shared connection in spec.connection.name"
            );
            Err(Invalid::new(Reason::NoConnection, &message))
        };
    };
    let Some(secret) = connection.token_secret_ref.clone() else {
        let problem = "is required: the operator's own token never goes to a URL that a policy chose";
        return Err(Invalid::spec("spec.connection.tokenSecretRef", problem));
    };
    secret_ref(connection.url.as_ref(), namespace, secret, permissions, "spec.connection")
}

/// An account by its URL and Secret, as the fields of `at` name them.
pub(super) fn secret_ref(
    url: Option<&ConnectionUrlText>,
    namespace: &str,
    secret: SecretKeyRef,
    permissions: &Permissions,
    at: &str,
) -> Result<ConnectionRef, Invalid> {
    if !is_dns_name(secret.name.as_str()) {
        let problem = "is no name of a Secret: lower-case letters, digits, - and . only";
        return Err(Invalid::spec(&format!("{at}.tokenSecretRef.name"), problem));
    }
    if !is_secret_key(secret.key.as_str()) {
        let problem = "is no key of a Secret: letters, digits, -, _ and . only";
        return Err(Invalid::spec(&format!("{at}.tokenSecretRef.key"), problem));
    }
    let url = match url {
        None => permissions.default_url.clone(),
        Some(text) => base_url(text.as_str())
            .map_err(|error| Invalid::new(Reason::UrlNotAllowed, &format!("{at}.url: {error}")))?,
    };
    if !permissions.allows_url(&url) {
        let message = format!(
            "{at}.url {}: this operator sends no token there; ask its owner to add it to --allowed-url",
            url.as_str().trim_end_matches('/')
        );
        return Err(Invalid::new(Reason::UrlNotAllowed, &message));
    }
    Ok(ConnectionRef::Secret { url, namespace: namespace.to_owned(), secret, shared: None })
}

/// Whether a text is a DNS subdomain, as names of objects are. The name becomes a part of a request's path as it is: with a `/` it could be that of another
/// namespace.
pub fn is_dns_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        label.bytes().all(|byte| is_plain(byte) || byte == b'-')
            && label.bytes().next().is_some_and(is_plain)
            && label.bytes().next_back().is_some_and(is_plain)
    };
    name.len() <= MAX_SECRET_TEXT && name.split('.').all(is_label)
}

fn is_secret_key(key: &str) -> bool {
    !key.is_empty()
        && key.len() <= MAX_SECRET_TEXT
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}
