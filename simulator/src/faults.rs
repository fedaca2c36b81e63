//! Faults on demand: rules that say which calls go wrong, and how.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use crate::{operation::Operation, random::Random};

/// What goes wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Fault {
    /// The call is late, and then goes on.
    #[serde(rename_all = "camelCase")]
    Latency {
        ms: u64,
        #[serde(default)]
        jitter_ms: u64,
    },
    /// This answer instead of the call.
    Status(StatusFault),
    /// The call is acted on, and its answer is lost.
    LostAnswer { how: Loss },
    /// The connection is closed.
    Drop { when: DropTime },
    /// The call is acted on, and the answer's body is not what it should be.
    Body { kind: BodyFault, bytes: Option<u64> },
    /// The answer's cursor leads nowhere.
    Cursor(CursorFault),
    /// The oldest entries expire just before the call.
    Expire { count: usize },
    /// Entries arrive just before the call.
    Arrive { count: usize },
}

impl Fault {
    /// The name under which it stands in rules and in the ledger.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Latency { .. } => "latency",
            Self::Status(_) => "status",
            Self::LostAnswer { .. } => "lostAnswer",
            Self::Drop { .. } => "drop",
            Self::Body { .. } => "body",
            Self::Cursor(_) => "cursor",
            Self::Expire { .. } => "expire",
            Self::Arrive { .. } => "arrive",
        }
    }

    /// Whether it can befall an operation: only pages have cursors.
    fn can_befall(&self, operation: Operation) -> bool {
        !matches!(self, Self::Cursor(_)) || operation.answers_in_pages()
    }

    /// Whether the answer still arrives whole and readable.
    pub fn delivers(&self) -> bool {
        match self {
            Self::LostAnswer { .. } | Self::Drop { .. } => false,
            Self::Body { kind, .. } => {
                !matches!(kind, BodyFault::Truncated | BodyFault::InvalidJson | BodyFault::Empty)
            }
            _ => true,
        }
    }
}

/// An answer of one's own making.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StatusFault {
    pub code: u16,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Absent: an error in the API's form.
    pub body: Option<String>,
    /// Absent: `application/json`.
    pub content_type: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Loss {
    /// The connection is closed without an answer.
    Close,
    /// A 500 takes the answer's place.
    Status500,
    /// Nothing comes until the caller gives up.
    Hang,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DropTime {
    BeforeAction,
    DuringBody,
    AfterHeaders,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BodyFault {
    /// The first `bytes` (absent: half) of the body as if they were all.
    Truncated,
    InvalidJson,
    /// The right JSON, padded to `bytes` (absent: 64 MiB).
    Huge,
    /// The right JSON, `bytes` (absent: 1) every 100 ms.
    SlowDrip,
    WrongContentType,
    ExtraFields,
    Empty,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CursorFault {
    /// Acted on, but the cursor of the answer is the one of the call.
    Repeat,
    /// Not acted on, and an empty page with a cursor that is good.
    EmptyPage,
}

/// The rules in force, as they are set.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FaultPlan {
    pub seed: Option<u64>,
    pub rules: Vec<Rule>,
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
    fn is_about(&self, dlq: &str, token: Option<&str>, operation: Operation) -> bool {
        self.dlq.as_deref().is_none_or(|wanted| wanted == dlq)
            && self.token.as_deref().is_none_or(|wanted| token == Some(wanted))
            && match &self.operation {
                None => true,
                Some(Operations::One(wanted)) => *wanted == operation,
                Some(Operations::Several(wanted)) => wanted.contains(&operation),
            }
            && self.fault.can_befall(operation)
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
#[derive(Debug)]
pub struct Faults {
    rules: Vec<CountedRule>,
    random: Random,
}

#[derive(Debug)]
struct CountedRule {
    rule: Rule,
    matched: u64,
    applied: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Self { rules: Vec::new(), random: Random::seeded(1) }
    }
}

impl Faults {
    /// Replaces every rule.
    pub fn replace(&mut self, plan: FaultPlan) {
        *self = Self::default();
        self.append(plan);
    }

    /// Adds rules after those in force; a seed starts the dice anew.
    pub fn append(&mut self, plan: FaultPlan) {
        if let Some(seed) = plan.seed {
            self.random = Random::seeded(seed);
        }
        self.rules.extend(plan.rules.into_iter().map(|rule| CountedRule { rule, matched: 0, applied: 0 }));
    }

    /// Decides what happens to a call: the sum of all latencies, and the first other fault.
    pub fn meet(&mut self, dlq: &str, token: Option<&str>, operation: Operation) -> Trouble {
        let mut trouble = Trouble::default();
        for CountedRule { rule, matched, applied } in &mut self.rules {
            if !rule.is_about(dlq, token, operation) {
                continue;
            }
            *matched += 1;
            let due = rule.nth.is_none_or(|nth| *matched == nth)
                && rule.from.is_none_or(|from| *matched >= from)
                && rule.times.is_none_or(|times| *applied < times)
                && rule.probability.is_none_or(|probability| self.random.chance(probability));
            if !due {
                continue;
            }
            match &rule.fault {
                Fault::Latency { ms, jitter_ms } => {
                    let jitter = self.random.below(jitter_ms.saturating_add(1));
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

#[cfg(test)]
mod tests;
