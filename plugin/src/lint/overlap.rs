//! Whether two policies can select the same entries.
//!
//! Of one moment: that an entry is selected by one policy while it is young and by another once it is old is what people
//! mean by it. What cannot be known, such as whether an expression holds for an ID, is no finding.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use dlq_policy::Work;
use dlq_policy::run::Bound;
use dlq_policy::spec::{ByListing, Selected, Statuses};
use dlq_upstash::types::Criteria;
use jiff::{SignedDuration, Timestamp};

/// The status of a workflow that retries cannot help.
const NON_RETRYABLE: u16 = 489;
/// What stands for an entry without a status.
const NO_STATUS: u16 = 0;
const STATUSES: RangeInclusive<u16> = 100..=599;

/// Whether there can be an entry that both select.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Overlap {
    /// Never, or it cannot be known.
    None,
    /// Only one whose workflow run has labels of both.
    OfLabels,
    /// Yes.
    Possible,
}

/// Whether two policies can select the same entry at one moment, now or later.
pub(super) fn overlap(one: &Work, other: &Work, now: Timestamp) -> Overlap {
    match (&one.selected, &other.selected) {
        (Selected::Ids(ids), Selected::Ids(others)) => {
            if ids.iter().any(|id| others.contains(id)) {
                Overlap::Possible
            } else {
                Overlap::None
            }
        }
        (
            Selected::Matching { criteria, from, to },
            Selected::Matching { criteria: others, from: other_from, to: other_to },
        ) => {
            let apart = are_apart(criteria, others)
                || is_before(*to, *other_from, now)
                || is_before(*other_to, *from, now)
                || !Judged::of(one).meets(&Judged::of(other));
            if apart {
                Overlap::None
            } else if share(&criteria.labels, &others.labels) {
                Overlap::Possible
            } else {
                Overlap::OfLabels
            }
        }
        _ => Overlap::None,
    }
}

/// Whether a policy selects every entry that another selects, now and later.
pub(super) fn covers(wide: &Work, narrow: &Work, now: Timestamp) -> bool {
    let Selected::Matching { criteria, from, to } = &wide.selected else {
        let (Selected::Ids(wide), Selected::Ids(narrow)) = (&wide.selected, &narrow.selected) else {
            return false;
        };
        return narrow.iter().all(|id| wide.contains(id));
    };
    match &narrow.selected {
        Selected::Ids(_) => {
            *criteria == Criteria::default() && from.is_none() && to.is_none() && wide.by_listing.is_none()
        }
        Selected::Matching { criteria: others, from: other_from, to: other_to } => {
            includes(criteria, others)
                && begins_no_later(*from, *other_from, now)
                && ends_no_earlier(*to, *other_to, now)
                && Judged::of(wide).includes(&Judged::of(narrow))
        }
    }
}

/// Whether no entry has what both ask for, labels aside: an entry has any number of these.
fn are_apart(one: &Criteria, other: &Criteria) -> bool {
    let ids = match (&one.workflow_run_id, &other.workflow_run_id) {
        // Each is an ID or how one begins.
        (Some(one), Some(other)) => !one.starts_with(other.as_str()) && !other.starts_with(one.as_str()),
        _ => false,
    };
    let created = matches!((one.workflow_created_at, other.workflow_created_at), (Some(one), Some(other)) if one != other);
    ids || created
        || !share(&one.workflow_urls, &other.workflow_urls)
        || !share(&one.failure_function_states, &other.failure_function_states)
        || !share(&addresses(&one.caller_ips), &addresses(&other.caller_ips))
        || !share(&one.flow_control_keys, &other.flow_control_keys)
}

/// Addresses, whose texts can be written in many ways.
fn addresses(texts: &[String]) -> Vec<Result<IpAddr, &str>> {
    texts.iter().map(|text| text.parse().map_err(|_| text.as_str())).collect()
}

/// Whether two lists, of which an empty one takes everything, have something in common.
fn share<T: PartialEq>(one: &[T], other: &[T]) -> bool {
    one.is_empty() || other.is_empty() || one.iter().any(|value| other.contains(value))
}

/// Whether everything that has what `narrow` asks for has what `wide` asks for.
fn includes(wide: &Criteria, narrow: &Criteria) -> bool {
    fn all<T: PartialEq>(wide: &[T], narrow: &[T]) -> bool {
        wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|value| wide.contains(value)))
    }
    let id = wide.workflow_run_id.as_ref().is_none_or(|wide| {
        narrow.workflow_run_id.as_ref().is_some_and(|narrow| narrow.starts_with(wide.as_str()))
    });
    let created =
        wide.workflow_created_at.is_none() || wide.workflow_created_at == narrow.workflow_created_at;
    id && created
        && all(&wide.labels, &narrow.labels)
        && all(&wide.workflow_urls, &narrow.workflow_urls)
        && all(&wide.failure_function_states, &narrow.failure_function_states)
        && all(&wide.caller_ips, &narrow.caller_ips)
        && all(&wide.flow_control_keys, &narrow.flow_control_keys)
}

/// Whether an upper bound lies before a lower one at every time from now on.
fn is_before(upper: Option<Bound>, lower: Option<Bound>, now: Timestamp) -> bool {
    match (upper.unwrap_or(Bound::Before(SignedDuration::ZERO)), lower) {
        (Bound::At(upper), Some(Bound::At(lower))) => upper < lower,
        (Bound::Before(upper), Some(Bound::Before(lower))) => upper >= lower,
        // A lower bound that moves on stays behind it.
        (Bound::At(upper), Some(Bound::Before(lower))) => upper < ago(lower, now),
        (_, None) | (Bound::Before(_), Some(Bound::At(_))) => false,
    }
}

fn begins_no_later(wide: Option<Bound>, narrow: Option<Bound>, now: Timestamp) -> bool {
    match (wide, narrow) {
        (None, _) => true,
        (Some(Bound::At(wide)), Some(Bound::At(narrow))) => wide <= narrow,
        (Some(Bound::Before(wide)), Some(Bound::Before(narrow))) => wide >= narrow,
        (Some(Bound::At(wide)), Some(Bound::Before(narrow))) => wide <= ago(narrow, now),
        // A bound that moves on passes every other.
        (Some(_), None) | (Some(Bound::Before(_)), Some(Bound::At(_))) => false,
    }
}

fn ends_no_earlier(wide: Option<Bound>, narrow: Option<Bound>, now: Timestamp) -> bool {
    match (wide, narrow.unwrap_or(Bound::Before(SignedDuration::ZERO))) {
        (None, _) => true,
        (Some(Bound::At(wide)), Bound::At(narrow)) => wide >= narrow,
        (Some(Bound::Before(wide)), Bound::Before(narrow)) => wide <= narrow,
        (Some(Bound::Before(wide)), Bound::At(narrow)) => ago(wide, now) >= narrow,
        (Some(Bound::At(_)), Bound::Before(_)) => false,
    }
}

fn ago(age: SignedDuration, now: Timestamp) -> Timestamp {
    now.saturating_sub(age).unwrap_or(Timestamp::MIN)
}

/// What `match` and `loopProtection` leave of the entries that are listed.
struct Judged<'a> {
    by_listing: Option<&'a ByListing>,
    /// The fewest and the most attempts.
    attempts: (u32, u32),
}

impl<'a> Judged<'a> {
    fn of(work: &'a Work) -> Self {
        let by_listing = work.by_listing.as_ref();
        let (fewest, most) = by_listing.and_then(|by_listing| by_listing.attempts).unwrap_or((0, u32::MAX));
        // An entry with as many attempts is exhausted.
        let unexhausted =
            by_listing.and_then(|by_listing| by_listing.max_attempts).map(|most| most.saturating_sub(1));
        Self { by_listing, attempts: (fewest, most.min(unexhausted.unwrap_or(u32::MAX))) }
    }

    fn takes(&self, status: u16) -> bool {
        self.by_listing.is_none_or(|by_listing| {
            let contains = |statuses: &[Statuses]| statuses.iter().any(|statuses| statuses.contains(status));
            (by_listing.response_statuses.is_empty() || contains(&by_listing.response_statuses))
                && !contains(&by_listing.exclude_response_statuses)
                && !(by_listing.skip_non_retryable && status == NON_RETRYABLE)
        })
    }

    fn meets(&self, other: &Self) -> bool {
        let attempts = self.attempts.0.max(other.attempts.0) <= self.attempts.1.min(other.attempts.1);
        attempts && statuses().any(|status| self.takes(status) && other.takes(status))
    }

    fn includes(&self, narrow: &Self) -> bool {
        let expression =
            |judged: &Self| judged.by_listing.and_then(|by_listing| by_listing.expression.as_ref());
        // Whether a header says so, only the entry shows.
        let skips = |judged: &Self| judged.by_listing.is_some_and(|by_listing| by_listing.skip_non_retryable);
        self.attempts.0 <= narrow.attempts.0
            && self.attempts.1 >= narrow.attempts.1
            && (!skips(self) || skips(narrow))
            && expression(self).is_none_or(|wide| Some(wide) == expression(narrow))
            && statuses().all(|status| !narrow.takes(status) || self.takes(status))
    }
}

fn statuses() -> impl Iterator<Item = u16> {
    std::iter::once(NO_STATUS).chain(STATUSES)
}

#[cfg(test)]
#[path = "overlap_tests.rs"]
mod tests;
