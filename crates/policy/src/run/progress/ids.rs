//! A run over `dlqIds`: they are named in calls, in their order, several calls at once.

use jiff::Timestamp;

use super::{Progress, Question, Step, are_all_refused};
use crate::run::attempts::NewLabels;
use crate::run::batch::Batch;
use crate::run::chunks::{Chunks, fitting};
use crate::run::flights::Owner;
use crate::run::pace::entries_of;
use dlq_upstash::types::{Action, Call, Criteria, DlqId, Page, Selection};

impl Progress {
    pub(super) fn next_ids(&mut self, ids: &[DlqId]) -> Step {
        let rest = ids.get(self.dealt..).unwrap_or_default();
        if rest.is_empty() && self.batches.is_empty() {
            // Another process heard the refusals and ended before it asked.
            let is_open = self.run.rejected > 0 && !self.is_request_fine;
            // Where all are refused, the answer would change nothing.
            if !is_open || are_all_refused(&self.run) {
                return self.succeed();
            }
            self.question.get_or_insert_with(|| Question::Request(self.work.overrides.labels.clone()));
        }
        if self.question.is_some() {
            // Not a look at the ID: that it is not in the DLQ would tell nothing of the token.
            return self.ask(Criteria::default());
        }
        if self.has_no_worker() {
            return Step::Await;
        }
        let Some(count) = self.count() else { return self.end_at_limit() };
        let most = usize::try_from(count).unwrap_or(1);
        let index = match self.ready_batch() {
            Some(index) => index,
            None if rest.is_empty() => return Step::Await,
            None => {
                let size = if self.lists_only() { 1 } else { most.min(fitting(rest)).min(rest.len()) };
                self.deal(rest.iter().take(size).cloned().collect());
                self.batches.len() - 1
            }
        };
        let action = self.work.api_action();
        let lists_only = self.lists_only();
        let Some(batch) = self.batches.get_mut(index) else { return Step::Await };
        let of = Owner::Batch(batch.number);
        let named = batch.next(most);
        let call = match (named.first(), ids) {
            (Some(id), _) if lists_only => Call::Get { id: id.clone() },
            (_, [only]) if action == Action::Resume => {
                Call::Single { action, id: only.clone(), overrides: self.work.overrides.clone() }
            }
            _ => self.bulk(Selection::Ids(named)),
        };
        self.offer(call, of)
    }

    /// Puts the next IDs into a batch.
    fn deal(&mut self, ids: Vec<DlqId>) {
        let chunks = if self.uncertain > 0 { Chunks::in_doubt() } else { Chunks::default() };
        self.uncertain = self.uncertain.saturating_sub(ids.len());
        self.dealt += ids.len();
        let number = self.number();
        self.batches.push_back(Batch::new(number, ids, NewLabels::Unchanged, chunks));
    }

    /// A batch that is not done, without a call under way.
    pub(super) fn ready_batch(&self) -> Option<usize> {
        self.batches
            .iter()
            .position(|batch| !batch.is_done() && !self.flights.has(Owner::Batch(batch.number)))
    }

    /// Takes in that a call was answered which named entries.
    pub(super) fn acted(&mut self, number: u32, call: &Call, page: &Page, now: Timestamp) {
        self.count_page(page);
        match call {
            Call::Bulk { selection: Selection::Ids(ids), overrides, .. } => {
                self.note_acted(page, &overrides.labels, now);
                let sent = i64::try_from(ids.len()).unwrap_or(i64::MAX);
                let missing = (sent - entries_of(page)).max(0);
                self.pass(number, ids.len(), missing == 0, |batch| {
                    if !batch.chunks.is_uncertain() {
                        batch.not_found += missing;
                    }
                });
            }
            _ => self.pass(number, 1, true, |_| {}),
        }
    }

    /// Leaves so many entries of a batch behind. `count` sees the batch before that.
    pub(super) fn pass(&mut self, number: u32, sent: usize, is_whole: bool, count: impl FnOnce(&mut Batch)) {
        let Some(index) = self.batches.iter().position(|batch| batch.number == number) else { return };
        let Some(batch) = self.batches.get_mut(index) else { return };
        count(batch);
        let passed = batch.pass(sent, is_whole);
        if let Some(listing) = &mut self.listing {
            listing.in_hand.done(&passed);
            self.run.not_found += std::mem::take(&mut batch.not_found);
            self.run.rejected += std::mem::take(&mut batch.rejected);
            if batch.is_done() {
                self.batches.remove(index);
            }
            return;
        }
        // What comes after entries that are not done is not told yet: a process that takes up the run acts on it again.
        while let Some(first) = self.batches.front_mut() {
            let (done, not_found, rejected) = first.take_done();
            if self.tally.is_none() {
                self.run.position += done;
                self.run.not_found += not_found;
                self.run.rejected += rejected;
            }
            if !first.is_done() {
                break;
            }
            self.batches.pop_front();
        }
    }

    /// What tells the next window or batch apart.
    pub(super) fn number(&mut self) -> u32 {
        self.last_number = self.last_number.wrapping_add(1);
        self.last_number
    }
}
