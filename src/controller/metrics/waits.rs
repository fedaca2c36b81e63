//! How long runs waited because Upstash asked them to. A wait counts while it goes on, so that an hour of it is seen before
//! the hour is over.

use std::collections::HashMap;
use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};

use crate::controller::context::{PolicyRef, lock};

/// The waits of all runs together.
#[derive(Debug, Default)]
pub(super) struct Waits(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    over: SignedDuration,
    open: HashMap<PolicyRef, (Timestamp, Timestamp)>,
}

impl State {
    fn end(&mut self, policy: &PolicyRef, now: Timestamp) {
        if let Some(wait) = self.open.remove(policy) {
            self.over += passed(wait, now);
        }
    }
}

/// No longer than it was to last: a run may also wait for other things, such as a slot.
fn passed((since, until): (Timestamp, Timestamp), now: Timestamp) -> SignedDuration {
    now.min(until).duration_since(since).max(SignedDuration::ZERO)
}

impl Waits {
    /// A run waits from now.
    pub(super) fn begin(&self, policy: &PolicyRef, now: Timestamp, until: Timestamp) {
        let mut state = lock(&self.0);
        state.end(policy, now);
        state.open.insert(policy.clone(), (now, until));
    }

    /// A run goes on, or not any more.
    pub(super) fn end(&self, policy: &PolicyRef, now: Timestamp) {
        lock(&self.0).end(policy, now);
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    #[test]
    fn a_wait_counts_while_it_goes_on_and_no_longer_than_it_was_to_last() {
        let waits = Waits::default();
        let (a, b) = (PolicyRef::new("a").within("n"), PolicyRef::new("b").within("n"));
        let total = |second| waits.total(at(second)).as_secs();
        waits.begin(&a, at(0), at(10));
        assert_eq!(total(4), 4);
        assert_eq!(total(2), 4, "a clock that is set back takes nothing back");
        waits.begin(&b, at(5), at(7));
        assert_eq!(total(8), 10);
        waits.end(&b, at(9));
        waits.end(&a, at(9));
        assert_eq!(total(100), 11);
        waits.begin(&a, at(100), at(130));
        waits.begin(&a, at(110), at(120));
        assert_eq!(total(500), 31);
    }
}
