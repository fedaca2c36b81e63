//! What the status remembers of a token that was refused.

use crate::plan::starts_by_itself;
use crate::run::Outcome;
use crate::run::approval::is_gated;
use crate::spec::policy::Policy;
use dlq_crd::{DlqPolicyStatus, PolicyRun, Reason, TokenRefusal, Trigger};

/// Remembers whether the token was refused, and for which Secret's next version the work waits.
pub(super) fn note_refusal(
    policy: &Policy,
    run: &PolicyRun,
    outcome: &Outcome,
    status: &mut DlqPolicyStatus,
) {
    if let Some(refusal) = outcome.refusal() {
        // A dry run that was asked for is owed to nobody.
        let is_owed =
            starts_by_itself(policy) && run.trigger != Trigger::Schedule && run.requested_mode.is_none();
        status.refused_reason = Some(refusal);
        status.refused_secret = outcome.refused_secret.clone().filter(|_| is_owed);
        return;
    }
    // A version of the Secret is tried once, however that ends.
    status.refused_secret = None;
    let got_through =
        run.pages > 0 || run.rejected > 0 || run.left_alone > 0 || outcome.reason == Reason::BadRequest;
    let is_by_listing = policy.work.as_ref().is_ok_and(|work| work.by_listing.is_some());
    let has_done_nothing = run.processed == 0 && run.not_found == 0 && run.uncertain_pages == 0;
    // Before its approval a run lists only.
    let may_have_counted = is_gated(run) && run.rejected == 0;
    let has_only_listed = run.dry_run || (has_done_nothing && (is_by_listing || may_have_counted));
    // Of what the token may do a list tells only that it may list.
    if got_through && !(has_only_listed && status.refused_reason == Some(TokenRefusal::ReadOnlyToken)) {
        status.refused_reason = None;
    }
}
