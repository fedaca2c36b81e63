//! What kinds of policies live through the day.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::RngExt as _;
use proptest::test_runner::TestRng;
use serde_json::{Value, json};

use super::wall_clock::{Hand, Times, Zone};
use crate::spec::hash::spread;

/// A day on which clocks in Europe are set forward, and one on which they are set back.
const DAYS: [(&str, Zone); 2] = [
    (
        "2026-03-28T12:00:00.3Z",
        Zone { name: "Europe/Berlin", before: 60, changes_at: "2026-03-29T01:00:00Z", after: 120 },
    ),
    (
        "2026-10-24T12:00:00.3Z",
        Zone { name: "Europe/Berlin", before: 120, changes_at: "2026-10-25T01:00:00Z", after: 60 },
    ),
];
const UTC: Zone = Zone::fixed("UTC", 0);
const KOLKATA: Zone = Zone::fixed("Asia/Kolkata", 330);
const NEW_YORK: Zone = Zone::fixed("America/New_York", -240);

/// A policy, and what of it the account at the end of the day is made by.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) spec: Value,
    pub(super) begin: Timestamp,
    pub(super) times: Times,
    /// So much later than the scheduled time a run starts, where the next one leaves room for it.
    pub(super) offset: SignedDuration,
    pub(super) replaces: bool,
    /// Nothing goes wrong but that it is held for a while.
    pub(super) is_calm: bool,
    pub(super) opens_circuit_after: Option<i64>,
}

fn one_of<T: Copy>(random: &mut TestRng, choices: &[T]) -> T {
    choices[random.random_range(0..choices.len())]
}

impl Kind {
    /// The policy of this number: schedules come in turn, all else by chance.
    pub(super) fn of(number: u64, random: &mut TestRng) -> Self {
        let (begin, berlin) = DAYS[usize::from(random.random_bool(0.5))];
        let (schedule, times) = schedule(number, berlin);
        let mut spec = json!({
            "action": one_of(random, &["resume", "resume", "restart", "delete"]),
            "filters": { "labels": ["a"] },
            "schedule": schedule,
            "historyLimit": one_of(random, &[0, 1, 3, 5]),
        });
        let mut set = |name: &str, value: Value| {
            spec[name] = value;
        };
        if let Times::Clock { zone, .. } = times
            && zone.name != "UTC"
        {
            set("timeZone", zone.name.into());
        }
        let jitter = one_of(random, &[("", 0), ("", 0), ("20s", 20), ("4m", 240), ("1h", 3600)]);
        if !jitter.0.is_empty() {
            set("jitter", jitter.0.into());
        }
        let offset = (u128::from(spread("payments/a")) * jitter.1 * 1000) >> 64;
        let deadline = one_of(random, &[None, None, Some(10), Some(200), Some(4000)]);
        if let Some(deadline) = deadline {
            set("startingDeadlineSeconds", json!(deadline));
        }
        let concurrency = one_of(random, &[None, Some("Forbid"), Some("Replace")]);
        if let Some(concurrency) = concurrency {
            set("concurrencyPolicy", concurrency.into());
        }
        set("limits", limits(random));
        let opens_circuit_after = one_of(random, &[None, Some(1), Some(3)]);
        if let Some(most) = opens_circuit_after {
            set("failurePolicy", json!({ "openCircuitAfter": most }));
        }
        if random.random_bool(0.2) {
            set("backlog", json!({ "interval": "17m", "countUpTo": 100 }));
        }
        match random.random_range(0..10) {
            0 => set("dryRun", true.into()),
            1 | 2 if spec["action"] != "delete" => {
                spec["match"] = json!({ "responseStatuses": ["5xx"] });
            }
            3 if spec["action"] != "delete" => spec["loopProtection"] = json!({ "maxAttempts": 2 }),
            _ => {}
        }
        Self {
            spec,
            begin: begin.parse().unwrap(),
            times,
            offset: SignedDuration::from_millis(i64::try_from(offset).unwrap()),
            replaces: concurrency == Some("Replace"),
            is_calm: random.random_bool(0.25),
            opens_circuit_after,
        }
    }
}

fn schedule(number: u64, berlin: Zone) -> (&'static str, Times) {
    use Hand::{Any, At, Between, Each};
    let clock = |schedule, minute, hour, zone| (schedule, Times::Clock { minute, hour, zone });
    // What is due most often is not in the first dozen.
    match number % 24 {
        13 => return ("@every 90s", Times::Every(90)),
        22 => return clock("* * * * *", Any, Any, UTC),
        _ => {}
    }
    match number % 12 {
        0 => clock("*/5 * * * *", Each(5), Any, UTC),
        1 => ("@every 25m", Times::Every(1500)),
        2 => clock("@hourly", At(0), Any, berlin),
        3 => clock("30 2 * * *", At(30), At(2), berlin),
        4 => clock("7 */2 * * *", At(7), Each(2), berlin),
        5 => clock("*/15 1-3 * * *", Each(15), Between(1, 3), berlin),
        6 => ("@every 17m", Times::Every(1020)),
        7 => clock("@hourly", At(0), Any, KOLKATA),
        8 => clock("*/10 * * * *", Each(10), Any, NEW_YORK),
        9 => ("@every 1h30m", Times::Every(5400)),
        10 => clock("*/10 8-17 * * *", Each(10), Between(8, 17), KOLKATA),
        _ => clock("45 22-23 * * *", At(45), Between(22, 23), NEW_YORK),
    }
}

/// Also such that make a run outlast its interval.
fn limits(random: &mut TestRng) -> Value {
    let mut limits = json!({ "pageSize": one_of(random, &[3, 20, 100]) });
    for (name, choices) in [
        ("maxEntriesPerRun", [None, None, Some(5), Some(40)]),
        ("entriesPerSecond", [None, None, Some(1), Some(10)]),
        ("activeDeadlineSeconds", [None, None, Some(20), Some(4000)]),
    ] {
        if let Some(limit) = one_of(random, &choices) {
            limits[name] = json!(limit);
        }
    }
    limits
}
