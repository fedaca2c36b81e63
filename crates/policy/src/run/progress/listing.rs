//! A run that selects by listing: pages are listed ahead, each entry is decided on, and those that are acted on are named in
//! calls.

use std::sync::Arc;

use jiff::Timestamp;

use super::calls::within;
use super::{Progress, Step};
use crate::run::attempts::{Attempts, NewLabels};
use crate::run::batch::Batch;
use crate::run::chunks::{Chunks, MAX_CHUNK};
use crate::run::cursors::Turned;
use crate::run::flights::Owner;
use crate::run::in_hand::PAGE;
use crate::run::label_probes::LabelProbes;
use crate::run::outcome::Outcome;
use crate::run::past::Past;
use crate::run::verdict::{Rules, Verdict};
use crate::spec::by_listing::ByListing;
use dlq_upstash::types::{Call, Criteria, Page, Selection};

impl Progress {
    /// The same, looking for what earlier runs left to look for.
    #[must_use]
    pub(crate) fn looking_for(mut self, past: Past) -> Self {
        if let Some(listing) = &mut self.listing {
            listing.past = past;
        }
        self
    }

    /// What the run learnt of what earlier ones made, and left for later ones.
    pub(crate) fn past(&self) -> Option<&Past> {
        self.listing.as_ref().map(|listing| &listing.past)
    }

    /// Looks for nothing that earlier runs made any more: somebody wants to begin anew.
    pub(crate) fn forget_label_probes(&mut self) {
        if let Some(listing) = &mut self.listing {
            listing.past.label_probes = LabelProbes::default();
        }
    }

    /// Lists while there is room and more to come, else acts on what is in hand.
    pub(super) fn next_listed(&mut self, criteria: &Criteria) -> Step {
        let left = usize::try_from(self.left()).unwrap_or(usize::MAX);
        let most = self.count();
        let listed = self.flights.of_windows();
        let Some(listing) = &self.listing else { return self.succeed() };
        let (in_hand, waiting) = (listing.in_hand.len(), listing.in_hand.waiting());
        let has_room = listing.in_hand.has_room(listed);
        if in_hand == 0 && self.windows.is_empty() {
            return self.pass_done(criteria);
        }
        if self.has_no_worker() {
            return Step::Await;
        }
        let Some(most) = most else { return self.end_at_limit() };
        let batch = self.ready_batch();
        // What was refused as a whole is taken apart before anything else has its turn.
        let is_worth_listing =
            self.lists_only() || (batch.is_none() && (in_hand == 0 || (has_room && waiting < left)));
        if let Some(pages) =
            self.ready_window().filter(|_| is_worth_listing).map(|index| &self.windows[index])
        {
            let detail = self.work.by_listing.as_ref().map(ByListing::detail).unwrap_or_default();
            let cursor = pages.cursors.next().cloned();
            let of = Owner::Window(pages.number);
            let criteria = within(criteria, &pages.window);
            let call = Call::List { criteria, cursor, count: PAGE.min(self.most_listed), detail };
            return self.offer(call, of);
        }
        let most = usize::try_from(most).unwrap_or(1);
        let Some(index) = batch.or_else(|| self.take_batch(most)) else { return Step::Await };
        let Some(batch) = self.batches.get_mut(index) else { return Step::Await };
        let of = Owner::Batch(batch.number);
        let named = Selection::Ids(batch.next(most));
        let labels = match &batch.labels {
            NewLabels::These(labels) => labels.clone(),
            NewLabels::Unchanged => self.work.overrides.labels.clone(),
        };
        let call = self.bulk_with(named, labels);
        self.offer(call, of)
    }

    /// Puts entries in hand into a batch.
    fn take_batch(&mut self, most: usize) -> Option<usize> {
        let (ids, labels) = self.listing.as_mut()?.in_hand.take(most)?;
        let number = self.number();
        self.batches.push_back(Batch::new(number, ids, labels, Chunks::default()));
        Some(self.batches.len() - 1)
    }

    /// All that the pass listed is done.
    fn pass_done(&mut self, criteria: &Criteria) -> Step {
        if let Some(listing) = &mut self.listing {
            listing.past.returns.complete();
        }
        if self.has_last_pass() {
            self.begin_last_pass();
            return self.next_listed(criteria);
        }
        self.succeed()
    }

    /// Takes in a page: decides on each entry.
    pub(super) fn listed(&mut self, index: usize, page: &Page, now: Timestamp) {
        self.run.pages += 1;
        let work = Arc::clone(&self.work);
        // As it is now: the counts change meanwhile.
        let run = self.run.clone();
        let Some(rules) = Rules::of(&work, &run) else { return };
        let by_listing = rules.by_listing;
        let (lists_only, before) = (self.lists_only(), self.counted());
        let Some(listing) = &mut self.listing else { return };
        let counted = match &mut self.tally {
            Some(tally) => &mut tally.entries,
            None => &mut self.run.processed,
        };
        // Entries without an ID that could be sent.
        let shown = i64::try_from(page.entries).unwrap_or(i64::MAX);
        self.run.rejected += (shown - i64::try_from(page.listed.len()).unwrap_or(shown)).max(0);
        listing.in_hand.listed();
        let mut is_cut = false;
        for entry in &page.listed {
            if listing.in_hand.holds(&entry.id) {
                continue;
            }
            listing.past.returns.look_at(entry);
            if by_listing.max_attempts.is_some() && listing.past.label_probes.look_at(entry) {
                self.outcome = Some(Outcome::labels_not_carried());
                return;
            }
            match rules.verdict(entry) {
                Verdict::Act(_) if lists_only => {
                    is_cut = self.limits.max_entries_per_run.is_some_and(|most| *counted >= most);
                    if is_cut {
                        break;
                    }
                    *counted += 1;
                    self.seen.add(entry);
                }
                Verdict::Act(labels) => listing.in_hand.add(&entry.id, labels),
                Verdict::NotSelected => self.run.left_alone += 1,
                Verdict::Skipped(why) => why.count(&mut self.run.skipped),
                Verdict::Exhausted => self.run.exhausted += 1,
                Verdict::Rejected(problem) => {
                    self.run.rejected += 1;
                    listing.unsendable = Some(problem);
                }
            }
        }
        self.has_more |= listing.in_hand.len() > MAX_CHUNK;
        if lists_only {
            self.run.summary = self.seen.summary().map(Box::new);
            self.pace.spend(self.counted() - before, now);
        }
        let Some(pages) = self.windows.get_mut(index) else { return };
        pages.size.drain(page);
        let progressed = std::mem::take(&mut pages.has_acted);
        let Some(next) = &page.cursor else {
            // The limit ends a dry run with the entry that it leaves over.
            if !is_cut {
                self.windows.remove(index);
            }
            return;
        };
        self.advance(index, Turned { shown: page.entries > 0, progressed }, next);
    }

    /// Notes that listed entries were acted on, where the run selects by listing: the new workflow runs got these labels.
    pub(super) fn note_acted(&mut self, page: &Page, labels: &[String], now: Timestamp) {
        let Some(listing) = &mut self.listing else { return };
        if page.entries > 0 {
            self.windows.iter_mut().for_each(|pages| pages.has_acted = true);
        }
        if let Attempts::Known(attempt @ 1..) = Attempts::of(labels) {
            listing.past.label_probes.add(&page.workflow_run_ids, attempt, now);
        }
    }

    /// Forgets what the pass before had in hand, but for what calls are made for.
    pub(super) fn list_again(&mut self) {
        if let Some(listing) = &mut self.listing {
            listing.in_hand.begin_again();
            listing.past.returns.begin_again();
        }
    }
}
