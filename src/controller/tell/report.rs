//! How policies and their runs are told in logs and traces.

use tracing::field::Empty;
use tracing::{Span, info, info_span};

use crate::controller::names::{Named, PolicyRef};
use dlq_crd::{PolicyRun, RunResult};
use dlq_policy::changes::duration;

/// What the trace of a run is named by: every process that works on it says the same. A spec that comes back has a run of
/// the same ID again, which starts later.
fn trace(uid: &str, run: &PolicyRun) -> String {
    format!("{uid}/{}/{}", run.id, run.start_time.timestamp().as_millisecond())
}

/// The span of one look at a run.
pub(crate) fn slice(policy: &PolicyRef, uid: &str, run: &PolicyRun, holder: &str) -> Span {
    info_span!(
        target: "trace",
        "slice",
        otel.trace = trace(uid, run),
        policy = %Named(policy),
        run_id = run.id,
        action = %run.action,
        holder
    )
}

/// The span of one write of a status.
pub(crate) fn status_write(policy: &PolicyRef) -> Span {
    info_span!(target: "trace", "status write", otel.client = true, policy = %Named(policy), otel.error = Empty)
}

/// The span of a whole run, which began in some slice before.
fn whole_run(policy: &PolicyRef, uid: &str, run: &PolicyRun) -> Span {
    let failed = matches!(run.result, Some(RunResult::Failed | RunResult::DeadlineExceeded));
    info_span!(
        target: "trace",
        "run",
        otel.trace = trace(uid, run),
        otel.root = true,
        otel.start_ms = run.start_time.timestamp().as_millisecond(),
        otel.error = failed.then_some(run.message.as_deref()).flatten(),
        policy = %Named(policy),
        run_id = run.id,
        action = %run.action,
        trigger = run.trigger.as_str(),
        dry_run = run.dry_run,
        generation = run.generation,
        requested_by = run.requested_by,
        result = run.result.map(display),
        reason = run.reason.map(display),
        pages = run.pages,
        processed = run.processed,
        rejected = run.rejected,
        not_found = run.not_found,
        skipped = run.skipped.total(),
        exhausted = run.exhausted,
        retries = run.retries,
        uncertain_pages = run.uncertain_pages,
        interruptions = run.interruptions
    )
}

/// The one line for each run, and its span, once its end is written.
pub(crate) fn run_ended(policy: &PolicyRef, uid: &str, run: &PolicyRun) {
    drop(whole_run(policy, uid, run));
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
        result = run.result.map(display),
        reason = run.reason.map(display),
        pages = run.pages,
        processed = run.processed,
        rejected = some(run.rejected),
        not_found = some(run.not_found),
        retries = some(run.retries),
        uncertain_pages = some(run.uncertain_pages),
        interruptions = some(run.interruptions),
        left_alone = some(run.left_alone),
        skipped = some(run.skipped.total()),
        exhausted = some(run.exhausted),
        duration_ms = u64::try_from(duration(run).as_millis()).unwrap_or_default(),
        "{}",
        run.message.as_deref().unwrap_or_default()
    );
}
