//! What the `Ready` condition says: whether a policy is accepted and able to run. It says nothing of how runs go, as
//! deploy tools wait for it.

use super::ending::{ACTING_TOKEN, VALID_TOKEN};
use super::note::{Note, NoteReason};
use super::plan::{Plan, is_circuit_open, is_new_work, refusal};
use super::validate::{Invalid, Policy};
use dlq_crd::{ConditionType, DlqPolicyStatus, Reason, TokenRefusal};

/// Whether the policy is accepted and able to run, and why.
pub(crate) struct Readiness {
    pub(crate) ready: bool,
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

/// What `Ready` says under a plan.
pub(crate) fn planned(policy: &Policy, before: &DlqPolicyStatus, plan: &Plan) -> Readiness {
    match plan {
        Plan::Invalid(invalid) => not_ready(invalid),
        Plan::Waiting { on } => not_ready(on),
        Plan::Suspended | Plan::Paused => able(policy),
        Plan::CircuitOpen => circuit_open(before),
        Plan::Continue { .. }
        | Plan::Cancel { .. }
        | Plan::Idle { .. }
        | Plan::Missed { .. }
        | Plan::Start(_) => ready_now(policy, before),
    }
}

fn not_ready(invalid: &Invalid) -> Readiness {
    Readiness { ready: false, reason: invalid.reason, message: invalid.message.clone() }
}

/// Able to run, but for a circuit that is open, also while a trial is in progress, or a token that was refused: that
/// stands until a run gets through or the work changes. In the order of the plan's gates.
pub(crate) fn ready_now(policy: &Policy, status: &DlqPolicyStatus) -> Readiness {
    unless_held(policy, status, || {
        let refusal = refusal(status).filter(|_| !is_new_work(policy, status))?;
        let (reason, in_short) = match refusal {
            TokenRefusal::Unauthorized => {
                (Reason::Unauthorized, format!("Upstash refused the token; {VALID_TOKEN}"))
            }
            TokenRefusal::ReadOnlyToken => (Reason::ReadOnlyToken, ACTING_TOKEN.to_owned()),
            TokenRefusal::Forbidden => return None,
        };
        // What Upstash said of it, while the last run is the one that heard it.
        let last = status.last_run.as_ref();
        let heard = last.filter(|run| matches!(run.reason, Some(Reason::Unauthorized | Reason::Forbidden)));
        let message = heard.and_then(|run| run.message.clone());
        Some((reason, message.unwrap_or(in_short)))
    })
}

/// What is found last, where the policy itself and the circuit let runs start.
fn unless_held(
    policy: &Policy,
    status: &DlqPolicyStatus,
    refused: impl FnOnce() -> Option<(Reason, String)>,
) -> Readiness {
    let able = able(policy);
    if !matches!(able.reason, Reason::Idle | Reason::Scheduled) {
        return able;
    }
    if is_circuit_open(policy, status) {
        return circuit_open(status);
    }
    refused().map_or(able, |(reason, message)| Readiness { ready: false, reason, message })
}

/// What the policy itself says, in the order of the plan's gates.
fn able(policy: &Policy) -> Readiness {
    let (reason, message) = match (&policy.work, &policy.schedule) {
        (Err(invalid), _) | (_, Err(invalid)) => return not_ready(invalid),
        _ if policy.suspend => (Reason::Suspended, "spec.suspend is true: no run starts"),
        _ if policy.paused => (
            Reason::Paused,
            "paused by the annotation dlq-operator.dev/paused or by --pause-all: no run starts",
        ),
        (_, Ok(None)) => (Reason::Idle, "runs once for each new spec"),
        (_, Ok(Some(_))) => (Reason::Scheduled, "runs on its schedule"),
    };
    Readiness { ready: true, reason, message: message.to_owned() }
}

/// Too many runs failed in a row.
fn circuit_open(status: &DlqPolicyStatus) -> Readiness {
    let failed = match status.consecutive_failures {
        1 => "a run failed".to_owned(),
        count => format!("{count} runs failed in a row"),
    };
    let message = format!(
        "{failed}; set the annotation dlq-operator.dev/resetAt to a new value once the cause is mended"
    );
    Readiness { ready: false, reason: Reason::CircuitOpen, message }
}

/// Tells of a reason that is not the one before.
pub(crate) fn note_change(
    before: &DlqPolicyStatus,
    readiness: &Readiness,
    is_reset: bool,
    notes: &mut Vec<Note>,
) {
    let ready = before.conditions.iter().find(|condition| condition.type_ == ConditionType::Ready.as_str());
    if ready.is_some_and(|ready| ready.reason == readiness.reason.as_str()) {
        return;
    }
    let was_open = ready.is_some_and(|ready| ready.reason == Reason::CircuitOpen.as_str());
    let could_run = |reason: &str| {
        [Reason::Idle, Reason::Scheduled, Reason::Unauthorized, Reason::ReadOnlyToken]
            .iter()
            .any(|known| known.as_str() == reason)
    };
    let held = |reason: &str| [Reason::Suspended, Reason::Paused].iter().any(|held| held.as_str() == reason);
    let reason = match readiness.reason {
        Reason::Suspended | Reason::Paused => Some(NoteReason::PolicySuspended),
        Reason::InvalidSchedule => Some(NoteReason::InvalidSchedule),
        Reason::InvalidTimeZone => Some(NoteReason::InvalidTimeZone),
        Reason::UrlNotAllowed => Some(NoteReason::UrlNotAllowed),
        Reason::InvalidSpec | Reason::ActionNotAllowed | Reason::NoConnection => {
            Some(NoteReason::InvalidSpec)
        }
        Reason::SecretNotFound | Reason::SecretKeyNotFound | Reason::SecretInvalid => {
            Some(NoteReason::SecretNotFound)
        }
        _ if ready.is_some_and(|ready| held(&ready.reason)) => Some(NoteReason::PolicyUnsuspended),
        // An edit of the limit alone: a run's end and a reset say it themselves.
        Reason::CircuitOpen if ready.is_some_and(|ready| could_run(&ready.reason)) => {
            Some(NoteReason::CircuitOpened)
        }
        Reason::Idle | Reason::Scheduled if was_open && before.consecutive_failures > 0 && !is_reset => {
            Some(NoteReason::CircuitClosed)
        }
        _ => None,
    };
    let text = match reason {
        Some(NoteReason::PolicyUnsuspended) if !readiness.ready => {
            format!("no longer held back, and not ready: {}", readiness.reason.as_str())
        }
        Some(NoteReason::PolicyUnsuspended) => format!("no longer held back: {}", readiness.message),
        Some(NoteReason::CircuitOpened) => {
            "more runs failed in a row than failurePolicy allows; no further run starts".to_owned()
        }
        Some(NoteReason::CircuitClosed) => {
            "fewer runs failed in a row than failurePolicy allows; the circuit is closed".to_owned()
        }
        _ => readiness.message.clone(),
    };
    notes.extend(reason.map(|reason| Note::new(reason, text)));
}
