//! Keeps books of what processes told, and holds them against what truly happened.

use std::collections::BTreeMap;

use super::ledger::{RunKey, key};
use crate::Changes;
use dlq_crd::{DlqPolicyStatus, PolicyRun};

/// What happened to the runs, as the API server has it, and as it was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    ended: BTreeMap<RunKey, Books>,
    missed: Books,
    /// Entries, and pages of unknown fate.
    processed: Books,
    uncertain: Books,
    /// Processes that ended took with them what they had not told, or others wrote before it was found out.
    was_lost: bool,
    has_rival: bool,
    /// A write without an answer rested on an object that was out of date.
    was_out_of_date: bool,
}

#[derive(Debug, Default)]
struct Books {
    happened: i64,
    told: i64,
}

impl Told {
    /// A status took another's place.
    pub(super) fn happened(&mut self, before: &DlqPolicyStatus, after: &DlqPolicyStatus) {
        self.missed.happened += after.missed_schedules - before.missed_schedules;
        let last = after.last_run.as_ref().filter(|_| after.totals.runs > before.totals.runs);
        if let Some(run) = last {
            self.ended.entry(key(run)).or_default().happened += 1;
        }
        let Some(run) = last.or(after.current_run.as_ref()) else { return };
        let known = before.current_run.as_ref();
        let grew = |count: fn(&PolicyRun) -> i64| count(run) - known.map_or(0, count);
        // What a pass that is begun anew takes back was told already.
        self.processed.happened += if run.dry_run { 0 } else { grew(|run| run.processed).max(0) };
        self.uncertain.happened += grew(|run| run.uncertain_pages).max(0);
    }

    /// A process told of a change.
    pub(super) fn told(&mut self, changes: &Changes) {
        let count = |count: u64| i64::try_from(count).unwrap();
        self.missed.told += count(changes.missed);
        self.processed.told += changes.processed.map_or(0, |(_, entries)| count(entries));
        self.uncertain.told += count(changes.uncertain_pages);
        if let Some(run) = &changes.ended {
            self.ended.entry(key(run)).or_default().told += 1;
        }
        self.check(|happened, told| told <= happened, "more is told than happened");
    }

    /// A process is gone, with what it had not told.
    pub(super) fn lost(&mut self) {
        self.was_lost = true;
    }

    /// Another process takes itself for the one in charge.
    pub(super) fn rival(&mut self) {
        self.has_rival = true;
    }

    /// A write that gets no answer was decided on an object that was out of date: it is not done, whatever is read.
    pub(super) fn out_of_date(&mut self) {
        self.was_out_of_date = true;
    }

    /// A process gave up finding out what became of its writes.
    pub(super) fn overtaken(&mut self) {
        // What a process sent before it died may arrive after that.
        assert!(self.has_rival || self.was_lost || self.was_out_of_date, "nobody else writes");
        self.was_lost |= self.has_rival;
    }

    /// Nothing more happens. Whether everything had to be told.
    pub(super) fn at_last(&self) -> bool {
        if !self.was_lost {
            self.check(|happened, told| told == happened, "something is not told");
        }
        !self.was_lost
    }

    fn check(&self, is_right: fn(i64, i64) -> bool, problem: &str) {
        // Two processes that decide the same in one second cannot tell whose write it was that was done.
        let missed = Some(&self.missed).filter(|_| !self.has_rival);
        let all = self.ended.values().chain([&self.processed, &self.uncertain]).chain(missed);
        for books in all {
            assert!(is_right(books.happened, books.told), "{problem}: {self:#?}");
        }
    }
}
