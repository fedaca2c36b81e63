//! Schedules and windows: when a policy runs, and what is left in the DLQ then.

use dlq_crd::Action;
use dlq_policy::run::Bound;
use dlq_policy::spec::Selected;
use dlq_policy::status::LOOP_POSSIBLE;
use dlq_policy::{Schedule, plan};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::finding::Finding;
use super::policies::Linted;
use super::rule::Rule;

/// How many of the next times are shown.
const NEXT_TIMES: usize = 5;

/// When the policy runs, whether that can go round in a circle, and whether it ever finds something.
pub(super) fn check(linted: &Linted<'_>, retention: Option<SignedDuration>, now: Timestamp) -> Vec<Finding> {
    let Linted { document, spec, policy } = linted;
    let mut findings = Vec::new();
    let schedule = policy.schedule.as_ref().ok().and_then(Option::as_ref);
    let next = schedule.map(|schedule| next_times(schedule, now)).unwrap_or_default();
    if !next.is_empty() {
        let zone = spec.time_zone.as_ref().map_or("UTC", |zone| zone.as_str());
        let message = format!("runs next at {}", shown(&next, zone));
        findings.push(Finding::new(Rule::NextRuns, document, "spec.schedule", message));
    }
    if plan::may_loop(policy, now) {
        findings.push(Finding::new(Rule::PossibleLoop, document, "spec.schedule", LOOP_POSSIBLE));
    }
    let retention = retention.or_else(|| policy.backlog.as_ref().and_then(|backlog| backlog.retention));
    let Ok(work) = &policy.work else { return findings };
    let Selected::Matching { from, to, .. } = &work.selected else { return findings };
    if let Some((field, message)) = emptiness(*from, *to, retention, now) {
        findings.push(Finding::new(Rule::MatchesNothing, document, field, message));
    } else if let Some(retention) = retention
        && work.action != Action::Delete
    {
        let youngest = if let Some(Bound::Before(age)) = to { *age } else { SignedDuration::ZERO };
        let pause = next.windows(2).map(|pair| pair[1].duration_since(pair[0])).max().unwrap_or_default();
        if pause.saturating_add(youngest) > retention {
            let message = format!(
                "up to {pause:#} pass between two runs, and Upstash drops an entry after {retention:#}: one can be gone \
                 before the policy selects it; run more often"
            );
            findings.push(Finding::new(Rule::ExpiresUnseen, document, "spec.schedule", message));
        }
    }
    findings
}

fn next_times(schedule: &Schedule, now: Timestamp) -> Vec<Timestamp> {
    let next = |after: &Timestamp| schedule.next_after(*after, now);
    std::iter::successors(next(&now), next)
        .take(NEXT_TIMES)
        .map(|time| schedule.jittered(time, now))
        .collect()
}

fn shown(times: &[Timestamp], zone: &str) -> String {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let shown =
        times.iter().map(|time| time.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M:%S %Z").to_string());
    shown.collect::<Vec<_>>().join(", ")
}

/// The field and the reason, if no entry can be within the bounds now or later.
fn emptiness(
    from: Option<Bound>,
    to: Option<Bound>,
    retention: Option<SignedDuration>,
    now: Timestamp,
) -> Option<(&'static str, String)> {
    let ago = |age: SignedDuration| now.saturating_sub(age).unwrap_or(Timestamp::MIN);
    if let (Some(Bound::Before(age)), Some(Bound::At(to))) = (from, to)
        && to < ago(age)
    {
        let message = format!("{to} is longer ago than newerThan, {age:#}; remove one of the two");
        return Some(("spec.filters.toDate", message));
    }
    let retention = retention?;
    let way_out =
        format!("Upstash drops entries after {retention:#}; give a shorter age, or another --retention");
    match to? {
        Bound::Before(age) if age >= retention => {
            Some(("spec.filters.olderThan", format!("{age:#} selects nothing: {way_out}")))
        }
        Bound::At(to) if to <= ago(retention) => {
            let message =
                format!("{to} selects nothing: Upstash drops entries after {retention:#}; give a later date");
            Some(("spec.filters.toDate", message))
        }
        _ => None,
    }
}
