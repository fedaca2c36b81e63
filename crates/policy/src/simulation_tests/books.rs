//! What one process saw of the run that it works on: the books on its pace and on what was refused.

use jiff::Timestamp;

use super::pace::{At, Pace};
use super::refusals::Refusals;
use super::upstash::{Fate, Upstash};
use dlq_crd::PolicyRun;
use dlq_upstash::types::Call;

#[derive(Debug, Default)]
pub(super) struct Books {
    pace: Pace,
    /// Only of a run that was seen from its start on.
    refusals: Option<Refusals>,
}

impl Books {
    /// A run that selects by listing is refused some entries, and leaves others alone: its refusals are not counted here.
    pub(super) fn of_a_run_that_starts(upstash: &Upstash, is_by_listing: bool) -> Self {
        let refusals = (!is_by_listing).then(|| Refusals::since_now(upstash));
        Self { pace: Pace::default(), refusals }
    }

    /// A call is made; `is_paced`: the run's rate holds for it.
    pub(super) fn asks(
        &mut self,
        (run, call, is_paced): (&PolicyRun, &Call, bool),
        fate: &Fate,
        (process, truth): (Timestamp, Timestamp),
    ) {
        let rate = run.limits.as_ref().and_then(|limits| limits.entries_per_second);
        if let (Some(rate), true) = (rate, is_paced) {
            self.pace.asks(rate, At { process, truth });
        }
        self.refusals.iter_mut().for_each(|refusals| refusals.asks(run, call, fate));
    }

    pub(super) fn brought(&mut self, entries: u32) {
        self.pace.brought(entries);
    }

    /// The run ends. Whether it counts refused entries, and all of them.
    pub(super) fn check(&self, run: &PolicyRun, upstash: &Upstash) -> bool {
        self.refusals.as_ref().is_some_and(|refusals| refusals.check(run, upstash))
    }
}
