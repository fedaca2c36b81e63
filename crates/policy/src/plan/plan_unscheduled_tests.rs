//! Work without a schedule, and what decides over it beside time.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::spec::policy::Pause;

#[test]
fn without_a_schedule_each_new_work_runs_once() {
    let policy = once(&[]);
    assert_eq!(decided(&policy, &DlqPolicyStatus::default(), "12:00:00"), "start Spec");
    let status = ran(&policy, &DlqPolicyStatus::default(), at("12:00:00"), at("12:00:05"), &badly());
    let edited = |fields: Value| read(&fields, &[], &permissions());
    let table = [
        ("nothing changed, and a failure is not repeated", once(&[]), "idle"),
        ("limits were edited", edited(json!({"limits": {"pageSize": 1}})), "idle"),
        ("the history is longer", edited(json!({"historyLimit": 50})), "idle"),
        ("the filters were edited", edited(json!({"filters": {"all": true}})), "start Spec"),
        ("it became a dry run", edited(json!({"dryRun": true})), "start Spec"),
        ("the token was looked at", with(once(&[]), Connectivity::Usable), "idle"),
    ];
    for (row, policy, expected) in table {
        assert_eq!(decided(&policy, &status, "12:01:00"), expected, "{row}");
    }
}

#[test]
fn suspending_and_back_starts_nothing_but_what_never_ran() {
    let suspended = Known::from(Policy { suspend: true, ..once(&[]).policy });
    let status = ran(&once(&[]), &DlqPolicyStatus::default(), at("12:00:00"), at("12:00:05"), &well());
    let status = look(&suspended, &status, at("12:01:00"));
    assert_eq!(decided(&once(&[]), &status, "12:02:00"), "idle");
    let cancelled = running(&once(&[]), &DlqPolicyStatus::default(), at("12:00:00"));
    let cancelled = ended(&suspended, &cancelled, at("12:00:05"), &Outcome::cancelled("suspended".into()));
    assert_eq!(decided(&once(&[]), &look(&suspended, &cancelled, at("12:01:00")), "12:02:00"), "idle");
    let new = seen(&suspended, at("12:00:00"));
    assert_eq!(decided(&once(&[]), &new, "12:02:00"), "start Spec");
}

#[test]
fn removing_the_schedule_starts_nothing() {
    let status = seen(&quarterly(&json!({}), &[]), at("12:00:00"));
    assert_eq!(decided(&once(&[]), &status, "12:01:00"), "idle");
    let status = look(&once(&[]), &status, at("12:01:00"));
    assert!(status.next_schedule_time.is_none() && status.schedule_since.is_none());
    let edited = read(&json!({"action": "delete"}), &[], &permissions());
    assert_eq!(decided(&edited, &status, "12:02:00"), "start Spec");
}

#[test]
fn removing_the_schedule_of_a_policy_whose_token_was_refused_starts_nothing() {
    let scheduled = quarterly(&json!({}), &[]);
    let asked = quarterly(&json!({}), &[("requestedAt", "1")]);
    let first = seen(&scheduled, at("12:00:01"));
    let on_schedule = ran(&scheduled, &first, at("12:15:00"), at("12:15:01"), &token_refused());
    let by_hand = ran(&asked, &first, at("12:10:00"), at("12:10:01"), &token_refused());
    let unscheduled = once(&[("requestedAt", "1")]);
    // Removed while the run was in progress.
    let meanwhile = running(&scheduled, &first, at("12:15:00"));
    let meanwhile =
        ended(&once(&[]), &look(&once(&[]), &meanwhile, at("12:15:01")), at("12:15:02"), &token_refused());
    // The schedule came after the refusal, and went again.
    let came = ran(&once(&[]), &DlqPolicyStatus::default(), at("12:00:00"), at("12:00:05"), &token_refused());
    let came = look(&scheduled, &came, at("12:01:00"));
    for (row, policy, status) in [
        ("a run on schedule", &once(&[]), &on_schedule),
        ("a run by hand", &unscheduled, &by_hand),
        ("during the run", &once(&[]), &meanwhile),
        ("a schedule that came and went", &once(&[]), &came),
    ] {
        let usable = with(policy.clone(), Connectivity::Usable);
        assert_eq!(decided(&usable, status, "12:20:00"), "idle", "{row}");
        let status = look(&usable, status, at("12:20:00"));
        assert_eq!(decided(&usable, &status, "12:21:00"), "idle", "{row}, once more");
        assert!(!awaits_token(&usable, &status), "{row}: nothing is waited for");
    }
}

#[test]
fn another_token_is_tried_once_however_that_ends() {
    let usable = |fields: Value| with(read(&fields, &[], &permissions()), Connectivity::Usable);
    let endings = [
        ("nothing was acted on", Outcome::succeeded(&rejecting(), None)),
        ("Upstash was away", badly()),
        ("it was cancelled", Outcome::cancelled("c".into())),
        ("it took too long", Outcome::deadline_exceeded(&rejecting())),
    ];
    for dry_run in [false, true] {
        let policy = usable(json!({ "dryRun": dry_run }));
        let first =
            ran(&policy, &DlqPolicyStatus::default(), at("12:00:00"), at("12:00:05"), &token_refused());
        assert_eq!(decided(&policy, &first, "12:01:00"), "start Spec");
        for (row, outcome) in &endings {
            let status = ran(&policy, &first, at("12:01:00"), at("12:01:05"), outcome);
            assert_eq!(decided(&policy, &status, "12:01:05"), "idle", "{row}, dry run: {dry_run}");
        }
    }
}

/// A run that found one entry, which was refused for itself.
fn rejecting() -> PolicyRun {
    let Plan::Start(Start { run, .. }) = plan(&once(&[]), &DlqPolicyStatus::default(), at("12:00:00")) else {
        panic!("no run")
    };
    PolicyRun { rejected: 1, ..run }
}

#[test]
fn work_whose_token_was_refused_starts_again_with_a_new_one() {
    let status =
        ran(&once(&[]), &DlqPolicyStatus::default(), at("12:00:00"), at("12:00:05"), &token_refused());
    let refused = with(once(&[]), Connectivity::Refused);
    let usable = with(once(&[]), Connectivity::Usable);
    assert_eq!(decided(&refused, &status, "12:01:00"), "idle");
    assert!(asks(&once(&[]), &status, "12:01:00"));
    assert_eq!(decided(&usable, &status, "12:01:00"), "start Spec");
    // The Secret was deleted and made anew.
    let away = look(&with(once(&[]), missing()), &look(&refused, &status, at("12:01:00")), at("12:02:00"));
    assert_eq!(not_ready_reason(&away), Some(Reason::SecretNotFound));
    assert_eq!(decided(&usable, &away, "12:03:00"), "start Spec");
    let again = ran(&usable, &away, at("12:03:00"), at("12:03:05"), &token_refused());
    assert_eq!(decided(&refused, &again, "12:04:00"), "idle");
    // With a schedule the next scheduled time is the next try.
    let policy = quarterly(&json!({}), &[]);
    let status =
        ran(&policy, &seen(&policy, at("12:00:01")), at("12:15:00"), at("12:15:01"), &token_refused());
    assert_eq!(
        decided(&with(policy.clone(), Connectivity::Usable), &status, "12:16:00"),
        "idle until 12:30:00"
    );
    assert_eq!(decided(&with(policy, Connectivity::Refused), &status, "12:30:00"), "start 12:30:00");
}

#[test]
fn new_work_waits_for_its_secret_and_then_starts() {
    let status = seen(&with(once(&[]), missing()), at("12:00:00"));
    assert_eq!(decided(&once(&[]), &status, "12:01:00"), "start Spec");
    let asked = once(&[("requestedAt", "1")]);
    let status = seen(&with(asked.clone(), missing()), at("12:00:00"));
    assert_eq!(decided(&asked, &status, "12:01:00"), "start Manual");
}

#[test]
fn the_token_is_looked_for_when_something_depends_on_it() {
    let policy = quarterly(&json!({}), &[]);
    let seen_once = seen(&policy, at("12:00:01"));
    let held = look(
        &Known::from(Policy { paused: Some(Pause::Flag), ..policy.policy.clone() }),
        &seen_once,
        at("12:01:00"),
    );
    let waiting = look(&with(policy.clone(), missing()), &seen_once, at("12:01:00"));
    let suspended = Known::from(Policy { suspend: true, ..policy.policy.clone() });
    let edited = Known::from(Policy { generation: 2, ..policy.policy.clone() });
    let table = [
        ("nothing is due", &policy, &seen_once, "12:02:00", false),
        ("the spec is new", &edited, &seen_once, "12:02:00", true),
        ("a scheduled time is due", &policy, &seen_once, "12:15:00", true),
        ("the Secret was missing", &policy, &waiting, "12:02:00", true),
        ("the policy is held", &suspended, &seen_once, "12:02:00", false),
        ("the policy was held", &policy, &held, "12:02:00", true),
    ];
    for (row, policy, status, now, expected) in table {
        assert_eq!(asks(policy, status, now), expected, "{row}");
    }
}

#[test]
fn the_circuit_opens_after_so_many_failures_and_one_request_is_a_trial() {
    let fields = json!({"failurePolicy": {"openCircuitAfter": 2}});
    let policy = quarterly(&fields, &[]);
    let asked = quarterly(&fields, &[("requestedAt", "1")]);
    let status = ran(&policy, &seen(&policy, at("12:00:01")), at("12:15:00"), at("12:15:01"), &badly());
    assert_eq!(decided(&policy, &status, "12:30:00"), "start 12:30:00");
    let open = ran(&policy, &status, at("12:30:00"), at("12:30:01"), &badly());
    assert_eq!(decided(&policy, &open, "12:45:00"), "circuit open");
    let open = look(&policy, &open, at("12:45:00"));
    assert_eq!(decided(&asked, &open, "12:46:00"), "start Manual");
    let failed = ran(&asked, &open, at("12:46:00"), at("12:47:00"), &badly());
    assert_eq!(decided(&asked, &failed, "13:00:00"), "circuit open");
    let closed = ran(&asked, &open, at("12:46:00"), at("12:47:00"), &well());
    assert_eq!(decided(&asked, &closed, "12:47:00"), "idle until 13:00:00");
    let reset = quarterly(&fields, &[("resetAt", "1")]);
    assert_eq!(decided(&reset, &open, "12:50:00"), "idle until 13:00:00");
    let mut edited = fields.clone();
    edited["action"] = "restart".into();
    assert_eq!(decided(&quarterly(&edited, &[]), &open, "12:50:00"), "idle until 13:00:00");
    let off = Known::from(Policy { open_circuit_after: None, ..policy.policy });
    assert_eq!(decided(&off, &open, "12:50:00"), "idle until 13:00:00");
}

#[test]
fn a_runs_window_is_frozen_to_the_millisecond_and_never_ends_after_its_start() {
    let now = at("12:00:00.123456");
    let window = |filters: Value| {
        let policy = read(&json!({ "filters": filters }), &[], &permissions());
        let Plan::Start(Start { run, .. }) = plan(&policy, &DlqPolicyStatus::default(), now) else {
            panic!("no run")
        };
        assert_eq!(run.start_time.to_string(), "2026-11-20T12:00:00.123Z");
        serde_json::to_value(run.window).unwrap()
    };
    let start = "2026-11-20T12:00:00.123Z";
    let table = [
        (json!({"all": true}), json!({"toDate": start})),
        (json!({"toDate": "2030-01-01T00:00:00Z"}), json!({"toDate": start})),
        (json!({"toDate": "2026-11-01T00:00:00.5Z"}), json!({"toDate": "2026-11-01T00:00:00.500Z"})),
        (json!({"olderThan": "15m"}), json!({"toDate": "2026-11-20T11:45:00.123Z"})),
        (json!({"newerThan": "1d"}), json!({"fromDate": "2026-11-19T12:00:00.124Z", "toDate": start})),
        (
            json!({"fromDate": "2026-11-19T00:00:00Z"}),
            json!({"fromDate": "2026-11-19T00:00:00.000Z", "toDate": start}),
        ),
        (json!({"dlqIds": ["a"]}), Value::Null),
    ];
    for (filters, expected) in table {
        assert_eq!(window(filters.clone()), expected, "{filters}");
    }
}

#[test]
fn a_runs_id_is_made_from_what_triggered_it() {
    let id = |policy: &Known, status: &DlqPolicyStatus, now: &str| {
        let Plan::Start(Start { run, .. }) = plan(policy, status, at(now)) else { panic!("no run") };
        run.id
    };
    let (new, policy) = (DlqPolicyStatus::default(), quarterly(&json!({}), &[]));
    let status = seen(&policy, at("12:00:01"));
    assert_eq!(id(&policy, &status, "12:15:00"), format!("{}-schedule", at("12:15:00").as_second()));
    assert_eq!(id(&policy, &status, "12:15:00"), id(&policy, &status, "12:29:00"));
    assert_eq!(id(&once(&[]), &new, "12:00:00"), format!("{}-spec", once(&[]).spec_hash));
    let manual = |value| id(&once(&[("requestedAt", value)]), &new, "12:00:00");
    assert!(manual("1").ends_with("-manual") && manual("1").len() < 40);
    assert_eq!(manual("1"), manual("1"));
    assert_ne!(manual("1"), manual("2"));
}

#[test]
fn a_run_keeps_the_limits_and_the_generation_it_started_with() {
    let policy = read(&json!({"limits": {"pageSize": 7}, "action": "delete"}), &[], &permissions());
    let run = running(&policy, &DlqPolicyStatus::default(), at("12:00:00")).current_run.unwrap();
    assert_eq!((run.limits.unwrap().page_size, run.generation), (7, 3));
    assert_eq!((run.action, run.holder.as_deref()), (dlq_crd::Action::Delete, Some("pod/1")));
    assert_eq!((run.processed, run.pages, run.position, run.interruptions), (0, 0, 0, 0));
}

#[test]
fn why_a_token_was_refused_is_read_from_a_status_of_before_refused_reason() {
    let ready = |reason: &str| {
        json!([{ "type": "Ready", "status": "False", "reason": reason, "message": "",
            "lastTransitionTime": "2026-11-20T12:00:00Z" }])
    };
    for (ready_says, run_says, expected) in [
        ("ReadOnlyToken", "Forbidden", Some(TokenRefusal::ReadOnlyToken)),
        ("Unauthorized", "Cancelled", Some(TokenRefusal::Unauthorized)),
        ("CircuitOpen", "Unauthorized", Some(TokenRefusal::Unauthorized)),
        ("CircuitOpen", "Forbidden", Some(TokenRefusal::Forbidden)),
        ("CircuitOpen", "UpstreamUnavailable", None),
    ] {
        let status = json!({
            "refusedSecret": "upstash/7", "conditions": ready(ready_says),
            "lastRun": { "id": "1-spec", "trigger": "Spec", "action": "resume",
                "startTime": "2026-11-20T12:00:00.000Z", "reason": run_says },
        });
        let mut status: DlqPolicyStatus = serde_json::from_value(status).unwrap();
        assert_eq!(refusal(&status), expected, "{ready_says} {run_says}");
        status.refused_secret = None;
        assert_eq!(refusal(&status), None);
    }
}

#[test]
fn a_policy_that_nobody_saw_was_not_held_and_one_in_a_state_that_cannot_be_read_was() {
    for (generation, phase, is_held) in [
        (-1, None, false),
        (0, None, false),
        (1, None, true),
        (1, Some(Phase::Scheduled), false),
        (1, Some(Phase::Suspended), true),
    ] {
        let status =
            DlqPolicyStatus { observed_generation: Some(generation), phase, ..DlqPolicyStatus::default() };
        assert_eq!(was_held(&status), is_held, "{generation} {phase:?}");
        // As an older operator keeps it, which does not know what it says.
        let status = DlqPolicyStatus { held_since: Some(Time(at("12:00:00"))), ..status };
        assert_eq!(was_held(&status), is_held || phase.is_none(), "{generation} {phase:?}");
    }
}

#[test]
fn what_others_found_serves_a_policy_that_waits_and_a_token_of_just_now_one_that_nobody_edited() {
    let policy = quarterly(&json!({}), &[]);
    let seen_once = seen(&policy, at("12:00:01"));
    let waiting = look(&with(policy.clone(), missing()), &seen_once, at("12:01:00"));
    let edited = Known::from(Policy { generation: 4, ..policy.policy.clone() });
    let unseen = DlqPolicyStatus::default();
    for (row, policy, status, now, freshness) in [
        ("it waits", &policy, &waiting, "12:02:00", Freshness::Known),
        // Maybe together with its Secret.
        ("it was edited", &edited, &waiting, "12:02:00", Freshness::New),
        ("a run is due", &policy, &seen_once, "12:15:00", Freshness::Shared),
        ("nobody saw it before", &policy, &unseen, "12:02:00", Freshness::Shared),
    ] {
        let asked = crate::plan(&policy.policy, status, &Facts::default(), at(now));
        assert_eq!(asked, Err(Question::Connection { freshness }), "{row}");
    }
}

#[test]
fn the_run_that_this_process_works_on_has_its_token_and_no_other_run_has() {
    let policy = once(&[]);
    let holds_run = Facts { holds_run: true, ..Facts::default() };
    let status = running(&policy, &DlqPolicyStatus::default(), at("12:00:00"));
    let plan = |status: &DlqPolicyStatus, facts: &Facts| {
        crate::plan(&policy.policy, status, facts, at("12:00:01")).is_ok()
    };
    assert!(plan(&status, &holds_run));
    assert!(!plan(&status, &Facts::default()), "it is another process'");
    assert!(!plan(&DlqPolicyStatus::default(), &holds_run), "it has ended, and another one starts");
}
