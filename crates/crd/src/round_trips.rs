//! What the API server may hand out is read and written as it was, or refused; nothing panics.

mod connections;
mod values;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use self::values::{Fields, count, flag, millis, number, object, one_of, seconds, some, text, texts};
use super::{DlqPolicySpec, DlqPolicyStatus};

const REASONS: [&str; 4] = ["RunSucceeded", "UpstreamUnavailable", "QuotaExceeded", "CursorLoop"];

fn spec() -> BoxedStrategy<Value> {
    const STATES: [&str; 2] = ["CALLBACK_FAIL", "CALLBACK_SUCCESS"];
    let filters = object(
        vec![],
        vec![
            ("all", flag()),
            ("dlqIds", texts()),
            ("labels", texts()),
            ("workflowUrls", texts()),
            ("workflowRunId", text()),
            ("workflowCreatedAt", text()),
            ("failureFunctionStates", vec(one_of(&STATES), 1..3).prop_map(Value::from).boxed()),
            ("callerIps", texts()),
            ("flowControlKeys", texts()),
            ("fromDate", text()),
            ("toDate", text()),
            ("newerThan", text()),
            ("olderThan", text()),
        ],
    );
    let flow = object(
        vec![],
        vec![("key", text()), ("parallelism", number()), ("rate", number()), ("period", text())],
    );
    let overrides = object(
        vec![],
        vec![
            ("retries", number()),
            ("delay", text()),
            ("retryDelay", text()),
            ("flowControl", flow),
            ("labels", texts()),
            ("failureCallback", text()),
        ],
    );
    let secret = object(vec![("name", text()), ("key", text())], vec![]);
    let kind = one_of(&["DlqConnection", "ClusterDlqConnection"]);
    let connection =
        object(vec![], vec![("url", text()), ("tokenSecretRef", secret), ("name", text()), ("kind", kind)]);
    object(
        // With what the API server defaults.
        vec![
            ("action", one_of(&["resume", "restart", "delete"])),
            ("filters", filters),
            ("suspend", flag()),
            ("dryRun", flag()),
            ("historyLimit", number()),
        ],
        vec![
            ("overrides", overrides),
            ("match", matching()),
            ("loopProtection", object(vec![("maxAttempts", number())], vec![])),
            (
                "backlog",
                object(vec![("interval", text()), ("countUpTo", number())], vec![("retention", text())]),
            ),
            ("trigger", one_of(&["OnChange", "Manual"])),
            ("schedule", text()),
            ("timeZone", text()),
            ("jitter", text()),
            ("startingDeadlineSeconds", count()),
            ("concurrencyPolicy", one_of(&["Forbid", "Replace"])),
            ("limits", limits()),
            ("failurePolicy", object(vec![], vec![("openCircuitAfter", number())])),
            ("connection", connection),
        ],
    )
}

fn matching() -> BoxedStrategy<Value> {
    object(
        vec![],
        vec![
            ("responseStatuses", texts()),
            ("excludeResponseStatuses", texts()),
            ("skipNonRetryable", flag()),
            ("attempts", object(vec![], vec![("min", number()), ("max", number())])),
            ("expression", text()),
        ],
    )
}

fn limits() -> BoxedStrategy<Value> {
    object(
        vec![("pageSize", number())],
        vec![
            ("maxEntriesPerRun", count()),
            ("entriesPerSecond", number()),
            ("activeDeadlineSeconds", count()),
            ("parallelism", number()),
            ("approvalAbove", count()),
        ],
    )
}

const COUNTS: [&str; 6] = ["pages", "processed", "notFound", "rejected", "uncertainPages", "interruptions"];

const SKIPPED: [&str; 5] = ["nonRetryable", "attempts", "expression", "expressionError", "unjudged"];

/// What a run and its summary have in common.
fn told() -> (Fields, Fields) {
    let mut required = vec![
        ("id", text()),
        ("trigger", one_of(&["Schedule", "Manual", "Spec"])),
        ("generation", count()),
        ("action", one_of(&["resume", "restart", "delete"])),
        ("dryRun", flag()),
        ("startTime", millis()),
    ];
    required.extend(COUNTS.map(|name| (name, count())));
    let results = &["Succeeded", "Failed", "Cancelled", "LimitReached", "DeadlineExceeded"];
    let optional = vec![
        ("scheduledTime", millis()),
        ("completionTime", millis()),
        ("result", one_of(results)),
        ("reason", one_of(&REASONS)),
        ("requestedBy", text()),
        ("returned", some()),
    ];
    (required, optional)
}

fn run() -> BoxedStrategy<Value> {
    let (mut required, mut optional) = told();
    required.extend([("position", count()), ("retries", count()), ("leftAlone", count())]);
    optional.extend([
        ("holder", text()),
        ("message", text()),
        ("requestReason", text()),
        ("window", object(vec![("toDate", millis())], vec![("fromDate", millis())])),
        ("limits", limits()),
        ("cursor", text()),
        ("windows", windows()),
        ("revision", count()),
        ("waitingUntil", millis()),
        ("waitingReason", one_of(&["Throttled", "Retrying", "Queued"])),
        ("sampleWorkflowRunIds", texts()),
        ("requestedMode", one_of(&["DryRun"])),
        ("specHash", text()),
        ("connectionHash", text()),
        ("summary", seen()),
        ("skipped", object(vec![("status", some())], SKIPPED.map(|name| (name, some())).into())),
        ("exhausted", some()),
        ("matched", count()),
        ("approvalId", text()),
        ("approvalRequestedTime", millis()),
        ("approvedTime", millis()),
    ]);
    object(required, optional)
}

fn windows() -> BoxedStrategy<Value> {
    let window = object(vec![("toDate", millis())], vec![("fromDate", millis()), ("cursor", text())]);
    vec(window, 1..4).prop_map(Value::from).boxed()
}

fn counts() -> BoxedStrategy<Value> {
    vec(object(vec![("value", text()), ("count", count())], vec![]), 1..4).prop_map(Value::from).boxed()
}

fn seen() -> BoxedStrategy<Value> {
    object(
        vec![],
        vec![
            ("oldestTime", millis()),
            ("newestTime", millis()),
            ("workflowUrls", counts()),
            ("responseStatuses", counts()),
            ("labels", counts()),
        ],
    )
}

fn conditions() -> BoxedStrategy<Value> {
    let condition = object(
        vec![
            ("type", text()),
            ("status", text()),
            ("reason", text()),
            ("message", text()),
            ("lastTransitionTime", seconds()),
        ],
        vec![("observedGeneration", count())],
    );
    vec(condition, 1..4).prop_map(Value::from).boxed()
}

fn status() -> BoxedStrategy<Value> {
    let (required, optional) = told();
    let summary = object(required, optional);
    let probe = object(
        vec![("workflowRunId", text()), ("startTime", millis()), ("attempt", count())],
        vec![("lostLabel", Just(json!(true)).boxed())],
    );
    let backlog = object(
        vec![("observedTime", seconds()), ("entries", count()), ("atLeast", flag())],
        vec![("oldestTime", millis()), ("expiringWithinDay", count()), ("responseStatuses", counts())],
    );
    let totals = object(vec![("runs", count()), ("failedRuns", count()), ("processed", count())], vec![]);
    object(
        vec![("missedSchedules", count()), ("consecutiveFailures", count()), ("totals", totals)],
        vec![
            ("observedGeneration", count()),
            ("phase", one_of(&["Pending", "Scheduled", "Running", "CircuitOpen", "Invalid"])),
            ("message", text()),
            ("processed", count()),
            ("skipped", count()),
            ("labelProbes", vec(probe, 1..4).prop_map(Value::from).boxed()),
            ("loopPossible", Just(json!(true)).boxed()),
            ("backlog", backlog),
            ("conditions", conditions()),
            ("observedSchedule", text()),
            ("scheduleSince", seconds()),
            ("lastScheduleTime", seconds()),
            ("nextScheduleTime", seconds()),
            ("lastSuccessfulTime", seconds()),
            ("lastHandledSpecHash", text()),
            ("lastHandledRequestedAt", text()),
            ("lastHandledCancelAt", text()),
            ("lastHandledResetAt", text()),
            ("lastHandledApprovedRun", text()),
            ("refusedReason", one_of(&["Unauthorized", "Forbidden", "ReadOnlyToken"])),
            ("refusedSecret", text()),
            ("lastMissedTime", seconds()),
            ("lastSkippedTime", seconds()),
            ("pendingScheduleTime", seconds()),
            ("heldSince", seconds()),
            ("currentRun", run()),
            ("lastRun", run()),
            ("history", vec(summary, 1..4).prop_map(Value::from).boxed()),
        ],
    )
}

/// Puts something else in the place of any value within.
fn alter(value: &mut Value, place: usize, new: Value) {
    let mut left = place;
    replace(value, &mut left, &mut Some(new));
}

fn replace(value: &mut Value, left: &mut usize, new: &mut Option<Value>) {
    if *left == 0 {
        if let Some(new) = new.take() {
            *value = new;
        }
        return;
    }
    *left -= 1;
    let parts: Vec<&mut Value> = match value {
        Value::Object(fields) => fields.values_mut().collect(),
        Value::Array(items) => items.iter_mut().collect(),
        _ => return,
    };
    for part in parts {
        if new.is_none() {
            return;
        }
        replace(part, left, new);
    }
}

fn other() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        text(),
        flag(),
        count(),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!("9999-12-31T23:59:60.999999999Z")),
        Just(json!("-009999-01-01T00:00:00Z")),
        Just(json!([[[{ "a": null }]]])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn a_spec_is_written_as_it_was_read(spec in spec()) {
        let typed: DlqPolicySpec = serde_json::from_value(spec.clone()).unwrap();
        prop_assert_eq!(serde_json::to_value(&typed).unwrap(), spec);
    }

    #[test]
    fn a_status_is_written_as_it_was_read(status in status()) {
        let typed: DlqPolicyStatus = serde_json::from_value(status.clone()).unwrap();
        let written = serde_json::to_value(&typed).unwrap();
        prop_assert_eq!(&written, &status);
        prop_assert_eq!(serde_json::from_value::<DlqPolicyStatus>(written).unwrap(), typed);
    }

    #[test]
    fn values_that_are_not_known_are_refused_or_kept_in_a_form_that_lasts(
        (mut spec, mut status) in (spec(), status()),
        alterations in vec((0_usize..60, other()), 1..4),
    ) {
        for (place, new) in alterations {
            alter(&mut spec, place, new.clone());
            alter(&mut status, place, new);
        }
        if let Ok(typed) = serde_json::from_value::<DlqPolicySpec>(spec) {
            let written = serde_json::to_value(&typed).unwrap();
            prop_assert_eq!(serde_json::from_value::<DlqPolicySpec>(written).unwrap(), typed);
        }
        if let Ok(typed) = serde_json::from_value::<DlqPolicyStatus>(status) {
            let written = serde_json::to_value(&typed).unwrap();
            prop_assert_eq!(serde_json::from_value::<DlqPolicyStatus>(written).unwrap(), typed);
        }
    }
}
