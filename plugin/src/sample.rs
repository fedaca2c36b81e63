//! Policies for tests, in the states that people meet.

#![expect(clippy::needless_pass_by_value, reason = "what `json!` makes is given away")]

use jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::cluster::Stored;

/// When all of this is looked at.
pub(crate) fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

/// A policy with this spec and status.
pub(crate) fn policy(name: &str, spec: Value, status: Value) -> Stored {
    object(json!({
        "apiVersion": "dlq-operator.dev/v1alpha1",
        "kind": "DlqPolicy",
        "metadata": {
            "name": name, "namespace": "payments", "generation": 2, "uid": name, "creationTimestamp": "2026-11-01T12:00:00Z",
        },
        "spec": spec,
        "status": status,
    }))
}

/// A policy as it is stored.
pub(crate) fn object(object: Value) -> Stored {
    serde_json::from_value::<DynamicObject>(object).map(Stored::from).unwrap()
}

fn conditions(ready: (&str, &str, &str)) -> Value {
    let (status, reason, message) = ready;
    json!([{
        "type": "Ready", "status": status, "reason": reason, "message": message, "observedGeneration": 2,
        "lastTransitionTime": "2026-11-20T11:00:00Z",
    }])
}

fn connection() -> Value {
    json!({ "tokenSecretRef": { "name": "upstash", "key": "token" } })
}

/// On a schedule, with all there is to say.
pub(crate) fn scheduled() -> Stored {
    policy(
        "resume-payments",
        json!({
            "action": "resume",
            "filters": { "labels": ["payments", "checkout"], "newerThan": "7d", "olderThan": "15m" },
            "match": { "responseStatuses": ["5xx", "429"] },
            "loopProtection": { "maxAttempts": 3 },
            "schedule": "*/15 * * * *", "timeZone": "Europe/Berlin",
            "limits": { "pageSize": 50, "maxEntriesPerRun": 5000, "entriesPerSecond": 20 },
            "overrides": { "retries": 3 },
            "connection": connection(),
        }),
        json!({
            "observedGeneration": 2, "phase": "Scheduled", "message": "resumed 600 entries in 12 calls",
            "processed": 600, "skipped": 12,
            "conditions": conditions(("True", "Scheduled", "runs on its schedule")),
            "nextScheduleTime": "2026-11-20T12:03:00Z",
            "lastRun": {
                "id": "1763639100-schedule", "trigger": "Schedule", "action": "resume", "generation": 2,
                "scheduledTime": "2026-11-20T11:45:00.000Z", "startTime": "2026-11-20T11:45:00.120Z",
                "completionTime": "2026-11-20T11:45:14.500Z", "result": "Succeeded", "reason": "RunSucceeded",
                "message": "resumed 600 entries in 12 calls", "pages": 12, "processed": 600, "rejected": 2, "retries": 1,
                "uncertainPages": 1, "skipped": { "status": 10, "nonRetryable": 2 }, "exhausted": 4,
            },
            "history": history(),
            "backlog": {
                "observedTime": "2026-11-20T11:56:00Z", "entries": 1312, "atLeast": true, "oldestTime": "2026-11-17T12:00:00.000Z",
                "expiringWithinDay": 12, "responseStatuses": [{ "value": "503", "count": 1200 }, { "value": "429", "count": 112 }],
            },
            "totals": { "runs": 31, "failedRuns": 2, "processed": 12_345 },
            "missedSchedules": 1, "lastMissedTime": "2026-11-19T12:00:00Z",
        }),
    )
}

fn history() -> Value {
    let run = |minute: u32, further: Value| {
        let mut run = json!({
            "id": format!("{minute}-schedule"), "trigger": "Schedule", "action": "resume", "pages": 12,
            "startTime": format!("2026-11-20T11:{minute:02}:00.000Z"), "completionTime": format!("2026-11-20T11:{minute:02}:14.000Z"),
            "result": "Succeeded", "reason": "RunSucceeded",
        });
        run.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        run
    };
    json!([
        run(45, json!({ "processed": 600, "uncertainPages": 1 })),
        run(
            30,
            json!({ "processed": 5000, "result": "LimitReached", "reason": "LimitReached", "pages": 100 })
        ),
        run(
            15,
            json!({ "processed": 250, "result": "Failed", "reason": "UpstreamUnavailable", "rejected": 3 })
        ),
        run(
            10,
            json!({ "processed": 900, "trigger": "Manual", "dryRun": true, "reason": "DryRunSucceeded", "requestedBy": "jane" })
        ),
        run(0, json!({ "processed": 0, "reason": "NothingMatched" })),
    ])
}

/// In the middle of a run whose total is known.
pub(crate) fn running() -> Stored {
    policy(
        "restart-orders",
        json!({
            "action": "restart", "filters": { "workflowUrls": ["https://app.example.com/api/orders"] }, "trigger": "Manual",
            "limits": { "pageSize": 50, "approvalAbove": 1000 }, "connection": connection(),
        }),
        json!({
            "observedGeneration": 2, "phase": "Running", "message": "restarting: 250 entries so far", "processed": 250,
            "conditions": conditions(("True", "Idle", "runs when dlq-operator.dev/requestedAt gets a new value")),
            "currentRun": {
                "id": "5f3c-manual", "trigger": "Manual", "action": "restart", "startTime": "2026-11-20T11:59:35.000Z",
                "requestedBy": "jane", "requestReason": "after incident 7", "pages": 5, "processed": 250, "matched": 600,
                "limits": { "pageSize": 50, "approvalAbove": 1000 },
            },
        }),
    )
}

/// Waiting for an approval.
pub(crate) fn waiting() -> Stored {
    policy(
        "resume-invoices",
        json!({
            "action": "resume", "filters": { "labels": ["invoice"] }, "schedule": "@hourly",
            "limits": { "pageSize": 50, "approvalAbove": 500 }, "connection": connection(),
        }),
        json!({
            "observedGeneration": 2, "phase": "AwaitingApproval", "message": "waits for an approval of 8120 entries", "processed": 0,
            "conditions": conditions(("True", "Scheduled", "runs on its schedule")),
            "currentRun": {
                "id": "1-schedule", "trigger": "Schedule", "action": "resume", "startTime": "2026-11-20T11:00:00.000Z",
                "window": { "fromDate": "2026-11-18T11:00:00.000Z", "toDate": "2026-11-20T11:00:00.000Z" },
                "limits": { "pageSize": 50, "approvalAbove": 500 }, "matched": 8120, "approvalId": "5f3c9a1be07d2468",
                "approvalRequestedTime": "2026-11-20T11:02:00.000Z",
                "summary": {
                    "oldestTime": "2026-11-18T11:10:00.000Z", "newestTime": "2026-11-20T10:59:00.000Z",
                    "workflowUrls": [{ "value": "https://app.example.com/invoice", "count": 8000 }],
                    "responseStatuses": [{ "value": "500", "count": 8120 }],
                },
            },
        }),
    )
}

/// Unable to run.
pub(crate) fn not_ready() -> Stored {
    policy(
        "delete-stale",
        json!({ "action": "delete", "filters": { "all": true, }, "schedule": "@daily", "dryRun": true, "connection": connection() }),
        json!({
            "observedGeneration": 2, "phase": "Pending", "message": "the Secret payments/upstash does not exist",
            "conditions": conditions(("False", "SecretNotFound", "the Secret payments/upstash does not exist")),
        }),
    )
}

/// With an open circuit.
pub(crate) fn circuit_open() -> Stored {
    policy(
        "resume-mail",
        json!({
            "action": "resume", "filters": { "labels": ["mail"] }, "schedule": "@hourly", "failurePolicy": { "openCircuitAfter": 3 },
        }),
        json!({
            "observedGeneration": 2, "phase": "CircuitOpen", "message": "3 runs failed in a row", "processed": 50,
            "consecutiveFailures": 3,
            "conditions": conditions((
                "True", "CircuitOpen",
                "3 runs failed in a row, last: Upstash answered 503 ten times in a row; fix the cause, then set \
                 dlq-operator.dev/resetAt to a new value",
            )),
            "lastRun": {
                "id": "2-schedule", "trigger": "Schedule", "action": "resume", "startTime": "2026-11-20T11:00:00.000Z",
                "completionTime": "2026-11-20T11:04:00.000Z", "result": "Failed", "reason": "UpstreamUnavailable",
                "message": "Upstash answered 503 ten times in a row", "pages": 1, "processed": 50,
            },
            "totals": { "runs": 9, "failedRuns": 3, "processed": 400 },
        }),
    )
}

/// Suspended, and seen by no operator since its last edit.
pub(crate) fn suspended() -> Stored {
    policy(
        "nightly",
        json!({ "action": "resume", "filters": { "dlqIds": ["a", "b"] }, "suspend": true }),
        json!({ "observedGeneration": 1, "phase": "Suspended", "message": "spec.suspend is true: no run starts" }),
    )
}

/// Paused by the operator's flag.
pub(crate) fn paused_by_flag() -> Stored {
    policy(
        "resume-search",
        json!({ "action": "resume", "filters": { "labels": ["search"] }, "trigger": "Manual" }),
        json!({
            "observedGeneration": 2, "phase": "Paused",
            "message": "paused by the operator's flag --pause-all: no run of any policy starts",
            "conditions": conditions((
                "True", "Paused", "paused by the operator's flag --pause-all: no run of any policy starts",
            )),
        }),
    )
}

/// Written by a newer operator, with texts that would command a terminal.
pub(crate) fn newer() -> Stored {
    policy(
        "from-the-future",
        json!({ "action": "postpone", "filters": { "moonPhase": "full" } }),
        json!({
            "observedGeneration": 2, "phase": "Hibernating", "message": "sleeps until \u{1b}[2Jspring",
            "currentRun": { "id": "1", "trigger": "Moon", "action": "postpone", "startTime": "2026-11-20T11:00:00.000Z" },
        }),
    )
}

/// An account that policies share.
pub(crate) fn shared_connection() -> DynamicObject {
    serde_json::from_value(json!({
        "metadata": { "name": "production" },
        "spec": { "limits": { "entriesPerSecond": 50, "maxEntriesPerDay": 20_000 } },
        "status": {
            "entriesToday": 1250,
            "conditions": [{
                "type": "Ready", "status": "False", "reason": "Unauthorized", "message": "Upstash refused the token",
                "lastTransitionTime": "2026-11-20T11:00:00Z",
            }],
        },
    }))
    .unwrap()
}

/// All of them.
pub(crate) fn all() -> Vec<Stored> {
    vec![
        scheduled(),
        running(),
        waiting(),
        not_ready(),
        circuit_open(),
        suspended(),
        paused_by_flag(),
        newer(),
    ]
}
