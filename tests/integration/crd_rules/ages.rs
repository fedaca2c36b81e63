//! `newerThan` and `olderThan`: their form, and how they compare.

use serde_json::{Value, json};

use super::{Row, accepted, filters, rejected, text};

const A_DURATION: &str = "a duration longer than 0, such as 7d, 1h30m or 90s";
const LONGER: &str = "newerThan must be longer than olderThan, else no entry can match";

pub(super) fn rows() -> Vec<Row> {
    [form(), order()].into_iter().flatten().collect()
}

fn older(age: &str) -> Value {
    filters(json!({ "olderThan": age }))
}

fn form() -> Vec<Row> {
    let at = "spec.filters.olderThan";
    vec![
        accepted("an age in days", older("7d")),
        accepted("an age in hours and minutes", older("1h30m")),
        accepted("an age in every unit, with all digits", older("9999d999999h999999m999999s999999ms")),
        accepted("an age of one millisecond", older("1ms")),
        accepted("an age with leading zeros", older("007d")),
        accepted("an age of which one part is zero", older("1d0h")),
        rejected("an age is longer than zero", older("0s"), at, A_DURATION),
        rejected("an age of zeros is zero", older("0d0h0m0s0ms"), at, A_DURATION),
        rejected("an age is not empty", older(""), at, A_DURATION),
        rejected("an age has a unit", older("15"), at, A_DURATION),
        rejected("an age has a number", older("d"), at, A_DURATION),
        rejected("an age is not negative", older("-1h"), at, A_DURATION),
        rejected("an age has no fractions", older("1.5h"), at, A_DURATION),
        rejected("an age has no spaces", older("1h 30m"), at, A_DURATION),
        rejected("an age does not end with a line break", older("1h\n"), at, A_DURATION),
        rejected("an age has its units in order", older("30m1h"), at, A_DURATION),
        rejected("an age has each unit once", older("1h1h"), at, A_DURATION),
        rejected("an age has no weeks", older("1w"), at, A_DURATION),
        rejected("an age has its units in lower case", older("1D"), at, A_DURATION),
        rejected(
            "an age has at most 4 digits of days",
            older("10000d"),
            at,
            "at most 4 digits of d and 6 of each other",
        ),
        rejected(
            "an age has at most 6 digits of hours",
            older("1000000h"),
            at,
            "at most 4 digits of d and 6 of each other",
        ),
        rejected("an age has ASCII digits", older("١d"), at, A_DURATION),
        rejected("an age has at most 36 characters", older(&text(37)), at, "may not be more than 36"),
        rejected(
            "newerThan is longer than zero",
            filters(json!({ "newerThan": "0h" })),
            "spec.filters.newerThan",
            A_DURATION,
        ),
        rejected(
            "newerThan has at most 36 characters",
            filters(json!({ "newerThan": text(37) })),
            "spec.filters.newerThan",
            "may not be more than 36",
        ),
        rejected(
            "an age is a string",
            filters(json!({ "olderThan": 15 })),
            at,
            r#"must be of type string: "integer""#,
        ),
    ]
}

fn order() -> Vec<Row> {
    let ages = |newer: &str, older: &str| filters(json!({ "newerThan": newer, "olderThan": older }));
    let at = "spec.filters.newerThan";
    vec![
        accepted("newerThan is longer than olderThan", ages("7d", "15m")),
        accepted("a day is longer than 23 hours", ages("1d", "23h59m59s999ms")),
        accepted("24 hours and a millisecond are longer than a day", ages("24h1ms", "1d")),
        accepted("a day and a millisecond are longer than 24 hours", ages("1d1ms", "24h")),
        accepted(
            "the longest age is longer than the longest but one",
            ages("9999d999999h999999m999999s999999ms", "9999d999999h999999m999999s999998ms"),
        ),
        accepted("1000 milliseconds are longer than 999", ages("1000ms", "999ms")),
        accepted("61 minutes are longer than an hour", ages("61m", "1h")),
        rejected("a window from a day ago to 24 hours ago is empty", ages("1d", "24h"), at, LONGER),
        rejected("a window from 24 hours ago to a day ago is empty", ages("24h", "1d"), at, LONGER),
        rejected("24 hours and a millisecond are not shorter than a day", ages("1d", "24h1ms"), at, LONGER),
        rejected("ages are compared as times, not as texts", ages("9m", "10m"), at, LONGER),
        rejected("60 seconds are not longer than a minute", ages("60s", "1m"), at, LONGER),
        rejected("days count when ages are compared", ages("23h", "1d1h"), at, LONGER),
        rejected("a malformed newerThan is one error, not two", ages("1x", "1d"), at, A_DURATION),
        rejected(
            "a malformed olderThan is one error, not two",
            ages("1d", "1x"),
            "spec.filters.olderThan",
            A_DURATION,
        ),
        rejected(
            "newerThan and fromDate are two lower bounds",
            filters(json!({ "newerThan": "7d", "fromDate": "2026-11-01T00:00:00Z" })),
            at,
            "newerThan and fromDate must not be set together; keep one of them",
        ),
        rejected(
            "olderThan and toDate are two upper bounds",
            filters(json!({ "olderThan": "7d", "toDate": "2026-11-01T00:00:00Z" })),
            "spec.filters.olderThan",
            "olderThan and toDate must not be set together; keep one of them",
        ),
        accepted(
            "newerThan and toDate bound different ends",
            filters(json!({ "newerThan": "7d", "toDate": "2026-11-01T00:00:00Z" })),
        ),
        accepted(
            "fromDate and olderThan bound different ends",
            filters(json!({ "fromDate": "2026-11-01T00:00:00Z", "olderThan": "7d" })),
        ),
    ]
}
