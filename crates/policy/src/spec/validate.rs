//! From a spec to a [`Policy`]: everything fallible about what a user wrote happens here, once.
//!
//! The API server has checked most of it. What would be dangerous is checked again, since the definition in a cluster
//! may be older than the operator, and what no rule of the API server can check is checked here alone.

use std::collections::BTreeMap;

use super::connection::connection_ref;
use super::hash::{spec_hash, text_hash};
use super::invalid::Invalid;
use super::overrides::api_overrides;
use super::permissions::Permissions;
use super::policy::{Policy, Request, Requests, Work};
use super::selection;
use crate::schedule::Schedule;
use dlq_crd::{
    ConcurrencyPolicy, DlqPolicySpec, JitterText, Limits, Reason, ScheduleText, TimeZoneText, annotations,
};
use dlq_upstash::error::visible;

/// The most ended runs that a history can hold.
const MAX_HISTORY: usize = 50;

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
        Ok(spec) => {
            // Nothing of a spec goes unread: a new field does not compile until it is handled.
            let DlqPolicySpec {
                action,
                filters,
                overrides,
                schedule,
                time_zone,
                jitter,
                starting_deadline_seconds,
                concurrency_policy,
                suspend,
                dry_run,
                limits,
                failure_policy,
                history_limit,
                connection,
            } = spec;
            let failure_policy = failure_policy.as_ref();
            let of_work = || {
                check_action(*action, permissions)?;
                Ok(Work {
                    action: *action,
                    dry_run: *dry_run,
                    selected: selection::selected(filters)?,
                    overrides: api_overrides(*action, overrides.as_ref(), permissions)?,
                    connection: connection_ref(connection.as_ref(), source.namespace, permissions)?,
                })
            };
            Policy {
                spec_hash: spec_hash(spec),
                work: of_work(),
                schedule: parse_schedule(schedule.as_ref(), time_zone.as_ref(), jitter.as_ref(), source),
                starting_deadline: starting_deadline_seconds.map(jiff::SignedDuration::from_secs),
                concurrency: concurrency_policy.unwrap_or_default(),
                suspend: *suspend,
                limits: limits.clone().unwrap_or_default(),
                pause_after_failures: failure_policy
                    .and_then(|policy| policy.pause_after_consecutive_failures)
                    .map(i64::from),
                history_limit: usize::try_from(*history_limit).unwrap_or(0).min(MAX_HISTORY),
                ..policy
            }
        }
    }
}

fn request(value: &str) -> Request {
    let too_long = value.len() > annotations::MAX_VALUE_BYTES;
    let value = if too_long { format!("too long, hash {}", text_hash(value)) } else { value.to_owned() };
    Request { value, too_long }
}

fn parse_schedule(
    schedule: Option<&ScheduleText>,
    time_zone: Option<&TimeZoneText>,
    jitter: Option<&JitterText>,
    source: &Source<'_>,
) -> Result<Option<Schedule>, Invalid> {
    let Some(schedule) = schedule else { return Ok(None) };
    let zone = time_zone.map(TimeZoneText::as_str);
    let jitter = jitter.map(JitterText::as_str);
    let seed = format!("{}/{}", source.namespace, source.name);
    Schedule::parse(schedule.as_str(), zone, jitter, &seed).map(Some)
}

fn check_action(action: dlq_crd::Action, permissions: &Permissions) -> Result<(), Invalid> {
    if permissions.actions.is_empty() || permissions.actions.contains(&action) {
        return Ok(());
    }
    let allowed: Vec<_> = permissions.actions.iter().map(|action| action.as_str()).collect();
    let message = format!(
        "spec.action {action}: this operator allows only {}; ask its owner to add it to --allowed-actions",
        allowed.join(", ")
    );
    Err(Invalid::new(Reason::ActionNotAllowed, &message))
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
