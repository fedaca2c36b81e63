#![expect(clippy::needless_pass_by_value, reason = "what `json!` makes is given away")]

use std::collections::BTreeMap;

use dlq_policy::spec::validate::Source;
use dlq_policy::validate;
use serde_json::{Value, json};

use super::super::policies::permissions;
use super::*;

fn work(spec: Value) -> Work {
    let mut permissions = permissions().unwrap();
    permissions.default_connection_namespaces = vec!["payments".into()];
    let mut whole = json!({ "action": "resume" });
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let spec = serde_json::from_value(whole).unwrap();
    let source = Source {
        namespace: "payments",
        name: "a",
        generation: 1,
        created: None,
        annotations: &BTreeMap::new(),
        spec: Ok(&spec),
        shared: None,
    };
    validate(&source, &permissions).work.unwrap()
}

fn by(filters: Value) -> Value {
    json!({ "filters": filters })
}

fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

fn both(one: Value, other: Value) -> Overlap {
    let (one, other) = (work(one), work(other));
    let found = overlap(&one, &other, now());
    assert_eq!(found, overlap(&other, &one, now()), "the same both ways");
    found
}

#[test]
fn policies_that_cannot_select_the_same_entry_are_apart() {
    let url = |path: &str| by(json!({ "workflowUrls": [format!("https://app.example.com/{path}")] }));
    let table = [
        (url("pay"), url("ship")),
        (
            by(json!({ "failureFunctionStates": ["CALLBACK_FAIL"] })),
            by(json!({ "failureFunctionStates": ["CALLBACK_SUCCESS"] })),
        ),
        (by(json!({ "callerIps": ["203.0.113.7"] })), by(json!({ "callerIps": ["203.0.113.8"] }))),
        (by(json!({ "flowControlKeys": ["a"] })), by(json!({ "flowControlKeys": ["b"] }))),
        (by(json!({ "workflowRunId": "wfr_8f" })), by(json!({ "workflowRunId": "wfr_9" }))),
        (
            by(json!({ "workflowCreatedAt": "2026-11-01T12:00:00.123Z" })),
            by(json!({ "workflowCreatedAt": "2026-11-01T12:00:00.124Z" })),
        ),
        (by(json!({ "newerThan": "1d" })), by(json!({ "olderThan": "1d" }))),
        (by(json!({ "toDate": "2026-11-01T00:00:00Z" })), by(json!({ "fromDate": "2026-11-02T00:00:00Z" }))),
        (by(json!({ "toDate": "2026-11-01T00:00:00Z" })), by(json!({ "newerThan": "7d" }))),
        (by(json!({ "dlqIds": ["dlq-1"] })), by(json!({ "dlqIds": ["dlq-2"] }))),
    ];
    for (one, other) in table {
        assert_eq!(both(one.clone(), other.clone()), Overlap::None, "{one} {other}");
    }
}

#[test]
fn policies_that_can_select_the_same_entry_overlap() {
    let table = [
        (by(json!({ "labels": ["a", "b"] })), by(json!({ "labels": ["b", "c"] }))),
        (by(json!({ "all": true })), by(json!({ "labels": ["b"] }))),
        (by(json!({ "labels": ["a"] })), by(json!({ "callerIps": ["203.0.113.7"] }))),
        (by(json!({ "callerIps": ["::1"] })), by(json!({ "callerIps": ["0:0:0:0:0:0:0:1"] }))),
        (by(json!({ "workflowRunId": "wfr_8f" })), by(json!({ "workflowRunId": "wfr_8f12" }))),
        (by(json!({ "newerThan": "2d" })), by(json!({ "olderThan": "1d" }))),
        // Not today, but one day.
        (by(json!({ "fromDate": "2026-11-19T00:00:00Z" })), by(json!({ "olderThan": "7d" }))),
        (by(json!({ "fromDate": "2030-01-01T00:00:00Z" })), by(json!({ "newerThan": "1d" }))),
        (by(json!({ "dlqIds": ["dlq-1", "dlq-2"] })), by(json!({ "dlqIds": ["dlq-2"] }))),
    ];
    for (one, other) in table {
        assert_eq!(both(one.clone(), other.clone()), Overlap::Possible, "{one} {other}");
    }
}

#[test]
fn a_workflow_run_can_have_labels_of_both() {
    assert_eq!(both(by(json!({ "labels": ["a"] })), by(json!({ "labels": ["b"] }))), Overlap::OfLabels);
}

#[test]
fn attempts_and_statuses_keep_policies_apart() {
    let spec = |fields: Value| {
        let mut spec = json!({ "filters": { "labels": ["a"] } });
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        spec
    };
    let protected = spec(json!({ "loopProtection": { "maxAttempts": 3 } }));
    let attempts =
        |least: u32| spec(json!({ "action": "delete", "match": { "attempts": { "min": least } } }));
    assert_eq!(both(protected.clone(), attempts(3)), Overlap::None);
    assert_eq!(both(protected, attempts(2)), Overlap::Possible);
    let statuses = |statuses: Value| spec(json!({ "match": { "responseStatuses": statuses } }));
    assert_eq!(both(statuses(json!(["5xx"])), statuses(json!(["404", "429"]))), Overlap::None);
    assert_eq!(both(statuses(json!(["5xx"])), statuses(json!(["503"]))), Overlap::Possible);
    let others = spec(json!({ "match": { "excludeResponseStatuses": ["5xx"] } }));
    assert_eq!(both(statuses(json!(["5xx"])), others), Overlap::None);
    let non_retryable = spec(json!({ "action": "delete", "match": { "responseStatuses": ["489"] } }));
    assert_eq!(
        both(
            spec(json!({ "match": { "attempts": { "max": 2 } }, "loopProtection": { "maxAttempts": 5 } })),
            non_retryable
        ),
        Overlap::None
    );
}

#[test]
fn a_policy_covers_another_if_it_selects_all_of_its_entries_at_every_time() {
    let table = [
        (json!({ "all": true }), json!({ "labels": ["a"] }), true),
        (json!({ "all": true }), json!({ "dlqIds": ["dlq-1"] }), true),
        (json!({ "dlqIds": ["dlq-1", "dlq-2"] }), json!({ "dlqIds": ["dlq-1"] }), true),
        (json!({ "dlqIds": ["dlq-1"] }), json!({ "dlqIds": ["dlq-1", "dlq-2"] }), false),
        (json!({ "labels": ["a", "b"] }), json!({ "labels": ["a"] }), true),
        (json!({ "labels": ["a"] }), json!({ "labels": ["a", "b"] }), false),
        (json!({ "labels": ["a"] }), json!({ "all": true }), false),
        (json!({ "labels": ["a"] }), json!({ "labels": ["a"], "newerThan": "1d" }), true),
        (json!({ "labels": ["a"], "olderThan": "1d" }), json!({ "labels": ["a"] }), false),
        (json!({ "olderThan": "1d" }), json!({ "olderThan": "2d" }), true),
        (json!({ "newerThan": "1d" }), json!({ "newerThan": "2d" }), false),
        (json!({ "newerThan": "2d" }), json!({ "newerThan": "1d" }), true),
        (json!({ "fromDate": "2026-11-01T00:00:00Z" }), json!({ "newerThan": "1d" }), true),
        (json!({ "newerThan": "90d" }), json!({ "fromDate": "2026-11-01T00:00:00Z" }), false),
        (json!({ "olderThan": "1d" }), json!({ "toDate": "2026-11-01T00:00:00Z" }), true),
        (json!({ "toDate": "2026-11-30T00:00:00Z" }), json!({ "labels": ["a"] }), false),
        (json!({ "workflowRunId": "wfr_8" }), json!({ "workflowRunId": "wfr_8f" }), true),
    ];
    for (wide, narrow, expected) in table {
        let found = covers(&work(by(wide.clone())), &work(by(narrow.clone())), now());
        assert_eq!(found, expected, "{wide} {narrow}");
    }
}

#[test]
fn what_is_matched_more_narrowly_covers_less() {
    let matching =
        |matching: Value| json!({ "action": "delete", "filters": { "labels": ["a"] }, "match": matching });
    let plain = json!({ "filters": { "labels": ["a"] } });
    let covers = |wide: &Value, narrow: &Value| covers(&work(wide.clone()), &work(narrow.clone()), now());
    assert!(!covers(&matching(json!({ "responseStatuses": ["5xx"] })), &plain));
    assert!(!covers(&matching(json!({ "expression": "entry.attempts > 2" })), &plain));
    assert!(!covers(&matching(json!({ "attempts": { "min": 1 } })), &plain));
    let narrow = json!({ "filters": { "labels": ["a"] }, "match": { "responseStatuses": ["503"] } });
    assert!(covers(&matching(json!({ "responseStatuses": ["5xx"] })), &narrow));
    let expression = json!({ "expression": "entry.attempts > 2" });
    let same = json!({ "filters": { "labels": ["a"] }, "match": expression });
    assert!(covers(&matching(expression), &same));
}
