//! `spec.backlog`: what is counted between runs, and how often.

use jiff::SignedDuration;

use super::duration;
use super::hash::text_hash;
use super::invalid::Invalid;
use super::selection::Selected;
use crate::run::window::Bound;
use dlq_crd::{AgeText, DlqPolicySpec};
use dlq_upstash::types::Criteria;

const SHORTEST_INTERVAL: SignedDuration = SignedDuration::from_mins(1);
const COUNTS: std::ops::RangeInclusive<u32> = 100..=10_000;

/// What is counted between runs, and how often.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Backlog {
    /// How often to look.
    pub interval: SignedDuration,
    /// The most entries to count.
    pub count_up_to: u32,
    /// How long Upstash keeps an entry, where the policy says so.
    pub retention: Option<SignedDuration>,
    /// Which entries, but for the time of their failure.
    pub(crate) criteria: Criteria,
    /// The first time of failure.
    pub(crate) from: Option<Bound>,
    /// The last one.
    pub(crate) to: Option<Bound>,
    /// The hash of filters, `countUpTo` and retention: looks with equal ones find the same in one account.
    pub(crate) counted: String,
    /// The hash of these and the connection.
    pub(crate) spec_hash: String,
}

/// Reads what a policy says; none where it says nothing.
pub(super) fn backlog(spec: &DlqPolicySpec, selected: &Selected) -> Result<Option<Backlog>, Invalid> {
    let DlqPolicySpec { filters, backlog, connection, .. } = spec;
    let Some(backlog) = backlog else { return Ok(None) };
    let Selected::Matching { criteria, from, to } = selected else {
        let problem = "must not be set with filters.dlqIds, as it counts by criteria; remove backlog, or select by criteria";
        return Err(Invalid::spec("spec.backlog", problem));
    };
    let dlq_crd::Backlog { interval, count_up_to, retention } = backlog;
    let interval =
        duration::parse(interval.as_str()).filter(|interval| *interval >= SHORTEST_INTERVAL).ok_or_else(
            || Invalid::spec("spec.backlog.interval", "must be a duration of at least a minute, such as 15m"),
        )?;
    let count_up_to = u32::try_from(*count_up_to)
        .ok()
        .filter(|most| COUNTS.contains(most))
        .ok_or_else(|| Invalid::spec("spec.backlog.countUpTo", "must be from 100 to 10000"))?;
    let retention = retention.as_ref().map(read_retention).transpose()?;
    let of_what = serde_json::to_string(filters).unwrap_or_default();
    let counted =
        text_hash(&format!("{of_what} {count_up_to} {:?}", retention.map(|retention| retention.as_millis())));
    let of_whom = serde_json::to_string(connection).unwrap_or_default();
    Ok(Some(Backlog {
        interval,
        count_up_to,
        retention,
        criteria: criteria.clone(),
        from: *from,
        to: *to,
        spec_hash: text_hash(&format!("{counted} {of_whom}")),
        counted,
    }))
}

fn read_retention(text: &AgeText) -> Result<SignedDuration, Invalid> {
    duration::parse(text.as_str()).filter(SignedDuration::is_positive).ok_or_else(|| {
        Invalid::spec("spec.backlog.retention", "must be a duration longer than 0, such as 7d")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::sample;

    fn read(fields: &Value) -> Backlog {
        let policy = sample::policy(fields, &[], &sample::permissions());
        *policy.backlog.unwrap_or_else(|| panic!("{:?}", policy.work))
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let backlog = read(&json!({ "backlog": { "interval": "15m" } }));
        let read = (backlog.interval, backlog.count_up_to, backlog.retention);
        assert_eq!(read, (SignedDuration::from_mins(15), 1000, None));
    }

    #[test]
    fn looks_are_equal_if_they_count_the_same_however_often_and_whoever_asks() {
        let of = |fields: Value| read(&fields);
        let one = of(json!({ "backlog": { "interval": "15m", "retention": "7d" } }));
        let same = of(json!({ "action": "delete", "suspend": true, "schedule": "@hourly",
            "backlog": { "interval": "1h", "retention": "168h", "countUpTo": 1000 } }));
        assert_eq!((&one.counted, &one.spec_hash), (&same.counted, &same.spec_hash));
        let secret = json!({ "tokenSecretRef": { "name": "upstash" } });
        let of_another =
            of(json!({ "connection": secret, "backlog": { "interval": "15m", "retention": "7d" } }));
        assert_eq!(one.counted, of_another.counted, "whose it is says the token");
        assert_ne!(one.spec_hash, of_another.spec_hash);
        for other in [
            json!({ "backlog": { "interval": "15m" } }),
            json!({ "backlog": { "interval": "15m", "retention": "7d", "countUpTo": 100 } }),
            json!({ "filters": { "labels": ["orders"] }, "backlog": { "interval": "15m", "retention": "7d" } }),
            json!({ "filters": { "labels": ["payments"], "newerThan": "1d" },
                "backlog": { "interval": "15m", "retention": "7d" } }),
        ] {
            assert_ne!(one.counted, of(other.clone()).counted, "{other}");
        }
    }

    #[test]
    fn what_an_older_definition_lets_through_is_refused_with_the_field_and_the_way_out() {
        let backlog = |backlog: Value| json!({ "backlog": backlog });
        let ids = json!({ "filters": { "dlqIds": ["dlq-1"] }, "backlog": { "interval": "15m" } });
        for (fields, expected) in [
            (backlog(json!({ "interval": "59s" })), "spec.backlog.interval: must be a duration of at least"),
            (backlog(json!({ "interval": "soon" })), "spec.backlog.interval: must be a duration of at least"),
            (
                backlog(json!({ "interval": "1m", "countUpTo": 99 })),
                "spec.backlog.countUpTo: must be from 100 to 10000",
            ),
            (backlog(json!({ "interval": "1m", "countUpTo": 10_001 })), "spec.backlog.countUpTo: must be"),
            (backlog(json!({ "interval": "1m", "retention": "0s" })), "spec.backlog.retention: must be a"),
            (ids, "spec.backlog: must not be set with filters.dlqIds"),
        ] {
            let policy = sample::policy(&fields, &[], &sample::permissions());
            let problem = policy.work.expect_err("refused").message;
            assert!(problem.starts_with(expected), "{fields}: {problem}");
            assert_eq!(policy.backlog, None);
        }
    }
}
