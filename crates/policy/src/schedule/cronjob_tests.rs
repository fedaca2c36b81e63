//! The table of what a Kubernetes CronJob answers, which `hack/cronjob-instants` writes.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::Schedule;
use dlq_crd::Reason;

const TABLE: &str = include_str!("../../../../tests/data/cronjob_instants.json");

/// What a question may cost without optimisation; with it, it is a tenth.
const PATIENCE: Duration = Duration::from_millis(5);

#[derive(Deserialize)]
struct Row {
    schedule: String,
    zone: Option<String>,
    start: Timestamp,
    /// None of them when the schedule never fires.
    next: Option<Vec<Timestamp>>,
}

impl Row {
    fn parse(&self) -> Result<Schedule, Reason> {
        Schedule::parse(&self.schedule, self.zone.as_deref(), None, "").map_err(|invalid| invalid.reason)
    }

    fn expected(&self) -> Result<&[Timestamp], Reason> {
        match (self.next.as_deref(), &self.zone) {
            (Some([]), _) | (None, None) => Err(Reason::InvalidSchedule),
            (Some(instants), _) => Ok(instants),
            (None, Some(_)) => Err(Reason::InvalidTimeZone),
        }
    }
}

fn table() -> Vec<Row> {
    serde_json::from_str(TABLE).unwrap()
}

fn follow(schedule: &Schedule, start: Timestamp, count: usize) -> Vec<Timestamp> {
    std::iter::successors(Some(start), |last| schedule.next_after(*last, start)).skip(1).take(count).collect()
}

/// How long a question takes at best: other programs run at the same time, so one that seems slow is asked again.
fn fastest<T>(question: impl Fn() -> T) -> Duration {
    let measure = |_| {
        let start = Instant::now();
        question();
        start.elapsed()
    };
    let mut best = Duration::MAX;
    for took in (0..30).map(measure) {
        best = best.min(took);
        if best < PATIENCE {
            break;
        }
    }
    best
}

#[test]
fn instants_and_refusals_are_those_of_a_cronjob() {
    let table = table();
    let (mut fire, mut refuse, mut differences) = (0, 0, Vec::new());
    for row in &table {
        let found = row.parse().map(|schedule| follow(&schedule, row.start, 5));
        match row.expected() {
            Ok(_) => fire += 1,
            Err(_) => refuse += 1,
        }
        if found.as_deref().map_err(|reason| *reason) != row.expected() {
            differences.push(format!(
                "{:?} in {:?} after {}: {found:?}, not {:?}",
                row.schedule,
                row.zone,
                row.start,
                row.expected()
            ));
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    assert!(
        fire >= 700 && refuse >= 200,
        "{fire} schedules and {refuse} refusals are too few: what was cut?"
    );
}

#[test]
fn looking_back_finds_and_counts_the_instants_that_looking_ahead_found() {
    for row in table() {
        let (Ok(schedule), Ok([first, .., before_last, last])) = (row.parse(), row.expected()) else {
            continue;
        };
        let just_before = *last - SignedDuration::from_nanos(1);
        let back = |until| schedule.most_recent(row.start, until, row.start);
        assert_eq!(back(*last), Some(*last), "{:?} in {:?}", row.schedule, row.zone);
        assert_eq!(back(just_before), Some(*before_last), "{:?} in {:?}", row.schedule, row.zone);
        assert_eq!(
            back(*first - SignedDuration::from_nanos(1)),
            None,
            "{:?} in {:?}",
            row.schedule,
            row.zone
        );
        assert_eq!(
            schedule.count_between(row.start, *last, row.start),
            4,
            "{:?} in {:?}",
            row.schedule,
            row.zone
        );
    }
}

#[test]
fn no_question_takes_long() {
    let mut slowest = (Duration::ZERO, String::new());
    let mut note = |took: Duration, question: &str, schedule: &str, zone: Option<&str>| {
        if took > slowest.0 {
            slowest = (took, format!("{question} of {schedule:?} in {zone:?}"));
        }
    };
    for row in table() {
        let zone = row.zone.as_deref();
        note(fastest(|| row.parse()), "reading", &row.schedule, zone);
        if let Ok(schedule) = row.parse() {
            note(fastest(|| schedule.next_after(row.start, row.start)), "the next", &row.schedule, zone);
        }
    }
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    let (asleep, now) = (time("2025-11-20T12:00:30Z"), time("2026-11-20T12:00:30Z"));
    for text in
        ["* * * * *", "*/7 3 * * 1", "0 0 1 1 *", "0 0 29 2 *", "0 0 29 2 1", "59 23 31 12 *", "@every 1s"]
    {
        for zone in ["UTC", "America/New_York", "Australia/Lord_Howe"] {
            let schedule = Schedule::parse(text, Some(zone), None, "").unwrap();
            let most_recent = fastest(|| schedule.most_recent(asleep, now, asleep));
            let far_back = fastest(|| schedule.most_recent(Timestamp::MIN, now, asleep));
            let ahead = fastest(|| schedule.next_after(time("2096-03-01T00:00:00Z"), asleep));
            let count = fastest(|| schedule.count_between(asleep, now, asleep));
            note(most_recent, "the most recent", text, Some(zone));
            note(far_back, "the most recent ever", text, Some(zone));
            note(ahead, "the next, over 2100,", text, Some(zone));
            note(count, "the count of a year", text, Some(zone));
        }
    }
    assert!(slowest.0 < PATIENCE, "{slowest:?}");
}
