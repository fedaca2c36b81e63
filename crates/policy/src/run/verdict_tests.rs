use serde_json::{Value, json};

use super::*;
use crate::spec::by_listing::by_listing;
use crate::spec::selection::Selected;
use dlq_crd::{DlqPolicySpec, Window};
use dlq_upstash::types::{Criteria, DlqId};

const NOW: &str = "2026-11-20T12:00:00Z";

/// What a spec decides on an entry of the window's last hour, with these labels, status and headers.
fn verdict(spec: &Value, labels: &[&str], status: Option<u16>, headers: &[(&str, &str)]) -> Verdict {
    let mut whole = json!({ "action": "resume", "filters": { "all": true } });
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let spec: DlqPolicySpec = serde_json::from_value(whole).unwrap();
    let selected = Selected::Matching { criteria: Criteria::default(), from: None, to: None };
    let by_listing = by_listing(&spec, &selected).unwrap().unwrap();
    let overrides: Vec<String> = spec
        .overrides
        .iter()
        .flat_map(|overrides| &overrides.labels)
        .flatten()
        .map(ToString::to_string)
        .collect();
    let window: Window = serde_json::from_value(json!({ "toDate": "2026-11-20T12:00:00.000Z" })).unwrap();
    let selects = Selects { criteria: &Criteria::default(), window: &window, is_bounded: false };
    let entry = ListedEntry {
        labels: Some(labels.iter().map(ToString::to_string).collect()),
        response_status: status,
        response_headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()]))
            .collect(),
        ..ListedEntry::bare(DlqId("1763636400000-7".to_owned()))
    };
    Rules { selects, by_listing: &by_listing, labels: &overrides, now: NOW.parse().unwrap() }.verdict(&entry)
}

fn act(labels: &[&str]) -> Verdict {
    Verdict::Act(NewLabels::These(labels.iter().map(ToString::to_string).collect()))
}

const UNLABELLED: Verdict = Verdict::Act(NewLabels::Unchanged);

#[test]
fn statuses_are_codes_or_classes_and_an_entry_without_one_matches_none() {
    let only = json!({ "match": { "responseStatuses": ["5xx", "429"], "excludeResponseStatuses": ["501"] } });
    for (status, expected) in [
        (Some(500), UNLABELLED),
        (Some(599), UNLABELLED),
        (Some(429), UNLABELLED),
        (Some(501), Verdict::Skipped(Why::Status)),
        (Some(428), Verdict::Skipped(Why::Status)),
        (Some(200), Verdict::Skipped(Why::Status)),
        (None, Verdict::Skipped(Why::Status)),
    ] {
        assert_eq!(verdict(&only, &[], status, &[]), expected, "{status:?}");
    }
    let all_but = json!({ "match": { "excludeResponseStatuses": ["4xx"] } });
    assert_eq!(verdict(&all_but, &[], None, &[]), UNLABELLED);
    assert_eq!(verdict(&all_but, &[], Some(404), &[]), Verdict::Skipped(Why::Status));
}

#[test]
fn what_a_workflow_calls_hopeless_is_skipped_unless_the_policy_wants_it() {
    let header = [("upstash-nonretryable-error", "true")];
    let skipped = Verdict::Skipped(Why::NonRetryable);
    let absent = json!({ "match": { "excludeResponseStatuses": ["404"] } });
    let wanted = json!({ "match": { "skipNonRetryable": false } });
    let delete = json!({ "action": "delete", "match": { "excludeResponseStatuses": ["404"] } });
    let protected = json!({ "loopProtection": { "maxAttempts": 2 } });
    for (spec, status, headers, expected) in [
        (&absent, Some(489), &[][..], skipped.clone()),
        (&absent, Some(500), &header, skipped.clone()),
        (&absent, None, &header, skipped.clone()),
        (&absent, Some(500), &[("upstash-nonretryable-error", "false")], UNLABELLED),
        (&wanted, Some(489), &header, UNLABELLED),
        (&delete, Some(489), &header, UNLABELLED),
        (&protected, Some(489), &header, act(&["dlq-attempt-1"])),
    ] {
        assert_eq!(verdict(spec, &[], status, headers), expected, "{spec} {status:?} {headers:?}");
    }
}

#[test]
fn attempts_are_counted_up_to_the_limit_and_kept_with_the_other_labels() {
    let protected = json!({ "loopProtection": { "maxAttempts": 3 } });
    for (labels, expected) in [
        (&[][..], act(&["dlq-attempt-1"])),
        (&["payments"], act(&["payments", "dlq-attempt-1"])),
        (&["dlq-attempt-2", "payments"], act(&["payments", "dlq-attempt-3"])),
        (&["dlq-attempt-3"], Verdict::Exhausted),
        (&["dlq-attempt-1", "dlq-attempt-7"], Verdict::Exhausted),
        (&["dlq-attempt-soon"], Verdict::Exhausted),
    ] {
        assert_eq!(verdict(&protected, labels, None, &[]), expected, "{labels:?}");
    }
    let replaced = json!({ "overrides": { "labels": ["retried"] }, "loopProtection": { "maxAttempts": 3 } });
    assert_eq!(verdict(&replaced, &["a b", "dlq-attempt-1"], None, &[]), act(&["retried", "dlq-attempt-2"]));
    let unsendable = verdict(&protected, &["a b"], None, &[]);
    assert!(
        matches!(&unsendable, Verdict::Rejected(problem) if problem.contains("\"a b\"")),
        "{unsendable:?}"
    );
}

#[test]
fn a_rung_of_a_ladder_takes_its_own_attempts_and_leaves_the_others() {
    let restart = json!({
        "action": "restart", "match": { "attempts": { "min": 3 } }, "loopProtection": { "maxAttempts": 4 },
    });
    assert_eq!(verdict(&restart, &["dlq-attempt-2"], None, &[]), Verdict::Skipped(Why::Attempts));
    assert_eq!(verdict(&restart, &["dlq-attempt-3"], None, &[]), act(&["dlq-attempt-4"]));
    assert_eq!(verdict(&restart, &["dlq-attempt-4"], None, &[]), Verdict::Exhausted);
    let delete = json!({ "action": "delete", "match": { "attempts": { "min": 4, "max": 6 } } });
    for (label, expected) in [
        ("dlq-attempt-3", Verdict::Skipped(Why::Attempts)),
        ("dlq-attempt-4", UNLABELLED),
        ("dlq-attempt-6", UNLABELLED),
        ("dlq-attempt-7", Verdict::Skipped(Why::Attempts)),
        ("dlq-attempt-soon", Verdict::Skipped(Why::Unjudged)),
    ] {
        assert_eq!(verdict(&delete, &[label], None, &[]), expected, "{label}");
    }
}

#[test]
fn an_expression_decides_last_and_is_counted_by_how_it_ends() {
    let expression = |text: &str| json!({ "match": { "expression": text } });
    let by = |text: &str| verdict(&expression(text), &["eu", "dlq-attempt-2"], Some(503), &[]);
    assert_eq!(by("entry.labels == ['eu'] && entry.attempts == 2"), UNLABELLED);
    assert_eq!(by("entry.responseStatus == 500"), Verdict::Skipped(Why::Expression));
    assert_eq!(by("entry.responseStatus"), Verdict::Skipped(Why::ExpressionError));
    assert_eq!(by("entry.workflowCreatedAt < now"), Verdict::Skipped(Why::Unjudged));
    let unreadable = verdict(&expression("true"), &["dlq-attempt-x"], None, &[]);
    assert_eq!(unreadable, Verdict::Skipped(Why::Unjudged));
}
