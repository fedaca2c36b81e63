#[path = "status_approval_tests.rs"]
mod approval;
#[path = "status_requests_tests.rs"]
mod requests;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::sample::Known;
use crate::spec::invalid::Invalid;
use crate::spec::policy::Pause;
use crate::{Connectivity, EventReason, ObjectEvent, Permissions, changes, sample};
use dlq_crd::{Phase, TokenRefusal};

fn at(clock: &str) -> Timestamp {
    format!("2026-11-20T{clock}Z").parse().unwrap()
}

fn plan(known: &Known, status: &DlqPolicyStatus, now: Timestamp) -> Plan {
    known.plan(status, now)
}

fn annotated(fields: &Value, annotations: &[(&str, &str)]) -> Known {
    let permissions = Permissions { actions: vec![dlq_crd::Action::Resume], ..sample::permissions() };
    sample::policy(fields, annotations, &permissions).into()
}

fn policy(fields: &Value) -> Known {
    annotated(fields, &[])
}

fn quarterly() -> Known {
    policy(&json!({"schedule": "*/15 * * * *"}))
}

fn missing(reason: Reason) -> Known {
    let on = Invalid { reason, message: "Secret upstash is not there".into() };
    quarterly().with(Connectivity::Missing(on))
}

fn look(policy: &Known, before: &DlqPolicyStatus, now: Timestamp) -> (DlqPolicyStatus, Vec<ObjectEvent>) {
    told(policy, before, observed(policy, before, &plan(policy, before, now), now))
}

/// A status, and what is told of it.
fn told(
    policy: &Known,
    before: &DlqPolicyStatus,
    status: DlqPolicyStatus,
) -> (DlqPolicyStatus, Vec<ObjectEvent>) {
    let events = changes(policy, before, &status).events;
    (status, events)
}

fn seen(policy: &Known, now: &str) -> DlqPolicyStatus {
    look(policy, &DlqPolicyStatus::default(), at(now)).0
}

fn started(policy: &Known, before: &DlqPolicyStatus, now: Timestamp) -> DlqPolicyStatus {
    let plan = plan(policy, before, now);
    let observed = observed(policy, before, &plan, now);
    let Plan::Start(start) = plan else { panic!("{plan:?}") };
    claimed(policy, &observed, start, "pod-1/8c1f", now)
}

fn end(
    policy: &Known,
    before: &DlqPolicyStatus,
    outcome: &Outcome,
    now: Timestamp,
) -> (DlqPolicyStatus, Vec<ObjectEvent>) {
    let run = PolicyRun { pages: 1, processed: 7, ..before.current_run.clone().unwrap() };
    // A checkpoint told of the entries.
    let checkpoint = DlqPolicyStatus { current_run: Some(run.clone()), ..before.clone() };
    told(policy, &checkpoint, finished(policy, before, &run, outcome, now))
}

/// The status after a requested run that ended so.
fn after(fields: &Value, outcome: &Outcome) -> DlqPolicyStatus {
    let policy = policy(fields);
    end(&policy, &requested(fields), outcome, at("12:01:00")).0
}

/// The status in which a requested run continues.
fn requested(fields: &Value) -> DlqPolicyStatus {
    started(&annotated(fields, &[("requestedAt", "1")]), &DlqPolicyStatus::default(), at("12:00:00"))
}

fn outcome(result: RunResult, reason: Reason) -> Outcome {
    Outcome::new(result, reason, "the run's message")
}

fn well() -> Outcome {
    outcome(RunResult::Succeeded, Reason::RunSucceeded)
}

fn badly() -> Outcome {
    outcome(RunResult::Failed, Reason::UpstreamUnavailable)
}

/// A condition as `value reason`; empty when it is absent.
fn condition(status: &DlqPolicyStatus, kind: &str) -> String {
    let found = status.conditions.iter().find(|condition| condition.type_ == kind);
    found.map(|condition| format!("{} {}", condition.status, condition.reason)).unwrap_or_default()
}

fn since(status: &DlqPolicyStatus, kind: &str) -> Timestamp {
    status.conditions.iter().find(|condition| condition.type_ == kind).unwrap().last_transition_time.0
}

fn reasons(events: &[ObjectEvent]) -> Vec<EventReason> {
    events.iter().map(|event| event.reason).collect()
}

#[test]
fn ready_says_whether_the_policy_can_run_and_kstatus_follows() {
    let circuit = json!({"schedule": "@hourly", "failurePolicy": {"openCircuitAfter": 1}});
    let tripped = DlqPolicyStatus { consecutive_failures: 1, ..seen(&policy(&circuit), "11:00:01") };
    let new = DlqPolicyStatus::default();
    let elsewhere = json!({"connection": {
        "url": "https://evil.example", "tokenSecretRef": {"name": "upstash", "key": "token"},
    }});
    let mut unconnected = policy(&json!({}));
    unconnected.work = Err(Invalid { reason: Reason::NoConnection, message: "none".into() });
    let read_only =
        Outcome { not_ready: Some(Reason::ReadOnlyToken), ..outcome(RunResult::Failed, Reason::Forbidden) };
    let refused = after(&json!({}), &Outcome::unauthorized("401"));
    let barred = after(&json!({}), &read_only);
    let done = after(&json!({}), &badly());
    let table = vec![
        (quarterly(), &new, "True Scheduled", "", Phase::Scheduled),
        (policy(&json!({})), &done, "True Idle", "", Phase::Failed),
        (policy(&json!({"suspend": true})), &new, "True Suspended", "", Phase::Suspended),
        (annotated(&json!({}), &[("paused", "x")]), &new, "True Paused", "", Phase::Paused),
        (policy(&json!({"filters": {"labels": []}})), &new, "False InvalidSpec", "Stalled", Phase::Invalid),
        (policy(&json!({"schedule": "soon"})), &new, "False InvalidSchedule", "Stalled", Phase::Invalid),
        (
            policy(&json!({"schedule": "@hourly", "timeZone": "Mars"})),
            &new,
            "False InvalidTimeZone",
            "Stalled",
            Phase::Invalid,
        ),
        (unconnected, &new, "False NoConnection", "Stalled", Phase::Invalid),
        (missing(Reason::SecretNotFound), &new, "False SecretNotFound", "Reconciling", Phase::Pending),
        (missing(Reason::SecretKeyNotFound), &new, "False SecretKeyNotFound", "Reconciling", Phase::Pending),
        (missing(Reason::SecretInvalid), &new, "False SecretInvalid", "Stalled", Phase::Invalid),
        (policy(&json!({})), &refused, "False Unauthorized", "Stalled", Phase::Failed),
        (policy(&json!({})), &barred, "False ReadOnlyToken", "Stalled", Phase::Failed),
        (policy(&elsewhere), &new, "False UrlNotAllowed", "Stalled", Phase::Invalid),
        (policy(&json!({"action": "delete"})), &new, "False ActionNotAllowed", "Stalled", Phase::Invalid),
        (policy(&circuit), &tripped, "True CircuitOpen", "", Phase::CircuitOpen),
    ];
    for (policy, before, ready, kstatus, phase) in table {
        let (status, _) = look(&policy, before, at("12:10:00"));
        assert_eq!(condition(&status, "Ready"), ready);
        let reason = ready.split(' ').next_back().unwrap();
        for kind in ["Reconciling", "Stalled"] {
            let expected = if kind == kstatus { format!("True {reason}") } else { String::new() };
            assert_eq!(condition(&status, kind), expected, "{ready} {kind}");
        }
        assert_eq!(status.phase, Some(phase), "{ready}");
        assert_eq!(condition(&status, "Running"), "False Idle", "{ready}");
        assert_eq!(status.observed_generation, Some(3), "{ready}");
        assert!(
            status.conditions.iter().all(|condition| condition.observed_generation == Some(3)),
            "{ready}"
        );
        // A second look changes nothing.
        assert_eq!(look(&policy, &status, at("12:10:01")), (status, Vec::new()), "{ready}");
    }
}

#[test]
fn running_says_what_the_run_does() {
    let status = requested(&json!({}));
    assert_eq!(condition(&status, "Running"), "True RunInProgress");
    assert_eq!((status.phase, status.processed), (Some(Phase::Running), Some(0)));
    let table = [
        (Activity::Working, "True RunInProgress"),
        (Activity::Throttled, "True Throttled"),
        (Activity::Retrying, "True Retrying"),
        (Activity::Queued, "True Queued"),
    ];
    for (activity, expected) in table {
        let run = PolicyRun { processed: 600, ..status.current_run.clone().unwrap() };
        let next = running(&policy(&json!({})), &status, &run, activity, at("12:05:00"));
        assert_eq!(condition(&next, "Running"), expected);
        assert_eq!(condition(&next, "Ready"), "True Idle");
        assert_eq!((next.phase, next.processed), (Some(Phase::Running), Some(600)));
        assert_eq!(since(&next, "Running"), at("12:00:00"));
        assert!(next.message.unwrap().starts_with("a run "));
    }
    let (done, _) = end(&policy(&json!({})), &status, &well(), at("12:05:00"));
    assert_eq!(condition(&done, "Running"), "False Idle");
    assert_eq!(since(&done, "Running"), at("12:05:00"));
}

#[test]
fn a_run_that_waits_is_still_waiting_when_somebody_looks() {
    let before = requested(&json!({}));
    let run = PolicyRun { waiting_until: Some(at("12:10:00").into()), ..before.current_run.clone().unwrap() };
    let policy = policy(&json!({}));
    let status = running(&policy, &before, &run, Activity::Throttled, at("12:05:00"));
    assert_eq!(condition(&look(&policy, &status, at("12:06:00")).0, "Running"), "True Throttled");
    assert_eq!(condition(&look(&policy, &status, at("12:10:00")).0, "Running"), "True RunInProgress");
}

#[test]
fn last_run_succeeded_says_how_the_last_run_went_and_ready_does_not_care() {
    use RunResult::{Cancelled, DeadlineExceeded, Failed, LimitReached, Succeeded};
    let never = seen(&quarterly(), "12:00:00");
    assert_eq!(condition(&never, "LastRunSucceeded"), "Unknown NeverRun");
    let table = [
        (Succeeded, Reason::RunSucceeded, "True RunSucceeded", Phase::Succeeded),
        (Succeeded, Reason::NothingMatched, "True NothingMatched", Phase::Succeeded),
        (LimitReached, Reason::LimitReached, "True LimitReached", Phase::Succeeded),
        (Succeeded, Reason::DryRunSucceeded, "True DryRunSucceeded", Phase::Succeeded),
        (Failed, Reason::BadRequest, "False BadRequest", Phase::Failed),
        (Failed, Reason::Forbidden, "False Forbidden", Phase::Failed),
        (Failed, Reason::UpstreamUnavailable, "False UpstreamUnavailable", Phase::Failed),
        (Failed, Reason::RateLimited, "False RateLimited", Phase::Failed),
        (Failed, Reason::CursorLoop, "False CursorLoop", Phase::Failed),
        (DeadlineExceeded, Reason::DeadlineExceeded, "False DeadlineExceeded", Phase::Failed),
        (Cancelled, Reason::Cancelled, "False Cancelled", Phase::Failed),
    ];
    for (result, reason, expected, phase) in table {
        let status = after(&json!({}), &outcome(result, reason));
        assert_eq!(condition(&status, "LastRunSucceeded"), expected);
        assert_eq!(condition(&status, "Ready"), "True Idle", "{expected}");
        assert_eq!(
            (status.phase, status.message.as_deref()),
            (Some(phase), Some("the run's message")),
            "{expected}"
        );
        let scheduled = after(&json!({"schedule": "@hourly"}), &outcome(result, reason));
        assert_eq!(scheduled.phase, Some(Phase::Scheduled), "{expected}");
        let run = status.last_run.unwrap();
        assert_eq!((run.result, run.reason, run.holder), (Some(result), Some(reason), None));
        assert_eq!(run.completion_time, Some(at("12:01:00").into()));
        assert!(status.current_run.is_none());
    }
    let refused = after(&json!({}), &Outcome::unauthorized("401"));
    assert_eq!(condition(&refused, "LastRunSucceeded"), "False Unauthorized");
    assert_eq!(condition(&refused, "Ready"), "False Unauthorized");
}

#[test]
fn a_policy_that_became_invalid_says_so_while_its_run_goes_on_and_ends() {
    let before = requested(&json!({}));
    let broken = policy(&json!({"schedule": "soon"}));
    let (on, events) = look(&broken, &before, at("12:00:10"));
    assert_eq!((condition(&on, "Ready"), on.phase), ("False InvalidSchedule".into(), Some(Phase::Running)));
    assert_eq!(reasons(&events), [EventReason::NotReady(Reason::InvalidSchedule)]);
    let barred = policy(&json!({"action": "delete"}));
    let (cancelling, events) = look(&barred, &before, at("12:00:10"));
    assert_eq!(reasons(&events), [EventReason::NotReady(Reason::ActionNotAllowed)]);
    let (ended, _) = end(&barred, &cancelling, &Outcome::cancelled("cancelled".into()), at("12:00:10"));
    assert_eq!(
        (condition(&ended, "Ready"), ended.phase),
        ("False ActionNotAllowed".into(), Some(Phase::Invalid))
    );
    assert_eq!(look(&barred, &ended, at("12:00:11")).1, []);
}

#[test]
fn a_refused_token_stands_until_a_run_gets_through_or_the_work_changes() {
    let fields = json!({"schedule": "*/15 * * * *"});
    let refused = after(&fields, &Outcome::unauthorized("401"));
    assert_eq!(refused.next_schedule_time.as_ref().unwrap().0, at("12:15:00"));
    let next = started(&policy(&fields), &refused, at("12:15:00"));
    assert_eq!(condition(&next, "Ready"), "False Unauthorized");
    let before_any_page = next.current_run.clone().unwrap();
    let outcome = Outcome::cancelled("c".into());
    let cancelled = finished(&policy(&fields), &next, &before_any_page, &outcome, at("12:16:00"));
    assert_eq!(condition(&cancelled, "Ready"), "False Unauthorized");
    assert_eq!(since(&cancelled, "Ready"), at("12:01:00"));
    let (through, _) = end(&policy(&fields), &next, &well(), at("12:16:00"));
    assert_eq!(condition(&through, "Ready"), "True Scheduled");
    assert_eq!(condition(&through, "Stalled"), "");
    let edited = policy(&json!({"schedule": "*/15 * * * *", "filters": {"all": true}}));
    assert_eq!(condition(&look(&edited, &refused, at("12:02:00")).0, "Ready"), "True Scheduled");
}

#[test]
fn a_refused_token_is_remembered_over_a_suspend_and_back() {
    let refusals = [
        ("False ReadOnlyToken", Outcome::read_only("Upstash answered 403: no")),
        ("False Unauthorized", Outcome::unauthorized("Upstash answered 401")),
    ];
    for (said, refusal) in refusals {
        for fields in [json!({}), json!({"schedule": "*/15 * * * *"})] {
            let suspended = |suspend: bool| {
                let mut fields = fields.clone();
                fields["suspend"] = suspend.into();
                policy(&fields)
            };
            let refused = after(&fields, &refusal);
            assert_eq!(condition(&refused, "Ready"), said);
            let held = look(&suspended(true), &refused, at("12:02:00")).0;
            assert_eq!(condition(&held, "Ready"), "True Suspended");
            let back = look(&suspended(false), &held, at("12:03:00")).0;
            assert_eq!(
                (condition(&back, "Ready"), condition(&back, "Stalled").is_empty()),
                (said.into(), false)
            );
            // A run that did not get through to Upstash tells nothing new.
            let away = Outcome::failed(Reason::UpstreamUnavailable, "gave up");
            let asked = annotated(&fields, &[("requestedAt", "2")]);
            let again = started(&asked, &back, at("12:04:00"));
            let run = again.current_run.clone().unwrap();
            let again = finished(&asked, &again, &run, &away, at("12:05:00"));
            assert_eq!(condition(&again, "Ready"), said);
            assert!(
                !again.message.unwrap().contains("gave up"),
                "the reason and the message are of one thing"
            );
        }
    }
}

#[test]
fn the_next_time_is_shown_rounded_up_and_only_when_a_run_would_start() {
    let jittered = policy(&json!({"schedule": "*/15 * * * *", "jitter": "10m"}));
    let status = seen(&jittered, "12:00:01");
    let Ok(Some(schedule)) = &jittered.schedule else { panic!("no schedule") };
    let start = schedule.jittered(at("12:15:00"), at("12:00:01"));
    let shown = status.next_schedule_time.unwrap().0;
    assert!(shown >= start && shown.duration_since(start) < SignedDuration::from_secs(1), "{shown} {start}");
    assert_eq!(shown.subsec_nanosecond(), 0);
    let running = started(&quarterly(), &seen(&quarterly(), "12:00:01"), at("12:15:00"));
    assert_eq!(running.next_schedule_time.unwrap().0, at("12:30:00"));
    let none = [
        policy(&json!({})),
        policy(&json!({"schedule": "@hourly", "suspend": true})),
        annotated(&json!({"schedule": "@hourly"}), &[("paused", "x")]),
        missing(Reason::SecretNotFound),
    ];
    for policy in none {
        assert!(seen(&policy, "12:00:01").next_schedule_time.is_none());
    }
}

#[test]
fn the_next_time_names_no_instant_that_is_over() {
    let policy = policy(&json!({"schedule": "*/15 * * * *"}));
    let after_run = finished_at(&policy, "12:46:00");
    let missed =
        DlqPolicyStatus { last_missed_time: Some(seconds(at("12:45:00"))), ..seen(&policy, "12:00:01") };
    for status in [after_run, missed] {
        // The clock was set back since.
        let (status, _) = look(&policy, &status, at("12:20:00"));
        assert_eq!(plan(&policy, &status, at("12:20:00")), Plan::Idle { next: Some(at("13:00:00")) });
        assert_eq!(status.next_schedule_time.unwrap().0, at("13:00:00"));
    }
}

fn finished_at(policy: &Known, clock: &str) -> DlqPolicyStatus {
    let running = started(policy, &seen(policy, "12:00:01"), at("12:15:00"));
    end(policy, &running, &well(), at(clock)).0
}

#[test]
fn counters_follow_the_results() {
    use RunResult::{Cancelled, DeadlineExceeded, Failed, LimitReached, Succeeded};
    let mut status = DlqPolicyStatus::default();
    let table = [
        (Failed, Reason::BadRequest, 1, 1),
        (DeadlineExceeded, Reason::DeadlineExceeded, 2, 2),
        (Cancelled, Reason::Cancelled, 2, 2),
        (LimitReached, Reason::LimitReached, 0, 2),
        (Cancelled, Reason::Cancelled, 0, 2),
        (Failed, Reason::RateLimited, 1, 3),
        (Succeeded, Reason::NothingMatched, 0, 3),
    ];
    for (index, (result, reason, in_a_row, failed)) in table.into_iter().enumerate() {
        let policy = annotated(&json!({"historyLimit": 3}), &[("requestedAt", &index.to_string())]);
        status = started(&policy, &status, at("12:00:00"));
        status = end(&policy, &status, &outcome(result, reason), at("12:00:01")).0;
        assert_eq!((status.consecutive_failures, status.totals.failed_runs), (in_a_row, failed), "{index}");
        let runs = i64::try_from(index + 1).unwrap();
        assert_eq!((status.totals.runs, status.totals.processed), (runs, 7 * runs));
        assert_eq!((status.history.len(), status.history[0].result), ((index + 1).min(3), Some(result)));
        let ended_well = matches!(result, Succeeded | LimitReached);
        assert!(!ended_well || status.last_successful_time.as_ref().unwrap().0 == at("12:00:01"));
    }
    let newest_first: Vec<_> = status.history.iter().map(|run| run.reason.unwrap()).collect();
    assert_eq!(newest_first, [Reason::NothingMatched, Reason::RateLimited, Reason::Cancelled]);
    let kept = |limit| look(&policy(&json!({"historyLimit": limit})), &status, at("12:01:00")).0.history;
    assert_eq!((kept(2), kept(0)), (status.history[..2].to_vec(), Vec::new()), "a lower limit holds at once");
    assert_eq!(kept(50), status.history);
    let dry = after(&json!({"dryRun": true, "historyLimit": 0}), &well());
    assert_eq!((dry.totals.runs, dry.totals.processed, dry.processed), (1, 0, Some(7)));
    assert!(dry.history.is_empty() && dry.last_run.is_some());
}

#[test]
fn an_overlong_message_is_cut() {
    let long = Outcome::new(RunResult::Failed, Reason::BadRequest, "é".repeat(5000));
    let status = after(&json!({}), &long);
    assert_eq!(status.message.unwrap().chars().count(), 256);
    assert_eq!(status.last_run.unwrap().message.unwrap().chars().count(), 256);
}

#[test]
fn instants_that_pass_during_a_run_are_told_once_at_its_end_unless_they_replace_it() {
    let outcome = Outcome::nothing_matched();
    for (concurrency, ended, told) in [
        ("Forbid", "12:29:00", true),
        ("Forbid", "12:15:00", true),
        ("Forbid", "12:14:59", false),
        ("Replace", "12:29:00", false),
    ] {
        let fields = json!({"schedule": "*/15 * * * *", "concurrencyPolicy": concurrency});
        let running = started(&policy(&fields), &seen(&policy(&fields), "11:59:00"), at("12:00:01"));
        let events = end(&policy(&fields), &running, &outcome, at(ended)).1;
        let reasons: Vec<_> = events.iter().map(|note| note.reason).collect();
        assert_eq!(
            reasons.contains(&EventReason::RunAlreadyActive),
            told,
            "{concurrency} {ended}: {reasons:?}"
        );
    }
}

#[test]
fn a_refusal_is_remembered_until_a_run_gets_through() {
    let refused = |reason| DlqPolicyStatus { refused_reason: Some(reason), ..requested(&json!({})) };
    let cancelled = || outcome(RunResult::Cancelled, Reason::Cancelled);
    let (unknown, read_only) = (TokenRefusal::Unauthorized, TokenRefusal::ReadOnlyToken);
    for (row, was, outcome, change, left) in [
        ("nothing was answered", unknown, cancelled(), json!({}), Some(unknown)),
        ("a page", unknown, cancelled(), json!({"pages": 1}), None),
        ("an entry was refused", unknown, cancelled(), json!({"rejected": 1}), None),
        ("entries were listed", unknown, cancelled(), json!({"leftAlone": 1}), None),
        ("the request was refused", unknown, outcome(RunResult::Failed, Reason::BadRequest), json!({}), None),
        ("a dry run lists", read_only, cancelled(), json!({"pages": 1, "dryRun": true}), Some(read_only)),
        ("a dry run lists again", unknown, cancelled(), json!({"pages": 1, "dryRun": true}), None),
        ("it acts", read_only, cancelled(), json!({"pages": 1}), None),
    ] {
        let before = refused(was);
        let mut run = serde_json::to_value(before.current_run.as_ref().unwrap()).unwrap();
        run.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let run = serde_json::from_value(run).unwrap();
        let after = finished(&policy(&json!({})), &before, &run, &outcome, at("12:05:00"));
        assert_eq!(after.refused_reason, left, "{row}");
    }
}

#[test]
fn a_run_that_ended_is_nobodys_and_waits_for_nothing() {
    let before = requested(&json!({}));
    let run = PolicyRun {
        revision: Some(3),
        waiting_until: Some(at("12:30:00").into()),
        waiting_reason: Activity::Retrying.waiting_reason(),
        ..before.current_run.clone().unwrap()
    };
    let run = finished(&policy(&json!({})), &before, &run, &well(), at("12:05:00")).last_run.unwrap();
    assert_eq!((run.holder, run.revision, run.waiting_until, run.waiting_reason), (None, None, None, None));
}

#[test]
fn held_since_stays_until_runs_may_start_again() {
    let held = look(&policy(&json!({"suspend": true})), &DlqPolicyStatus::default(), at("12:00:00")).0;
    let since = held.held_since.clone();
    assert_eq!(since.as_ref().map(|since| since.0), Some(at("12:00:00")));
    let paused =
        look(&Known::from(Policy { paused: Some(Pause::Flag), ..quarterly().policy }), &held, at("12:10:00"))
            .0;
    assert_eq!(paused.held_since, since);
    assert_eq!(look(&quarterly(), &paused, at("12:20:00")).0.held_since, None);
    assert_eq!(requested(&json!({})).held_since, None);
    let waiting = look(&missing(Reason::SecretInvalid), &requested(&json!({})), at("12:20:00")).0;
    assert!(waiting.held_since.is_some(), "also while a run waits for its token");
}

#[test]
fn why_a_run_waits_is_read_from_the_condition_of_a_status_of_before_waiting_reason() {
    let status = |kind: &str, reason: &str| -> DlqPolicyStatus {
        let conditions = json!([{ "type": kind, "status": "True", "reason": reason, "message": "",
            "lastTransitionTime": "2026-11-20T12:00:00Z" }]);
        serde_json::from_value(json!({ "conditions": conditions })).unwrap()
    };
    let run = |until: Option<&str>, reason| PolicyRun {
        waiting_until: until.map(|until| at(until).into()),
        waiting_reason: reason,
        ..requested(&json!({})).current_run.unwrap()
    };
    let (throttled, retrying) = (status("Running", "Throttled"), status("Running", "Retrying"));
    for (row, status, run, expected) in [
        ("throttled", &throttled, run(Some("12:30:00"), None), Activity::Throttled),
        ("retrying", &retrying, run(Some("12:30:00"), None), Activity::Retrying),
        ("queued", &status("Running", "Queued"), run(Some("12:30:00"), None), Activity::Working),
        ("another condition", &status("Ready", "Throttled"), run(Some("12:30:00"), None), Activity::Working),
        ("its time has come", &throttled, run(Some("12:05:00"), None), Activity::Working),
        ("it does not wait", &throttled, run(None, None), Activity::Working),
        (
            "the run says it",
            &throttled,
            run(Some("12:30:00"), Activity::Retrying.waiting_reason()),
            Activity::Retrying,
        ),
    ] {
        assert_eq!(activity(status, &run, at("12:05:00")), expected, "{row}");
    }
}
