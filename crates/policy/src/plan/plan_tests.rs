#[path = "plan_approval_tests.rs"]
mod approval;
#[path = "plan_by_hand_tests.rs"]
mod by_hand;
#[path = "plan_connection_tests.rs"]
mod connection;
#[path = "plan_instants_tests.rs"]
mod instants;
#[path = "plan_unscheduled_tests.rs"]
mod unscheduled;

use serde_json::{Value, json};

use dlq_crd::{Phase, Reason, RunResult, TokenRefusal};

use super::*;
use crate::Outcome;
use crate::sample::{Known, permissions};
use crate::{Permissions, sample, status};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A time of the sample day.
fn at(clock: &str) -> Timestamp {
    time(&format!("2026-11-20T{clock}Z"))
}

fn read(fields: &Value, annotations: &[(&str, &str)], permissions: &Permissions) -> Known {
    sample::policy(fields, annotations, permissions).into()
}

fn plan(known: &Known, status: &DlqPolicyStatus, now: Timestamp) -> Plan {
    known.plan(status, now)
}

fn once(annotations: &[(&str, &str)]) -> Known {
    read(&json!({}), annotations, &permissions())
}

/// A policy that runs every quarter of an hour, with more fields.
fn quarterly(fields: &Value, annotations: &[(&str, &str)]) -> Known {
    let mut fields = fields.clone();
    fields["schedule"] = "*/15 * * * *".into();
    read(&fields, annotations, &permissions())
}

fn missing() -> Connectivity {
    Connectivity::Missing(Invalid::new(Reason::SecretNotFound, "Secret upstash is not there"))
}

fn with(known: Known, connection: Connectivity) -> Known {
    known.with(connection)
}

/// The status of a policy that was seen at that time and not since.
fn seen(policy: &Known, now: Timestamp) -> DlqPolicyStatus {
    look(policy, &DlqPolicyStatus::default(), now)
}

/// The status after one more look.
fn look(policy: &Known, status: &DlqPolicyStatus, now: Timestamp) -> DlqPolicyStatus {
    status::observed(policy, status, &plan(policy, status, now), now)
}

/// The status in which the planned run continues.
fn running(policy: &Known, status: &DlqPolicyStatus, now: Timestamp) -> DlqPolicyStatus {
    let plan = plan(policy, status, now);
    let observed = status::observed(policy, status, &plan, now);
    let Plan::Start(start) = plan else { panic!("{plan:?}") };
    status::claimed(policy, &observed, start, "pod/1", now)
}

/// The status after the planned run ended.
fn ran(
    policy: &Known,
    status: &DlqPolicyStatus,
    start: Timestamp,
    end: Timestamp,
    how: &Outcome,
) -> DlqPolicyStatus {
    ended(policy, &running(policy, status, start), end, how)
}

fn ended(policy: &Known, status: &DlqPolicyStatus, end: Timestamp, how: &Outcome) -> DlqPolicyStatus {
    let run = status.current_run.clone().unwrap();
    status::finished(policy, status, &run, how, end)
}

fn well() -> Outcome {
    Outcome::new(RunResult::Succeeded, Reason::RunSucceeded, "resumed 1 entry")
}

/// The token was refused, which this Secret held.
fn token_refused() -> Outcome {
    Outcome { refused_secret: Some("upstash/7".to_owned()), ..Outcome::unauthorized("401") }
}

fn badly() -> Outcome {
    Outcome::new(RunResult::Failed, Reason::UpstreamUnavailable, "gave up")
}

/// A plan in a few words.
fn word(plan: &Plan) -> String {
    match plan {
        Plan::Continue { run } => format!("continue {}", run.id),
        Plan::AwaitsApproval { until } => format!("awaits approval until {until}"),
        Plan::Cancel { run, why } => {
            format!("cancel: {}", why.outcome(run).message.trim_start_matches("cancelled "))
        }
        Plan::Invalid(invalid) => format!("invalid: {}", invalid.reason),
        Plan::Suspended => "suspended".to_owned(),
        Plan::Paused => "paused".to_owned(),
        Plan::CircuitOpen => "circuit open".to_owned(),
        Plan::Waiting { on } => format!("waiting: {}", on.reason),
        Plan::Idle { next: None } => "idle".to_owned(),
        Plan::Idle { next: Some(next) } => format!("idle until {}", clock(*next)),
        Plan::Missed { at, count, .. } => format!("missed {count} up to {}", clock(*at)),
        Plan::Start(Start { run, missed, .. }) => {
            let what = run.scheduled_time.map_or(run.trigger.as_str().to_owned(), |at| clock(at.timestamp()));
            match missed {
                None => format!("start {what}"),
                Some((latest, count)) => format!("start {what}, missed {count} up to {}", clock(*latest)),
            }
        }
    }
}

fn clock(time: Timestamp) -> String {
    time.to_string().replace("2026-11-20T", "").replace('Z', "")
}

fn decided(policy: &Known, status: &DlqPolicyStatus, now: &str) -> String {
    word(&plan(policy, status, at(now)))
}

/// Whether somebody has to look for the token first.
fn asks(known: &Known, status: &DlqPolicyStatus, now: &str) -> bool {
    crate::plan(&known.policy, status, &Facts::default(), at(now)).is_err()
}

#[test]
fn a_run_goes_on_unless_something_speaks_against_it() {
    let status = running(&once(&[]), &DlqPolicyStatus::default(), at("12:00:00"));
    let force = Permissions { force_dry_run: true, ..permissions() };
    let nothing_allowed = Permissions { default_connection_namespaces: Vec::new(), ..permissions() };
    let pause_all = Permissions { pause_all: true, ..permissions() };
    let edited = |fields: Value| read(&fields, &[], &permissions());
    let id = &status.current_run.as_ref().unwrap().id;
    let on = format!("continue {id}");
    let table = vec![
        ("nothing changed", once(&[]), on.as_str()),
        ("limits were edited", edited(json!({"limits": {"pageSize": 1}})), &on),
        ("a schedule was added", edited(json!({"schedule": "@hourly"})), &on),
        ("the history is shorter", edited(json!({"historyLimit": 0})), &on),
        ("the schedule cannot be read", edited(json!({"schedule": "soon"})), &on),
        (
            "the Secret is gone, and its token with the process before",
            with(once(&[]), missing()),
            "waiting: SecretNotFound",
        ),
        ("a run is requested", once(&[("requestedAt", "now")]), &on),
        ("a cancel is too long", once(&[("cancelAt", &"x".repeat(257))]), &on),
        (
            "a cancel is asked for",
            once(&[("cancelAt", "1")]),
            "cancel: by the annotation dlq-operator.dev/cancelAt",
        ),
        ("it is suspended", edited(json!({"suspend": true})), "cancel: because spec.suspend is true"),
        ("it is paused", once(&[("paused", "true")]), "cancel: because the policy is paused"),
        ("all are paused", read(&json!({}), &[], &pause_all), "cancel: because the policy is paused"),
        (
            "the filters were edited",
            edited(json!({"filters": {"all": true}})),
            "cancel: because action, filters, overrides, match, loopProtection, connection or dryRun changed",
        ),
        (
            "runs are forced dry",
            read(&json!({}), &[], &force),
            "cancel: because the operator runs with --force-dry-run",
        ),
    ];
    for (row, policy, expected) in table {
        assert_eq!(decided(&policy, &status, "12:00:30"), expected, "{row}");
    }
    let Plan::Cancel { why: CancelCause::Invalid(invalid), .. } =
        plan(&read(&json!({}), &[], &nothing_allowed), &status, at("12:00:30"))
    else {
        panic!("an action that is no longer allowed continues");
    };
    assert_eq!(invalid.reason, Reason::NoConnection);
}

#[test]
fn a_run_that_waits_for_its_secret_waits_no_longer_than_it_may_take() {
    let limited = || read(&json!({"limits": {"activeDeadlineSeconds": 60}}), &[], &permissions());
    let status = running(&limited(), &DlqPolicyStatus::default(), at("12:00:00"));
    let waits = with(limited(), missing());
    assert_eq!(decided(&waits, &status, "12:00:59"), "waiting: SecretNotFound");
    let Plan::Cancel { run, why } = plan(&waits, &status, at("12:01:00")) else {
        panic!("it waits for ever");
    };
    assert_eq!(why.outcome(&run).result, RunResult::DeadlineExceeded);
}

#[test]
fn a_dry_run_goes_on_when_runs_are_forced_dry() {
    let dry = json!({"dryRun": true});
    let status = running(&read(&dry, &[], &permissions()), &DlqPolicyStatus::default(), at("12:00:00"));
    let force = Permissions { force_dry_run: true, ..permissions() };
    assert!(decided(&read(&dry, &[], &force), &status, "12:00:30").starts_with("continue"));
    let forced = running(&read(&json!({}), &[], &force), &DlqPolicyStatus::default(), at("12:00:00"));
    assert!(forced.current_run.unwrap().dry_run);
}

#[test]
fn a_cancel_that_was_handled_is_not_handled_again() {
    let policy = once(&[("cancelAt", "1"), ("requestedAt", "1")]);
    let status = seen(&once(&[("cancelAt", "1")]), at("12:00:00"));
    let status = running(&policy, &status, at("12:00:01"));
    assert!(decided(&policy, &status, "12:00:02").starts_with("continue"));
    assert!(decided(&once(&[("cancelAt", "2")]), &status, "12:00:03").starts_with("cancel"));
}

#[test]
fn the_gates_stand_in_their_order() {
    let everything = json!({"suspend": true, "failurePolicy": {"openCircuitAfter": 1}});
    let held = &[("paused", "yes")][..];
    let asked = &[("requestedAt", "2")][..];
    let mut status = seen(&quarterly(&json!({}), &[]), at("12:00:01"));
    status.consecutive_failures = 1;
    let circuit = json!({"failurePolicy": {"openCircuitAfter": 1}});
    let mut broken = everything.clone();
    broken["filters"] = json!({"labels": []});
    let table = vec![
        ("invalid comes before suspended", quarterly(&broken, held), "invalid: InvalidSpec"),
        (
            "an invalid schedule too",
            read(&json!({"schedule": "soon", "suspend": true}), held, &permissions()),
            "invalid: InvalidSchedule",
        ),
        ("suspended comes before paused", with(quarterly(&everything, held), missing()), "suspended"),
        ("suspended comes before a request", quarterly(&everything, asked), "suspended"),
        ("paused comes before the circuit", with(quarterly(&circuit, held), missing()), "paused"),
        ("paused comes before a request", quarterly(&json!({}), &[held, asked].concat()), "paused"),
        (
            "the circuit comes before the connection",
            with(quarterly(&circuit, &[]), missing()),
            "circuit open",
        ),
        (
            "a trial waits for the connection",
            with(quarterly(&circuit, asked), missing()),
            "waiting: SecretNotFound",
        ),
        ("the circuit lets one request through", quarterly(&circuit, asked), "start Manual"),
        (
            "the connection comes before a request",
            with(quarterly(&json!({}), asked), missing()),
            "waiting: SecretNotFound",
        ),
        (
            "the connection comes before what is due",
            with(quarterly(&json!({}), &[]), missing()),
            "waiting: SecretNotFound",
        ),
        ("a request comes before what is due", quarterly(&json!({}), asked), "start Manual"),
        ("what is due starts", quarterly(&json!({}), &[]), "start 12:15:00"),
    ];
    for (row, policy, expected) in table {
        // The filters are the same in all rows but the first, so no row has new work.
        let status =
            DlqPolicyStatus { last_handled_spec_hash: Some(policy.spec_hash.clone()), ..status.clone() };
        assert_eq!(decided(&policy, &status, "12:15:00"), expected, "{row}");
    }
}

#[test]
fn each_value_of_a_request_is_handled_once() {
    let asked =
        |value: &str| once(&[("requestedAt", value), ("requestedBy", "ann"), ("requestReason", "why")]);
    let status = ran(&asked("1"), &DlqPolicyStatus::default(), at("12:00:00"), at("12:00:05"), &well());
    let last = status.last_run.clone().unwrap();
    assert_eq!(last.trigger, Trigger::Manual);
    assert_eq!((last.requested_by.as_deref(), last.request_reason.as_deref()), (Some("ann"), Some("why")));
    // It merged with the first run.
    assert_eq!(decided(&asked("1"), &status, "12:01:00"), "idle");
    assert_eq!(decided(&once(&[]), &status, "12:01:00"), "idle");
    assert_eq!(decided(&asked("2"), &status, "12:01:00"), "start Manual");
    assert_eq!(decided(&asked(&"x".repeat(257)), &status, "12:01:00"), "idle");
    assert_eq!(decided(&asked(&"x".repeat(256)), &status, "12:01:00"), "start Manual");
}

#[test]
fn no_instant_before_a_schedule_was_first_seen_is_due() {
    let policy = quarterly(&json!({"startingDeadlineSeconds": 1}), &[]);
    assert_eq!(decided(&policy, &DlqPolicyStatus::default(), "12:15:00"), "idle until 12:30:00");
    let status = seen(&policy, at("12:15:00"));
    assert_eq!(decided(&policy, &status, "12:29:59.999"), "idle until 12:30:00");
    assert_eq!(decided(&policy, &status, "12:30:00"), "start 12:30:00");
    let edited = read(&json!({"schedule": "*/10 * * * *"}), &[], &permissions());
    assert_eq!(decided(&edited, &status, "12:35:00"), "idle until 12:40:00");
    let zone = quarterly(&json!({"timeZone": "Asia/Kolkata"}), &[]);
    assert_eq!(decided(&zone, &status, "12:35:00"), "idle until 12:45:00");
}

#[test]
fn instants_missed_while_the_operator_was_down_lead_to_one_run_for_the_latest() {
    let policy = quarterly(&json!({}), &[]);
    let status = seen(&policy, at("12:00:01"));
    assert_eq!(decided(&policy, &status, "12:15:03"), "start 12:15:00");
    assert_eq!(decided(&policy, &status, "13:05:00"), "start 13:00:00, missed 3 up to 12:45:00");
    let status = ran(&policy, &status, at("13:05:00"), at("13:06:00"), &well());
    assert_eq!(status.missed_schedules, 3);
    assert_eq!(status.last_missed_time.as_ref().unwrap().0, at("12:45:00"));
    assert_eq!(decided(&policy, &status, "13:06:00"), "idle until 13:15:00");
    assert_eq!(decided(&policy, &status, "13:15:00"), "start 13:15:00");
}

#[test]
fn an_instant_that_it_is_too_late_for_is_missed_once() {
    let policy = quarterly(&json!({"startingDeadlineSeconds": 300}), &[]);
    let status = seen(&policy, at("12:00:01"));
    assert_eq!(decided(&policy, &status, "12:20:00"), "start 12:15:00");
    assert_eq!(decided(&policy, &status, "12:20:00.001"), "missed 1 up to 12:15:00");
    assert_eq!(decided(&policy, &status, "12:55:00"), "missed 3 up to 12:45:00");
    let missed = look(&policy, &status, at("12:55:00"));
    assert_eq!(missed.missed_schedules, 3);
    assert_eq!(decided(&policy, &missed, "12:55:01"), "idle until 13:00:00");
    assert_eq!(look(&policy, &missed, at("12:55:01")).missed_schedules, 3);
    let Plan::Missed { next, .. } = plan(&policy, &status, at("12:55:00")) else { panic!("not missed") };
    assert_eq!(next, Some(at("13:00:00")));
}

#[test]
fn an_instant_that_was_done_is_not_done_again() {
    let policy = quarterly(&json!({}), &[]);
    let status = seen(&policy, at("12:00:01"));
    let status = ran(&policy, &status, at("12:15:00.100"), at("12:15:00.200"), &well());
    assert_eq!(decided(&policy, &status, "12:15:00.200"), "idle until 12:30:00");
    assert_eq!(status.last_schedule_time.unwrap().0, at("12:15:00"));
}

#[test]
fn a_clock_that_steps_back_repeats_nothing() {
    let policy = quarterly(&json!({}), &[]);
    let status = ran(&policy, &seen(&policy, at("12:00:01")), at("12:15:00"), at("12:16:00"), &well());
    assert_eq!(decided(&policy, &status, "12:14:00"), "idle until 12:30:00");
    assert_eq!(decided(&policy, &status, "11:00:00"), "idle until 12:30:00");
    assert_eq!(decided(&policy, &status, "12:15:00"), "idle until 12:30:00");
    let seen_late = seen(&policy, at("12:20:00"));
    assert_eq!(decided(&policy, &seen_late, "11:00:00"), "idle until 12:30:00");
    let every = read(&json!({"schedule": "@every 15m"}), &[], &permissions());
    let status = seen(&every, at("12:20:00"));
    assert_eq!(decided(&every, &status, "11:00:00"), "idle until 12:35:00");
}
