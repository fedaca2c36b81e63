//! The bounds on the time of failure: inclusive, to the millisecond, and never beyond the run's start.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use testbed::{Entry, Fate};

use super::{FAILED, Row, entry, millis, pairs, row, run};
use crate::cases::{self, Case, Cases, Differences, Outcome};
use crate::scene::{DLQ, Scene};

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn at(id: &str, failed_at: i64) -> Entry {
    Entry { failed_at: Some(failed_at), ..entry(id) }
}

/// Three entries a millisecond apart.
fn around(id: &str, time: i64) -> [Entry; 3] {
    [at(&format!("{id}-1"), time - 1), at(id, time), at(&format!("{id}+1"), time + 1)]
}

pub(super) fn dates() -> Vec<Row> {
    vec![
        row(
            "fromDate is inclusive",
            json!({ "fromDate": "2023-11-14T22:13:20.123Z" }),
            &["at", "at+1"],
            &[("fromDate", "1700000000123")],
        ),
        row(
            "toDate is inclusive",
            json!({ "toDate": "2023-11-14T22:13:20.123Z" }),
            &["at-1", "at"],
            &[("toDate", "1700000000123")],
        ),
        row(
            "fromDate and toDate may be one millisecond",
            json!({ "fromDate": "2023-11-14T22:13:20.123Z", "toDate": "2023-11-14T22:13:20.123Z" }),
            &["at"],
            &[("fromDate", "1700000000123"), ("toDate", "1700000000123")],
        ),
        row(
            "a fromDate between two milliseconds is the later one",
            json!({ "fromDate": "2023-11-14T22:13:20.123000001Z" }),
            &["at+1"],
            &[("fromDate", "1700000000124")],
        ),
        row(
            "a toDate between two milliseconds is the earlier one",
            json!({ "toDate": "2023-11-14T22:13:20.123999999Z" }),
            &["at-1", "at"],
            &[("toDate", "1700000000123")],
        ),
        row(
            "dates may be given in other zones",
            json!({ "fromDate": "2023-11-15T00:13:20.124+02:00", "toDate": "2023-11-14T17:13:20.124-05:00" }),
            &["at+1"],
            &[("fromDate", "1700000000124"), ("toDate", "1700000000124")],
        ),
        row(
            "dates may be given to the second",
            json!({ "fromDate": "2023-11-14T22:13:20Z", "toDate": "2023-11-14T22:13:21Z" }),
            &["at-1", "at", "at+1"],
            &[("fromDate", "1700000000000"), ("toDate", "1700000001000")],
        ),
        row(
            "the first fromDate there is selects all",
            json!({ "fromDate": "1970-01-01T00:00:00Z" }),
            &["at-1", "at", "at+1"],
            &[("fromDate", "0")],
        ),
    ]
    .into_iter()
    .map(|row| row.among(around("at", FAILED).into()))
    .collect()
}

#[tokio::test]
async fn dates_are_inclusive_to_the_millisecond() {
    let scene = Scene::start("dates").await;
    run(&scene, &dates()).await;
}

#[tokio::test]
async fn a_window_that_is_empty_when_the_run_starts_asks_upstash_nothing() {
    let scene = Scene::start("future").await;
    let spec = json!({ "action": "delete", "filters": { "fromDate": "9998-12-31T23:59:59Z" } });
    let outcomes =
        Cases::apply(&scene, vec![Case { entries: vec![entry("past")], spec }]).await.outcomes().await;
    let Outcome { status, ledger } = &outcomes[0];
    assert_eq!(
        (&status["lastRun"]["result"], &status["lastRun"]["reason"]),
        (&json!("Succeeded"), &json!("NothingMatched"))
    );
    assert!(ledger.calls.is_empty(), "{:#?}", ledger.calls);
    assert_eq!(ledger.with_fate(Fate::InDlq).count(), 1);
}

/// Filters, and the bounds they give a run.
struct Frozen {
    /// Reads as a sentence.
    name: &'static str,
    filters: Value,
    from: Option<Lower>,
    /// How long before the start.
    to: i64,
}

#[derive(Clone, Copy)]
enum Lower {
    /// So long before the start.
    Before(i64),
    At(i64),
}

fn frozen() -> Vec<Frozen> {
    let frozen = |name, filters, from, to| Frozen { name, filters, from, to };
    vec![
        frozen("without bounds a run ends at its start", json!({ "all": true }), None, 0),
        frozen("newerThan counts from the start", json!({ "newerThan": "1h" }), Some(Lower::Before(HOUR)), 0),
        frozen(
            "every part of newerThan counts",
            json!({ "newerThan": "1d2h3m4s5ms" }),
            Some(Lower::Before(DAY + 2 * HOUR + 3 * MINUTE + 4 * SECOND + 5)),
            0,
        ),
        frozen("olderThan counts from the start", json!({ "olderThan": "1h" }), None, HOUR),
        frozen(
            "every part of olderThan counts",
            json!({ "olderThan": "1d2h3m4s5ms" }),
            None,
            DAY + 2 * HOUR + 3 * MINUTE + 4 * SECOND + 5,
        ),
        frozen(
            "newerThan and olderThan are a window",
            json!({ "newerThan": "7d", "olderThan": "15m" }),
            Some(Lower::Before(7 * DAY)),
            15 * MINUTE,
        ),
        frozen(
            "fromDate and olderThan are a window",
            json!({ "fromDate": "2023-11-14T22:13:20.123Z", "olderThan": "90s" }),
            Some(Lower::At(FAILED)),
            90 * SECOND,
        ),
        frozen(
            "a toDate beyond the start is the start",
            json!({ "toDate": "9998-12-31T23:59:59.999Z" }),
            None,
            0,
        ),
        frozen(
            "newerThan and a toDate beyond the start are a window",
            json!({ "newerThan": "1h", "toDate": "2999-01-01T00:00:00+01:00" }),
            Some(Lower::Before(HOUR)),
            0,
        ),
        frozen(
            "fromDate alone ends at the start",
            json!({ "fromDate": "2023-11-14T22:13:20.123Z" }),
            Some(Lower::At(FAILED)),
            0,
        ),
    ]
}

impl Frozen {
    /// The entries around the bounds that a run has frozen, which must be those it was meant to have.
    fn entries(&self, run: &Value, differences: &mut Differences) -> Vec<Entry> {
        let start = millis(&run["startTime"]);
        let to = millis(&run["window"]["toDate"]);
        differences.expect_eq(self.name, "the window's end", to, start - self.to);
        let mut entries: Vec<_> = around("to", to).into();
        let from = &run["window"]["fromDate"];
        match self.from {
            None => differences.expect_eq(self.name, "the window's beginning", from, &Value::Null),
            Some(Lower::At(time)) => {
                differences.expect_eq(self.name, "the window's beginning", millis(from), time);
                entries.extend(around("from", time));
            }
            Some(Lower::Before(age)) => {
                // The start is shown cut to the millisecond, and a bound between two is the later one.
                let rounded = millis(from) - (start - age);
                differences.expect_eq(
                    self.name,
                    "the window's beginning, rounded up",
                    (0..=1).contains(&rounded),
                    true,
                );
                entries.extend(around("from", millis(from)));
            }
        }
        entries
    }

    fn check(&self, window: &Value, outcome: &Outcome, differences: &mut Differences) {
        let Outcome { status, ledger } = outcome;
        let run = &status["lastRun"];
        differences.expect_eq(self.name, "the window at the end", &run["window"], window);
        let gone: BTreeSet<_> = ledger.with_fate(Fate::Deleted).map(|entry| entry.dlq_id.as_str()).collect();
        let expected: &[_] =
            if self.from.is_some() { &["from", "from+1", "to-1", "to"] } else { &["to-1", "to"] };
        differences.expect_eq(self.name, "what has left the DLQ", gone, expected.iter().copied().collect());
        let mut query = vec![("count", 50), ("toDate", millis(&window["toDate"]))];
        if self.from.is_some() {
            query.push(("fromDate", millis(&window["fromDate"])));
        }
        query.sort_unstable();
        let query: Vec<_> =
            query.into_iter().map(|(name, value)| (name.to_owned(), value.to_string())).collect();
        for call in &ledger.calls {
            differences.expect_eq(self.name, "the query", pairs(call), query.clone());
        }
    }
}

/// Upstash is busy until the runs have frozen their windows and the entries around the bounds are there.
#[tokio::test]
async fn a_run_keeps_the_window_it_had_at_its_start_to_the_millisecond() {
    let scene = Scene::start_with("windows", &["--checkpoint-interval=0", "--retry-limit=1000"]).await;
    let busy = json!({ "status": { "code": 429, "headers": { "Retry-After": "1" } } });
    scene.simulator.set_faults(&json!([{ "fault": busy }])).await.unwrap();
    let rows = frozen();
    let case = |row: &Frozen| Case {
        entries: Vec::new(),
        spec: json!({ "action": "delete", "filters": row.filters }),
    };
    let cases = Cases::apply(&scene, rows.iter().map(case).collect()).await;
    let has_window = |status: &Value| !status["currentRun"]["window"].is_null();
    let mut differences = Differences::default();
    let mut windows = Vec::new();
    let statuses = cases.statuses("every run has its window", has_window).await;
    for (index, (row, status)) in rows.iter().zip(&statuses).enumerate() {
        let run = &status["currentRun"];
        scene.simulator.add(&cases::name(index), &row.entries(run, &mut differences)).await.unwrap();
        windows.push(&run["window"]);
    }
    scene.simulator.clear_faults().await.unwrap();
    let outcomes = cases.outcomes().await;
    for ((row, window), outcome) in rows.iter().zip(windows).zip(&outcomes) {
        row.check(window, outcome, &mut differences);
    }
    differences.report();
}

/// A run's window is in Upstash's time, which entries fail by; the first answer tells how far that is from ours.
#[tokio::test]
async fn a_window_follows_upstashs_clock_once_an_answer_has_told_it() {
    for (name, offset) in [("behind", -HOUR), ("ahead", HOUR)] {
        let scene = Scene::start(name).await;
        let clock = json!({ "offsetMs": offset });
        scene.simulator.send(Method::PUT, "/clock", Some(&clock)).await.unwrap();
        scene.apply("first", json!({ "action": "delete", "filters": { "all": true } })).await;
        let window = |status: &Value| millis(&status["lastRun"]["window"]["toDate"]);
        let start = |status: &Value| millis(&status["lastRun"]["startTime"]);
        let first = scene.ran("first", 1).await;
        assert_eq!(window(&first), start(&first));

        // By Upstash's clock they failed a minute ago, and will fail in a minute.
        let now = start(&first) + offset;
        let entries = [at("past", now - MINUTE), at("future", now + MINUTE)];
        scene.simulator.add(DLQ, &entries).await.unwrap();
        scene.apply("second", json!({ "action": "delete", "filters": { "newerThan": "10m" } })).await;
        let second = scene.ran("second", 1).await;
        assert_eq!(second["lastRun"]["processed"], 1, "{name}: {second:#}");
        let learnt = window(&second) - start(&second);
        assert!((learnt - offset).abs() < SECOND, "{name}: {learnt}");
        assert!(scene.operator.log().contains("Upstash's clock is not ours"));
    }
}
