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
        "10-5/100 * * * *",
        "*/-5 * * * *",
        "*/0 * * * *",
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
fn a_name_in_upper_case_is_told_how_it_is_written() {
    let invalid = Schedule::parse("@Daily", None, None, "").unwrap_err();
    assert!(invalid.message.contains("lower case"), "{}", invalid.message);
}

#[test]
fn unknown_zones_are_refused() {
    for zone in ["Local", "Mars/Olympus", "+02:00", "Etc/Unknown", "europe/berlin", "GMT+2", "../etc/passwd"]
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
fn instants_are_counted_exactly_also_over_years_and_changes_of_the_offset() {
    let table = [
        ("* * * * *", "UTC", "2026-11-20T12:00:00Z", "2026-11-20T12:00:30Z", 0),
        ("* * * * *", "UTC", "2026-11-20T12:00:00Z", "2026-11-20T12:05:00Z", 4),
        ("* * * * *", "UTC", "2025-11-20T00:00:00Z", "2026-11-20T00:00:00Z", 365 * 24 * 60 - 1),
        ("*/15 9-17 * * MON-FRI", "UTC", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", 261 * 9 * 4),
        ("0 0 29 2 *", "UTC", "1999-01-01T00:00:00Z", "2026-11-20T00:00:00Z", 7),
        ("30 2 * * *", "Europe/Berlin", "2025-12-31T23:00:00Z", "2026-12-31T23:00:00Z", 365),
        ("30 2 * 3 *", "Europe/Berlin", "2025-12-31T23:00:00Z", "2026-12-31T23:00:00Z", 30),
        ("30 2 * 10 *", "Europe/Berlin", "2025-12-31T23:00:00Z", "2026-12-31T23:00:00Z", 32),
        ("@every 7m", "UTC", "2026-11-20T00:00:00Z", "2026-11-20T00:21:00Z", 2),
        ("@every 7m", "UTC", "2026-11-20T00:00:00Z", "2026-11-20T00:21:00.001Z", 3),
        ("@every 7s", "UTC", "2026-11-20T00:00:00Z", "2026-11-20T00:00:00Z", 0),
    ];
    for (text, zone, after, before, expected) in table {
        let count = schedule(text, Some(zone)).count_between(time(after), time(before), time(after));
        assert_eq!(count, expected, "{text} {zone}");
    }
}

#[test]
fn a_wrong_clock_does_not_keep_the_counting_busy() {
    let count = schedule("0 0 1 1 *", None).count_between(
        Timestamp::MIN,
        time("2026-11-20T00:00:00Z"),
        Timestamp::UNIX_EPOCH,
    );
    assert_eq!(count, 100);
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
