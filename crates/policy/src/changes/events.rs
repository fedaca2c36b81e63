//! Which Kubernetes events tell of a change.

use jiff::SignedDuration;

use super::event::{EventReason, PolicyEvent};
use super::{duration, ended, growth, is_same};
use crate::Policy;
use crate::plan::due::schedule_since;
use crate::plan::has_failed_enough;
use crate::spec::policy::Request;
use crate::status::conditions::find;
use dlq_crd::{ConditionType, DlqPolicyStatus, PolicyRun, Reason, ReasonClass, RunResult, Trigger};

/// The events of a change, in the order in which they are published.
pub(super) fn between(
    policy: &Policy,
    before: &DlqPolicyStatus,
    after: &DlqPolicyStatus,
) -> Vec<PolicyEvent> {
    let ended = ended(before, after);
    let mut events = of_requests(policy, before, after);
    events.extend(of_missed_times(before, after));
    events.extend(of_readiness(before, after));
    events.extend(of_first_entries(before, after));
    if let Some(run) = ended {
        events.extend(of_end(run));
        events.extend(of_skipped_times(policy, after, run));
    }
    events.extend(of_circuit(policy, before, after, ended));
    events
}

/// A run that ends sooner is told of by its end alone.
const SHORT_RUN: SignedDuration = SignedDuration::from_secs(5);

/// What is told when the first write of a run's entries lands: most runs of a healthy queue find none, and are not told of.
fn of_first_entries(before: &DlqPolicyStatus, after: &DlqPolicyStatus) -> Option<PolicyEvent> {
    let known = before.current_run.as_ref()?;
    let run =
        after.current_run.as_ref().or(after.last_run.as_ref()).filter(|run| is_same(Some(known), run))?;
    let is_short = run.completion_time.is_some() && duration(run) < SHORT_RUN;
    if has_entries(known) || !has_entries(run) || is_short {
        return None;
    }
    let what = if run.dry_run { "dry run" } else { "run" };
    let why = match run.trigger {
        Trigger::Schedule => "on schedule",
        Trigger::Manual => "by request",
        Trigger::Spec => "for a new spec",
    };
    Some(PolicyEvent {
        held_until: run.start_time.timestamp().checked_add(SHORT_RUN).ok(),
        ..PolicyEvent::new(EventReason::RunStarted, format!("a {} {what} started {why}", run.action))
    })
}

fn has_entries(run: &PolicyRun) -> bool {
    run.processed > 0 || run.rejected > 0
}

/// What is told when a run ends.
fn of_end(run: &PolicyRun) -> Vec<PolicyEvent> {
    let mut events = Vec::new();
    if run.uncertain_pages > 0 {
        events.push(PolicyEvent::new(
            EventReason::UncertainPage,
            "the outcome of a call is unknown; the run's count is a lower bound",
        ));
    }
    if run.left_alone > 0 {
        events.push(PolicyEvent::new(
            EventReason::FilterMismatch,
            "Upstash's list showed entries that spec.filters does not select; they were not acted on",
        ));
    }
    let (Some(result), Some(ended_by)) = (run.result, run.reason) else { return events };
    let reason = match (result, ended_by) {
        // Most runs of a healthy queue: not worth an event.
        (_, Reason::NothingMatched) => None,
        (RunResult::Succeeded, _) if run.dry_run && run.processed == 0 => None,
        (RunResult::Succeeded, _) if run.dry_run => Some(EventReason::DryRunSucceeded),
        (RunResult::Succeeded, _) => Some(EventReason::RunSucceeded),
        (RunResult::LimitReached, _) => Some(EventReason::LimitReached),
        (RunResult::Cancelled, _) => Some(EventReason::RunCancelled),
        (RunResult::Failed, Reason::Unauthorized) => Some(EventReason::Unauthorized),
        (RunResult::Failed | RunResult::DeadlineExceeded, _) => Some(EventReason::RunFailed),
    };
    let text = match result {
        // Counts stay out of the text, see `PolicyEvent`.
        RunResult::Succeeded if run.dry_run => {
            format!("the {} dry run counted what matches; see status.lastRun", run.action)
        }
        RunResult::Succeeded => format!("the {} run did its work; see status.lastRun", run.action),
        _ => run.message.clone().unwrap_or_default(),
    };
    events.extend(reason.map(|reason| PolicyEvent::new(reason, text)));
    events
}

/// What is told when scheduled times were skipped during a run: once, at its end.
fn of_skipped_times(policy: &Policy, after: &DlqPolicyStatus, run: &PolicyRun) -> Option<PolicyEvent> {
    let Ok(Some(schedule)) = &policy.schedule else { return None };
    let since = schedule_since(schedule, after, run.completion_time?.timestamp())?;
    let latest = after.last_skipped_time.as_ref()?.0;
    let text = "scheduled times passed during a run; they are not caught up";
    (schedule.jittered(latest, since) > run.start_time.timestamp())
        .then(|| PolicyEvent::new(EventReason::RunAlreadyActive, text))
}

/// Which requests by annotation were handled, and led to nothing.
fn of_requests(policy: &Policy, before: &DlqPolicyStatus, after: &DlqPolicyStatus) -> Vec<PolicyEvent> {
    let requests = &policy.requests;
    let mut events = Vec::new();
    for (name, request, known, handled) in [
        ("resetAt", &requests.reset, &before.last_handled_reset_at, &after.last_handled_reset_at),
        ("cancelAt", &requests.cancel, &before.last_handled_cancel_at, &after.last_handled_cancel_at),
        ("requestedAt", &requests.run, &before.last_handled_requested_at, &after.last_handled_requested_at),
    ] {
        if newly_handled(request.as_ref(), known.as_ref(), handled.as_ref())
            .is_some_and(|request| request.too_long)
        {
            let text = format!("the annotation dlq-operator.dev/{name} is longer than 256 bytes");
            events.push(PolicyEvent::new(EventReason::RunRequestIgnored, text));
        }
    }
    let handled = newly_handled(
        requests.run.as_ref(),
        before.last_handled_requested_at.as_ref(),
        after.last_handled_requested_at.as_ref(),
    );
    let began = after.current_run.as_ref().is_some_and(|run| !is_same(before.current_run.as_ref(), run));
    if handled.is_some_and(|request| !request.too_long) && !began {
        let (reason, text) = if before.current_run.is_some() {
            (EventReason::RunAlreadyActive, "a run was requested while another one was in progress")
        } else if policy.suspend {
            (EventReason::RunRequestIgnored, "a run was requested while spec.suspend is true")
        } else if policy.paused {
            (EventReason::RunRequestIgnored, "a run was requested while the policy is paused")
        } else {
            // Told late, when it is neither any more.
            (EventReason::RunRequestIgnored, "a run was requested while the policy was held back")
        };
        events.push(PolicyEvent::new(reason, text));
    }
    events
}

fn newly_handled<'a>(
    request: Option<&'a Request>,
    known: Option<&String>,
    handled: Option<&String>,
) -> Option<&'a Request> {
    request.filter(|request| known != handled && handled == Some(&request.value))
}

fn of_missed_times(before: &DlqPolicyStatus, after: &DlqPolicyStatus) -> Option<PolicyEvent> {
    if growth(before.missed_schedules, after.missed_schedules) == 0 {
        return None;
    }
    let text = if after.current_run.is_some() {
        "scheduled times were missed, and the latest is made up for; see status.lastMissedTime"
    } else {
        "a scheduled time was missed, as startingDeadlineSeconds had passed; see status.lastMissedTime"
    };
    Some(PolicyEvent::new(EventReason::MissedSchedule, text))
}

/// What `Ready` says, where it says another thing than before.
fn of_readiness(before: &DlqPolicyStatus, after: &DlqPolicyStatus) -> Option<PolicyEvent> {
    let known = ready(before).map(|(reason, _)| reason);
    let (reason, message) = ready(after).filter(|(reason, _)| Some(*reason) != known)?;
    let was_held = known.is_some_and(|known| known.class() == ReasonClass::Held);
    let (told, text) = match reason.class() {
        ReasonClass::Held => (EventReason::PolicySuspended, message.to_owned()),
        ReasonClass::Invalid => (of_invalid(reason), message.to_owned()),
        ReasonClass::NoToken => (EventReason::SecretNotFound, message.to_owned()),
        ReasonClass::Able if was_held => {
            (EventReason::PolicyUnsuspended, format!("no longer held back: {message}"))
        }
        ReasonClass::Refused | ReasonClass::CircuitOpen if was_held => {
            (EventReason::PolicyUnsuspended, format!("no longer held back, and not ready: {reason}"))
        }
        // Told by what led to it: the run's end, or the circuit.
        ReasonClass::Able
        | ReasonClass::Refused
        | ReasonClass::CircuitOpen
        | ReasonClass::Running
        | ReasonClass::Ended => return None,
    };
    Some(PolicyEvent::new(told, text))
}

/// The reason and the message of `Ready`.
fn ready(status: &DlqPolicyStatus) -> Option<(Reason, &str)> {
    let ready = find(&status.conditions, ConditionType::Ready)?;
    Some((Reason::parse(&ready.reason)?, &ready.message))
}

fn of_invalid(reason: Reason) -> EventReason {
    match reason {
        Reason::InvalidSchedule => EventReason::InvalidSchedule,
        Reason::InvalidTimeZone => EventReason::InvalidTimeZone,
        Reason::UrlNotAllowed => EventReason::UrlNotAllowed,
        _ => EventReason::InvalidSpec,
    }
}

/// The circuit, opened or closed by a run's end, by a reset, or by an edit of the limit.
fn of_circuit(
    policy: &Policy,
    before: &DlqPolicyStatus,
    after: &DlqPolicyStatus,
    ended: Option<&PolicyRun>,
) -> Option<PolicyEvent> {
    let class = |status| ready(status).map(|(reason, _)| reason.class());
    let (was_able, was_open) = match class(before) {
        Some(ReasonClass::Able | ReasonClass::Refused) => (true, false),
        Some(ReasonClass::CircuitOpen) => (false, true),
        _ => (false, false),
    };
    let ended_well =
        ended.is_some_and(|run| matches!(run.result, Some(RunResult::Succeeded | RunResult::LimitReached)));
    let (reason, text) = match (has_failed_enough(policy, before), has_failed_enough(policy, after)) {
        (false, true) if ended.is_some() => {
            (EventReason::CircuitOpened, "too many runs failed in a row; no further run starts")
        }
        (true, false) if ended_well => (EventReason::CircuitClosed, "a run succeeded; the circuit is closed"),
        (true, false) => (EventReason::CircuitClosed, "the circuit is closed"),
        _ if was_able && class(after) == Some(ReasonClass::CircuitOpen) => (
            EventReason::CircuitOpened,
            "more runs failed in a row than failurePolicy allows; no further run starts",
        ),
        _ if was_open && class(after) == Some(ReasonClass::Able) && after.consecutive_failures > 0 => (
            EventReason::CircuitClosed,
            "fewer runs failed in a row than failurePolicy allows; the circuit is closed",
        ),
        _ => return None,
    };
    Some(PolicyEvent::new(reason, text))
}
