use serde_json::json;

use super::*;
use crate::run::window::Bound;
use dlq_upstash::types::{Criteria, DlqId};

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
        (json!({"labels": [""]}), "spec.filters.labels[0]:", "must not be empty"),
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

#[test]
fn more_criteria_than_a_url_can_carry_are_refused_and_the_longest_is_named() {
    let many = |prefix: &str, count: usize, length: usize| {
        let text = |index| format!("{prefix}{index:02}{}", "x".repeat(length - prefix.len() - 2));
        (0..count).map(text).collect::<Vec<_>>()
    };
    let table = [
        (json!({"workflowUrls": many("https://a.example/", 50, 2048)}), "workflowUrls"),
        (json!({"workflowUrls": many("https://a.example/", 4, 2048)}), "workflowUrls"),
        (json!({"labels": many("", 50, 256)}), "labels"),
        (json!({"flowControlKeys": many("", 50, 256), "labels": many("", 2, 256)}), "flowControlKeys"),
        (json!({"labels": many("", 20, 200), "flowControlKeys": many("", 25, 200)}), "flowControlKeys"),
        // Nine bytes in a URL for each character.
        (
            json!({"labels": ["日".repeat(256), "本".repeat(256), "語".repeat(256), "字".repeat(256)]}),
            "labels",
        ),
    ];
    for (filters, field) in table {
        let invalid = invalid(&json!({ "filters": filters }), &permissions());
        assert_eq!(invalid.reason, Reason::InvalidSpec);
        let message = &invalid.message;
        assert!(message.starts_with(&format!("spec.filters.{field}: ")), "{message}");
        assert!(message.contains("split them over several policies"), "{message}");
        assert!(message.len() <= 256, "a status would cut it: {message}");
    }
    // An IPv6 address and the longest run ID are short enough for all there may be of them.
    let ips: Vec<_> =
        (0..50).map(|index| format!("2001:0db8:0000:0000:0000:0000:ffff:00{index:02}")).collect();
    let fine = json!({
        "workflowUrls": many("https://a.example/", 3, 1024), "callerIps": ips, "workflowRunId": "wfr_".repeat(64),
    });
    assert!(policy(&json!({ "filters": fine })).work.is_ok());
}
