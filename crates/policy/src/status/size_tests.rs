use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::sample::Known;
use crate::{Activity, Outcome, Plan, Policy, sample, status};
use dlq_crd::{EntrySummary, PolicyRun, Reason, RequestedMode, RunWindow, ValueCount};

fn at(minute: i64) -> Timestamp {
    "2026-11-20T12:00:30Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
}

/// A policy that ran `minute` minutes by hand, with the longest of everything that it gives to its status.
fn policy(text: &str, minute: i64) -> Policy {
    let schedule = format!("*/15 {}* * * *", " ".repeat(88));
    let fields =
        json!({ "historyLimit": 50, "schedule": schedule, "timeZone": "America/Argentina/ComodRivadavia" });
    // Each value is handled once.
    let value = format!("{minute:04}{}", text.repeat(252 / text.len()));
    let annotations = ["requestedAt", "requestedBy", "requestReason", "cancelAt", "resetAt"];
    sample::policy(&fields, &annotations.map(|key| (key, value.as_str())), &sample::permissions())
}

/// What a process knows of a run whose answers were as long as they may be, and counts as large.
fn drained(run: PolicyRun, cursor: &str) -> PolicyRun {
    PolicyRun {
        cursor: Some(cursor.to_owned()),
        // As many as there may be, whose cursors have the room of one.
        windows: vec![RunWindow { from_date: Some(at(0).into()), to_date: at(0).into(), cursor: None }; 32],
        position: 1000,
        pages: i64::MAX,
        processed: i64::MAX,
        not_found: 1000,
        rejected: i64::MAX,
        retries: i64::MAX,
        uncertain_pages: i64::MAX,
        interruptions: i64::MAX,
        waiting_until: Some(at(0).into()),
        sample_workflow_run_ids: vec!["w".repeat(256); 10],
        spec_hash: Some("0123456789abcdef".to_owned()),
        requested_mode: Some(RequestedMode::DryRun),
        summary: Some(Box::new(EntrySummary {
            workflow_urls: vec![ValueCount { value: "u".repeat(180), count: i64::MAX }; 5],
            labels: vec![ValueCount { value: "l".repeat(180), count: i64::MAX }; 5],
            ..EntrySummary::default()
        })),
        ..run
    }
}

/// Runs a policy again and again; every status that is written on the way, and the last one.
fn lived(text: &str, cursor: &str, message: &str, runs: i64) -> (usize, DlqPolicyStatus) {
    let (mut status, mut largest) = (DlqPolicyStatus::default(), 0);
    let mut written = |status: &DlqPolicyStatus| largest = largest.max(json_bytes(status));
    for minute in 0..runs {
        let (policy, now) = (policy(text, minute), at(minute));
        let plan = Known::from(policy.clone()).plan(&status, now);
        status = status::observed(&policy, &status, &plan, now);
        written(&status);
        let Plan::Start(start) = plan else { panic!("{plan:?}") };
        let holder = format!("{}/0123456789abcdef", "p".repeat(253));
        status = status::claimed(&policy, &status, start, &holder, now);
        written(&status);
        let run = drained(status.current_run.clone().unwrap(), cursor);
        status = status::running(&policy, &status, &run, Activity::Retrying, now);
        written(&status);
        let run = PolicyRun { waiting_reason: Activity::Retrying.waiting_reason(), ..run };
        assert_eq!(status.current_run.as_ref(), Some(&run), "what a run needs is never left away");
        let outcome = Outcome::failed(Reason::UpstreamUnavailable, message);
        status = status::finished(&policy, &status, &run, &outcome, now);
        written(&status);
        let last = status.last_run.as_ref().unwrap();
        assert_eq!(last.cursor.as_deref(), Some(cursor), "the last cursor is kept after the end");
    }
    (largest, status)
}

#[test]
fn no_status_is_larger_than_64_kib_whatever_there_is_to_say() {
    let (signs, long) = ("<".repeat(2000), "\u{1d11e}".repeat(2000));
    let table = [("<", &signs), ("<", &long), ("\u{1}", &signs), ("\u{8}", &signs), ("\"", &signs)];
    for (text, message) in table {
        let (largest, status) = lived(text, &"c".repeat(16 * 1024), message, 26);
        assert!(largest <= MAX_STATUS_BYTES, "{largest} bytes of {text:?}");
        assert!(largest > MAX_STATUS_BYTES - 2048, "{largest} bytes of {text:?} prove nothing");
        assert!(status.history.len() >= 11, "{} of {text:?}", status.history.len());
    }
}

#[test]
fn nothing_is_left_away_of_what_policies_usually_have_to_say() {
    // Cursors of 10 KiB are not usual, and leave room all the same.
    let (largest, status) = lived("a", &"c".repeat(10 * 1024), &"m".repeat(256), 55);
    assert!(largest <= MAX_STATUS_BYTES, "{largest} bytes");
    assert_eq!(status.history.len(), 50);
    let newest: Vec<_> = status.history.iter().map(|run| run.start_time.timestamp()).collect();
    assert!(newest.is_sorted_by(|newer, older| newer > older));
}

#[test]
fn the_size_is_that_of_the_api_servers_json() {
    // What Go's encoder makes of it.
    let table =
        [("a", 3), ("é", 4), ("\"\\", 6), ("<", 8), ("\u{1}", 8), ("\u{8}", 8), ("\u{2028}", 8), ("\n", 4)];
    for (text, bytes) in table {
        assert_eq!(json_bytes(&text), bytes, "{text:?}");
    }
    assert_eq!(json_bytes(&json!({ "a": [1, Value::Null] })), 14);
}

/// A status with so many ended runs, and a message.
fn with_history(runs: usize, text: &str, message: String) -> DlqPolicyStatus {
    let run = json!({
        "id": "1-manual", "trigger": "Manual", "action": "resume", "startTime": "2026-11-20T12:00:00.000Z",
        "requestedBy": text,
    });
    let run: dlq_crd::RunSummary = serde_json::from_value(run).unwrap();
    DlqPolicyStatus { history: vec![run; runs], message: Some(message), ..DlqPolicyStatus::default() }
}

#[test]
fn as_much_of_the_history_is_left_as_fits() {
    let mut status = with_history(5, &"r".repeat(20 * 1024), String::new());
    fit(&mut status);
    assert_eq!(status.history.len(), 3, "{} bytes", json_bytes(&status));

    let room = MAX_STATUS_BYTES - json_bytes(&with_history(1, "r", String::new()));
    for (longer, left) in [(0, 1), (1, 0)] {
        let mut status = with_history(1, "r", "m".repeat(room + longer));
        fit(&mut status);
        assert_eq!(status.history.len(), left, "{longer} bytes too many");
    }
}
