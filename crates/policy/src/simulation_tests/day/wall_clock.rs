//! Scheduled times by looking at a clock on the wall every minute. Nothing here knows the shipped schedules.

use jiff::{SignedDuration, Timestamp};

/// Which values of a clock's hand are meant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hand {
    Any,
    At(i64),
    Each(i64),
    Between(i64, i64),
}

impl Hand {
    fn is_at(self, value: i64) -> bool {
        match self {
            Self::Any => true,
            Self::At(at) => value == at,
            Self::Each(step) => value % step == 0,
            Self::Between(first, last) => (first..=last).contains(&value),
        }
    }
}

/// A zone on the days of the simulation: what to add to UTC, in minutes, before a moment and from then on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Zone {
    pub(super) name: &'static str,
    pub(super) before: i64,
    pub(super) changes_at: &'static str,
    pub(super) after: i64,
}

impl Zone {
    pub(super) const fn fixed(name: &'static str, offset: i64) -> Self {
        Self { name, before: offset, changes_at: "2026-01-01T00:00:00Z", after: offset }
    }
}

/// When a policy is to run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Times {
    /// So many seconds one after another, from when the schedule was first seen.
    Every(i64),
    /// Whenever the clock shows this.
    Clock { minute: Hand, hour: Hand, zone: Zone },
}

impl Times {
    /// Those after `since` and up to `until`.
    pub(super) fn between(self, since: Timestamp, until: Timestamp) -> Vec<Timestamp> {
        match self {
            Self::Every(seconds) => {
                let first = Timestamp::from_second(since.as_second() + seconds).unwrap();
                let next = |time: &Timestamp| Some(*time + SignedDuration::from_secs(seconds));
                std::iter::successors(Some(first), next).take_while(|time| *time <= until).collect()
            }
            Self::Clock { minute, hour, zone } => {
                let changes_at = zone.changes_at.parse::<Timestamp>().unwrap().as_second() / 60;
                let minutes = since.as_second().div_euclid(60)..=until.as_second().div_euclid(60);
                let shows = |utc: &i64| {
                    let wall = *utc + if *utc < changes_at { zone.before } else { zone.after };
                    minute.is_at(wall.rem_euclid(60)) && hour.is_at(wall.div_euclid(60).rem_euclid(24))
                };
                let times = minutes.filter(shows).map(|minute| Timestamp::from_second(minute * 60).unwrap());
                times.filter(|time| since < *time && *time <= until).collect()
            }
        }
    }
}
