//! Which Kubernetes events tell of a change.

use jiff::SignedDuration;

use super::event::{EventReason, ObjectEvent};
use super::{duration, ended, growth, is_same, returned};
use crate::Policy;
use crate::plan::due::schedule_since;
use crate::plan::{Asked, Ignored, asked, has_failed_enough};
use crate::run::outcome::{counted, figures};
use crate::spec::policy::{Mode, Request};
use crate::status::conditions::find;
use crate::status::readiness::{LOOP_POSSIBLE, circuit_message};
use dlq_crd::{
    ConditionType, DlqPolicyStatus, PolicyRun, Reason, ReasonClass, RunResult, TokenRefusal, Trigger,
};

/// The events of a change, in the order in which they are published.
pub(super) fn between(
    policy: &Policy,
    before: &DlqPolicyStatus,
    after: &DlqPolicyStatus,
) -> Vec<ObjectEvent> {
    let ended = ended(before, after);
    let mut events = of_requests(policy, before, after);
    events.extend(of_missed_times(before, after));
    events.extend(of_readiness(before, after));
    if after.loop_possible && !before.loop_possible {
        events.push(ObjectEvent::new(EventReason::LoopPossible, LOOP_POSSIBLE));
    }
    events.extend(of_approval(before, after));
    events.extend(of_first_entries(before, after));
    if let Some(run) = ended {
        events.extend(of_end(after, run, returned(before, after)));
        events.extend(of_skipped_times(policy, after, run));
    }
    events.extend(of_circuit(policy, before, after, ended));
    events.extend(of_expiring_entries(before, after));
    events
}

/// What is told when a run begins to wait for an approval.
fn of_approval(before: &DlqPolicyStatus, after: &DlqPolicyStatus) -> Option<ObjectEvent> {
    let (run, message) = awaiting_approval(after)?;
    let is_told = awaiting_approval(before).is_some_and(|(known, _)| is_same(Some(known), run));
    (!is_told).then(|| ObjectEvent::new(EventReason::AwaitingApproval, message))
}

/// The run that a status says to be waiting for an approval, and what it says of that.
fn awaiting_approval(status: &DlqPolicyStatus) -> Option<(&PolicyRun, &str)> {
    let running = find(&status.conditions, ConditionType::Running)?;
    let run = status.current_run.as_ref()?;
    (running.reason == Reason::AwaitingApproval.as_str()).then_some((run, running.message.as_str()))
}

/// A run that ends sooner is told of by its end alone.
const SHORT_RUN: SignedDuration = SignedDuration::from_secs(5);

/// What is told when the first write of a run's entries lands: most runs of a healthy queue find none, and are not told of.
fn of_first_entries(before: &DlqPolicyStatus, after: &DlqPolicyStatus) -> Option<ObjectEvent> {
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
    Some(ObjectEvent {
        held_until: run.start_time.timestamp().checked_add(SHORT_RUN).ok(),
        ..ObjectEvent::new(EventReason::RunStarted, format!("a {} {what} started {why}", run.action))
    })
}

fn has_entries(run: &PolicyRun) -> bool {
    run.processed > 0 || run.rejected > 0
}

/// What is told when entries that wait are about to expire: once, and without a count, so that it is one event however many
/// there are at each look.
fn of_expiring_entries(before: &DlqPolicyStatus, after: &DlqPolicyStatus) -> Option<ObjectEvent> {
    let are_expiring = |status: &DlqPolicyStatus| {
        status.backlog.as_ref().is_some_and(|backlog| backlog.expiring_within_day > Some(0))
    };
    let text = "entries that spec.filters selects expire within a day (spec.backlog.retention); act on them before then, see \
                status.backlog";
    (!are_expiring(before) && are_expiring(after))
        .then(|| ObjectEvent::new(EventReason::EntriesExpiring, text))
}

/// What is told when a run ends.
fn of_end(after: &DlqPolicyStatus, run: &PolicyRun, returned: u64) -> Vec<ObjectEvent> {
    let mut events = Vec::new();
    if run.uncertain_pages > 0 {
        let calls = counted(run.uncertain_pages, "call", "calls");
        let text = format!("the outcome of {calls} is unknown; the run's count is a lower bound");
        events.push(ObjectEvent::new(EventReason::UncertainPage, text));
    }
    if run.left_alone > 0 {
        let entries = counted(run.left_alone, "entry", "entries");
        let text = format!(
            "Upstash's list showed {entries} that spec.filters does not select, and that the run left alone"
        );
        events.push(ObjectEvent::new(EventReason::FilterMismatch, text));
    }
    let (Some(result), Some(ended_by)) = (run.result, run.reason) else { return events };
    let reason = match (result, ended_by) {
        // Most runs of a healthy queue: not worth an event.
        (_, Reason::NothingMatched) if returned == 0 => None,
        (RunResult::Succeeded, _) if run.dry_run && run.processed == 0 => None,
        (RunResult::Succeeded, _) if run.dry_run => Some(EventReason::DryRunSucceeded),
        (RunResult::Succeeded, _) => Some(EventReason::RunSucceeded),
        (RunResult::LimitReached, _) => Some(EventReason::LimitReached),
        (RunResult::Cancelled, _) => Some(EventReason::RunCancelled),
        (RunResult::Failed, Reason::Unauthorized) => Some(EventReason::NotReady(ended_by)),
        (RunResult::Failed, Reason::Forbidden)
            if after.refused_reason == Some(TokenRefusal::ReadOnlyToken) =>
        {
            Some(EventReason::NotReady(Reason::ReadOnlyToken))
        }
        (RunResult::Failed | RunResult::DeadlineExceeded, _) => Some(EventReason::RunFailed),
    };
    let mut message = run.message.clone().unwrap_or_default();
    if returned > 0 {
        let runs = counted(i64::try_from(returned).unwrap_or(i64::MAX), "workflow run", "workflow runs");
        message = format!("{message}; {runs} of earlier runs failed again");
    }
    let text = match result {
        // The message has the figures.
        RunResult::Succeeded => message,
        _ if has_entries(run) => format!("{}; {message}", figures(run)),
        _ => message,
    };
    events.extend(reason.map(|reason| ObjectEvent::new(reason, text)));
    events
}

/// What is told when scheduled times were skipped during a run: once, at its end.
fn of_skipped_times(policy: &Policy, after: &DlqPolicyStatus, run: &PolicyRun) -> Option<ObjectEvent> {
    let Ok(Some(schedule)) = &policy.schedule else { return None };
    let since = schedule_since(schedule, after, run.completion_time?.timestamp())?;
    let latest = after.last_skipped_time.as_ref()?.0;
    let text = "scheduled times passed during a run; they are not caught up";
    (schedule.jittered(latest, since) > run.start_time.timestamp())
        .then(|| ObjectEvent::new(EventReason::RunAlreadyActive, text))
}

/// Which requests by annotation were handled, and led to nothing.
fn of_requests(policy: &Policy, before: &DlqPolicyStatus, after: &DlqPolicyStatus) -> Vec<ObjectEvent> {
    let requests = &policy.requests;
    let mut events = Vec::new();
    for (name, request, known, handled) in [
        ("resetAt", &requests.reset, &before.last_handled_reset_at, &after.last_handled_reset_at),
        ("cancelAt", &requests.cancel, &before.last_handled_cancel_at, &after.last_handled_cancel_at),
        ("requestedAt", &requests.run, &before.last_handled_requested_at, &after.last_handled_requested_at),
        (
            "approvedRun",
            &requests.approved,
            &before.last_handled_approved_run,
            &after.last_handled_approved_run,
        ),
    ] {
        if newly_handled(request.as_ref(), known.as_ref(), handled.as_ref())
            .is_some_and(|request| request.too_long)
        {
            let text = format!("the annotation dlq-operator.dev/{name} is longer than 256 bytes");
            events.push(ObjectEvent::new(EventReason::RunRequestIgnored, text));
        }
    }
    let handled = newly_handled(
        requests.run.as_ref(),
        before.last_handled_requested_at.as_ref(),
        after.last_handled_requested_at.as_ref(),
    );
    let began = after.current_run.as_ref().filter(|run| !is_same(before.current_run.as_ref(), run));
    // A run that begins for another reason does not answer the request.
    let began = began.is_some_and(|run| run.trigger == Trigger::Manual);
    if handled.is_some_and(|request| !request.too_long) && !began {
        events.push(of_ignored_request(policy, before));
    }
    events.extend(of_ignored_approval(policy, before, after));
    events
}

/// An approval that starts nothing: it names no run that waits.
fn of_ignored_approval(
    policy: &Policy,
    before: &DlqPolicyStatus,
    after: &DlqPolicyStatus,
) -> Option<ObjectEvent> {
    let approved = newly_handled(
        policy.requests.approved.as_ref(),
        before.last_handled_approved_run.as_ref(),
        after.last_handled_approved_run.as_ref(),
    )?;
    let is_of = |run: &Option<PolicyRun>| {
        run.as_ref().is_some_and(|run| run.approval_id.as_ref() == Some(&approved.value))
    };
    if approved.too_long || is_of(&before.current_run) {
        return None;
    }
    let text = if is_of(&before.last_run) {
        "dlq-operator.dev/approvedRun names a run that has ended"
    } else {
        "dlq-operator.dev/approvedRun names no run that waits; the ID of one that does is in status.currentRun.approvalId"
    };
    Some(ObjectEvent::new(EventReason::RunRequestIgnored, text))
}

/// Why a request was handled that started no run, and what to do.
fn of_ignored_request(policy: &Policy, before: &DlqPolicyStatus) -> ObjectEvent {
    if before.current_run.is_some() {
        let text =
            "a run was requested while another one was in progress; request it again when that one has ended";
        return ObjectEvent::new(EventReason::RunAlreadyActive, text);
    }
    let text = match asked(policy, before) {
        Asked::Ignored(Ignored::Mode(mode)) => format!(
            "the annotation dlq-operator.dev/requestedMode is {mode:?}; set it to DryRun or remove it, then set \
             dlq-operator.dev/requestedAt to a new value"
        ),
        Asked::Run(_) if policy.requests.mode == Mode::DryRun => {
            "a dry run was requested, and the connection's Secret is missing; create it, then set \
             dlq-operator.dev/requestedAt to a new value"
                .to_owned()
        }
        Asked::Ignored(Ignored::Restored) => {
            "dlq-operator.dev/requestedAt names a time before the policy was created, as a restored manifest does; \
             set it to a new value to start a run"
                .to_owned()
        }
        Asked::Ignored(Ignored::FirstSight) => {
            "dlq-operator.dev/requestedAt came with a policy that has trigger: Manual, and is no time (RFC 3339 or Unix); \
             set it to a new value to start a run"
                .to_owned()
        }
        _ if policy.suspend => {
            "a run was requested while spec.suspend is true; requestedMode: DryRun is possible".to_owned()
        }
        _ if policy.paused.is_some() => {
            "a run was requested while the policy is paused; requestedMode: DryRun is possible".to_owned()
        }
        // Told late, when it is neither any more.
        _ => "a run was requested while the policy was suspended or paused".to_owned(),
    };
    ObjectEvent::new(EventReason::RunRequestIgnored, text)
}

fn newly_handled<'a>(
    request: Option<&'a Request>,
    known: Option<&String>,
    handled: Option<&String>,
) -> Option<&'a Request> {
    request.filter(|request| known != handled && handled == Some(&request.value))
}

fn of_missed_times(before: &DlqPolicyStatus, after: &DlqPolicyStatus) -> Option<ObjectEvent> {
    let missed = growth(before.missed_schedules, after.missed_schedules);
    if missed == 0 {
        return None;
    }
    let times = counted(i64::try_from(missed).unwrap_or(i64::MAX), "scheduled time", "scheduled times");
    let text = if after.current_run.is_some() {
        format!("missed {times}, and started one run for the latest; see status.lastMissedTime")
    } else {
        format!("missed {times}, as startingDeadlineSeconds had passed; see status.lastMissedTime")
    };
    Some(ObjectEvent::new(EventReason::MissedSchedule, text))
}

/// What `Ready` says, where it says another thing than before.
fn of_readiness(before: &DlqPolicyStatus, after: &DlqPolicyStatus) -> Option<ObjectEvent> {
    let known = ready(before).map(|(reason, _)| reason);
    let (reason, message) = ready(after).filter(|(reason, _)| Some(*reason) != known)?;
    let was_held = known.is_some_and(|known| known.class() == ReasonClass::Held);
    let (told, text) = match reason.class() {
        ReasonClass::Held => (EventReason::PolicySuspended, message.to_owned()),
        ReasonClass::Invalid | ReasonClass::NoToken => (EventReason::NotReady(reason), message.to_owned()),
        ReasonClass::Able if was_held => {
            (EventReason::PolicyUnsuspended, format!("no longer suspended or paused: {message}"))
        }
        ReasonClass::Refused | ReasonClass::CircuitOpen if was_held => {
            (EventReason::PolicyUnsuspended, format!("no longer suspended or paused: {reason}: {message}"))
        }
        // Told by what led to it: the run's end, or the circuit.
        ReasonClass::Able
        | ReasonClass::Refused
        | ReasonClass::CircuitOpen
        | ReasonClass::Running
        | ReasonClass::Ended => return None,
    };
    Some(ObjectEvent::new(told, text))
}

/// The reason and the message of `Ready`.
fn ready(status: &DlqPolicyStatus) -> Option<(Reason, &str)> {
    let ready = find(&status.conditions, ConditionType::Ready)?;
    Some((Reason::parse(&ready.reason)?, &ready.message))
}

/// The circuit, opened or closed by a run's end, by a reset, or by an edit of the limit.
fn of_circuit(
    policy: &Policy,
    before: &DlqPolicyStatus,
    after: &DlqPolicyStatus,
    ended: Option<&PolicyRun>,
) -> Option<ObjectEvent> {
    let class = |status| ready(status).map(|(reason, _)| reason.class());
    let (was_able, was_open) = match class(before) {
        Some(ReasonClass::Able | ReasonClass::Refused) => (true, false),
        Some(ReasonClass::CircuitOpen) => (false, true),
        _ => (false, false),
    };
    let ended_well =
        ended.is_some_and(|run| matches!(run.result, Some(RunResult::Succeeded | RunResult::LimitReached)));
    let (reason, text) = match (has_failed_enough(policy, before), has_failed_enough(policy, after)) {
        (false, true) if ended.is_some() => (EventReason::CircuitOpened, circuit_message(after)),
        (true, false) if ended_well => {
            (EventReason::CircuitClosed, "a run succeeded; the circuit is closed".to_owned())
        }
        (true, false) => (EventReason::CircuitClosed, "the circuit is closed".to_owned()),
        _ if was_able && class(after) == Some(ReasonClass::CircuitOpen) => {
            (EventReason::CircuitOpened, circuit_message(after))
        }
        _ if was_open && class(after) == Some(ReasonClass::Able) && after.consecutive_failures > 0 => (
            EventReason::CircuitClosed,
            "fewer runs failed in a row than failurePolicy.openCircuitAfter; the circuit is closed"
                .to_owned(),
        ),
        _ => return None,
    };
    Some(ObjectEvent::new(reason, text))
}
