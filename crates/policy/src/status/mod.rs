//! What the status says next. Every write of a status is made here, from the status before and what happened.

mod backlog;
mod conclude;
pub(crate) mod conditions;
pub mod connection;
pub(crate) mod readiness;
mod refusal;
mod requests;
mod revision;
mod schedule;
pub(crate) mod size;

use jiff::Timestamp;

use self::backlog::forget_others;
pub(crate) use self::backlog::looked;
use self::conclude::{conclude, cut};
pub use self::conditions::Truth;
use self::conditions::{find, seconds};
pub use self::readiness::LOOP_POSSIBLE;
use self::refusal::note_refusal;
use self::requests::handle_requests;
pub use self::revision::{is_next_revision, revised};
use self::schedule::{note_schedule, note_skipped};
use crate::plan::{Plan, Start, approved, is_circuit_reset, is_new_work, may_loop, refusal};
use crate::run::outcome::{Outcome, counts_as_failed};
use crate::run::{Activity, approval};
use crate::spec::policy::Policy;
use dlq_crd::{ConditionType, DlqPolicyStatus, PolicyRun, Reason, RequestedMode, RunResult, Trigger};

/// The status that a plan leads to, before anything is done.
pub fn observed(policy: &Policy, before: &DlqPolicyStatus, plan: &Plan, now: Timestamp) -> DlqPolicyStatus {
    let mut status = before.clone();
    // A limit that was lowered holds at once: a policy without a schedule may never run again.
    status.history.truncate(policy.history_limit);
    if is_circuit_reset(policy, before) {
        status.consecutive_failures = 0;
        status.label_probes.clear();
    }
    // What cannot be read now was told of when it could.
    if policy.work.is_ok() && policy.schedule.is_ok() {
        status.loop_possible = may_loop(policy, now);
    }
    status.refused_reason = refusal(before);
    if is_new_work(policy, before) {
        status.refused_reason = None;
        status.refused_secret = None;
    }
    forget_others(policy, &mut status);
    note_schedule(policy, before, plan, &mut status, now);
    // While a run waits for an approval nothing is written. What it skips is noted when its wait ends.
    if let Some(run) = &before.current_run
        && !matches!(plan, Plan::AwaitsApproval { .. })
    {
        note_skipped(policy, run, &mut status, now);
    }
    handle_requests(policy, before, plan, &mut status);
    if matches!(plan, Plan::Continue { .. } | Plan::Waiting { .. })
        && let Some(run) = &before.current_run
    {
        status.current_run = Some(approved(policy, run, now));
    }
    if let Plan::Missed { at, count, .. } = plan {
        status.last_missed_time = Some(seconds(*at));
        status.missed_schedules += count;
        status.pending_schedule_time = None;
    }
    let readiness = readiness::planned(policy, before, plan);
    let activity = status.current_run.as_ref().map(|run| activity(before, run, now));
    conclude(&mut status, policy, &readiness, activity, now);
    status
}

/// The status in which the run that starts belongs to `holder`: written before its first call.
pub fn claimed(
    policy: &Policy,
    observed: &DlqPolicyStatus,
    start: Start,
    holder: &str,
    now: Timestamp,
) -> DlqPolicyStatus {
    let Start { run, missed, postponed } = start;
    let mut status = observed.clone();
    if let Some((latest, count)) = missed {
        status.last_missed_time = Some(seconds(latest));
        status.missed_schedules += count;
    }
    status.pending_schedule_time = postponed.map(seconds);
    if let Some(at) = run.scheduled_time {
        status.last_schedule_time = Some(seconds(at.timestamp()));
    }
    if run.trigger == Trigger::Manual {
        status.last_handled_requested_at = policy.requests.run.as_ref().map(|request| request.value.clone());
    }
    // A dry run while the policy is held changes nothing: what is new is still to be done.
    if !(policy.is_suspended_or_paused() && run.requested_mode == Some(RequestedMode::DryRun)) {
        status.last_handled_spec_hash = Some(policy.spec_hash.clone());
    }
    status.processed = Some(0);
    status.skipped = skipped(policy, &run);
    status.current_run = Some(PolicyRun { holder: Some(holder.to_owned()), ..run });
    let readiness = readiness::ready_now(policy, &status);
    conclude(&mut status, policy, &readiness, Some(Activity::Working), now);
    status
}

/// A run that this process has to take up from its status alone. Unless it was handed back, nobody knows what was done
/// since the last checkpoint.
pub fn taken_over(run: &PolicyRun, holder: &str) -> PolicyRun {
    let handed_back = run.holder.as_ref().is_some_and(String::is_empty);
    PolicyRun {
        holder: Some(holder.to_owned()),
        interruptions: run.interruptions + i64::from(!handed_back),
        // The slot that another process waited for is not this one's.
        waiting_reason: run.waiting_reason.filter(|_| run.waiting_until.is_some()),
        ..run.clone()
    }
}

/// The status in which the run has no holder, so that another process can take it up. It says nothing new of the schedule.
pub fn released(before: &DlqPolicyStatus, run: PolicyRun) -> DlqPolicyStatus {
    let skipped = before.skipped.map(|_| left_by_choice(&run));
    DlqPolicyStatus { processed: Some(run.processed), skipped, current_run: Some(run), ..before.clone() }
}

/// The status during a run.
pub fn running(
    policy: &Policy,
    before: &DlqPolicyStatus,
    run: &PolicyRun,
    activity: Activity,
    now: Timestamp,
) -> DlqPolicyStatus {
    let mut status = before.clone();
    status.processed = Some(run.processed);
    status.skipped = skipped(policy, run);
    status.current_run = Some(PolicyRun { waiting_reason: activity.waiting_reason(), ..run.clone() });
    note_skipped(policy, run, &mut status, now);
    let readiness = readiness::ready_now(policy, &status);
    conclude(&mut status, policy, &readiness, Some(activity), now);
    status
}

/// The status while a run waits for an approval. No process holds it: it costs nothing, and any process sees what becomes of it.
pub fn awaiting_approval(
    policy: &Policy,
    before: &DlqPolicyStatus,
    run: &PolicyRun,
    now: Timestamp,
) -> DlqPolicyStatus {
    running(policy, before, run, Activity::AwaitingApproval, now)
}

/// The status after a run ended.
pub fn finished(
    policy: &Policy,
    before: &DlqPolicyStatus,
    run: &PolicyRun,
    outcome: &Outcome,
    now: Timestamp,
) -> DlqPolicyStatus {
    let mut status = before.clone();
    let run = PolicyRun {
        holder: None,
        revision: None,
        waiting_until: None,
        waiting_reason: None,
        completion_time: Some(now.into()),
        result: Some(outcome.result),
        reason: Some(outcome.reason),
        message: Some(cut(&outcome.message)),
        // Nothing continues them.
        windows: Vec::new(),
        ..run.clone()
    };
    let failed = matches!(outcome.result, RunResult::Failed | RunResult::DeadlineExceeded);
    // Before the failures are counted: what the circuit was during the run decides.
    note_skipped(policy, &run, &mut status, now);
    status.totals.runs += 1;
    status.totals.failed_runs += i64::from(failed);
    if !run.dry_run {
        status.totals.processed = status.totals.processed.saturating_add(run.processed);
    }
    match outcome.result {
        RunResult::Succeeded | RunResult::LimitReached => status.last_successful_time = Some(seconds(now)),
        RunResult::Failed | RunResult::DeadlineExceeded | RunResult::Cancelled => {}
    }
    status.consecutive_failures = failures_after(before.consecutive_failures, &run, outcome);
    if let Some(request) = policy.requests.cancel.as_ref().filter(|request| !request.too_long) {
        status.last_handled_cancel_at = Some(request.value.clone());
    }
    note_refusal(policy, &run, outcome, &mut status);
    status.processed = Some(run.processed);
    status.skipped = skipped(policy, &run);
    status.history.insert(0, (&run).into());
    status.history.truncate(policy.history_limit);
    status.current_run = None;
    status.last_run = Some(run);
    let readiness = readiness::ready_now(policy, &status);
    conclude(&mut status, policy, &readiness, None, now);
    status
}

/// What `match` and `loopProtection` left alone; none where the policy has neither.
fn skipped(policy: &Policy, run: &PolicyRun) -> Option<i64> {
    let left = left_by_choice(run);
    let is_by_listing = policy.work.as_ref().is_ok_and(|work| work.by_listing.is_some());
    (is_by_listing || left > 0).then_some(left)
}

fn left_by_choice(run: &PolicyRun) -> i64 {
    run.skipped.total().saturating_add(run.exhausted)
}

/// How many runs failed in a row, after this one.
fn failures_after(before: i64, run: &PolicyRun, outcome: &Outcome) -> i64 {
    match outcome.result {
        result if counts_as_failed(run.dry_run, result, outcome.reason) => before.saturating_add(1),
        RunResult::Succeeded | RunResult::LimitReached if !run.dry_run => 0,
        _ => before,
    }
}

/// What a run does that was last seen waiting, else what it is about to do.
pub fn activity(before: &DlqPolicyStatus, run: &PolicyRun, now: Timestamp) -> Activity {
    if approval::awaited(run).is_some() {
        return Activity::AwaitingApproval;
    }
    if run.waiting_until.is_none_or(|until| until.timestamp() <= now) {
        return Activity::Working;
    }
    if run.waiting_reason.is_some() {
        return Activity::of(run);
    }
    // An operator before this field was wrote it into the condition alone.
    [Activity::Throttled, Activity::Retrying]
        .into_iter()
        .find(|activity| is_running_because(before, activity.reason()))
        .unwrap_or(Activity::Working)
}

fn is_running_because(status: &DlqPolicyStatus, reason: Reason) -> bool {
    find(&status.conditions, ConditionType::Running).is_some_and(|running| running.reason == reason.as_str())
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
