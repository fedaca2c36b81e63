//! What the status remembers of requests and claims, and what is told to the world.

use super::*;
use crate::spec::policy::Pause;

#[test]
fn a_request_is_ignored_once_and_told_of_once() {
    let asked = |fields: &Value| annotated(fields, &[("requestedAt", "2")]);
    let long = annotated(&json!({}), &[("requestedAt", &"x".repeat(300))]);
    let idle = after(&json!({}), &well());
    let running = requested(&json!({}));
    let table = [
        ("suspended", asked(&json!({"suspend": true})), &idle, EventReason::RunRequestIgnored),
        (
            "paused",
            Policy { paused: Some(Pause::Flag), ..asked(&json!({})).policy }.into(),
            &idle,
            EventReason::RunRequestIgnored,
        ),
        ("during a run", asked(&json!({})), &running, EventReason::RunAlreadyActive),
        ("too long", long, &idle, EventReason::RunRequestIgnored),
    ];
    for (row, policy, before, reason) in table {
        let (status, events) = look(&policy, before, at("12:05:00"));
        assert_eq!(reasons(&events).iter().filter(|event| **event == reason).count(), 1, "{row}: {events:?}");
        let handled = status.last_handled_requested_at.clone().unwrap();
        assert_eq!(Some(handled), policy.requests.run.as_ref().map(|request| request.value.clone()), "{row}");
        assert!(!reasons(&look(&policy, &status, at("12:05:01")).1).contains(&reason), "{row}");
    }
}

#[test]
fn a_cancel_or_reset_that_is_too_long_is_refused_aloud_and_once() {
    for name in ["cancelAt", "resetAt"] {
        let long = annotated(&json!({}), &[(name, &"x".repeat(257))]);
        for before in [after(&json!({}), &well()), requested(&json!({}))] {
            let (status, events) = look(&long, &before, at("12:05:00"));
            assert_eq!(reasons(&events), [EventReason::RunRequestIgnored], "{name}");
            assert!(events[0].text.contains(name), "{events:?}");
            assert_eq!(status.current_run.is_some(), before.current_run.is_some(), "{name}");
            assert_eq!(look(&long, &status, at("12:05:01")).1, [], "{name}");
        }
    }
}

#[test]
fn a_request_waits_while_the_policy_cannot_run() {
    let mut waiting = missing(Reason::SecretNotFound);
    waiting.policy.requests = annotated(&json!({}), &[("requestedAt", "2")]).policy.requests;
    let status = seen(&waiting, "12:00:00");
    assert_eq!(status.last_handled_requested_at, None);
    let usable = waiting.with(Connectivity::Usable);
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
    // During a run a cancel is handled by its end.
    let before = requested(&json!({}));
    let cancelling = look(&policy, &before, at("12:05:00")).0;
    assert_eq!(cancelling.last_handled_cancel_at, None);
    let ended = end(&policy, &cancelling, &Outcome::cancelled("c".into()), at("12:05:00")).0;
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
    let table = [(Some("pod-2/aaaa"), 2), (Some(""), 1), (Some("pod-1/8c1f"), 2), (None, 2)];
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
fn a_circuit_that_a_refused_token_opens_is_open_from_its_first_status_on_and_during_a_trial() {
    let fields = json!({"schedule": "*/15 * * * *", "failurePolicy": {"openCircuitAfter": 2}});
    let (plain, trial) = (policy(&fields), annotated(&fields, &[("requestedAt", "1")]));
    let refused = Outcome::unauthorized("the token was refused");
    let mut status = seen(&plain, "12:00:01");
    let mut readings = Vec::new();
    let mut read = |status: &DlqPolicyStatus| {
        readings.push((condition(status, "Ready"), condition(status, "Stalled")));
    };
    for (policy, start, end_at, next_look) in [
        (&plain, "12:15:00", "12:15:01", "12:15:02"),
        (&plain, "12:30:00", "12:30:01", "12:30:02"),
        (&trial, "12:40:00", "12:40:01", "12:40:02"),
    ] {
        status = started(policy, &status, at(start));
        read(&status);
        status = end(policy, &status, &refused, at(end_at)).0;
        read(&status);
        status = look(policy, &status, at(next_look)).0;
        read(&status);
    }
    let row = |ready: &str, stalled: &str| (ready.to_owned(), stalled.to_owned());
    let refused = row("False Unauthorized", "True Unauthorized");
    let open = row("True CircuitOpen", "");
    let expected = [vec![row("True Scheduled", "")], vec![refused; 3], vec![open; 5]].concat();
    assert_eq!(readings, expected);
}

#[test]
fn a_limit_that_is_edited_opens_and_closes_the_circuit_with_a_word_too() {
    let limit = |limit: i64| {
        let fields = json!({"schedule": "*/15 * * * *", "failurePolicy": {"openCircuitAfter": limit}});
        policy(&fields)
    };
    let mut status = seen(&limit(3), "12:00:01");
    for start in ["12:15:00", "12:30:00"] {
        status = started(&limit(3), &status, at(start));
        status = end(&limit(3), &status, &badly(), at(start)).0;
    }
    assert_eq!(condition(&status, "Ready"), "True Scheduled");
    let (lowered, events) = look(&limit(2), &status, at("12:31:00"));
    assert_eq!(reasons(&events), [EventReason::CircuitOpened]);
    assert_eq!(condition(&lowered, "Ready"), "True CircuitOpen");
    assert_eq!(look(&limit(2), &lowered, at("12:32:00")).1, [], "once");
    let (raised, events) = look(&limit(3), &lowered, at("12:33:00"));
    assert_eq!(reasons(&events), [EventReason::CircuitClosed]);
    assert_eq!((condition(&raised, "Ready"), raised.consecutive_failures), ("True Scheduled".into(), 2));

    let suspend = |limit: i64, suspend: bool| {
        let fields = json!({"schedule": "*/15 * * * *", "suspend": suspend,
            "failurePolicy": {"openCircuitAfter": limit}});
        policy(&fields)
    };
    let held = look(&suspend(2, true), &lowered, at("12:34:00")).0;
    let events = look(&suspend(2, false), &held, at("12:35:00")).1;
    let told: Vec<_> = events.iter().map(|event| (event.reason, event.text.as_str())).collect();
    let text = "no longer suspended or paused: CircuitOpen: 2 runs failed in a row, last: the run's message; fix the \
                cause, then set dlq-operator.dev/resetAt to a new value";
    assert_eq!(told, [(EventReason::PolicyUnsuspended, text)]);
}

#[test]
fn the_circuit_opens_and_closes_with_a_word() {
    let fields = json!({"schedule": "*/15 * * * *", "failurePolicy": {"openCircuitAfter": 2}});
    let plain = policy(&fields);
    let mut status = seen(&plain, "12:00:01");
    let mut told = Vec::new();
    for start in ["12:15:00", "12:30:00"] {
        status = started(&plain, &status, at(start));
        let (next, events) = end(&plain, &status, &badly(), at(start));
        (status, told) = (next, reasons(&events));
    }
    assert_eq!(told, [EventReason::RunFailed, EventReason::CircuitOpened]);
    assert_eq!(
        (condition(&status, "Ready"), status.phase),
        ("True CircuitOpen".into(), Some(Phase::CircuitOpen))
    );
    assert!(
        status.message.as_ref().unwrap().starts_with("2 runs failed in a row, last: the run's message; fix")
    );

    let trial = annotated(&fields, &[("requestedAt", "1")]);
    let on_trial = started(&trial, &status, at("12:40:00"));
    assert_eq!(condition(&on_trial, "Ready"), "True CircuitOpen", "until a run succeeds");
    let (failed, events) = end(&trial, &on_trial, &badly(), at("12:41:00"));
    assert_eq!((reasons(&events), failed.consecutive_failures), (vec![EventReason::RunFailed], 3));
    assert_eq!(condition(&failed, "Ready"), "True CircuitOpen");
    let (closed, events) = end(&trial, &on_trial, &well(), at("12:41:00"));
    assert_eq!(reasons(&events), [EventReason::RunSucceeded, EventReason::CircuitClosed]);
    assert_eq!(condition(&closed, "Ready"), "True Scheduled");

    let mut edited = fields.clone();
    edited["filters"] = json!({"all": true});
    let paused = look(&annotated(&fields, &[("paused", "x")]), &status, at("12:42:00")).0;
    for (row, policy, before) in [
        ("a reset", annotated(&fields, &[("resetAt", "1")]), &status),
        ("new work", policy(&edited), &status),
        ("a reset while paused", annotated(&fields, &[("resetAt", "1"), ("paused", "x")]), &paused),
    ] {
        let (closed, events) = look(&policy, before, at("12:43:00"));
        assert_eq!(
            (reasons(&events), closed.consecutive_failures),
            (vec![EventReason::CircuitClosed], 0),
            "{row}"
        );
        assert_eq!(look(&policy, &closed, at("12:43:01")).1, [], "{row}");
    }
}

#[test]
fn events_tell_of_changes_only() {
    let before = seen(&quarterly(), "12:00:01");
    let suspended = policy(&json!({"schedule": "*/15 * * * *", "suspend": true}));
    let (held, events) = look(&suspended, &before, at("12:01:00"));
    assert_eq!(reasons(&events), [EventReason::PolicySuspended]);
    assert_eq!(reasons(&look(&quarterly(), &held, at("12:02:00")).1), [EventReason::PolicyUnsuspended]);
    let (waiting, events) = look(&missing(Reason::SecretNotFound), &before, at("12:03:00"));
    assert_eq!(reasons(&events), [EventReason::NotReady(Reason::SecretNotFound)]);
    assert_eq!(look(&missing(Reason::SecretNotFound), &waiting, at("12:04:00")).1, []);
    assert_eq!(look(&quarterly(), &waiting, at("12:04:00")).1, []);
    let running = requested(&json!({}));
    let nothing = end(
        &policy(&json!({})),
        &running,
        &outcome(RunResult::Succeeded, Reason::NothingMatched),
        at("12:05:00"),
    );
    assert_eq!(nothing.1, []);
    let uncertain = PolicyRun { uncertain_pages: 1, ..running.current_run.clone().unwrap() };
    let ended = finished(&policy(&json!({})), &running, &uncertain, &well(), at("12:05:00"));
    let events = changes(&policy(&json!({})), &running, &ended).events;
    assert_eq!(reasons(&events), [EventReason::UncertainPage, EventReason::RunSucceeded]);
}

#[test]
fn the_start_of_a_run_is_told_once_with_the_first_entries_that_are_written() {
    let claimed = requested(&json!({}));
    let with = |change: fn(&mut PolicyRun)| {
        let mut status = claimed.clone();
        change(status.current_run.as_mut().unwrap());
        status
    };
    let found = with(|run| run.processed = 3);
    let start = claimed.current_run.as_ref().unwrap().start_time.timestamp();
    let five_seconds = start + SignedDuration::from_secs(5);
    let ended_at = |before: &DlqPolicyStatus, end| {
        let run = before.current_run.clone().unwrap();
        finished(&policy(&json!({})), before, &run, &well(), end)
    };
    let ended = |before: &DlqPolicyStatus| ended_at(before, five_seconds);
    let sooner = ended_at(&found, five_seconds - SignedDuration::from_millis(1));
    let another = with(|run| {
        run.id = "another".to_owned();
        run.processed = 3;
    });
    let over = ended(&found);
    let table = vec![
        ("nothing yet", &claimed, with(|run| run.pages = 1), false),
        ("a lost answer", &claimed, with(|run| run.uncertain_pages = 1), false),
        ("the first entries", &claimed, found.clone(), true),
        ("refused ones", &claimed, with(|run| run.rejected = 1), true),
        ("more of them", &found, with(|run| run.processed = 9), false),
        ("all at once", &claimed, ended(&found), true),
        ("all within five seconds", &claimed, sooner, false),
        ("told before", &found, ended(&found), false),
        ("an end without any", &claimed, ended(&claimed), false),
        ("another run", &claimed, another, false),
        ("no run before", &over, over.clone(), false),
    ];
    for (row, before, after, told) in table {
        let events = changes(&policy(&json!({})), before, &after).events;
        let started = events.iter().find(|event| event.reason == EventReason::RunStarted);
        assert_eq!(started.is_some(), told, "{row}");
        let Some(started) = started else { continue };
        assert_eq!(started.text, "a resume run started by request", "{row}");
        assert_eq!(started.held_until, Some(five_seconds), "{row}");
    }
}

#[test]
fn an_open_circuit_says_what_opened_it_whatever_ran_since() {
    let fields = json!({"failurePolicy": {"openCircuitAfter": 1}});
    let open = after(&fields, &badly());
    assert!(open.message.as_ref().unwrap().starts_with("1 run failed, last: the run's message; fix"));
    let quota = outcome(RunResult::Failed, Reason::QuotaExceeded);
    for (row, mode, outcome) in
        [("a dry run", Some("DryRun"), well()), ("a trial without quota", None, quota)]
    {
        let mut annotations = vec![("requestedAt", "2")];
        annotations.extend(mode.map(|mode| ("requestedMode", mode)));
        let asked = annotated(&fields, &annotations);
        let since = end(&asked, &started(&asked, &open, at("12:10:00")), &outcome, at("12:10:01")).0;
        let message = since.message.unwrap();
        assert!(message.starts_with("1 run failed, last: UpstreamUnavailable; fix"), "{row}: {message}");
        assert_eq!((since.phase, since.consecutive_failures), (Some(Phase::CircuitOpen), 1), "{row}");
    }
}
