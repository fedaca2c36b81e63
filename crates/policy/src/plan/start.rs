//! A run that starts.

use jiff::Timestamp;

use super::facts::Facts;
use crate::run::window;
use crate::spec::{Policy, Selected, Work};
use dlq_crd::{MilliTime, PolicyRun, Skipped, Trigger};

/// A run that starts, and what its start makes of the schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// The run, not yet claimed.
    pub run: PolicyRun,
    /// The latest scheduled time that was missed, and how many were.
    pub missed: Option<(Timestamp, i64)>,
    /// The scheduled time that is due, and that a run by hand goes before.
    pub postponed: Option<Timestamp>,
}

/// The run that a trigger makes of a policy, in the time that Upstash reads. Nobody holds it yet.
pub(super) fn new_run(
    policy: &Policy,
    work: &Work,
    facts: &Facts,
    id: String,
    trigger: Trigger,
    now: Timestamp,
) -> PolicyRun {
    let window = match &work.selected {
        Selected::Ids(_) => None,
        Selected::Matching { from, to, .. } => {
            // Entries fail by Upstash's clock.
            let start = now.saturating_add(facts.clock_offset).unwrap_or(now);
            Some(window::freeze(*from, *to, start))
        }
    };
    PolicyRun {
        id,
        holder: None,
        revision: None,
        trigger,
        generation: policy.generation,
        action: work.action,
        dry_run: work.dry_run || policy.force_dry_run,
        scheduled_time: None,
        start_time: MilliTime::new(now),
        completion_time: None,
        result: None,
        reason: None,
        message: None,
        requested_by: None,
        requested_mode: None,
        spec_hash: None,
        connection_hash: work.connection.shared_hash(),
        request_reason: None,
        window,
        limits: Some(policy.limits.clone()),
        cursor: None,
        windows: Vec::new(),
        position: 0,
        pages: 0,
        processed: 0,
        not_found: 0,
        rejected: 0,
        left_alone: 0,
        skipped: Skipped::default(),
        exhausted: 0,
        returned: 0,
        retries: 0,
        uncertain_pages: 0,
        interruptions: 0,
        waiting_until: None,
        waiting_reason: None,
        sample_workflow_run_ids: Vec::new(),
        summary: None,
        matched: None,
        approval_id: None,
        approval_requested_time: None,
        approved_time: None,
    }
}
