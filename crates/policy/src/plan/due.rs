//! Which scheduled times are due, past, or to come.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::circuit::is_circuit_open;
use crate::run::approval::awaited;
use crate::schedule::Schedule;
use crate::spec::policy::Policy;
use dlq_crd::{ConcurrencyPolicy, DlqPolicyStatus, PolicyRun};

/// Whether a run for a scheduled time whose jittered start is `start` may not start any more.
pub(crate) fn is_too_late(policy: &Policy, start: Timestamp, now: Timestamp) -> bool {
    policy.starting_deadline.is_some_and(|deadline| now.duration_since(start) > deadline)
}

/// A time that is farther ahead was written under a clock that was wrong. It would silence a policy until then. Smaller
/// steps back are lived through, so that no scheduled time runs twice.
const FARTHEST_AHEAD: SignedDuration = SignedDuration::from_hours(24);

pub(crate) fn is_astray(time: &Time, now: Timestamp) -> bool {
    time.0.duration_since(now) > FARTHEST_AHEAD
}

/// Whether what the status says of a schedule was written under a clock that was far ahead.
pub(crate) fn are_times_astray(status: &DlqPolicyStatus, now: Timestamp) -> bool {
    handled(status).chain(&status.schedule_since).any(|time| is_astray(time, now))
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

/// What the status says of scheduled times that need no further decision.
fn handled(status: &DlqPolicyStatus) -> impl Iterator<Item = &Time> {
    let DlqPolicyStatus {
        last_schedule_time,
        last_missed_time,
        last_skipped_time,
        pending_schedule_time,
        ..
    } = status;
    [last_schedule_time, last_missed_time, last_skipped_time, pending_schedule_time].into_iter().flatten()
}

/// The latest scheduled time that needs no further decision: it was run, missed, skipped or postponed.
pub(crate) fn handled_until(status: &DlqPolicyStatus, since: Timestamp) -> Timestamp {
    handled(status).map(|time| time.0).fold(since, Timestamp::max)
}

/// What is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Due {
    /// The latest scheduled time.
    pub(crate) at: Timestamp,
    /// The latest one before it that nobody dealt with, and how many there are.
    pub(crate) missed: Option<(Timestamp, i64)>,
}

/// The scheduled time that waits until a run by hand has ended.
fn postponed(status: &DlqPolicyStatus) -> Option<Timestamp> {
    status.pending_schedule_time.as_ref().map(|time| time.0)
}

/// When the next run starts, later than `now`.
pub(crate) fn next_run(
    schedule: &Schedule,
    status: &DlqPolicyStatus,
    since: Timestamp,
    now: Timestamp,
) -> Option<Timestamp> {
    // What was postponed may lie ahead where the clock was set back.
    let postponed = postponed(status).map(|at| schedule.jittered(at, since)).filter(|start| *start > now);
    postponed.into_iter().chain(next_start(schedule, since, handled_until(status, since), now)).min()
}

/// What is due, or was postponed by a run by hand.
pub(crate) fn left_to_do(
    schedule: &Schedule,
    status: &DlqPolicyStatus,
    since: Timestamp,
    now: Timestamp,
) -> Option<Due> {
    let handled = handled_until(status, since);
    let postponed = postponed(status).filter(|at| schedule.jittered(*at, since) <= now);
    let Some(at) = due(schedule, since, handled, now) else {
        return postponed.map(|at| Due { at, missed: None });
    };
    let between = schedule
        .most_recent(handled, just_before(at), since)
        .map(|latest| (latest, schedule.count_between(handled, at, since)));
    let missed = match (between, postponed) {
        (Some((latest, count)), Some(_)) => Some((latest, count + 1)),
        (None, Some(postponed)) => Some((postponed, 1)),
        (between, None) => between,
    };
    Some(Due { at, missed })
}

/// The latest scheduled time that came during `run`, where it does not replace the run: it is skipped for good.
pub(crate) fn skipped_during(
    policy: &Policy,
    status: &DlqPolicyStatus,
    run: &PolicyRun,
    now: Timestamp,
) -> Option<Timestamp> {
    let Ok(Some(schedule)) = &policy.schedule else { return None };
    if replaces(policy, status) {
        return None;
    }
    let since = schedule_since(schedule, status, now)?;
    let latest = due(schedule, since, handled_until(status, since), now)?;
    (schedule.jittered(latest, since) > run.start_time.timestamp()).then_some(latest)
}

/// Whether a scheduled time replaces the run that is under way: only where the next run could start.
pub fn replaces(policy: &Policy, status: &DlqPolicyStatus) -> bool {
    // Nobody has a chance to approve what the next tick replaces.
    let awaits_approval = status.current_run.as_ref().is_some_and(|run| awaited(run).is_some());
    // During a dry run that was asked for the policy may be held.
    policy.concurrency == ConcurrencyPolicy::Replace
        && !awaits_approval
        && !policy.is_suspended_or_paused()
        && !is_circuit_open(policy, status)
}

/// The latest scheduled time after `floor` whose jittered start has come.
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
pub fn next_start(
    schedule: &Schedule,
    since: Timestamp,
    floor: Timestamp,
    now: Timestamp,
) -> Option<Timestamp> {
    // Jitter never reaches the next scheduled time, so only the latest one can still be to come.
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
