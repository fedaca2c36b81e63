//! The span of failure times that a run looks at.

use jiff::{SignedDuration, Timestamp};

use dlq_crd::{MilliTime, Window};

/// A bound of the window as the policy gives it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bound {
    /// This very time.
    At(Timestamp),
    /// This long before the run's start.
    Before(SignedDuration),
}

impl Bound {
    fn resolve(self, start: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Before(span) => start.saturating_sub(span).unwrap_or(Timestamp::MIN),
        }
    }
}

/// Freezes the bounds for a run that starts at `start`. The upper end is never after the start, so that entries which
/// fail again during the run are left for the next one and every run ends.
pub(crate) fn freeze(from: Option<Bound>, to: Option<Bound>, start: Timestamp) -> Window {
    let from = from.map(|bound| round_up(bound.resolve(start).max(Timestamp::UNIX_EPOCH)));
    let to = to.map_or(start, |bound| bound.resolve(start).min(start)).max(Timestamp::UNIX_EPOCH);
    Window { from_date: from, to_date: MilliTime::new(to) }
}

/// Whether no failure time can lie in the window.
pub(crate) fn is_empty(window: &Window) -> bool {
    window.from_date.is_some_and(|from| from > window.to_date)
}

/// The bounds are inclusive and the API counts milliseconds: a lower bound between two is the later one.
fn round_up(time: Timestamp) -> MilliTime {
    let cut = MilliTime::new(time);
    if cut.timestamp() < time {
        MilliTime::new(cut.timestamp().saturating_add(SignedDuration::from_millis(1)).unwrap_or(time))
    } else {
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn frozen(from: Option<Bound>, to: Option<Bound>) -> (Option<String>, String) {
        let window = freeze(from, to, time("2026-11-20T12:00:00.123456Z"));
        (window.from_date.map(|time| time.to_string()), window.to_date.to_string())
    }

    #[test]
    fn without_bounds_the_window_ends_at_the_start() {
        assert_eq!(frozen(None, None), (None, "2026-11-20T12:00:00.123Z".into()));
    }

    #[test]
    fn relative_bounds_count_from_the_start() {
        let from = Bound::Before(SignedDuration::from_hours(24));
        let to = Bound::Before(SignedDuration::from_mins(15));
        // A lower bound between two milliseconds is the later one, an upper bound the earlier.
        let expected = (Some("2026-11-19T12:00:00.124Z".into()), "2026-11-20T11:45:00.123Z".into());
        assert_eq!(frozen(Some(from), Some(to)), expected);
    }

    #[test]
    fn the_upper_end_is_never_after_the_start() {
        let later = Bound::At(time("2030-01-01T00:00:00Z"));
        assert_eq!(frozen(None, Some(later)).1, "2026-11-20T12:00:00.123Z");
    }

    #[test]
    fn bounds_before_1970_are_1970() {
        let ages = Bound::Before(SignedDuration::from_hours(24 * 365 * 9000));
        assert_eq!(frozen(Some(ages), Some(ages)).1, "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_window_that_begins_after_its_end_is_empty() {
        let later = Bound::At(time("2030-01-01T00:00:00Z"));
        assert!(is_empty(&freeze(Some(later), None, time("2026-11-20T12:00:00Z"))));
        let same = Bound::At(time("2026-11-20T12:00:00Z"));
        assert!(!is_empty(&freeze(Some(same), Some(same), time("2026-11-20T12:00:00Z"))));
    }
}
