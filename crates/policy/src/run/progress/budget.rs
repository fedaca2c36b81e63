//! Asks for what a run may act on of the budget that it shares.

use super::{Progress, Step};
use crate::budget::{Reserved, Unused};
use crate::run::outcome::Outcome;
use crate::run::pace::asked;
use dlq_upstash::types::Call;

impl Progress {
    /// A call that acts waits until it has an allowance.
    pub(super) fn within_budget(&self, step: Step) -> Step {
        match step {
            Step::Call(call) if self.budget.has_to_ask(acts_on(&call)) => {
                Step::Reserve(u64::try_from(acts_on(&call)).unwrap_or(1))
            }
            step => step,
        }
    }

    /// Takes in what became of asking for an allowance.
    pub fn reserved(&mut self, reserved: Reserved) {
        match reserved {
            Reserved::Granted(grant) => self.budget.granted(grant),
            Reserved::Later(until) => self.budget.later(until),
            Reserved::Spent => drop(self.outcome.get_or_insert_with(Outcome::budget_spent)),
        }
    }

    /// Takes what was granted and not used; below 0: what was acted on beyond it.
    pub fn take_unused(&mut self) -> Unused {
        self.budget.take_unused()
    }
}

/// How many entries a call may act on.
pub(super) fn acts_on(call: &Call) -> i64 {
    if call.operation().acts() { asked(call) } else { 0 }
}
