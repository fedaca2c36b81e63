//! Whatever the schedule, the zone and the clock, the scheduled times keep their promises.

use std::iter::successors;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::Schedule;

/// Zones and a change of their offset: by an hour, half an hour, two hours, in mid-hour, at midnight, by a whole day.
const CHANGES: [(&str, &str); 22] = [
    ("UTC", "2026-03-29T01:00:00Z"),
    ("Europe/Berlin", "2026-03-29T01:00:00Z"),
    ("Europe/Berlin", "2026-10-25T01:00:00Z"),
    ("America/New_York", "2026-03-08T07:00:00Z"),
    ("America/New_York", "2026-11-01T06:00:00Z"),
    ("America/St_Johns", "2010-03-14T03:31:00Z"),
    ("America/St_Johns", "2010-11-07T02:31:00Z"),
    ("America/Caracas", "2007-12-09T07:00:00Z"),
    ("America/Caracas", "2016-05-01T07:00:00Z"),
    ("Asia/Pyongyang", "2015-08-14T15:00:00Z"),
    ("Asia/Pyongyang", "2018-05-04T15:00:00Z"),
    ("Asia/Kathmandu", "1985-12-31T18:30:00Z"),
    ("Africa/Cairo", "2024-04-25T22:00:00Z"),
    ("Africa/Cairo", "2024-10-31T21:00:00Z"),
    ("America/Havana", "2026-11-01T05:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
    ("Pacific/Chatham", "2026-04-04T14:00:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),
    ("Pacific/Kwajalein", "1993-08-21T12:00:00Z"),
    ("Antarctica/Troll", "2026-03-29T01:00:00Z"),
    ("Antarctica/Troll", "2026-10-25T01:00:00Z"),
];

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

fn numbers(last: u8) -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just("*".to_owned()),
        3 => (0..=last).prop_map(|value| value.to_string()),
        2 => (1..=last).prop_map(|step| format!("*/{step}")),
        2 => (0..=last, 0..=last).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => (0..=last, 0..=last).prop_map(|(a, b)| format!("{a},{b}")),
    ]
}

/// Fields that fire at least once in most weeks, in words that CronJob and the parser read alike.
fn fields() -> impl Strategy<Value = String> {
    let day = prop_oneof![4 => Just("* * *"), 1 => Just("* * 0,2,4-6"), 1 => Just("1-15,25-31 * *"), 1 => Just("* 1-11 *")];
    (numbers(59), numbers(23), day).prop_map(|(minute, hour, day)| format!("{minute} {hour} {day}"))
}

fn cadence() -> impl Strategy<Value = String> {
    prop_oneof![4 => fields(), 1 => (1_u32..20_000).prop_map(|pause| format!("@every {pause}s"))]
}

/// A zone and a time within two days of a change of its offset, not on a full second.
fn moment() -> impl Strategy<Value = (&'static str, Timestamp)> {
    let near = -2 * 86_400_000..2 * 86_400_000_i64;
    (prop::sample::select(CHANGES.as_slice()), near)
        .prop_map(|((zone, change), away)| (zone, time(change) + SignedDuration::from_millis(away)))
}

fn parse(text: &str, zone: &str) -> Schedule {
    Schedule::parse(text, Some(zone), None, "payments/resume").unwrap()
}

/// The scheduled times after `after` and up to `until`, one by one.
fn walk(schedule: &Schedule, after: Timestamp, until: Timestamp, since: Timestamp) -> Vec<Timestamp> {
    let next = |last: &Timestamp| schedule.next_after(*last, since);
    successors(next(&after), next).take_while(|at| *at <= until).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn the_next_instant_is_the_first_minute_that_the_wall_clock_shows(text in fields(), (zone, after) in moment()) {
        let wall_clock = cronexpr::parse_crontab(&format!("{text} {zone}")).unwrap();
        let next = parse(&text, zone).next_after(after, after).unwrap();
        prop_assert!(next > after);
        prop_assert!(wall_clock.matches(next).unwrap(), "{next} is no match");
        let minute = |number: i64| Timestamp::from_second(number * 60).unwrap();
        // Two days of minutes are enough to see every kind of change.
        let first = after.as_second().div_euclid(60) + 1;
        let last = (next.as_second() / 60).min(first + 2 * 24 * 60);
        for earlier in (first..last).map(minute) {
            prop_assert!(!wall_clock.matches(earlier).unwrap(), "{earlier} was passed over for {next}");
        }
    }

    #[test]
    fn the_most_recent_instant_is_the_last_one_and_all_are_counted(
        text in cadence(),
        (zone, after) in moment(),
        span in 0_i64..100_000,
    ) {
        let schedule = parse(&text, zone);
        let (until, since) = (after + seconds(span), after);
        let instants = walk(&schedule, after, until, since);
        prop_assert_eq!(schedule.most_recent(after, until, since), instants.last().copied());
        let before = instants.iter().filter(|at| **at < until).count();
        prop_assert_eq!(schedule.count_between(after, until, since), i64::try_from(before).unwrap());
    }

    #[test]
    fn counts_of_two_spans_add_up(text in cadence(), (zone, middle) in moment(), days in 1_i64..800) {
        let schedule = parse(&text, zone);
        let (start, end) = (middle - seconds(days * 86_400), middle + seconds(days * 86_400));
        let count = |after, before| schedule.count_between(after, before, start);
        let at_middle = i64::from(walk(&schedule, middle - seconds(1), middle, start).contains(&middle));
        prop_assert_eq!(count(start, middle) + at_middle + count(middle, end), count(start, end));
    }

    #[test]
    fn a_clock_that_is_set_moves_the_instants_the_same_way(
        text in cadence(),
        (zone, early) in moment(),
        step in 1_i64..200_000,
    ) {
        let schedule = parse(&text, zone);
        let (late, since) = (early + seconds(step), early - seconds(100_000));
        prop_assert!(schedule.next_after(early, since) <= schedule.next_after(late, since));
        prop_assert!(schedule.most_recent(since, early, since) <= schedule.most_recent(since, late, since));
        prop_assert!(schedule.count_between(since, early, since) <= schedule.count_between(since, late, since));
        // What was dealt with does not come again when the clock goes back.
        prop_assert_eq!(schedule.most_recent(late, early, since), None);
        prop_assert_eq!(schedule.count_between(late, early, since), 0);
    }

    #[test]
    fn jitter_delays_by_less_than_its_span_and_never_up_to_the_next_instant(
        text in cadence(),
        (zone, after) in moment(),
        span in 0_i64..200_000,
        name in "[a-z]{1,8}/[a-z]{1,8}",
    ) {
        let read = || Schedule::parse(&text, Some(zone), Some(&format!("{span}s")), &name).unwrap();
        let schedule = read();
        let instants: Vec<_> =
            successors(schedule.next_after(after, after), |at| schedule.next_after(*at, after)).take(4).collect();
        for pair in instants.windows(2) {
            let start = schedule.jittered(pair[0], after);
            prop_assert!(start >= pair[0] && start < pair[1]);
            prop_assert!(start.duration_since(pair[0]) < seconds(span.max(1)));
            prop_assert!(start < schedule.jittered(pair[1], after));
            prop_assert_eq!(start, read().jittered(pair[0], after));
        }
    }
}
