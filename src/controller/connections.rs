//! Finds the account of a policy: reads its Secret when a run needs the token.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use tokio::time::{Instant, timeout};
use url::Url;

use crate::controller::api::observe::API_TIMEOUT;
use crate::controller::error;
use crate::controller::names::lock;
use dlq_crd::{Reason, SecretKeyRef};
use dlq_policy::attempt::{FailedStep, Trouble};
use dlq_policy::plan::{self, Freshness};
use dlq_policy::{ConnectionName, ConnectionRef, Invalid};
use dlq_upstash::client::Transport;
use dlq_upstash::{Client, Token};

/// How long a policy that waits for a Secret is answered from memory.
const LOOK_AGAIN: Duration = plan::LOOK_AGAIN.unsigned_abs();

/// How long a token that was found serves others that name its Secret.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// When somebody looked, and what was found: a Secret's version or what is missing. Never the token.
type Look = (Instant, Result<String, Invalid>);

/// Writes down what was found, and forgets what is too old to be of use: references come and go with policies.
fn remember(
    looks: &mut HashMap<ConnectionRef, Look>,
    key: ConnectionRef,
    found: Result<String, Invalid>,
    now: Instant,
) {
    looks.retain(|_, (at, _)| now.duration_since(*at) < LOOK_AGAIN);
    looks.insert(key, (now, found));
}

/// An account with its token.
#[derive(Clone, Debug)]
pub(crate) struct Connected {
    pub(crate) client: Client,
    /// Tells accounts apart, and tells nothing of the token.
    pub(crate) fingerprint: u64,
    /// Which Secret it is, in which version. The operator's own token changes with the process alone.
    pub(crate) secret: String,
    /// The connection that policies share it by.
    pub(crate) shared: Option<ConnectionName>,
}

impl Connected {
    fn new(
        transport: &Transport,
        url: Url,
        token: Token,
        secret: String,
        shared: Option<ConnectionName>,
    ) -> Self {
        let fingerprint = fingerprint(&url, &token, shared.as_ref());
        Self { client: Client::new(transport.clone(), url, token), fingerprint, secret, shared }
    }
}

/// A look at a Secret that others may wait for too.
type Flight = Shared<BoxFuture<'static, Result<Result<Connected, Invalid>, Trouble>>>;

/// One token may stand for two accounts, at two URLs. Connections that policies share have limits of their own.
fn fingerprint(url: &Url, token: &Token, shared: Option<&ConnectionName>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (url, token.fingerprint(), shared).hash(&mut hasher);
    hasher.finish()
}

/// The accounts of all policies.
pub(crate) struct Connections {
    kube: kube::Client,
    transport: Transport,
    default: Option<(Url, Token)>,
    process: String,
    looks: Mutex<HashMap<ConnectionRef, Look>>,
    flights: Mutex<HashMap<ConnectionRef, (Instant, Flight)>>,
    /// How many Secrets changed that somebody waits for.
    changes: AtomicU64,
}

impl Connections {
    /// `process`: this one's name, which no other has.
    pub(crate) fn new(
        kube: kube::Client,
        transport: Transport,
        default: Option<(Url, Token)>,
        process: &str,
    ) -> Self {
        Self {
            kube,
            transport,
            default,
            process: process.to_owned(),
            looks: Mutex::default(),
            flights: Mutex::default(),
            changes: AtomicU64::new(0),
        }
    }

    /// What to add to our time to get that of a policy's account, as far as answers have told.
    pub(crate) fn clock_offset(&self, connection: &ConnectionRef) -> SignedDuration {
        match connection {
            ConnectionRef::Default => self.default.as_ref().map(|(url, _)| url),
            ConnectionRef::Secret { url, .. } => Some(url),
            ConnectionRef::Missing(_) => None,
        }
        .map_or(SignedDuration::ZERO, |url| self.transport.clock_offset(url))
    }

    /// What was found within the last minute: how policies that wait share one look per Secret.
    pub(crate) fn known(&self, connection: &ConnectionRef) -> Option<Result<String, Invalid>> {
        let mut looks = lock(&self.looks);
        looks.retain(|_, (at, _)| at.elapsed() < LOOK_AGAIN);
        looks.get(connection).map(|(_, found)| found.clone())
    }

    /// Forgets what was found of a Secret: it changed.
    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        let is_of = |connection: &ConnectionRef| {
            let ConnectionRef::Secret { namespace: of, secret, .. } = connection else { return false };
            of == namespace && secret.name.as_str() == name
        };
        self.changes.fetch_add(1, Ordering::Relaxed);
        lock(&self.looks).retain(|key, _| !is_of(key));
        lock(&self.flights).retain(|key, _| !is_of(key));
    }

    /// Reads the token. When many policies are due, one look at a Secret serves all that name it.
    pub(crate) async fn look(
        &self,
        connection: &ConnectionRef,
        freshness: Freshness,
    ) -> Result<Result<Connected, Invalid>, Trouble> {
        let (url, namespace, secret, shared) = match connection {
            ConnectionRef::Default => return Ok(self.default()),
            ConnectionRef::Missing(missing) => return Ok(Err(missing.clone())),
            ConnectionRef::Secret { url, namespace, secret, shared } => (url, namespace, secret, shared),
        };
        let changes = self.changes.load(Ordering::Relaxed);
        let flight = {
            let now = Instant::now();
            let mut flights = lock(&self.flights);
            flights.retain(|_, (since, _)| now.duration_since(*since) < SHARED_FOR);
            let known = flights.get(connection).filter(|(_, flight)| {
                // What is missing may have come since.
                freshness != Freshness::New && flight.peek().is_none_or(|found| matches!(found, Ok(Ok(_))))
            });
            if let Some((_, flight)) = known {
                flight.clone()
            } else {
                let (kube, transport) = (self.kube.clone(), self.transport.clone());
                let flight =
                    read(kube, transport, url.clone(), (namespace.clone(), secret.clone()), shared.clone());
                let flight = flight.boxed().shared();
                flights.insert(connection.clone(), (now, flight.clone()));
                flight
            }
        };
        let found = flight.await?;
        let outcome = found.as_ref().map(|connected| connected.secret.clone()).map_err(Clone::clone);
        let mut looks = lock(&self.looks);
        // What was read while a Secret changed may be of before.
        if self.changes.load(Ordering::Relaxed) == changes {
            remember(&mut looks, connection.clone(), outcome, Instant::now());
        }
        Ok(found)
    }

    /// The operator's own connection.
    fn default(&self) -> Result<Connected, Invalid> {
        let (url, token) = self.default.clone().ok_or_else(|| {
            Invalid::new(
                Reason::NoConnection,
                "the operator has no connection of its own: QSTASH_TOKEN is not set",
            )
        })?;
        Ok(Connected::new(&self.transport, url, token, self.process.clone(), None))
    }
}

/// Reads the token out of a Secret.
async fn read(
    kube: kube::Client,
    transport: Transport,
    url: Url,
    (namespace, reference): (String, SecretKeyRef),
    shared: Option<ConnectionName>,
) -> Result<Result<Connected, Invalid>, Trouble> {
    let token = token(kube, &namespace, &reference).await?;
    Ok(token.map(|(token, version)| Connected::new(&transport, url, token, version, shared)))
}

/// A Secret's token, and its version.
async fn token(
    kube: kube::Client,
    namespace: &str,
    reference: &SecretKeyRef,
) -> Result<Result<(Token, String), Invalid>, Trouble> {
    let (name, key) = (reference.name.as_str(), reference.key.as_str());
    let api: Api<Secret> = Api::namespaced(kube, namespace);
    let read =
        timeout(API_TIMEOUT, api.get_opt(name)).await.map_err(|_| error::no_answer("reading the Secret"))?;
    let missing = |reason, message: String| Ok(Err(Invalid::new(reason, &message)));
    let secret = match read {
        Ok(Some(secret)) => secret,
        Ok(None) => {
            let message =
                format!("Secret {name} is not in namespace {namespace}; create it with the key {key}");
            return missing(Reason::SecretNotFound, message);
        }
        Err(kube::Error::Api(status)) if status.code == 403 => {
            let message = format!(
                "the operator may not read Secret {name} in namespace {namespace}; give its ServiceAccount \"get\""
            );
            return missing(Reason::SecretNotFound, message);
        }
        Err(error) => return Err(error::of(FailedStep::ReadSecret, "cannot read the Secret", &error)),
    };
    let Some(value) = secret.data.as_ref().and_then(|data| data.get(key)) else {
        let message = format!("Secret {name} has no key {key}; add it with the token as its value");
        return missing(Reason::SecretKeyNotFound, message);
    };
    let token = std::str::from_utf8(&value.0).map_err(|_| "the token is not text".to_owned());
    let token = token.and_then(|text| Token::parse(text).map_err(|error| error.to_string()));
    let metadata = &secret.metadata;
    let version = [&metadata.uid, &metadata.resource_version].map(|part| part.as_deref().unwrap_or_default());
    Ok(token.map(|token| (token, version.join("/"))).map_err(|problem| {
        let message = format!("key {key} of Secret {name}: {problem}; put an Upstash token there");
        Invalid::new(Reason::SecretInvalid, &message)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dlq_upstash::ClientOptions;

    #[test]
    fn looks_that_are_out_of_date_are_forgotten_when_others_come() {
        let mut looks = HashMap::new();
        let key = |name: u64| ConnectionRef::Secret {
            url: Url::parse("https://qstash.upstash.io").unwrap(),
            namespace: format!("team-{name}"),
            secret: serde_json::from_str(r#"{"name":"upstash"}"#).unwrap(),
            shared: None,
        };
        let start = Instant::now();
        for second in 0..1000 {
            let now = start + Duration::from_secs(second);
            remember(&mut looks, key(second), Ok(String::new()), now);
            assert!(looks.len() as u64 <= LOOK_AGAIN.as_secs(), "{} are kept", looks.len());
            assert!(looks.contains_key(&key(second)) && looks.contains_key(&key(second.saturating_sub(59))));
        }
    }

    #[test]
    fn a_connected_account_prints_no_token() {
        let transport = Transport::new(ClientOptions::new(Duration::from_secs(1))).unwrap();
        let url = Url::parse("https://qstash.upstash.io").unwrap();
        let token = Token::parse("a-token-of-its-own").unwrap();
        let fingerprint = fingerprint(&url, &token, None);
        let connected = Connected {
            client: Client::new(transport, url, token),
            fingerprint,
            secret: String::new(),
            shared: None,
        };
        let shown = format!("{connected:?} {connected:#?}");
        assert!(shown.contains("fingerprint") && !shown.contains("a-token-of-its-own"), "{shown}");
    }
}
