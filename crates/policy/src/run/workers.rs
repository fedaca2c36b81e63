//! How many calls of a run may be under way at once.

use jiff::{SignedDuration, Timestamp};

/// So many calls succeed in a row before one more is tried than an account that limits calls took.
const FIRST_PATIENCE: u32 = 128;
const LONGEST_PATIENCE: u32 = 1 << 14;

/// How many calls may be under way: fewer after one failed, and one more after another as calls succeed.
#[derive(Debug)]
pub(crate) struct Workers {
    /// `limits.parallelism`.
    most: usize,
    now: usize,
    /// How many permits there are.
    permits: usize,
    /// So many calls at once are more than the account takes, as 429s tell.
    too_many: Option<usize>,
    succeeded: u32,
    /// Of the calls since the last failure: when the first was sent, how many were answered, and how long they took, all
    /// together.
    since: Option<Timestamp>,
    answered: u32,
    took: SignedDuration,
    /// How many successes it takes to try as many again.
    patience: u32,
    /// Failures that were taken in: calls under way at the same time fail for one reason.
    round: u64,
}

impl Workers {
    pub(crate) fn new(parallelism: Option<i32>) -> Self {
        let most = usize::try_from(parallelism.unwrap_or(1)).unwrap_or(1).clamp(1, 16);
        Self {
            most,
            now: most,
            permits: 1,
            too_many: None,
            succeeded: 0,
            since: None,
            answered: 0,
            took: SignedDuration::ZERO,
            patience: FIRST_PATIENCE,
            round: 0,
        }
    }

    /// How many calls may be under way, if there are permits for them.
    pub(crate) fn wanted(&self) -> usize {
        self.now
    }

    /// How many calls may be under way.
    pub(crate) fn allowed(&self) -> usize {
        self.now.min(self.permits)
    }

    /// Whether there is ever more than one.
    pub(crate) fn are_several(&self) -> bool {
        self.most > 1
    }

    /// There are so many permits from now on.
    pub(crate) fn permit(&mut self, permits: usize) {
        self.permits = permits.max(1);
    }

    /// What tells calls apart that were sent before and after a failure was taken in.
    pub(crate) fn round(&self) -> u64 {
        self.round
    }

    /// A call that was sent then succeeded.
    pub(crate) fn succeeded(&mut self, sent: Timestamp, now: Timestamp) {
        if self.most == 1 {
            return;
        }
        self.since.get_or_insert(sent);
        self.answered += 1;
        self.took += now.duration_since(sent).max(SignedDuration::ZERO);
        if self.now == self.most {
            return;
        }
        self.succeeded += 1;
        let is_known_to_work = self.too_many.is_none_or(|many| self.now + 1 < many);
        if is_known_to_work || self.succeeded >= self.patience {
            self.now += 1;
            self.succeeded = 0;
        }
    }

    /// A call that was sent in this round failed, beside `others`. Whether it is the first failure since then.
    pub(crate) fn failed(&mut self, round: u64, others: usize, is_limited: bool, now: Timestamp) -> bool {
        if round != self.round {
            return false;
        }
        self.round += 1;
        self.succeeded = 0;
        self.now = (self.now / 2).max(1);
        if is_limited && self.answered > 0 {
            if self.too_many.is_some() {
                self.patience = self.patience.saturating_mul(2).min(LONGEST_PATIENCE);
            }
            let too_many = (self.sustained(now) + 1).clamp(2, others.max(1) + 1);
            self.too_many = Some(too_many);
            self.now = self.now.min(too_many - 1);
        }
        (self.since, self.answered, self.took) = (None, 0, SignedDuration::ZERO);
        true
    }

    /// So many calls at once, each of which takes as long as the last ones did, make as many calls a second as the account
    /// took before it refused one (Little's law). An account counts by seconds or longer.
    fn sustained(&self, now: Timestamp) -> usize {
        let passed = self.since.map_or(SignedDuration::ZERO, |since| now.duration_since(since));
        let passed = passed.max(SignedDuration::from_secs(1)).as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few dozen at most")]
        let at_once = (self.took.as_secs_f64() / passed).round() as usize;
        at_once
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_763_640_000_000 + millis).unwrap()
    }

    fn of(parallelism: i32) -> Workers {
        let mut workers = Workers::new(Some(parallelism));
        workers.permit(16);
        workers
    }

    /// So many calls succeed, each of which took a tenth of a second, up to this time.
    fn succeed(workers: &mut Workers, times: u32, until: i64) {
        (0..times).for_each(|_| workers.succeeded(at(until - 100), at(until)));
    }

    fn fail(workers: &mut Workers, others: usize, is_limited: bool) -> bool {
        workers.failed(workers.round(), others, is_limited, at(1000))
    }

    #[test]
    fn a_failure_halves_the_workers_and_each_success_brings_one_back() {
        let mut workers = of(8);
        assert!(fail(&mut workers, 7, false));
        assert_eq!(workers.allowed(), 4);
        succeed(&mut workers, 3, 100);
        assert_eq!(workers.allowed(), 7);
        succeed(&mut workers, 9, 200);
        assert_eq!(workers.allowed(), 8);
    }

    #[test]
    fn calls_under_way_at_the_same_time_fail_for_one_reason() {
        let mut workers = of(8);
        let round = workers.round();
        assert!(workers.failed(round, 7, true, at(0)));
        assert!(!workers.failed(round, 6, true, at(0)));
        assert_eq!(workers.allowed(), 4);
        assert!(fail(&mut workers, 3, true));
        assert_eq!(workers.allowed(), 2);
        assert!(fail(&mut workers, 1, true) && fail(&mut workers, 0, true));
        assert_eq!(workers.allowed(), 1, "never none");
    }

    #[test]
    fn an_account_that_takes_fifty_calls_a_second_gets_as_many_workers_as_make_them() {
        for parallelism in [6, 8, 16] {
            let mut workers = of(parallelism);
            succeed(&mut workers, 50, 300);
            assert!(workers.failed(
                workers.round(),
                usize::try_from(parallelism).unwrap() - 1,
                true,
                at(400)
            ));
            succeed(&mut workers, 60, 2000);
            assert_eq!(workers.allowed(), 5, "{parallelism}");
        }
    }

    #[test]
    fn one_more_than_that_is_tried_again_after_longer_and_longer() {
        let mut workers = of(8);
        succeed(&mut workers, 50, 300);
        assert!(fail(&mut workers, 7, true));
        for patience in [FIRST_PATIENCE, 2 * FIRST_PATIENCE] {
            while workers.allowed() < 5 {
                succeed(&mut workers, 1, 1100);
            }
            succeed(&mut workers, patience - 1, 1100 + i64::from(patience) * 20);
            assert_eq!(workers.allowed(), 5);
            succeed(&mut workers, 1, 1100 + i64::from(patience) * 20);
            assert_eq!(workers.allowed(), 6);
            let end = at(1100 + i64::from(patience) * 20);
            assert!(workers.failed(workers.round(), 5, true, end));
        }
    }

    #[test]
    fn there_are_no_more_than_permits_and_one_at_least() {
        let mut workers = of(8);
        workers.permit(3);
        assert_eq!((workers.allowed(), workers.wanted()), (3, 8));
        workers.permit(0);
        assert_eq!(workers.allowed(), 1);
        for (parallelism, most) in [(None, 1), (Some(-3), 1), (Some(1), 1), (Some(99), 16)] {
            let mut workers = Workers::new(parallelism);
            workers.permit(100);
            assert_eq!((workers.allowed(), workers.are_several()), (most, most > 1));
        }
    }
}
