//! A look at what waits, in a turn that leads to no run. Whatever else comes up ends it.

use std::sync::Arc;

use jiff::Timestamp;

use super::Attempt;
use super::effect::{Action, Effect, Found, Interrupt, Looked, Next};
use super::purpose::Purpose;
use super::stage::{Stage, Then, What};
use super::told::{Notice, Trouble};
use crate::backlog::{Look, Tried, next_look};
use crate::plan::Freshness;
use crate::spec::Invalid;
use crate::{Plan, status};
use dlq_crd::{DlqPolicyStatus, Reason};

impl Attempt {
    /// What comes after a decision that leads to no run: a look, if it is due and this turn is there for it. `again`: when
    /// the policy is of interest otherwise.
    pub(super) fn after_decision(
        &self,
        plan: &Plan,
        next: &DlqPolicyStatus,
        again: Next,
        now: Timestamp,
    ) -> Then {
        let is_between_runs = match plan {
            Plan::Idle { .. } | Plan::Missed { .. } | Plan::Suspended | Plan::Paused | Plan::CircuitOpen => {
                true
            }
            // What keeps it from acting keeps nothing from expiring.
            Plan::Invalid(invalid) => invalid.reason == Reason::LabelsNotCarried,
            Plan::Start(_)
            | Plan::Continue { .. }
            | Plan::AwaitsApproval { .. }
            | Plan::Cancel { .. }
            | Plan::Waiting { .. } => false,
        };
        let is_readable = self.seen.as_ref().is_some_and(|seen| seen.is_status_readable);
        if !is_between_runs || !is_readable {
            return Then::HandBack(again);
        }
        let is_due = |at: Timestamp| at <= now && due(&again).is_none_or(|due| due > now);
        match self.next_look(next, now) {
            Some(at) if self.is_for_look && is_due(at) => Then::Look(again),
            _ => Then::HandBack(self.or_look(again, next, now)),
        }
    }

    fn next_look(&self, status: &DlqPolicyStatus, now: Timestamp) -> Option<Timestamp> {
        next_look(&self.seen.as_ref()?.policy, status, self.tried.as_ref(), now)
    }

    /// When the next turn is, looks included.
    fn or_look(&self, again: Next, status: &DlqPolicyStatus, now: Timestamp) -> Next {
        let due = match again {
            Next::At(due) => Some(due),
            Next::OnChange => None,
            other => return other,
        };
        match self.next_look(status, now) {
            Some(at) if due.is_none_or(|due| at < due) => Next::Look { at: at.max(now), due },
            _ => again,
        }
    }

    /// Begins the look, once it is known with whose token.
    pub(super) fn look(&mut self, now: Timestamp) -> Option<Action> {
        let seen = Arc::clone(self.seen.as_ref()?);
        let (Some(backlog), Ok(work)) = (&seen.policy.backlog, &seen.policy.work) else {
            self.stage = Stage::Done(Next::Now);
            return None;
        };
        let account = self.found.as_ref().and_then(|found| found.account);
        Some(if let Some(account) = account {
            let look = Box::new(Look::new(backlog, seen.clock_offset, now));
            self.effect(Effect::Look { look, account })
        } else {
            let connection = Box::new(work.connection.clone());
            self.effect(Effect::Resolve { connection, freshness: Freshness::Shared })
        })
    }

    /// Takes in what was found of the connection. Where there is none, the next look tries again: what `Ready` says of it
    /// is for a turn that would run.
    pub(super) fn found_for_look(&mut self, found: Result<Result<Found, Invalid>, Trouble>, now: Timestamp) {
        let found = found.ok().and_then(Result::ok).filter(|found| found.account.is_some());
        let Some(found) = found else { return self.looked(Looked::Failed { at: now }, now) };
        let refused = self.seen.as_ref().and_then(|seen| seen.status.refused_secret.as_ref());
        self.turn.has_usable_token = refused != Some(&found.version);
        self.found = Some(found);
    }

    /// Takes in what a look found.
    pub(super) fn looked(&mut self, looked: Looked, now: Timestamp) {
        let Some(seen) = self.seen.clone() else { return };
        let Stage::Look(again) = std::mem::replace(&mut self.stage, Stage::Observe) else { return };
        self.stage = match looked {
            Looked::Counted(counted) => {
                self.tried = None;
                let next = status::looked(&seen.policy, &seen.status, *counted);
                let again = self.or_look(again, &next, now);
                Stage::write(What::decision(next, Purpose::Settle), Then::HandBack(again))
            }
            Looked::Failed { at } => {
                self.tried = Tried::of(&seen.policy, at);
                Stage::Done(self.or_look(again, &seen.status, now))
            }
        };
    }

    /// Gives up what a look waits for, if something else is to be done. It is begun again in another turn.
    pub(super) fn gives_up_look(&mut self, now: Timestamp) -> bool {
        let Stage::Look(again) = &self.stage else { return false };
        let is_over = self.interrupt.is_some() || due(again).is_some_and(|due| due <= now);
        if is_over {
            self.is_waiting = false;
            self.notice(Notice::LookGivenUp);
            if let (None, Some(seen)) = (self.interrupt, &self.seen) {
                self.tried = Tried::in_vain(&seen.policy, now);
            }
            if self.interrupt.is_none_or(|why| why == Interrupt::Changed) {
                self.stage = Stage::Done(Next::Now);
            }
        }
        is_over
    }

    /// Until when an effect may be waited for.
    pub(super) fn longest_wait(&self) -> Timestamp {
        match &self.stage {
            Stage::Look(again) => due(again).unwrap_or(Timestamp::MAX),
            _ => Timestamp::MAX,
        }
    }
}

/// When something else is due.
fn due(again: &Next) -> Option<Timestamp> {
    if let Next::At(due) = again { Some(*due) } else { None }
}
