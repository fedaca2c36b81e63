//! `fromDate`, `toDate` and `workflowCreatedAt`: their form, and how they compare.

use serde_json::{Value, json};

use super::{Row, accepted, filters, rejected};

const YEARS: &str = "the date must be between the years 1970 and 9998";

pub(super) fn rows() -> Vec<Row> {
    [form(), order()].into_iter().flatten().collect()
}

fn from(date: &str) -> Value {
    filters(json!({ "fromDate": date }))
}

fn form() -> Vec<Row> {
    let at = "spec.filters.fromDate";
    vec![
        accepted("a date in UTC", from("2026-11-01T00:00:00Z")),
        accepted("a date with milliseconds", from("2026-11-01T00:00:00.123Z")),
        accepted("a date in a zone", from("2026-11-01T00:00:00+05:30")),
        accepted(
            "a date with nine fraction digits in the westernmost zone",
            from("2026-11-01T00:00:00.123456789-12:00"),
        ),
        accepted("a leap day", from("2028-02-29T00:00:00Z")),
        accepted("the first second of 1970", from("1970-01-01T00:00:00Z")),
        accepted("the last second of 9998", from("9998-12-31T23:59:59Z")),
        rejected("1969 is before all that Upstash knows", from("1969-12-31T23:59:59Z"), at, YEARS),
        rejected("9999 is beyond what can be computed", from("9999-12-31T23:59:59Z"), at, YEARS),
        rejected("a zone does not hide the year 1969", from("1970-01-01T00:00:00+01:00"), at, YEARS),
        rejected("a zone does not hide the year 9999", from("9998-12-31T23:59:59-01:00"), at, YEARS),
        rejected("30 February does not exist", from("2026-02-30T00:00:00Z"), at, "must be of type date-time"),
        rejected(
            "29 February 2026 does not exist",
            from("2026-02-29T00:00:00Z"),
            at,
            "must be of type date-time",
        ),
        rejected("hour 25 does not exist", from("2026-11-01T25:00:00Z"), at, "must be of type date-time"),
        rejected("a date has its T in upper case", from("2026-11-01t00:00:00Z"), at, "should match"),
        rejected("a date has its Z in upper case", from("2026-11-01T00:00:00z"), at, "should match"),
        rejected(
            "a date has at most nine fraction digits",
            from("2026-11-01T00:00:00.1234567890Z"),
            at,
            "should match",
        ),
        rejected("a date has a zone", from("2026-11-01T00:00:00"), at, "should match"),
        rejected("a date has a time", from("2026-11-01"), at, "should match"),
        rejected("a date is not a number of milliseconds", from("1793534400000"), at, "should match"),
        rejected("a date does not end with a line break", from("2026-11-01T00:00:00Z\n"), at, "should match"),
        rejected("a date is not empty", from(""), at, "should match"),
        rejected(
            "a date is a string",
            filters(json!({ "fromDate": 1_793_534_400_000_u64 })),
            at,
            "must be of type date-time",
        ),
        rejected(
            "a date has at most 35 characters",
            from("2026-11-01T00:00:00.1234567890-12:00"),
            at,
            "may not be more than 35",
        ),
        accepted(
            "toDate may be as long as a date can be",
            filters(json!({ "toDate": "2026-11-01T00:00:00.123456789+14:00" })),
        ),
        rejected(
            "toDate has at most 35 characters",
            filters(json!({ "toDate": "2026-11-01T00:00:00.1234567890-12:00" })),
            "spec.filters.toDate",
            "may not be more than 35",
        ),
        accepted(
            "a workflow run's creation may be as long as a date can be",
            filters(json!({ "workflowCreatedAt": "2026-11-01T00:00:00.123456789+14:00" })),
        ),
        rejected(
            "a workflow run's creation has at most 35 characters",
            filters(json!({ "workflowCreatedAt": "2026-11-01T00:00:00.1234567890-12:00" })),
            "spec.filters.workflowCreatedAt",
            "may not be more than 35",
        ),
        rejected("no zone is 15 hours ahead", from("2026-11-01T00:00:00+15:00"), at, "should match"),
        accepted(
            "a workflow run's creation is a date with milliseconds",
            filters(json!({ "workflowCreatedAt": "2026-11-01T12:00:00.123Z" })),
        ),
        rejected(
            "a workflow run was created in a year that Upstash knows",
            filters(json!({ "workflowCreatedAt": "1969-11-01T12:00:00Z" })),
            "spec.filters.workflowCreatedAt",
            YEARS,
        ),
        rejected(
            "a workflow run's creation is not a number",
            filters(json!({ "workflowCreatedAt": "1793534400123" })),
            "spec.filters.workflowCreatedAt",
            "should match",
        ),
        rejected(
            "toDate lies in a year that can be computed",
            filters(json!({ "toDate": "9999-01-01T00:00:00Z" })),
            "spec.filters.toDate",
            YEARS,
        ),
        rejected(
            "toDate has a time",
            filters(json!({ "toDate": "2026-11-01" })),
            "spec.filters.toDate",
            "should match",
        ),
    ]
}

fn order() -> Vec<Row> {
    let dates = |from: &str, to: &str| filters(json!({ "fromDate": from, "toDate": to }));
    let at = "spec.filters.fromDate";
    let message = "fromDate must not be after toDate";
    vec![
        accepted("a window of a week", dates("2026-11-01T00:00:00Z", "2026-11-08T00:00:00Z")),
        accepted("a window of one millisecond", dates("2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z")),
        accepted("one instant in two zones", dates("2026-11-01T02:00:00+02:00", "2026-11-01T00:00:00Z")),
        accepted(
            "dates are compared as instants, not as texts",
            dates("2026-11-01T01:00:00+02:00", "2026-11-01T00:00:00Z"),
        ),
        rejected(
            "a window does not end before it begins",
            dates("2026-11-08T00:00:00Z", "2026-11-01T00:00:00Z"),
            at,
            message,
        ),
        rejected(
            "a window does not end a millisecond before it begins",
            dates("2026-11-01T00:00:00.001Z", "2026-11-01T00:00:00Z"),
            at,
            message,
        ),
        rejected(
            "a zone does not hide that a window ends before it begins",
            dates("2026-11-01T00:00:00Z", "2026-11-01T01:00:00+02:00"),
            at,
            message,
        ),
    ]
}
