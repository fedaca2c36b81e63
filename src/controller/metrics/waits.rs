//! How long runs waited because Upstash asked them to. A wait counts while it lasts, so that an hour of it is seen before
//! the hour has passed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};

use crate::controller::names::{Clock, lock};
use dlq_crd::{PolicyRun, WaitingReason};

/// The waits of all runs together.
#[derive(Debug, Default)]
pub(super) struct Waits(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    over: SignedDuration,
    runs: u64,
    open: HashMap<u64, (Timestamp, Timestamp)>,
}

impl State {
    fn end(&mut self, run: u64, now: Timestamp) {
        if let Some(wait) = self.open.remove(&run) {
            self.over += passed(wait, now);
        }
    }
}

/// No longer than it was to last: a run may also wait for other things, such as a slot.
fn passed((since, until): (Timestamp, Timestamp), now: Timestamp) -> SignedDuration {
    now.min(until).duration_since(since).max(SignedDuration::ZERO)
}

impl Waits {
    /// The waits of a run, as long as it is this process'.
    pub(super) fn of_a_run(self: &Arc<Self>, clock: Clock) -> RunWaits {
        let mut state = lock(&self.0);
        state.runs += 1;
        RunWaits { waits: Arc::clone(self), run: state.runs, clock }
    }

    /// All waits so far. The clock may be set, and yet this never sinks: what has been told is kept.
    pub(super) fn total(&self, now: Timestamp) -> SignedDuration {
        let mut state = lock(&self.0);
        let mut told = SignedDuration::ZERO;
        state.open.retain(|_, wait| {
            told += passed(*wait, now);
            wait.0 = wait.0.max(now.min(wait.1));
            wait.0 < wait.1
        });
        state.over += told;
        state.over
    }

    /// All of them, when they are another process' to count from now on.
    pub(super) fn total_and_end(&self, now: Timestamp) -> SignedDuration {
        let total = self.total(now);
        lock(&self.0).open.clear();
        total
    }
}

/// The waits of one run. The last one ends when this is dropped.
#[derive(Debug)]
pub(crate) struct RunWaits {
    waits: Arc<Waits>,
    run: u64,
    clock: Clock,
}

impl RunWaits {
    /// What the run does now: whether it waits, and for how long.
    pub(crate) fn follow(&self, run: &PolicyRun) {
        let now = (self.clock)();
        let is_throttled = run.waiting_reason == Some(WaitingReason::Throttled);
        match run.waiting_until.filter(|_| is_throttled) {
            Some(until) => self.begin(now, until.timestamp()),
            None => self.end(now),
        }
    }

    fn begin(&self, now: Timestamp, until: Timestamp) {
        let mut state = lock(&self.waits.0);
        state.end(self.run, now);
        state.open.insert(self.run, (now, until));
    }

    fn end(&self, now: Timestamp) {
        lock(&self.waits.0).end(self.run, now);
    }
}

impl Drop for RunWaits {
    fn drop(&mut self) {
        self.end((self.clock)());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    #[test]
    fn a_wait_counts_while_it_goes_on_and_no_longer_than_it_was_to_last() {
        let waits = Arc::new(Waits::default());
        let (a, b) = (waits.of_a_run(|| at(120)), waits.of_a_run(|| at(0)));
        let total = |second| waits.total(at(second)).as_secs();
        a.begin(at(0), at(10));
        assert_eq!(total(4), 4);
        assert_eq!(total(2), 4, "a clock that is set back takes nothing back");
        b.begin(at(5), at(7));
        assert_eq!(total(8), 10);
        b.end(at(9));
        a.end(at(9));
        assert_eq!(total(100), 11);
        a.begin(at(100), at(130));
        a.begin(at(110), at(120));
        assert_eq!(total(500), 31);
        a.begin(at(100), at(200));
        drop(a);
        assert_eq!(total(500), 51, "a run that this process works on no more waits no more");
        b.begin(at(500), at(600));
        assert_eq!(waits.total_and_end(at(510)).as_secs(), 61);
        assert_eq!(total(600), 61);
    }
}
