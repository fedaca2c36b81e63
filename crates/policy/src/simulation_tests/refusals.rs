//! Watches that `rejected` is what the API refuses, in runs that nothing hid anything from.

use super::upstash::{Fate, Upstash};
use dlq_crd::{Action, MilliTime, PolicyRun, Reason};
use dlq_upstash::types::{Call, Criteria, Selection};

/// What one process saw of a run from its start on.
#[derive(Debug)]
pub(super) struct Refusals {
    /// What the run selects, once it has asked.
    criteria: Option<Criteria>,
    /// The entries before this one were there at the start.
    there: u64,
    /// The API refused something without a reason in an entry, or gave a cursor that leads back.
    is_disturbed: bool,
}

impl Refusals {
    pub(super) fn since_now(upstash: &Upstash) -> Self {
        Self { criteria: None, there: upstash.newest(), is_disturbed: false }
    }

    pub(super) fn asks(&mut self, run: &PolicyRun, call: &Call, fate: &Fate) {
        if let Call::List { criteria, .. }
        | Call::Bulk { selection: Selection::Matching { criteria, .. }, .. } = call
            && run.window.is_some()
        {
            let window = run.window.as_ref().expect("a window");
            let (from_date, to_date) = (window.from_date, window.to_date);
            self.criteria = Some(Criteria {
                from_date: from_date.map(MilliTime::as_millisecond),
                to_date: Some(to_date.as_millisecond()),
                ..criteria.clone()
            });
        }
        // A cursor that leads back shows what was refused once more. A list that ignores filters shows what failed less
        // than a minute beside the window, which the run takes for selected.
        self.is_disturbed |= matches!(fate, Fate::Refused { .. } | Fate::Circle | Fate::Unfiltered);
    }

    /// A run that succeeds has been told of each such entry that it selects, once.
    pub(super) fn check(&self, run: &PolicyRun, upstash: &Upstash) -> bool {
        // What came since it counted, within its window, it leaves alone.
        let is_capped = run.matched == Some(run.processed);
        let is_exact = !run.dry_run && run.uncertain_pages == 0 && run.interruptions == 0 && !is_capped;
        let Some(criteria) = self.criteria.as_ref().filter(|_| is_exact && !self.is_disturbed) else {
            return false;
        };
        if run.action != Action::Resume || run.reason != Some(Reason::RunSucceeded) {
            return false;
        }
        let refused = upstash.refused(criteria);
        let least = refused.iter().filter(|key| **key < self.there).count();
        let counted = usize::try_from(run.rejected).unwrap();
        assert!(
            (least..=refused.len()).contains(&counted),
            "{counted} rejected of {least} to {}",
            refused.len()
        );
        counted > 0
    }
}
