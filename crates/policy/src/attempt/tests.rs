//! What single turns lead to, step by step.

use serde_json::json;

use super::*;
use crate::budget::{Grant, Reserved};
use crate::sample;
use dlq_crd::DlqPolicyStatus;
use dlq_upstash::types::{Cursor, Page};

const HOLDER: &str = "pod/1";

/// A turn with a policy, in an API server that does what it is asked.
struct Turn {
    attempt: Attempt,
    now: Timestamp,
    policy: Arc<Policy>,
    stored: DlqPolicyStatus,
    pages: u32,
}

fn settings() -> Arc<Settings> {
    Arc::new(Settings {
        holder: HOLDER.to_owned(),
        retry_limit: 3,
        checkpoint_interval: SignedDuration::from_secs(1),
    })
}

fn trouble() -> Trouble {
    let problem = "not now".to_owned();
    Trouble { step: FailedStep::WriteStatus, problem, is_of_everybody: false }
}

fn policy(fields: &serde_json::Value) -> Arc<Policy> {
    Arc::new(sample::policy(fields, &[], &sample::permissions()))
}

impl Turn {
    fn begin() -> Self {
        let now = "2026-11-20T12:00:00Z".parse().unwrap();
        let attempt = Attempt::begin(settings(), Kept::default(), true, now);
        Self { attempt, now, policy: policy(&json!({})), stored: DlqPolicyStatus::default(), pages: 0 }
    }

    /// The next turn.
    fn again(self) -> Self {
        let attempt = Attempt::begin(settings(), self.attempt.keep(), true, self.now);
        Self { attempt, ..self }
    }

    fn seen(&self) -> Arc<Seen> {
        Arc::new(Seen {
            uid: "uid".to_owned(),
            policy: Arc::clone(&self.policy),
            status: self.stored.clone(),
            is_status_readable: true,
            stored: Stored::default(),
            clock_offset: SignedDuration::ZERO,
        })
    }

    /// A page with another after it.
    fn page(&mut self) -> Page {
        self.pages += 1;
        let cursor = Some(Cursor(format!("cursor-{}", self.pages)));
        Page { entries: 1, workflow_run_ids: vec!["wfr_1".to_owned()], listed: Vec::new(), cursor }
    }

    /// The call under way is answered.
    fn answered(&mut self) {
        let page = self.page();
        self.on(Event::Answered(self.attempt.last_call, Answer::Page(page)));
    }

    fn on(&mut self, event: Event) {
        self.attempt.on(event, self.now);
    }

    fn pass(&mut self, millis: i64) {
        self.now += SignedDuration::from_millis(millis);
    }

    /// What comes next but for what is told. Waits that end with an event are none.
    fn next(&mut self) -> Action {
        loop {
            match self.attempt.next(self.now) {
                Action::Tell(_) => {}
                action => return action,
            }
        }
    }

    /// Does what is asked for, up to the first step that is `wanted`, which is left to do.
    fn until(&mut self, wanted: fn(&Action) -> bool) -> Action {
        for _ in 0..50 {
            let action = self.next();
            if wanted(&action) {
                return action;
            }
            let event = match action {
                Action::Do(Effect::Read) => Event::Read(Ok(Some(self.seen()))),
                Action::Do(Effect::Resolve { .. }) => {
                    Event::Resolved(Ok(Ok(Found { version: "secret/1".to_owned(), account: Some(1) })))
                }
                Action::Do(Effect::Write(write)) => {
                    self.stored = write.next;
                    Event::Written(WriteOutcome::Done(self.seen()))
                }
                Action::Do(Effect::Reserve { entries, .. }) => {
                    Event::Reserved(Ok(Reserved::Granted(Grant::unlimited(entries))))
                }
                Action::Do(Effect::ApprovalId) => Event::ApprovalId("the-id".to_owned()),
                Action::Do(Effect::Permit(_)) => Event::Permitted(true),
                Action::Do(Effect::Call { id, .. }) => Event::Answered(id, Answer::Page(self.page())),
                Action::Wait(until) => {
                    self.now = until;
                    Event::Woken
                }
                other => panic!("unexpected: {other:?}"),
            };
            self.on(event);
        }
        panic!("never comes: {:#?}", self.attempt);
    }

    fn until_write_of(&mut self, purpose: Purpose) -> Box<StatusWrite> {
        loop {
            let action = self.until(|action| matches!(action, Action::Do(Effect::Write(_))));
            let Action::Do(Effect::Write(write)) = action else { unreachable!("a write") };
            if write.purpose == purpose {
                return write;
            }
            self.stored = write.next;
            self.on(Event::Written(WriteOutcome::Done(self.seen())));
        }
    }
}

fn is_call(action: &Action) -> bool {
    matches!(action, Action::Do(Effect::Call { .. }))
}

fn is_read(action: &Action) -> bool {
    matches!(action, Action::Do(Effect::Read))
}

#[test]
fn calls_are_made_for_five_seconds_while_checkpoints_fail_and_then_the_turn_ends() {
    let mut turn = Turn::begin();
    let mut failing_since = None;
    let mut last_call = turn.now;
    let next = loop {
        match turn.until(|action| {
            matches!(action, Action::Do(Effect::Call { .. } | Effect::Write(_)) | Action::Done(_))
        }) {
            Action::Do(Effect::Call { .. }) => {
                last_call = turn.now;
                turn.pass(700);
                turn.answered();
            }
            Action::Do(Effect::Write(write)) if write.purpose == Purpose::Checkpoint => {
                failing_since.get_or_insert(turn.now);
                turn.on(Event::Written(WriteOutcome::Failed(trouble())));
            }
            Action::Do(Effect::Write(write)) => {
                turn.stored = write.next;
                let seen = turn.seen();
                turn.on(Event::Written(WriteOutcome::Done(seen)));
            }
            Action::Done(next) => break next,
            other => panic!("{other:?}"),
        }
    };
    let called_for = last_call.duration_since(failing_since.unwrap());
    assert!((4000..5000).contains(&called_for.as_millis()), "{called_for:#}");
    let Next::Retry(trouble) = next else { panic!("{next:?}") };
    assert_eq!(trouble.step, FailedStep::Checkpoint);
}

#[test]
fn an_edit_that_only_the_answer_to_a_write_shows_comes_before_the_next_call() {
    let mut turn = Turn::begin();
    turn.until(is_call);
    turn.pass(1500);
    turn.answered();
    let write = turn.until_write_of(Purpose::Checkpoint);
    let edited = (*policy(&json!({"suspend": true}))).clone();
    turn.policy = Arc::new(Policy { generation: edited.generation + 1, ..edited });
    turn.stored = write.next;
    let seen = turn.seen();
    turn.on(Event::Written(WriteOutcome::Done(seen)));
    let next = turn.next();
    assert!(
        matches!(&next, Action::Do(Effect::Write(write)) if write.purpose == Purpose::Finish),
        "{next:?}"
    );
}

#[test]
fn an_edit_that_a_read_shows_while_writes_get_no_answer_comes_before_the_next_call() {
    let mut turn = Turn::begin();
    turn.until(is_call);
    turn.pass(1500);
    turn.answered();
    turn.until_write_of(Purpose::Checkpoint);
    turn.on(Event::Written(WriteOutcome::InDoubt(trouble())));
    // The next write finds out first what became of this one.
    turn.pass(1500);
    assert!(is_read(&turn.until(|action| is_read(action) || is_call(action))));
    let edited = (*policy(&json!({"suspend": true}))).clone();
    turn.policy = Arc::new(Policy { generation: edited.generation + 1, ..edited });
    let seen = turn.seen();
    turn.on(Event::Read(Ok(Some(seen))));
    turn.until_write_of(Purpose::Checkpoint);
    turn.on(Event::Written(WriteOutcome::InDoubt(trouble())));
    let next = turn.until(|action| is_read(action) || is_call(action));
    assert!(is_read(&next), "{next:?}");
}

#[test]
fn a_claim_without_an_answer_is_looked_into_at_a_stop_and_given_back_if_it_was_done() {
    let mut turn = Turn::begin();
    let claim = turn.until_write_of(Purpose::Claim);
    turn.stored = claim.next;
    turn.on(Event::Written(WriteOutcome::InDoubt(trouble())));
    assert!(matches!(turn.next(), Action::Done(Next::Retry(_))));
    let mut turn = turn.again();
    turn.on(Event::Interrupted(Interrupt::Stop));
    let write = turn.until_write_of(Purpose::Release);
    assert_eq!(write.next.current_run.unwrap().holder.as_deref(), Some(""));
}

#[test]
fn a_write_that_is_refused_although_its_fence_holds_is_not_repeated_at_once() {
    let mut turn = Turn::begin();
    turn.until(is_call);
    let last = Page { cursor: None, ..turn.page() };
    turn.on(Event::Answered(turn.attempt.last_call, Answer::Page(last)));
    turn.until_write_of(Purpose::Finish);
    turn.on(Event::Written(WriteOutcome::Refused));
    assert!(is_read(&turn.next()));
    let seen = turn.seen();
    turn.on(Event::Read(Ok(Some(seen))));
    let next = turn.next();
    assert!(matches!(next, Action::Wait(until) if until > turn.now), "{next:?}");
}

#[test]
fn what_an_object_in_hand_leads_to_holds_for_its_version_alone_and_is_decided_anew_otherwise() {
    let fresh = Turn::begin();
    let in_hand = |turn: Turn| Turn { attempt: turn.attempt.with_in_hand(Some(fresh.seen())), ..turn };
    let mut turn = in_hand(Turn::begin());
    let write = turn.until_write_of(Purpose::Claim);
    assert_eq!(write.fence, Fence::Version);
    turn.on(Event::Written(WriteOutcome::Refused));
    assert!(is_read(&turn.next()));
    let seen = turn.seen();
    turn.on(Event::Read(Ok(Some(seen))));
    assert_eq!(turn.until_write_of(Purpose::Claim).fence, Fence::Status);

    let mut turn = in_hand(Turn::begin());
    turn.until_write_of(Purpose::Claim);
    turn.on(Event::Written(WriteOutcome::Same));
    assert!(is_read(&turn.next()), "that nothing differs may be out of date");
}

#[test]
fn what_a_list_showed_is_written_for_its_version_alone_and_believed_where_nothing_differs() {
    let fresh = Turn::begin();
    let listed = |turn: Turn| Turn { attempt: turn.attempt.with_listed(Some(fresh.seen())), ..turn };
    let mut turn = listed(Turn::begin());
    assert_eq!(turn.until_write_of(Purpose::Claim).fence, Fence::Version);
    turn.on(Event::Written(WriteOutcome::Refused));
    assert!(is_read(&turn.next()));

    let mut turn = listed(Turn::begin());
    turn.until_write_of(Purpose::Claim);
    turn.on(Event::Written(WriteOutcome::Same));
    assert!(!is_read(&turn.next()));
}

#[test]
fn a_process_that_knows_of_a_run_or_of_a_write_without_an_answer_reads_whatever_is_in_hand() {
    let mut turn = Turn::begin();
    turn.until(is_call);
    let mut turn = turn.again();
    let seen = turn.seen();
    turn.attempt = turn.attempt.with_in_hand(Some(seen));
    assert!(is_read(&turn.next()));

    let mut turn = Turn::begin();
    turn.until_write_of(Purpose::Claim);
    turn.on(Event::Written(WriteOutcome::InDoubt(trouble())));
    let mut turn = turn.again();
    let seen = turn.seen();
    turn.attempt = turn.attempt.with_in_hand(Some(seen));
    assert!(is_read(&turn.next()));
}

mod approval;
mod look;
