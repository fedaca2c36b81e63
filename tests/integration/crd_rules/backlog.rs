//! What is counted between runs.

use serde_json::{Value, json};

use super::{Row, accepted, filters, rejected, spec, text};

const A_DURATION: &str = "a duration longer than 0, such as 7d, 1h30m or 90s";
const A_MINUTE: &str = "the interval must be at least a minute, as every look is a call to Upstash or more";

pub(super) fn rows() -> Vec<Row> {
    [intervals(), counts(), retentions(), partners()].into_iter().flatten().collect()
}

fn backlog(backlog: Value) -> Value {
    spec(json!({ "backlog": backlog }))
}

fn intervals() -> Vec<Row> {
    let every = |interval: &str| backlog(json!({ "interval": interval }));
    let at = "spec.backlog.interval";
    vec![
        accepted("a look every quarter of an hour", every("15m")),
        accepted("a look every minute", every("1m")),
        accepted("a look every minute, said in seconds", every("60s")),
        accepted("a look every minute, said in milliseconds", every("59s1000ms")),
        accepted("a look every day", every("1d")),
        accepted("a look every time that can be said", every("9999d999999h999999m999999s999999ms")),
        rejected("a look is not more often than every minute", every("59s"), at, A_MINUTE),
        rejected("a look is not a millisecond more often than every minute", every("59s999ms"), at, A_MINUTE),
        rejected("a look every millisecond", every("0d0h0m0s1ms"), at, A_MINUTE),
        rejected("looks have a time between them", every("0m"), at, A_DURATION),
        rejected("the time between looks is a duration", every("hourly"), at, A_DURATION),
        rejected("the time between looks is not empty", every(""), at, A_DURATION),
        rejected(
            "the time between looks has at most 36 characters",
            every(&text(37)),
            at,
            "may not be more than 36",
        ),
        rejected(
            "looks have to be said how often",
            backlog(json!({ "countUpTo": 100 })),
            at,
            "Required value",
        ),
        accepted("null for the backlog is none", backlog(Value::Null)),
    ]
}

fn counts() -> Vec<Row> {
    let up_to = |count: Value| backlog(json!({ "interval": "15m", "countUpTo": count }));
    let at = "spec.backlog.countUpTo";
    vec![
        accepted("a look may count a page", up_to(json!(100))),
        accepted("a look may count 10,000 entries", up_to(json!(10_000))),
        accepted("null for what a look counts is the default", up_to(Value::Null)),
        rejected("a look counts a page", up_to(json!(99)), at, "greater than or equal to 100"),
        rejected(
            "a look counts at most 10,000 entries",
            up_to(json!(10_001)),
            at,
            "less than or equal to 10000",
        ),
        rejected("a look counts whole entries", up_to(json!(100.5)), at, "must be of type int"),
    ]
}

fn retentions() -> Vec<Row> {
    let retention = |retention: &str| backlog(json!({ "interval": "15m", "retention": retention }));
    let at = "spec.backlog.retention";
    vec![
        accepted("entries that are kept for three months", retention("90d")),
        rejected("entries are kept for some time", retention("0d"), at, A_DURATION),
        rejected("entries are kept for a duration", retention("3 months"), at, A_DURATION),
        rejected(
            "how long entries are kept has at most 36 characters",
            retention(&text(37)),
            at,
            "may not be more than 36",
        ),
    ]
}

fn partners() -> Vec<Row> {
    let mut by_ids = filters(json!({ "dlqIds": ["dlq-1"] }));
    by_ids["backlog"] = json!({ "interval": "15m" });
    let delete = json!({
        "action": "delete", "schedule": "@daily", "suspend": true,
        "backlog": { "interval": "1h", "countUpTo": 5000, "retention": "7d" },
    });
    vec![
        rejected(
            "entries that are named are no backlog",
            by_ids,
            "spec.backlog",
            "backlog must not be set with filters.dlqIds, as it counts by criteria; remove backlog, or select by criteria",
        ),
        accepted("a backlog goes with whatever a policy does", spec(delete)),
    ]
}
