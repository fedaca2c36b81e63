//! What the `Ready` condition says: whether a policy is accepted and able to run. It says nothing of how runs go, as
//! deploy tools wait for it.

use crate::plan::{Plan, is_circuit_open, is_new_work, labels_not_carried, refusal};
use crate::run::outcome::{ACTING_TOKEN, VALID_TOKEN, counts_as_failed, with_advice};
use crate::spec::ConnectionRef;
use crate::spec::invalid::Invalid;
use crate::spec::policy::{Pause, Policy, Work};
use dlq_crd::{DlqPolicyStatus, Reason, ReasonClass, RunResult, SpecTrigger, TokenRefusal};

/// What is said of a policy that may act on the same workflow runs for ever.
pub const LOOP_POSSIBLE: &str = "a workflow run that keeps failing is acted on at every scheduled time; set \
     spec.loopProtection to end that";

/// Whether the policy is accepted and able to run, and why.
pub(crate) struct Readiness {
    pub(crate) ready: bool,
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

impl Readiness {
    /// The message, which says so where the policy may act on the same workflow runs for ever.
    pub(crate) fn message(&self, status: &DlqPolicyStatus) -> String {
        if status.loop_possible && self.reason == Reason::Scheduled {
            with_advice(&self.message, LOOP_POSSIBLE)
        } else {
            self.message.clone()
        }
    }
}

/// What `Ready` says under a plan.
pub(crate) fn planned(policy: &Policy, before: &DlqPolicyStatus, plan: &Plan) -> Readiness {
    match plan {
        Plan::Invalid(invalid) => not_ready(invalid),
        Plan::Waiting { on } => not_ready(on),
        Plan::Suspended | Plan::Paused => able(policy),
        Plan::CircuitOpen => circuit_open(before),
        Plan::Continue { .. }
        | Plan::AwaitsApproval { .. }
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
    if able.reason.class() != ReasonClass::Able {
        return able;
    }
    if is_circuit_open(policy, status) {
        return circuit_open(status);
    }
    if let Some(invalid) = labels_not_carried(policy, status) {
        return not_ready(&invalid);
    }
    refused().map_or(able, |(reason, message)| Readiness { ready: false, reason, message })
}

/// What the policy itself says, in the order of the plan's gates.
fn able(policy: &Policy) -> Readiness {
    let (reason, message) = match (&policy.work, &policy.schedule, &policy.paused) {
        (Err(invalid), ..) | (_, Err(invalid), _) => return not_ready(invalid),
        // A run that has its token continues.
        (Ok(Work { connection: ConnectionRef::Missing(missing), .. }), ..) => return not_ready(missing),
        _ if policy.suspend => (Reason::Suspended, "spec.suspend is true: no run starts".to_owned()),
        (.., Some(pause)) => (Reason::Paused, paused(pause)),
        (_, Ok(None), None) => match policy.trigger {
            SpecTrigger::OnChange => (Reason::Idle, "runs once for each new spec".to_owned()),
            SpecTrigger::Manual => {
                (Reason::Idle, "runs when dlq-operator.dev/requestedAt gets a new value".to_owned())
            }
        },
        (_, Ok(Some(_)), None) => (Reason::Scheduled, "runs on its schedule".to_owned()),
    };
    Readiness { ready: true, reason, message }
}

fn paused(pause: &Pause) -> String {
    match pause {
        Pause::Annotation(value) => with_advice(
            &format!("paused by the annotation dlq-operator.dev/paused, {value:?}"),
            "no run starts until it is removed or set to \"false\"",
        ),
        Pause::Flag => "paused by the operator's flag --pause-all: no run of any policy starts".to_owned(),
    }
}

/// Too many runs failed in a row. A person is needed, and the policy is not at fault: it stays ready, so that the deploy that
/// brings the cure does not fail.
fn circuit_open(status: &DlqPolicyStatus) -> Readiness {
    Readiness { ready: true, reason: Reason::CircuitOpen, message: circuit_message(status) }
}

/// How many runs failed in a row, why the last of them did, where that is still known, and what to do.
pub(crate) fn circuit_message(status: &DlqPolicyStatus) -> String {
    let failed = match status.consecutive_failures {
        1 => "1 run failed".to_owned(),
        count => format!("{count} runs failed in a row"),
    };
    let counts = |is_dry, result: Option<RunResult>, reason: Option<Reason>| {
        result.zip(reason).is_some_and(|(result, reason)| counts_as_failed(is_dry, result, reason))
    };
    let last = status.last_run.as_ref().filter(|run| counts(run.dry_run, run.result, run.reason));
    let message = last.and_then(|run| run.message.as_deref());
    let earlier = || status.history.iter().find(|run| counts(run.dry_run, run.result, run.reason))?.reason;
    let failed = match (message, earlier()) {
        (Some(cause), _) => format!("{failed}, last: {cause}"),
        (None, Some(reason)) => format!("{failed}, last: {reason}"),
        (None, None) => failed,
    };
    with_advice(&failed, "fix the cause, then set dlq-operator.dev/resetAt to a new value")
}
