//! How carefully.

use serde_json::{Value, json};

use super::{Row, accepted, rejected, spec};

pub(super) fn rows() -> Vec<Row> {
    [history(), page_sizes(), parallelism(), approval(), other_limits(), failures()]
        .into_iter()
        .flatten()
        .collect()
}

fn limits(limits: Value) -> Value {
    spec(json!({ "limits": limits }))
}

fn history() -> Vec<Row> {
    let history = |limit: Value| spec(json!({ "historyLimit": limit }));
    let at = "spec.historyLimit";
    vec![
        accepted("a history of nothing", history(json!(0))),
        accepted("a history of 50 runs", history(json!(50))),
        rejected("a history has at most 50 runs", history(json!(51)), at, "less than or equal to 50"),
        rejected("a history is not negative", history(json!(-1)), at, "greater than or equal to 0"),
        rejected(
            "a history beyond 64 bits is no integer",
            history(json!(18_446_744_073_709_551_615_u64)),
            at,
            "must be of type int",
        ),
    ]
}

fn page_sizes() -> Vec<Row> {
    let size = |size: Value| limits(json!({ "pageSize": size }));
    let at = "spec.limits.pageSize";
    vec![
        accepted("limits may all be left out", limits(json!({}))),
        accepted("a page of one entry", size(json!(1))),
        accepted("a page of 100 entries", size(json!(100))),
        rejected("a page has an entry", size(json!(0)), at, "greater than or equal to 1"),
        rejected("a page has at most 100 entries", size(json!(101)), at, "less than or equal to 100"),
        rejected(
            "a page size beyond 32 bits is answered with the bound",
            size(json!(4_294_967_346_u64)),
            at,
            "less than or equal to 100",
        ),
        rejected("a page size is whole", size(json!(0.5)), at, "must be of type int"),
        accepted(
            "a run may take less than a page",
            limits(json!({ "pageSize": 50, "maxEntriesPerRun": 10 })),
        ),
    ]
}

fn parallelism() -> Vec<Row> {
    let calls = |calls: Value| limits(json!({ "parallelism": calls }));
    let at = "spec.limits.parallelism";
    vec![
        accepted("one call at a time", calls(json!(1))),
        accepted("sixteen calls at once", calls(json!(16))),
        accepted("null for parallelism is one", calls(json!(null))),
        rejected("a run makes calls", calls(json!(0)), at, "greater than or equal to 1"),
        rejected(
            "a run makes at most sixteen calls at once",
            calls(json!(17)),
            at,
            "less than or equal to 16",
        ),
    ]
}

fn approval() -> Vec<Row> {
    let above = |above: Value| limits(json!({ "approvalAbove": above }));
    let at = "spec.limits.approvalAbove";
    vec![
        accepted("whatever matches needs an approval", above(json!(0))),
        accepted("the highest threshold", above(json!(2_147_483_647))),
        accepted("null for a threshold is none", above(json!(null))),
        rejected("a threshold is not negative", above(json!(-1)), at, "greater than or equal to 0"),
        rejected(
            "a threshold fits into 32 bits",
            above(json!(2_147_483_648_u64)),
            at,
            "less than or equal to 2147483647",
        ),
    ]
}

fn other_limits() -> Vec<Row> {
    let entries = "spec.limits.maxEntriesPerRun";
    let speed = "spec.limits.entriesPerSecond";
    let deadline = "spec.limits.activeDeadlineSeconds";
    let least = "greater than or equal to 1";
    let most = "less than or equal to 2147483647";
    vec![
        accepted(
            "the least of every limit",
            limits(json!({ "maxEntriesPerRun": 1, "entriesPerSecond": 1, "activeDeadlineSeconds": 1 })),
        ),
        accepted(
            "the most of every limit",
            limits(
                json!({ "maxEntriesPerRun": 2_147_483_647, "entriesPerSecond": 2_147_483_647, "activeDeadlineSeconds": 2_147_483_647 }),
            ),
        ),
        accepted(
            "null for a limit is none",
            limits(
                json!({ "maxEntriesPerRun": null, "entriesPerSecond": null, "activeDeadlineSeconds": null }),
            ),
        ),
        rejected(
            "a run of no entries is suspend's task",
            limits(json!({ "maxEntriesPerRun": 0 })),
            entries,
            least,
        ),
        rejected(
            "the entries of a run fit into 32 bits",
            limits(json!({ "maxEntriesPerRun": 2_147_483_648_u64 })),
            entries,
            most,
        ),
        rejected(
            "no entries per second would never end",
            limits(json!({ "entriesPerSecond": 0 })),
            speed,
            least,
        ),
        rejected(
            "entries per second fit into 32 bits",
            limits(json!({ "entriesPerSecond": 2_147_483_648_u64 })),
            speed,
            most,
        ),
        rejected(
            "entries per second are whole",
            limits(json!({ "entriesPerSecond": 0.5 })),
            speed,
            "must be of type int",
        ),
        rejected(
            "a deadline leaves a second",
            limits(json!({ "activeDeadlineSeconds": 0 })),
            deadline,
            least,
        ),
        rejected(
            "a deadline fits into 32 bits",
            limits(json!({ "activeDeadlineSeconds": 2_147_483_648_u64 })),
            deadline,
            most,
        ),
    ]
}

fn failures() -> Vec<Row> {
    let after = |count: Value| spec(json!({ "failurePolicy": { "openCircuitAfter": count } }));
    let at = "spec.failurePolicy.openCircuitAfter";
    vec![
        accepted("a failure policy may be empty", spec(json!({ "failurePolicy": {} }))),
        accepted("the circuit may open after one failure", after(json!(1))),
        accepted("the circuit may open after very many failures", after(json!(2_147_483_647))),
        accepted("null for the circuit is never", after(json!(null))),
        rejected(
            "the circuit does not open after no failure",
            after(json!(0)),
            at,
            "greater than or equal to 1",
        ),
        rejected(
            "the failures that open the circuit fit into 32 bits",
            after(json!(2_147_483_648_u64)),
            at,
            "less than or equal to 2147483647",
        ),
    ]
}
