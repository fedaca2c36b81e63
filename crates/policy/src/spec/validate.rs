//! From a spec to a [`Policy`]: everything fallible about what a user wrote happens here, once.
//!
//! The API server has checked most of it. What would be dangerous is checked again, since the definition in a cluster
//! may be older than the operator, and what no rule of the API server can check is checked here alone.

use std::collections::BTreeMap;

use url::Url;

use super::hash::{spec_hash, text_hash};
use super::permissions::{Permissions, base_url};
use super::selection::{self, Selected};
use crate::schedule::Schedule;
use dlq_crd::{
    ConcurrencyPolicy, DlqPolicySpec, JitterText, Limits, Reason, SecretKeyRef, TimeZoneText, annotations,
};
use dlq_upstash::error::visible;
use dlq_upstash::types::{Action, MAX_HEADER_BYTES, Overrides};

/// The most ended runs that a history can hold.
const MAX_HISTORY: usize = 50;

/// The longest name and the longest key of a Secret, in bytes.
const MAX_SECRET_TEXT: usize = 253;

/// Why a policy cannot run: a reason for machines, a sentence that names the field and the way out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Invalid {
    /// For the `Ready` condition.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

impl Invalid {
    pub fn new(reason: Reason, message: &str) -> Self {
        Self { reason, message: message.to_owned() }
    }

    pub(crate) fn spec(field: &str, problem: &str) -> Self {
        Self::new(Reason::InvalidSpec, &format!("{field}: {problem}"))
    }
}

/// A policy as the operator understands it. Later steps cannot fail on what a user wrote.
#[derive(Clone, Debug)]
pub struct Policy {
    /// `metadata.generation`.
    pub generation: i64,
    /// The hash of action, filters, overrides, connection and dryRun; empty when the spec cannot be read.
    pub spec_hash: String,
    /// What a run does.
    pub work: Result<Work, Invalid>,
    /// When runs start; `None`: once for each `spec_hash`.
    pub schedule: Result<Option<Schedule>, Invalid>,
    /// How late a run may start.
    pub starting_deadline: Option<jiff::SignedDuration>,
    /// What an instant does while a run goes on.
    pub concurrency: ConcurrencyPolicy,
    /// `spec.suspend`.
    pub suspend: bool,
    /// Held by the annotation or by `--pause-all`.
    pub paused: bool,
    /// `--force-dry-run`.
    pub force_dry_run: bool,
    /// What the annotations ask for.
    pub requests: Requests,
    /// Limits of the next run.
    pub limits: Limits,
    /// How many failures in a row open the circuit.
    pub pause_after_failures: Option<i64>,
    /// How many ended runs are kept.
    pub history_limit: usize,
}

/// What a run does, to which entries, as whom.
#[derive(Clone, Debug)]
pub struct Work {
    /// The action, as the resource names it.
    pub action: dlq_crd::Action,
    /// `spec.dryRun`.
    pub dry_run: bool,
    /// Which entries.
    pub selected: Selected,
    /// Settings of the new workflow runs.
    pub overrides: Overrides,
    /// The account.
    pub connection: ConnectionRef,
}

impl Work {
    /// The action, as the API names it.
    pub fn api_action(&self) -> Action {
        match self.action {
            dlq_crd::Action::Resume => Action::Resume,
            dlq_crd::Action::Restart => Action::Restart,
            dlq_crd::Action::Delete => Action::Delete,
        }
    }
}

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

/// What the annotations ask for; see [`annotations`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Requests {
    /// `requestedAt`.
    pub run: Option<Request>,
    /// `requestedBy`.
    pub requested_by: Option<String>,
    /// `requestReason`.
    pub request_reason: Option<String>,
    /// `cancelAt`.
    pub cancel: Option<Request>,
    /// `resetAt`.
    pub reset: Option<Request>,
}

/// The value of an annotation that is handled once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// The value, or a hash of one that is too long, by which the status remembers it.
    pub value: String,
    /// Too long to be taken.
    pub too_long: bool,
}

/// What of an object a policy is made from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// `metadata.namespace`.
    pub namespace: &'a str,
    /// `metadata.name`.
    pub name: &'a str,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.annotations`.
    pub annotations: &'a BTreeMap<String, String>,
    /// The spec, or why it cannot be read.
    pub spec: Result<&'a DlqPolicySpec, &'a str>,
}

/// Makes a policy of what a user wrote. Total: what is wrong stands in the result, so that an active run can be ended
/// and the status can say why.
pub fn validate(source: &Source<'_>, permissions: &Permissions) -> Policy {
    let text = |key| source.annotations.get(key).map(String::as_str).filter(|value| !value.is_empty());
    // Told in the status, events and logs as it is.
    let short = |key| text(key).filter(|value| value.len() <= annotations::MAX_VALUE_BYTES).map(visible);
    let requests = Requests {
        run: text(annotations::REQUESTED_AT).map(request),
        requested_by: short(annotations::REQUESTED_BY),
        request_reason: short(annotations::REQUEST_REASON),
        cancel: text(annotations::CANCEL_AT).map(request),
        reset: text(annotations::RESET_AT).map(request),
    };
    let paused = permissions.pause_all || text(annotations::PAUSED).is_some_and(|value| value != "false");
    let policy = Policy {
        generation: source.generation,
        spec_hash: String::new(),
        work: Err(Invalid::spec("spec", "cannot be read")),
        schedule: Ok(None),
        starting_deadline: None,
        concurrency: ConcurrencyPolicy::default(),
        suspend: false,
        paused,
        force_dry_run: permissions.force_dry_run,
        requests,
        limits: Limits::default(),
        pause_after_failures: None,
        // The most there can be: a spec that cannot be read is no reason to forget a run.
        history_limit: MAX_HISTORY,
    };
    match source.spec {
        Err(problem) => Policy { work: Err(Invalid::spec("spec", problem)), ..policy },
        Ok(spec) => Policy {
            spec_hash: spec_hash(spec),
            work: work(spec, source.namespace, permissions),
            schedule: schedule(spec, source),
            starting_deadline: spec.starting_deadline_seconds.map(jiff::SignedDuration::from_secs),
            concurrency: spec.concurrency_policy.unwrap_or_default(),
            suspend: spec.suspend,
            limits: spec.limits.clone().unwrap_or_default(),
            pause_after_failures: spec
                .failure_policy
                .as_ref()
                .and_then(|policy| policy.pause_after_consecutive_failures)
                .map(i64::from),
            history_limit: usize::try_from(spec.history_limit).unwrap_or(0).min(MAX_HISTORY),
            ..policy
        },
    }
}

fn request(value: &str) -> Request {
    let too_long = value.len() > annotations::MAX_VALUE_BYTES;
    let value = if too_long { format!("too long, hash {}", text_hash(value)) } else { value.to_owned() };
    Request { value, too_long }
}

fn schedule(spec: &DlqPolicySpec, source: &Source<'_>) -> Result<Option<Schedule>, Invalid> {
    let Some(schedule) = &spec.schedule else { return Ok(None) };
    let zone = spec.time_zone.as_ref().map(TimeZoneText::as_str);
    let jitter = spec.jitter.as_ref().map(JitterText::as_str);
    let seed = format!("{}/{}", source.namespace, source.name);
    Schedule::parse(schedule.as_str(), zone, jitter, &seed).map(Some)
}

fn work(spec: &DlqPolicySpec, namespace: &str, permissions: &Permissions) -> Result<Work, Invalid> {
    if !permissions.actions.is_empty() && !permissions.actions.contains(&spec.action) {
        let allowed: Vec<_> = permissions.actions.iter().map(|action| action.as_str()).collect();
        let message = format!(
            "spec.action {}: this operator allows only {}; ask its owner to add it to --allowed-actions",
            spec.action,
            allowed.join(", ")
        );
        return Err(Invalid::new(Reason::ActionNotAllowed, &message));
    }
    Ok(Work {
        action: spec.action,
        dry_run: spec.dry_run,
        selected: selection::selected(&spec.filters)?,
        overrides: overrides(spec, permissions)?,
        connection: connection(spec, namespace, permissions)?,
    })
}

fn overrides(spec: &DlqPolicySpec, permissions: &Permissions) -> Result<Overrides, Invalid> {
    let Some(overrides) = &spec.overrides else { return Ok(Overrides::default()) };
    if spec.action == dlq_crd::Action::Delete {
        let problem = "a delete takes no overrides; remove overrides, or use resume or restart";
        return Err(Invalid::spec("spec.overrides", problem));
    }
    let dlq_crd::Overrides { retries, delay, retry_delay, flow_control, labels, failure_callback } =
        overrides;
    if let Some(text) = failure_callback {
        let field = "spec.overrides.failureCallback";
        let url = Url::parse(text.as_str()).map_err(|error| Invalid::spec(field, &error.to_string()))?;
        let allowed = &permissions.callback_urls;
        // Upstash reads the URL by itself: where parsers disagree on the host, ours proves nothing.
        let is_plain = !text.as_str().contains('\\') && url.username().is_empty() && url.password().is_none();
        let is_allowed = is_plain && allowed.iter().any(|pattern| pattern.matches(&url));
        if !allowed.is_empty() && !is_allowed {
            let message = format!(
                "{field}: this operator does not allow it; ask its owner to add it to --allowed-callback-url"
            );
            return Err(Invalid::new(Reason::UrlNotAllowed, &message));
        }
    }
    let labels: Vec<_> = labels.iter().flatten().map(ToString::to_string).collect();
    // One header carries them all, with commas between them.
    let bytes = labels.iter().map(|label| label.len() + 1).sum::<usize>().saturating_sub(1);
    if bytes > MAX_HEADER_BYTES {
        let problem = format!(
            "make a header of {bytes} bytes, and Upstash may refuse more than {MAX_HEADER_BYTES}; \
             give fewer or shorter labels"
        );
        return Err(Invalid::spec("spec.overrides.labels", &problem));
    }
    let flow = flow_control.clone().unwrap_or_default();
    let number = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
    Ok(Overrides {
        retries: number(*retries),
        delay: delay.as_ref().map(ToString::to_string),
        retry_delay: retry_delay.as_ref().map(ToString::to_string),
        flow_control_key: flow.key.as_ref().map(ToString::to_string),
        parallelism: number(flow.parallelism),
        rate: number(flow.rate),
        period: flow.period.as_ref().map(ToString::to_string),
        labels,
        failure_callback: failure_callback.as_ref().map(ToString::to_string),
    })
}

fn connection(
    spec: &DlqPolicySpec,
    namespace: &str,
    permissions: &Permissions,
) -> Result<ConnectionRef, Invalid> {
    let is_allowed = |url: &Url| permissions.urls.iter().any(|pattern| pattern.matches(url));
    let Some(connection) = &spec.connection else {
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

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
