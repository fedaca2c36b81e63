use serde_json::json;

use super::*;
use crate::{Ending, Plan, Policy, plan, sample, status};

fn at(clock: &str) -> Timestamp {
    format!("2026-11-20T{clock}Z").parse().unwrap()
}

fn policy() -> Policy {
    let fields = json!({ "schedule": "*/15 * * * *", "jitter": "10m", "startingDeadlineSeconds": 3600 });
    sample::policy(&fields, &[], &sample::permissions())
}

/// The status before a look, and after it.
fn look(policy: &Policy, before: &DlqPolicyStatus, now: Timestamp) -> DlqPolicyStatus {
    let plan = plan(policy, before, now);
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
    assert_eq!(changes(&policy, &DlqPolicyStatus::default(), &before), Changes::default());
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
    let ending = Ending::bad_request(&dlq_upstash::ApiError::transport("no", true));
    let after = status::finished(&policy, &running, &run, &ending, at("12:27:30"));
    assert_eq!(changes(&policy, &running, &after).ended, after.last_run);
    assert_eq!(changes(&policy, &after, &after).ended, None);
    assert_eq!(duration(after.last_run.as_ref().unwrap()), SignedDuration::from_secs(90));
}
