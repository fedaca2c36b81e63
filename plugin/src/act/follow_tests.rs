#![expect(clippy::needless_pass_by_value, reason = "what `json!` makes is given away")]

use serde_json::{Value, json};

use super::*;
use crate::sample;

fn request() -> RunRequest {
    RunRequest { at: "2026-11-20T12:00:00.000Z".to_owned(), is_dry: false, by: None, reason: None }
}

fn policy(status: Value) -> Stored {
    sample::policy("a", json!({ "action": "resume", "filters": { "all": true } }), status)
}

fn run(id: &str, further: Value) -> Value {
    let mut run =
        json!({ "id": id, "trigger": "Manual", "action": "resume", "startTime": "2026-11-20T12:00:01.000Z" });
    run.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    run
}

#[test]
fn the_run_of_a_request_is_told_from_every_other_run() {
    let id = request().run_id();
    let handled = json!("2026-11-20T12:00:00.000Z");
    for (row, status, is_expected) in [
        (
            "no operator has seen it",
            json!({ "currentRun": run("other", json!({})), "lastHandledRequestedAt": "before" }),
            (|stage| matches!(stage, Stage::Unseen)) as fn(Stage<'_>) -> bool,
        ),
        (
            "it is in progress",
            json!({ "currentRun": run(&id, json!({})), "lastRun": run("other", json!({})), "lastHandledRequestedAt": handled }),
            |stage| matches!(stage, Stage::Running(Some(_))),
        ),
        (
            "a newer operator runs it",
            json!({ "currentRun": run(&id, json!({ "trigger": "Moon" })), "lastHandledRequestedAt": handled }),
            |stage| matches!(stage, Stage::Running(None)),
        ),
        (
            "it has ended",
            json!({ "lastRun": run(&id, json!({ "result": "Failed" })), "lastHandledRequestedAt": handled }),
            |stage| matches!(stage, Stage::Ended(Some(_))),
        ),
        (
            "another one ended after it",
            json!({
                "lastRun": run("other", json!({})), "lastHandledRequestedAt": handled,
                "history": [run("other", json!({})), run(&id, json!({ "result": "Succeeded" }))],
            }),
            |stage| matches!(stage, Stage::Passed(Some(RunResult::Succeeded))),
        ),
        ("it was ignored", json!({ "lastHandledRequestedAt": handled }), |stage| {
            matches!(stage, Stage::Ignored)
        }),
    ] {
        let policy = policy(status);
        assert!(is_expected(stage(&policy, &request())), "{row}: {:?}", stage(&policy, &request()));
    }
}

#[test]
fn the_exit_code_follows_from_the_result() {
    let outcome = |further, fail_if_empty| {
        summary::outcome(&serde_json::from_value(run("a", further)).unwrap(), fail_if_empty)
    };
    for (result, expected) in [
        ("Succeeded", Outcome::Done),
        ("LimitReached", Outcome::Done),
        ("Failed", Outcome::RunFailed),
        ("Cancelled", Outcome::RunFailed),
        ("DeadlineExceeded", Outcome::RunFailed),
        ("Postponed", Outcome::RunFailed),
    ] {
        assert_eq!(outcome(json!({ "result": result, "processed": 3 }), true), expected, "{result}");
    }
    assert_eq!(outcome(json!({ "result": "Succeeded" }), true), Outcome::Empty);
    assert_eq!(outcome(json!({ "result": "Succeeded" }), false), Outcome::Done);
    assert_eq!(outcome(json!({ "result": "Failed" }), true), Outcome::RunFailed, "a failure is no emptiness");
    assert_eq!(outcome(json!({ "result": "Succeeded", "rejected": 2 }), true), Outcome::Done, "two matched");
}
