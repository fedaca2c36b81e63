//! The day's clock, which stands still until it is set.

use std::cell::Cell;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// 2026-11-02, midnight in UTC.
const MIDNIGHT: i64 = 1_793_577_600;

thread_local! {
    static NOW: Cell<Timestamp> = const { Cell::new(Timestamp::UNIX_EPOCH) };
}

/// A time of the day; 24:00 is its end.
pub(super) fn at(hour: i64, minute: i64) -> Timestamp {
    Timestamp::from_second(MIDNIGHT + hour * 3600 + minute * 60).unwrap()
}

pub(super) fn now() -> Timestamp {
    NOW.get()
}

pub(super) fn set(now: Timestamp) {
    NOW.set(now);
}

pub(super) fn pass(time: Duration) {
    NOW.set(NOW.get() + SignedDuration::try_from(time).unwrap());
}
