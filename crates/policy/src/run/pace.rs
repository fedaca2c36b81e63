//! Holds a run to `entriesPerSecond`.

use jiff::{SignedDuration, Timestamp};

use super::chunks::fitting;
use dlq_crd::Limits;
use dlq_upstash::types::{Call, DlqId, Page, Selection};

/// When the next call may be made.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: Option<i32>,
    until: Option<Timestamp>,
    /// So many entries are paid for by calls that are under way.
    paid: i64,
    /// What the last call's entries take.
    last: SignedDuration,
}

/// What a slow answer left unused is made up for, up to this.
const MAKE_UP: SignedDuration = SignedDuration::from_secs(1);

impl Pace {
    pub(crate) fn new(per_second: Option<i32>) -> Self {
        Self { per_second, until: None, paid: 0, last: SignedDuration::ZERO }
    }

    /// Not before this. A clock that is set back makes no wait longer.
    pub(crate) fn until(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.until =
            self.until.map(|until| until.min(now.saturating_add(self.last + MAKE_UP).unwrap_or(until)));
        self.until
    }

    /// So many entries may be acted on from now on.
    pub(crate) fn spend(&mut self, entries: i64, now: Timestamp) {
        let Some(rate) = self.per_second else { return };
        let from = self.until(now).filter(|until| *until > now - MAKE_UP).unwrap_or(now);
        self.last = time_of(entries, rate);
        self.until = from.checked_add(self.last).ok();
    }

    /// A call that may act on so many is under way from now on: see [`Self::settle`].
    pub(crate) fn pay(&mut self, entries: i64, now: Timestamp) {
        self.paid = self.paid.saturating_add(entries);
        self.spend(entries, now);
    }

    /// A call for which so many were `paid` brought fewer, or more.
    pub(crate) fn settle(&mut self, paid: i64, brought: i64, now: Timestamp) {
        self.paid = self.paid.saturating_sub(paid);
        if brought > paid {
            return self.spend(brought - paid, now);
        }
        let (Some(rate), Some(until)) = (self.per_second, self.until) else { return };
        let until = until.checked_sub(time_of(paid - brought, rate)).ok();
        // What others are under way for is not given back with it.
        let earliest = (now - MAKE_UP).checked_add(time_of(self.paid, rate)).ok();
        self.until = until.max(earliest.min(self.until));
    }
}

/// How long so many entries take.
fn time_of(entries: i64, rate: i32) -> SignedDuration {
    SignedDuration::from_nanos(entries.saturating_mul(1_000_000_000) / i64::from(rate.max(1)))
}

/// How many entries a call asks for.
pub(crate) fn asked(call: &Call) -> i64 {
    match call {
        Call::Bulk { selection: Selection::Matching { count, .. }, .. } | Call::List { count, .. } => {
            i64::from(*count)
        }
        Call::Bulk { selection: Selection::Ids(ids), .. } => i64::try_from(ids.len()).unwrap_or(i64::MAX),
        Call::Single { .. } | Call::Get { .. } => 1,
    }
}

/// How many entries an answer tells of.
pub(crate) fn entries_of(page: &Page) -> i64 {
    i64::try_from(page.entries).unwrap_or(i64::MAX)
}

/// The most entries that one call asks for: a page, or a second's worth.
pub(super) fn most_of_one_call(limits: &Limits) -> i64 {
    let second = limits.entries_per_second.map_or(i64::MAX, |rate| i64::from(rate.max(1)));
    second.min(i64::from(limits.page_size.clamp(1, 100)))
}

/// Whether one call cannot name all of these.
pub(crate) fn takes_several_calls(ids: &[DlqId], lists_only: bool, limits: &Limits) -> bool {
    let most = if lists_only { 1 } else { most_of_one_call(limits) };
    ids.len() > fitting(ids).min(usize::try_from(most).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + millis).unwrap()
    }

    #[test]
    fn time_that_nothing_was_asked_in_is_made_up_for_if_it_was_less_than_is_lent() {
        let mut pace = Pace::new(Some(10));
        pace.spend(10, at(0));
        assert_eq!(pace.until(at(0)), Some(at(1000)));
        let late = 1000 + i64::try_from(MAKE_UP.as_millis()).unwrap();
        pace.spend(10, at(late));
        assert_eq!(pace.until(at(late)), Some(at(late + 1000)));
    }

    #[test]
    fn entries_take_their_share_of_a_second() {
        for (rate, entries, millis) in [(None, 50, None), (Some(10), 0, Some(0)), (Some(10), 7, Some(700))] {
            let mut pace = Pace::new(rate);
            pace.spend(entries, at(0));
            assert_eq!(pace.until(at(0)), millis.map(at), "{rate:?} {entries}");
        }
    }

    #[test]
    fn small_pages_at_a_high_rate_add_up() {
        let mut pace = Pace::new(Some(3000));
        for _ in 0..3000 {
            pace.spend(1, at(0));
        }
        assert!(pace.until(at(0)).unwrap() > at(999), "{:?}", pace.until(at(0)));
    }

    #[test]
    fn no_more_than_a_second_is_made_up_for() {
        let mut pace = Pace::new(Some(10));
        pace.spend(10, at(0));
        pace.spend(10, at(1500));
        assert_eq!(pace.until(at(1500)), Some(at(2000)));
        pace.spend(10, at(9000));
        assert_eq!(pace.until(at(9000)), Some(at(10_000)));
    }

    #[test]
    fn what_calls_under_way_may_bring_is_not_given_back_with_what_another_did_not() {
        let mut pace = Pace::new(Some(10));
        pace.pay(10, at(0));
        for millis in [1000, 2000, 3000] {
            pace.pay(10, at(millis));
            pace.settle(10, 0, at(millis + 900));
        }
        pace.pay(10, at(3900));
        // Two are under way, since 3000 and 3900: one more may be when what a second takes has passed.
        assert!(pace.until(at(3900)) >= Some(at(4900)), "{:?}", pace.until(at(3900)));
        pace.settle(10, 10, at(4000));
        pace.settle(10, 0, at(4000));
        assert!(pace.until(at(4000)) <= Some(at(4900)), "{:?}", pace.until(at(4000)));
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_wait_longer() {
        let hours = 6 * 3_600_000;
        let mut pace = Pace::new(Some(10));
        pace.spend(10, at(hours));
        assert_eq!(pace.until(at(0)), Some(at(2000)));
        assert_eq!(pace.until(at(1900)), Some(at(2000)), "and comes to an end");
        pace.spend(10, at(hours));
        pace.spend(10, at(0));
        assert_eq!(pace.until(at(0)), Some(at(2000)));
    }
}
