//! Which requests by annotation are handled.

use crate::note::{Note, NoteReason};
use crate::plan::Plan;
use crate::validate::{Policy, Request};
use dlq_crd::DlqPolicyStatus;

/// Marks the values that this look handles, and tells which are ignored.
pub(super) fn handle_requests(
    policy: &Policy,
    before: &DlqPolicyStatus,
    plan: &Plan,
    status: &mut DlqPolicyStatus,
    notes: &mut Vec<Note>,
) {
    let value = |request: &Request| Some(request.value.clone());
    let mut refuse = |request: &Request, handled: Option<&String>, name| {
        if request.too_long && handled != Some(&request.value) {
            let text = format!("the annotation dlq-operator.dev/{name} is longer than 256 bytes");
            notes.push(Note::new(NoteReason::RunRequestIgnored, text));
        }
    };
    if let Some(reset) = &policy.requests.reset {
        refuse(reset, before.last_handled_reset_at.as_ref(), "resetAt");
        status.last_handled_reset_at = value(reset);
    }
    if let Some(cancel) = &policy.requests.cancel
        && (before.current_run.is_none() || cancel.too_long)
    {
        refuse(cancel, before.last_handled_cancel_at.as_ref(), "cancelAt");
        status.last_handled_cancel_at = value(cancel);
    }
    let Some(request) = &policy.requests.run else { return };
    if status.last_handled_requested_at.as_ref() == Some(&request.value) {
        return;
    }
    refuse(request, None, "requestedAt");
    let ignored = match plan {
        _ if request.too_long => None,
        Plan::Suspended => {
            Some((NoteReason::RunRequestIgnored, "a run was requested while spec.suspend is true"))
        }
        Plan::Paused => {
            Some((NoteReason::RunRequestIgnored, "a run was requested while the policy is paused"))
        }
        Plan::Continue { .. } | Plan::Cancel { .. } => {
            Some((NoteReason::RunAlreadyActive, "a run was requested while another one was in progress"))
        }
        _ => None,
    };
    if ignored.is_some() || request.too_long {
        status.last_handled_requested_at = value(request);
    }
    notes.extend(ignored.map(|(reason, text)| Note::new(reason, text)));
}
