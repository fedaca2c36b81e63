//! Which account a policy talks to.

use url::Url;

use super::invalid::Invalid;
use super::permissions::{Permissions, base_url};
use dlq_crd::{Connection, Reason, SecretKeyRef};

/// The longest name and the longest key of a Secret, in bytes.
const MAX_SECRET_TEXT: usize = 253;

/// Which account a policy talks to.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum ConnectionRef {
    /// The operator's own.
    Default,
    /// The policy's own.
    Secret {
        /// The base URL.
        url: Url,
        /// Where the token is.
        secret: SecretKeyRef,
    },
}

pub(super) fn connection_ref(
    connection: Option<&Connection>,
    namespace: &str,
    permissions: &Permissions,
) -> Result<ConnectionRef, Invalid> {
    let is_allowed = |url: &Url| permissions.urls.iter().any(|pattern| pattern.matches(url));
    let Some(connection) = connection else {
        return if permissions.default_connection_namespaces.iter().any(|allowed| allowed == namespace) {
            if is_allowed(&permissions.default_url) {
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
                 name a Secret in spec.connection.tokenSecretRef"
            );
            Err(Invalid::new(Reason::NoConnection, &message))
        };
    };
    let Some(secret) = connection.token_secret_ref.clone() else {
        let problem = "is required: the operator's own token never goes to a URL that a policy chose";
        return Err(Invalid::spec("spec.connection.tokenSecretRef", problem));
    };
    if !is_secret_name(secret.name.as_str()) {
        let problem = "is no name of a Secret: lower-case letters, digits, - and . only";
        return Err(Invalid::spec("spec.connection.tokenSecretRef.name", problem));
    }
    if !is_secret_key(secret.key.as_str()) {
        let problem = "is no key of a Secret: letters, digits, -, _ and . only";
        return Err(Invalid::spec("spec.connection.tokenSecretRef.key", problem));
    }
    let url = match &connection.url {
        None => permissions.default_url.clone(),
        Some(text) => base_url(text.as_str())
            .map_err(|error| Invalid::new(Reason::UrlNotAllowed, &format!("spec.connection.url: {error}")))?,
    };
    if !is_allowed(&url) {
        let message = format!(
            "spec.connection.url {}: this operator sends no token there; ask its owner to add it to --allowed-url",
            url.as_str().trim_end_matches('/')
        );
        return Err(Invalid::new(Reason::UrlNotAllowed, &message));
    }
    Ok(ConnectionRef::Secret { url, secret })
}

/// A DNS subdomain. The name becomes a part of a request's path as it is: with a `/` it could be that of another
/// namespace.
fn is_secret_name(name: &str) -> bool {
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
