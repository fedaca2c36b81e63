use serde_json::{Value, json};

use super::*;

fn run(fields: &Value) -> PolicyRun {
    let mut run = json!({
        "id": "1-spec", "trigger": "Spec", "action": "resume", "startTime": "2026-11-20T12:00:00.000Z", "result": "Succeeded",
        "reason": "RunSucceeded", "message": "resumed 120 entries in 3 calls, 0 refused", "processed": 120, "pages": 3,
    });
    run.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(run).unwrap()
}

#[test]
fn a_run_that_went_well_is_told_in_one_line() {
    assert_eq!(
        summary("one", &run(&json!({}))),
        "one: Succeeded: resumed 120 entries in 3 calls, 0 refused\n"
    );
}

#[test]
fn a_count_that_is_a_lower_bound_is_called_one() {
    let text = summary("one", &run(&json!({ "uncertainPages": 1, "interruptions": 2 })));
    assert!(
        text.contains("a lower bound: the outcome of 1 call is unknown, and the run was interrupted 2 times"),
        "{text}"
    );
}

#[test]
fn a_token_that_is_refused_is_told_with_where_it_comes_from() {
    let text = summary(
        "one",
        &run(&json!({ "result": "Failed", "reason": "Unauthorized", "message": "put it into the Secret" })),
    );
    assert!(text.contains("QSTASH_TOKEN") && !text.contains("Secret"), "{text}");
}

#[test]
fn a_cancelled_run_says_what_it_did_and_names_no_annotation() {
    let text = summary(
        "one",
        &run(&json!({ "result": "Cancelled", "reason": "Cancelled", "message": "by the annotation" })),
    );
    assert_eq!(text, "one: Cancelled: resumed 120 entries in 3 calls, 0 refused\n");
}

#[test]
fn a_dry_run_says_what_it_saw() {
    let summary_ = json!({ "workflowUrls": [{ "value": "https://a.example", "count": 3 }] });
    let text = summary(
        "one",
        &run(&json!({ "dryRun": true, "summary": summary_, "message": "dry run: 3 entries match" })),
    );
    assert_eq!(text, "one: Succeeded: dry run: 3 entries match\n  workflow URLs: https://a.example (3)\n");
}

#[test]
fn what_is_left_is_for_another_drain() {
    for result in ["LimitReached", "DeadlineExceeded"] {
        let fields = json!({ "result": result, "message": "the next run on schedule continues" });
        let text = summary("one", &run(&fields));
        assert!(text.contains("run drain again") && !text.contains("schedule"), "{text}");
    }
}
