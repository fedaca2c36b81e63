//! Which requests by annotation are handled.

use crate::plan::{Asked, Plan, asked};
use crate::spec::policy::Policy;
use dlq_crd::DlqPolicyStatus;

/// Marks the values that this look handles: what is too long is handled by being refused, and what cannot lead to
/// anything by being ignored.
pub(super) fn handle_requests(
    policy: &Policy,
    before: &DlqPolicyStatus,
    plan: &Plan,
    status: &mut DlqPolicyStatus,
) {
    let requests = &policy.requests;
    if let Some(reset) = &requests.reset {
        status.last_handled_reset_at = Some(reset.value.clone());
    }
    if let Some(cancel) = &requests.cancel
        && (before.current_run.is_none() || cancel.too_long)
    {
        status.last_handled_cancel_at = Some(cancel.value.clone());
    }
    if let Some(approved) = &requests.approved {
        status.last_handled_approved_run = Some(approved.value.clone());
    }
    let is_under_way =
        matches!(plan, Plan::Continue { .. } | Plan::AwaitsApproval { .. } | Plan::Cancel { .. });
    let leads_to_nothing = is_under_way
        || matches!(plan, Plan::Suspended | Plan::Paused)
        || matches!(asked(policy, before), Asked::Ignored(_));
    // A dry run by request is possible there, but for want of a token.
    let leads_to_nothing = leads_to_nothing || matches!(plan, Plan::CircuitOpen);
    if let Some(request) = &requests.run
        && (leads_to_nothing || request.too_long)
    {
        status.last_handled_requested_at = Some(request.value.clone());
    }
}
