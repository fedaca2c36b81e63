use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::policy::plan::plan;
use crate::policy::validate::{Connectivity, Source};
use crate::policy::{Permissions, validate};

fn at(clock: &str) -> Timestamp {
    format!("2026-11-20T{clock}Z").parse().unwrap()
}

fn annotated(fields: &Value, annotations: &[(&str, &str)]) -> Policy {
    let permissions = Permissions {
        urls: vec!["https://qstash.upstash.io".parse().unwrap()],
        actions: vec![crate::crd::Action::Resume],
        callback_urls: Vec::new(),
        default_url: url::Url::parse("https://qstash.upstash.io").unwrap(),
        default_connection_namespaces: vec!["payments".into()],
        pause_all: false,
        force_dry_run: false,
    };
    let mut spec = json!({"action": "resume", "filters": {"labels": ["payments"]}});
    for (name, value) in fields.as_object().unwrap() {
        spec[name] = value.clone();
    }
    let spec = serde_json::from_value(spec).unwrap();
    let annotations: BTreeMap<_, _> = annotations
        .iter()
        .map(|(key, value)| (format!("dlq-operator.dev/{key}"), (*value).to_owned()))
        .collect();
    let source = Source {
        namespace: "payments",
        name: "a",
        generation: 3,
        annotations: &annotations,
        spec: Ok(&spec),
    };
    validate(&source, &permissions)
}

fn policy(fields: &Value) -> Policy {
    annotated(fields, &[])
}

fn quarterly() -> Policy {
    policy(&json!({"schedule": "*/15 * * * *"}))
}

fn missing(reason: Reason) -> Policy {
    let on = Invalid { reason, message: "Secret upstash is not there".into() };
    Policy { connectivity: Connectivity::Missing(on), ..quarterly() }
}

fn look(policy: &Policy, before: &DlqPolicyStatus, now: Timestamp) -> (DlqPolicyStatus, Vec<Note>) {
    observed(policy, before, &plan(policy, before, now), now)
}

fn seen(policy: &Policy, now: &str) -> DlqPolicyStatus {
    look(policy, &DlqPolicyStatus::default(), at(now)).0
}

fn started(policy: &Policy, before: &DlqPolicyStatus, now: Timestamp) -> DlqPolicyStatus {
    let plan = plan(policy, before, now);
    let observed = observed(policy, before, &plan, now).0;
    let Plan::Start { run, missed } = plan else { panic!("{plan:?}") };
    claimed(policy, &observed, run, missed, "pod-1/8c1f", now).0
}

fn end(
    policy: &Policy,
    before: &DlqPolicyStatus,
    ending: &Ending,
    now: Timestamp,
) -> (DlqPolicyStatus, Vec<Note>) {
    let run = PolicyRun { processed: 7, ..before.current_run.clone().unwrap() };
    finished(policy, before, &run, ending, now)
}

/// The status after a requested run that ended so.
fn after(fields: &Value, ending: &Ending) -> DlqPolicyStatus {
    let policy = policy(fields);
    end(&policy, &requested(fields), ending, at("12:01:00")).0
}

/// The status in which a requested run goes on.
fn requested(fields: &Value) -> DlqPolicyStatus {
    started(&annotated(fields, &[("requestedAt", "1")]), &DlqPolicyStatus::default(), at("12:00:00"))
}

fn ending(result: RunResult, reason: Reason) -> Ending {
    Ending::new(result, reason, "the run's message")
}

fn well() -> Ending {
    ending(RunResult::Succeeded, Reason::RunSucceeded)
}

fn badly() -> Ending {
    ending(RunResult::Failed, Reason::UpstreamUnavailable)
}

/// A condition as `value reason`; empty when it is absent.
fn condition(status: &DlqPolicyStatus, kind: &str) -> String {
    let found = status.conditions.iter().find(|condition| condition.type_ == kind);
    found.map(|condition| format!("{} {}", condition.status, condition.reason)).unwrap_or_default()
}

fn since(status: &DlqPolicyStatus, kind: &str) -> Timestamp {
    status.conditions.iter().find(|condition| condition.type_ == kind).unwrap().last_transition_time.0
}

fn reasons(notes: &[Note]) -> Vec<NoteReason> {
    notes.iter().map(|note| note.reason).collect()
}

#[test]
fn ready_says_whether_the_policy_can_run_and_kstatus_follows() {
    let circuit = json!({"schedule": "@hourly", "failurePolicy": {"pauseAfterConsecutiveFailures": 1}});
    let tripped = DlqPolicyStatus { consecutive_failures: 1, ..seen(&policy(&circuit), "11:00:01") };
    let new = DlqPolicyStatus::default();
    let elsewhere = json!({"connection": {
        "url": "https://evil.example", "tokenSecretRef": {"name": "upstash", "key": "token"},
    }});
    let mut unconnected = policy(&json!({}));
    unconnected.work = Err(Invalid { reason: Reason::NoConnection, message: "none".into() });
    let read_only =
        Ending { not_ready: Some(Reason::ReadOnlyToken), ..ending(RunResult::Failed, Reason::Forbidden) };
    let refused = after(&json!({}), &Ending::unauthorized("401"));
    let barred = after(&json!({}), &read_only);
    let done = after(&json!({}), &badly());
    let table = [
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
        (policy(&circuit), &tripped, "False CircuitOpen", "", Phase::CircuitOpen),
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
        let status = after(&json!({}), &ending(result, reason));
        assert_eq!(condition(&status, "LastRunSucceeded"), expected);
        assert_eq!(condition(&status, "Ready"), "True Idle", "{expected}");
        assert_eq!(
            (status.phase, status.message.as_deref()),
            (Some(phase), Some("the run's message")),
            "{expected}"
        );
        let scheduled = after(&json!({"schedule": "@hourly"}), &ending(result, reason));
        assert_eq!(scheduled.phase, Some(Phase::Scheduled), "{expected}");
        let run = status.last_run.unwrap();
        assert_eq!((run.result, run.reason, run.holder), (Some(result), Some(reason), None));
        assert_eq!(run.completion_time, Some(at("12:01:00").into()));
        assert!(status.current_run.is_none());
    }
    let refused = after(&json!({}), &Ending::unauthorized("401"));
    assert_eq!(condition(&refused, "LastRunSucceeded"), "False Unauthorized");
    assert_eq!(condition(&refused, "Ready"), "False Unauthorized");
}

#[test]
fn a_policy_that_became_invalid_says_so_while_its_run_goes_on_and_ends() {
    let before = requested(&json!({}));
    let broken = policy(&json!({"schedule": "soon"}));
    let (on, notes) = look(&broken, &before, at("12:00:10"));
    assert_eq!((condition(&on, "Ready"), on.phase), ("False InvalidSchedule".into(), Some(Phase::Running)));
    assert_eq!(reasons(&notes), [NoteReason::InvalidSchedule]);
    let barred = policy(&json!({"action": "delete"}));
    let (cancelling, notes) = look(&barred, &before, at("12:00:10"));
    assert_eq!(reasons(&notes), [NoteReason::InvalidSpec]);
    let (ended, _) = end(&barred, &cancelling, &Ending::cancelled("cancelled".into()), at("12:00:10"));
    assert_eq!(
        (condition(&ended, "Ready"), ended.phase),
        ("False ActionNotAllowed".into(), Some(Phase::Invalid))
    );
    assert_eq!(look(&barred, &ended, at("12:00:11")).1, []);
}

#[test]
fn a_refused_token_stands_until_a_run_gets_through_or_the_work_changes() {
    let fields = json!({"schedule": "*/15 * * * *"});
    let refused = after(&fields, &Ending::unauthorized("401"));
    assert_eq!(refused.next_schedule_time.as_ref().unwrap().0, at("12:15:00"));
    let next = started(&policy(&fields), &refused, at("12:15:00"));
    assert_eq!(condition(&next, "Ready"), "False Unauthorized");
    let (cancelled, _) = end(&policy(&fields), &next, &Ending::cancelled("c".into()), at("12:16:00"));
    assert_eq!(condition(&cancelled, "Ready"), "False Unauthorized");
    assert_eq!(since(&cancelled, "Ready"), at("12:01:00"));
    let (through, _) = end(&policy(&fields), &next, &well(), at("12:16:00"));
    assert_eq!(condition(&through, "Ready"), "True Scheduled");
    assert_eq!(condition(&through, "Stalled"), "");
    let edited = policy(&json!({"schedule": "*/15 * * * *", "filters": {"all": true}}));
    assert_eq!(condition(&look(&edited, &refused, at("12:02:00")).0, "Ready"), "True Scheduled");
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
        status = end(&policy, &status, &ending(result, reason), at("12:00:01")).0;
        assert_eq!((status.consecutive_failures, status.totals.failed_runs), (in_a_row, failed), "{index}");
        let runs = i64::try_from(index + 1).unwrap();
        assert_eq!((status.totals.runs, status.totals.processed), (runs, 7 * runs));
        assert_eq!((status.history.len(), status.history[0].result), ((index + 1).min(3), Some(result)));
        let ended_well = matches!(result, Succeeded | LimitReached);
        assert!(!ended_well || status.last_successful_time.as_ref().unwrap().0 == at("12:00:01"));
    }
    let newest_first: Vec<_> = status.history.iter().map(|run| run.reason.unwrap()).collect();
    assert_eq!(newest_first, [Reason::NothingMatched, Reason::RateLimited, Reason::Cancelled]);
    let dry = after(&json!({"dryRun": true, "historyLimit": 0}), &well());
    assert_eq!((dry.totals.runs, dry.totals.processed, dry.processed), (1, 0, Some(7)));
    assert!(dry.history.is_empty() && dry.last_run.is_some());
}

#[test]
fn a_request_is_ignored_once_and_told_of_once() {
    let asked = |fields: &Value| annotated(fields, &[("requestedAt", "2")]);
    let long = annotated(&json!({}), &[("requestedAt", &"x".repeat(300))]);
    let idle = after(&json!({}), &well());
    let running = requested(&json!({}));
    let table = [
        ("suspended", asked(&json!({"suspend": true})), &idle, NoteReason::RunRequestIgnored),
        ("paused", Policy { paused: true, ..asked(&json!({})) }, &idle, NoteReason::RunRequestIgnored),
        ("while a run goes on", asked(&json!({})), &running, NoteReason::RunAlreadyActive),
        ("too long", long, &idle, NoteReason::RunRequestIgnored),
    ];
    for (row, policy, before, reason) in table {
        let (status, notes) = look(&policy, before, at("12:05:00"));
        assert_eq!(reasons(&notes).iter().filter(|note| **note == reason).count(), 1, "{row}: {notes:?}");
        let handled = status.last_handled_requested_at.clone().unwrap();
        assert_eq!(Some(handled), policy.requests.run.as_ref().map(|request| request.value.clone()), "{row}");
        assert!(!reasons(&look(&policy, &status, at("12:05:01")).1).contains(&reason), "{row}");
    }
}

#[test]
fn a_request_waits_while_the_policy_cannot_run() {
    let waiting = Policy {
        requests: annotated(&json!({}), &[("requestedAt", "2")]).requests,
        ..missing(Reason::SecretNotFound)
    };
    let status = seen(&waiting, "12:00:00");
    assert_eq!(status.last_handled_requested_at, None);
    let usable = Policy { connectivity: Connectivity::Usable, ..waiting };
    let status = started(&usable, &status, at("12:01:00"));
    assert_eq!(status.last_handled_requested_at.as_deref(), Some("2"));
}

#[test]
fn cancels_and_resets_are_remembered() {
    let policy = annotated(&json!({}), &[("cancelAt", "1"), ("resetAt", "1")]);
    let idle = look(&policy, &after(&json!({}), &well()), at("12:05:00")).0;
    assert_eq!(
        (idle.last_handled_cancel_at.as_deref(), idle.last_handled_reset_at.as_deref()),
        (Some("1"), Some("1"))
    );
    // While a run goes on a cancel is handled by its end.
    let before = requested(&json!({}));
    let cancelling = look(&policy, &before, at("12:05:00")).0;
    assert_eq!(cancelling.last_handled_cancel_at, None);
    let ended = end(&policy, &cancelling, &Ending::cancelled("c".into()), at("12:05:00")).0;
    assert_eq!(ended.last_handled_cancel_at.as_deref(), Some("1"));
}

#[test]
fn a_claim_records_what_it_handles() {
    let policy = quarterly();
    let status = started(&policy, &seen(&policy, "12:00:01"), at("13:05:00.5"));
    assert_eq!(status.last_handled_spec_hash.as_ref(), Some(&policy.spec_hash));
    assert_eq!(status.last_schedule_time.as_ref().unwrap().0, at("13:00:00"));
    assert_eq!((status.missed_schedules, status.last_missed_time.as_ref().unwrap().0), (3, at("12:45:00")));
    let run = status.current_run.unwrap();
    assert_eq!((run.holder.as_deref(), run.start_time), (Some("pod-1/8c1f"), at("13:05:00.5").into()));
    let manual = requested(&json!({}));
    assert_eq!(manual.last_handled_requested_at.as_deref(), Some("1"));
    assert!(manual.last_handled_spec_hash.is_some() && manual.last_schedule_time.is_none());
}

#[test]
fn taking_a_run_over_counts_an_interruption_unless_it_was_handed_back() {
    let run = requested(&json!({})).current_run.unwrap();
    let held = |holder: Option<&str>| PolicyRun {
        holder: holder.map(str::to_owned),
        interruptions: 1,
        ..run.clone()
    };
    let table = [(Some("pod-2/aaaa"), 2), (Some(""), 1), (Some("pod-1/8c1f"), 1), (None, 2)];
    for (holder, interruptions) in table {
        let taken = taken_over(&held(holder), "pod-1/8c1f");
        assert_eq!(
            (taken.interruptions, taken.holder.as_deref()),
            (interruptions, Some("pod-1/8c1f")),
            "{holder:?}"
        );
    }
}

#[test]
fn the_circuit_opens_and_closes_with_a_word() {
    let fields = json!({"schedule": "*/15 * * * *", "failurePolicy": {"pauseAfterConsecutiveFailures": 2}});
    let plain = policy(&fields);
    let mut status = seen(&plain, "12:00:01");
    let mut told = Vec::new();
    for start in ["12:15:00", "12:30:00"] {
        status = started(&plain, &status, at(start));
        let (next, notes) = end(&plain, &status, &badly(), at(start));
        (status, told) = (next, reasons(&notes));
    }
    assert_eq!(told, [NoteReason::RunFailed, NoteReason::CircuitOpened]);
    assert_eq!(
        (condition(&status, "Ready"), status.phase),
        ("False CircuitOpen".into(), Some(Phase::CircuitOpen))
    );
    assert!(status.message.as_ref().unwrap().starts_with("2 runs failed in a row"));

    let trial = annotated(&fields, &[("requestedAt", "1")]);
    let on_trial = started(&trial, &status, at("12:40:00"));
    let (failed, notes) = end(&trial, &on_trial, &badly(), at("12:41:00"));
    assert_eq!((reasons(&notes), failed.consecutive_failures), (vec![NoteReason::RunFailed], 3));
    assert_eq!(condition(&failed, "Ready"), "False CircuitOpen");
    let (closed, notes) = end(&trial, &on_trial, &well(), at("12:41:00"));
    assert_eq!(reasons(&notes), [NoteReason::RunSucceeded, NoteReason::CircuitClosed]);
    assert_eq!(condition(&closed, "Ready"), "True Scheduled");

    let mut edited = fields.clone();
    edited["filters"] = json!({"all": true});
    let paused = look(&annotated(&fields, &[("paused", "x")]), &status, at("12:42:00")).0;
    for (row, policy, before) in [
        ("a reset", annotated(&fields, &[("resetAt", "1")]), &status),
        ("new work", policy(&edited), &status),
        ("a reset while paused", annotated(&fields, &[("resetAt", "1"), ("paused", "x")]), &paused),
    ] {
        let (closed, notes) = look(&policy, before, at("12:43:00"));
        assert_eq!(
            (reasons(&notes), closed.consecutive_failures),
            (vec![NoteReason::CircuitClosed], 0),
            "{row}"
        );
        assert_eq!(look(&policy, &closed, at("12:43:01")).1, [], "{row}");
    }
}

#[test]
fn events_tell_of_changes_only() {
    let before = seen(&quarterly(), "12:00:01");
    let suspended = policy(&json!({"schedule": "*/15 * * * *", "suspend": true}));
    let (held, notes) = look(&suspended, &before, at("12:01:00"));
    assert_eq!(reasons(&notes), [NoteReason::PolicySuspended]);
    assert_eq!(reasons(&look(&quarterly(), &held, at("12:02:00")).1), [NoteReason::PolicyUnsuspended]);
    let (waiting, notes) = look(&missing(Reason::SecretNotFound), &before, at("12:03:00"));
    assert_eq!(reasons(&notes), [NoteReason::SecretNotFound]);
    assert_eq!(look(&missing(Reason::SecretNotFound), &waiting, at("12:04:00")).1, []);
    assert_eq!(look(&quarterly(), &waiting, at("12:04:00")).1, []);
    let running = requested(&json!({}));
    let nothing = end(
        &policy(&json!({})),
        &running,
        &ending(RunResult::Succeeded, Reason::NothingMatched),
        at("12:05:00"),
    );
    assert_eq!(nothing.1, []);
    let uncertain = PolicyRun { uncertain_pages: 1, ..running.current_run.clone().unwrap() };
    let (_, notes) = finished(&policy(&json!({})), &running, &uncertain, &well(), at("12:05:00"));
    assert_eq!(reasons(&notes), [NoteReason::UncertainPage, NoteReason::RunSucceeded]);
    assert!(notes.iter().all(|note| !note.text.contains(|c: char| c.is_ascii_digit())), "{notes:?}");
}

#[test]
fn an_overlong_message_is_cut() {
    let long = Ending::new(RunResult::Failed, Reason::BadRequest, "é".repeat(5000));
    let status = after(&json!({}), &long);
    assert_eq!(status.message.unwrap().chars().count(), 1024);
    assert_eq!(status.last_run.unwrap().message.unwrap().chars().count(), 1024);
}

/// What happens to a policy over simulated time.
struct Simulation {
    policy: Policy,
    status: DlqPolicyStatus,
    /// How long each run takes.
    takes: SignedDuration,
    /// The instants that a run was started for.
    started: Vec<Timestamp>,
}

impl Simulation {
    fn new(fields: &Value, takes: SignedDuration) -> Self {
        Self { policy: policy(fields), status: DlqPolicyStatus::default(), takes, started: Vec::new() }
    }

    /// Looks every so often, as a controller would, and at times for no reason.
    fn run(&mut self, from: Timestamp, until: Timestamp, step: SignedDuration) {
        let mut now = from;
        while now <= until {
            let plan = plan(&self.policy, &self.status, now);
            let (status, _) = observed(&self.policy, &self.status, &plan, now);
            self.status = match plan {
                Plan::Start { run, missed } => {
                    self.started.extend(run.scheduled_time.map(|at| at.timestamp()));
                    claimed(&self.policy, &status, run, missed, "pod", now).0
                }
                Plan::Continue { run } if run.start_time.timestamp() + self.takes <= now => {
                    finished(&self.policy, &status, &run, &well(), now).0
                }
                Plan::Cancel { run, why } => {
                    finished(&self.policy, &status, &run, &Ending::cancelled(why.message()), now).0
                }
                _ => status,
            };
            // What is written is what is read back.
            let written = serde_json::to_value(&self.status).unwrap();
            self.status = serde_json::from_value(written).unwrap();
            now += step;
        }
    }

    fn minutes(&self) -> Vec<i64> {
        self.started.iter().map(|start| start.duration_since(at("12:00:00")).as_mins()).collect()
    }

    fn assert_no_instant_runs_twice(&self) {
        let once: BTreeSet<_> = self.started.iter().collect();
        assert_eq!(once.len(), self.started.len(), "{:?}", self.started);
    }
}

#[test]
fn every_instant_of_an_idle_policy_runs_once() {
    let schedules = [
        json!({}),
        json!({"jitter": "4m"}),
        json!({"concurrencyPolicy": "Replace"}),
        json!({"startingDeadlineSeconds": 10}),
    ];
    for mut fields in schedules {
        fields["schedule"] = "*/5 * * * *".into();
        for (takes, step) in [(0, 4000), (20_000, 2700)] {
            let mut simulation = Simulation::new(&fields, SignedDuration::from_millis(takes));
            simulation.run(at("12:00:00.3"), at("12:19:59"), SignedDuration::from_millis(step));
            simulation.assert_no_instant_runs_twice();
            assert_eq!(
                simulation.minutes(),
                (1..=12).map(|index| index * 5).collect::<Vec<_>>(),
                "{fields} {takes}"
            );
            assert_eq!(simulation.status.missed_schedules, 0, "{fields}");
        }
    }
}

#[test]
fn a_run_longer_than_the_interval_lets_instants_pass_or_is_replaced() {
    let step = SignedDuration::from_secs(5);
    let mut forbid = Simulation::new(&json!({"schedule": "*/5 * * * *"}), SignedDuration::from_mins(7));
    forbid.run(at("12:00:01"), at("12:26:00"), step);
    assert_eq!(forbid.minutes(), [5, 15, 25]);
    let fields = json!({"schedule": "*/5 * * * *", "concurrencyPolicy": "Replace"});
    let mut replace = Simulation::new(&fields, SignedDuration::from_mins(7));
    replace.run(at("12:00:01"), at("12:21:00"), step);
    assert_eq!(replace.minutes(), [5, 10, 15, 20]);
    assert_eq!(replace.status.totals.runs, 3);
    assert_eq!((forbid.status.missed_schedules, replace.status.missed_schedules), (0, 0));
}

#[test]
fn what_passes_while_the_operator_is_down_is_caught_up_once_and_while_held_never() {
    let (second, step) = (SignedDuration::from_secs(1), SignedDuration::from_secs(5));
    let mut down = Simulation::new(&json!({"schedule": "*/5 * * * *"}), second);
    down.run(at("12:00:01"), at("12:11:00"), step);
    down.run(at("12:31:00"), at("12:36:00"), step);
    assert_eq!(down.minutes(), [5, 10, 30, 35]);
    assert_eq!(down.status.missed_schedules, 3);
    down.assert_no_instant_runs_twice();
    let mut held = Simulation::new(&json!({"schedule": "*/5 * * * *"}), second);
    held.run(at("12:00:01"), at("12:06:00"), step);
    held.policy.suspend = true;
    held.run(at("12:06:01"), at("12:26:00"), step);
    held.policy.suspend = false;
    held.run(at("12:26:01"), at("12:31:00"), step);
    assert_eq!(held.minutes(), [5, 30]);
    assert_eq!(held.status.missed_schedules, 0);
}

#[test]
fn a_policy_that_fires_every_second_under_a_clock_that_jumps_runs_no_instant_twice() {
    let mut simulation =
        Simulation::new(&json!({"schedule": "@every 1s", "jitter": "1h"}), SignedDuration::ZERO);
    let step = SignedDuration::from_millis(170);
    for (from, until) in [
        ("12:00:00.5", "12:00:20"),
        ("12:00:10", "12:00:30"),
        ("11:59:00", "11:59:20"),
        ("12:00:25", "12:01:00"),
    ] {
        simulation.run(at(from), at(until), step);
    }
    simulation.assert_no_instant_runs_twice();
    assert!(simulation.started.len() > 50, "{}", simulation.started.len());
}
