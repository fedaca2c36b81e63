//! What is said of a run that waits for an approval, and of approvals.

use super::*;

fn gated(annotations: &[(&str, &str)]) -> Known {
    annotated(&json!({ "limits": { "approvalAbove": 500 }, "schedule": "*/15 * * * *" }), annotations)
}

/// The run that began at 12:15, as it counted.
fn counting() -> DlqPolicyStatus {
    started(&gated(&[]), &seen(&gated(&[]), "12:00:01"), at("12:15:00"))
}

fn asked() -> PolicyRun {
    PolicyRun {
        matched: Some(1234),
        approval_id: Some("5f3c".to_owned()),
        approval_requested_time: Some(at("12:16:00").into()),
        holder: Some(String::new()),
        ..counting().current_run.unwrap()
    }
}

/// The status in which it waits, and what is told when it begins to.
fn waiting() -> (DlqPolicyStatus, Vec<ObjectEvent>) {
    let policy = gated(&[]);
    told(&policy, &counting(), awaiting_approval(&policy, &counting(), &asked(), at("12:16:00")))
}

fn expired() -> DlqPolicyStatus {
    let now = "2026-11-21T12:16:00Z".parse().unwrap();
    let run = waiting().0.current_run.unwrap();
    finished(&gated(&[]), &waiting().0, &run, &Outcome::expired(&run), now)
}

fn reasons(events: &[ObjectEvent]) -> Vec<&str> {
    events.iter().map(|event| event.reason.as_str()).collect()
}

#[test]
fn a_run_that_waits_says_how_many_match_and_what_starts_it_once() {
    let (status, events) = waiting();
    let expected = "1234 entries match, more than limits.approvalAbove (500); to start the run, set \
                    dlq-operator.dev/approvedRun to 5f3c";
    assert_eq!((status.phase, status.message.as_deref()), (Some(Phase::AwaitingApproval), Some(expected)));
    let running = find(&status.conditions, ConditionType::Running).unwrap();
    assert_eq!(
        (running.status.as_str(), running.reason.as_str(), running.message.as_str()),
        ("True", "AwaitingApproval", expected)
    );
    let ready = find(&status.conditions, ConditionType::Ready).unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("True", "Scheduled"));
    assert_eq!(events, [ObjectEvent::new(EventReason::AwaitingApproval, expected)]);
    assert!(EventReason::AwaitingApproval.is_warning());
    let (later, events) = look(&gated(&[]), &status, at("13:00:00"));
    assert_eq!(later, status, "nothing is written while it waits");
    assert_eq!(events, []);
}

#[test]
fn a_run_says_that_it_counts_until_all_is_counted() {
    let policy = gated(&[]);
    let message =
        |run: PolicyRun| running(&policy, &counting(), &run, Activity::Working, at("12:15:30")).message;
    let begun = counting().current_run.unwrap();
    let seen = PolicyRun { summary: Some(Box::default()), ..begun.clone() };
    let counted = PolicyRun { matched: Some(3), ..seen.clone() };
    assert_eq!(message(begun).as_deref(), Some("a run is in progress"));
    assert_eq!(
        message(seen).as_deref(),
        Some("a run counts what it would act on, as limits.approvalAbove is set")
    );
    assert_eq!(message(counted).as_deref(), Some("a run is in progress"));
}

#[test]
fn the_scheduled_times_that_come_before_and_while_a_run_waits_are_skipped() {
    let (status, _) = look(&gated(&[("approvedRun", "5f3c")]), &waiting().0, at("13:07:00"));
    assert_eq!(status.last_skipped_time, Some(seconds(at("13:00:00"))));
    let after = expired();
    let latest: Timestamp = "2026-11-21T12:15:00Z".parse().unwrap();
    assert_eq!((after.last_skipped_time, after.missed_schedules), (Some(seconds(latest)), 0));
}

#[test]
fn a_run_that_nobody_approves_ends_cancelled_and_counts_for_no_circuit() {
    let before = DlqPolicyStatus { consecutive_failures: 2, ..waiting().0 };
    let run = before.current_run.clone().unwrap();
    let (after, events) = told(
        &gated(&[]),
        &before,
        finished(&gated(&[]), &before, &run, &Outcome::expired(&run), at("12:17:00")),
    );
    let last = after.last_run.as_ref().unwrap();
    assert_eq!((last.result, last.reason), (Some(RunResult::Cancelled), Some(Reason::Expired)));
    let condition = find(&after.conditions, ConditionType::LastRunSucceeded).unwrap();
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("False", "Expired"));
    let expected = "not approved within a day; 1234 entries match, more than limits.approvalAbove (500); a further run \
                    counts anew and asks again";
    assert_eq!(condition.message, expected);
    assert_eq!((after.consecutive_failures, after.totals.failed_runs), (2, 0));
    assert_eq!(reasons(&events), ["RunCancelled"]);
}

#[test]
fn an_approval_that_names_no_run_that_waits_is_told_once_and_the_right_one_is_not() {
    let ignored = |policy: &Known, before: &DlqPolicyStatus| {
        let (after, events) = look(policy, before, at("13:00:00"));
        let (_, again) = look(policy, &after, at("13:00:01"));
        assert!(!reasons(&again).contains(&"RunRequestIgnored"), "told twice: {again:?}");
        events.into_iter().find(|event| event.reason.as_str() == "RunRequestIgnored").map(|event| event.text)
    };
    let (status, _) = waiting();
    assert_eq!(ignored(&gated(&[("approvedRun", "5f3c")]), &status), None);
    let other = ignored(&gated(&[("approvedRun", "77aa")]), &status).unwrap();
    assert!(
        other.contains("names no run that waits") && other.contains("status.currentRun.approvalId"),
        "{other}"
    );
    let long = ignored(&gated(&[("approvedRun", &"x".repeat(257))]), &status).unwrap();
    assert!(long.contains("longer than 256 bytes"), "{long}");
    let after = expired();
    let late = ignored(&gated(&[("approvedRun", "5f3c")]), &after).unwrap();
    assert!(late.contains("names a run that has ended"), "{late}");
}

#[test]
fn a_run_took_as_long_as_it_did_beside_its_wait() {
    let ended = |end: &str, approved: Option<&str>| {
        let run = PolicyRun { approved_time: approved.map(|time| at(time).into()), ..asked() };
        let outcome = Outcome::cancelled("enough".to_owned());
        let after = finished(&gated(&[]), &counting(), &run, &outcome, at(end));
        changes::duration(after.last_run.as_ref().unwrap()).as_secs()
    };
    assert_eq!(ended("13:30:00", Some("13:16:00")), 15 * 60);
    assert_eq!(ended("13:30:00", None), 60);
}

#[test]
fn a_run_that_only_counted_tells_nothing_of_whether_the_token_may_act() {
    let listed = PolicyRun { pages: 3, ..asked() };
    let before = DlqPolicyStatus { refused_reason: Some(TokenRefusal::ReadOnlyToken), ..waiting().0 };
    let outcome = Outcome::cancelled("enough".to_owned());
    let refused =
        |run: &PolicyRun| finished(&gated(&[]), &before, run, &outcome, at("13:00:00")).refused_reason;
    assert_eq!(refused(&listed), Some(TokenRefusal::ReadOnlyToken));
    assert_eq!(refused(&PolicyRun { processed: 1, ..listed }), None);
}
