//! What the operator's flags allow policies to do.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use url::{Host, Url};

use dlq_crd::Action;

/// Where tokens may be sent unless somebody says otherwise: Upstash's regions, with commas between them.
pub const UPSTASH_URLS: &str =
    "https://qstash.upstash.io,https://qstash-eu-central-1.upstash.io,https://qstash-us-east-1.upstash.io";
/// The base URL where none is given.
pub const UPSTASH_URL: &str = "https://qstash.upstash.io";

/// The operator's limits for all policies.
#[derive(Clone, Debug)]
pub struct Permissions {
    /// Where tokens may be sent.
    pub urls: Vec<UrlPattern>,
    /// What may be done; empty: everything.
    pub actions: Vec<Action>,
    /// Where `overrides.failureCallback` may point; empty: anywhere.
    pub callback_urls: Vec<UrlPattern>,
    /// The base URL of policies that name none.
    pub default_url: Url,
    /// The namespaces whose policies may do without `connection`; empty when the operator has no token of its own.
    pub default_connection_namespaces: Vec<String>,
    /// Holds every policy.
    pub pause_all: bool,
    /// Makes every new run a dry run.
    pub force_dry_run: bool,
}

impl Permissions {
    /// Whether a token may be sent to this base URL.
    pub fn allows_url(&self, url: &Url) -> bool {
        self.urls.iter().any(|pattern| pattern.matches(url))
    }
}

/// A base URL, perhaps with `*` for a part of a host's label: `https://qstash-*.upstash.io`.
///
/// Compared by scheme, host and port after both sides are parsed, so that no way of writing another host looks like an
/// allowed one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UrlPattern(Url);

/// Why a text is not a base URL.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum UrlError {
    /// Not a URL at all.
    #[error("not a URL ({0})")]
    Syntax(#[from] url::ParseError),
    /// A scheme other than http and https.
    #[error("begins with neither https:// nor http://")]
    Scheme,
    /// More than scheme, host and port.
    #[error("has a {0}; give scheme, host and port only, such as https://qstash.upstash.io")]
    Extra(&'static str),
    /// Port 0.
    #[error("has port 0, which nobody can call")]
    Port,
}

/// Reads a base URL: scheme, host and port, and nothing that could hide another address or a credential.
pub fn base_url(text: &str) -> Result<Url, UrlError> {
    let url = Url::parse(text)?;
    let extra = [
        ("user or password", text.contains('@')),
        ("query", url.query().is_some()),
        ("fragment", url.fragment().is_some()),
        ("path", url.path() != "/" || text.contains('\\')),
    ];
    if !matches!(url.scheme(), "http" | "https") {
        Err(UrlError::Scheme)
    } else if let Some((what, _)) = extra.into_iter().find(|(_, there)| *there) {
        Err(UrlError::Extra(what))
    } else if url.port() == Some(0) {
        Err(UrlError::Port)
    } else {
        Ok(url)
    }
}

impl UrlPattern {
    /// Whether `url` is one of those meant.
    pub fn matches(&self, url: &Url) -> bool {
        self.0.scheme() == url.scheme()
            && self.0.port_or_known_default() == url.port_or_known_default()
            && match (self.0.host(), url.host()) {
                (Some(Host::Domain(pattern)), Some(Host::Domain(host))) => host_matches(pattern, host),
                (pattern, host) => pattern.is_some() && pattern == host,
            }
    }
}

fn host_matches(pattern: &str, host: &str) -> bool {
    let (pattern, host): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), host.split('.').collect());
    pattern.len() == host.len()
        && pattern.iter().zip(host).all(|(pattern, label)| match pattern.split_once('*') {
            None => *pattern == label,
            Some((start, end)) => {
                label.len() > start.len() + end.len() && label.starts_with(start) && label.ends_with(end)
            }
        })
}

impl FromStr for UrlPattern {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        base_url(text).map(Self)
    }
}

impl From<Url> for UrlPattern {
    fn from(url: Url) -> Self {
        Self(url)
    }
}

impl fmt::Display for UrlPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
#[path = "permissions_tests.rs"]
mod tests;
