//! One look: which call comes next, what an answer adds, when it ends. It lists, and retries nothing.

use jiff::{SignedDuration, Timestamp};

use crate::run::cursors::{Cursors, Turned};
use crate::run::seen::Counts;
use crate::run::window;
use crate::spec::Backlog;
use crate::status::conditions::seconds;
use dlq_crd::{BacklogStatus, MilliTime};
use dlq_upstash::error::{ApiError, ErrorClass};
use dlq_upstash::types::{Call, Criteria, Detail, Page};

/// The most that one list shows.
const MOST_LISTED: u32 = 100;
/// So many calls may be made beyond those that full pages take: for pages that are short, empty, or asked for with less as
/// they were too large.
const SPARE_CALLS: u32 = 100;
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What a look does next.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one per look, never many")]
pub enum LookStep {
    /// Send this.
    List(Call),
    /// It ended, and found this.
    Done(Box<BacklogStatus>),
}

/// A look at the entries that a policy selects.
#[derive(Debug)]
pub struct Look {
    /// When it began, by our clock.
    at: Timestamp,
    interval: SignedDuration,
    counted: String,
    spec_hash: String,
    /// Which entries, up to its beginning.
    criteria: Criteria,
    count_up_to: u32,
    /// Entries that failed by then expire within a day, in Unix milliseconds.
    expiring_until: Option<i64>,
    cursors: Cursors,
    most_listed: u32,
    calls_left: u32,
    entries: u32,
    oldest: Option<i64>,
    expiring: i64,
    statuses: Counts,
    end: Option<End>,
}

/// How a look ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// It counted all.
    Whole,
    /// There may be more.
    AtLeast,
}

impl Look {
    /// A look that begins now. `clock_offset`: what to add to our time to get Upstash's.
    pub fn new(backlog: &Backlog, clock_offset: SignedDuration, now: Timestamp) -> Self {
        let Backlog { interval, count_up_to, retention, criteria, from, to, counted, spec_hash } = backlog;
        let at_upstash = now.saturating_add(clock_offset).unwrap_or(now);
        let window = window::freeze(*from, *to, at_upstash);
        let expiring_until = retention.and_then(|retention| {
            let lead = DAY.checked_sub(retention)?;
            Some(at_upstash.saturating_add(lead).ok()?.as_millisecond())
        });
        Self {
            at: now,
            interval: *interval,
            counted: counted.clone(),
            spec_hash: spec_hash.clone(),
            criteria: Criteria {
                from_date: window.from_date.map(MilliTime::as_millisecond),
                to_date: Some(window.to_date.as_millisecond()),
                ..criteria.clone()
            },
            count_up_to: *count_up_to,
            expiring_until,
            cursors: Cursors::at(None),
            most_listed: MOST_LISTED,
            calls_left: count_up_to.div_ceil(MOST_LISTED) + SPARE_CALLS,
            entries: 0,
            oldest: None,
            expiring: 0,
            statuses: Counts::default(),
            end: window::is_empty(&window).then_some(End::Whole),
        }
    }

    /// When it began, by our clock.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// How old the result of an equal look may be that makes this one needless.
    pub fn interval(&self) -> SignedDuration {
        self.interval
    }

    /// What is counted: two looks with the same text find the same, if the account is the same.
    pub fn counted(&self) -> &str {
        &self.counted
    }

    /// What comes next. It may be asked without anything being sent.
    pub fn next(&self) -> LookStep {
        if let Some(end) = self.end {
            return LookStep::Done(Box::new(self.found(end)));
        }
        // Once all are counted that may be, one more tells whether there are others.
        let left = self.count_up_to.saturating_sub(self.entries).max(1);
        LookStep::List(Call::List {
            criteria: self.criteria.clone(),
            cursor: self.cursors.next().cloned(),
            count: left.min(self.most_listed),
            detail: Detail::Brief,
        })
    }

    /// Folds an answer in.
    pub fn answered(&mut self, page: &Page) {
        let shown = u32::try_from(page.entries).unwrap_or(u32::MAX);
        let left = self.count_up_to.saturating_sub(self.entries);
        self.entries += shown.min(left);
        for entry in page.listed.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            entry.response_status.iter().for_each(|status| self.statuses.add(&status.to_string()));
            if let Some(at) = entry.failed_at() {
                self.oldest = Some(self.oldest.map_or(at, |oldest| oldest.min(at)));
                self.expiring += i64::from(self.expiring_until.is_some_and(|until| at <= until));
            }
        }
        if shown > left {
            self.end = Some(End::AtLeast);
            return;
        }
        let Some(cursor) = &page.cursor else {
            self.end = Some(End::Whole);
            return;
        };
        let turned = self.cursors.turn(Turned { shown: shown > 0, progressed: false }, cursor);
        if turned.is_err() {
            self.end = Some(End::AtLeast);
        }
        self.spend_call();
    }

    /// Takes in that a call failed. Whether the look continues: with fewer entries in a page, if there were too many.
    pub fn failed(&mut self, call: &Call, error: &ApiError) -> bool {
        match call {
            Call::List { count, .. } if error.class == ErrorClass::TooLarge && *count > 1 => {
                self.most_listed = count / 2;
                self.spend_call();
                true
            }
            _ => false,
        }
    }

    fn spend_call(&mut self) {
        self.calls_left = self.calls_left.saturating_sub(1);
        if self.calls_left == 0 {
            self.end.get_or_insert(End::AtLeast);
        }
    }

    fn found(&self, end: End) -> BacklogStatus {
        let oldest = self.oldest.and_then(|oldest| Timestamp::from_millisecond(oldest).ok());
        BacklogStatus {
            observed_time: seconds(self.at),
            entries: self.entries.into(),
            at_least: end == End::AtLeast,
            oldest_time: oldest.map(MilliTime::new),
            expiring_within_day: self.expiring_until.map(|_| self.expiring),
            response_statuses: self.statuses.most_frequent(),
            spec_hash: self.spec_hash.clone(),
        }
    }
}

#[cfg(test)]
#[path = "look_tests.rs"]
mod tests;
