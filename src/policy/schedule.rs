//! The instants of a schedule. They are those that a Kubernetes CronJob with the same `schedule` and `timeZone` has.
//!
//! Source: the CronJob page of the Kubernetes documentation ("Schedule syntax", "Time zones") and the behaviour of the
//! library that its controller uses.

use cronexpr::{Crontab, FallbackTimezoneOption, ParseOptions};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::duration;
use super::hash::spread;
use super::validate::Invalid;
use crate::crd::Reason;

/// How many instants are counted one by one; beyond, the count goes by their average distance.
const COUNTED: i64 = 512;

/// When a policy runs.
#[derive(Clone, Debug)]
pub struct Schedule {
    cadence: Cadence,
    text: String,
    offset: SignedDuration,
}

#[derive(Clone, Debug)]
enum Cadence {
    Cron(Box<Crontab>),
    /// Every so often, counted from when the schedule was first seen.
    Every(SignedDuration),
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
        let cadence = cadence(schedule, &zone)?;
        let jitter = match jitter {
            None => SignedDuration::ZERO,
            Some(text) => duration::parse(text)
                .ok_or_else(|| Invalid::spec("spec.jitter", "not a duration such as 30s or 1h30m"))?,
        };
        let parsed = Self { cadence, text: format!("{schedule} {zone_name}"), offset: offset(jitter, seed) };
        if parsed.next_after(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH).is_none() {
            return Err(invalid_schedule(schedule, "no such day comes within four years"));
        }
        Ok(parsed)
    }

    /// The schedule and its zone, to tell whether either was edited.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first instant after `after`. `since` is when the schedule was first seen, from where `@every` counts.
    pub fn next_after(&self, after: Timestamp, since: Timestamp) -> Option<Timestamp> {
        match &self.cadence {
            Cadence::Cron(crontab) => crontab.find_next(after).ok().map(|next| next.timestamp()),
            Cadence::Every(every) => {
                let elapsed = after.duration_since(since).max(SignedDuration::ZERO);
                let passed = elapsed.as_millis() / every.as_millis();
                let ahead =
                    i64::try_from(passed + 1).ok()?.checked_mul(i64::try_from(every.as_millis()).ok()?)?;
                since.checked_add(SignedDuration::from_millis(ahead)).ok()
            }
        }
    }

    /// The last instant after `after` and up to `until`, found by halving and not by walking: a year of minutes costs
    /// some thirty steps.
    pub fn most_recent(&self, after: Timestamp, until: Timestamp, since: Timestamp) -> Option<Timestamp> {
        let is_before_last = |time: Timestamp| self.next_after(time, since).filter(|next| *next <= until);
        let mut latest = is_before_last(after)?;
        let (mut low, mut high) = (latest, until);
        while high.duration_since(low) >= SignedDuration::from_secs(1) {
            let middle = low.checked_add(high.duration_since(low) / 2).ok()?;
            match is_before_last(middle) {
                Some(next) => (latest, low) = (next, next),
                None => high = middle,
            }
        }
        Some(latest)
    }

    /// When a run for `instant` starts: later by the jitter's offset, which is cut so that it never reaches the next
    /// instant.
    pub fn jittered(&self, instant: Timestamp, since: Timestamp) -> Timestamp {
        let second = SignedDuration::from_secs(1);
        let gap =
            self.next_after(instant, since).map_or(SignedDuration::MAX, |next| next.duration_since(instant));
        let offset = self.offset.min(gap.saturating_sub(second)).max(SignedDuration::ZERO);
        instant.saturating_add(offset).unwrap_or(instant)
    }

    /// How many instants lie after `after` and before `before`.
    pub fn count_between(&self, after: Timestamp, before: Timestamp, since: Timestamp) -> i64 {
        let mut count = 0;
        let mut last = after;
        while let Some(next) = self.next_after(last, since).filter(|next| *next < before) {
            (count, last) = (count + 1, next);
            if count == COUNTED {
                let average = (last.duration_since(after).as_millis() / i128::from(COUNTED)).max(1);
                let rest = before.duration_since(last).as_millis() / average;
                return count.saturating_add(i64::try_from(rest).unwrap_or(i64::MAX));
            }
        }
        count
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

fn cadence(schedule: &str, zone: &TimeZone) -> Result<Cadence, Invalid> {
    let invalid = |problem: &str| invalid_schedule(schedule, problem);
    let trimmed = schedule.trim();
    if trimmed.is_empty() {
        return Err(invalid("nothing is written there"));
    }
    if trimmed.to_ascii_uppercase().contains("TZ=") {
        return Err(invalid("a zone goes into spec.timeZone"));
    }
    if let Some(every) = trimmed.strip_prefix("@every ") {
        let every = every
            .parse::<SignedDuration>()
            .ok()
            .filter(|every| every.is_positive() && !trimmed["@every ".len()..].contains(char::is_whitespace))
            .ok_or_else(|| invalid("after @every comes a duration such as 15m or 1h30m"))?;
        return Ok(Cadence::Every(SignedDuration::from_secs(every.as_secs().max(1))));
    }
    let fields = match trimmed {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        macro_ if macro_.starts_with('@') => return Err(invalid("no such macro")),
        fields => fields,
    };
    let parts: Vec<_> = fields.split_whitespace().collect();
    if parts.len() != 5 {
        return Err(invalid(&format!("{} fields, not five", parts.len())));
    }
    for (index, part) in parts.iter().enumerate() {
        as_cronjob_reads(part, index).map_err(|problem| invalid(&problem))?;
    }
    let mut options = ParseOptions::default();
    options.fallback_timezone_option = FallbackTimezoneOption::UTC;
    let zone_name = zone.iana_name().unwrap_or("UTC");
    cronexpr::parse_crontab_with(&format!("{} {zone_name}", parts.join(" ")), options)
        .map(|crontab| Cadence::Cron(Box::new(crontab)))
        .map_err(|error| {
            let text = error.to_string();
            // The parser draws the expression and a caret; what is wrong follows the caret.
            invalid(text.rsplit_once("^ ").map_or(text.as_str(), |(_, problem)| problem))
        })
}

/// Refuses what the parser takes and CronJob does not: `L`, `W`, `#`, and 7 for Sunday.
fn as_cronjob_reads(field: &str, index: usize) -> Result<(), String> {
    const WEEKDAY: usize = 4;
    for atom in field.split([',', '-', '/']) {
        let number = atom.bytes().all(|byte| byte.is_ascii_digit());
        let name = atom.len() == 3 && atom.bytes().all(|byte| byte.is_ascii_alphabetic());
        if !(number || name || atom == "*" || atom == "?") {
            return Err(format!("{atom:?} in {field:?}"));
        }
    }
    let values = field.split(',').map(|item| item.split('/').next().unwrap_or(item));
    if index == WEEKDAY && values.flat_map(|item| item.split('-')).any(|atom| atom == "7") {
        return Err("7 in the day of the week, which is 0 to 6; Sunday is 0".to_owned());
    }
    Ok(())
}

/// The jitter's offset: the same for one policy every time, spread evenly over all of them.
fn offset(jitter: SignedDuration, seed: &str) -> SignedDuration {
    let millis = u128::try_from(jitter.as_millis()).unwrap_or(0);
    let share = (u128::from(spread(seed)) * millis) >> 64;
    SignedDuration::from_millis(i64::try_from(share).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn schedule(text: &str, zone: Option<&str>) -> Schedule {
        Schedule::parse(text, zone, None, "payments/resume").unwrap()
    }

    fn next(text: &str, zone: &str, after: &str) -> String {
        schedule(text, Some(zone)).next_after(time(after), Timestamp::UNIX_EPOCH).unwrap().to_string()
    }

    #[test]
    fn the_next_instant_is_cronjobs() {
        let table = [
            ("*/15 * * * *", "UTC", "2026-11-20T12:00:00Z", "2026-11-20T12:15:00Z"),
            ("*/15 * * * *", "UTC", "2026-11-20T12:00:00.5Z", "2026-11-20T12:15:00Z"),
            ("0 9 * * MON-FRI", "Europe/Berlin", "2026-11-20T12:00:00Z", "2026-11-23T08:00:00Z"),
            ("0 0 1 JAN *", "UTC", "2026-11-20T12:00:00Z", "2027-01-01T00:00:00Z"),
            ("@hourly", "UTC", "2026-11-20T12:00:00Z", "2026-11-20T13:00:00Z"),
            ("@daily", "America/New_York", "2026-11-20T12:00:00Z", "2026-11-21T05:00:00Z"),
            ("@midnight", "UTC", "2026-11-20T12:00:00Z", "2026-11-21T00:00:00Z"),
            ("@weekly", "UTC", "2026-11-20T12:00:00Z", "2026-11-22T00:00:00Z"),
            ("@monthly", "UTC", "2026-11-20T12:00:00Z", "2026-12-01T00:00:00Z"),
            ("@yearly", "UTC", "2026-11-20T12:00:00Z", "2027-01-01T00:00:00Z"),
            // The hour that does not exist is skipped, the hour that comes twice is taken twice.
            ("30 2 * * *", "America/New_York", "2026-03-08T05:00:00Z", "2026-03-09T06:30:00Z"),
            ("30 1 * * *", "America/New_York", "2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"),
            // A day of the month or a day of the week, when both are given.
            ("0 0 13 * 5", "UTC", "2026-11-20T12:00:00Z", "2026-11-27T00:00:00Z"),
            ("0 0 29 2 *", "UTC", "2026-11-20T12:00:00Z", "2028-02-29T00:00:00Z"),
        ];
        for (text, zone, after, expected) in table {
            assert_eq!(next(text, zone, after), expected, "{text} {zone}");
        }
    }

    #[test]
    fn every_counts_from_when_the_schedule_was_first_seen() {
        let schedule = schedule("@every 1h30m", None);
        let since = time("2026-11-20T12:00:07Z");
        let next = |after| schedule.next_after(time(after), since).unwrap().to_string();
        assert_eq!(next("2026-11-20T12:00:07Z"), "2026-11-20T13:30:07Z");
        assert_eq!(next("2026-11-20T13:30:06Z"), "2026-11-20T13:30:07Z");
        assert_eq!(next("2026-11-20T13:30:07Z"), "2026-11-20T15:00:07Z");
    }

    #[test]
    fn what_cronjob_refuses_is_refused_with_the_field_and_the_way_out() {
        let schedules = [
            "",
            "   ",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * 32 * *",
            "* * * 13 *",
            "* * * * 7",
            "* * * * 5-7",
            "0 0 L * *",
            "0 0 15W * *",
            "0 0 * * 5#2",
            "H * * * *",
            "@reboot",
            "@every",
            "@every 0s",
            "@every -5m",
            "@every 1 h",
            "@every soon",
            "tz=UTC * * * * *",
            "a * * * *",
            "0 0 31 2 *",
            "5-1 * * * *",
            "*/0 * * * *",
            "1,,2 * * * *",
        ];
        for text in schedules {
            let invalid = Schedule::parse(text, None, None, "").expect_err(text);
            assert_eq!(invalid.reason, Reason::InvalidSchedule, "{text}");
            assert!(
                invalid.message.starts_with("spec.schedule") && invalid.message.contains("CronJob"),
                "{text}"
            );
        }
    }

    #[test]
    fn unknown_zones_are_refused() {
        for zone in
            ["Local", "Mars/Olympus", "+02:00", "Etc/Unknown", "europe/berlin", "GMT+2", "../etc/passwd"]
        {
            let invalid = Schedule::parse("@hourly", Some(zone), None, "").expect_err(zone);
            assert_eq!(invalid.reason, Reason::InvalidTimeZone, "{zone}");
            assert!(invalid.message.starts_with("spec.timeZone"));
        }
        for zone in ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"] {
            assert!(Schedule::parse("@hourly", Some(zone), None, "").is_ok(), "{zone}");
        }
    }

    #[test]
    fn the_most_recent_instant_is_found_however_long_ago() {
        let table = [
            ("* * * * *", "2025-11-20T12:00:00Z", "2026-11-20T12:00:30Z", Some("2026-11-20T12:00:00Z")),
            ("* * * * *", "2026-11-20T12:00:00Z", "2026-11-20T12:00:59Z", None),
            ("* * * * *", "2026-11-20T12:00:00Z", "2026-11-20T12:01:00Z", Some("2026-11-20T12:01:00Z")),
            ("0 0 1 1 *", "2020-06-01T00:00:00Z", "2026-11-20T12:00:00Z", Some("2026-01-01T00:00:00Z")),
            ("*/7 3 * * 1", "2026-01-01T00:00:00Z", "2026-11-20T12:00:00Z", Some("2026-11-16T03:56:00Z")),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2026-11-20T12:00:00Z", None),
        ];
        for (text, after, until, expected) in table {
            let found = schedule(text, None).most_recent(time(after), time(until), Timestamp::UNIX_EPOCH);
            assert_eq!(found.map(|time| time.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn instants_are_counted_and_a_year_of_minutes_by_their_distance() {
        let (schedule, since) = (schedule("* * * * *", None), Timestamp::UNIX_EPOCH);
        let count = |after, before| schedule.count_between(time(after), time(before), since);
        assert_eq!(count("2026-11-20T12:00:00Z", "2026-11-20T12:00:30Z"), 0);
        assert_eq!(count("2026-11-20T12:00:00Z", "2026-11-20T12:05:00Z"), 4);
        assert_eq!(count("2025-11-20T00:00:00Z", "2026-11-20T00:00:00Z"), 365 * 24 * 60);
    }

    #[test]
    fn jitter_is_the_same_every_time_and_never_reaches_the_next_instant() {
        let since = Timestamp::UNIX_EPOCH;
        let mut offsets = Vec::new();
        for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            let jittered = Schedule::parse("* * * * *", None, Some("10m"), name).unwrap();
            let short = Schedule::parse("* * * * *", None, Some("30s"), name).unwrap();
            let instant = time("2026-11-20T12:00:00Z");
            let start = jittered.jittered(instant, since);
            assert!(start >= instant && start < time("2026-11-20T12:01:00Z"), "{name}: {start}");
            let start = short.jittered(instant, since);
            assert!(start < time("2026-11-20T12:00:30Z"));
            assert_eq!(short.jittered(instant, since), start);
            offsets.push(start);
        }
        offsets.dedup();
        assert!(offsets.len() > 4, "{offsets:?}");
    }
}
