//! What the status says of the state in which a policy was last seen.

use crate::status::conditions::find;
use dlq_crd::{ConditionType, DlqPolicyStatus, Phase, Reason, TokenRefusal};

/// The reason of the `Ready` condition when it is false.
pub(crate) fn not_ready_reason(status: &DlqPolicyStatus) -> Option<Reason> {
    let ready = find(&status.conditions, ConditionType::Ready)?;
    (ready.status == "False").then(|| Reason::parse(&ready.reason)).flatten()
}

/// Why Upstash refused the token, if no run got through since and the work is the same.
pub(crate) fn refusal(status: &DlqPolicyStatus) -> Option<TokenRefusal> {
    status.refused_reason.or_else(|| {
        // An earlier operator wrote only which Secret it was.
        status.refused_secret.as_ref()?;
        match (not_ready_reason(status), status.last_run.as_ref()?.reason?) {
            (Some(Reason::ReadOnlyToken), _) => Some(TokenRefusal::ReadOnlyToken),
            (Some(Reason::Unauthorized), _) | (_, Reason::Unauthorized) => Some(TokenRefusal::Unauthorized),
            (_, Reason::Forbidden) => Some(TokenRefusal::Forbidden),
            _ => None,
        }
    })
}

/// Whether the policy was last seen in a state in which scheduled times pass.
pub(crate) fn was_held(status: &DlqPolicyStatus) -> bool {
    match status.phase {
        // An operator before `heldSince` was wrote the phase alone.
        Some(Phase::Suspended | Phase::Paused | Phase::CircuitOpen | Phase::Pending | Phase::Invalid) => true,
        // It keeps a `heldSince` that it does not know: what it says itself is newer.
        Some(_) => false,
        // A newer operator's word. Where it says nothing else, it may be such a state.
        None => {
            status.held_since.is_some()
                || status.observed_generation.is_some_and(|generation| generation >= 1)
        }
    }
}
