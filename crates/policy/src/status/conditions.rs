//! Conditions as the API conventions want them.

use jiff::{Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use dlq_crd::{ConditionType, Reason, ReasonClass};

/// The value of a condition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    pub const ALL: [Self; 3] = [Self::True, Self::False, Self::Unknown];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// Sets a condition. The transition time moves only when the value does.
pub(crate) fn set(
    conditions: &mut Vec<Condition>,
    kind: ConditionType,
    truth: Truth,
    reason: Reason,
    message: &str,
    generation: i64,
    now: Timestamp,
) {
    let before = conditions.iter().position(|condition| condition.type_ == kind.as_str());
    let since = before
        .map(|index| &conditions[index])
        .filter(|condition| condition.status == truth.as_str())
        .map_or_else(|| seconds(now), |condition| condition.last_transition_time.clone());
    let condition = Condition {
        type_: kind.as_str().to_owned(),
        status: truth.as_str().to_owned(),
        reason: reason.as_str().to_owned(),
        message: message.to_owned(),
        observed_generation: Some(generation),
        last_transition_time: since,
    };
    match before {
        Some(index) => conditions[index] = condition,
        None => conditions.push(condition),
    }
}

/// Whether what keeps something from being ready may go by itself. What is in a Secret changes by an edit alone; that it is
/// missing may be an order of events.
pub(crate) fn may_come(reason: Reason) -> bool {
    reason.class() == ReasonClass::NoToken && reason != Reason::SecretInvalid
}

/// Sets the condition by which kstatus tells why something is not ready, and takes the other one away; both, where it is.
pub(crate) fn set_kstatus(
    conditions: &mut Vec<Condition>,
    kind: Option<ConditionType>,
    reason: Reason,
    message: &str,
    generation: i64,
    now: Timestamp,
) {
    if let Some(kind) = kind {
        set(conditions, kind, Truth::True, reason, message, generation, now);
    }
    for other in [ConditionType::Reconciling, ConditionType::Stalled] {
        if Some(other) != kind {
            clear(conditions, other);
        }
    }
}

/// The condition of a type, if it is there.
pub(crate) fn find(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == kind.as_str())
}

/// Takes a condition away: one that is absent says "not so".
pub(crate) fn clear(conditions: &mut Vec<Condition>, kind: ConditionType) {
    conditions.retain(|condition| condition.type_ != kind.as_str());
}

/// Kubernetes' times have whole seconds; cut here, so that what is compared later is what was written.
pub(crate) fn seconds(time: Timestamp) -> Time {
    let cut = jiff::TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Floor);
    Time(time.round(cut).unwrap_or(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_moves_only_with_the_value() {
        let (one, two, three): (Timestamp, Timestamp, Timestamp) = (
            "2026-11-20T12:00:00Z".parse().unwrap(),
            "2026-11-20T12:01:00Z".parse().unwrap(),
            "2026-11-20T12:02:00.7Z".parse().unwrap(),
        );
        let mut conditions = Vec::new();
        let ready = ConditionType::Ready;
        set(&mut conditions, ready, Truth::True, Reason::Idle, "a", 1, one);
        set(&mut conditions, ready, Truth::True, Reason::Suspended, "b", 2, two);
        assert_eq!(conditions.len(), 1);
        assert_eq!(conditions[0].last_transition_time, Time(one));
        assert_eq!(
            (conditions[0].reason.as_str(), conditions[0].observed_generation),
            ("Suspended", Some(2))
        );
        set(&mut conditions, ready, Truth::False, Reason::SecretNotFound, "c", 2, three);
        assert_eq!(conditions[0].last_transition_time, seconds(three));
        clear(&mut conditions, ready);
        assert_eq!(conditions, []);
    }
}
