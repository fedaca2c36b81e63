//! What a status that was written adds to the counts: read off the two statuses, so that whatever is told to people is
//! counted, and once.

use jiff::{SignedDuration, Timestamp};

use super::Policy;
use dlq_crd::{Action, DlqPolicyStatus, PolicyRun, RunResult, Trigger};

/// What was new in a status.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Instants of the schedule that were missed.
    pub missed: u64,
    /// How late a run for an instant started, if one did.
    pub lateness: Option<SignedDuration>,
    /// The run that ended, if one did.
    pub ended: Option<EndedRun>,
}

/// A run that ended, as it is counted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EndedRun {
    /// What it did.
    pub action: Action,
    /// What started it.
    pub trigger: Trigger,
    /// How it ended.
    pub result: RunResult,
    /// How long it took.
    pub duration: SignedDuration,
}

impl EndedRun {
    /// `None` as long as it goes on.
    pub fn of(run: &PolicyRun) -> Option<Self> {
        let end = run.completion_time?.timestamp();
        let duration = end.duration_since(run.start_time.timestamp()).max(SignedDuration::ZERO);
        Some(Self { action: run.action, trigger: run.trigger, result: run.result?, duration })
    }
}

/// What `after` has that `before` had not.
pub fn tally(policy: &Policy, before: &DlqPolicyStatus, after: &DlqPolicyStatus) -> Tally {
    let id = |run: &Option<PolicyRun>| run.as_ref().map(|run| run.id.clone());
    let started = after.current_run.as_ref().filter(|_| id(&before.current_run) != id(&after.current_run));
    let ended = after.last_run.as_ref().filter(|_| after.totals.runs > before.totals.runs);
    Tally {
        missed: u64::try_from(after.missed_schedules.saturating_sub(before.missed_schedules)).unwrap_or(0),
        lateness: started.and_then(|run| lateness(policy, after, run)),
        ended: ended.and_then(EndedRun::of),
    }
}

/// By how much a run started after its instant, jitter included.
fn lateness(policy: &Policy, status: &DlqPolicyStatus, run: &PolicyRun) -> Option<SignedDuration> {
    let instant = run.scheduled_time.filter(|_| run.trigger == Trigger::Schedule)?.timestamp();
    let schedule = policy.schedule.as_ref().ok()?.as_ref()?;
    let since = status.schedule_since.as_ref().map_or(Timestamp::UNIX_EPOCH, |since| since.0);
    let due = schedule.jittered(instant, since);
    Some(run.start_time.timestamp().duration_since(due).max(SignedDuration::ZERO))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Ending, Plan, Policy, plan, sample, status};

    fn at(clock: &str) -> Timestamp {
        format!("2026-11-20T{clock}Z").parse().unwrap()
    }

    fn policy() -> Policy {
        let fields = json!({ "schedule": "*/15 * * * *", "jitter": "10m", "startingDeadlineSeconds": 3600 });
        sample::policy(&fields, &[], &sample::permissions())
    }

    /// The status before a look, and after it.
    fn look(policy: &Policy, before: &DlqPolicyStatus, now: Timestamp) -> DlqPolicyStatus {
        let plan = plan(policy, before, now);
        let observed = status::observed(policy, before, &plan, now).0;
        match plan {
            Plan::Start(start) => status::claimed(policy, &observed, start, "pod-1/8c1f", now).0,
            _ => observed,
        }
    }

    #[test]
    fn a_scheduled_run_is_late_by_what_passed_since_its_jittered_start() {
        let policy = policy();
        let before = look(&policy, &DlqPolicyStatus::default(), at("12:00:01"));
        assert_eq!(tally(&policy, &DlqPolicyStatus::default(), &before), Tally::default());
        let due = before.next_schedule_time.clone().unwrap().0;
        assert!(due > at("12:15:00"), "the jitter moves it: {due}");
        let now = due + SignedDuration::from_millis(2_250);
        let after = look(&policy, &before, now);
        let lateness = tally(&policy, &before, &after).lateness.unwrap();
        // Times in a status have whole seconds.
        assert!(
            (lateness - SignedDuration::from_millis(2_250)).abs() < SignedDuration::from_secs(1),
            "{lateness}"
        );
        assert_eq!(tally(&policy, &after, &after), Tally::default());
    }

    #[test]
    fn a_run_that_is_taken_over_does_not_start_again() {
        let policy = policy();
        let before = look(&policy, &DlqPolicyStatus::default(), at("12:00:01"));
        let before = look(&policy, &before, at("12:26:00"));
        let taken = status::taken_over(before.current_run.as_ref().unwrap(), "pod-2/1");
        let after = DlqPolicyStatus { current_run: Some(taken), ..before.clone() };
        assert_eq!(tally(&policy, &before, &after), Tally::default());
    }

    #[test]
    fn the_instants_that_were_missed_are_counted_once() {
        let policy = policy();
        let before = look(&policy, &DlqPolicyStatus::default(), at("12:00:01"));
        let after = look(&policy, &before, at("13:12:00"));
        assert_eq!(tally(&policy, &before, &after).missed, 3);
        assert_eq!(tally(&policy, &after, &look(&policy, &after, at("13:12:01"))).missed, 0);
    }

    #[test]
    fn a_run_is_counted_when_its_end_is_written() {
        let policy = policy();
        let before = look(&policy, &DlqPolicyStatus::default(), at("12:00:01"));
        let running = look(&policy, &before, at("12:26:00"));
        let run = running.current_run.clone().unwrap();
        let ending = Ending::bad_request(&dlq_upstash::ApiError::transport("no", true));
        let after = status::finished(&policy, &running, &run, &ending, at("12:27:30")).0;
        let ended = EndedRun {
            action: Action::Resume,
            trigger: Trigger::Schedule,
            result: RunResult::Failed,
            duration: SignedDuration::from_secs(90),
        };
        assert_eq!(tally(&policy, &running, &after).ended, Some(ended.clone()));
        assert_eq!(tally(&policy, &after, &after).ended, None);
        assert_eq!(EndedRun::of(after.last_run.as_ref().unwrap()), Some(ended));
        assert_eq!(EndedRun::of(&run), None);
    }
}
