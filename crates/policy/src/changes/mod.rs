//! What a status says that the status before it did not: what is told of a policy, in events, metrics and logs.
//!
//! It follows from the two statuses alone, so that whatever was written is told, and told once: at once, or by the read
//! that finds out what became of a write without an answer.

mod event;
mod events;
mod in_doubt;

use jiff::{SignedDuration, Timestamp};

pub use self::event::{EventReason, ObjectEvent};
pub use self::in_doubt::{InDoubt, Settled};
use super::Policy;
use crate::run::approval::waited;
use dlq_crd::{Action, DlqPolicyStatus, PolicyRun, RunSummary, Trigger};

/// What is new in a status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// How late a run for a scheduled time started, if one did.
    pub lateness: Option<SignedDuration>,
    /// The run that ended, if one did.
    pub ended: Option<PolicyRun>,
    /// The entries that a run acted on. Dry runs act on none.
    pub processed: Option<(Action, u64)>,
    /// Calls whose outcome is unknown.
    pub uncertain_pages: u64,
    /// Workflow runs of earlier runs that were newly seen back in the DLQ.
    pub returned: u64,
    /// Scheduled times that were missed.
    pub missed: u64,
    /// In the order in which they are published.
    pub events: Vec<ObjectEvent>,
}

/// What `after` says that `before` did not. Nothing, if they are equal.
pub fn changes(policy: &Policy, before: &DlqPolicyStatus, after: &DlqPolicyStatus) -> Changes {
    let started = after.current_run.as_ref().filter(|run| !is_same(before.current_run.as_ref(), run));
    let grown = Grown::between(before, after);
    Changes {
        lateness: started.and_then(|run| lateness(policy, after, run)),
        ended: ended(before, after).cloned(),
        processed: grown.processed,
        uncertain_pages: grown.uncertain_pages,
        returned: returned(before, after),
        missed: growth(before.missed_schedules, after.missed_schedules),
        events: events::between(policy, before, after),
    }
}

/// Whether `run` is the run in `known`, in whatever state. A spec that comes back has a run of the same ID, which starts
/// later.
fn is_same(known: Option<&PolicyRun>, run: &PolicyRun) -> bool {
    known.is_some_and(|known| (&known.id, known.start_time) == (&run.id, run.start_time))
}

/// The run that ended, and of which the status before did not say so.
fn ended<'a>(before: &DlqPolicyStatus, after: &'a DlqPolicyStatus) -> Option<&'a PolicyRun> {
    after.last_run.as_ref().filter(|run| {
        before
            .last_run
            .as_ref()
            .is_none_or(|last| !is_same(Some(last), run) || last.completion_time != run.completion_time)
    })
}

/// By how much the counts of one run grew.
#[derive(Default)]
struct Grown {
    processed: Option<(Action, u64)>,
    uncertain_pages: u64,
}

impl Grown {
    fn between(before: &DlqPolicyStatus, after: &DlqPolicyStatus) -> Self {
        let Some(run) = after.current_run.as_ref().or(ended(before, after)) else { return Self::default() };
        let known = before.current_run.as_ref().filter(|known| is_same(Some(known), run));
        let known = |count: fn(&PolicyRun) -> i64| known.map_or(0, count);
        let processed = growth(known(|run| run.processed), run.processed);
        Self {
            processed: (processed > 0 && !run.dry_run).then_some((run.action, processed)),
            uncertain_pages: growth(known(|run| run.uncertain_pages), run.uncertain_pages),
        }
    }
}

/// How many more workflow runs of the runs in the history are known to be back in the DLQ.
fn returned(before: &DlqPolicyStatus, after: &DlqPolicyStatus) -> u64 {
    let known = |run: &RunSummary| {
        let earlier =
            before.history.iter().find(|known| (&known.id, known.start_time) == (&run.id, run.start_time));
        earlier.map_or(0, |known| known.returned)
    };
    after.history.iter().map(|run| growth(known(run), run.returned)).fold(0, u64::saturating_add)
}

fn growth(before: i64, after: i64) -> u64 {
    u64::try_from(after.saturating_sub(before)).unwrap_or(0)
}

/// How long a run that ended took, without its wait for an approval. Clocks can be set back meanwhile.
pub fn duration(run: &PolicyRun) -> SignedDuration {
    let end = run.completion_time.unwrap_or(run.start_time).timestamp();
    let took = end.duration_since(run.start_time.timestamp()).saturating_sub(waited(run));
    took.max(SignedDuration::ZERO)
}

/// By how much a run started after its scheduled time, jitter included.
fn lateness(policy: &Policy, status: &DlqPolicyStatus, run: &PolicyRun) -> Option<SignedDuration> {
    let scheduled = run.scheduled_time.filter(|_| run.trigger == Trigger::Schedule)?.timestamp();
    let schedule = policy.schedule.as_ref().ok()?.as_ref()?;
    let since = status.schedule_since.as_ref().map_or(Timestamp::UNIX_EPOCH, |since| since.0);
    let due = schedule.jittered(scheduled, since);
    Some(run.start_time.timestamp().duration_since(due).max(SignedDuration::ZERO))
}

#[cfg(test)]
mod tests;
