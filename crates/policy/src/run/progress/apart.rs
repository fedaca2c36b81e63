//! A page that was refused, taken apart entry by entry.

use std::sync::Arc;

use super::{Probe, Progress};
use crate::run::bisection::Bisection;
use crate::run::judge::Selects;
use crate::spec::selection::Selected;
use dlq_upstash::types::Page;

impl Progress {
    /// Takes the entries of the refused page.
    pub(super) fn list(&mut self, page: &Page) {
        let work = Arc::clone(&self.work);
        if let (Selected::Matching { criteria, from, to }, Some(window), Some(bisection)) =
            (&work.selected, &self.run.window, &mut self.bisection)
        {
            bisection.list(page, Selects { criteria, window, is_bounded: from.is_some() || to.is_some() });
        }
        self.bisected();
    }

    pub(super) fn bisect(&mut self, change: impl FnOnce(&mut Bisection)) {
        if let Some(bisection) = &mut self.bisection {
            change(bisection);
        }
        self.bisected();
    }

    /// Continues with the next page once the refused one is done.
    pub(super) fn bisected(&mut self) {
        let Some(bisection) = &self.bisection else { return };
        let Some(page) = bisection.outcome() else { return };
        if !page.selected && page.next.is_none() && !self.is_request_fine {
            // The entry that was meant has left the DLQ since, or there never was one.
            self.refusal = Some(bisection.refusal.clone());
            self.probe = Some(Probe::Request(self.work.overrides.labels.clone()));
        }
        if self.probe.is_some() {
            return;
        }
        self.left_alone_since_cursor += bisection.left_alone();
        self.rejected_since_cursor += bisection.rejected();
        self.bisection = None;
        self.turn_page(page.shown, page.acted > 0, page.next.as_ref());
    }

    /// The answer to [`Probe::Request`].
    pub(super) fn request_is_fine(&mut self) {
        self.failures = 0;
        self.is_request_fine = true;
        self.bisected();
    }
}
