//! The run's calls: when one is made, what comes of it, and when others get their turn.

use jiff::{SignedDuration, Timestamp};

use super::Attempt;
use super::effect::{AccountId, Action, Answer, CallId, Effect, Found, Next};
use super::held::{Saving, after, has_passed};
use super::purpose::Purpose;
use super::stage::{CallUnderWay, Stage, Then, What};
use super::told::{Notice, Trouble};
use crate::plan::{Freshness, due};
use crate::run::progress::Failure;
use crate::run::{Activity, Outcome};
use crate::spec::{ConnectionRef, Invalid};
use crate::{Step, status};
use dlq_crd::DlqPolicyStatus;
use dlq_upstash::types::Call;

/// How long a run is worked on before others get their turn.
const LONGEST_WORK: SignedDuration = SignedDuration::from_secs(10);
/// The same of a run that holds several permits, which other runs cannot have meanwhile.
const LONGEST_WORK_OF_SEVERAL: SignedDuration = SignedDuration::from_secs(5);
/// A longer wait holds no permit.
const LONGEST_OWN_WAIT: SignedDuration = SignedDuration::from_secs(1);
/// How soon a status that names a scheduled time which has passed is written anew: schedules may have one every second.
const SHORTEST_REFRESH: SignedDuration = SignedDuration::from_secs(5);
/// How long a run waits for a permit before its status says so.
const UNTIL_QUEUED: SignedDuration = SignedDuration::from_secs(1);

impl Attempt {
    /// Asks for a permit, if the run is about to make a call.
    pub(super) fn permit(&mut self, now: Timestamp) -> Option<Action> {
        let held = self.held.as_mut()?;
        let needs_permit = match held.progress.next(now) {
            Step::Call(_) | Step::Reserve(_) => true,
            Step::Wait(until) => until.duration_since(now) <= LONGEST_OWN_WAIT,
            Step::Await | Step::Ask | Step::End(_) => false,
        };
        if needs_permit {
            let account = held.account;
            return Some(self.effect(Effect::Permit(account)));
        }
        held.queued_since = None;
        self.begin_work(now);
        None
    }

    /// Takes in whether calls can be made.
    pub(super) fn permitted(&mut self, granted: bool, now: Timestamp) {
        let Some(held) = &mut self.held else { return };
        if !matches!(self.stage, Stage::Permit(_)) {
            self.turn.permits += usize::from(granted);
            self.turn.has_all_permits = !granted;
            held.progress.permit(self.turn.permits);
            return;
        }
        if granted {
            held.queued_since = None;
            self.turn.permits = self.turn.permits.max(1);
            held.progress.permit(self.turn.permits);
            self.begin_work(now);
            return;
        }
        let since = *held.queued_since.get_or_insert(now);
        let is_long = has_passed(since, UNTIL_QUEUED, now);
        let deadline = held.progress.deadline().unwrap_or(Timestamp::MAX);
        let queued = is_long.then(|| held.progress.run().clone());
        let until = if is_long { self.until_refresh(now) } else { after(since, UNTIL_QUEUED) };
        let next = Next::OnPermit(until.min(deadline));
        let Stage::Permit(decided) = std::mem::replace(&mut self.stage, Stage::Observe) else { return };
        self.stage = match (decided, queued) {
            (Some(decided), queued) => {
                let status = match queued.zip(self.policy.as_deref()) {
                    Some((run, policy)) => status::running(policy, &decided, &run, Activity::Queued, now),
                    None => *decided,
                };
                Stage::write(What::decision(status, Purpose::Settle), Then::HandBack(next))
            }
            (None, Some(_)) => Stage::write(What::Checkpoint(Activity::Queued), Then::HandBack(next)),
            (None, None) => Stage::Done(next),
        };
    }

    /// Writes what was decided, if that is not yet done, and works.
    fn begin_work(&mut self, now: Timestamp) {
        self.turn.working_since.get_or_insert(now);
        self.saving = Saving::since(now);
        let Stage::Permit(decided) = std::mem::replace(&mut self.stage, Stage::Work) else { return };
        let status = decided.as_deref().or(self.seen.as_ref().map(|seen| &seen.status));
        // A checkpoint after that time names the next one.
        let replaced_at = status.and_then(|status| self.replaced_by(status));
        self.turn.replaced_at = replaced_at.filter(|at| Some(*at) != self.turn.replacement);
        if let Some(next) = decided {
            self.stage = Stage::write(What::decision(*next, Purpose::Settle), Then::Work);
        }
    }

    /// When the next scheduled time ends the run, where it does.
    fn replaced_by(&self, status: &DlqPolicyStatus) -> Option<Timestamp> {
        let policy = self.policy.as_deref()?;
        next_time(status).filter(|_| due::replaces(policy, status))
    }

    /// Until when the status of a waiting run stays true, and no scheduled time replaces the run.
    fn until_refresh(&self, now: Timestamp) -> Timestamp {
        let Some(seen) = &self.seen else { return Timestamp::MAX };
        self.replaced_by(&seen.status).unwrap_or_else(|| {
            next_time(&seen.status).map_or(Timestamp::MAX, |at| at.max(after(now, SHORTEST_REFRESH)))
        })
    }

    /// Makes the next call, or hands back.
    pub(super) fn work(&mut self, now: Timestamp) -> Option<Action> {
        let Some(held) = &mut self.held else {
            self.stage = Stage::Done(Next::Now);
            return None;
        };
        let activity = held.progress.activity();
        if self.saving.is_due(self.settings.checkpoint_interval, now) {
            // There may be more by then.
            self.turn.has_all_permits = false;
            self.save(activity, Then::Work);
            return None;
        }
        let longest = if self.turn.permits > 1 { LONGEST_WORK_OF_SEVERAL } else { LONGEST_WORK };
        let is_long = self.turn.working_since.is_some_and(|since| has_passed(since, longest, now));
        if held.outcome.is_some() || is_long {
            if !self.calls.is_empty() {
                return Some(self.wait_for_calls());
            }
            match held.outcome {
                Some(_) => self.stage = Stage::write(What::Finish, Then::Decide),
                None => self.save(activity, Then::HandBack(Next::Now)),
            }
            return None;
        }
        let step = held.progress.next(now);
        let (wants, account) = (held.progress.wants(), held.account);
        match step {
            Step::Call(_) | Step::Reserve(_) if self.turn.permits == 0 => self.stage = Stage::Permit(None),
            Step::Call(_) | Step::Reserve(_) | Step::Await
                if self.turn.permits < wants && !self.turn.has_all_permits =>
            {
                return Some(self.effect(Effect::FurtherPermit(account)));
            }
            Step::Call(call) => return Some(self.call(call, account, now)),
            Step::Await => return Some(self.wait_for_calls()),
            Step::Reserve(entries) => {
                self.turn.granted_by = Some(account);
                return Some(self.effect(Effect::Reserve { account, entries }));
            }
            Step::Ask if held.progress.waiting().is_none() => {
                return Some(self.effect(Effect::ApprovalId));
            }
            Step::Ask => self.stage = Stage::write(What::Ask, Then::Decide),
            Step::End(_) if !self.calls.is_empty() => return Some(self.wait_for_calls()),
            Step::End(outcome) => {
                let refused_secret = outcome.refusal().map(|_| held.version.clone());
                held.outcome = Some(Outcome { refused_secret, ..outcome });
                self.stage = Stage::write(What::Finish, Then::Decide);
            }
            Step::Wait(until) if self.calls.is_empty() && until.duration_since(now) > LONGEST_OWN_WAIT => {
                let activity = held.progress.activity();
                let replaced_at = self.turn.replaced_at.unwrap_or_else(|| self.until_refresh(now));
                self.save(activity, Then::HandBack(Next::At(until.min(replaced_at))));
            }
            Step::Wait(until) => return Some(self.wait_until(until)),
        }
        None
    }

    fn call(&mut self, call: Call, account: AccountId, now: Timestamp) -> Action {
        if let Some(held) = &mut self.held {
            held.progress.sent(&call, now);
        }
        self.last_call = self.last_call.wrapping_add(1);
        let id = self.last_call;
        self.calls.push(CallUnderWay::new(id, call.clone()));
        Action::Do(Effect::Call { id, call: Box::new(call), account })
    }

    /// Takes in by which ID the run is approved.
    pub(super) fn asks(&mut self, id: String, now: Timestamp) {
        if let Some(held) = &mut self.held {
            held.progress.await_approval(id, now);
        }
    }

    /// Takes in what became of a call.
    pub(super) fn answered(&mut self, id: CallId, answer: Answer, now: Timestamp) {
        if matches!(answer, Answer::TimedOut) {
            self.abandon(id, now);
            return self.hand_back_work();
        }
        let Some((CallUnderWay { call, .. }, held)) = self.take_call(id).zip(self.held.as_mut()) else {
            return self.hand_back_work();
        };
        match answer {
            Answer::Page(page) => held.progress.answered(&call, &page, now),
            Answer::Unsendable(problem) => held.progress.unsendable(&call, &problem),
            Answer::NotSent | Answer::TimedOut => {
                held.progress.not_sent(&call, now);
                return self.hand_back_work();
            }
            Answer::Error { error, jitter } => {
                if held.progress.failed(&call, &error, now, jitter) == Failure::TokenRefused {
                    self.token_refused(error.to_string());
                }
            }
        }
        self.saving.landed();
    }

    /// Lets another turn continue, unless something else is to be done.
    fn hand_back_work(&mut self) {
        if let (Stage::Work, Some(held)) = (&self.stage, &self.held) {
            self.save(held.progress.activity(), Then::HandBack(Next::Now));
        }
    }

    /// The Secret may have a newer token, and is read once for each that worked.
    fn token_refused(&mut self, problem: String) {
        let Some(held) = &mut self.held else { return };
        if held.looked_again_at == Some(held.progress.run().pages) {
            let refused_secret = Some(held.version.clone());
            held.outcome = Some(Outcome { refused_secret, ..Outcome::unauthorized(&problem) });
        } else if matches!(self.stage, Stage::Work) {
            self.stage = Stage::Refused(problem);
        }
    }

    pub(super) fn look_for_token(&mut self) -> Option<Action> {
        let seen = self.seen.as_ref().and_then(|seen| seen.policy.work.as_ref().ok());
        // A policy that may use the connection no more gets no newer token of it.
        let missing = seen.map(|work| &work.connection).filter(|it| matches!(it, ConnectionRef::Missing(_)));
        let connection = Box::new(missing.unwrap_or(self.held.as_ref()?.progress.connection()).clone());
        Some(self.effect(Effect::Resolve { connection, freshness: Freshness::New }))
    }

    /// Takes in whether there is a newer token.
    pub(super) fn found_for_refused(&mut self, found: Result<Result<Found, Invalid>, Trouble>) {
        let Stage::Refused(problem) = std::mem::replace(&mut self.stage, Stage::Work) else { return };
        let Some(held) = &mut self.held else { return };
        let activity = held.progress.activity();
        let newer = match found {
            Ok(found) => found.ok(),
            Err(trouble) => return self.save(activity, Then::HandBack(Next::Retry(trouble))),
        };
        held.looked_again_at = Some(held.progress.run().pages);
        match newer.and_then(|found| Some((found.account?, found.version))) {
            Some((account, version)) if account != held.account => {
                (held.account, held.version) = (account, version);
                self.turn.has_usable_token = true;
                self.notice(Notice::TokenChanged);
                self.save(activity, Then::HandBack(Next::Now));
            }
            _ => self.token_refused(problem),
        }
    }
}

/// When the next scheduled time comes, which makes the status name another.
fn next_time(status: &DlqPolicyStatus) -> Option<Timestamp> {
    status.next_schedule_time.as_ref().map(|next| next.0)
}
