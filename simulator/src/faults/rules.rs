//! Rules: which calls meet which fault, and how often.

use std::time::Duration;

use serde::Deserialize;

use super::Fault;
use crate::{operation::Operation, query::Pairs, random::Random, refusal::Refusal};

/// Rules as they are set. The seed decides their dice; absent, it is 1.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FaultPlan {
    pub seed: Option<u64>,
    pub rules: Vec<Rule>,
}

impl FaultPlan {
    /// Refuses rules that could never do what they say.
    pub fn check(&self) -> Result<(), Refusal> {
        for (index, rule) in self.rules.iter().enumerate() {
            if let Some(problem) = rule.problem() {
                return Err(Refusal::bad_request(format!("rules[{index}]: {problem}")));
            }
        }
        Ok(())
    }
}

/// Which calls meet a fault. Every condition that is given must hold.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    pub dlq: Option<String>,
    pub token: Option<String>,
    pub operation: Option<Operations>,
    /// Only the nth matching call, counted from 1.
    pub nth: Option<u64>,
    /// From the nth matching call on.
    pub from: Option<u64>,
    /// At most so many calls.
    pub times: Option<u64>,
    pub probability: Option<f64>,
    pub fault: Fault,
}

/// One operation, or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Operations {
    One(Operation),
    Several(Vec<Operation>),
}

impl Rule {
    fn problem(&self) -> Option<String> {
        if self.probability.is_some_and(|probability| !(0.0..=1.0).contains(&probability)) {
            return Some("probability must be between 0 and 1".into());
        }
        if self.nth == Some(0) || self.from == Some(0) {
            return Some("nth and from count from 1".into());
        }
        if self.times == Some(0)
            || matches!(&self.operation, Some(Operations::Several(none)) if none.is_empty())
        {
            return Some("it applies to no call".into());
        }
        self.fault.problem()
    }

    fn is_about(&self, dlq: &str, token: Option<&str>, operation: Operation, pairs: Option<&Pairs>) -> bool {
        self.dlq.as_deref().is_none_or(|wanted| wanted == dlq)
            && self.token.as_deref().is_none_or(|wanted| token == Some(wanted))
            && match &self.operation {
                None => true,
                Some(Operations::One(wanted)) => *wanted == operation,
                Some(Operations::Several(wanted)) => wanted.contains(&operation),
            }
            && self.fault.can_befall(operation, pairs)
    }
}

/// What the rules have in store for one call.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    pub latency: Duration,
    /// Anything but latency.
    pub fault: Option<Fault>,
}

impl Trouble {
    /// The name for the ledger.
    pub fn name(&self) -> Option<&'static str> {
        match &self.fault {
            Some(fault) => Some(fault.name()),
            None => (!self.latency.is_zero()).then_some("latency"),
        }
    }
}

/// The rules, with how often each matched and was applied.
#[derive(Debug, Default)]
pub struct Faults {
    rules: Vec<CountedRule>,
}

#[derive(Debug)]
struct CountedRule {
    rule: Rule,
    matched: u64,
    applied: u64,
    /// Each rule has dice of its own, so that what befalls its calls does not hang on the calls of others.
    random: Random,
}

impl Faults {
    /// Replaces every rule.
    pub fn replace(&mut self, plan: FaultPlan) {
        *self = Self::default();
        self.append(plan);
    }

    /// Adds rules after those in force.
    pub fn append(&mut self, plan: FaultPlan) {
        let mut seeds = Random::seeded(plan.seed.unwrap_or(1));
        self.rules.extend(plan.rules.into_iter().map(|rule| CountedRule {
            rule,
            matched: 0,
            applied: 0,
            random: Random::seeded(seeds.number()),
        }));
    }

    /// Decides what happens to a call: the sum of all latencies, and the first other fault. `pairs` are the parameters of
    /// the call, unless they are malformed.
    pub fn meet(
        &mut self,
        dlq: &str,
        token: Option<&str>,
        operation: Operation,
        pairs: Option<&Pairs>,
    ) -> Trouble {
        let mut trouble = Trouble::default();
        for CountedRule { rule, matched, applied, random } in &mut self.rules {
            if !rule.is_about(dlq, token, operation, pairs) {
                continue;
            }
            *matched += 1;
            let due = rule.nth.is_none_or(|nth| *matched == nth)
                && rule.from.is_none_or(|from| *matched >= from)
                && rule.times.is_none_or(|times| *applied < times)
                && rule.probability.is_none_or(|probability| random.chance(probability));
            if !due {
                continue;
            }
            match &rule.fault {
                Fault::Latency { ms, jitter_ms } => {
                    let jitter = random.below(jitter_ms.saturating_add(1));
                    trouble.latency += Duration::from_millis(ms.saturating_add(jitter));
                    *applied += 1;
                }
                fault if trouble.fault.is_none() => {
                    trouble.fault = Some(fault.clone());
                    *applied += 1;
                }
                _ => {}
            }
        }
        trouble
    }
}
