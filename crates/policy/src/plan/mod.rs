//! What to do with a policy now.

mod cancel;
mod circuit;
pub mod due;
mod facts;
mod last_seen;
mod loops;
mod request;
mod start;

use jiff::Timestamp;

pub use self::cancel::CancelCause;
pub(crate) use self::circuit::{
    has_failed_enough, is_circuit_open, is_circuit_reset, is_new_work, new_request,
};
use self::due::{
    Due, due, handled_until, is_too_late, left_to_do, next_run, next_start, replaces, schedule_since,
};
pub use self::facts::{Connectivity, Facts, Freshness, LOOK_AGAIN, Question};
pub(crate) use self::last_seen::{not_ready_reason, refusal, was_held};
pub(crate) use self::loops::labels_not_carried;
pub use self::loops::may_loop;
pub(crate) use self::request::{Asked, Ignored, asked, spoils_first_run};
pub use self::start::Start;
use self::start::new_run;
use crate::run::{approval, progress};
use crate::schedule::Schedule;
use crate::spec::hash::text_hash;
use crate::spec::invalid::Invalid;
use crate::spec::policy::{Mode, Policy, Work};
use dlq_crd::{DlqPolicyStatus, PolicyRun, ReasonClass, RequestedMode, SpecTrigger, Trigger};

/// What to do with a policy now. The gates stand in this order; the first that holds decides.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// A run is in progress, and nothing speaks against it.
    Continue {
        /// The run as the status has it.
        run: PolicyRun,
    },
    /// A run is in progress, and acts on nothing before somebody approves it.
    AwaitsApproval {
        /// When it ends unless that happens.
        until: Timestamp,
    },
    /// A run is in progress, and must end now.
    Cancel {
        /// The run as the status has it.
        run: PolicyRun,
        /// Why.
        why: CancelCause,
    },
    /// No run can start before somebody fixes the spec.
    Invalid(Invalid),
    /// `spec.suspend`: scheduled times and requests pass.
    Suspended,
    /// The annotation or the flag: likewise.
    Paused,
    /// Too many failures in a row: scheduled times pass, and only a request starts a trial.
    CircuitOpen,
    /// The connection is missing: scheduled times pass, a request waits.
    Waiting {
        /// For what.
        on: Invalid,
    },
    /// Nothing is due.
    Idle {
        /// When something is, jitter included.
        next: Option<Timestamp>,
    },
    /// A scheduled time was due, and it is too late for it.
    Missed {
        /// The scheduled time.
        at: Timestamp,
        /// How many were missed, this one included.
        count: i64,
        /// When the next is due, jitter included.
        next: Option<Timestamp>,
    },
    /// A run starts.
    Start(Start),
}

/// Decides. Total: every policy, every status and all facts have exactly one plan at any time.
///
/// # Errors
/// What the plan depends on, if nobody found it out yet.
pub fn plan(
    policy: &Policy,
    status: &DlqPolicyStatus,
    facts: &Facts,
    now: Timestamp,
) -> Result<Plan, Question> {
    let facts = &facts.with_what_is_missing(policy, status);
    let plan = decide(policy, status, facts, now);
    // A run under way has its token.
    let has_token = facts.holds_run && matches!(plan, Plan::Continue { .. });
    let is_asked = policy.work.is_ok() && !has_token && depends_on_connection(&plan, policy, status);
    if facts.connection.is_none() && is_asked {
        let is_seen = status.observed_generation == Some(policy.generation);
        let freshness = if is_seen && awaits_token(policy, status) {
            Freshness::Known
        } else {
            freshness(policy, status)
        };
        return Err(Question::Connection { freshness });
    }
    Ok(plan)
}

/// How old a token may be with which a run starts.
pub(crate) fn freshness(policy: &Policy, status: &DlqPolicyStatus) -> Freshness {
    match status.observed_generation {
        // A policy that nobody saw has -1 there.
        Some(seen) if seen >= 1 && seen != policy.generation => Freshness::New,
        _ => Freshness::Shared,
    }
}

fn decide(policy: &Policy, status: &DlqPolicyStatus, facts: &Facts, now: Timestamp) -> Plan {
    if let Some(run) = &status.current_run {
        return active(policy, status, facts, run, now);
    }
    let (work, schedule) = match (&policy.work, &policy.schedule) {
        (Ok(work), Ok(schedule)) => (work, schedule.as_ref()),
        (Err(invalid), _) | (_, Err(invalid)) => return Plan::Invalid(invalid.clone()),
    };
    let requested = if let Asked::Run(request) = asked(policy, status) { Some(request) } else { None };
    let is_dry = requested.is_some() && policy.requests.mode == Mode::DryRun;
    let held = held(policy, status);
    let is_trial = requested.is_some() && held == Some(Plan::CircuitOpen);
    if let Some(held) = held.clone().filter(|_| !is_dry && !is_trial) {
        return held;
    }
    if let Some(invalid) = labels_not_carried(policy, status) {
        return held.filter(|_| is_dry).unwrap_or(Plan::Invalid(invalid));
    }
    if let Some(Connectivity::Missing(on)) = &facts.connection {
        // A dry run changes nothing of what keeps other runs from starting.
        return held.filter(|_| is_dry).unwrap_or_else(|| Plan::Waiting { on: on.clone() });
    }
    if let Some(request) = requested {
        let id = requested_run_id(&request.value);
        let spec = new_run(policy, work, facts, id, Trigger::Manual, now);
        let run = PolicyRun {
            dry_run: spec.dry_run || is_dry,
            requested_mode: is_dry.then_some(RequestedMode::DryRun),
            spec_hash: is_dry.then(|| policy.spec_hash.clone()),
            requested_by: policy.requests.requested_by.clone(),
            request_reason: policy.requests.request_reason.clone(),
            ..spec
        };
        // It does not stand for what is due on the schedule.
        let due = schedule
            .filter(|_| !was_held(status))
            .and_then(|schedule| left_to_do(schedule, status, schedule_since(schedule, status, now)?, now));
        let (missed, postponed) = due.map_or((None, None), |due| (due.missed, Some(due.at)));
        return Plan::Start(Start { run, missed, postponed });
    }
    match schedule {
        Some(schedule) => scheduled(policy, work, schedule, status, facts, now),
        None => unscheduled(policy, work, status, facts, now),
    }
}

/// The ID of the run that a value of the annotation `requestedAt` starts.
pub fn requested_run_id(value: &str) -> String {
    format!("{}-manual", text_hash(value))
}

/// What keeps runs from starting, but those that somebody asks for.
fn held(policy: &Policy, status: &DlqPolicyStatus) -> Option<Plan> {
    if policy.suspend {
        return Some(Plan::Suspended);
    }
    if policy.paused.is_some() {
        return Some(Plan::Paused);
    }
    is_circuit_open(policy, status).then_some(Plan::CircuitOpen)
}

/// Whether the plan depends on the connection: when a run starts, continues or would be replaced, when the spec is new,
/// and while the token is missing or refused.
fn depends_on_connection(plan: &Plan, policy: &Policy, status: &DlqPolicyStatus) -> bool {
    match plan {
        Plan::Continue { .. }
        | Plan::Start(_)
        | Plan::Waiting { .. }
        | Plan::Cancel { why: CancelCause::Replaced, .. } => true,
        Plan::Idle { .. } | Plan::Missed { .. } => {
            status.observed_generation != Some(policy.generation)
                || was_held(status)
                || awaits_token(policy, status)
        }
        Plan::AwaitsApproval { .. }
        | Plan::Cancel { .. }
        | Plan::Invalid(_)
        | Plan::Suspended
        | Plan::Paused
        | Plan::CircuitOpen => false,
    }
}

/// Whether new work starts a run, and with it another token than the one that was refused.
pub(crate) fn starts_by_itself(policy: &Policy) -> bool {
    matches!(policy.schedule, Ok(None)) && policy.trigger == SpecTrigger::OnChange
}

/// Whether the policy waits for a token: for its Secret, or, without a schedule, for another one than was refused.
pub fn awaits_token(policy: &Policy, status: &DlqPolicyStatus) -> bool {
    let missing = not_ready_reason(status).is_some_and(|reason| reason.class() == ReasonClass::NoToken);
    missing || (starts_by_itself(policy) && status.refused_secret.is_some())
}

fn active(policy: &Policy, status: &DlqPolicyStatus, facts: &Facts, run: &PolicyRun, now: Timestamp) -> Plan {
    let cancel = |why| Plan::Cancel { run: run.clone(), why };
    if new_request(policy.requests.cancel.as_ref(), status.last_handled_cancel_at.as_ref()).is_some() {
        return cancel(CancelCause::Requested);
    }
    if let Err(invalid) = &policy.work {
        return cancel(CancelCause::Invalid(invalid.clone()));
    }
    let is_asked_dry = run.requested_mode == Some(RequestedMode::DryRun);
    if policy.suspend && !is_asked_dry {
        return cancel(CancelCause::Suspended);
    }
    if policy.paused.is_some() && !is_asked_dry {
        return cancel(CancelCause::Paused);
    }
    // While the policy is held, a dry run leaves its new work for later.
    let is_edited =
        run.spec_hash.as_ref().map_or(is_new_work(policy, status), |hash| *hash != policy.spec_hash);
    if is_edited {
        return cancel(CancelCause::SpecChanged);
    }
    let account = policy.work.as_ref().ok().and_then(|work| work.connection.shared_hash());
    if account.is_some() && run.connection_hash.is_some() && run.connection_hash != account {
        return cancel(CancelCause::ConnectionChanged);
    }
    if policy.force_dry_run && !run.dry_run {
        return cancel(CancelCause::ForceDryRun);
    }
    if approval::awaited(run).is_some() {
        // When an approval was given that is seen too late is not known.
        let until = approval::expiry(run);
        if until <= now {
            return cancel(CancelCause::NotApproved);
        }
        if !is_approved(policy, run) {
            return Plan::AwaitsApproval { until };
        }
    }
    let run = &approved(policy, run, now);
    // What came while the policy was held is skipped.
    if replaces(policy, status)
        && !was_held(status)
        && !matches!(facts.connection, Some(Connectivity::Missing(_) | Connectivity::Lost))
        && let Ok(Some(schedule)) = &policy.schedule
        && let Some(since) = schedule_since(schedule, status, now)
        && due(schedule, since, handled_until(status, since), now).is_some_and(|at| {
            let start = schedule.jittered(at, since);
            start > run.start_time.timestamp() && !is_too_late(policy, start, now)
        })
    {
        return cancel(CancelCause::Replaced);
    }
    if let Some(Connectivity::Missing(on)) = &facts.connection {
        // After a restart: the run waits for its token, though not for ever.
        if progress::deadline(run).is_some_and(|deadline| now >= deadline) {
            return cancel(CancelCause::DeadlineExceeded);
        }
        return Plan::Waiting { on: on.clone() };
    }
    Plan::Continue { run: run.clone() }
}

/// Whether somebody approves this run.
fn is_approved(policy: &Policy, run: &PolicyRun) -> bool {
    let approved = policy.requests.approved.as_ref().filter(|approved| !approved.too_long);
    approval::awaited(run).is_some_and(|id| approved.is_some_and(|approved| approved.value == id))
}

/// The run, as it is approved from now on if somebody approves it.
pub(crate) fn approved(policy: &Policy, run: &PolicyRun, now: Timestamp) -> PolicyRun {
    let mut run = run.clone();
    if is_approved(policy, &run) {
        run.approved_time = Some(now.into());
    }
    run
}

fn unscheduled(
    policy: &Policy,
    work: &Work,
    status: &DlqPolicyStatus,
    facts: &Facts,
    now: Timestamp,
) -> Plan {
    let start = match &facts.connection {
        _ if policy.trigger == SpecTrigger::Manual || spoils_first_run(policy, status) => false,
        _ if is_new_work(policy, status) => true,
        // A new token for work that the old one was refused for.
        Some(Connectivity::Usable) => status.refused_secret.is_some() && status.observed_schedule.is_none(),
        Some(Connectivity::Refused | Connectivity::Lost | Connectivity::Missing(_)) | None => false,
    };
    if start {
        let id = format!("{}-spec", policy.spec_hash);
        let run = new_run(policy, work, facts, id, Trigger::Spec, now);
        Plan::Start(Start { run, missed: None, postponed: None })
    } else {
        Plan::Idle { next: None }
    }
}

fn scheduled(
    policy: &Policy,
    work: &Work,
    schedule: &Schedule,
    status: &DlqPolicyStatus,
    facts: &Facts,
    now: Timestamp,
) -> Plan {
    let Some(since) = schedule_since(schedule, status, now) else {
        // First seen now: no scheduled time up to now is due.
        return Plan::Idle { next: next_start(schedule, now, now, now) };
    };
    if was_held(status) {
        // Scheduled times passed while no run could start. They are not caught up: `status::observed` remembers it.
        return Plan::Idle { next: next_start(schedule, since, now, now) };
    }
    let next = next_run(schedule, status, since, now);
    let Some(Due { at, missed }) = left_to_do(schedule, status, since, now) else {
        return Plan::Idle { next };
    };
    if is_too_late(policy, schedule.jittered(at, since), now) {
        let count = 1 + missed.map_or(0, |(_, missed)| missed);
        return Plan::Missed { at, count, next };
    }
    let run = PolicyRun {
        scheduled_time: Some(at.into()),
        ..new_run(policy, work, facts, format!("{}-schedule", at.as_second()), Trigger::Schedule, now)
    };
    Plan::Start(Start { run, missed, postponed: None })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
