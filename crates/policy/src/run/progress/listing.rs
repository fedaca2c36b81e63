//! A run that selects by listing: pages are listed ahead, each entry is decided on, and those that are acted on are named in
//! calls.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Progress, Step};
use crate::run::attempts::{Attempts, NewLabels};
use crate::run::cursors::Turned;
use crate::run::in_hand::{InHand, PAGE};
use crate::run::judge::Selects;
use crate::run::label_probes::LabelProbes;
use crate::run::outcome::Outcome;
use crate::run::past::Past;
use crate::run::verdict::{Rules, Verdict};
use crate::spec::by_listing::ByListing;
use crate::spec::selection::Selected;
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
    pub(super) fn next_listed(&mut self, criteria: Criteria) -> Step {
        let left = usize::try_from(self.left()).unwrap_or(usize::MAX);
        let most = self.count();
        let Some(listing) = &mut self.listing else { return self.succeed() };
        let in_hand = listing.in_hand.len();
        let has_more = !listing.is_listed;
        if in_hand == 0 && !has_more {
            return self.pass_done(criteria);
        }
        let Some(most) = most else { return self.end_at_limit() };
        let is_worth_listing =
            self.run.dry_run || in_hand == 0 || (listing.in_hand.has_room() && in_hand < left);
        if has_more && is_worth_listing {
            let detail = self.work.by_listing.as_ref().map(ByListing::detail).unwrap_or_default();
            let cursor = self.cursors.next().cloned();
            return Step::Call(Call::List { criteria, cursor, count: PAGE.min(self.most_listed), detail });
        }
        let Some(batch) = listing.in_hand.next(usize::try_from(most).unwrap_or(1)) else {
            return self.succeed();
        };
        let labels = match batch.labels {
            NewLabels::These(labels) => labels,
            NewLabels::Unchanged => self.work.overrides.labels.clone(),
        };
        Step::Call(self.bulk_with(Selection::Ids(batch.ids), labels))
    }

    /// All that the pass listed is done.
    fn pass_done(&mut self, criteria: Criteria) -> Step {
        if let Some(listing) = &mut self.listing {
            listing.past.returns.complete();
        }
        let is_unsure = self.run.uncertain_pages > 0 || self.run.interruptions > 0;
        if !self.run.dry_run && is_unsure && self.cursors.last_pass() {
            self.begin_again();
            return self.next_listed(criteria);
        }
        self.succeed()
    }

    /// Takes in a page: decides on each entry.
    pub(super) fn listed(&mut self, page: &Page, now: Timestamp) {
        self.run.pages += 1;
        let work = Arc::clone(&self.work);
        let (Selected::Matching { criteria, from, to }, Some(window), Some(by_listing)) =
            (&work.selected, self.run.window.clone(), &work.by_listing)
        else {
            return;
        };
        let rules = Rules {
            selects: Selects { criteria, window: &window, is_bounded: from.is_some() || to.is_some() },
            by_listing,
            labels: &work.overrides.labels,
            now: self.run.start_time.timestamp(),
        };
        let Some(listing) = &mut self.listing else { return };
        // Entries without an ID that could be sent.
        let shown = i64::try_from(page.entries).unwrap_or(i64::MAX);
        self.run.rejected += (shown - i64::try_from(page.listed.len()).unwrap_or(shown)).max(0);
        let processed = self.run.processed;
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
                Verdict::Act(_) if self.run.dry_run => {
                    is_cut = self.limits.max_entries_per_run.is_some_and(|most| self.run.processed >= most);
                    if is_cut {
                        break;
                    }
                    self.run.processed += 1;
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
        let has_acted = std::mem::take(&mut listing.has_acted);
        if self.run.dry_run {
            self.run.summary = self.seen.summary().map(Box::new);
            self.pace.spend(self.run.processed - processed, now);
        }
        let Some(next) = &page.cursor else {
            // The limit ends a dry run with the entry that it leaves over.
            listing.is_listed = !is_cut;
            return;
        };
        self.run.cursor = Some(next.0.clone());
        if let Err(message) =
            self.cursors.turn(Turned { shown: page.entries > 0, progressed: has_acted }, next)
        {
            self.outcome = Some(Outcome::cursor_loop(&message));
        }
    }

    /// Takes in that listed entries were acted on: how many were sent, and with which labels.
    pub(super) fn acted_on_listed(&mut self, sent: usize, page: &Page, labels: &[String], now: Timestamp) {
        let Some(listing) = &mut self.listing else { return };
        let missing = i64::try_from(sent as u64).unwrap_or(i64::MAX).saturating_sub_unsigned(page.entries);
        if listing.in_hand.chunks().is_none_or(|chunks| !chunks.is_uncertain()) {
            self.run.not_found += missing.max(0);
        }
        listing.has_acted |= page.entries > 0;
        if let Attempts::Known(attempt @ 1..) = Attempts::of(labels) {
            listing.past.label_probes.add(&page.workflow_run_ids, attempt, now);
        }
        listing.in_hand.done(sent, missing <= 0);
    }

    /// Forgets what the pass before had in hand.
    pub(super) fn list_again(&mut self) {
        if let Some(listing) = &mut self.listing {
            listing.in_hand = InHand::default();
            listing.is_listed = false;
            listing.past.returns.begin_again();
        }
    }
}
