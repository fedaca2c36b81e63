//! What the status of a shared connection says, and when its token is tried again.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use super::conditions::{Truth, find, may_come, seconds, set, set_kstatus};
use crate::changes::{EventReason, ObjectEvent};
use crate::run::outcome::{ACTING_TOKEN, VALID_TOKEN, with_advice};
use crate::spec::Invalid;
use dlq_crd::{ConditionType, ConnectionStatus, Reason};
use dlq_upstash::error::{ApiError, ErrorClass};

/// How often a token that works is tried: each time costs a call.
const CHECK_AGAIN: SignedDuration = SignedDuration::from_mins(10);
/// The same while nothing is known yet, as Upstash did not answer.
const CHECK_SOON: SignedDuration = SignedDuration::from_mins(1);

/// What came of a look at a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Checked {
    /// Upstash was asked for one entry, and this is how it answered.
    Asked(Result<(), ApiError>),
    /// There is no token to ask with: why, and what to do.
    Invalid(Invalid),
}

/// What the policies of a connection tell of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Users {
    /// How many policies name it; none where this process does not see them all.
    pub policies: Option<i64>,
    /// Whether Upstash refused an acting call of one of them, as the token is read-only; none where this process cannot rule
    /// it out.
    pub is_read_only: Option<bool>,
}

/// How long an answer holds, whether or not the status that tells of it could be written: each question costs a call.
pub fn holds_for(checked: &Checked) -> SignedDuration {
    let is_known = match checked {
        Checked::Asked(Err(error)) => refused(error, false).0 != Truth::Unknown,
        Checked::Asked(Ok(())) | Checked::Invalid(_) => true,
    };
    if is_known { CHECK_AGAIN } else { CHECK_SOON }
}

/// When the token is tried again, as far as the status tells. At once: a time that has passed.
pub fn next_check(status: &ConnectionStatus, generation: i64) -> Timestamp {
    let ready = find(&status.conditions, ConditionType::Ready);
    match (&status.last_check_time, ready) {
        (Some(last), Some(ready)) if status.observed_generation == Some(generation) => {
            let again = if ready.status == Truth::Unknown.as_str() { CHECK_SOON } else { CHECK_AGAIN };
            last.0.saturating_add(again).unwrap_or(Timestamp::MAX)
        }
        _ => Timestamp::MIN,
    }
}

/// The status after a look, or where only the policies are others than before.
pub fn connection(
    before: &ConnectionStatus,
    generation: i64,
    checked: Option<&Checked>,
    users: Users,
    now: Timestamp,
) -> ConnectionStatus {
    let mut next = before.clone();
    next.policies = users.policies.or(before.policies);
    next.observed_generation = Some(generation);
    if let Some(Checked::Asked(_)) = checked {
        next.last_check_time = Some(seconds(now));
    }
    let was = find(&before.conditions, ConditionType::Ready);
    let was_reason = was.and_then(|ready| Reason::parse(&ready.reason));
    // A token that works may be another than the one that was refused.
    let was_read_only = was_reason == Some(Reason::ReadOnlyToken) && checked.is_none();
    let is_read_only = users.is_read_only.unwrap_or(was_read_only);
    let (truth, reason, message) = match checked {
        Some(Checked::Invalid(invalid)) => (Truth::False, invalid.reason, invalid.message.clone()),
        Some(Checked::Asked(Ok(()))) => works(is_read_only),
        Some(Checked::Asked(Err(error))) => refused(error, is_read_only),
        None if matches!(was_reason, Some(Reason::Connected | Reason::ReadOnlyToken)) => works(is_read_only),
        None => return next,
    };
    let is_known = was.is_some_and(|ready| ready.status != Truth::Unknown.as_str());
    if truth == Truth::Unknown && is_known && before.observed_generation == Some(generation) {
        // An answer that did not come says nothing of the token.
        return next;
    }
    set(&mut next.conditions, ConditionType::Ready, truth, reason, &message, generation, now);
    let kind = match truth {
        Truth::True => None,
        Truth::False if !may_come(reason) => Some(ConditionType::Stalled),
        Truth::False | Truth::Unknown => Some(ConditionType::Reconciling),
    };
    set_kstatus(&mut next.conditions, kind, reason, &message, generation, now);
    next
}

/// What a status that was written tells that the one before it did not.
pub fn events(before: &ConnectionStatus, after: &ConnectionStatus) -> Vec<ObjectEvent> {
    let ready = |status: &ConnectionStatus| find(&status.conditions, ConditionType::Ready).cloned();
    let Some(now) = ready(after) else { return Vec::new() };
    let is_told = ready(before).is_some_and(|was| (&was.status, &was.reason) == (&now.status, &now.reason));
    let reason = match Reason::parse(&now.reason) {
        _ if is_told || now.status == Truth::Unknown.as_str() => return Vec::new(),
        Some(Reason::Connected) => EventReason::Connected,
        Some(reason) => EventReason::NotReady(reason),
        None => return Vec::new(),
    };
    vec![ObjectEvent::new(reason, now.message.clone())]
}

/// What is told when the first run of a day ends because the connection's budget is spent.
pub fn budget_spent(day: Date, limit: u64) -> ObjectEvent {
    let text = format!(
        "the {limit} entries of limits.maxEntriesPerDay are spent on {day}; runs end as LimitReached until that day \
         is past or the limit is raised"
    );
    ObjectEvent::new(EventReason::BudgetSpent, text)
}

/// Whether the token works, as far as the status tells.
pub fn is_ready(status: &ConnectionStatus) -> bool {
    find(&status.conditions, ConditionType::Ready).is_some_and(|ready| ready.status == Truth::True.as_str())
}

/// Whether it says that the connection itself cannot be used as it stands.
pub fn is_invalid(status: &ConnectionStatus) -> bool {
    let ready = find(&status.conditions, ConditionType::Ready);
    ready.is_some_and(|ready| ready.reason == Reason::InvalidSpec.as_str())
}

/// Since when the token works, if it does.
pub fn works_since(status: &ConnectionStatus) -> Option<Timestamp> {
    let ready = find(&status.conditions, ConditionType::Ready)?;
    (ready.status == Truth::True.as_str()).then_some(ready.last_transition_time.0)
}

fn works(is_read_only: bool) -> (Truth, Reason, String) {
    if is_read_only {
        (Truth::False, Reason::ReadOnlyToken, ACTING_TOKEN.to_owned())
    } else {
        (Truth::True, Reason::Connected, "the token works".to_owned())
    }
}

fn refused(error: &ApiError, is_read_only: bool) -> (Truth, Reason, String) {
    let happened = error.to_string();
    match error.class {
        ErrorClass::Unauthorized => (Truth::False, Reason::Unauthorized, with_advice(&happened, VALID_TOKEN)),
        ErrorClass::Forbidden => {
            let advice = "the token may not list; put one that may into the connection's Secret";
            (Truth::False, Reason::Forbidden, with_advice(&happened, advice))
        }
        ErrorClass::RateLimited | ErrorClass::QuotaExceeded => {
            // A token that is rate limited was accepted.
            works(is_read_only)
        }
        ErrorClass::Unavailable
        | ErrorClass::TooLarge
        | ErrorClass::NotFound
        | ErrorClass::Refused
        | ErrorClass::Unexpected => {
            let advice = "the token is tried again in a minute";
            (Truth::Unknown, Reason::UpstreamUnavailable, with_advice(&happened, advice))
        }
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
