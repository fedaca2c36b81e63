use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::*;
use crate::sample::Known;
use crate::{Outcome, Plan, Policy, sample, status};
use dlq_crd::Reason;

fn at(clock: &str) -> Timestamp {
    format!("2026-11-20T{clock}Z").parse().unwrap()
}

fn policy() -> Policy {
    let fields = json!({ "schedule": "*/15 * * * *", "jitter": "10m", "startingDeadlineSeconds": 3600 });
    sample::policy(&fields, &[], &sample::permissions())
}

/// The status before a look, and after it.
fn look(policy: &Policy, before: &DlqPolicyStatus, now: Timestamp) -> DlqPolicyStatus {
    let plan = Known::from(policy.clone()).plan(before, now);
    let observed = status::observed(policy, before, &plan, now);
    match plan {
        Plan::Start(start) => status::claimed(policy, &observed, start, "pod-1/8c1f", now),
        _ => observed,
    }
}

#[test]
fn a_scheduled_run_is_late_by_what_passed_since_its_jittered_start() {
    let policy = policy();
    let before = look(&policy, &DlqPolicyStatus::default(), at("12:00:01"));
    let told = changes(&policy, &DlqPolicyStatus::default(), &before);
    assert_eq!(told.lateness, None);
    let due = before.next_schedule_time.clone().unwrap().0;
    assert!(due > at("12:15:00"), "the jitter moves it: {due}");
    let now = due + SignedDuration::from_millis(2_250);
    let after = look(&policy, &before, now);
    let lateness = changes(&policy, &before, &after).lateness.unwrap();
    // Times in a status have whole seconds.
    assert!(
        (lateness - SignedDuration::from_millis(2_250)).abs() < SignedDuration::from_secs(1),
        "{lateness}"
    );
    assert_eq!(changes(&policy, &after, &after), Changes::default());
}

#[test]
fn a_run_that_is_taken_over_does_not_start_again() {
    let policy = policy();
    let before = look(&policy, &DlqPolicyStatus::default(), at("12:00:01"));
    let before = look(&policy, &before, at("12:26:00"));
    let taken = status::taken_over(before.current_run.as_ref().unwrap(), "pod-2/1");
    let after = DlqPolicyStatus { current_run: Some(taken), ..before.clone() };
    assert_eq!(changes(&policy, &before, &after), Changes::default());
}

#[test]
fn the_instants_that_were_missed_are_counted_once() {
    let policy = policy();
    let before = look(&policy, &DlqPolicyStatus::default(), at("12:00:01"));
    let after = look(&policy, &before, at("13:12:00"));
    assert_eq!(changes(&policy, &before, &after).missed, 3);
    assert_eq!(changes(&policy, &after, &look(&policy, &after, at("13:12:01"))).missed, 0);
}

#[test]
fn a_run_is_counted_when_its_end_is_written() {
    let policy = policy();
    let before = look(&policy, &DlqPolicyStatus::default(), at("12:00:01"));
    let running = look(&policy, &before, at("12:26:00"));
    let run = running.current_run.clone().unwrap();
    let outcome = Outcome::bad_request(&dlq_upstash::ApiError::transport("no", true));
    let after = status::finished(&policy, &running, &run, &outcome, at("12:27:30"));
    assert_eq!(changes(&policy, &running, &after).ended, after.last_run);
    assert_eq!(changes(&policy, &after, &after).ended, None);
    assert_eq!(duration(after.last_run.as_ref().unwrap()), SignedDuration::from_secs(90));
}

/// Each with whether it warns, and whether it tells of a run: 's' of its start or course, 'e' of its end.
const REASONS: [(EventReason, bool, char); 20] = {
    use EventReason::{
        AwaitingApproval, CircuitClosed, CircuitOpened, DryRunSucceeded, FilterMismatch, LimitReached,
        MissedSchedule, NotReady, PolicySuspended, PolicyUnsuspended, RunAlreadyActive, RunCancelled,
        RunFailed, RunRequestIgnored, RunStarted, RunSucceeded, UncertainPage,
    };
    [
        (RunStarted, false, 's'),
        (RunSucceeded, false, 'e'),
        (DryRunSucceeded, false, 'e'),
        (LimitReached, false, 'e'),
        (RunCancelled, false, 'e'),
        (RunFailed, true, 'e'),
        (NotReady(Reason::Unauthorized), true, 'e'),
        (NotReady(Reason::ReadOnlyToken), true, 'e'),
        (UncertainPage, true, 's'),
        (FilterMismatch, true, 's'),
        (PolicySuspended, false, '-'),
        (PolicyUnsuspended, false, '-'),
        (CircuitClosed, false, '-'),
        (RunAlreadyActive, false, '-'),
        (CircuitOpened, true, '-'),
        (MissedSchedule, true, '-'),
        (NotReady(Reason::InvalidSchedule), true, '-'),
        (NotReady(Reason::SecretKeyNotFound), true, '-'),
        (RunRequestIgnored, true, '-'),
        (AwaitingApproval, true, '-'),
    ]
};

#[test]
fn a_reason_is_called_by_its_name_and_warns_where_somebody_should_look() {
    for (reason, is_warning, of_a_run) in REASONS {
        let name = format!("{reason:?}").replace("NotReady(", "").replace(')', "");
        assert_eq!(reason.as_str(), name);
        assert_eq!(reason.is_warning(), is_warning, "{reason:?}");
        assert_eq!(
            (reason.is_of_a_run(), reason.ends_a_run()),
            (of_a_run != '-', of_a_run == 'e'),
            "{reason:?}"
        );
    }
}

fn told(before: &DlqPolicyStatus, after: &DlqPolicyStatus) -> Vec<(EventReason, String)> {
    let events = changes(&policy(), before, after).events;
    events.into_iter().map(|event| (event.reason, event.text)).collect()
}

/// A status in which a run ended.
fn ended(fields: &serde_json::Value) -> DlqPolicyStatus {
    let mut run = json!({
        "id": "1-spec", "trigger": "Spec", "action": "delete", "startTime": "2026-11-20T12:00:00.000Z",
        "completionTime": "2026-11-20T12:00:09.000Z", "processed": 3, "message": "said",
    });
    run.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    DlqPolicyStatus { last_run: Some(serde_json::from_value(run).unwrap()), ..DlqPolicyStatus::default() }
}

#[test]
fn the_end_of_a_run_is_told_by_its_result() {
    use EventReason::{
        DryRunSucceeded, FilterMismatch, LimitReached, NotReady, RunCancelled, RunFailed, RunSucceeded,
        UncertainPage,
    };
    let after_figures = "deleted 3 entries, 0 refused; said";
    let after_listing = "dry run: listed 3 entries, 0 refused; said";
    for (fields, expected) in [
        (json!({"result": "Succeeded", "reason": "RunSucceeded"}), vec![(RunSucceeded, "said")]),
        (json!({"result": "Succeeded", "reason": "NothingMatched"}), vec![]),
        (
            json!({"result": "Succeeded", "reason": "DryRunSucceeded", "dryRun": true}),
            vec![(DryRunSucceeded, "said")],
        ),
        (json!({"result": "Succeeded", "reason": "DryRunSucceeded", "dryRun": true, "processed": 0}), vec![]),
        (json!({"result": "LimitReached", "reason": "LimitReached"}), vec![(LimitReached, after_figures)]),
        (
            json!({"result": "Cancelled", "reason": "Cancelled", "dryRun": true}),
            vec![(RunCancelled, after_listing)],
        ),
        (
            json!({"result": "Failed", "reason": "Unauthorized", "processed": 0}),
            vec![(NotReady(Reason::Unauthorized), "said")],
        ),
        (json!({"result": "Failed", "reason": "Forbidden"}), vec![(RunFailed, after_figures)]),
        (
            json!({"result": "DeadlineExceeded", "reason": "DeadlineExceeded"}),
            vec![(RunFailed, after_figures)],
        ),
        // As a newer operator wrote it.
        (json!({"result": "Postponed", "reason": "RunSucceeded"}), vec![]),
        (
            json!({"result": "Succeeded", "reason": "RunSucceeded", "uncertainPages": 1, "leftAlone": 1}),
            vec![
                (UncertainPage, "the outcome of 1 call is unknown; the run's count is a lower bound"),
                (
                    FilterMismatch,
                    "Upstash's list showed 1 entry that spec.filters does not select, and that the run left alone",
                ),
                (RunSucceeded, "said"),
            ],
        ),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|(reason, text)| (reason, text.to_owned())).collect();
        assert_eq!(told(&DlqPolicyStatus::default(), &ended(&fields)), expected, "{fields}");
        assert_eq!(told(&ended(&fields), &ended(&fields)), [], "{fields}");
    }
}

/// A status whose `Ready` says this.
fn ready(reason: &str, failures: i64) -> DlqPolicyStatus {
    let conditions = json!([{ "type": "Ready", "status": "False", "reason": reason, "message": "why",
        "lastTransitionTime": "2026-11-20T12:00:00Z" }]);
    let status = json!({ "conditions": conditions, "consecutiveFailures": failures });
    serde_json::from_value(status).unwrap()
}

#[test]
fn what_ready_says_is_told_when_it_changes() {
    use EventReason::{CircuitClosed, CircuitOpened, NotReady, PolicySuspended, PolicyUnsuspended};
    let opened = "2 runs failed in a row; fix the cause, then set dlq-operator.dev/resetAt to a new value";
    let closed = "fewer runs failed in a row than failurePolicy.openCircuitAfter; the circuit is closed";
    for (from, to, expected) in [
        ("Scheduled", "Suspended", Some((PolicySuspended, "why"))),
        ("Suspended", "Paused", Some((PolicySuspended, "why"))),
        ("", "Paused", Some((PolicySuspended, "why"))),
        ("NewerWord", "Paused", Some((PolicySuspended, "why"))),
        ("Suspended", "Scheduled", Some((PolicyUnsuspended, "no longer suspended or paused: why"))),
        (
            "Paused",
            "Unauthorized",
            Some((PolicyUnsuspended, "no longer suspended or paused: Unauthorized: why")),
        ),
        (
            "Suspended",
            "CircuitOpen",
            Some((PolicyUnsuspended, "no longer suspended or paused: CircuitOpen: why")),
        ),
        ("Suspended", "InvalidSpec", Some((NotReady(Reason::InvalidSpec), "why"))),
        ("Idle", "InvalidSchedule", Some((NotReady(Reason::InvalidSchedule), "why"))),
        ("Idle", "ActionNotAllowed", Some((NotReady(Reason::ActionNotAllowed), "why"))),
        ("Idle", "NoConnection", Some((NotReady(Reason::NoConnection), "why"))),
        ("Idle", "SecretNotFound", Some((NotReady(Reason::SecretNotFound), "why"))),
        ("SecretNotFound", "SecretInvalid", Some((NotReady(Reason::SecretInvalid), "why"))),
        ("Scheduled", "Unauthorized", None),
        ("", "Scheduled", None),
        ("SecretNotFound", "Scheduled", None),
        ("Scheduled", "CircuitOpen", Some((CircuitOpened, opened))),
        ("Unauthorized", "CircuitOpen", Some((CircuitOpened, opened))),
        ("InvalidSpec", "CircuitOpen", None),
        ("CircuitOpen", "Idle", Some((CircuitClosed, closed))),
        ("CircuitOpen", "Unauthorized", None),
        ("Idle", "Idle", None),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|(reason, text)| (reason, text.to_owned())).collect();
        assert_eq!(told(&ready(from, 2), &ready(to, 2)), expected, "{from} to {to}");
    }
    assert_eq!(told(&ready("CircuitOpen", 2), &ready("Idle", 0)), [], "a reset says it itself");
}

#[test]
fn a_time_that_was_skipped_before_a_run_began_is_not_told_of_at_its_end() {
    let policy = sample::policy(&json!({ "schedule": "*/15 * * * *" }), &[], &sample::permissions());
    for (skipped, told) in [("12:00:00", false), ("12:15:00", true)] {
        let mut after = ended(&json!({ "result": "Succeeded", "reason": "NothingMatched" }));
        after.observed_schedule = Some(policy.schedule.as_ref().unwrap().as_ref().unwrap().text().to_owned());
        after.schedule_since = Some(Time(at("11:00:00")));
        after.last_skipped_time = Some(Time(at(skipped)));
        let events = changes(&policy, &DlqPolicyStatus::default(), &after).events;
        assert_eq!(!events.is_empty(), told, "{skipped}: {events:?}");
    }
}

#[test]
fn that_entries_expire_is_told_once_for_as_long_as_some_do() {
    let status = |expiring: Option<i64>| {
        let backlog =
            json!({ "observedTime": "2026-11-20T12:00:00Z", "entries": 9, "expiringWithinDay": expiring });
        let backlog = Some(serde_json::from_value(backlog).unwrap());
        DlqPolicyStatus { backlog, ..DlqPolicyStatus::default() }
    };
    let told = |before: &DlqPolicyStatus, after: Option<i64>| {
        let changes = changes(&policy(), before, &status(after));
        changes.events.iter().filter(|event| event.reason == EventReason::EntriesExpiring).count()
    };
    let nothing = DlqPolicyStatus::default();
    assert_eq!((told(&nothing, Some(1)), told(&nothing, Some(0)), told(&nothing, None)), (1, 0, 0));
    assert_eq!((told(&status(Some(0)), Some(7)), told(&status(None), Some(7))), (1, 1));
    assert_eq!((told(&status(Some(7)), Some(8)), told(&status(Some(7)), Some(0))), (0, 0));
    let text = changes(&policy(), &nothing, &status(Some(1))).events.remove(0).text;
    assert!(text.contains("spec.backlog.retention") && !text.contains(char::is_numeric), "{text}");
    assert!(text.len() <= 160, "a longer one is cut");
}
