//! How a status is written: a decision on what was seen, or a state of the run in hand.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::effect::{Action, Effect, Fence, Interrupt, Next, Seen, StatusWrite, WriteOutcome};
use super::held::{Doubt, after};
use super::purpose::Purpose;
use super::stage::{Stage, Then, What, Write};
use super::told::{FailedStep, Notice, Trouble};
use super::{Attempt, Sight};
use crate::changes;
use crate::run::Activity;
use crate::spec::Policy;
use crate::status::{self, is_next_revision};
use dlq_crd::{DlqPolicyStatus, PolicyRun};

/// How often a decision is made anew in one turn, after others wrote in between.
const MOST_REFUSALS: u8 = 3;
/// How soon to look again after that.
const AFTER_CONFLICT: SignedDuration = SignedDuration::from_millis(100);
/// How soon to look again after the run was found to be another process'.
const AFTER_LOSS: SignedDuration = SignedDuration::from_secs(1);

impl Attempt {
    /// Sends the write, or reads first what became of the one before.
    pub(super) fn write(&mut self, now: Timestamp) -> Option<Action> {
        let Stage::Write(write) = &self.stage else { return None };
        if let Some(at) = self.saving.retry_at(now) {
            return Some(self.wait_until(at));
        }
        let is_decision = matches!(write.what, What::Decision { .. });
        if !is_decision {
            self.saving.sent(now);
        }
        if self.sight == Sight::Stale && !is_decision {
            // The run may turn out to be another process': nothing is under way then.
            if !self.calls.is_empty() {
                return Some(self.wait_for_calls());
            }
            return Some(self.effect(Effect::Read));
        }
        let seen = Arc::clone(self.seen.as_ref()?);
        let Some(next) = self.next_status(&write.what, &seen, now) else {
            self.stage = Stage::Done(Next::Now);
            return None;
        };
        let next = status::revised(&seen.status, next);
        let fence = match &write.what {
            What::Decision { .. } if matches!(self.sight, Sight::Listed | Sight::InHand) => Fence::Version,
            What::Decision { .. } => Fence::Status,
            What::Checkpoint(_) | What::Ask | What::Finish | What::Release => Fence::Run,
        };
        let purpose = write.what.purpose();
        if purpose.ends_work() {
            // The driver gives the permits back.
            self.turn.permits = 0;
            self.turn.has_all_permits = false;
        }
        if let Stage::Write(write) = &mut self.stage {
            write.sent = Some(next.clone());
        }
        Some(self.effect(Effect::Write(Box::new(StatusWrite { seen, next, fence, purpose }))))
    }

    fn next_status(&self, what: &What, seen: &Seen, now: Timestamp) -> Option<DlqPolicyStatus> {
        let policy = || self.policy.as_deref();
        let held = || self.held.as_ref();
        let past = held().and_then(|held| held.progress.past());
        let noted =
            past.filter(|_| !matches!(what, What::Decision { .. })).map(|past| past.noted(&seen.status));
        let before = noted.as_ref().unwrap_or(&seen.status);
        Some(match what {
            What::Decision { next, .. } => (**next).clone(),
            What::Checkpoint(activity) => {
                status::running(policy()?, before, held()?.progress.run(), *activity, now)
            }
            What::Ask => status::awaiting_approval(policy()?, before, &held()?.progress.waiting()?, now),
            What::Finish => {
                let (run, outcome) = (held()?.progress.ended_run(), held()?.outcome.as_ref()?);
                status::finished(policy()?, before, &run, outcome, now)
            }
            What::Release => status::released(before, held()?.progress.handed_back()),
        })
    }

    /// Takes in what became of the write.
    pub(super) fn written(&mut self, outcome: WriteOutcome, now: Timestamp) {
        let Stage::Write(write) = std::mem::replace(&mut self.stage, Stage::Observe) else { return };
        let (Some(seen), Some(sent)) = (self.seen.clone(), write.sent.clone()) else { return };
        match outcome {
            WriteOutcome::Done(written) => {
                // What went before and got no answer is part of it, or came too late.
                self.doubt = None;
                self.tell_of(&seen, &sent);
                self.see(written);
                self.wrote(write, now);
            }
            // That nothing is to be done is true of what was shown, and may not be of what is there now.
            WriteOutcome::Same if self.sight == Sight::InHand => self.stage = Stage::Observe,
            WriteOutcome::Same => {
                self.tell_of(&seen, &sent);
                self.wrote(write, now);
            }
            WriteOutcome::Refused => self.refused(write, now),
            WriteOutcome::Failed(trouble) => self.not_written(write, trouble, now),
            WriteOutcome::InDoubt(trouble) => {
                self.doubt = Some(Doubt::and(self.doubt.take(), &seen, sent));
                self.sight = Sight::Stale;
                self.not_written(write, trouble, now);
            }
        }
    }

    fn tell_of(&mut self, seen: &Seen, written: &DlqPolicyStatus) {
        if let Some(policy) = self.policy.clone()
            && seen.status != *written
        {
            self.tell(&seen.uid, Box::new(changes(&policy, &seen.status, written)));
        }
    }

    /// Continues after a write.
    fn wrote(&mut self, write: Box<Write>, now: Timestamp) {
        self.saving.done(now);
        self.turn.refusals = 0;
        if write.what.purpose() == Purpose::Finish {
            self.end_run();
        }
        if matches!(write.what.purpose(), Purpose::Ask | Purpose::Release) {
            self.let_go();
        }
        self.stage = match write.then {
            // What was edited since the plan was made comes first.
            Then::Permit | Then::Work | Then::Look(_) if self.is_edited() => Stage::Decide,
            then => Stage::after(then),
        };
    }

    /// Whether what was seen last is another policy than what is acted on.
    fn is_edited(&self) -> bool {
        let seen = self.seen.as_ref().map(|seen| &seen.policy);
        self.policy.as_ref().zip(seen).is_some_and(|(acted_on, seen)| is_edited(acted_on, seen))
    }

    /// The run's end is written: what comes next is planned from what stands there now.
    fn end_run(&mut self) {
        self.let_go();
        self.turn.has_ended_run = true;
        self.found = None;
        self.facts.connection = None;
    }

    fn refused(&mut self, write: Box<Write>, now: Timestamp) {
        if let What::Decision { purpose, .. } = write.what {
            if matches!(purpose, Purpose::Claim | Purpose::TakeOver) {
                self.let_go();
            }
            self.turn.refusals += u8::from(!matches!(self.sight, Sight::Listed | Sight::InHand));
            self.stage = if self.turn.refusals < MOST_REFUSALS {
                Stage::Observe
            } else {
                Stage::Done(Next::At(after(now, AFTER_CONFLICT)))
            };
            return;
        }
        // It may be with an earlier write of this process, which got no answer.
        self.sight = Sight::Stale;
        self.stage = Stage::Write(Box::new(Write { is_refused: true, ..*write }));
    }

    fn not_written(&mut self, write: Box<Write>, trouble: Trouble, now: Timestamp) {
        let purpose = write.what.purpose();
        if let What::Decision { .. } = write.what {
            // A claim may have been done nevertheless: the next turn finds out, and no call was made meanwhile.
            self.stage = Stage::Done(Next::Retry(trouble));
            return;
        }
        if let Some(run) = self.run() {
            let (run_id, problem) = (run.id.clone(), trouble.problem.clone());
            self.notice(Notice::NotWritten { run_id, purpose, problem });
        }
        self.saving.failed(now);
        self.stage = if purpose == Purpose::Release {
            self.let_go();
            Stage::after(write.then)
        } else if self.saving.is_stuck(now) {
            Stage::Done(Next::Retry(Trouble { step: FailedStep::Checkpoint, ..trouble }))
        } else if write.is_beside_work() {
            if self.is_edited() {
                // A read has shown it, so the driver does not report it again.
                self.interrupted(Interrupt::Changed, now);
            }
            Stage::Work
        } else {
            Stage::Write(write)
        };
    }

    /// Learns whether a write of the run that was refused or got no answer was done, and whose the run is.
    pub(super) fn read_for_write(&mut self, read: Result<Option<Arc<Seen>>, Trouble>, now: Timestamp) {
        let Stage::Write(write) = std::mem::replace(&mut self.stage, Stage::Observe) else { return };
        let read = match read {
            Ok(read) => read,
            Err(trouble) => return self.not_written(write, trouble, now),
        };
        let known =
            self.seen.as_ref().filter(|known| read.as_ref().is_some_and(|read| read.uid == known.uid));
        let known = known.and_then(|known| known.status.current_run.clone());
        let Some(read) = read else { return self.lost(&write, now) };
        let policy = self.policy.clone().unwrap_or_else(|| Arc::clone(&read.policy));
        let was_done = self.settle(&read, &policy);
        let found = read.status.current_run.clone();
        let is_unchanged = found.is_some() && fence(found.as_ref()) == fence(known.as_ref());
        self.see(read);
        if is_unchanged && write.is_refused {
            // The fence holds, and yet the API server does not take it.
            let problem = "the API server refuses the status".to_owned();
            let trouble = Trouble { step: FailedStep::Checkpoint, problem, is_of_everybody: false };
            self.not_written(Box::new(Write { is_refused: false, ..*write }), trouble, now);
        } else if is_unchanged || is_next_revision(known.as_ref(), found.as_ref()) {
            self.stage = Stage::Write(Box::new(Write { is_refused: false, ..*write }));
        } else if was_done {
            // The write that got no answer ended the run, or gave it back.
            self.end_run();
            self.stage = match write.then {
                Then::HandBack(next) => Stage::Done(next),
                _ => Stage::Decide,
            };
        } else {
            self.lost(&write, now);
        }
    }

    /// The run is another process', has ended, or its policy is gone.
    fn lost(&mut self, write: &Write, now: Timestamp) {
        let held = self.held.take();
        self.stage = match &write.then {
            Then::HandBack(next @ (Next::Forget | Next::OnChange)) => Stage::Done(next.clone()),
            _ => Stage::Done(Next::At(after(now, AFTER_LOSS))),
        };
        // There is nothing left to give back.
        if let Some(held) = held.filter(|_| write.what.purpose() != Purpose::Release) {
            let run_id = held.progress.run().id.clone();
            self.notice(Notice::Lost { run_id, purpose: write.what.purpose() });
        }
    }

    /// Writes what the run did so far.
    pub(super) fn save(&mut self, activity: Activity, then: Then) {
        self.stage = Stage::write(What::Checkpoint(activity), then);
    }
}

/// Whether somebody edited what the operator is told by.
fn is_edited(before: &Policy, after: &Policy) -> bool {
    (before.generation, &before.requests, &before.paused)
        != (after.generation, &after.requests, &after.paused)
}

/// What [`Fence::Run`] tests.
fn fence(run: Option<&PolicyRun>) -> Option<impl PartialEq> {
    run.map(|run| (run.id.clone(), run.start_time, run.holder.clone(), run.revision))
}
