//! A run that counts what it would act on before it acts: what follows from the count.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Progress, Step};
use crate::run::approval;
use crate::run::outcome::Outcome;
use crate::spec::selection::Selected;
use dlq_crd::PolicyRun;

impl Progress {
    /// Whether entries are listed and counted, and not acted on: in a dry run, and before an approval.
    pub(super) fn lists_only(&self) -> bool {
        self.run.dry_run || self.tally.is_some()
    }

    /// How many entries count so far: those acted on, or those that match while they are only counted.
    pub(super) fn counted(&self) -> i64 {
        self.tally.map_or(self.run.processed, |tally| tally.entries)
    }

    /// So many more.
    pub(super) fn add_counted(&mut self, entries: i64) {
        let counted = match &mut self.tally {
            Some(tally) => &mut tally.entries,
            None => &mut self.run.processed,
        };
        *counted = counted.saturating_add(entries);
    }

    /// The count begins anew.
    pub(super) fn count_again(&mut self) {
        if let Some(tally) = &mut self.tally {
            tally.entries = 0;
            self.run.summary = None;
        }
    }

    /// Whether all that matches is counted.
    pub(super) fn has_counted_all(&self) -> bool {
        self.tally.is_some_and(|tally| tally.is_complete)
    }

    /// What follows, once no call is under way any more.
    pub(super) fn after_counting(&mut self, now: Timestamp) -> Step {
        if self.flights.len() > 0 {
            return Step::Await;
        }
        // A page may bring more than was asked for.
        let matched = self.counted().min(self.limits.max_entries_per_run.unwrap_or(i64::MAX));
        self.tally = None;
        self.run = PolicyRun {
            matched: Some(matched),
            // They are of the count.
            cursor: None,
            windows: Vec::new(),
            ..self.run.clone()
        };
        if approval::is_needed(&self.run) {
            return Step::Ask;
        }
        let selected = Arc::clone(&self.work);
        if matched > 0 {
            self.begin_acting();
            return self.next(now);
        }
        if let Selected::Ids(ids) = &selected.selected {
            self.begin_acting();
            self.leave_missing(ids.len());
        }
        self.succeed()
    }

    /// Asks for an approval by this ID.
    pub fn await_approval(&mut self, id: String, now: Timestamp) {
        self.asks = Some((id, now));
    }

    /// The run as it waits for its approval, in nobody's hands, once it asks.
    pub fn waiting(&self) -> Option<PolicyRun> {
        let (id, since) = self.asks.as_ref()?;
        Some(PolicyRun {
            approval_id: Some(id.clone()),
            approval_requested_time: Some((*since).into()),
            waiting_until: None,
            waiting_reason: None,
            ..self.handed_back()
        })
    }

    /// Begins with the first entry again, to act on it.
    fn begin_acting(&mut self) {
        let mut acting = Self::of(Arc::clone(&self.work), self.run.clone(), self.retry_limit);
        // What was learnt of the account stays true.
        std::mem::swap(&mut acting.workers, &mut self.workers);
        acting.most_listed = self.most_listed;
        if let Some(past) = self.past() {
            acting = acting.looking_for(past.clone());
        }
        acting.list_again();
        *self = acting;
    }

    /// No more entries may be counted, or acted on.
    pub(super) fn end_at_limit(&mut self) -> Step {
        if self.flights.len() > 0 {
            return Step::Await;
        }
        if let Some(tally) = &mut self.tally {
            tally.is_complete = true;
            return Step::Await;
        }
        let most = self.limits.max_entries_per_run;
        let Some(matched) = self.run.matched.filter(|matched| most.is_none_or(|most| *matched < most)) else {
            return self.end(Outcome::limit_reached(most.unwrap_or_default()));
        };
        if self.run.processed < matched {
            // Calls of unknown outcome may have acted on the others.
            return self.end(Outcome::matched_reached(matched));
        }
        if let Selected::Ids(ids) = &Arc::clone(&self.work).selected {
            self.leave_missing(ids.len());
        }
        self.succeed()
    }

    /// Leaves the IDs that are left: they were not in the DLQ when it was counted.
    fn leave_missing(&mut self, named: usize) {
        let undone = self.batches.iter().map(|batch| batch.rest().len()).sum::<usize>();
        let undone = undone.saturating_add(named.saturating_sub(self.dealt));
        self.run = self.ended_run();
        self.batches.clear();
        self.dealt = named;
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.run.position = number(named);
        if self.run.uncertain_pages == 0 && self.run.interruptions == 0 {
            self.run.not_found = self.run.not_found.saturating_add(number(undone));
        }
    }
}
