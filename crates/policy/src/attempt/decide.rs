//! What to do with a policy that was read.

use std::sync::Arc;

use jiff::Timestamp;

use super::Attempt;
use super::effect::{Action, Effect, Found, Next, Seen};
use super::held::{HeldRun, after};
use super::purpose::Purpose;
use super::stage::{Stage, Then, What};
use super::told::{Notice, Trouble};
use crate::plan::{Freshness, LOOK_AGAIN, Question, awaits_token, freshness};
use crate::run::approval::awaited;
use crate::run::past::Past;
use crate::run::progress::deadline;
use crate::spec::{Invalid, Policy};
use crate::{Connectivity, Plan, Progress, plan, status};
use dlq_crd::{DlqPolicyStatus, Reason};

impl Attempt {
    /// Makes a plan, and begins what it says. Returns an effect if something has to be found out first.
    pub(super) fn decide(&mut self, now: Timestamp) -> Option<Action> {
        let seen = Arc::clone(self.seen.as_ref()?);
        let policy = &seen.policy;
        self.facts.holds_run =
            self.held.as_ref().is_some_and(|held| held.is_in(&seen, &self.settings.holder));
        let plan = match plan(policy, &seen.status, &self.facts, now) {
            Ok(plan) => plan,
            Err(Question::Connection { freshness }) => return self.ask(policy, freshness),
        };
        // The Secret's version is enough to plan a run; to do it takes the token.
        let needs_token = matches!(plan, Plan::Start(_) | Plan::Continue { .. }) && !self.facts.holds_run;
        if needs_token && self.found.as_ref().is_none_or(|found| found.account.is_none()) {
            return self.ask(policy, freshness(policy, &seen.status));
        }
        self.notice(Notice::Planned(Box::new(plan.clone())));
        self.policy = Some(Arc::clone(policy));
        self.turn.replaced_at = None;
        self.stage = if self.turn.has_ended_run && matches!(plan, Plan::Start(_)) {
            Stage::Done(Next::Now)
        } else {
            self.carry_out(&seen, plan, now)
        };
        None
    }

    /// What a plan leads to first.
    fn carry_out(&mut self, seen: &Arc<Seen>, plan: Plan, now: Timestamp) -> Stage {
        let next = status::observed(&seen.policy, &seen.status, &plan, now);
        match plan {
            Plan::Start(start) => {
                let run = Box::new(start.run.clone());
                self.notice(Notice::Starts { run, clock_offset: self.facts.clock_offset });
                let next = status::claimed(&seen.policy, &next, start, &self.settings.holder, now);
                self.take(seen, next, Purpose::Claim, now)
            }
            Plan::Continue { .. } => self.continue_run(seen, next, now),
            Plan::Cancel { run, why } => {
                let held = self.held.as_ref().filter(|_| self.facts.holds_run);
                let run = match held {
                    Some(held) => held.progress.ended_run(),
                    None => status::taken_over(&run, &self.settings.holder),
                };
                let past = held.and_then(|held| held.progress.past());
                let next = if let Some(past) = past { past.noted(&next) } else { next };
                let next = status::finished(&seen.policy, &next, &run, &why.outcome(&run), now);
                Stage::write(What::decision(next, Purpose::Finish), Then::Decide)
            }
            Plan::Invalid(_)
            | Plan::Suspended
            | Plan::Paused
            | Plan::CircuitOpen
            | Plan::Waiting { .. }
            | Plan::AwaitsApproval { .. }
            | Plan::Idle { .. }
            | Plan::Missed { .. } => {
                if seen.is_status_readable {
                    // No run is in progress: one that is held ended, with a write that got no answer or by another process.
                    self.let_go();
                }
                let again = look_again(&plan, seen, &next, now);
                let then = self.after_decision(&plan, &next, again, now);
                Stage::write(What::decision(next, Purpose::Settle), then)
            }
        }
    }

    /// Works on the run in progress, which may be another process' until now.
    fn continue_run(&mut self, seen: &Arc<Seen>, next: DlqPolicyStatus, now: Timestamp) -> Stage {
        let is_reset = !seen.status.label_probes.is_empty() && next.label_probes.is_empty();
        if let Some(held) = self.held.as_mut().filter(|_| self.facts.holds_run) {
            if is_reset {
                held.progress.forget_label_probes();
            }
            let current_run = Some(held.progress.run().clone());
            return Stage::Permit(Some(Box::new(DlqPolicyStatus { current_run, ..next })));
        }
        let Some(run) = &next.current_run else { return Stage::Done(Next::Now) };
        let run = status::taken_over(run, &self.settings.holder);
        let waited = seen.status.current_run.as_ref().is_some_and(|run| awaited(run).is_some());
        let told = Box::new(run.clone());
        self.notice(if waited { Notice::Approved(told) } else { Notice::TakesOver(told) });
        self.take(seen, DlqPolicyStatus { current_run: Some(run), ..next }, Purpose::TakeOver, now)
    }

    fn ask(&mut self, policy: &Policy, freshness: Freshness) -> Option<Action> {
        // Only a policy with valid work depends on its connection.
        let connection = Box::new(policy.work.as_ref().ok()?.connection.clone());
        Some(self.effect(Effect::Resolve { connection, freshness }))
    }

    /// Makes the run in `next` this process', to work on it. The account was looked up before: a run that is claimed can
    /// begin.
    fn take(&mut self, seen: &Arc<Seen>, next: DlqPolicyStatus, purpose: Purpose, now: Timestamp) -> Stage {
        self.let_go();
        self.held = self.hold(seen, &next, now);
        Stage::write(What::decision(next, purpose), Then::Permit)
    }

    fn hold(&self, seen: &Arc<Seen>, next: &DlqPolicyStatus, now: Timestamp) -> Option<HeldRun> {
        let (run, work) = (next.current_run.as_ref()?, seen.policy.work.as_ref().ok()?);
        let found = self.found.as_ref()?;
        let activity = status::activity(&seen.status, run, now);
        Some(HeldRun {
            progress: Progress::new(work.clone(), run.clone(), self.settings.retry_limit)
                .seen_as(activity)
                .looking_for(Past::of(next, self.facts.clock_offset, now)),
            account: found.account?,
            version: found.version.clone(),
            looked_again_at: None,
            outcome: None,
            queued_since: None,
            seen: Arc::clone(seen),
            policy: Arc::clone(&seen.policy),
        })
    }

    /// Takes in what was found of the connection.
    pub(super) fn resolved(&mut self, found: Result<Result<Found, Invalid>, Trouble>) {
        if matches!(self.stage, Stage::Refused(_)) {
            return self.found_for_refused(found);
        }
        let Some(seen) = &self.seen else { return };
        // Where the next run could not start, the one under way keeps its token.
        let keeps_token = self.facts.keeps_token(&seen.status);
        let connection = match found {
            Err(_) | Ok(Err(_)) if keeps_token => Connectivity::Lost,
            Err(trouble) => {
                self.stage = Stage::Done(Next::Retry(trouble));
                return;
            }
            Ok(Err(missing)) => Connectivity::Missing(missing),
            Ok(Ok(found)) => {
                let is_refused = seen.status.refused_secret.as_ref() == Some(&found.version);
                self.found = Some(found);
                if is_refused { Connectivity::Refused } else { Connectivity::Usable }
            }
        };
        self.turn.has_usable_token = connection == Connectivity::Usable;
        self.facts.connection = Some(connection);
    }
}

/// When a policy that has nothing to run is of interest again.
fn look_again(plan: &Plan, seen: &Seen, next: &DlqPolicyStatus, now: Timestamp) -> Next {
    let soon = Next::At(after(now, LOOK_AGAIN));
    if !seen.is_status_readable {
        // Fixing a status wakes nobody.
        return soon;
    }
    match plan {
        Plan::Waiting { on } => {
            let deadline = next.current_run.as_ref().and_then(deadline);
            // Only an edit or another process brings a connection of the operator's, and a shared one wakes its policies.
            let is_told = matches!(on.reason, Reason::NoConnection | Reason::ConnectionNotFound);
            let secret = (!is_told).then(|| after(now, LOOK_AGAIN));
            deadline.into_iter().chain(secret).min().map_or(Next::OnChange, Next::At)
        }
        Plan::AwaitsApproval { until } => Next::At(*until),
        Plan::Idle { next: Some(next) } | Plan::Missed { next: Some(next), .. } => Next::At(*next),
        Plan::Idle { next: None } if awaits_token(&seen.policy, next) => soon,
        _ => Next::OnChange,
    }
}
