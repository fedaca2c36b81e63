//! The scheduled times of a schedule. They are those that a Kubernetes CronJob with the same `schedule` and `timeZone` has.
//!
//! Source: the CronJob page of the Kubernetes documentation ("Schedule syntax", "Time zones") and the behaviour of the
//! library that its controller uses, of which `tests/data/cronjob_instants.json` holds what it answers. Where that
//! library loses a scheduled time at a change of a zone's offset, or makes one up, the wall clock decides.

mod every;
mod expression;
mod pattern;
mod wall_clock;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use self::every::Every;
use self::pattern::Pattern;
use self::wall_clock::WallClock;
use crate::spec::duration;
use crate::spec::hash::spread;
use crate::spec::invalid::Invalid;
use dlq_crd::Reason;

/// When a policy runs.
#[derive(Clone, Debug)]
pub struct Schedule {
    cadence: Cadence,
    text: String,
    offset: SignedDuration,
}

#[derive(Clone, Debug)]
enum Cadence {
    Cron(Box<WallClock>),
    /// Every so often, counted from when the schedule was first seen.
    Every(Every),
}

impl Schedule {
    /// Reads a schedule. `seed` is the policy's namespace and name, which decide the jitter's offset.
    pub fn parse(
        schedule: &str,
        time_zone: Option<&str>,
        jitter: Option<&str>,
        seed: &str,
    ) -> Result<Self, Invalid> {
        let zone_name = time_zone.unwrap_or("UTC");
        let zone = zone(zone_name)?;
        let cadence = cadence(schedule, zone).map_err(|problem| invalid_schedule(schedule, &problem))?;
        let jitter = match jitter {
            None => SignedDuration::ZERO,
            Some(text) => duration::parse(text)
                .ok_or_else(|| Invalid::spec("spec.jitter", "not a duration such as 30s or 1h30m"))?,
        };
        Ok(Self { cadence, text: format!("{schedule} {zone_name}"), offset: offset(jitter, seed) })
    }

    /// The schedule and its zone, to tell whether either was edited.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first scheduled time after `after`. `since` is when the schedule was first seen, from where `@every` counts.
    pub fn next_after(&self, after: Timestamp, since: Timestamp) -> Option<Timestamp> {
        match &self.cadence {
            Cadence::Cron(clock) => clock.next_after(after),
            Cadence::Every(every) => every.next_after(after, since),
        }
    }

    /// The last scheduled time after `after` and up to `until`.
    pub fn most_recent(&self, after: Timestamp, until: Timestamp, since: Timestamp) -> Option<Timestamp> {
        match &self.cadence {
            Cadence::Cron(clock) => clock.most_recent(after, until),
            Cadence::Every(every) => every.most_recent(after, until, since),
        }
    }

    /// When a run for `instant` starts: later by the jitter's offset, which is cut so that it never reaches the next
    /// scheduled time.
    pub fn jittered(&self, instant: Timestamp, since: Timestamp) -> Timestamp {
        let second = SignedDuration::from_secs(1);
        let gap =
            self.next_after(instant, since).map_or(SignedDuration::MAX, |next| next.duration_since(instant));
        let offset = self.offset.min(gap.saturating_sub(second)).max(SignedDuration::ZERO);
        instant.saturating_add(offset).unwrap_or(instant)
    }

    /// How many scheduled times lie after `after` and before `before`, of a cron expression those of the last hundred years.
    pub fn count_between(&self, after: Timestamp, before: Timestamp, since: Timestamp) -> i64 {
        match &self.cadence {
            Cadence::Cron(clock) => clock.count_between(after, before),
            Cadence::Every(every) => every.count_between(after, before, since),
        }
    }
}

fn invalid_schedule(schedule: &str, problem: &str) -> Invalid {
    Invalid::new(
        Reason::InvalidSchedule,
        &format!(
            "spec.schedule {schedule:?}: {problem}; write five fields as in a CronJob, such as \"*/15 * * * *\""
        ),
    )
}

fn zone(name: &str) -> Result<TimeZone, Invalid> {
    let invalid = || {
        Invalid::new(
            Reason::InvalidTimeZone,
            &format!("spec.timeZone {name:?}: not a known IANA time zone such as Europe/Berlin or UTC"),
        )
    };
    // `Etc/Unknown` is a zone to jiff and to nobody else; names are compared letter for letter, as CronJob does.
    let zone = TimeZone::get(name).map_err(|_| invalid())?;
    if name == "UTC" || zone.iana_name() == Some(name) { Ok(zone) } else { Err(invalid()) }
}

fn cadence(schedule: &str, zone: TimeZone) -> Result<Cadence, String> {
    if schedule.trim().is_empty() {
        return Err("nothing is written there".to_owned());
    }
    if schedule.contains("TZ") {
        return Err("a zone goes into spec.timeZone".to_owned());
    }
    if let Some(pause) = schedule.strip_prefix("@every ") {
        return Every::parse(pause)
            .map(Cadence::Every)
            .ok_or_else(|| "after @every comes a duration such as 15m or 1h30m".to_owned());
    }
    let expression = match schedule {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        name if name.starts_with('@') => {
            return Err("no such name; they are written in lower case".to_owned());
        }
        expression => expression,
    };
    let pattern = Pattern::parse(expression)?;
    Ok(Cadence::Cron(Box::new(WallClock { pattern, zone })))
}

/// The jitter's offset: the same for one policy every time, spread evenly over all of them.
fn offset(jitter: SignedDuration, seed: &str) -> SignedDuration {
    let millis = u128::try_from(jitter.as_millis()).unwrap_or(0);
    let share = (u128::from(spread(seed)) * millis) >> 64;
    SignedDuration::from_millis(i64::try_from(share).unwrap_or(0))
}

#[cfg(test)]
mod cronjob_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
