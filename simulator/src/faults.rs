//! Faults on demand: rules that say which calls go wrong, and how.

use std::{collections::BTreeMap, time::Duration};

use http::{HeaderName, HeaderValue};
use serde::Deserialize;

use crate::{entry::MOST_ENTRIES, operation::Operation, random::Random, refusal::Refusal};

/// An hour, in milliseconds.
const LONGEST_LATENCY: u64 = 3_600_000;

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
    /// This answer instead of the call, or after it.
    Status(StatusFault),
    /// A 429 instead of the call, with headers that say until when.
    RateLimit(RateLimit),
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
            Self::RateLimit(_) => "rateLimit",
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

    /// Whether the call is not acted on.
    pub fn prevents_action(&self) -> bool {
        match self {
            Self::Status(fault) => !fault.after_action,
            _ => matches!(self, Self::RateLimit(_) | Self::Drop { when: DropTime::BeforeAction }),
        }
    }

    /// Whether the answer still arrives whole and readable.
    pub fn delivers(&self) -> bool {
        match self {
            Self::Drop { when: DropTime::AfterBody } => true,
            Self::LostAnswer { .. } | Self::Drop { .. } => false,
            Self::Status(fault) => !fault.after_action,
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
    /// The call is acted on all the same, as when a proxy gave up on the answer.
    #[serde(default)]
    pub after_action: bool,
}

/// A rate limit. Its header says when it ends as a Unix time, which a rule written beforehand could not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimit {
    pub headers: RateLimitHeaders,
    /// How many seconds from the call on it lasts.
    #[serde(default)]
    pub reset_in_seconds: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RateLimitHeaders {
    /// `Burst-RateLimit-Limit`, `-Remaining` and `-Reset`.
    Burst,
    /// `RateLimit-Limit`, `-Remaining` and `-Reset`.
    Daily,
    /// `Retry-After` in seconds, as a proxy sends it.
    RetryAfter,
    None,
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
    AfterHeaders,
    DuringBody,
    /// The answer arrives, and then the connection is closed without having said so.
    AfterBody,
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
        let fault = match &self.fault {
            Fault::Latency { ms, jitter_ms } if ms.saturating_add(*jitter_ms) > LONGEST_LATENCY => {
                return Some(format!("a latency is at most {LONGEST_LATENCY} ms"));
            }
            Fault::Expire { count } | Fault::Arrive { count } if *count > MOST_ENTRIES => {
                return Some(format!("at most {MOST_ENTRIES} entries at once"));
            }
            Fault::Status(fault) => fault,
            _ => return None,
        };
        // A service can send no 1xx as an answer.
        if !(200..=599).contains(&fault.code) {
            return Some(format!("{} is no status of an answer", fault.code));
        }
        let content_type = fault.content_type.iter().map(|value| ("content-type", value));
        let headers = fault.headers.iter().map(|(name, value)| (name.as_str(), value));
        headers
            .chain(content_type)
            .find(|(name, value)| {
                let frames =
                    ["content-length", "transfer-encoding"].map(|frame| name.eq_ignore_ascii_case(frame));
                HeaderName::try_from(*name).is_err()
                    || HeaderValue::try_from(value.as_str()).is_err()
                    || frames.contains(&true)
            })
            .map(|(name, _)| {
                format!("{name:?} is no header that a rule can set, or has a value that none can have")
            })
    }

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

    /// Decides what happens to a call: the sum of all latencies, and the first other fault.
    pub fn meet(&mut self, dlq: &str, token: Option<&str>, operation: Operation) -> Trouble {
        let mut trouble = Trouble::default();
        for CountedRule { rule, matched, applied, random } in &mut self.rules {
            if !rule.is_about(dlq, token, operation) {
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

#[cfg(test)]
mod tests;
