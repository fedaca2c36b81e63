//! A connection that policies share: the account that it stands for, and the guardrails that its policies keep.

use std::fmt::Display;
use std::ops::RangeInclusive;

use jiff::tz::TimeZone;
use url::Url;

use super::connection::{ConnectionRef, is_dns_name, secret_ref};
use super::connection_name::ConnectionName;
use super::invalid::Invalid;
use super::permissions::{Permissions, UrlPattern};
use crate::budget::BudgetLimits;
use dlq_crd::{
    Action, ClusterDlqConnectionSpec, DlqConnectionSpec, DlqPolicySpec, Guardrails, Reason, SecretKeyRef,
};
use dlq_upstash::error::printable;

/// A connection that policies share.
#[derive(Clone, Debug)]
pub struct SharedConnection {
    /// Which one it is.
    pub name: ConnectionName,
    /// The account.
    pub account: ConnectionRef,
    /// What its policies may do together.
    pub budget: BudgetLimits,
    /// `limits.maxConcurrentRuns`.
    pub max_concurrent_runs: Option<u16>,
    /// `limits.approvalAbove`.
    pub approval_above: Option<i64>,
    guardrails: Guardrails,
    callback_urls: Vec<UrlPattern>,
}

impl SharedConnection {
    /// Of one that serves the policies of its own namespace.
    ///
    /// # Errors
    /// The operator sends no token to its URL, or a field cannot be read. Each message names connection and field.
    pub fn of_namespace(
        name: ConnectionName,
        spec: &DlqConnectionSpec,
        permissions: &Permissions,
    ) -> Result<Self, Invalid> {
        let DlqConnectionSpec { url, token_secret_ref, guardrails } = spec;
        let at = at(&name);
        let account = secret_ref(url.as_ref(), &name.namespace, token_secret_ref.clone(), permissions, &at)?;
        Self::new(name, account, guardrails, &at)
    }

    /// Of one that serves the policies of several namespaces. Which these are is not decided here.
    ///
    /// # Errors
    /// As in [`Self::of_namespace`].
    pub fn of_cluster(
        name: ConnectionName,
        spec: &ClusterDlqConnectionSpec,
        permissions: &Permissions,
    ) -> Result<Self, Invalid> {
        let ClusterDlqConnectionSpec { url, token_secret_ref: secret, namespace_selector: _, guardrails } =
            spec;
        let at = at(&name);
        let namespace = secret.namespace.as_str();
        if !is_dns_name(namespace) || namespace.contains('.') {
            let problem = "is no name of a namespace: lower-case letters, digits and - only";
            return Err(Invalid::spec(&format!("{at}.tokenSecretRef.namespace"), problem));
        }
        let reference = SecretKeyRef { name: secret.name.clone(), key: secret.key.clone() };
        let account = secret_ref(url.as_ref(), namespace, reference, permissions, &at)?;
        Self::new(name, account, guardrails, &at)
    }

    fn new(
        name: ConnectionName,
        account: ConnectionRef,
        guardrails: &Guardrails,
        at: &str,
    ) -> Result<Self, Invalid> {
        let patterns = guardrails.allowed_callback_urls.iter().flatten().enumerate();
        let callback_urls = patterns
            .map(|(index, text)| {
                let field = format!("{at}.allowedCallbackUrls[{index}]");
                text.as_str().parse().map_err(|error| Invalid::spec(&field, &format!("{error}")))
            })
            .collect::<Result<_, _>>()?;
        let account = match account {
            ConnectionRef::Secret { url, namespace, secret, .. } => {
                ConnectionRef::Secret { url, namespace, secret, shared: Some(name.clone()) }
            }
            other => other,
        };
        let limits = guardrails.limits.clone().unwrap_or_default();
        let budget = BudgetLimits {
            entries_per_second: limit(limits.entries_per_second, at, "entriesPerSecond", &(1..=u32::MAX))?,
            max_entries_per_day: limit(limits.max_entries_per_day, at, "maxEntriesPerDay", &(1..=u64::MAX))?,
            zone: guardrails.time_zone.as_ref().map(|text| zone(text.as_str(), at)).transpose()?,
        };
        let max_concurrent_runs =
            limit(limits.max_concurrent_runs, at, "maxConcurrentRuns", &(1..=u16::MAX))?;
        Ok(Self {
            name,
            account,
            budget,
            max_concurrent_runs,
            approval_above: limit(limits.approval_above, at, "approvalAbove", &(0..=i64::MAX))?,
            guardrails: guardrails.clone(),
            callback_urls,
        })
    }

    /// Whether a policy keeps the guardrails.
    ///
    /// # Errors
    /// The first one that it breaks, with the field of the policy and the way out.
    pub(super) fn check(&self, spec: &DlqPolicySpec) -> Result<(), Invalid> {
        let Guardrails {
            allowed_actions,
            allowed_callback_urls,
            allowed_labels,
            require_loop_protection,
            time_zone: _,
            limits: _,
        } = &self.guardrails;
        let broken = |field: &str, rule: &str, way_out: &str| {
            let message = format!("{field}: {} {rule}; {way_out}", self.name);
            Err(Invalid::new(Reason::GuardrailViolated, &message))
        };
        if let Some(allowed) = allowed_actions
            && !allowed.contains(&spec.action)
        {
            let actions: Vec<_> = allowed.iter().map(|action| action.as_str()).collect();
            let rule = format!("does not allow {} (allowedActions)", spec.action);
            return broken("spec.action", &rule, &format!("use {}", actions.join(" or ")));
        }
        if let Some(allowed) = allowed_labels {
            let labels = spec.filters.labels.as_deref().unwrap_or_default();
            let names = allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let rule = "lets policies select by its labels only (allowedLabels)";
            if labels.is_empty() {
                return broken("spec.filters.labels", rule, &format!("select by {names}"));
            }
            if let Some(other) = labels.iter().find(|label| !allowed.contains(label)) {
                return broken("spec.filters.labels", rule, &format!("remove {other}; it allows {names}"));
            }
        }
        let callback = spec.overrides.as_ref().and_then(|overrides| overrides.failure_callback.as_ref());
        if let (Some(allowed), Some(callback)) = (allowed_callback_urls, callback) {
            let is_allowed = |url: &Url| self.callback_urls.iter().any(|pattern| pattern.matches(url));
            if !callback_url(callback.as_str()).is_some_and(|url| is_allowed(&url)) {
                let urls = allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let rule = "does not allow that address (allowedCallbackUrls)";
                return broken("spec.overrides.failureCallback", rule, &format!("use one of {urls}"));
            }
        }
        if *require_loop_protection
            && spec.schedule.is_some()
            && spec.action != Action::Delete
            && spec.loop_protection.is_none()
        {
            let rule = "asks for it of every policy with a schedule that resumes or restarts \
                        (requireLoopProtection)";
            return broken("spec.loopProtection", rule, "add it, for example with maxAttempts: 3");
        }
        Ok(())
    }
}

/// A callback's URL, if every parser finds the same host in it: Upstash reads it by itself.
pub(super) fn callback_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_plain = !text.contains('\\') && url.username().is_empty() && url.password().is_none();
    is_plain.then_some(url)
}

/// A limit. The API server takes none that is out of range; under an older definition it may have taken any, which is not to
/// count as none.
fn limit<U: TryFrom<i64> + PartialOrd + Display>(
    limit: Option<impl Into<i64>>,
    at: &str,
    field: &str,
    range: &RangeInclusive<U>,
) -> Result<Option<U>, Invalid> {
    let Some(limit) = limit else { return Ok(None) };
    let limit = U::try_from(limit.into()).ok().filter(|limit| range.contains(limit));
    let out_of_range = || {
        let problem = format!("is out of range; use {} to {}", range.start(), range.end());
        Invalid::spec(&format!("{at}.limits.{field}"), &problem)
    };
    limit.map(Some).ok_or_else(out_of_range)
}

fn zone(text: &str, at: &str) -> Result<TimeZone, Invalid> {
    TimeZone::get(text).map_err(|error| {
        let message = format!(
            "{at}.timeZone: {}; use an IANA name such as Europe/Berlin",
            printable(&error.to_string())
        );
        Invalid::new(Reason::InvalidTimeZone, &message)
    })
}

fn at(name: &ConnectionName) -> String {
    format!("{name}: spec")
}

#[cfg(test)]
#[path = "shared_tests.rs"]
mod tests;
