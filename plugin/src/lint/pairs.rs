//! What two policies of one account do to each other.

use std::collections::BTreeMap;

use dlq_crd::Action;
use dlq_policy::{ConnectionName, ConnectionRef, Work};
use jiff::Timestamp;

use super::finding::{Finding, object};
use super::overlap::{Overlap, covers, overlap};
use super::policies::Linted;
use super::rule::Rule;

/// How many of other policies are named.
const MOST_NAMES: usize = 3;

/// An account, as far as manifests tell two of them apart.
#[derive(Eq, PartialEq)]
enum Account<'a> {
    OfOperator,
    Secret { url: &'a str, namespace: &'a str, name: &'a str, key: &'a str },
    Elsewhere(ConnectionName),
}

impl<'a> Account<'a> {
    fn of(linted: &'a Linted<'_>, work: &'a Work) -> Option<Self> {
        Some(match &work.connection {
            ConnectionRef::Default => Self::OfOperator,
            ConnectionRef::Secret { url, namespace, secret, .. } => Self::Secret {
                url: url.as_str(),
                namespace,
                name: secret.name.as_str(),
                key: secret.key.as_str(),
            },
            ConnectionRef::Missing(_) => Self::Elsewhere(ConnectionName::of(
                linted.spec.connection.as_ref()?,
                linted.document.namespace(),
            )?),
        })
    }
}

/// What one policy does to others.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Harm {
    Covers,
    Overlaps,
    OverlapsByLabels,
    Erases,
}

/// What is wrong between any two of the policies; all that one of them does to others is one finding.
pub(super) fn check(policies: &[Linted<'_>], now: Timestamp) -> Vec<Finding> {
    let acting: Vec<_> = policies.iter().filter_map(|linted| Some((linted, acting(linted)?))).collect();
    let mut harms: BTreeMap<(usize, Harm), Vec<String>> = BTreeMap::new();
    for (index, (one, work)) in acting.iter().enumerate() {
        let account = Account::of(one, work);
        for (other_index, (other, others)) in acting.iter().enumerate() {
            if index != other_index
                && account == Account::of(other, others)
                && let Some(harm) = harm(work, others, index > other_index, now)
            {
                let name = format!("{} ({})", object(other.document), others.action);
                harms.entry((index, harm)).or_default().push(name);
            }
        }
    }
    let found = harms.into_iter().filter_map(|((index, harm), others)| {
        let (linted, _) = acting.get(index)?;
        Some(harm.finding(linted, &listed(&others)))
    });
    found.collect()
}

/// What a policy does, unless it does nothing.
fn acting<'a>(linted: &'a Linted<'_>) -> Option<&'a Work> {
    let work = linted.policy.work.as_ref().ok()?;
    (!work.dry_run && !linted.policy.suspend).then_some(work)
}

/// What a policy does to another. Of what both do to each other the delete is told, else the later one.
fn harm(work: &Work, others: &Work, is_later: bool, now: Timestamp) -> Option<Harm> {
    let (deletes, is_deleted) = (work.action == Action::Delete, others.action == Action::Delete);
    if deletes && !is_deleted && covers(work, others, now) {
        return Some(Harm::Covers);
    }
    if erases(work, others) && overlap(work, others, now) == Overlap::Possible {
        return Some(Harm::Erases);
    }
    let is_told = if deletes == is_deleted { is_later } else { deletes };
    if work.action == others.action || !is_told {
        return None;
    }
    match overlap(work, others, now) {
        Overlap::Possible => Some(Harm::Overlaps),
        // Which workflow runs have labels of both is known to their owner; only a delete cannot be undone.
        Overlap::OfLabels if deletes => Some(Harm::OverlapsByLabels),
        Overlap::OfLabels | Overlap::None => None,
    }
}

/// Whether a policy erases the labels by which another counts.
fn erases(work: &Work, others: &Work) -> bool {
    let counts =
        |work: &Work| work.by_listing.as_ref().is_some_and(|by_listing| by_listing.max_attempts.is_some());
    !work.overrides.labels.is_empty() && !counts(work) && counts(others)
}

impl Harm {
    fn finding(self, linted: &Linted<'_>, others: &str) -> Finding {
        let (rule, field, message) = match self {
            Self::Covers => (
                Rule::DeleteCovers,
                "spec.filters",
                format!(
                    "deletes everything that {others} would bring back, whichever runs first; narrow the delete, for \
                     example with olderThan"
                ),
            ),
            Self::Overlaps => (
                Rule::OverlappingActions,
                "spec.filters",
                format!(
                    "can select the same entries as {others}, and whichever runs first gets them; tell them apart by \
                     labels, ages, statuses or attempts"
                ),
            ),
            Self::OverlapsByLabels => (
                Rule::OverlappingActions,
                "spec.filters.labels",
                format!(
                    "selects by other labels than {others}; a workflow run that has labels of both can be deleted first"
                ),
            ),
            Self::Erases => (
                Rule::AttemptsErased,
                "spec.overrides.labels",
                format!(
                    "new labels without loopProtection erase the attempts that {others} counts; add loopProtection here \
                     too, or remove the labels"
                ),
            ),
        };
        let finding = Finding::new(rule, linted.document, field, message);
        if self == Self::OverlapsByLabels { finding.only_noted() } else { finding }
    }
}

/// The first few of them.
fn listed(names: &[String]) -> String {
    match names {
        [one] => one.clone(),
        [some @ .., last] if some.len() < MOST_NAMES => format!("{} and {last}", some.join(", ")),
        _ => {
            let (some, more) = names.split_at(MOST_NAMES.min(names.len()));
            format!("{} and {} more", some.join(", "), more.len())
        }
    }
}
