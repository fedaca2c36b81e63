use serde_json::json;

use super::*;
use crate::policy::window::Bound;
use crate::upstash::types::{Criteria, DlqId};

#[test]
fn what_selects_everything_by_accident_is_refused_with_the_field_and_the_way_out() {
    let table = [
        (json!({}), "spec.filters:", "all: true"),
        (json!({"all": false}), "spec.filters:", "at least one criterion"),
        (json!({"labels": []}), "spec.filters.labels:", "give a value or remove it"),
        (json!({"workflowUrls": []}), "spec.filters.workflowUrls:", "remove it"),
        (json!({"callerIps": []}), "spec.filters.callerIps:", "remove it"),
        (json!({"flowControlKeys": []}), "spec.filters.flowControlKeys:", "remove it"),
        (json!({"failureFunctionStates": []}), "spec.filters.failureFunctionStates:", "remove it"),
        (json!({"dlqIds": []}), "spec.filters.dlqIds:", "remove it"),
        (json!({"labels": ["a", "b,c"]}), "spec.filters.labels[1]:", "no comma"),
        (json!({"labels": [""]}), "spec.filters.labels[0]:", "no empty value"),
        (json!({"labels": ["a\nb"]}), "spec.filters.labels[0]:", "no control character"),
        (json!({"workflowUrls": ["https://a.example/,"]}), "spec.filters.workflowUrls[0]:", "no comma"),
        (json!({"callerIps": ["1.2.3.4,5.6.7.8"]}), "spec.filters.callerIps[0]:", "no comma"),
        (json!({"flowControlKeys": ["a,b"]}), "spec.filters.flowControlKeys[0]:", "no comma"),
        (json!({"workflowRunId": "wfr_1,wfr_2"}), "spec.filters.workflowRunId:", "no comma"),
        (json!({"workflowRunId": ""}), "spec.filters.workflowRunId:", "give more of the ID"),
        (json!({"workflowRunId": "wf"}), "spec.filters.workflowRunId:", "give more of the ID"),
        (json!({"workflowRunId": "wfr_"}), "spec.filters.workflowRunId:", "all: true"),
        (json!({"dlqIds": ["dlq-1", "a,b"]}), "spec.filters.dlqIds[1]:", "no comma"),
    ];
    for (filters, field, way_out) in table {
        let invalid = invalid(&json!({ "filters": filters }), &permissions());
        assert_eq!(invalid.reason, Reason::InvalidSpec, "{filters}");
        assert!(invalid.message.starts_with(field), "{filters}: {}", invalid.message);
        assert!(invalid.message.contains(way_out), "{filters}: {}", invalid.message);
    }
}

#[test]
fn filters_that_conflict_are_refused_with_the_field_and_the_way_out() {
    let (from, to) = ("2026-11-01T00:00:00Z", "2026-11-08T00:00:00Z");
    let table = [
        (json!({"all": true, "labels": ["a"]}), "spec.filters.all:", "remove all"),
        (json!({"all": true, "dlqIds": ["a"]}), "spec.filters.all:", "remove all"),
        (json!({"all": true, "olderThan": "1h"}), "spec.filters.all:", "remove all"),
        (json!({"dlqIds": ["a"], "labels": ["a"]}), "spec.filters.dlqIds:", "remove dlqIds"),
        (json!({"dlqIds": ["a"], "toDate": to}), "spec.filters.dlqIds:", "remove dlqIds"),
        (json!({"dlqIds": ["a"], "workflowCreatedAt": to}), "spec.filters.dlqIds:", "remove dlqIds"),
        (json!({"fromDate": from, "newerThan": "7d"}), "spec.filters.newerThan:", "keep one"),
        (json!({"toDate": to, "olderThan": "7d"}), "spec.filters.olderThan:", "keep one"),
        (json!({"newerThan": "0s"}), "spec.filters.newerThan:", "such as 7d"),
        (json!({"olderThan": "soon"}), "spec.filters.olderThan:", "such as 7d"),
        (json!({"fromDate": "yesterday"}), "spec.filters.fromDate:", "2026-11-01T00:00:00Z"),
        (json!({"toDate": "2026-02-30T00:00:00Z"}), "spec.filters.toDate:", "2026-11-01T00:00:00Z"),
        (json!({"workflowCreatedAt": "7"}), "spec.filters.workflowCreatedAt:", "2026-11-01T00:00:00Z"),
    ];
    for (filters, field, way_out) in table {
        let invalid = invalid(&json!({ "filters": filters }), &permissions());
        assert_eq!(invalid.reason, Reason::InvalidSpec, "{filters}");
        assert!(invalid.message.starts_with(field), "{filters}: {}", invalid.message);
        assert!(invalid.message.contains(way_out), "{filters}: {}", invalid.message);
    }
}

#[test]
fn every_filter_finds_its_criterion() {
    let filters = json!({
        "labels": ["payments", "checkout"],
        "workflowUrls": ["https://app.example.com/api/pay"],
        "workflowRunId": "wfr_8f",
        "workflowCreatedAt": "2026-11-01T12:00:00.123Z",
        "failureFunctionStates": ["CALLBACK_FAIL"],
        "callerIps": ["203.0.113.7"],
        "flowControlKeys": ["pay"],
        "newerThan": "7d",
        "toDate": "2026-11-08T00:00:00Z",
    });
    let criteria = Criteria {
        labels: vec!["payments".into(), "checkout".into()],
        workflow_urls: vec!["https://app.example.com/api/pay".into()],
        workflow_run_id: Some("wfr_8f".into()),
        workflow_created_at: Some(1_793_534_400_123),
        failure_function_states: vec!["CALLBACK_FAIL"],
        caller_ips: vec!["203.0.113.7".into()],
        flow_control_keys: vec!["pay".into()],
        from_date: None,
        to_date: None,
    };
    let expected = Selected::Matching {
        criteria,
        from: Some(Bound::Before(jiff::SignedDuration::from_hours(7 * 24))),
        to: Some(Bound::At("2026-11-08T00:00:00Z".parse().unwrap())),
    };
    assert_eq!(policy(&json!({ "filters": filters })).work.unwrap().selected, expected);
}

#[test]
fn everything_is_selected_only_when_said_aloud() {
    let all = policy(&json!({"filters": {"all": true}})).work.unwrap().selected;
    assert_eq!(all, Selected::Matching { criteria: Criteria::default(), from: None, to: None });
    let ids = policy(&json!({"filters": {"dlqIds": ["a", "b"]}})).work.unwrap().selected;
    assert_eq!(ids, Selected::Ids(vec![DlqId("a".into()), DlqId("b".into())]));
    let bound = policy(&json!({"filters": {"all": false, "olderThan": "15m"}})).work.unwrap().selected;
    assert!(matches!(bound, Selected::Matching { to: Some(_), .. }));
}
