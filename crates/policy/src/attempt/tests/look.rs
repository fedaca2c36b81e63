//! Looks at what waits, in turns that lead to no run.

use super::*;
use crate::plan::LOOK_AGAIN;
use crate::spec::Invalid;
use crate::status::conditions::find;
use dlq_crd::{BacklogStatus, ConditionType, Reason};

/// A policy that waits for requests, and counts what waits every fifteen minutes.
fn watching(fields: &serde_json::Value) -> Arc<Policy> {
    let mut spec = json!({ "trigger": "Manual", "backlog": { "interval": "15m", "retention": "7d" } });
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    policy(&spec)
}

impl Turn {
    fn with(policy: Arc<Policy>) -> Self {
        Self { policy, ..Self::begin() }
    }

    fn for_a_look(self) -> Self {
        Self { attempt: self.attempt.for_a_look(), ..self }
    }

    fn done(&mut self) -> Next {
        match self.until(|action| matches!(action, Action::Done(_))) {
            Action::Done(next) => next,
            other => panic!("{other:?}"),
        }
    }

    /// Up to the look, which is under way then.
    fn until_look(&mut self) {
        self.until(is_look);
    }

    fn found(&self, expiring: i64) -> Looked {
        let counted = json!({
            "observedTime": crate::status::conditions::seconds(self.now).0.to_string(),
            "entries": 7, "expiringWithinDay": expiring,
        });
        Looked::Counted(Box::new(serde_json::from_value::<BacklogStatus>(counted).unwrap()))
    }

    fn minutes_until(&self, next: &Next) -> (i64, Option<i64>) {
        let Next::Look { at, due } = next else { panic!("{next:?}") };
        let minutes = |time: Timestamp| time.duration_since(self.now).as_mins();
        (minutes(*at), due.map(minutes))
    }
}

fn is_look(action: &Action) -> bool {
    matches!(action, Action::Do(Effect::Look { .. }))
}

#[test]
fn a_look_is_made_in_a_turn_of_its_own_and_its_result_is_written() {
    let mut turn = Turn::with(watching(&json!({})));
    let next = turn.done();
    assert_eq!(turn.minutes_until(&next), (0, None), "others come first");
    let mut turn = turn.again().for_a_look();
    turn.until_look();
    assert!(matches!(turn.next(), Action::Wait(until) if until == Timestamp::MAX));
    let found = turn.found(3);
    turn.on(Event::Looked(found));
    let write = turn.until_write_of(Purpose::Settle);
    assert_eq!(write.fence, Fence::Status);
    turn.stored = write.next;
    let seen = turn.seen();
    turn.on(Event::Written(WriteOutcome::Done(seen)));
    let next = turn.done();
    assert_eq!(turn.minutes_until(&next), (15, None));
    let backlog = turn.stored.backlog.as_ref().unwrap();
    assert_eq!((backlog.entries, backlog.expiring_within_day), (7, Some(3)));
    // The next turn finds nothing to do until then.
    let mut turn = turn.again().for_a_look();
    let next = turn.done();
    assert_eq!(turn.minutes_until(&next), (15, None));
}

#[test]
fn what_holds_a_policy_back_holds_no_look_back() {
    let failing = DlqPolicyStatus { consecutive_failures: 3, ..DlqPolicyStatus::default() };
    for (row, fields, mut stored) in [
        ("suspended", json!({ "suspend": true }), DlqPolicyStatus::default()),
        ("circuit open", json!({ "failurePolicy": { "openCircuitAfter": 3 } }), failing),
        ("scheduled", json!({ "schedule": "@hourly", "trigger": null }), DlqPolicyStatus::default()),
    ] {
        let policy = watching(&fields);
        stored.last_handled_spec_hash = Some(policy.spec_hash.clone());
        let mut turn = Turn { stored, ..Turn::with(policy) }.for_a_look();
        turn.until_look();
        let found = turn.found(0);
        turn.on(Event::Looked(found));
        turn.done();
        assert!(turn.stored.backlog.is_some(), "{row}");
        assert!(turn.stored.current_run.is_none(), "{row}");
    }
    let mut paused = (*watching(&json!({}))).clone();
    paused.paused = Some(crate::spec::policy::Pause::Flag);
    Turn::with(Arc::new(paused)).for_a_look().until_look();
}

#[test]
fn a_run_that_becomes_due_ends_a_look_at_once() {
    let policy = watching(&json!({ "schedule": "* * * * *", "trigger": null }));
    let mut turn = Turn::with(policy).for_a_look();
    turn.pass(30_000);
    turn.until_look();
    let Action::Wait(until) = turn.next() else { panic!("does not wait") };
    assert_eq!(until, "2026-11-20T12:01:00Z".parse().unwrap());
    turn.now = until;
    turn.on(Event::Woken);
    assert!(matches!(turn.next(), Action::Done(Next::Now)));
    let mut turn = turn.again().for_a_look();
    turn.until_write_of(Purpose::Claim);
}

#[test]
fn a_look_that_a_run_ended_is_begun_again_a_minute_later_and_not_in_each_gap_between_runs() {
    let policy = watching(&json!({ "schedule": "@every 10s", "trigger": null }));
    let mut turn = Turn::with(policy).for_a_look();
    turn.until_look();
    let begun = turn.now;
    let mut runs = 0;
    loop {
        let Action::Wait(until) = turn.next() else { break };
        turn.now = until;
        turn.on(Event::Woken);
    }
    let again = 'looks: loop {
        turn = turn.again().for_a_look();
        loop {
            let wanted =
                |action: &Action| is_look(action) || is_call(action) || matches!(action, Action::Done(_));
            match turn.until(wanted) {
                Action::Do(Effect::Look { .. }) => break 'looks turn.now,
                Action::Done(next) => {
                    if let Next::At(at) | Next::Look { at, .. } = next {
                        turn.now = turn.now.max(at);
                    }
                    break;
                }
                _ => {
                    runs += 1;
                    let last = Page { cursor: None, ..turn.page() };
                    turn.on(Event::Answered(turn.attempt.last_call, Answer::Page(last)));
                }
            }
        }
    };
    assert!(again.duration_since(begun) >= SignedDuration::from_mins(1), "{again}");
    assert!(runs >= 5, "{runs} runs came first");
}

#[test]
fn whatever_interrupts_a_turn_ends_a_look() {
    for (why, expected) in [
        (Interrupt::Changed, Next::Now),
        (Interrupt::Gone, Next::Forget),
        (Interrupt::Stop, Next::OnChange),
        (Interrupt::TermOver, Next::OnChange),
    ] {
        let mut turn = Turn::with(watching(&json!({}))).for_a_look();
        turn.until_look();
        turn.on(Event::Interrupted(why));
        let mut is_told = false;
        let next = loop {
            match turn.attempt.next(turn.now) {
                Action::Tell(told) => is_told |= matches!(*told, Told::Notice(Notice::LookGivenUp)),
                Action::Done(next) => break next,
                other => panic!("{why:?}: {other:?}"),
            }
        };
        assert_eq!((next, is_told), (expected, true), "{why:?}");
    }
}

#[test]
fn a_look_that_finds_nothing_out_changes_nothing_and_is_made_again_after_an_interval() {
    let mut turn = Turn::with(watching(&json!({}))).for_a_look();
    turn.until_look();
    let found = turn.found(3);
    turn.on(Event::Looked(found));
    turn.done();
    let before = turn.stored.clone();
    turn.pass(15 * 60_000);
    let mut turn = turn.again().for_a_look();
    turn.until_look();
    let at = turn.now;
    turn.pass(4000);
    turn.on(Event::Looked(Looked::Failed { at }));
    let Action::Done(next) = turn.next() else { panic!("writes") };
    assert_eq!(turn.minutes_until(&next), (14, None));
    assert_eq!(turn.stored, before);
    let mut turn = turn.again().for_a_look();
    let next = turn.done();
    assert_eq!(turn.minutes_until(&next), (14, None), "it is remembered");
}

#[test]
fn without_a_token_a_suspended_policy_stays_ready_and_looks_an_interval_later() {
    let mut turn = Turn::with(watching(&json!({ "suspend": true }))).for_a_look();
    turn.until(|action| matches!(action, Action::Do(Effect::Resolve { .. })));
    let missing = Invalid::new(Reason::SecretNotFound, "no Secret");
    turn.on(Event::Resolved(Ok(Err(missing))));
    let next = turn.done();
    assert_eq!(turn.minutes_until(&next), (15, None));
    let ready = find(&turn.stored.conditions, ConditionType::Ready).unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("True", "Suspended"));
}

#[test]
fn a_policy_that_waits_for_its_token_is_invalid_or_runs_does_not_look() {
    let mut waits = Turn::with(watching(&json!({}))).for_a_look();
    waits.until(|action| matches!(action, Action::Do(Effect::Resolve { .. })));
    waits.on(Event::Resolved(Ok(Err(Invalid::new(Reason::SecretNotFound, "no Secret")))));
    assert_eq!(waits.done(), Next::At(waits.now + LOOK_AGAIN));
    let mut invalid =
        Turn::with(watching(&json!({ "schedule": "61 * * * *", "trigger": null }))).for_a_look();
    assert_eq!(invalid.done(), Next::OnChange);
    let mut runs = Turn::with(watching(&json!({ "trigger": null }))).for_a_look();
    runs.until(is_call);
}

#[test]
fn an_edit_of_what_is_counted_forgets_the_count_and_looks_at_once() {
    let mut turn = Turn::with(watching(&json!({}))).for_a_look();
    turn.until_look();
    let found = turn.found(3);
    turn.on(Event::Looked(found));
    turn.done();
    turn.policy = watching(&json!({ "filters": { "labels": ["orders"] } }));
    let mut turn = turn.again();
    let next = turn.done();
    assert_eq!(turn.minutes_until(&next), (0, None));
    assert_eq!(turn.stored.backlog, None);
    turn.policy = policy(&json!({ "trigger": "Manual" }));
    let mut turn = turn.again();
    assert_eq!(turn.done(), Next::OnChange);
}
