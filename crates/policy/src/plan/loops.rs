//! Whether a policy could act on the same failing workflow runs for ever, and whether what ends that still holds.

use jiff::Timestamp;

use super::is_circuit_reset;
use crate::run::outcome::LABELS_NOT_CARRIED;
use crate::run::window::Bound;
use crate::spec::invalid::Invalid;
use crate::spec::policy::{Policy, Work};
use crate::spec::selection::Selected;
use dlq_crd::{Action, DlqPolicyStatus, Reason};

/// So many characters of a workflow run's ID, with the `wfr_` that all begin with, are those of one alone.
const SHORTEST_ID: usize = 12;

/// Whether the policy resumes or restarts on a schedule, without `loopProtection`, and its filters select what it brings
/// back.
pub fn may_loop(policy: &Policy, now: Timestamp) -> bool {
    let (Ok(work), Ok(Some(_))) = (&policy.work, &policy.schedule) else { return false };
    let is_protected = work.by_listing.as_ref().is_some_and(|by_listing| by_listing.max_attempts.is_some());
    let acts = work.action != Action::Delete && !work.dry_run && !policy.force_dry_run;
    acts && !is_protected && selects_again(work, now)
}

/// Whether the filters select an entry of a workflow run that was made of one that they select.
fn selects_again(work: &Work, now: Timestamp) -> bool {
    let Selected::Matching { criteria, to, .. } = &work.selected else { return false };
    let overrides = &work.overrides;
    let is_past = matches!(to, Some(Bound::At(to)) if *to <= now);
    // The new one has a time and an ID of its own, which a short beginning may select nevertheless.
    let is_one = |id: &String| id.len() >= SHORTEST_ID;
    let is_another =
        criteria.workflow_created_at.is_some() || criteria.workflow_run_id.as_ref().is_some_and(is_one);
    let is_relabelled = !criteria.labels.is_empty()
        && !overrides.labels.is_empty()
        && !criteria.labels.iter().any(|label| overrides.labels.contains(label));
    let is_under_another_key = !criteria.flow_control_keys.is_empty()
        && overrides.flow_control_key.as_ref().is_some_and(|key| !criteria.flow_control_keys.contains(key));
    !(is_past || is_another || is_relabelled || is_under_another_key)
}

/// Why the policy must not act: a workflow run came back without the label that counts.
pub(crate) fn labels_not_carried(policy: &Policy, status: &DlqPolicyStatus) -> Option<Invalid> {
    let is_lost = status.label_probes.iter().any(|probe| probe.lost_label);
    (is_lost && !is_circuit_reset(policy, status))
        .then(|| Invalid::new(Reason::LabelsNotCarried, LABELS_NOT_CARRIED))
}
