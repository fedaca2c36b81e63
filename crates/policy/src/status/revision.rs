//! Which write of a run came before which.

use dlq_crd::{DlqPolicyStatus, PolicyRun};

/// The status as it is written in place of `before`: where anything differs, its run gets the next revision. With
/// `is_stale`, when another status than `before` may stand there, it does so also where nothing differs.
pub fn revised(before: &DlqPolicyStatus, mut next: DlqPolicyStatus, is_stale: bool) -> DlqPolicyStatus {
    let is_same = |run: &&PolicyRun| {
        next.current_run.as_ref().is_some_and(|next| (&next.id, next.start_time) == (&run.id, run.start_time))
    };
    let revision = before.current_run.as_ref().filter(is_same).and_then(|run| run.revision);
    if let Some(run) = &mut next.current_run {
        run.revision = revision;
    }
    if (is_stale || next != *before)
        && let Some(run) = &mut next.current_run
    {
        run.revision = Some(revision.unwrap_or_default() + 1);
    }
    next
}

/// Whether `read` is what one write of the run's holder made of `known`.
pub fn is_next_revision(known: Option<&PolicyRun>, read: Option<&PolicyRun>) -> bool {
    let (Some(known), Some(read)) = (known, read) else { return false };
    (&known.id, known.start_time, &known.holder) == (&read.id, read.start_time, &read.holder)
        && known.revision.is_some_and(|revision| read.revision == Some(revision + 1))
}
