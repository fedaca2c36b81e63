//! What all policies of a connection may do together, of either kind.

use serde_json::{Value, json};

use super::{Row, accepted, rejected, text};

pub(super) fn rows(spec: fn(Value) -> Value) -> Vec<Row> {
    [zones(spec), counts(spec), wholes(spec)].into_iter().flatten().collect()
}

fn zones(spec: fn(Value) -> Value) -> Vec<Row> {
    let zone = |zone: &str| spec(json!({ "timeZone": zone }));
    let (at, message) = ("spec.timeZone", "the value must be an IANA name such as Europe/Berlin");
    vec![
        accepted("a connection's days may be those of a zone, with no limit yet", zone("Europe/Berlin")),
        accepted("a connection's zone is judged by the operator alone", zone("Middle-earth/Shire")),
        accepted("a connection's zone may have 64 characters", zone(&text(64))),
        rejected(
            "a connection's zone has at most 64 characters",
            zone(&text(65)),
            at,
            "may not be more than 64",
        ),
        rejected("a connection's zone is not empty", zone(""), at, "at least 1 chars long"),
        rejected("a connection's zone is not an offset", zone("+02:00"), at, message),
        rejected("a connection's zone is no path", zone("../etc/passwd"), at, message),
    ]
}

fn counts(spec: fn(Value) -> Value) -> Vec<Row> {
    let limits = |limits: Value| spec(json!({ "limits": limits }));
    let [speed, runs, day] =
        ["spec.limits.entriesPerSecond", "spec.limits.maxConcurrentRuns", "spec.limits.maxEntriesPerDay"];
    let least = "greater than or equal to 1";
    vec![
        accepted(
            "the least of every limit of a connection",
            limits(json!({
                "entriesPerSecond": 1, "maxConcurrentRuns": 1, "maxEntriesPerDay": 1, "approvalAbove": 0,
            })),
        ),
        accepted(
            "the most of every limit of a connection",
            limits(json!({
                "entriesPerSecond": 2_147_483_647,
                "maxConcurrentRuns": 65_535,
                "maxEntriesPerDay": 9_007_199_254_740_991_u64,
                "approvalAbove": 2_147_483_647,
            })),
        ),
        rejected(
            "no entries per second would end no run",
            limits(json!({ "entriesPerSecond": 0 })),
            speed,
            least,
        ),
        rejected(
            "a connection's entries per second fit into 32 bits",
            limits(json!({ "entriesPerSecond": 2_147_483_648_u64 })),
            speed,
            "less than or equal to 2147483647",
        ),
        rejected("no run at once would start none", limits(json!({ "maxConcurrentRuns": 0 })), runs, least),
        rejected(
            "at most 65,535 runs are at work at once",
            limits(json!({ "maxConcurrentRuns": 65_536 })),
            runs,
            "less than or equal to 65535",
        ),
        rejected(
            "a day without entries is what suspend is for",
            limits(json!({ "maxEntriesPerDay": 0 })),
            day,
            least,
        ),
        rejected(
            "a day's entries are a number that JSON readers agree on",
            limits(json!({ "maxEntriesPerDay": 9_007_199_254_740_992_u64 })),
            day,
            "less than or equal to 9007199254740991",
        ),
        rejected(
            "no run acts on fewer entries than none",
            limits(json!({ "approvalAbove": -1 })),
            "spec.limits.approvalAbove",
            "greater than or equal to 0",
        ),
        rejected(
            "a connection's threshold fits into 32 bits",
            limits(json!({ "approvalAbove": 2_147_483_648_u64 })),
            "spec.limits.approvalAbove",
            "less than or equal to 2147483647",
        ),
        rejected(
            "a day's entries are whole",
            limits(json!({ "maxEntriesPerDay": 0.5 })),
            day,
            "must be of type int",
        ),
    ]
}

fn wholes(spec: fn(Value) -> Value) -> Vec<Row> {
    let limits = |limits: Value| spec(json!({ "limits": limits }));
    vec![
        accepted("a connection's limits may all be left out", limits(json!({}))),
        accepted(
            "null for a connection's limit is none",
            limits(json!({ "entriesPerSecond": null, "maxConcurrentRuns": null, "maxEntriesPerDay": null })),
        ),
        accepted(
            "null for a connection's limits and zone reads as absent",
            spec(json!({ "limits": null, "timeZone": null })),
        ),
        rejected(
            "strict validation refuses a policy's limit, which would limit nothing here",
            limits(json!({ "maxEntriesPerRun": 100 })),
            r#"unknown field "spec.limits.maxEntriesPerRun""#,
            "strict decoding error",
        ),
    ]
}
