//! Runs that wait for an approval.

use super::*;

const AWAITS: &str = "awaits approval until 2026-11-21T12:05:00Z";

/// A policy whose runs need an approval, with more fields.
fn gated(fields: &Value, annotations: &[(&str, &str)]) -> Known {
    let mut fields = fields.clone();
    fields["limits"] = json!({ "approvalAbove": 10, "activeDeadlineSeconds": 600 });
    read(&fields, annotations, &permissions())
}

/// The status of a run that began at noon and asked five minutes later.
fn waiting(policy: &Known, before: &DlqPolicyStatus) -> DlqPolicyStatus {
    let before = running(policy, before, at("12:00:00"));
    let run = PolicyRun {
        matched: Some(11),
        approval_id: Some("the-id".to_owned()),
        approval_requested_time: Some(at("12:05:00").into()),
        holder: Some(String::new()),
        ..before.current_run.clone().unwrap()
    };
    status::awaiting_approval(policy, &before, &run, at("12:05:00"))
}

#[test]
fn a_run_waits_for_its_approval_unless_something_ends_it() {
    let status = waiting(&gated(&json!({}), &[]), &DlqPolicyStatus::default());
    let force = Permissions { force_dry_run: true, ..permissions() };
    let pause_all = Permissions { pause_all: true, ..permissions() };
    let gate = json!({ "limits": { "approvalAbove": 10 } });
    let on = format!("continue {}", status.current_run.as_ref().unwrap().id);
    let next_day = "2026-11-21T12:04:59Z";
    for (row, policy, now, expected) in vec![
        ("nothing changed", gated(&json!({}), &[]), "2026-11-20T12:06:00Z", AWAITS),
        ("its deadline has passed", gated(&json!({}), &[]), "2026-11-20T12:30:00Z", AWAITS),
        ("the last second", gated(&json!({}), &[]), next_day, AWAITS),
        ("approved", gated(&json!({}), &[("approvedRun", "the-id")]), next_day, &on),
        ("another ID", gated(&json!({}), &[("approvedRun", "the-other")]), next_day, AWAITS),
        ("a part of the ID", gated(&json!({}), &[("approvedRun", "the-i")]), next_day, AWAITS),
        ("a day has passed", gated(&json!({}), &[]), "2026-11-21T12:05:00Z", "cancel: not approved"),
        (
            "an approval that is seen too late",
            gated(&json!({}), &[("approvedRun", "the-id")]),
            "2026-11-21T12:05:00Z",
            "cancel: not approved",
        ),
        ("the Secret is gone", with(gated(&json!({}), &[]), missing()), next_day, AWAITS),
        (
            "approved, and the Secret is gone",
            with(gated(&json!({}), &[("approvedRun", "the-id")]), missing()),
            next_day,
            "waiting: SecretNotFound",
        ),
        (
            "a higher threshold",
            read(&json!({ "limits": { "approvalAbove": 99 } }), &[], &permissions()),
            next_day,
            AWAITS,
        ),
        ("a run is requested", gated(&json!({}), &[("requestedAt", "now")]), next_day, AWAITS),
        (
            "cancelled",
            gated(&json!({}), &[("cancelAt", "1"), ("approvedRun", "the-id")]),
            next_day,
            "cancel: by the annotation dlq-operator.dev/cancelAt",
        ),
        (
            "suspended",
            gated(&json!({ "suspend": true }), &[]),
            next_day,
            "cancel: because spec.suspend is true",
        ),
        (
            "paused",
            gated(&json!({}), &[("paused", "true"), ("approvedRun", "the-id")]),
            next_day,
            "cancel: because the policy is paused",
        ),
        ("all are paused", read(&gate, &[], &pause_all), next_day, "cancel: because the policy is paused"),
        (
            "forced dry",
            read(&gate, &[], &force),
            next_day,
            "cancel: because the operator runs with --force-dry-run",
        ),
        (
            "a new spec",
            gated(&json!({ "filters": { "all": true } }), &[("approvedRun", "the-id")]),
            next_day,
            "cancel: because action, filters, overrides, match, loopProtection, connection or dryRun changed",
        ),
    ] {
        let decided = word(&plan(&policy, &status, time(now)));
        assert!(decided.starts_with(expected), "{row}: {decided}");
    }
    assert!(!asks(&gated(&json!({}), &[]), &status, "12:06:00"), "nobody looks for a token meanwhile");
    assert!(asks(&gated(&json!({}), &[("approvedRun", "the-id")]), &status, "12:06:00"));
}

#[test]
fn a_scheduled_time_replaces_no_run_that_waits_and_is_skipped_also_once_it_is_approved() {
    let fields = json!({ "schedule": "*/15 * * * *", "concurrencyPolicy": "Replace", "jitter": null });
    let policy = |annotations: &[(&str, &str)]| gated(&fields, annotations);
    let before = seen(&policy(&[]), at("11:50:00"));
    let status = waiting(&policy(&[]), &before);
    assert_eq!(decided(&policy(&[]), &status, "12:40:00"), AWAITS);
    assert_eq!(status.next_schedule_time, None, "nobody keeps it up to date");
    let approved = policy(&[("approvedRun", "the-id")]);
    let run = status.current_run.as_ref().unwrap();
    let on = format!("continue {}", run.id);
    assert_eq!(decided(&approved, &status, "12:40:00"), on);
    let status = look(&approved, &status, at("12:40:00"));
    let run = status.current_run.as_ref().unwrap();
    assert_eq!(run.approved_time.unwrap().timestamp(), at("12:40:00"));
    assert_eq!(decided(&approved, &status, "12:44:00"), on, "what passed meanwhile replaces nothing");
    let replaced = decided(&approved, &status, "12:45:00");
    assert!(replaced.starts_with("cancel: because the next scheduled time"), "{replaced}");
}

#[test]
fn an_approval_is_kept_while_the_run_waits_for_its_secret() {
    let policy = gated(&json!({}), &[]);
    let status = waiting(&policy, &DlqPolicyStatus::default());
    let approved = with(gated(&json!({}), &[("approvedRun", "the-id")]), missing());
    let status = look(&approved, &status, at("13:05:00"));
    assert_eq!(
        (status.phase, status.last_handled_approved_run.as_deref()),
        (Some(Phase::Pending), Some("the-id"))
    );
    let id = &status.current_run.as_ref().unwrap().id;
    assert_eq!(
        word(&plan(&policy, &status, at("13:14:00"))),
        format!("continue {id}"),
        "the annotation is gone"
    );
    // Ten minutes, and the hour that it waited.
    assert_eq!(decided(&with(policy.clone(), missing()), &status, "13:09:59"), "waiting: SecretNotFound");
    let late = decided(&with(policy, missing()), &status, "13:10:00");
    assert!(late.starts_with("cancel: the run took longer"), "{late}");
}
