//! Turns with a run that needs an approval.

use super::*;
use dlq_crd::Phase;

/// A turn with a policy whose runs need an approval as soon as anything matches.
fn gated() -> Turn {
    Turn { policy: policy(&json!({ "limits": { "approvalAbove": 0 } })), ..Turn::begin() }
}

/// The last page of what is counted: one entry.
fn counted(turn: &mut Turn) {
    turn.until(is_call);
    let last = Page { cursor: None, ..turn.page() };
    turn.on(Event::Answered(turn.attempt.last_call, Answer::Page(last)));
}

fn approved(turn: Turn, id: &str) -> Turn {
    let limits = json!({ "limits": { "approvalAbove": 0 } });
    let approved = sample::policy(&limits, &[("approvedRun", id)], &sample::permissions());
    Turn { policy: Arc::new(approved), ..turn }
}

/// A turn that asked, and whose question is written.
fn waiting() -> Turn {
    let mut turn = gated();
    counted(&mut turn);
    let write = turn.until_write_of(Purpose::Ask);
    turn.stored = write.next;
    let seen = turn.seen();
    turn.on(Event::Written(WriteOutcome::Done(seen)));
    turn
}

#[test]
fn a_run_that_has_counted_gives_itself_back_and_is_looked_at_again_when_its_wait_is_over() {
    let mut turn = waiting();
    let run = turn.stored.current_run.clone().unwrap();
    assert_eq!((run.holder.as_deref(), run.approval_id.as_deref()), (Some(""), Some("the-id")));
    assert_eq!((run.matched, run.processed, turn.stored.phase), (Some(1), 0, Some(Phase::AwaitingApproval)));
    let until = turn.now + SignedDuration::from_hours(24);
    let next = turn.until(|action| matches!(action, Action::Done(_)) || is_call(action));
    assert!(matches!(next, Action::Done(Next::At(at)) if at == until), "{next:?}");
    assert!(!turn.attempt.keep().holds_run(), "no process holds it");
}

#[test]
fn a_turn_with_a_run_that_waits_does_nothing_but_look() {
    let mut turn =
        Turn { attempt: Attempt::begin(settings(), Kept::default(), true, Turn::begin().now), ..waiting() };
    let until = turn.now + SignedDuration::from_hours(24);
    assert!(is_read(&turn.next()));
    let seen = turn.seen();
    turn.on(Event::Read(Ok(Some(seen))));
    let Action::Do(Effect::Write(write)) = turn.next() else { panic!("it decides") };
    assert_eq!(write.next, turn.stored, "nothing is written");
    turn.on(Event::Written(WriteOutcome::Same));
    let next = turn.next();
    assert!(matches!(next, Action::Done(Next::At(at)) if at == until), "{next:?}");
}

#[test]
fn any_process_takes_up_a_run_that_is_approved_and_no_other() {
    let other = Arc::new(Settings { holder: "pod/2".to_owned(), ..(*settings()).clone() });
    let begin = |turn: Turn| Turn {
        attempt: Attempt::begin(Arc::clone(&other), Kept::default(), true, turn.now),
        ..turn
    };
    let mut wrong = begin(approved(waiting(), "another-id"));
    let done = wrong.until(|action| matches!(action, Action::Done(_)) || is_call(action));
    assert!(matches!(done, Action::Done(Next::At(_))), "{done:?}");
    assert_eq!(wrong.stored.last_handled_approved_run.as_deref(), Some("another-id"));

    let mut right = begin(approved(waiting(), "the-id"));
    let claim = right.until_write_of(Purpose::TakeOver);
    let run = claim.next.current_run.clone().unwrap();
    assert_eq!((run.holder.as_deref(), run.interruptions), (Some("pod/2"), 0));
    assert_eq!(run.approved_time.unwrap().timestamp(), right.now);
    right.stored = claim.next;
    let seen = right.seen();
    right.on(Event::Written(WriteOutcome::Done(seen)));
    let Action::Do(Effect::Call { call, .. }) = right.until(is_call) else { unreachable!("a call") };
    assert!(call.operation().acts());
}

#[test]
fn a_question_that_is_not_written_is_written_again_with_the_same_id() {
    let mut turn = gated();
    counted(&mut turn);
    turn.until_write_of(Purpose::Ask);
    turn.on(Event::Written(WriteOutcome::Failed(trouble())));
    turn.pass(300);
    let write = turn.until_write_of(Purpose::Ask);
    assert_eq!(write.next.current_run.unwrap().approval_id.as_deref(), Some("the-id"));
}

#[test]
fn a_question_without_an_answer_that_was_written_is_not_asked_again() {
    let mut turn = gated();
    counted(&mut turn);
    turn.stored = turn.until_write_of(Purpose::Ask).next;
    turn.on(Event::Written(WriteOutcome::InDoubt(trouble())));
    turn.pass(300);
    let stored = turn.stored.clone();
    let done = turn.until(|action| matches!(action, Action::Done(_)) || is_call(action));
    assert!(matches!(done, Action::Done(Next::At(_))), "{done:?}");
    assert_eq!(turn.stored, stored);
}

#[test]
fn a_process_that_stops_after_it_has_counted_asks_before_it_goes() {
    let mut turn = gated();
    counted(&mut turn);
    let asks = turn.until(|action| matches!(action, Action::Do(Effect::ApprovalId)));
    assert!(matches!(asks, Action::Do(Effect::ApprovalId)));
    turn.on(Event::Interrupted(Interrupt::Stop));
    turn.on(Event::ApprovalId("the-id".to_owned()));
    let action = turn.until(|action| matches!(action, Action::Do(Effect::Write(_)) | Action::Done(_)));
    let Action::Do(Effect::Write(write)) = action else { panic!("{action:?}") };
    assert_eq!((write.purpose, write.next.phase), (Purpose::Ask, Some(Phase::AwaitingApproval)));
}
