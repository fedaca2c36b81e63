//! From a spec to a [`Policy`]: everything fallible about what a user wrote happens here, once.
//!
//! The API server has checked most of it. What would be dangerous is checked again, since the definition in a cluster
//! may be older than the operator, and what no rule of the API server can check is checked here alone.

use std::collections::BTreeMap;

use super::backlog::backlog;
use super::by_listing::by_listing;
use super::connection::{ConnectionRef, connection_ref};
use super::hash::{spec_hash, text_hash};
use super::invalid::Invalid;
use super::overrides::api_overrides;
use super::permissions::Permissions;
use super::policy::{Mode, Pause, Policy, Request, Requests, Work};
use super::selection;
use super::shared::SharedConnection;
use crate::run::approval;
use crate::schedule::Schedule;
use dlq_crd::{
    ConcurrencyPolicy, Connection, DlqPolicySpec, JitterText, Limits, Reason, ScheduleText, SpecTrigger,
    TimeZoneText, annotations,
};
use dlq_upstash::error::{printable, visible};

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
    /// `metadata.creationTimestamp`.
    pub created: Option<jiff::Timestamp>,
    /// `metadata.annotations`.
    pub annotations: &'a BTreeMap<String, String>,
    /// The spec, or which field of the object cannot be read and why.
    pub spec: Result<&'a DlqPolicySpec, &'a str>,
    /// The shared connection that the spec names, or why it cannot be used; none where it names none.
    pub shared: Option<Result<&'a SharedConnection, &'a Invalid>>,
}

/// Makes a policy of what a user wrote. Total: what is wrong stands in the result, so that an active run can be ended
/// and the status can say why.
pub fn validate(source: &Source<'_>, permissions: &Permissions) -> Policy {
    let text = |key| source.annotations.get(key).map(String::as_str).filter(|value| !value.is_empty());
    // Told in the status, events and logs as it is.
    let short = |key| text(key).filter(|value| value.len() <= annotations::MAX_VALUE_BYTES).map(visible);
    let requests = Requests {
        run: text(annotations::REQUESTED_AT).map(request),
        mode: mode(text(annotations::REQUESTED_MODE)),
        requested_by: short(annotations::REQUESTED_BY),
        request_reason: short(annotations::REQUEST_REASON),
        cancel: text(annotations::CANCEL_AT).map(request),
        reset: text(annotations::RESET_AT).map(request),
        approved: text(annotations::APPROVED_RUN).map(request),
    };
    let annotated = text(annotations::PAUSED).filter(|value| *value != "false");
    let paused = if permissions.pause_all {
        Some(Pause::Flag)
    } else {
        annotated.map(|value| Pause::Annotation(printable(value)))
    };
    let policy = Policy {
        generation: source.generation,
        created: source.created,
        spec_hash: String::new(),
        work: Err(Invalid::spec("spec", "cannot be read")),
        trigger: SpecTrigger::default(),
        schedule: Ok(None),
        starting_deadline: None,
        concurrency: ConcurrencyPolicy::default(),
        suspend: false,
        paused,
        force_dry_run: permissions.force_dry_run,
        requests,
        limits: Limits::default(),
        open_circuit_after: None,
        backlog: None,
        // The most there can be: a spec that cannot be read is no reason to forget a run.
        history_limit: MAX_HISTORY,
    };
    match source.spec {
        Err(problem) => Policy { work: Err(Invalid::new(Reason::InvalidSpec, problem)), ..policy },
        Ok(spec) => {
            // Nothing of a spec goes unread: a new field does not compile until it is handled.
            let DlqPolicySpec {
                action,
                filters,
                overrides,
                matching: _,
                loop_protection: _,
                trigger,
                schedule,
                time_zone,
                jitter,
                starting_deadline_seconds,
                concurrency_policy,
                suspend,
                dry_run,
                limits,
                failure_policy,
                backlog: _,
                history_limit,
                connection,
            } = spec;
            let failure_policy = failure_policy.as_ref();
            let of_work = || {
                check_action(*action, permissions)?;
                let selected = selection::selected(filters)?;
                let connection = account(connection.as_ref(), spec, source, permissions)?;
                Ok(Work {
                    action: *action,
                    dry_run: *dry_run,
                    by_listing: by_listing(spec, &selected)?,
                    selected,
                    overrides: api_overrides(*action, overrides.as_ref(), permissions)?,
                    connection,
                })
            };
            let of_backlog = |work: Work| Ok((backlog(spec, &work.selected)?, work));
            let (backlog, work) = match of_work().and_then(of_backlog) {
                Ok((backlog, work)) => (backlog.map(Box::new), Ok(work)),
                Err(invalid) => (None, Err(invalid)),
            };
            Policy {
                spec_hash: spec_hash(spec),
                work,
                trigger: trigger.unwrap_or_default(),
                schedule: parse_schedule(schedule.as_ref(), time_zone.as_ref(), jitter.as_ref(), source),
                starting_deadline: starting_deadline_seconds.map(jiff::SignedDuration::from_secs),
                concurrency: concurrency_policy.unwrap_or_default(),
                suspend: *suspend,
                limits: of_both(limits.as_ref(), source),
                open_circuit_after: failure_policy
                    .and_then(|policy| policy.open_circuit_after)
                    .map(i64::from),
                backlog,
                history_limit: usize::try_from(*history_limit).unwrap_or(0).min(MAX_HISTORY),
                ..policy
            }
        }
    }
}

/// The limits of the next run: those of the policy, and the connection's threshold where that is lower.
fn of_both(limits: Option<&Limits>, source: &Source<'_>) -> Limits {
    let limits = limits.cloned().unwrap_or_default();
    let of_connection = source.shared.and_then(Result::ok).and_then(|shared| shared.approval_above);
    Limits { approval_above: approval::lowest([limits.approval_above, of_connection]), ..limits }
}

/// The account: of the connection that policies share, if it allows what the policy does, or the policy's own.
fn account(
    connection: Option<&Connection>,
    spec: &DlqPolicySpec,
    source: &Source<'_>,
    permissions: &Permissions,
) -> Result<ConnectionRef, Invalid> {
    match source.shared {
        None => connection_ref(connection, source.namespace, permissions),
        Some(Ok(shared)) => {
            shared.check(spec)?;
            Ok(shared.account.clone())
        }
        Some(Err(missing)) if missing.reason == Reason::ConnectionNotFound => {
            Ok(ConnectionRef::Missing(missing.clone()))
        }
        Some(Err(invalid)) => Err(invalid.clone()),
    }
}

fn mode(value: Option<&str>) -> Mode {
    match value {
        None => Mode::AsSpecified,
        Some(annotations::DRY_RUN) => Mode::DryRun,
        Some(other) => Mode::Unknown(printable(other)),
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
