//! Watches that a process keeps to `entriesPerSecond`.

use jiff::Timestamp;

/// A bucket that every entry acted on falls into, and that runs dry at the rate.
#[derive(Debug, Default)]
pub(super) struct Pace {
    level: f64,
    at: Option<At>,
}

/// When a call was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) process: Timestamp,
    pub(super) truth: Timestamp,
}

impl At {
    /// By whichever clock saw more: a process whose clock is set forward cannot know better, and one whose clock is set
    /// back waits all the same.
    fn seconds_since(self, earlier: Self) -> f64 {
        let process = self.process.duration_since(earlier.process);
        let truth = self.truth.duration_since(earlier.truth);
        process.max(truth).as_secs_f64()
    }
}

impl Pace {
    /// A call is made: before it the bucket holds no more than what one second takes away.
    pub(super) fn asks(&mut self, rate: i32, now: At) {
        let second = f64::from(rate);
        let passed = self.at.map_or(0.0, |at| now.seconds_since(at));
        self.level = (self.level - passed * second).max(0.0);
        self.at = Some(now);
        let level = self.level;
        assert!(level <= second * 1.001 + 0.001, "{level} entries in one second, {rate} may be");
    }

    /// It brought so many.
    pub(super) fn brought(&mut self, entries: u32) {
        self.level += f64::from(entries);
    }
}
