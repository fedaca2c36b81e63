//! What a run may act on of a budget that it shares with others.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use crate::budget::{Grant, Unused};
use crate::spec::ConnectionRef;

/// A wait that the budget asks for is at most this long: it paces calls within a second.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_secs(1);

/// What a run was granted and has not used.
#[derive(Debug)]
pub(crate) struct SharedBudget {
    /// Whether it has to ask.
    is_shared: bool,
    /// Below 0: answers told of more entries than were asked for.
    left: i64,
    /// The day that they count for, and when that ends.
    day: Option<Date>,
    ends: Timestamp,
    /// Nothing is granted before then.
    until: Option<Timestamp>,
}

impl SharedBudget {
    pub(crate) fn of(connection: &ConnectionRef) -> Self {
        let is_shared = matches!(connection, ConnectionRef::Secret { shared: Some(_), .. });
        Self { is_shared, left: 0, day: None, ends: Timestamp::MAX, until: None }
    }

    /// Whether a call that may act on so many entries has to ask first.
    pub(crate) fn has_to_ask(&self, entries: i64) -> bool {
        self.is_shared && entries > self.left
    }

    /// The most that a call may act on: what is left, or anything where nothing is, as it has to ask then.
    pub(crate) fn most(&self) -> i64 {
        if self.is_shared && self.left > 0 { self.left } else { i64::MAX }
    }

    pub(crate) fn granted(&mut self, grant: Grant) {
        if self.day != grant.day || grant.day.is_none() {
            // What is left counts for another day, or for none.
            self.left = self.left.min(0);
        }
        self.left = self.left.saturating_add(i64::try_from(grant.entries).unwrap_or(i64::MAX));
        (self.day, self.ends, self.until) = (grant.day, grant.until, None);
    }

    pub(crate) fn later(&mut self, until: Timestamp) {
        self.until = Some(until);
    }

    /// Not before this. A clock that is set back makes no wait longer. What is left of a day goes with it.
    pub(crate) fn until(&mut self, now: Timestamp) -> Option<Timestamp> {
        if now >= self.ends {
            self.left = self.left.min(0);
        }
        let latest = now.saturating_add(LONGEST_WAIT).unwrap_or(now);
        self.until = self.until.map(|until| until.min(latest)).filter(|until| *until > now);
        self.until
    }

    /// A call that may act on so many is sent.
    pub(crate) fn spend(&mut self, entries: i64) {
        if self.is_shared {
            self.left = self.left.saturating_sub(entries);
        }
    }

    /// A call for which so many were spent is known to have acted on these.
    pub(crate) fn settle(&mut self, spent: i64, acted: i64) {
        if self.is_shared {
            self.left = self.left.saturating_add(spent).saturating_sub(acted);
        }
    }

    /// Takes what was not used, and the day that it counts for; below 0: what was used beyond that.
    pub(crate) fn take_unused(&mut self) -> Unused {
        Unused { entries: std::mem::take(&mut self.left), day: self.day }
    }
}
