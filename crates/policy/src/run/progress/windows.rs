//! A run over what matches filters: windows that are drained page by page, and split while there are more workers than
//! windows.

use super::{MAX_CURSOR_BYTES, Progress};
use crate::run::cursors::Turned;
use crate::run::flights::Owner;
use crate::run::listing::anew;
use crate::run::outcome::Outcome;
use crate::run::pace::most_of_one_call;
use crate::run::pages::{Look, Pages};
use crate::run::seen::Seen;
use crate::run::split::{Glimpse, Part, by_glimpse, by_halves, equally};
use dlq_upstash::types::{Call, Cursor, Page, Selection};

/// The most windows that a status keeps.
const MOST_WINDOWS: usize = 32;
/// A window that holds fewer calls' worth of entries is not split: one that nothing was split from yet, and a part of one.
const FEWEST_CALLS_AT_ALL: f64 = 4.0;
const FEWEST_CALLS: f64 = 1.5;
/// A part gets so many calls' worth at least, as far as one can tell: each costs a call that is not full.
const CALLS_OF_A_PART: f64 = 1.5;
/// What is listed is split before its first page only: what ends with the run's window, and each other part that seems to hold
/// so many pages; so often at most.
const FEWEST_PAGES_OF_LISTS: f64 = 4.0;
const MOST_SPLITS_OF_LISTS: u32 = 6;

impl Progress {
    /// The windows of a run that is taken up.
    pub(super) fn take_up_windows(&mut self) {
        for told in self.run.windows.clone() {
            let window = dlq_crd::Window { from_date: told.from_date, to_date: told.to_date };
            let number = self.number();
            self.windows.push(Pages::new(number, window, told.cursor.map(Cursor)));
        }
        if self.windows.is_empty() {
            // A pass of what is listed begins anew.
            let cursor = self.run.cursor.clone().filter(|_| self.listing.is_none()).map(Cursor);
            self.take_whole_window(cursor);
        }
        self.note_windows();
    }

    fn take_whole_window(&mut self, cursor: Option<Cursor>) {
        let number = self.number();
        let whole = self.run.window.clone().map(|window| Pages::new(number, window, cursor));
        self.windows = whole.into_iter().collect();
    }

    /// A window without a call under way: first one that nothing is known of.
    pub(super) fn ready_window(&self) -> Option<usize> {
        let ready = || self.windows.iter().enumerate().filter(|(_, pages)| self.is_ready(pages));
        ready().find(|(_, pages)| pages.is_fresh()).or_else(|| ready().next()).map(|(index, _)| index)
    }

    fn is_ready(&self, pages: &Pages) -> bool {
        let number = pages.number;
        !self.flights.has(Owner::Window(number)) && !self.flights.has(Owner::Look(number))
    }

    /// For how many workers there is no window, as far as there is room for more windows.
    fn idle(&self) -> usize {
        let ready = self.windows.iter().filter(|pages| self.is_ready(pages)).count();
        let idle = self.workers.allowed().saturating_sub(self.flights.len() + ready);
        if self.pass.is_last { 0 } else { idle.min(MOST_WINDOWS.saturating_sub(self.windows.len())) }
    }

    /// Splits windows for as many workers as have nothing to do.
    pub(super) fn split_windows(&mut self) {
        // What is listed is split by its first page.
        if !self.workers.are_several() || self.lists_only() || self.listing.is_some() {
            return;
        }
        let mut looks = 0;
        loop {
            let idle = self.idle().saturating_sub(looks);
            let ready = self.windows.iter().enumerate();
            let ready = ready.filter(|(_, pages)| self.is_ready(pages) && pages.can_be_split());
            let largest = ready.max_by(|(_, one), (_, other)| one.size.left().total_cmp(&other.size.left()));
            let Some(index) = largest.map(|(index, _)| index).filter(|_| idle > 0) else { return };
            if let Some(parts) = self.parts(index, idle + 1) {
                self.split(index, &parts);
                continue;
            }
            // Beside its next page, unless there is little left or nothing to be seen.
            let Some(pages) = self.windows.get_mut(index) else { return };
            if pages.size.look != Look::None {
                return;
            }
            pages.size.look = Look::Wanted;
            looks += 1;
        }
    }

    /// At most so many parts of a window; none, if it is too small, or not known well enough.
    fn parts(&mut self, index: usize, most: usize) -> Option<Vec<Part>> {
        #[expect(clippy::cast_precision_loss, reason = "at most a hundred")]
        let one_call = most_of_one_call(&self.limits) as f64;
        let start = self.run.window.as_ref()?.to_date.as_millisecond();
        let order = self.order;
        let pages = self.windows.get_mut(index)?;
        let (left, span) = (pages.size.left(), pages.span());
        let fewest = if pages.size.depth == 0 { FEWEST_CALLS_AT_ALL } else { FEWEST_CALLS };
        if pages.size.look != Look::Taken || left < fewest * one_call {
            return None;
        }
        let parts = match (pages.size.glimpse.take(), pages.size.estimate()) {
            (Some(glimpse), _) => by_glimpse(span, glimpse, most, start),
            (None, Some(entries)) => {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 17")]
                let worth = (entries / (CALLS_OF_A_PART * one_call)).clamp(2.0, 17.0) as usize;
                equally(span, entries, most.min(worth))
            }
            (None, None) => by_halves(span, most, order),
        };
        (parts.len() > 1).then_some(parts)
    }

    /// Puts parts of a window in its place. Its cursor goes with it: what was acted on is gone.
    fn split(&mut self, index: usize, parts: &[Part]) {
        let pages = self.windows.remove(index);
        for part in parts {
            let number = self.number();
            self.windows.push(pages.part(number, part));
        }
        self.windows.sort_by_key(|pages| pages.span().from);
        self.pass.is_split = true;
        self.run.cursor = None;
        self.note_windows();
    }

    /// Where a window is; nowhere, if the run began again since.
    pub(super) fn window_at(&self, number: u32) -> Option<usize> {
        self.windows.iter().position(|pages| pages.number == number)
    }

    /// A look that was wanted is under way.
    pub(super) fn looks(&mut self, number: u32) {
        if let Some(pages) = self.window_at(number).and_then(|index| self.windows.get_mut(index)) {
            pages.size.look = Look::Taken;
        }
    }

    /// Takes in where the entries of a window are.
    pub(super) fn looked(&mut self, number: u32, page: &Page) {
        if let Some(pages) = self.window_at(number).and_then(|index| self.windows.get_mut(index)) {
            let span = pages.span();
            pages.size.see(page, span);
            if let Some(glimpse) = pages.size.glimpse {
                self.order = glimpse.order();
            }
        }
    }

    /// Whether the first page of what is listed serves to split its window, and counts for nothing else.
    pub(super) fn is_split_by(&mut self, index: usize, page: &Page) -> bool {
        let Some(pages) = self.windows.get(index) else { return false };
        let is_first = pages.is_fresh() && pages.cursors.next().is_none() && page.cursor.is_some();
        // There is no other chance: it is cut into more parts than there are workers, as some turn out to be small.
        let most = MOST_WINDOWS.saturating_sub(self.windows.len()).min(2 * self.workers.wanted());
        let may_be_split = is_first
            && self.workers.are_several()
            && !self.pass.is_last
            && pages.size.depth < MOST_SPLITS_OF_LISTS;
        if most == 0 || !may_be_split {
            return false;
        }
        let (span, shown) = (pages.span(), page.entries);
        let Some(start) = self.run.window.as_ref().map(|window| window.to_date.as_millisecond()) else {
            return false;
        };
        let Some(glimpse) = Glimpse::of(page, span) else { return false };
        #[expect(clippy::cast_precision_loss, reason = "at most a hundred")]
        let seems_large = glimpse.entries_in(span) >= FEWEST_PAGES_OF_LISTS * shown as f64;
        // Where the oldest entries come first, they say little of those that failed last.
        if !seems_large && span.to != start {
            return false;
        }
        let parts = by_glimpse(span, glimpse, most + 1, start);
        let splits = parts.len() > 1;
        if splits {
            self.split(index, &parts);
        }
        splits
    }

    /// Takes in a page of a window.
    pub(super) fn paged(&mut self, number: u32, call: &Call, page: &Page, now: jiff::Timestamp) {
        let Some(index) = self.window_at(number) else { return };
        let is_apart = self.windows.get(index).is_some_and(|pages| pages.bisection.is_some());
        self.has_more |= page.cursor.is_some();
        match call {
            Call::List { .. } if is_apart => self.list(index, page),
            Call::List { .. } if self.is_split_by(index, page) => {}
            Call::List { .. } if self.listing.is_some() => self.listed(index, page, now),
            Call::Bulk { selection: Selection::Ids(ids), .. } => {
                self.count_page(page);
                self.bisect(index, |bisection| bisection.acted(ids.len(), page.entries));
            }
            _ => {
                self.count_page(page);
                if let Some(pages) = self.windows.get_mut(index) {
                    pages.size.drain(page);
                }
                let shown = page.entries > 0;
                let turned = Turned { shown, progressed: shown && !self.lists_only() };
                self.turn_page(index, turned, page.cursor.as_ref());
            }
        }
    }

    /// Continues with the next page of a window, or without the window once it is done.
    pub(super) fn turn_page(&mut self, index: usize, turned: Turned, next: Option<&Cursor>) {
        let Some(pages) = self.windows.get_mut(index) else { return };
        if next.is_none() && !self.pass.is_split {
            return self.pass_ends();
        }
        let rejected = std::mem::take(&mut pages.rejected_since_cursor);
        let left_alone = std::mem::take(&mut pages.left_alone_since_cursor);
        pages.has_left |= rejected > 0 || left_alone > 0;
        self.run.rejected += rejected;
        self.run.left_alone += left_alone;
        let Some(next) = next else {
            self.windows.remove(index);
            if self.windows.is_empty() {
                self.pass_ends();
            }
            return;
        };
        self.advance(index, turned, next);
    }

    /// Continues behind this cursor.
    pub(super) fn advance(&mut self, index: usize, turned: Turned, next: &Cursor) {
        if !self.pass.is_split {
            self.run.cursor = Some(next.0.clone());
        }
        let turned = self.windows.get_mut(index).map(|pages| pages.cursors.turn(turned, next));
        if let Some(Err(message)) = turned {
            self.outcome = Some(Outcome::cursor_loop(&message));
        }
    }

    /// All windows are done. What a lost answer or a lost process left behind is before the cursor, and what a wrong
    /// assumption on time left out in no window: another pass over the whole window follows, once.
    fn pass_ends(&mut self) {
        if self.outcome.is_some() {
            return;
        }
        if self.has_last_pass() { self.begin_last_pass() } else { drop(self.succeed()) }
    }

    /// Whether another pass follows.
    pub(super) fn has_last_pass(&self) -> bool {
        let is_unsure = self.run.uncertain_pages > 0 || self.run.interruptions > 0;
        // Once the limit is used up there is no call to be made, and nothing is known to be left.
        let has_parts = self.pass.is_split && self.left() > 0;
        !self.lists_only() && !self.pass.is_last && (is_unsure || has_parts)
    }

    pub(super) fn begin_last_pass(&mut self) {
        self.pass.is_last = true;
        self.begin_again();
    }

    /// What the API refuses, and what a dry run lists, comes by again in a new pass.
    fn begin_again(&mut self) {
        self.run = anew(self.run.clone());
        self.pass.is_split = false;
        self.take_whole_window(None);
        self.list_again();
        if self.lists_only() {
            self.seen = Seen::default();
        }
        self.count_again();
        self.note_windows();
    }

    /// Begins again without a cursor that was refused: they go stale. What was acted on is gone from the DLQ, so that
    /// repeats nothing. Once for each window.
    pub(super) fn restart(&mut self, index: usize) -> bool {
        let is_alone = self.pass.is_split && !self.lists_only() && self.listing.is_none();
        let Some(pages) = self.windows.get_mut(index).filter(|pages| pages.cursors.next().is_some()) else {
            return false;
        };
        let has_begun_again =
            if is_alone { &mut pages.has_begun_again } else { &mut self.pass.has_begun_again };
        if std::mem::replace(has_begun_again, true) {
            return false;
        }
        self.run.retries += 1;
        if is_alone {
            pages.begin_again();
        } else {
            self.begin_again();
        }
        true
    }

    /// Keeps the windows in the run.
    pub(super) fn note_windows(&mut self) {
        if !self.pass.is_split {
            self.run.windows.clear();
            return;
        }
        self.run.windows = self.windows.iter().map(Pages::told).collect();
        let bytes = |cursor: &Option<String>| cursor.as_ref().map_or(0, String::len);
        while self.run.windows.iter().map(|told| bytes(&told.cursor)).sum::<usize>() > MAX_CURSOR_BYTES {
            if self.lists_only() {
                // A process that takes up the run begins it again, so that no entry is counted twice.
                return self.run.windows.clear();
            }
            let longest = self.run.windows.iter_mut().max_by_key(|told| bytes(&told.cursor));
            let Some(longest) = longest else { return };
            longest.cursor = None;
        }
    }
}
