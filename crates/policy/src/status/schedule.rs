//! What the status remembers of the schedule.

use jiff::Timestamp;

use super::conditions::seconds;
use crate::plan::due::{are_times_astray, is_astray, skipped_during};
use crate::plan::{Plan, spoils_first_run, was_held};
use crate::spec::policy::Policy;
use dlq_crd::{DlqPolicyStatus, PolicyRun, SpecTrigger};

/// Remembers which scheduled times the run keeps from starting, so that no later run, request or edit forgets it.
pub(super) fn note_skipped(policy: &Policy, run: &PolicyRun, status: &mut DlqPolicyStatus, now: Timestamp) {
    if let Some(latest) = skipped_during(policy, status, run, now) {
        status.last_skipped_time = Some(seconds(latest));
    }
}

/// Remembers which schedule is in force since when. Leaving a state in which scheduled times pass counts as seeing the
/// schedule anew: what passed meanwhile is never caught up.
pub(super) fn note_schedule(
    policy: &Policy,
    before: &DlqPolicyStatus,
    plan: &Plan,
    status: &mut DlqPolicyStatus,
    now: Timestamp,
) {
    match &policy.schedule {
        Err(_) => {}
        Ok(None) => {
            status.observed_schedule = None;
            status.schedule_since = None;
            status.pending_schedule_time = None;
            if matches!(plan, Plan::Idle { .. }) && spoils_first_run(policy, before) {
                // It would start now, and for real.
                note_work(policy, before, status);
            }
            if policy.trigger == SpecTrigger::Manual {
                // Neither what is new nor another token starts a run, also not once the trigger is another one.
                status.refused_secret = None;
                note_work(policy, before, status);
            }
        }
        Ok(Some(schedule)) => {
            let is_held = matches!(
                plan,
                Plan::Invalid(_) | Plan::Suspended | Plan::Paused | Plan::CircuitOpen | Plan::Waiting { .. }
            );
            let are_astray = are_times_astray(before, now);
            if are_astray {
                for time in [
                    &mut status.last_schedule_time,
                    &mut status.last_missed_time,
                    &mut status.last_skipped_time,
                ] {
                    time.take_if(|time| is_astray(time, now));
                }
            }
            let first_seen = are_astray || before.observed_schedule.as_deref() != Some(schedule.text());
            if first_seen || (was_held(before) && !is_held) {
                status.observed_schedule = Some(schedule.text().to_owned());
                status.schedule_since = Some(seconds(now));
                status.pending_schedule_time = None;
            }
            // The next scheduled time tries the token again.
            status.refused_secret = None;
            note_work(policy, before, status);
        }
    }
}

/// Where new work starts no run, it is handled by being seen.
fn note_work(policy: &Policy, before: &DlqPolicyStatus, status: &mut DlqPolicyStatus) {
    if !policy.spec_hash.is_empty() && before.current_run.is_none() {
        status.last_handled_spec_hash = Some(policy.spec_hash.clone());
    }
}
