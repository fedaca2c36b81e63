//! The shape of a policy: what it must have, and what it may not.

use serde_json::{Value, json};

use super::{Row, Verdict, accepted, filters, rejected, spec};

fn full(filters: &Value) -> Value {
    json!({
        "action": "restart",
        "filters": filters,
        "overrides": {
            "retries": 3,
            "delay": "10s",
            "retryDelay": "(1 + retried) * 1000",
            "flowControl": { "key": "payments", "parallelism": 5, "rate": 10, "period": "1m" },
            "labels": ["retried", "by-hand"],
            "failureCallback": "https://app.example.com/failed",
        },
        "schedule": "*/15 * * * *",
        "timeZone": "Europe/Berlin",
        "jitter": "30s",
        "startingDeadlineSeconds": 300,
        "concurrencyPolicy": "Forbid",
        "suspend": false,
        "dryRun": false,
        "limits": {
            "pageSize": 50,
            "maxEntriesPerRun": 5000,
            "entriesPerSecond": 20,
            "activeDeadlineSeconds": 3600,
            "parallelism": 8,
            "approvalAbove": 500,
        },
        "failurePolicy": { "openCircuitAfter": 3 },
        "historyLimit": 10,
        "connection": {
            "url": "https://qstash.upstash.io",
            "tokenSecretRef": { "name": "upstash", "key": "token" },
        },
    })
}

pub(super) fn rows() -> Vec<Row> {
    [wholes(), parts(), kinds()].into_iter().flatten().collect()
}

fn wholes() -> Vec<Row> {
    vec![
        accepted("an action and a filter are enough", spec(json!({}))),
        accepted("every action is known: restart", spec(json!({ "action": "restart" }))),
        accepted("every action is known: delete", spec(json!({ "action": "delete" }))),
        accepted(
            "every criterion may stand beside the others, with relative bounds",
            full(&json!({
                "labels": ["payments", "checkout"],
                "workflowUrls": ["https://app.example.com/api/pay"],
                "workflowRunId": "wfr_8f",
                "workflowCreatedAt": "2026-11-01T12:00:00.123Z",
                "failureFunctionStates": ["CALLBACK_FAIL"],
                "callerIps": ["203.0.113.7"],
                "flowControlKeys": ["payments"],
                "newerThan": "7d",
                "olderThan": "15m",
            })),
        ),
        accepted(
            "every criterion may stand beside the others, with absolute bounds",
            full(&json!({
                "labels": ["payments"],
                "workflowUrls": ["https://app.example.com/api/pay"],
                "workflowRunId": "wfr_8f",
                "workflowCreatedAt": "2026-11-01T12:00:00.123Z",
                "failureFunctionStates": ["CALLBACK_FAIL"],
                "callerIps": ["203.0.113.7"],
                "flowControlKeys": ["payments"],
                "fromDate": "2026-11-01T00:00:00Z",
                "toDate": "2026-11-08T00:00:00Z",
            })),
        ),
        accepted("a list of IDs with everything else", full(&json!({ "dlqIds": ["dlq-1", "dlq-2"] }))),
    ]
}

fn parts() -> Vec<Row> {
    vec![
        Row::new(
            "a policy without a spec declares nothing",
            json!({}),
            Verdict::Rejected { field: "spec", message: "Required value" },
        ),
        rejected(
            "an action is never guessed",
            json!({ "filters": { "all": true } }),
            "spec.action",
            "Required value",
        ),
        rejected(
            "filters are never guessed",
            json!({ "action": "delete" }),
            "spec.filters",
            "Required value",
        ),
        rejected(
            "an unknown action is answered with the known ones",
            spec(json!({ "action": "retry" })),
            "spec.action",
            r#"supported values: "resume", "restart", "delete""#,
        ),
        rejected(
            "actions are written in lower case",
            spec(json!({ "action": "Resume" })),
            "spec.action",
            r#"supported values: "resume", "restart", "delete""#,
        ),
        rejected("an action is not null", spec(json!({ "action": null })), "spec.action", "Required value"),
        rejected("filters are not null", spec(json!({ "filters": null })), "spec.filters", "Required value"),
        rejected(
            "filters are an object",
            spec(json!({ "filters": ["payments"] })),
            "spec.filters",
            r#"must be of type object: "array""#,
        ),
        rejected(
            "strict validation refuses a misspelt filter",
            filters(json!({ "labels": ["payments"], "olderThen": "3d" })),
            r#"unknown field "spec.filters.olderThen""#,
            "strict decoding error",
        ),
        rejected(
            "strict validation refuses a misspelt field of the spec",
            spec(json!({ "dryrun": true })),
            r#"unknown field "spec.dryrun""#,
            "strict decoding error",
        ),
        rejected(
            "strict validation refuses a field in the wrong place",
            spec(json!({ "pageSize": 10 })),
            r#"unknown field "spec.pageSize""#,
            "strict decoding error",
        ),
    ]
}

fn kinds() -> Vec<Row> {
    vec![
        accepted(
            "null for an optional field reads as absent",
            spec(json!({
                "overrides": null,
                "schedule": null,
                "timeZone": null,
                "jitter": null,
                "startingDeadlineSeconds": null,
                "limits": null,
                "failurePolicy": null,
                "connection": null,
            })),
        ),
        accepted(
            "null for a field with a default reads as the default",
            spec(
                json!({ "suspend": null, "dryRun": null, "historyLimit": null, "limits": { "pageSize": null } }),
            ),
        ),
        rejected(
            "an enum refuses null",
            spec(json!({ "schedule": "@hourly", "concurrencyPolicy": null })),
            "spec.concurrencyPolicy",
            "supported values: \"Forbid\", \"Replace\"",
        ),
        accepted("a policy may be born suspended", spec(json!({ "suspend": true }))),
        rejected(
            "suspend is a boolean, not a word",
            spec(json!({ "suspend": "true" })),
            "spec.suspend",
            r#"must be of type boolean: "string""#,
        ),
        accepted("a dry run takes every action", spec(json!({ "action": "delete", "dryRun": true }))),
        rejected(
            "dryRun is a boolean, not a number",
            spec(json!({ "dryRun": 1 })),
            "spec.dryRun",
            r#"must be of type boolean: "integer""#,
        ),
    ]
}
