//! Runs that somebody asks for, and policies that run only then.

use super::*;
use crate::{EventReason, changes};
use dlq_crd::RequestedMode;

fn manual(fields: &Value, annotations: &[(&str, &str)]) -> Known {
    let mut fields = fields.clone();
    fields["trigger"] = "Manual".into();
    read(&fields, annotations, &permissions())
}

const DRY: [(&str, &str); 2] = [("requestedAt", "1"), ("requestedMode", "DryRun")];

/// The status after one more look, and what is told of requests that lead to nothing.
fn ignored(policy: &Known, before: &DlqPolicyStatus, now: Timestamp) -> (DlqPolicyStatus, Vec<String>) {
    let after = look(policy, before, now);
    let events = changes(policy, before, &after).events.into_iter();
    let texts = events.filter(|event| event.reason == EventReason::RunRequestIgnored).map(|event| event.text);
    let texts = texts.collect();
    (after, texts)
}

#[test]
fn a_dry_run_can_be_asked_for_whatever_keeps_runs_from_starting_and_changes_none_of_it() {
    let circuit = json!({"failurePolicy": {"openCircuitAfter": 2}});
    let pause_all = Permissions { pause_all: true, ..permissions() };
    let done = DlqPolicyStatus {
        last_handled_spec_hash: Some(quarterly(&json!({}), &[]).policy.spec_hash),
        consecutive_failures: 2,
        ..seen(&quarterly(&json!({}), &[]), at("12:00:00"))
    };
    let annotated = [DRY[0], DRY[1], ("paused", "incident")];
    for (row, policy, phase) in [
        ("suspended", quarterly(&json!({"suspend": true}), &DRY), Phase::Suspended),
        ("paused by its annotation", quarterly(&json!({}), &annotated), Phase::Paused),
        ("paused by the flag", read(&json!({"schedule": "*/15 * * * *"}), &DRY, &pause_all), Phase::Paused),
        ("circuit open", quarterly(&circuit, &DRY), Phase::CircuitOpen),
    ] {
        let status = running(&policy, &done, at("12:01:00"));
        let run = status.current_run.as_ref().unwrap();
        assert!(run.dry_run && run.requested_mode == Some(RequestedMode::DryRun), "{row}");
        assert_eq!(decided(&policy, &status, "12:01:01"), format!("continue {}", run.id), "{row}");
        for outcome in [well(), badly()] {
            let status = ended(&policy, &status, at("12:02:00"), &outcome);
            assert_eq!((status.phase, status.consecutive_failures), (Some(phase), 2), "{row}");
            let status = look(&policy, &status, at("12:03:00"));
            assert_eq!((status.phase, status.current_run), (Some(phase), None), "{row}");
        }
    }
}

#[test]
fn a_run_that_was_not_asked_for_as_a_dry_run_ends_when_the_policy_is_suspended() {
    let asked = once(&[("requestedAt", "1")]);
    let dry = read(&json!({"dryRun": true}), &[("requestedAt", "1")], &permissions());
    for policy in [asked, dry] {
        let status = running(&policy, &DlqPolicyStatus::default(), at("12:00:00"));
        let suspended = Known::from(Policy { suspend: true, ..policy.policy });
        assert_eq!(decided(&suspended, &status, "12:00:01"), "cancel: because spec.suspend is true");
    }
}

#[test]
fn a_dry_run_asked_for_in_a_new_manifest_is_the_first_run_and_its_work_counts_as_handled() {
    let policy = once(&DRY);
    let status = running(&policy, &DlqPolicyStatus::default(), at("12:00:00"));
    assert!(status.current_run.as_ref().unwrap().dry_run);
    let status = ended(&policy, &status, at("12:00:01"), &well());
    assert_eq!(decided(&policy, &status, "12:00:02"), "idle");
    assert_eq!(decided(&once(&[]), &status, "12:00:02"), "idle");
}

#[test]
fn a_dry_run_of_a_suspended_policy_leaves_its_first_run_for_later() {
    let policy = read(&json!({"suspend": true}), &DRY, &permissions());
    let status = running(&policy, &DlqPolicyStatus::default(), at("12:00:00"));
    assert!(decided(&policy, &status, "12:00:01").starts_with("continue"));
    let edited =
        |fields: Value| Known::from(Policy { generation: 4, ..read(&fields, &DRY, &permissions()).policy });
    let other_work = edited(json!({"suspend": true, "action": "delete"}));
    assert!(decided(&other_work, &status, "12:00:01").contains("action, filters, overrides"));
    for other in [json!({"suspend": true, "historyLimit": 3}), json!({"suspend": false})] {
        assert!(decided(&edited(other.clone()), &status, "12:00:01").starts_with("continue"), "{other}");
    }
    let status = look(&policy, &ended(&policy, &status, at("12:00:02"), &well()), at("12:00:03"));
    assert_eq!(decided(&policy, &status, "12:00:04"), "suspended");
    assert_eq!(decided(&once(&DRY), &status, "12:00:05"), "start Spec");
}

#[test]
fn a_dry_run_asked_for_during_a_run_is_recorded_and_ignored() {
    let policy = quarterly(&json!({}), &[]);
    let status = running(&policy, &seen(&policy, at("12:00:01")), at("12:15:00"));
    let status = look(&quarterly(&json!({}), &DRY), &status, at("12:15:01"));
    assert_eq!(status.last_handled_requested_at.as_deref(), Some("1"));
}

#[test]
fn a_mode_that_nobody_knows_starts_nothing_and_is_told_once() {
    for mode in ["dryrun", "DRYRUN", "Apply", "true", " "] {
        let policy = once(&[("requestedAt", "1"), ("requestedMode", mode)]);
        let before = ended_once();
        let (after, told) = ignored(&policy, &before, at("12:05:00"));
        assert_eq!(after.last_handled_requested_at.as_deref(), Some("1"), "{mode:?}");
        assert!(
            told.len() == 1 && told[0].contains("requestedMode") && told[0].contains("DryRun"),
            "{told:?}"
        );
        assert_eq!(decided(&policy, &after, "12:05:01"), "idle", "{mode:?}");
        assert_eq!(ignored(&policy, &after, at("12:05:01")).1, [""; 0], "{mode:?}");
    }
}

#[test]
fn a_first_run_that_was_to_be_a_dry_run_never_acts_because_nobody_understands_how_it_was_asked_for() {
    let new = DlqPolicyStatus::default();
    let long = "x".repeat(300);
    for annotations in [
        [("requestedAt", "1"), ("requestedMode", "dryrun")],
        [("requestedAt", long.as_str()), ("requestedMode", "DryRun")],
    ] {
        let policy = once(&annotations);
        let (after, told) = ignored(&policy, &new, at("12:00:00"));
        assert_eq!((decided(&policy, &new, "12:00:00").as_str(), told.len()), ("idle", 1), "{told:?}");
        assert_eq!(decided(&once(&[]), &after, "12:00:01"), "idle", "what it was to list is handled");
        let edited = read(&json!({"action": "restart"}), &annotations, &permissions());
        assert_eq!(decided(&edited, &after, "12:00:01"), "start Spec", "later work is not");
    }
}

#[test]
fn a_request_that_is_ignored_is_told_of_also_when_a_run_begins_for_another_reason() {
    let policy = once(&[("requestedAt", "2020-01-01T00:00:00Z")]);
    let new = DlqPolicyStatus::default();
    let began = running(&policy, &new, at("12:00:00"));
    assert_eq!(began.current_run.as_ref().unwrap().trigger, Trigger::Spec);
    let told = changes(&policy, &new, &began).events;
    assert!(told.iter().any(|event| event.reason == EventReason::RunRequestIgnored), "{told:?}");
}

#[test]
fn a_dry_run_whose_token_is_refused_owes_nobody_a_run_that_acts() {
    let merged = DlqPolicyStatus::default();
    for before in [merged, ended_once()] {
        let policy = once(&DRY);
        let refused = ran(&policy, &before, at("12:05:00"), at("12:05:01"), &token_refused());
        assert_eq!(refused.refused_secret, None);
        let usable = with(policy, Connectivity::Usable);
        assert_eq!(decided(&usable, &refused, "12:06:00"), "idle", "with another token");
    }
}

#[test]
fn a_dry_run_without_a_secret_leaves_a_held_policy_as_it_is() {
    let circuit = json!({"failurePolicy": {"openCircuitAfter": 2}});
    let open = DlqPolicyStatus { consecutive_failures: 2, ..ended_once() };
    for (policy, before, phase) in [
        (read(&json!({"suspend": true}), &DRY, &permissions()), ended_once(), Phase::Suspended),
        (once(&[DRY[0], DRY[1], ("paused", "x")]), ended_once(), Phase::Paused),
        (read(&circuit, &DRY, &permissions()), open, Phase::CircuitOpen),
    ] {
        let (after, told) = ignored(&with(policy, missing()), &before, at("12:05:00"));
        assert_eq!(after.phase, Some(phase));
        assert!(told.len() == 1 && told[0].contains("Secret"), "{phase:?}: {told:?}");
    }
    let able = look(&with(once(&DRY), missing()), &ended_once(), at("12:05:00"));
    assert_eq!(able.last_handled_requested_at, None, "it waits where other runs would");
}

#[test]
fn nothing_is_called_ignored_while_the_object_cannot_be_read() {
    let mut policy = manual(&json!({}), &[("requestedAt", "1")]);
    policy.policy.spec_hash = String::new();
    policy.policy.work = Err(Invalid::new(Reason::InvalidSpec, "status.phase cannot be read"));
    assert_eq!(ignored(&policy, &DlqPolicyStatus::default(), at("12:05:00")).1, [""; 0]);
}

/// A policy without a schedule that has done its work.
fn ended_once() -> DlqPolicyStatus {
    ran(&once(&[]), &DlqPolicyStatus::default(), at("12:00:00"), at("12:00:01"), &well())
}

#[test]
fn a_request_from_more_than_ten_minutes_before_the_policys_creation_was_restored_with_it() {
    // The policy was created at 12:00:00.
    for (value, is_ignored) in [
        ("2026-11-20T11:49:59Z", true),
        ("2026-11-20T12:49:59+0100", true),
        ("2020-01-01T00:00:00Z", true),
        ("1600000000", true),
        ("1600000000000", true),
        ("2026-11-20T11:50:00Z", false),
        ("2026-11-20T12:00:00Z", false),
        ("2030-01-01T00:00:00Z", false),
        ("1", false),
        ("20200101", false),
        ("please", false),
        ("20261120120000", false),
    ] {
        let policy = quarterly(&json!({}), &[("requestedAt", value)]);
        let (after, told) = ignored(&policy, &DlqPolicyStatus::default(), at("12:00:01"));
        assert_eq!(told.len(), usize::from(is_ignored), "{value}: {told:?}");
        if is_ignored {
            assert!(told[0].contains("requestedAt") && told[0].contains("new value"), "{told:?}");
            assert_eq!(after.last_handled_requested_at.as_deref(), Some(value));
            assert!(decided(&policy, &after, "12:00:02").starts_with("idle"), "{value}");
        } else {
            assert_eq!(decided(&policy, &DlqPolicyStatus::default(), "12:00:01"), "start Manual", "{value}");
        }
    }
}

#[test]
fn a_manual_policy_runs_when_it_is_asked_to_and_for_no_other_reason() {
    let new = DlqPolicyStatus::default();
    let policy = manual(&json!({}), &[]);
    assert_eq!(decided(&policy, &new, "12:00:00"), "idle", "it was created");
    let seen = seen(&policy, at("12:00:00"));
    assert_eq!(seen.phase, Some(Phase::Pending));
    let edited = manual(&json!({"action": "delete"}), &[]);
    assert_eq!(decided(&edited, &seen, "12:01:00"), "idle", "it was edited");
    let asked = manual(&json!({}), &[("requestedAt", "1")]);
    assert_eq!(decided(&asked, &seen, "12:02:00"), "start Manual", "it was asked to");
    let refused = ran(&asked, &seen, at("12:02:00"), at("12:02:01"), &token_refused());
    let usable = with(asked.clone(), Connectivity::Usable);
    assert_eq!(decided(&usable, &look(&usable, &refused, at("12:03:00")), "12:03:00"), "idle", "a new token");
    assert_eq!(
        decided(&manual(&json!({}), &[]), &new, "12:04:00"),
        "idle",
        "it was restored without its status"
    );
    let during = running(&asked, &seen, at("12:02:00"));
    assert_eq!(
        decided(&manual(&json!({"action": "delete"}), &[("requestedAt", "1")]), &during, "12:02:01"),
        "cancel: because action, filters, overrides, match, loopProtection, connection or dryRun changed"
    );
}

#[test]
fn what_was_seen_of_a_manual_policy_starts_nothing_once_its_trigger_is_another() {
    let status = seen(&manual(&json!({}), &[]), at("12:00:00"));
    assert_eq!(decided(&once(&[]), &status, "12:01:00"), "idle");
    let suspended = seen(&manual(&json!({"suspend": true}), &[]), at("12:00:00"));
    assert_eq!(decided(&once(&[]), &suspended, "12:01:00"), "idle");
    let asked = manual(&json!({}), &[("requestedAt", "1")]);
    let refused = ran(&asked, &status, at("12:02:00"), at("12:02:01"), &token_refused());
    let usable = with(once(&[("requestedAt", "1")]), Connectivity::Usable);
    assert_eq!(decided(&usable, &refused, "12:03:00"), "idle", "a token that was refused under it");
    let edited = read(&json!({"action": "restart"}), &[], &permissions());
    assert_eq!(decided(&edited, &status, "12:01:00"), "start Spec", "what is new then starts a run");
}

#[test]
fn what_a_manual_policy_asks_for_at_first_sight_counts_only_as_a_time_that_is_not_before_it() {
    for (value, runs) in [
        ("1", false),
        ("please", false),
        ("2026-11-20T11:49:59Z", false),
        ("1600000000", false),
        ("20261120120000", false),
        ("2026112012", false),
        ("2026-11-20T11:50:00Z", true),
        ("2026-11-20T12:00:05+0000", true),
        ("1795176000", true),
    ] {
        let policy = manual(&json!({}), &[("requestedAt", value)]);
        let new = DlqPolicyStatus::default();
        let expected = if runs { "start Manual" } else { "idle" };
        assert_eq!(decided(&policy, &new, "12:00:01"), expected, "{value}");
        if !runs {
            let (after, told) = ignored(&policy, &new, at("12:00:01"));
            assert_eq!(
                (after.last_handled_requested_at.as_deref(), told.len()),
                (Some(value), 1),
                "{told:?}"
            );
            assert_eq!(decided(&policy, &after, "12:00:02"), "idle", "{value}");
        }
        let unseen = DlqPolicyStatus { observed_generation: Some(-1), ..DlqPolicyStatus::default() };
        assert_eq!(decided(&policy, &unseen, "12:00:01"), expected, "as the API server makes it: {value}");
    }
    // Of a policy that was seen, any new value counts.
    let status = seen(&manual(&json!({}), &[]), at("12:00:00"));
    assert_eq!(decided(&manual(&json!({}), &[("requestedAt", "1")]), &status, "12:01:00"), "start Manual");
}

#[test]
fn what_a_manual_policy_asks_for_at_first_sight_is_ignored_also_while_it_cannot_run() {
    for policy in [
        with(manual(&json!({}), &[("requestedAt", "1")]), missing()),
        manual(&json!({"filters": {"labels": []}}), &[("requestedAt", "1")]),
    ] {
        let after = seen(&policy, at("12:00:00"));
        assert_eq!(after.last_handled_requested_at.as_deref(), Some("1"));
    }
    let timed = manual(&json!({}), &[("requestedAt", "2026-11-20T12:00:00Z")]);
    let waiting = seen(&with(timed.clone(), missing()), at("12:00:01"));
    assert_eq!(decided(&timed, &waiting, "12:01:00"), "start Manual", "one that counts waits for its Secret");
}

#[test]
fn a_scheduled_time_replaces_no_dry_run_of_a_policy_that_is_suspended() {
    let policy = quarterly(&json!({"concurrencyPolicy": "Replace", "suspend": true}), &DRY);
    let status = running(&policy, &seen(&quarterly(&json!({}), &[]), at("12:00:01")), at("12:14:00"));
    assert!(decided(&policy, &status, "12:15:01").starts_with("continue"));
    let status = look(&policy, &status, at("12:15:01"));
    assert_eq!(status.last_skipped_time.map(|time| time.0), Some(at("12:15:00")));
}
