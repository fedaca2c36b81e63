use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::Selected;
use crate::sample;
use dlq_upstash::types::DlqId;

/// The window of the sample runs ends here.
const END: i64 = 1_763_640_000_000;
const MINUTE: i64 = 60_000;

fn time(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap()
}

/// What the policy with these filters makes of an entry, in a window of the last hour where it gives bounds.
fn verdict(filters: &Value, entry: &ListedEntry) -> Verdict {
    let policy = sample::policy(&json!({ "filters": filters }), &[], &sample::permissions());
    let Selected::Matching { criteria, from, to } = policy.work.unwrap().selected else {
        panic!("no criteria")
    };
    let window = crate::run::window::freeze(from, to, time(END));
    Selects { criteria: &criteria, window: &window, is_bounded: from.is_some() || to.is_some() }.judge(entry)
}

fn failed_at(millis: i64) -> ListedEntry {
    ListedEntry::bare(DlqId(format!("{millis}-7")))
}

/// Of which every field is known.
fn entry() -> ListedEntry {
    ListedEntry {
        id: DlqId(format!("{}-7", END - MINUTE)),
        workflow_url: Some("https://app.example.com/pay".into()),
        workflow_run_id: Some("wfr_8f03".into()),
        workflow_created_at: Some(END - 2 * MINUTE),
        labels: Some(vec!["payments".into(), "eu".into()]),
        failure_function_state: Some("CALLBACK_FAIL".into()),
        caller_ip: Some("2001:db8::7".into()),
        flow_control_key: Some("checkout".into()),
        response_status: Some(503),
        response_headers: BTreeMap::new(),
        response_body: None,
    }
}

/// For each criterion: filters that select the entry, filters that do not, and the entry without the field.
fn criteria() -> [(&'static str, Value, Value, ListedEntry); 7] {
    let created = |millis| json!({ "workflowCreatedAt": time(millis).to_string() });
    [
        (
            "labels",
            json!({ "labels": ["x", "eu"] }),
            json!({ "labels": ["pay", "EU"] }),
            ListedEntry { labels: None, ..entry() },
        ),
        (
            "workflowUrls",
            json!({ "workflowUrls": ["https://a.example.com", "https://app.example.com/pay"] }),
            json!({ "workflowUrls": ["https://app.example.com/payments"] }),
            ListedEntry { workflow_url: None, ..entry() },
        ),
        (
            "workflowRunId",
            json!({ "workflowRunId": "wfr_8f" }),
            json!({ "workflowRunId": "wfr_8f03a" }),
            ListedEntry { workflow_run_id: None, ..entry() },
        ),
        (
            "workflowCreatedAt",
            created(END - 2 * MINUTE),
            created(END - 2 * MINUTE + 1),
            ListedEntry { workflow_created_at: None, ..entry() },
        ),
        (
            "failureFunctionStates",
            json!({ "failureFunctionStates": ["CALLBACK_SUCCESS", "CALLBACK_FAIL"] }),
            json!({ "failureFunctionStates": ["CALLBACK_SUCCESS"] }),
            ListedEntry { failure_function_state: None, ..entry() },
        ),
        (
            "callerIps",
            json!({ "callerIps": ["2001:DB8:0::7"] }),
            json!({ "callerIps": ["203.0.113.7"] }),
            ListedEntry { caller_ip: None, ..entry() },
        ),
        (
            "flowControlKeys",
            json!({ "flowControlKeys": ["checkout"] }),
            json!({ "flowControlKeys": ["check"] }),
            ListedEntry { flow_control_key: None, ..entry() },
        ),
    ]
}

#[test]
fn each_criterion_is_judged_by_the_field_it_is_about() {
    for (criterion, selects, others, lacking) in criteria() {
        assert_eq!(verdict(&selects, &entry()), Verdict::Selected, "{criterion}");
        assert_eq!(verdict(&others, &entry()), Verdict::NotSelected, "{criterion}");
        assert_eq!(verdict(&selects, &lacking), Verdict::Unjudged, "{criterion}");
        assert_eq!(
            verdict(&json!({ "all": true }), &lacking),
            Verdict::Selected,
            "{criterion} is not asked for"
        );
    }
}

#[test]
fn all_criteria_must_hold_and_one_that_does_not_outweighs_a_missing_field() {
    let both = json!({ "labels": ["eu"], "workflowRunId": "wfr_9" });
    assert_eq!(verdict(&both, &entry()), Verdict::NotSelected);
    assert_eq!(verdict(&both, &ListedEntry { labels: None, ..entry() }), Verdict::NotSelected);
    let all = json!({ "labels": ["eu"], "workflowRunId": "wfr_8", "callerIps": ["2001:db8::7"] });
    assert_eq!(verdict(&all, &entry()), Verdict::Selected);
}

#[test]
fn an_entry_failed_within_the_window_or_less_than_a_minute_beside_it() {
    let (all, hour) = (json!({ "all": true }), json!({ "newerThan": "1h" }));
    let table = [
        (&all, END + MINUTE, Verdict::Selected),
        (&all, END + MINUTE + 1, Verdict::NotSelected),
        (&all, END - 9000 * MINUTE, Verdict::Selected),
        (&hour, END - 61 * MINUTE, Verdict::Selected),
        (&hour, END - 61 * MINUTE - 1, Verdict::NotSelected),
        (&hour, END + MINUTE + 1, Verdict::NotSelected),
    ];
    for (filters, at, expected) in table {
        assert_eq!(verdict(filters, &failed_at(at)), expected, "{filters} {}", at - END);
    }
}

#[test]
fn where_the_id_tells_no_time_only_a_policy_without_bounds_acts_by_the_time_of_creation() {
    let created = |at: Option<i64>, id: &str| ListedEntry {
        workflow_created_at: at,
        ..ListedEntry::bare(DlqId(id.to_owned()))
    };
    let (all, older) = (json!({ "all": true }), json!({ "olderThan": "1m" }));
    for id in [
        "dlq-7",
        "7",
        "1763640000-1",
        "1763640000000",
        "1763640000000-",
        "1763640000000-a",
        "+763640000000-1",
    ] {
        assert_eq!(verdict(&all, &created(Some(END), id)), Verdict::Selected, "{id}");
        assert_eq!(verdict(&all, &created(Some(END + 1), id)), Verdict::NotSelected, "{id}");
        assert_eq!(verdict(&all, &created(None, id)), Verdict::Unjudged, "{id}");
        assert_eq!(verdict(&older, &created(Some(END - 9 * MINUTE), id)), Verdict::Unjudged, "{id}");
        assert_eq!(verdict(&older, &created(Some(END), id)), Verdict::NotSelected, "{id}");
    }
}
