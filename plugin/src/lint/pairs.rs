//! What two policies of one account do to each other.

use dlq_crd::Action;
use dlq_policy::{ConnectionName, ConnectionRef, Work};
use jiff::Timestamp;

use super::finding::{Finding, object};
use super::overlap::{Overlap, covers, overlap};
use super::policies::Linted;
use super::rule::Rule;

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

/// What is wrong between any two of the policies.
pub(super) fn check(policies: &[Linted<'_>], now: Timestamp) -> Vec<Finding> {
    let acting: Vec<_> = policies.iter().filter_map(|linted| Some((linted, acting(linted)?))).collect();
    let mut findings = Vec::new();
    for (index, (one, work)) in acting.iter().enumerate() {
        for (other, others) in &acting[index + 1..] {
            if Account::of(one, work) != Account::of(other, others) {
                continue;
            }
            let overlap = overlap(work, others, now);
            if overlap == Overlap::None {
                // A delete of everything selects IDs too, which are compared with nothing else.
                findings.extend(delete_covers(one, work, other, others, now));
                continue;
            }
            findings.extend(erased(one, work, other, others).or_else(|| erased(other, others, one, work)));
            if work.action != others.action {
                findings.push(
                    delete_covers(one, work, other, others, now)
                        .unwrap_or_else(|| overlapping(one, work, other, overlap)),
                );
            }
        }
    }
    findings
}

/// What a policy does, unless it does nothing.
fn acting<'a>(linted: &'a Linted<'_>) -> Option<&'a Work> {
    let work = linted.policy.work.as_ref().ok()?;
    (!work.dry_run && !linted.policy.suspend).then_some(work)
}

fn delete_covers(
    one: &Linted<'_>,
    work: &Work,
    other: &Linted<'_>,
    others: &Work,
    now: Timestamp,
) -> Option<Finding> {
    let (delete, wide, kept, narrow) = match (work.action, others.action) {
        (Action::Delete, Action::Delete) => return None,
        (Action::Delete, _) => (one, work, other, others),
        (_, Action::Delete) => (other, others, one, work),
        _ => return None,
    };
    covers(wide, narrow, now).then(|| {
        let message = format!(
            "deletes everything that {} would {}, whichever runs first; narrow the delete, for example with olderThan",
            object(kept.document),
            narrow.action
        );
        Finding::new(Rule::DeleteCovers, delete.document, "spec.filters", message)
    })
}

fn overlapping(one: &Linted<'_>, work: &Work, other: &Linted<'_>, overlap: Overlap) -> Finding {
    // The delete is the one to narrow.
    let (at, with) = if work.action == Action::Delete { (one, other) } else { (other, one) };
    let (with_name, verb) = (object(with.document), with.spec.action);
    if overlap == Overlap::OfLabels {
        let message = format!(
            "selects by other labels than {with_name}, which would {verb}: whichever runs first gets a workflow run that has \
             labels of both"
        );
        return Finding::new(Rule::OverlappingActions, at.document, "spec.filters.labels", message).as_note();
    }
    let message = format!(
        "can select the same entries as {with_name}, which would {verb} them: whichever runs first gets them; tell the \
         two apart by labels, ages, statuses or attempts"
    );
    Finding::new(Rule::OverlappingActions, at.document, "spec.filters", message)
}

/// Whether one erases the labels by which the other counts.
fn erased(one: &Linted<'_>, work: &Work, other: &Linted<'_>, others: &Work) -> Option<Finding> {
    let counts =
        |work: &Work| work.by_listing.as_ref().is_some_and(|by_listing| by_listing.max_attempts.is_some());
    (!work.overrides.labels.is_empty() && !counts(work) && counts(others)).then(|| {
        let message = format!(
            "new labels without loopProtection erase the attempts that {} counts; add loopProtection here too, or remove \
             the labels",
            object(other.document)
        );
        Finding::new(Rule::AttemptsErased, one.document, "spec.overrides.labels", message)
    })
}
