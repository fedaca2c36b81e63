//! What a run that selects by listing has in hand.

use super::in_hand::InHand;
use super::past::Past;
use dlq_crd::{PolicyRun, Skipped};

/// What a run that selects by listing knows beyond its status.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) in_hand: InHand,
    /// Why the last entry that Upstash would refuse was not sent.
    pub(crate) unsendable: Option<String>,
    pub(crate) past: Past,
}

/// The run as a pass begins anew: what is left in the DLQ comes by again.
pub(crate) fn anew(run: PolicyRun) -> PolicyRun {
    let (processed, summary) = if run.dry_run { (0, None) } else { (run.processed, run.summary) };
    PolicyRun {
        rejected: 0,
        left_alone: 0,
        skipped: Skipped::default(),
        exhausted: 0,
        processed,
        summary,
        // They are parts of the pass that was begun.
        windows: Vec::new(),
        ..run
    }
}

/// The run as it begins to count before it acts: of a count that was begun before, nothing is kept.
pub(crate) fn uncounted(run: PolicyRun) -> PolicyRun {
    PolicyRun { cursor: None, summary: None, ..anew(run) }
}
