//! Failure functions, run again and cancelled.

use super::*;

#[test]
fn a_failure_function_runs_again_only_when_it_failed() {
    let failed = NewEntry { failure_function_state: Some(FailureFunctionState::CallbackFail), ..named("e") };
    let mut dlq = dlq_of([failed, named("none")]);
    assert!(dlq.rerun_failure_function("none").is_err());
    assert!(dlq.rerun_failure_function("e").is_ok());
    assert!(dlq.rerun_failure_function("e").is_err(), "it is in progress now");
    assert_eq!(dlq.entries().count(), 2);
}

#[test]
fn a_failure_function_is_cancelled_only_while_it_runs() {
    let in_state = |id, state| NewEntry { failure_function_state: Some(state), ..named(id) };
    let mut dlq = dlq_of([
        in_state("failed", FailureFunctionState::CallbackFail),
        in_state("running", FailureFunctionState::CallbackInProgress),
        in_state("done", FailureFunctionState::CallbackSuccess),
        named("none"),
    ]);
    let mut cancel = |id| {
        dlq.cancel_failure_function(id).map(|entry| entry.failure_function_state).map_err(|no| no.status)
    };
    assert_eq!(cancel("running"), Ok(Some(FailureFunctionState::CallbackCanceled)));
    for id in ["running", "failed", "done", "none"] {
        assert_eq!(cancel(id), Err(http::StatusCode::BAD_REQUEST), "{id}");
    }
    assert_eq!(cancel("gone"), Err(http::StatusCode::NOT_FOUND));
    dlq.rerun_failure_function("failed").expect("it has failed");
    assert!(dlq.cancel_failure_function("failed").is_ok(), "it runs again");
    assert_eq!(dlq.entries().count(), 4);
}
