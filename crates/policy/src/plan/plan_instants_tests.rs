use super::*;
use crate::spec::policy::Pause;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{EventReason, changes};

#[test]
fn instants_that_pass_while_a_run_goes_on_are_over() {
    let policy = quarterly(&json!({}), &[]);
    let status = running(&policy, &seen(&policy, at("12:00:01")), at("12:15:00"));
    assert!(decided(&policy, &status, "12:50:00").starts_with("continue"));
    let status = ended(&policy, &status, at("12:50:00"), &well());
    assert_eq!(decided(&policy, &status, "12:50:01"), "idle until 13:00:00");
    assert_eq!(decided(&policy, &status, "13:00:00"), "start 13:00:00");
    assert_eq!(status.missed_schedules, 0);
}

/// A run for 12:15 that lasted until 12:50, under `Forbid`.
fn overran(policy: &Known) -> DlqPolicyStatus {
    let status = running(policy, &seen(policy, at("12:00:01")), at("12:15:00"));
    ended(policy, &status, at("12:50:00"), &well())
}

#[test]
fn what_a_run_skipped_no_later_run_by_hand_brings_back() {
    let policy = quarterly(&json!({}), &[]);
    let asked = |value| quarterly(&json!({}), &[("requestedAt", value)]);
    let once = ran(&asked("1"), &overran(&policy), at("12:51:00"), at("12:51:10"), &well());
    assert_eq!(decided(&asked("1"), &once, "12:51:10"), "idle until 13:00:00");
    let twice = ran(&asked("2"), &once, at("12:51:11"), at("12:52:00"), &well());
    assert_eq!(decided(&asked("2"), &twice, "12:52:00"), "idle until 13:00:00");
    assert_eq!(decided(&asked("2"), &twice, "13:00:00"), "start 13:00:00");
    assert_eq!(twice.missed_schedules, 0);
    // Nor is one told as missed with the next catch-up.
    assert_eq!(decided(&asked("2"), &twice, "13:20:00"), "start 13:15:00, missed 1 up to 13:00:00");
}

#[test]
fn what_a_run_skipped_no_edit_brings_back() {
    let (forbid, replace) =
        (quarterly(&json!({}), &[]), quarterly(&json!({"concurrencyPolicy": "Replace"}), &[]));
    let status = look(&replace, &overran(&forbid), at("12:51:00"));
    assert_eq!(decided(&replace, &status, "12:51:00"), "idle until 13:00:00");
    // While the run is in progress, too: it is not replaced by what it was allowed to outlast.
    let status = running(&forbid, &seen(&forbid, at("12:00:01")), at("12:15:00"));
    let checkpoint = status::running(
        &forbid,
        &status,
        status.current_run.as_ref().unwrap(),
        crate::Activity::Working,
        at("12:46:00"),
    );
    for status in [look(&forbid, &status, at("12:46:00")), checkpoint] {
        assert!(decided(&replace, &status, "12:50:00").starts_with("continue"));
        assert!(decided(&replace, &status, "13:00:00").starts_with("cancel"));
    }
}

#[test]
fn of_two_requests_in_a_row_the_second_forgets_nothing_that_is_due() {
    let asked = |value| quarterly(&json!({}), &[("requestedAt", value)]);
    let status = ran(
        &asked("1"),
        &seen(&quarterly(&json!({}), &[]), at("12:00:01")),
        at("12:20:00"),
        at("12:21:00"),
        &well(),
    );
    let status = running(&asked("2"), &status, at("12:21:01"));
    let status = ended(&asked("2"), &status, at("12:22:00"), &well());
    assert_eq!(decided(&asked("2"), &status, "12:22:00"), "start 12:15:00");
    // A scheduled time between the two is due in its place.
    let status = ran(&asked("3"), &status, at("12:31:00"), at("12:32:00"), &well());
    assert_eq!(status.missed_schedules, 1);
    assert_eq!(decided(&asked("3"), &status, "12:32:00"), "start 12:30:00");
    let status = ran(&asked("3"), &status, at("12:32:00"), at("12:33:00"), &well());
    assert_eq!(decided(&asked("3"), &status, "12:34:00"), "idle until 12:45:00");
}

#[test]
fn instants_that_pass_while_the_policy_is_held_are_over() {
    let policy = quarterly(&json!({"failurePolicy": {"openCircuitAfter": 1}}), &[]);
    let status = seen(&policy, at("12:00:01"));
    let suspended = Known::from(Policy { suspend: true, ..policy.policy.clone() });
    let paused = Known::from(Policy { paused: Some(Pause::Flag), ..policy.policy.clone() });
    let broken = Known::from(Policy {
        schedule: Err(Invalid::new(Reason::InvalidSchedule, "no")),
        ..policy.policy.clone()
    });
    let tripped = DlqPolicyStatus { consecutive_failures: 1, ..status.clone() };
    let reset = quarterly(&json!({"failurePolicy": {"openCircuitAfter": 1}}), &[("resetAt", "1")]);
    let table = [
        ("suspended", &suspended, &status, &policy),
        ("paused", &paused, &status, &policy),
        ("waiting for the Secret", &with(policy.clone(), missing()), &status, &policy),
        ("invalid", &broken, &status, &policy),
        ("the circuit was open", &policy, &tripped, &reset),
    ];
    for (row, held, before, freed) in table {
        let status = look(held, before, at("12:10:00"));
        assert_eq!(decided(freed, &status, "12:50:00"), "idle until 13:00:00", "{row}");
        let status = look(freed, &status, at("12:50:00"));
        assert_eq!(decided(freed, &status, "12:59:59"), "idle until 13:00:00", "{row}");
        assert_eq!(decided(freed, &status, "13:00:00"), "start 13:00:00", "{row}");
        assert_eq!(status.missed_schedules, 0, "{row}");
    }
    let newer = DlqPolicyStatus { phase: None, ..status };
    assert_eq!(decided(&policy, &newer, "12:50:00"), "idle until 13:00:00", "a phase that is not known");
}

#[test]
fn jitter_moves_the_start_and_the_deadline_but_not_the_instant() {
    let policy = quarterly(&json!({"jitter": "10m", "startingDeadlineSeconds": 60}), &[]);
    let status = seen(&policy, at("12:00:01"));
    let Ok(Some(schedule)) = &policy.schedule else { panic!("no schedule") };
    let start = schedule.jittered(at("12:15:00"), at("12:00:01"));
    assert!(start > at("12:15:00") && start < at("12:25:00"), "{start}");
    let millisecond = jiff::SignedDuration::from_millis(1);
    let minute = jiff::SignedDuration::from_mins(1);
    assert_eq!(plan(&policy, &status, start - millisecond), Plan::Idle { next: Some(start) });
    assert_eq!(word(&plan(&policy, &status, start)), "start 12:15:00");
    assert_eq!(word(&plan(&policy, &status, start + minute)), "start 12:15:00");
    assert_eq!(word(&plan(&policy, &status, start + minute + millisecond)), "missed 1 up to 12:15:00");
    // A run that ends between a scheduled time and its start leaves it to be done.
    let status = running(&policy, &status, start);
    let next_start = schedule.jittered(at("12:30:00"), at("12:00:01"));
    let between = ended(&policy, &status, next_start - millisecond, &well());
    assert_eq!(plan(&policy, &between, next_start - millisecond), Plan::Idle { next: Some(next_start) });
    assert_eq!(word(&plan(&policy, &between, next_start)), "start 12:30:00");
}

#[test]
fn replace_ends_the_run_at_the_next_instant_and_starts_that() {
    let policy = quarterly(&json!({"concurrencyPolicy": "Replace"}), &[]);
    let status = running(&policy, &seen(&policy, at("12:00:01")), at("12:15:00"));
    assert!(decided(&policy, &status, "12:29:59").starts_with("continue"));
    let due = "cancel: because the next scheduled time is due and concurrencyPolicy is Replace";
    assert_eq!(decided(&policy, &status, "12:30:00"), due);
    let cancelled = ended(&policy, &status, at("12:30:00.100"), &Outcome::cancelled("replaced".into()));
    assert_eq!(decided(&policy, &cancelled, "12:30:00.100"), "start 12:30:00");
    let next = running(&policy, &cancelled, at("12:30:00.100"));
    assert!(decided(&policy, &next, "12:30:01").starts_with("continue"));
}

#[test]
fn replace_ends_no_run_where_the_next_one_could_not_start() {
    let fields = json!({"concurrencyPolicy": "Replace", "failurePolicy": {"openCircuitAfter": 1}});
    let policy = quarterly(&fields, &[]);
    let failed = ran(&policy, &seen(&policy, at("12:00:01")), at("12:15:00"), at("12:15:05"), &badly());
    let asked = quarterly(&fields, &[("requestedAt", "1")]);
    let trial = running(&asked, &failed, at("12:16:00"));
    assert!(decided(&asked, &trial, "12:50:00").starts_with("continue"), "the circuit is open");
    let closed = ended(&asked, &look(&asked, &trial, at("12:50:00")), at("12:51:00"), &well());
    assert_eq!(decided(&asked, &closed, "12:51:00"), "idle until 13:00:00");
    assert_eq!(closed.missed_schedules, 0);

    let status = running(&policy, &seen(&policy, at("12:00:01")), at("12:15:00"));
    assert_eq!(decided(&with(policy.clone(), missing()), &status, "12:31:00"), "waiting: SecretNotFound");
    assert!(decided(&with(policy.clone(), Connectivity::Lost), &status, "12:31:00").starts_with("continue"));
    // What came while it waited is skipped, and replaces nothing afterwards.
    let waiting = look(&with(policy.clone(), missing()), &status, at("12:16:00"));
    let back = with(policy.clone(), Connectivity::Usable);
    assert!(decided(&back, &waiting, "12:40:00").starts_with("continue"));
    let back_at_work = look(&back, &waiting, at("12:40:00"));
    assert!(decided(&back, &back_at_work, "12:40:01").starts_with("continue"));
    assert!(decided(&back, &back_at_work, "12:45:00").starts_with("cancel"));
    assert!(asks(&policy, &status, "12:31:00"), "nobody looked for the token yet");
}

#[test]
fn replace_ends_no_run_for_an_instant_that_it_is_too_late_for() {
    let policy = quarterly(&json!({"concurrencyPolicy": "Replace", "startingDeadlineSeconds": 60}), &[]);
    let status = running(&policy, &seen(&policy, at("12:00:01")), at("12:15:00"));
    assert!(decided(&policy, &status, "12:31:00").starts_with("cancel"));
    assert!(decided(&policy, &status, "12:31:01").starts_with("continue"));
    let status = ended(&policy, &status, at("12:32:00"), &well());
    assert_eq!(decided(&policy, &status, "12:32:00"), "missed 1 up to 12:30:00");
}

#[test]
fn a_late_start_is_not_replaced_by_an_instant_before_it() {
    let policy = quarterly(&json!({"concurrencyPolicy": "Replace"}), &[("requestedAt", "1")]);
    let status = running(&policy, &seen(&quarterly(&json!({}), &[]), at("12:00:01")), at("12:20:00"));
    assert_eq!(status.current_run.as_ref().unwrap().trigger, Trigger::Manual);
    assert!(decided(&policy, &status, "12:21:00").starts_with("continue"));
    assert!(decided(&policy, &status, "12:30:00").starts_with("cancel"));
}

#[test]
fn a_run_by_hand_leaves_what_passed_before_it_to_be_caught_up() {
    for concurrency in ["Forbid", "Replace"] {
        let fields = json!({ "concurrencyPolicy": concurrency });
        let (policy, asked) = (quarterly(&fields, &[]), quarterly(&fields, &[("requestedAt", "1")]));
        let status = seen(&policy, at("12:00:01"));
        assert_eq!(decided(&asked, &status, "12:50:00"), "start Manual, missed 2 up to 12:30:00");
        let status = running(&asked, &status, at("12:50:00"));
        assert_eq!(status.current_run.as_ref().unwrap().trigger, Trigger::Manual);
        let status = ended(&asked, &status, at("12:50:05"), &well());
        assert_eq!(decided(&asked, &status, "12:50:06"), "start 12:45:00");
        // Once.
        let status = ran(&asked, &status, at("12:50:06"), at("12:50:07"), &well());
        assert_eq!(decided(&asked, &status, "12:50:08"), "idle until 13:00:00");
        assert_eq!(status.missed_schedules, 2);
    }
}

#[test]
fn an_instant_that_comes_with_a_request_is_run_after_it() {
    let asked = quarterly(&json!({}), &[("requestedAt", "1")]);
    let status = seen(&quarterly(&json!({}), &[]), at("12:00:01"));
    let status = ran(&asked, &status, at("12:15:00"), at("12:15:05"), &well());
    assert_eq!(decided(&asked, &status, "12:15:05"), "start 12:15:00");
}

#[test]
fn instants_that_pass_during_a_run_by_hand_are_over_though_earlier_ones_are_due() {
    let asked = quarterly(&json!({}), &[("requestedAt", "1")]);
    let status = running(&asked, &seen(&quarterly(&json!({}), &[]), at("12:00:01")), at("12:20:00"));
    let status = ended(&asked, &status, at("12:50:00"), &well());
    assert_eq!(decided(&asked, &status, "12:50:00"), "start 12:15:00");
    assert_eq!(decided(&asked, &status, "13:20:00"), "start 13:15:00, missed 2 up to 13:00:00");
    let status = ran(&asked, &status, at("12:50:00"), at("12:51:00"), &well());
    assert_eq!(decided(&asked, &status, "12:52:00"), "idle until 13:00:00");
    assert_eq!(status.missed_schedules, 0);
}

#[test]
fn what_a_run_by_hand_made_too_late_is_counted_as_missed() {
    let asked = quarterly(&json!({"startingDeadlineSeconds": 600}), &[("requestedAt", "1")]);
    let status = running(&asked, &seen(&quarterly(&json!({}), &[]), at("12:00:01")), at("12:20:00"));
    let status = ended(&asked, &status, at("12:50:00"), &well());
    assert_eq!(decided(&asked, &status, "12:50:00"), "missed 1 up to 12:15:00");
    let status = look(&asked, &status, at("12:50:00"));
    assert_eq!(decided(&asked, &status, "12:50:01"), "idle until 13:00:00");
}

#[test]
fn an_instant_whose_start_is_to_come_has_not_passed() {
    let policy = quarterly(&json!({"jitter": "10m"}), &[]);
    let Ok(Some(schedule)) = &policy.schedule else { panic!("no schedule") };
    let since = at("12:00:01");
    let next = schedule.jittered(at("12:30:00"), since);
    let status = running(&policy, &seen(&policy, since), schedule.jittered(at("12:15:00"), since));
    let run = status.current_run.clone().unwrap();
    let just_before = next - jiff::SignedDuration::from_millis(1);
    for (end, told) in [(just_before, false), (next, true)] {
        let events =
            changes(&policy, &status, &status::finished(&policy, &status, &run, &well(), end)).events;
        assert_eq!(events.iter().any(|event| event.reason == EventReason::RunAlreadyActive), told, "{end}");
    }
}

/// Before `pendingScheduleTime` was, a run by hand left what was due at its start to be found again.
#[test]
fn a_run_is_replaced_by_what_came_after_it_started_alone() {
    let policy = quarterly(&json!({"concurrencyPolicy": "Replace"}), &[("requestedAt", "1")]);
    for (start, expected) in [("12:15:00", "continue"), ("12:14:59.999", "cancel")] {
        let mut status = running(&policy, &seen(&policy, at("12:00:01")), at(start));
        status.pending_schedule_time = None;
        let decided = decided(&policy, &status, "12:15:01");
        assert!(decided.starts_with(expected), "{start}: {decided}");
    }
}

#[test]
fn a_clock_that_was_far_ahead_silences_no_policy() {
    let policy = quarterly(&json!({}), &[]);
    let ahead = [
        seen(&policy, time("2027-11-20T12:00:01Z")),
        ran(
            &policy,
            &seen(&policy, at("11:00:01")),
            time("2027-11-20T12:15:00Z"),
            time("2027-11-20T12:16:00Z"),
            &well(),
        ),
    ];
    for status in ahead {
        assert_eq!(decided(&policy, &status, "12:01:00"), "idle until 12:15:00", "nothing is caught up");
        let status = look(&policy, &status, at("12:01:00"));
        assert_eq!(decided(&policy, &status, "12:15:00"), "start 12:15:00");
        let status = ran(&policy, &status, at("12:15:00"), at("12:15:05"), &well());
        assert_eq!(decided(&policy, &status, "12:15:06"), "idle until 12:30:00");
    }
}

#[test]
fn what_was_postponed_comes_again_also_where_the_clock_was_set_back() {
    let policy = quarterly(&json!({}), &[]);
    let Ok(Some(schedule)) = &policy.schedule else { panic!("no schedule") };
    let mut status = seen(&policy, at("12:00:01"));
    status.pending_schedule_time = Some(Time(at("12:30:00")));
    for (now, next) in [("12:20:00", "12:30:00"), ("12:30:00", "12:45:00"), ("12:31:00", "12:45:00")] {
        assert_eq!(next_run(schedule, &status, at("12:00:01"), at(now)), Some(at(next)), "{now}");
    }
}

#[test]
fn a_time_a_day_ahead_is_believed_and_a_later_one_is_not() {
    let day = Time(time("2026-11-21T12:00:00Z"));
    assert!(!due::is_astray(&day, at("12:00:00")));
    assert!(due::is_astray(&day, at("11:59:59")));
}
