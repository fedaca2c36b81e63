//! Which instants of a schedule are due, over, or to come.

use jiff::{SignedDuration, Timestamp};

use super::schedule::Schedule;
use super::validate::Policy;
use crate::crd::{ConcurrencyPolicy, DlqPolicyStatus, PolicyRun, Trigger};

/// Whether a run for an instant whose jittered start is `start` may not start any more.
pub(crate) fn is_too_late(policy: &Policy, start: Timestamp, now: Timestamp) -> bool {
    policy.starting_deadline.is_some_and(|deadline| now.duration_since(start) > deadline)
}

/// A time that is farther ahead was written under a clock that was wrong. It would silence a policy until then. Smaller
/// steps back are lived through, so that no instant runs twice.
const FARTHEST_AHEAD: SignedDuration = SignedDuration::from_hours(24);

fn is_astray(time: Timestamp, now: Timestamp) -> bool {
    time.duration_since(now) > FARTHEST_AHEAD
}

/// Whether what the status says of a schedule was written under a clock that was far ahead.
pub(crate) fn are_times_astray(status: &DlqPolicyStatus, now: Timestamp) -> bool {
    [&status.schedule_since, &status.last_schedule_time, &status.last_missed_time]
        .into_iter()
        .flatten()
        .any(|time| is_astray(time.0, now))
}

/// Since when this schedule counts, when it is the one that the status speaks of.
pub(crate) fn schedule_since(
    schedule: &Schedule,
    status: &DlqPolicyStatus,
    now: Timestamp,
) -> Option<Timestamp> {
    let same = status.observed_schedule.as_deref() == Some(schedule.text());
    status.schedule_since.as_ref().filter(|_| same && !are_times_astray(status, now)).map(|time| time.0)
}

/// The latest instant that is dealt with.
pub(crate) fn handled_until(status: &DlqPolicyStatus, since: Timestamp) -> Timestamp {
    [status.last_schedule_time.as_ref(), status.last_missed_time.as_ref()]
        .into_iter()
        .flatten()
        .map(|time| time.0)
        .fold(since, Timestamp::max)
}

/// What is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Due {
    /// The latest instant.
    pub(crate) at: Timestamp,
    /// The latest one before it that nobody dealt with, and how many there are.
    pub(crate) skipped: Option<(Timestamp, i64)>,
}

/// What is due and neither dealt with nor over.
pub(crate) fn left_to_do(
    policy: &Policy,
    schedule: &Schedule,
    status: &DlqPolicyStatus,
    since: Timestamp,
    now: Timestamp,
) -> Option<Due> {
    let handled = handled_until(status, since);
    let over = over_until(policy, schedule, status, since, now);
    // A run by hand does not stand for the instants before it, which passed while nobody looked.
    let by_hand = last_run_under_forbid(policy, status, now).filter(|run| run.trigger == Trigger::Manual);
    let before_it =
        by_hand.and_then(|run| due(schedule, since, handled, run.start_time.timestamp().min(now)));
    let floor = before_it.map_or(over, |before| over.max(before));
    let skipped = |floor, at| {
        let latest = schedule.most_recent(floor, just_before(at), since)?;
        Some((latest, schedule.count_between(floor, at, since)))
    };
    match (before_it, due(schedule, since, floor, now)) {
        (None, at) => at.map(|at| Due { at, skipped: skipped(floor, at) }),
        (Some(at), None) => Some(Due { at, skipped: skipped(handled, at) }),
        (Some(before), Some(at)) => {
            let earlier = schedule.count_between(handled, before, since) + 1;
            let (latest, count) = skipped(floor, at).unwrap_or((before, 0));
            Some(Due { at, skipped: Some((latest, count + earlier)) })
        }
    }
}

fn last_run_under_forbid<'a>(
    policy: &Policy,
    status: &'a DlqPolicyStatus,
    now: Timestamp,
) -> Option<&'a PolicyRun> {
    let run = status.last_run.as_ref().filter(|_| policy.concurrency == ConcurrencyPolicy::Forbid)?;
    run.completion_time.is_none_or(|end| !is_astray(end.timestamp(), now)).then_some(run)
}

/// No later instant is dealt with or over.
pub(crate) fn over_until(
    policy: &Policy,
    schedule: &Schedule,
    status: &DlqPolicyStatus,
    since: Timestamp,
    now: Timestamp,
) -> Timestamp {
    let handled = handled_until(status, since);
    // Instants that passed while the last run went on are over. With Replace they ended it.
    let last_end = last_run_under_forbid(policy, status, now).and_then(|run| run.completion_time);
    last_end
        .and_then(|end| due(schedule, since, handled, end.timestamp()))
        .map_or(handled, |over| over.max(handled))
}

/// The latest instant after `floor` whose jittered start has come.
pub(crate) fn due(
    schedule: &Schedule,
    since: Timestamp,
    floor: Timestamp,
    now: Timestamp,
) -> Option<Timestamp> {
    let latest = schedule.most_recent(floor, now, since)?;
    if schedule.jittered(latest, since) <= now {
        Some(latest)
    } else {
        schedule.most_recent(floor, just_before(latest), since)
    }
}

/// The first jittered start after `now`.
pub(crate) fn next_start(
    schedule: &Schedule,
    since: Timestamp,
    floor: Timestamp,
    now: Timestamp,
) -> Option<Timestamp> {
    // Jitter never reaches the next instant, so only the latest one can still be to come.
    let pending = schedule
        .most_recent(floor, now, since)
        .map(|instant| schedule.jittered(instant, since))
        .filter(|start| *start > now);
    let following =
        || schedule.next_after(now.max(floor), since).map(|instant| schedule.jittered(instant, since));
    pending.or_else(following)
}

pub(crate) fn just_before(instant: Timestamp) -> Timestamp {
    instant.saturating_sub(SignedDuration::from_nanos(1)).unwrap_or(instant)
}
