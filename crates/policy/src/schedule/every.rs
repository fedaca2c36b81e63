//! `@every 1h30m`: scheduled times at a constant distance.

use jiff::{SignedDuration, Timestamp};

const SECOND: u64 = 1_000_000_000;

/// A pause in whole seconds, counted from when the schedule was first seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Every {
    seconds: i64,
}

impl Every {
    /// Reads a duration as Go writes them, of which CronJob drops what is below a second, but never all of it. A pause
    /// of nothing or less, of which CronJob makes one second, is refused.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let nanos = nanos(text).filter(|nanos| *nanos > 0)?;
        i64::try_from(nanos / SECOND).ok().map(|seconds| Self { seconds: seconds.max(1) })
    }

    pub(super) fn next_after(self, after: Timestamp, since: Timestamp) -> Option<Timestamp> {
        self.instant(self.passed(after, since).checked_add(1)?, since)
    }

    pub(super) fn most_recent(
        self,
        after: Timestamp,
        until: Timestamp,
        since: Timestamp,
    ) -> Option<Timestamp> {
        let passed = self.passed(until, since);
        (passed > self.passed(after, since)).then(|| self.instant(passed, since))?
    }

    pub(super) fn count_between(self, after: Timestamp, before: Timestamp, since: Timestamp) -> i64 {
        let just_before = before.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(before);
        (self.passed(just_before, since) - self.passed(after, since)).max(0)
    }

    /// How many scheduled times lie after `since` and up to `until`.
    fn passed(self, until: Timestamp, since: Timestamp) -> i64 {
        (until.duration_since(whole(since)).as_secs() / self.seconds).max(0)
    }

    fn instant(self, number: i64, since: Timestamp) -> Option<Timestamp> {
        let distance = SignedDuration::from_secs(number.checked_mul(self.seconds)?);
        whole(since).checked_add(distance).ok()
    }
}

/// Scheduled times lie on whole seconds.
fn whole(time: Timestamp) -> Timestamp {
    let below = SignedDuration::from_nanos(i64::from(time.subsec_nanosecond()).rem_euclid(1_000_000_000));
    time.checked_sub(below).unwrap_or(time)
}

/// Go's durations: numbers, each with a unit, in any order and as often as wanted. `None` for anything else, and for
/// less than nothing.
fn nanos(text: &str) -> Option<u64> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(0);
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), digits);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
        let unit = unit_nanos(unit)?;
        total = total.checked_add(whole.checked_mul(unit)?)?.checked_add(share(fraction, unit))?;
        rest = after;
    }
    (!text.is_empty() && i64::try_from(total).is_ok()).then_some(total)
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn unit_nanos(unit: &str) -> Option<u64> {
    Some(match unit {
        "h" => 3600 * SECOND,
        "m" => 60 * SECOND,
        "s" => SECOND,
        "ms" => 1_000_000,
        "us" | "µs" | "μs" => 1000,
        "ns" => 1,
        _ => return None,
    })
}

/// The digits behind a point, in parts of a unit. In floating point as in Go, which makes 20 minutes of
/// `0.33333333333333333333h`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "not negative, below one unit, and rounded as Go rounds"
)]
fn share(digits: &str, unit: u64) -> u64 {
    // Digits are read for as long as the number fits into 63 bits.
    let kept = (0..=digits.len()).rev().find_map(|end| Some((digits.get(..end)?.parse::<i64>().ok()?, end)));
    let Some((value, length)) = kept else { return 0 };
    let scale: f64 = (0..length).map(|_| 10.0).product();
    (value as f64 * (unit as f64 / scale)) as u64
}
