//! One turn of a process with one policy, from the read to the last write: the whole choreography, and no IO.
//!
//! A driver asks [`Attempt::next`] what to do, does it, and tells [`Attempt::on`] what came of it. The controller is one
//! driver, the simulation another.
//!
//! ```text
//! observe ──▶ decide ──▶ write ─┬▶ permit ──▶ work ─┬▶ done
//!    ▲                          └▶ look ────────────┤
//!    └────────────────── somebody edited the policy ┘
//! ```

mod allowance;
mod decide;
mod effect;
mod held;
mod interrupt;
mod look;
mod purpose;
mod stage;
mod told;
mod work;
mod write;

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

pub use self::effect::{
    AccountId, Action, Answer, CallId, Effect, Event, Fence, Found, Interrupt, Looked, Next, Seen,
    StatusWrite, Stored, WriteOutcome,
};
pub use self::held::Kept;
use self::held::{Doubt, HeldRun, Saving};
pub use self::purpose::Purpose;
use self::stage::{CallUnderWay, Stage};
pub use self::told::{FailedStep, Notice, Told, Trouble};
use crate::backlog::Tried;
use crate::budget::Unused;
use crate::changes::Settled;
use crate::spec::Policy;
use crate::{Changes, Facts};
use dlq_crd::PolicyRun;

/// What holds for all policies of a process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This process, as the holder of its runs: no other has this name.
    pub holder: String,
    /// `--retry-limit`.
    pub retry_limit: u32,
    /// `--checkpoint-interval`; zero: write after every page.
    pub checkpoint_interval: SignedDuration,
}

/// One turn of a process with one policy.
#[derive(Debug)]
pub struct Attempt {
    settings: Arc<Settings>,
    leads: bool,
    /// What waits in the DLQ may be counted in this turn.
    is_for_look: bool,
    stage: Stage,
    seen: Option<Arc<Seen>>,
    sight: Sight,
    /// What is acted on: the policy as it was when the plan was made.
    policy: Option<Arc<Policy>>,
    facts: Facts,
    found: Option<Found>,
    held: Option<HeldRun>,
    doubt: Option<Doubt>,
    tried: Option<Tried>,
    turn: Turn,
    saving: Saving,
    /// The effect that has no event yet, beside the calls.
    is_waiting: bool,
    calls: Vec<CallUnderWay>,
    last_call: CallId,
    interrupt: Option<Interrupt>,
    untold: VecDeque<Told>,
}

/// How what was seen stands to what is stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sight {
    /// It was stored a moment ago.
    Current,
    /// A list showed it before this turn: it was stored then, and no watch has shown anything since.
    Listed,
    /// It is older than the turn: others may have written since.
    InHand,
    /// A write since the last read was refused or got no answer: what is stored is not known.
    Stale,
}

/// What happened in this turn so far.
#[derive(Debug, Default)]
struct Turn {
    /// How often somebody wrote between a read and a decision.
    refusals: u8,
    has_ended_run: bool,
    /// How many calls may be under way, and whether there may be more to be had.
    permits: usize,
    has_all_permits: bool,
    has_usable_token: bool,
    /// Of whose budget entries were granted, and how many of them the runs of this turn did not use.
    granted_by: Option<AccountId>,
    unused: Unused,
    /// Since when calls are made.
    working_since: Option<Timestamp>,
    /// When the next scheduled time ends the run, and the last one that was looked at.
    replaced_at: Option<Timestamp>,
    replacement: Option<Timestamp>,
}

impl Attempt {
    /// Begins a turn with what is known from the one before. A process that does not `lead` decides nothing: it only finds
    /// out what became of its last writes.
    pub fn begin(settings: Arc<Settings>, kept: Kept, leads: bool, now: Timestamp) -> Self {
        let Kept { held, doubt, tried } = kept;
        let is_of_interest = leads || doubt.is_some();
        Self {
            settings,
            leads,
            is_for_look: false,
            stage: if is_of_interest { Stage::Observe } else { Stage::Done(Next::OnChange) },
            seen: held.as_ref().map(|held| Arc::clone(&held.seen)),
            sight: Sight::Current,
            policy: held.as_ref().map(|held| Arc::clone(&held.policy)),
            facts: Facts::default(),
            found: None,
            held,
            doubt,
            tried,
            turn: Turn::default(),
            saving: Saving::since(now),
            is_waiting: false,
            calls: Vec::new(),
            last_call: 0,
            interrupt: None,
            untold: VecDeque::new(),
        }
    }

    /// Decides on what a watch or the answer to a write showed before this turn, instead of reading first: it must not be
    /// older than what this process wrote last. What comes of that is written only if the object is still the same, and it
    /// is read otherwise. A process that knows of a run, or is in doubt, reads in any case.
    #[must_use]
    pub fn with_in_hand(self, seen: Option<Arc<Seen>>) -> Self {
        self.with(seen, Sight::InHand)
    }

    /// The same for what a list showed in this term, if a watch has shown nothing newer: where nothing is to be written,
    /// nothing is read.
    #[must_use]
    pub fn with_listed(self, seen: Option<Arc<Seen>>) -> Self {
        self.with(seen, Sight::Listed)
    }

    fn with(mut self, seen: Option<Arc<Seen>>, sight: Sight) -> Self {
        if let Some(seen) = seen.filter(|_| self.leads && self.held.is_none() && self.doubt.is_none()) {
            self.see(seen);
            self.sight = sight;
            self.stage = Stage::Decide;
        }
        self
    }

    /// Lets this turn count what waits in the DLQ, if that is due: in other turns runs wait behind it.
    #[must_use]
    pub fn for_a_look(mut self) -> Self {
        self.is_for_look = true;
        self
    }

    /// What is known for the turn to come.
    pub fn keep(self) -> Kept {
        let (seen, policy) = (self.seen, self.policy);
        let held = self.held.map(|held| HeldRun {
            seen: seen.unwrap_or(held.seen),
            policy: policy.unwrap_or(held.policy),
            ..held
        });
        Kept { held, doubt: self.doubt, tried: self.tried }
    }

    /// The run in progress, as far as this process knows it.
    pub fn run(&self) -> Option<&PolicyRun> {
        let stored = self.seen.as_ref().and_then(|seen| seen.status.current_run.as_ref());
        self.held.as_ref().map(|held| held.progress.run()).or(stored)
    }

    /// The policy that is acted on, once there is a plan.
    pub fn policy(&self) -> Option<&Policy> {
        self.policy.as_deref()
    }

    /// Which object it is about, once it was seen.
    pub fn uid(&self) -> Option<&str> {
        self.seen.as_ref().map(|seen| seen.uid.as_str())
    }

    /// Whether the token that was last looked for in this turn can be used.
    pub fn has_usable_token(&self) -> bool {
        self.turn.has_usable_token
    }

    /// What to do now.
    pub fn next(&mut self, now: Timestamp) -> Action {
        loop {
            if let Some(told) = self.untold.pop_front() {
                return Action::Tell(Box::new(told));
            }
            if let Some(action) = self.beside_calls(now) {
                return action;
            }
            if self.is_waiting {
                if self.gives_up_look(now) {
                    continue;
                }
                return Action::Wait(self.longest_wait());
            }
            self.heed(now);
            let action = match &self.stage {
                Stage::Observe => Some(self.effect(Effect::Read)),
                Stage::Decide => self.decide(now),
                Stage::Write(_) => self.write(now),
                Stage::Permit(_) => self.permit(now),
                Stage::Work => self.work(now),
                Stage::Look(_) => self.look(now),
                Stage::Refused(_) => self.look_for_token(),
                Stage::Done(next) => Some(Action::Done(next.clone())),
            };
            if let Some(action) = action {
                return action;
            }
        }
    }

    /// Takes in what happened.
    pub fn on(&mut self, event: Event, now: Timestamp) {
        match event {
            Event::Interrupted(why) => return self.interrupted(why, now),
            Event::Woken => return,
            Event::Answered(id, answer) => return self.answered(id, answer, now),
            Event::Read(_)
            | Event::Resolved(_)
            | Event::Written(_)
            | Event::Permitted(_)
            | Event::Reserved(_)
            | Event::ApprovalId(_)
            | Event::Looked(_) => {
                self.is_waiting = false;
            }
        }
        match event {
            Event::Read(read) if matches!(self.stage, Stage::Write(_)) => self.read_for_write(read, now),
            Event::Read(read) if !self.calls.is_empty() => self.read_beside_calls(read, now),
            Event::Read(read) => self.observed(read),
            Event::Resolved(found) if matches!(self.stage, Stage::Look(_)) => self.found_for_look(found, now),
            Event::Resolved(found) => self.resolved(found),
            Event::Looked(looked) => self.looked(looked, now),
            Event::Written(outcome) => self.written(outcome, now),
            Event::Permitted(granted) => self.permitted(granted, now),
            Event::Reserved(reserved) => self.reserved(reserved),
            Event::ApprovalId(id) => self.asks(id, now),
            Event::Interrupted(_) | Event::Woken | Event::Answered(..) => {}
        }
    }

    fn effect(&mut self, effect: Effect) -> Action {
        self.is_waiting = true;
        if matches!(effect, Effect::Read) {
            // What is reported from now on may be newer than what is read.
            self.interrupt.take_if(|why| *why == Interrupt::Changed);
        }
        Action::Do(effect)
    }

    fn notice(&mut self, notice: Notice) {
        self.untold.push_back(Told::Notice(notice));
    }

    fn tell(&mut self, uid: &str, changes: Box<Changes>) {
        self.untold.push_back(Told::Changes { uid: uid.to_owned(), changes });
    }

    /// What was read first in a turn, or anew.
    fn observed(&mut self, read: Result<Option<Arc<Seen>>, Trouble>) {
        let seen = match read {
            Ok(Some(seen)) => seen,
            Ok(None) => {
                self.let_go();
                self.doubt = None;
                self.stage = Stage::Done(Next::Forget);
                return;
            }
            Err(trouble) => {
                self.stage = Stage::Done(Next::Retry(trouble));
                return;
            }
        };
        self.read_anew(seen);
        if self.leads {
            self.stage = Stage::Decide;
        } else {
            self.doubt = None;
            self.stage = Stage::Done(Next::OnChange);
        }
    }

    /// Finds out what became of writes without an answer. Whether one of them is known to have been done.
    fn settle(&mut self, seen: &Seen, policy: &Policy) -> bool {
        let Some(doubt) = self.doubt.take().filter(|doubt| doubt.uid == seen.uid) else { return false };
        match doubt.writes.settle(policy, &seen.status) {
            Settled::Done(changes) => {
                self.tell(&seen.uid, changes);
                return true;
            }
            Settled::Open(writes) => self.doubt = Some(Doubt { writes: *writes, ..doubt }),
            Settled::Overtaken => self.notice(Notice::Overtaken),
        }
        false
    }

    /// What was found out before is out of date.
    fn read_anew(&mut self, seen: Arc<Seen>) {
        self.settle(&seen, &seen.policy);
        self.see(seen);
        self.facts.connection = None;
        self.found = None;
    }

    fn see(&mut self, seen: Arc<Seen>) {
        self.facts.clock_offset = seen.clock_offset;
        self.seen = Some(seen);
        self.sight = Sight::Current;
    }
}

#[cfg(test)]
mod tests;
