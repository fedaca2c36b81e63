//! The scheduled times at which a zone's wall clock shows what a pattern matches: none in an hour that is skipped, both in an
//! hour that comes twice.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::pattern::Pattern;

const INSTANT: SignedDuration = SignedDuration::from_nanos(1);
/// Longer than from one leap day to the next over a year such as 2100; no pattern is silent for longer.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(2_922 * 24);
/// How far back scheduled times are counted, so that no time in a status, however wrong, keeps the counting busy.
const CENTURY: SignedDuration = SignedDuration::from_hours(36_525 * 24);

#[derive(Clone, Debug)]
pub(super) struct WallClock {
    pub(super) pattern: Pattern,
    pub(super) zone: TimeZone,
}

/// A time during which the zone's offset stays the same: within it the wall clock runs as evenly as time does.
struct Stretch {
    from: Timestamp,
    until: Timestamp,
    offset: Offset,
}

impl WallClock {
    pub(super) fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from = after.checked_add(INSTANT).ok()?;
        let end = from.saturating_add(LONGEST_WAIT).ok()?;
        while from < end {
            let stretch = self.stretch(from).within(from, end);
            if let Some(found) = stretch.first(&self.pattern) {
                return Some(found);
            }
            from = stretch.until;
        }
        None
    }

    pub(super) fn most_recent(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let start = after.checked_add(INSTANT).ok()?;
        let mut last = until;
        while last >= start {
            let stretch = self.stretch(last).within(start, last.saturating_add(INSTANT).ok()?);
            if let Some(found) = stretch.last(&self.pattern) {
                return Some(found);
            }
            last = stretch.from.checked_sub(INSTANT).ok()?;
        }
        None
    }

    pub(super) fn count_between(&self, after: Timestamp, before: Timestamp) -> i64 {
        let earliest = before.saturating_sub(CENTURY).unwrap_or(after);
        let mut from = after.max(earliest).saturating_add(INSTANT).unwrap_or(before);
        let mut count = 0;
        while from < before {
            let stretch = self.stretch(from).within(from, before);
            count += i64::try_from(stretch.count(&self.pattern)).unwrap_or(i64::MAX);
            from = stretch.until;
        }
        count
    }

    /// The stretch that `at` lies in.
    fn stretch(&self, at: Timestamp) -> Stretch {
        let before = at.saturating_add(INSTANT).unwrap_or(at);
        Stretch {
            from: self.zone.preceding(before).next().map_or(Timestamp::MIN, |change| change.timestamp()),
            until: self.zone.following(at).next().map_or(Timestamp::MAX, |change| change.timestamp()),
            offset: self.zone.to_offset(at),
        }
    }
}

impl Stretch {
    fn within(self, from: Timestamp, until: Timestamp) -> Self {
        Self { from: self.from.max(from), until: self.until.min(until), ..self }
    }

    fn first(&self, pattern: &Pattern) -> Option<Timestamp> {
        pattern.first(self.shown(self.from), self.shown(self.until)).and_then(|at| self.instant(at))
    }

    fn last(&self, pattern: &Pattern) -> Option<Timestamp> {
        pattern.last(self.shown(self.from), self.shown(self.until)).and_then(|at| self.instant(at))
    }

    fn count(&self, pattern: &Pattern) -> usize {
        pattern.count(self.shown(self.from), self.shown(self.until))
    }

    fn shown(&self, at: Timestamp) -> DateTime {
        self.offset.to_datetime(at)
    }

    fn instant(&self, shown: DateTime) -> Option<Timestamp> {
        self.offset.to_timestamp(shown).ok()
    }
}
