//! What makes a turn stop before its work is done, and how long a call under way may still take.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::Attempt;
use super::effect::{Action, CallId, Effect, Interrupt, Next, Seen};
use super::stage::{CallUnderWay, Stage, Then, What};
use super::told::{Notice, Trouble};
use crate::{Facts, Plan, plan};

/// How long a call under way may still take when the policy changes, and when the process stops.
const GRACE_AT_CHANGE: SignedDuration = SignedDuration::from_millis(2500);
const GRACE_AT_STOP: SignedDuration = SignedDuration::from_millis(1500);

impl Attempt {
    /// Takes in that something else happened. The strongest reason to stop counts.
    pub(super) fn interrupted(&mut self, why: Interrupt, now: Timestamp) {
        self.interrupt = self.interrupt.max(Some(why));
        let grace = match why {
            Interrupt::Changed | Interrupt::Gone => GRACE_AT_CHANGE,
            Interrupt::Stop => GRACE_AT_STOP,
            Interrupt::TermOver => SignedDuration::ZERO,
        };
        for call in &mut self.calls {
            call.end_within(grace, now);
        }
    }

    /// What is done while calls are under way: more calls and checkpoints, or a look whether an edit ends the run. Everything
    /// else waits for them.
    pub(super) fn beside_calls(&mut self, now: Timestamp) -> Option<Action> {
        if self.calls.is_empty() {
            return None;
        }
        if let Some(at) = self.turn.replaced_at.take_if(|at| *at <= now) {
            self.turn.replacement = Some(at);
            self.interrupted(Interrupt::Changed, now);
        }
        if let Some(id) = self.calls.iter().find(|call| call.is_over(now)).map(|call| call.id) {
            self.abandon(id, now);
            return Some(Action::GiveUp(id));
        }
        if self.is_waiting {
            return Some(self.wait_for_calls());
        }
        match (&self.stage, self.interrupt) {
            (Stage::Work, None) => None,
            (Stage::Write(write), None | Some(Interrupt::Changed)) if write.is_beside_work() => None,
            (Stage::Write(_), _) => Some(self.wait_for_calls()),
            (_, Some(Interrupt::Changed)) => Some(self.effect(Effect::Read)),
            _ => Some(self.wait_for_calls()),
        }
    }

    /// Waits for an answer, and no longer than calls may take.
    pub(super) fn wait_for_calls(&self) -> Action {
        self.wait_until(Timestamp::MAX)
    }

    /// The same, until this time at most.
    pub(super) fn wait_until(&self, time: Timestamp) -> Action {
        let ends = self.calls.iter().filter_map(|call| call.ends).map(|(_, until)| until);
        let replaced_at = self.turn.replaced_at.into_iter();
        Action::Wait(ends.chain(replaced_at).fold(time, Timestamp::min))
    }

    /// Waits for the answer no longer.
    pub(super) fn abandon(&mut self, id: CallId, now: Timestamp) {
        let Some((CallUnderWay { call, .. }, held)) = self.take_call(id).zip(self.held.as_mut()) else {
            return;
        };
        held.progress.abandoned(&call, now);
        self.saving.landed();
        let run_id = held.progress.run().id.clone();
        self.notice(Notice::Abandoned { run_id, operation: call.operation() });
    }

    /// A call that is not under way any more.
    pub(super) fn take_call(&mut self, id: CallId) -> Option<CallUnderWay> {
        let index = self.calls.iter().position(|call| call.id == id)?;
        Some(self.calls.swap_remove(index))
    }

    /// Whether what was edited ends the run. Where nobody can tell, it does.
    pub(super) fn read_beside_calls(&mut self, read: Result<Option<Arc<Seen>>, Trouble>, now: Timestamp) {
        let seen = read.ok().flatten();
        let facts = Facts { holds_run: true, ..Facts::default() };
        let continues = seen.as_ref().is_some_and(|seen| {
            let held = self.held.as_ref().filter(|held| held.is_in(seen, &self.settings.holder));
            held.is_some()
                && matches!(plan(&seen.policy, &seen.status, &facts, now), Ok(Plan::Continue { .. }))
        });
        if continues && self.interrupt.is_none() {
            self.calls.iter_mut().for_each(|call| call.ends = None);
        }
        match seen {
            Some(seen) => {
                self.read_anew(seen);
                // What the calls bring is written with what is decided then.
                self.stage = Stage::Decide;
            }
            None => self.stage = Stage::Observe,
        }
    }

    /// Turns to what an interrupt asks for, where that comes before what is under way.
    pub(super) fn heed(&mut self, now: Timestamp) {
        if let Some(at) = self.turn.replaced_at.take_if(|at| *at <= now) {
            self.turn.replacement = Some(at);
            self.interrupt.get_or_insert(Interrupt::Changed);
        }
        let Some(why) = self.interrupt else { return };
        match (why, &self.stage) {
            (_, Stage::Done(_)) => {}
            (Interrupt::TermOver, _) => {
                // A standby still looks into a write that got no answer.
                let is_in_doubt = self.doubt.is_some();
                self.stage = Stage::Done(if is_in_doubt { Next::Now } else { Next::OnChange });
            }
            (Interrupt::Changed, Stage::Permit(_) | Stage::Work | Stage::Look(_) | Stage::Refused(_)) => {
                self.interrupt = None;
                self.stage = Stage::Observe;
            }
            (Interrupt::Changed, _) => {}
            (Interrupt::Gone | Interrupt::Stop, Stage::Write(write)) if write.ends_turn() => {}
            // A claim that got no answer may have been done.
            (Interrupt::Gone | Interrupt::Stop, Stage::Observe)
                if self.doubt.is_some() && self.held.is_some() => {}
            (Interrupt::Gone | Interrupt::Stop, _) => self.give_back(why),
        }
    }

    /// Ends the turn of a process that will have no other with this policy.
    fn give_back(&mut self, why: Interrupt) {
        let next = if why == Interrupt::Gone { Next::Forget } else { Next::OnChange };
        let holder = &self.settings.holder;
        let held = self.held.as_ref().zip(self.seen.as_ref()).filter(|(held, seen)| held.is_in(seen, holder));
        let Some((held, _)) = held else {
            self.stage = Stage::Done(next);
            return;
        };
        if held.outcome.is_some() {
            self.stage = Stage::write(What::Finish, Then::HandBack(next));
            return;
        }
        let run = held.progress.run();
        // Its question is all that is left to write.
        let what = if held.progress.waiting().is_some() { What::Ask } else { What::Release };
        if why == Interrupt::Gone {
            let run = Box::new(run.clone());
            self.notice(Notice::Left(run));
        }
        self.stage = Stage::write(what, Then::HandBack(next));
    }
}
