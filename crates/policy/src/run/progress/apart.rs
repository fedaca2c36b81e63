//! A page that was refused, taken apart entry by entry.

use std::sync::Arc;

use super::{Progress, Question};
use crate::run::bisection::Bisection;
use crate::run::cursors::Turned;
use crate::run::judge::Selects;
use crate::run::pages::Pages;
use crate::spec::selection::Selected;
use dlq_upstash::types::Page;

impl Progress {
    /// Takes the entries of the refused page.
    pub(super) fn list(&mut self, index: usize, page: &Page) {
        let work = Arc::clone(&self.work);
        if let (Selected::Matching { criteria, from, to }, Some(window), Some(pages)) =
            (&work.selected, &self.run.window, self.windows.get_mut(index))
            && let Some(bisection) = &mut pages.bisection
        {
            bisection.list(page, Selects { criteria, window, is_bounded: from.is_some() || to.is_some() });
        }
        self.bisected(index);
    }

    pub(super) fn bisect(&mut self, index: usize, change: impl FnOnce(&mut Bisection)) {
        if let Some(bisection) = self.windows.get_mut(index).and_then(|pages| pages.bisection.as_mut()) {
            change(bisection);
        }
        self.bisected(index);
    }

    /// Continues with the next page once the refused one is done.
    fn bisected(&mut self, index: usize) {
        let Some(pages) = self.windows.get_mut(index) else { return };
        let Some(bisection) = &pages.bisection else { return };
        let Some(page) = bisection.outcome() else { return };
        if !page.selected && page.next.is_none() && !self.is_request_fine {
            // The entry that was meant has left the DLQ since, or there never was one.
            self.refusal = Some(bisection.refusal.clone());
            self.question = Some(Question::Request(self.work.overrides.labels.clone()));
        }
        if self.question.is_some() {
            return;
        }
        pages.left_alone_since_cursor += bisection.left_alone();
        pages.rejected_since_cursor += bisection.rejected();
        pages.bisection = None;
        let turned = Turned { shown: page.shown, progressed: page.acted > 0 };
        self.turn_page(index, turned, page.next.as_ref());
    }

    /// The answer to [`Question::Request`].
    pub(super) fn request_is_fine(&mut self) {
        self.failures = 0;
        self.is_request_fine = true;
        // One at a time: each may end the run, or begin it again.
        while let Some(index) = self.windows.iter().position(Pages::is_bisected) {
            self.bisected(index);
        }
    }
}
