//! What the `Ready` condition says: whether a policy is accepted and able to run. It says nothing of how runs go, as
//! deploy tools wait for it.

use crate::plan::{Plan, is_circuit_open, is_new_work, refusal};
use crate::run::outcome::{ACTING_TOKEN, VALID_TOKEN};
use crate::spec::invalid::Invalid;
use crate::spec::policy::Policy;
use dlq_crd::{DlqPolicyStatus, Reason, ReasonClass, TokenRefusal};

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
    if able.reason.class() != ReasonClass::Able {
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
        "{failed}; set the annotation dlq-operator.dev/resetAt to a new value once the cause is fixed"
    );
    Readiness { ready: false, reason: Reason::CircuitOpen, message }
}
