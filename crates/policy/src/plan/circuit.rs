//! What is new to a policy, and whether that closes a circuit that failures opened.

use crate::spec::policy::{Policy, Request};
use dlq_crd::DlqPolicyStatus;

/// Whether too many runs failed in a row. A reset or new work closes the circuit.
pub(crate) fn is_circuit_open(policy: &Policy, status: &DlqPolicyStatus) -> bool {
    !is_circuit_reset(policy, status) && has_failed_enough(policy, status)
}

/// Whether as many runs failed in a row as open the circuit.
pub(crate) fn has_failed_enough(policy: &Policy, status: &DlqPolicyStatus) -> bool {
    policy.open_circuit_after.is_some_and(|limit| status.consecutive_failures >= limit)
}

/// Whether something closes the circuit now: a new `resetAt`, or a new spec hash.
pub(crate) fn is_circuit_reset(policy: &Policy, status: &DlqPolicyStatus) -> bool {
    new_request(policy.requests.reset.as_ref(), status.last_handled_reset_at.as_ref()).is_some()
        || is_new_work(policy, status)
}

/// Whether action, filters, overrides, match, loopProtection, connection or dryRun differ from what was last handled.
pub(crate) fn is_new_work(policy: &Policy, status: &DlqPolicyStatus) -> bool {
    !policy.spec_hash.is_empty() && status.last_handled_spec_hash.as_ref() != Some(&policy.spec_hash)
}

/// The request, when its value was not handled yet and can be.
pub(crate) fn new_request<'a>(request: Option<&'a Request>, handled: Option<&String>) -> Option<&'a Request> {
    request.filter(|request| !request.too_long && Some(&request.value) != handled)
}
