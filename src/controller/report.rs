//! How policies and their runs are told in logs.

use std::fmt;

use jiff::Timestamp;
use tracing::info;

use super::context::PolicyRef;
use crate::crd::PolicyRun;
use crate::policy::Ending;

/// A policy in logs: `namespace/name`.
pub(crate) struct Named<'a>(pub(crate) &'a PolicyRef);

impl fmt::Display for Named<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.0.namespace.as_deref().unwrap_or_default(), self.0.name)
    }
}

/// The one line for each run, once its end is written.
pub(crate) fn run_ended(policy: &PolicyRef, run: &PolicyRun, ending: &Ending, now: Timestamp) {
    // What is nothing to worry about is left out.
    let some = |count: i64| (count > 0).then_some(count);
    info!(
        policy = %Named(policy),
        run_id = run.id,
        action = %run.action,
        trigger = run.trigger.as_str(),
        dry_run = run.dry_run,
        generation = run.generation,
        requested_by = run.requested_by,
        result = %ending.result,
        reason = %ending.reason,
        pages = run.pages,
        processed = run.processed,
        rejected = some(run.rejected),
        not_found = some(run.not_found),
        retries = some(run.retries),
        uncertain_pages = some(run.uncertain_pages),
        interruptions = some(run.interruptions),
        duration_ms = duration_ms(run, now),
        "{}",
        ending.message
    );
}

/// How long a run took. A clock can be set back meanwhile.
fn duration_ms(run: &PolicyRun, now: Timestamp) -> u64 {
    u64::try_from(now.duration_since(run.start_time.timestamp()).as_millis()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_called_by_namespace_and_name() {
        let policy = PolicyRef::new("drain").within("payments");
        assert_eq!(Named(&policy).to_string(), "payments/drain");
    }
}
