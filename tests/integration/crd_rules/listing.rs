//! What is decided by what entries show, how often they are acted on, and what is counted between runs.

use serde_json::{Value, json};

use super::{Row, accepted, filters, rejected, spec, text};

const A_STATUS: &str = "the value must be a status from 100 to 599 such as 503, or a class such as 5xx";
const NOT_489: &str = "skipNonRetryable must be false beside 489 in responseStatuses, as it skips that status; set skipNonRetryable: false, or remove 489";

pub(super) fn rows() -> Vec<Row> {
    [presence(), statuses(), non_retryable(), attempts(), expressions(), protection(), partners()]
        .into_iter()
        .flatten()
        .collect()
}

fn matching(matching: Value) -> Value {
    spec(json!({ "match": matching }))
}

/// A valid spec with this action and these further fields.
fn with(action: &str, fields: Value) -> Value {
    let mut spec = spec(fields);
    spec["action"] = action.into();
    spec
}

fn presence() -> Vec<Row> {
    let something = "match must have at least one field; add one, or remove match";
    vec![
        accepted(
            "every part of a match may stand beside the others",
            spec(json!({
                "match": {
                    "responseStatuses": ["5xx", "429"],
                    "excludeResponseStatuses": ["501"],
                    "skipNonRetryable": true,
                    "attempts": { "min": 0, "max": 2 },
                    "expression": "entry.workflowUrl.startsWith('https://app.example.com/')",
                },
                "loopProtection": { "maxAttempts": 3 },
            })),
        ),
        rejected(
            "an empty match matches nothing in particular",
            matching(json!({})),
            "spec.match",
            something,
        ),
        rejected(
            "a match of nulls matches nothing in particular",
            matching(json!({ "responseStatuses": null, "attempts": null, "expression": null })),
            "spec.match",
            something,
        ),
        accepted("null for a match is none", matching(Value::Null)),
        accepted(
            "a match may narrow the whole DLQ",
            spec(json!({ "filters": { "all": true }, "match": { "responseStatuses": ["503"] } })),
        ),
    ]
}

fn statuses() -> Vec<Row> {
    let with = |field: &str, statuses: Value| matching(json!({ field: statuses }));
    let of = |codes: std::ops::Range<usize>| codes.map(|code| code.to_string()).collect::<Vec<_>>();
    let mut rows = vec![
        accepted("the lowest status", with("responseStatuses", json!(["100"]))),
        accepted("the highest status", with("responseStatuses", json!(["599"]))),
        accepted(
            "every class of statuses",
            with("responseStatuses", json!(["1xx", "2xx", "3xx", "4xx", "5xx"])),
        ),
    ];
    for (name, status) in [
        ("a status is at least 100", "099"),
        ("a status is at most 599", "600"),
        ("a class of statuses begins with 1 to 5", "6xx"),
        ("a class of statuses ends with two x", "50x"),
        ("a class of statuses is in lower case", "5XX"),
        ("a status has three digits", "50"),
        ("a status is not empty", ""),
        ("a status is in ASCII digits", "٥٠٣"),
        ("a status does not end with a line break", "50\n"),
    ] {
        rows.push(rejected(
            name,
            with("responseStatuses", json!([status])),
            "spec.match.responseStatuses[0]",
            A_STATUS,
        ));
    }
    rows.push(rejected(
        "a status is a string",
        with("responseStatuses", json!([503])),
        "spec.match.responseStatuses[0]",
        r#"must be of type string: "integer""#,
    ));
    // What holds of lists in general, of both.
    let names = [
        (
            "responseStatuses",
            "spec.match.responseStatuses",
            "spec.match.responseStatuses[0]",
            "spec.match.responseStatuses[1]",
            [
                "there may be 50 statuses",
                "there are at most 50 statuses",
                "a list of no statuses says nothing",
                "a status is said once",
                "a status has at most three characters",
            ],
        ),
        (
            "excludeResponseStatuses",
            "spec.match.excludeResponseStatuses",
            "spec.match.excludeResponseStatuses[0]",
            "spec.match.excludeResponseStatuses[1]",
            [
                "there may be 50 excluded statuses",
                "there are at most 50 excluded statuses",
                "a list of no excluded statuses says nothing",
                "an excluded status is said once",
                "an excluded status has at most three characters",
            ],
        ),
    ];
    for (field, list, first, second, [may, most, none, once, long]) in names {
        rows.extend([
            accepted(may, with(field, json!(of(500..550)))),
            rejected(most, with(field, json!(of(500..551))), list, "must have at most 50 items"),
            rejected(none, with(field, json!([])), list, "at least 1 items"),
            rejected(once, with(field, json!(["503", "503"])), second, "Duplicate value"),
            rejected(long, with(field, json!(["5xxx"])), first, "may not be more than 3"),
        ]);
    }
    rows.push(rejected(
        "an excluded status is a status",
        with("excludeResponseStatuses", json!(["5x"])),
        "spec.match.excludeResponseStatuses[0]",
        A_STATUS,
    ));
    rows
}

fn non_retryable() -> Vec<Row> {
    let at = "spec.match.skipNonRetryable";
    let of = |action: &str, matching: Value| with(action, json!({ "match": matching }));
    vec![
        accepted("what is in vain may be left alone", of("restart", json!({ "skipNonRetryable": true }))),
        accepted("what is in vain may be acted on", of("restart", json!({ "skipNonRetryable": false }))),
        accepted(
            "a delete may say that it deletes what is in vain",
            of("delete", json!({ "skipNonRetryable": false })),
        ),
        rejected(
            "a delete is for what is in vain",
            of("delete", json!({ "skipNonRetryable": true })),
            at,
            "skipNonRetryable must not be true with a delete, as such entries are what a delete is for; remove skipNonRetryable",
        ),
        accepted("a delete may select 489", of("delete", json!({ "responseStatuses": ["489"] }))),
        rejected(
            "a resume of 489 says that it means it",
            of("resume", json!({ "responseStatuses": ["503", "489"] })),
            at,
            NOT_489,
        ),
        rejected(
            "a restart of 489 does not skip it",
            of("restart", json!({ "responseStatuses": ["489"], "skipNonRetryable": true })),
            at,
            NOT_489,
        ),
        accepted(
            "a resume of 489 that means it",
            of("resume", json!({ "responseStatuses": ["489"], "skipNonRetryable": false })),
        ),
        accepted(
            "a class that 489 is of may be selected",
            of("resume", json!({ "responseStatuses": ["4xx"] })),
        ),
        accepted("489 may be excluded", of("resume", json!({ "excludeResponseStatuses": ["489"] }))),
        rejected(
            "what is in vain is a matter of yes or no",
            of("resume", json!({ "skipNonRetryable": "no" })),
            at,
            r#"must be of type boolean: "string""#,
        ),
    ]
}

fn attempts() -> Vec<Row> {
    let range = |attempts: Value| {
        spec(json!({ "match": { "attempts": attempts }, "loopProtection": { "maxAttempts": 3 } }))
    };
    let (min, max) = ("spec.match.attempts.min", "spec.match.attempts.max");
    vec![
        accepted("attempts of one number", range(json!({ "min": 2, "max": 2 }))),
        accepted("at least no attempts", range(json!({ "min": 0 }))),
        accepted("at least 100 attempts", range(json!({ "min": 100 }))),
        accepted("at most no attempts", range(json!({ "max": 0 }))),
        accepted("at most 100 attempts", range(json!({ "max": 100 }))),
        rejected("attempts are not negative", range(json!({ "min": -1 })), min, "greater than or equal to 0"),
        rejected(
            "at least 100 attempts and no more",
            range(json!({ "min": 101 })),
            min,
            "less than or equal to 100",
        ),
        rejected(
            "at most attempts that are not negative",
            range(json!({ "max": -1 })),
            max,
            "greater than or equal to 0",
        ),
        rejected(
            "at most 100 attempts and no more",
            range(json!({ "max": 101 })),
            max,
            "less than or equal to 100",
        ),
        rejected("attempts are whole", range(json!({ "max": 1.5 })), max, "must be of type int"),
        rejected(
            "a range of attempts has an end",
            range(json!({})),
            "spec.match.attempts",
            "attempts must have min or max; add one, or remove attempts",
        ),
        rejected(
            "a range of attempts is not empty",
            range(json!({ "min": 3, "max": 2 })),
            min,
            "min must not be above max",
        ),
        rejected(
            "attempts need what counts them",
            matching(json!({ "attempts": { "max": 2 } })),
            "spec.match.attempts",
            "match.attempts must come with loopProtection, which counts them; add loopProtection, or remove match.attempts",
        ),
        rejected(
            "attempts need what counts them, also with a restart",
            with("restart", json!({ "match": { "attempts": { "min": 1 } } })),
            "spec.match.attempts",
            "match.attempts must come with loopProtection",
        ),
        accepted(
            "a delete reads attempts that others counted",
            with("delete", json!({ "match": { "attempts": { "min": 4 } } })),
        ),
    ]
}

fn expressions() -> Vec<Row> {
    let expression = |expression: &str| matching(json!({ "expression": expression }));
    let at = "spec.match.expression";
    vec![
        accepted(
            "an expression in any script, over lines",
            expression("entry.responseBody\n  .contains('支払い')"),
        ),
        accepted("an expression that only the operator can judge", expression("is it late?")),
        accepted("an expression of one character", expression("x")),
        rejected("an expression is not empty", expression(""), at, "at least 1 chars long"),
        accepted("an expression of 1,024 characters", expression(&text(1024))),
        rejected(
            "an expression has at most 1,024 characters",
            expression(&text(1025)),
            at,
            "may not be more than 1024",
        ),
        accepted("an expression is measured in characters, not in bytes", expression(&"ж".repeat(1024))),
        rejected(
            "an expression is a string",
            matching(json!({ "expression": true })),
            at,
            r#"must be of type string: "boolean""#,
        ),
    ]
}

fn protection() -> Vec<Row> {
    let most = |most: Value| spec(json!({ "loopProtection": { "maxAttempts": most } }));
    let at = "spec.loopProtection.maxAttempts";
    vec![
        accepted("loops that end after one attempt", most(json!(1))),
        accepted("loops that end after 100 attempts", most(json!(100))),
        rejected("no attempts at all are suspend's task", most(json!(0)), at, "greater than or equal to 1"),
        rejected("loops end after 100 attempts at most", most(json!(101)), at, "less than or equal to 100"),
        rejected("loops end after a whole number of attempts", most(json!(2.5)), at, "must be of type int"),
        rejected("loops end after some number", spec(json!({ "loopProtection": {} })), at, "Required value"),
        accepted("null for loop protection is none", spec(json!({ "loopProtection": null }))),
        accepted(
            "a restart on a schedule that ends loops",
            with("restart", json!({ "schedule": "@hourly", "loopProtection": { "maxAttempts": 3 } })),
        ),
        rejected(
            "nothing comes back from a delete",
            with("delete", json!({ "loopProtection": { "maxAttempts": 3 } })),
            "spec.loopProtection",
            "loopProtection must not be set with a delete, as nothing comes back; remove loopProtection, or use resume or restart",
        ),
    ]
}

fn partners() -> Vec<Row> {
    let by_ids = |fields: Value| {
        let mut spec = filters(json!({ "dlqIds": ["dlq-1"] }));
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        spec
    };
    vec![
        rejected(
            "entries that are named are not looked at",
            by_ids(json!({ "match": { "responseStatuses": ["503"] } })),
            "spec.match",
            "match must not be set with filters.dlqIds, as those entries are acted on unseen; remove match, or select by criteria",
        ),
        rejected(
            "entries that are named are not counted",
            by_ids(json!({ "loopProtection": { "maxAttempts": 3 } })),
            "spec.loopProtection",
            "loopProtection must not be set with filters.dlqIds, as those entries are acted on unseen; remove loopProtection, or select by criteria",
        ),
    ]
}
