//! What follows from the rest of a status: conditions, phase, message, times.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions::{Truth, may_come, seconds, set, set_kstatus};
use super::readiness::Readiness;
use super::size;
use crate::plan::due::next_run;
use crate::run::Activity;
use crate::run::outcome::MAX_MESSAGE_CHARS;
use crate::spec::policy::Policy;
use dlq_crd::{ConditionType, DlqPolicyStatus, Phase, Reason, ReasonClass, RunResult};

/// Brings everything that follows from the rest into line: conditions, phase, message, times.
pub(super) fn conclude(
    status: &mut DlqPolicyStatus,
    policy: &Policy,
    readiness: &Readiness,
    activity: Option<Activity>,
    now: Timestamp,
) {
    let generation = policy.generation;
    let mut conditions = std::mem::take(&mut status.conditions);
    let mut set = |kind, truth, reason, message: &str| {
        set(&mut conditions, kind, truth, reason, &cut(message), generation, now);
    };
    let truth = |so| if so { Truth::True } else { Truth::False };
    set(ConditionType::Ready, truth(readiness.ready), readiness.reason, &readiness.message(status));
    match activity {
        Some(activity) => {
            let message = activity.message(status.current_run.as_ref());
            set(ConditionType::Running, Truth::True, activity.reason(), &message);
        }
        None => set(ConditionType::Running, Truth::False, Reason::Idle, "no run is in progress"),
    }
    match &status.last_run {
        None => {
            set(ConditionType::LastRunSucceeded, Truth::Unknown, Reason::NeverRun, "no run has ended yet");
        }
        Some(run) => {
            // A newer operator's word for how it went is not known here: what that one said of it stays.
            if let (Some(result), Some(reason)) = (run.result, run.reason) {
                let well = matches!(result, RunResult::Succeeded | RunResult::LimitReached);
                let message = run.message.as_deref().unwrap_or_default();
                set(ConditionType::LastRunSucceeded, truth(well), reason, message);
            }
        }
    }
    let class = readiness.reason.class();
    let kind = match class {
        _ if readiness.ready => None,
        _ if may_come(readiness.reason) => Some(ConditionType::Reconciling),
        ReasonClass::CircuitOpen => None,
        _ => Some(ConditionType::Stalled),
    };
    set_kstatus(&mut conditions, kind, readiness.reason, &cut(&readiness.message), generation, now);
    status.conditions = conditions;
    status.observed_generation = Some(generation);
    // It is not known when a run that waits for an approval makes way for the next, and its status is not kept up to date.
    let awaits_approval = activity == Some(Activity::AwaitingApproval);
    status.next_schedule_time =
        if awaits_approval { None } else { next_time(policy, status, readiness, now) };
    let is_held = matches!(
        class,
        ReasonClass::Held | ReasonClass::Invalid | ReasonClass::NoToken | ReasonClass::CircuitOpen
    );
    status.held_since = (is_held && (activity.is_none() || waits_for_secret(readiness)))
        .then(|| status.held_since.take().unwrap_or_else(|| seconds(now)));
    status.phase = Some(phase(status, policy, readiness, activity));
    status.message = Some(cut(&message(status, readiness, activity)));
    size::fit(status);
}

fn next_time(
    policy: &Policy,
    status: &DlqPolicyStatus,
    readiness: &Readiness,
    now: Timestamp,
) -> Option<Time> {
    let Ok(Some(schedule)) = &policy.schedule else { return None };
    if !matches!(readiness.reason.class(), ReasonClass::Able | ReasonClass::Refused) {
        return None;
    }
    let since = status.schedule_since.as_ref().map_or(now, |since| since.0);
    // Rounded up: a status that names a second before the start would show a time that passes without a run.
    next_run(schedule, status, since, now).map(|next| {
        let up = jiff::TimestampRound::new().smallest(jiff::Unit::Second).mode(jiff::RoundMode::Ceil);
        Time(next.round(up).unwrap_or(next))
    })
}

fn phase(
    status: &DlqPolicyStatus,
    policy: &Policy,
    readiness: &Readiness,
    activity: Option<Activity>,
) -> Phase {
    match activity.filter(|_| !waits_for_secret(readiness)) {
        Some(Activity::AwaitingApproval) => return Phase::AwaitingApproval,
        Some(_) => return Phase::Running,
        None => {}
    }
    match readiness.reason {
        Reason::Suspended => Phase::Suspended,
        Reason::Paused => Phase::Paused,
        Reason::CircuitOpen => Phase::CircuitOpen,
        Reason::ConnectionNotFound | Reason::SecretNotFound | Reason::SecretKeyNotFound => Phase::Pending,
        reason if reason.class() == ReasonClass::Refused => Phase::Failed,
        _ if !readiness.ready => Phase::Invalid,
        _ if matches!(policy.schedule, Ok(Some(_))) => Phase::Scheduled,
        _ => match status.last_run.as_ref().and_then(|run| run.result) {
            None => Phase::Pending,
            Some(RunResult::Succeeded | RunResult::LimitReached) => Phase::Succeeded,
            Some(RunResult::Failed | RunResult::DeadlineExceeded | RunResult::Cancelled) => Phase::Failed,
        },
    }
}

fn message(status: &DlqPolicyStatus, readiness: &Readiness, activity: Option<Activity>) -> String {
    if let Some(activity) = activity.filter(|_| !waits_for_secret(readiness)) {
        return activity.message(status.current_run.as_ref());
    }
    let last = status.last_run.as_ref().and_then(|run| run.message.clone());
    match readiness.reason {
        Reason::Idle | Reason::Scheduled => last.unwrap_or_else(|| readiness.message.clone()),
        _ => readiness.message.clone(),
    }
}

/// No run makes progress, though one may be open.
fn waits_for_secret(readiness: &Readiness) -> bool {
    readiness.reason.class() == ReasonClass::NoToken
}

pub(super) fn cut(message: &str) -> String {
    message.chars().take(MAX_MESSAGE_CHARS).collect()
}
