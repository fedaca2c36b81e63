//! Faults on demand: what can go wrong with a call, and rules that say with which.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use serde::Deserialize;

use crate::{
    entry::MOST_ENTRIES,
    operation::Operation,
    query::{self, LISTS, Pairs},
};

pub use self::rules::{FaultPlan, Faults, Operations, Rule, Trouble};

mod rules;

/// An hour, in milliseconds.
const LONGEST_LATENCY: u64 = 3_600_000;

/// What goes wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Fault {
    /// The call is late, and then continues.
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
    /// A 412 instead of the call: a quota of the plan is violated.
    Quota {},
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
    /// The call selects as if these filters had not been given.
    Ignore { parameters: Vec<String> },
    /// A 400 instead of a call that gives several values for this filter.
    RefuseSeveral { parameter: String },
}

impl Fault {
    /// The name under which it stands in rules and in the ledger.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Latency { .. } => "latency",
            Self::Status(_) => "status",
            Self::RateLimit(_) => "rateLimit",
            Self::Quota {} => "quota",
            Self::LostAnswer { .. } => "lostAnswer",
            Self::Drop { .. } => "drop",
            Self::Body { .. } => "body",
            Self::Cursor(_) => "cursor",
            Self::Expire { .. } => "expire",
            Self::Arrive { .. } => "arrive",
            Self::Ignore { .. } => "ignore",
            Self::RefuseSeveral { .. } => "refuseSeveral",
        }
    }

    /// Why it could never do what it says.
    fn problem(&self) -> Option<String> {
        match self {
            Self::Latency { ms, jitter_ms } if ms.saturating_add(*jitter_ms) > LONGEST_LATENCY => {
                Some(format!("a latency is at most {LONGEST_LATENCY} ms"))
            }
            Self::Expire { count } | Self::Arrive { count } if *count > MOST_ENTRIES => {
                Some(format!("at most {MOST_ENTRIES} entries at once"))
            }
            Self::Status(fault) => fault.problem(),
            Self::Ignore { parameters } if parameters.is_empty() => Some("it ignores nothing".into()),
            Self::Ignore { parameters } => {
                let filters = query::filters();
                let other = parameters.iter().find(|name| !filters.contains(&name.as_str()))?;
                Some(format!("{other:?} is no parameter that filters; those are {}", filters.join(", ")))
            }
            Self::RefuseSeveral { parameter } if !LISTS.contains(&parameter.as_str()) => Some(format!(
                "{parameter:?} is no filter with several values; those are {}",
                LISTS.join(", ")
            )),
            _ => None,
        }
    }

    /// Whether it can befall a call with these parameters, if they could be read: only calls with pages have cursors and
    /// filters.
    fn can_befall(&self, operation: Operation, pairs: Option<&Pairs>) -> bool {
        match self {
            Self::Cursor(_) | Self::Ignore { .. } => operation.answers_in_pages(),
            Self::RefuseSeveral { parameter } => {
                operation.answers_in_pages() && pairs.is_some_and(|pairs| pairs.has_several(parameter))
            }
            _ => true,
        }
    }

    /// Whether the call is not acted on.
    pub fn prevents_action(&self) -> bool {
        match self {
            Self::Status(fault) => !fault.after_action,
            _ => matches!(
                self,
                Self::RateLimit(_)
                    | Self::Quota {}
                    | Self::Drop { when: DropTime::BeforeAction }
                    | Self::RefuseSeveral { .. }
            ),
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

impl StatusFault {
    fn problem(&self) -> Option<String> {
        // A service can send no 1xx as an answer.
        if !(200..=599).contains(&self.code) {
            return Some(format!("{} is no status of an answer", self.code));
        }
        let content_type = self.content_type.iter().map(|value| ("content-type", value));
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value));
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
    /// The right JSON, with `bytes` (absent: 1 MiB) more in the response body of each entry that it lists.
    LargeBodies,
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

#[cfg(test)]
mod tests;
