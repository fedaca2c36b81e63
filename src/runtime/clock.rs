//! The one place that reads the clock, so that everything else can be given a time.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// What time it is.
pub fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    Timestamp::now()
}

/// What both clocks of a machine say at one moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Moment {
    /// Since some start, by the clock that nobody sets. It stands still while the machine is suspended.
    pub monotonic: Duration,
    /// By the clock that runs meanwhile, and that may be set.
    pub wall: Timestamp,
}

impl Moment {
    /// The time since an earlier moment that has passed for sure: no clock that is set makes it longer.
    pub fn at_least_since(&self, earlier: &Self) -> Duration {
        self.monotonic.saturating_sub(earlier.monotonic)
    }

    /// The time since an earlier moment that may have passed: what the clock says that counted more.
    pub fn at_most_since(&self, earlier: &Self) -> Duration {
        let wall = Duration::try_from(self.wall.duration_since(earlier.wall)).unwrap_or_default();
        self.at_least_since(earlier).max(wall)
    }
}

/// Reads both clocks.
pub trait Clock: Send + Sync {
    /// What they say now.
    fn moment(&self) -> Moment;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Counts from now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn moment(&self) -> Moment {
        Moment { monotonic: self.start.elapsed(), wall: now() }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Clocks that tests set.
    pub(crate) struct SetClock(Mutex<Moment>);

    impl SetClock {
        pub(crate) fn start() -> Self {
            let wall = "2026-11-20T12:00:00Z".parse().unwrap();
            Self(Mutex::new(Moment { monotonic: Duration::from_secs(1000), wall }))
        }

        pub(crate) fn pass(&self, time: Duration) {
            self.turn(time, time.as_micros().try_into().unwrap());
        }

        /// Turns each clock by so much; the wall clock in microseconds, either way.
        pub(crate) fn turn(&self, monotonic: Duration, wall: i64) {
            let mut moment = self.0.lock().unwrap();
            moment.monotonic += monotonic;
            moment.wall += jiff::SignedDuration::from_micros(wall);
        }
    }

    impl Clock for SetClock {
        fn moment(&self) -> Moment {
            *self.0.lock().unwrap()
        }
    }

    #[test]
    fn what_may_have_passed_is_what_the_faster_clock_says() {
        let clock = SetClock::start();
        let before = clock.moment();
        let since = |monotonic: u64, wall: i64| {
            let now = Moment {
                monotonic: before.monotonic + Duration::from_secs(monotonic),
                wall: before.wall + jiff::SignedDuration::from_secs(wall),
            };
            (now.at_least_since(&before).as_secs(), now.at_most_since(&before).as_secs())
        };
        assert_eq!(since(5, 5), (5, 5));
        assert_eq!(since(0, 3600), (0, 3600), "suspended, or set forward");
        assert_eq!(since(5, -3600), (5, 5), "set back");
    }

    #[test]
    fn the_machines_clocks_go_on() {
        let clock = SystemClock::start();
        let before = clock.moment();
        while clock.moment().monotonic == before.monotonic {
            std::thread::yield_now();
        }
        assert!(clock.moment().at_most_since(&before) > Duration::ZERO);
    }
}
