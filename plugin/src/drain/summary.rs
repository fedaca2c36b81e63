//! What is said of a run that ended.

use std::fmt::Write as _;

use dlq_crd::{EntrySummary, PolicyRun, Reason, RunResult, ValueCount};
use dlq_policy::run::figures;
use dlq_upstash::error::visible;

use crate::see::words::count;

/// In a few lines: how it ended, and what of it is not known for sure.
pub(super) fn summary(name: &str, run: &PolicyRun) -> String {
    let result = run.result.map(|result| result.to_string()).unwrap_or_default();
    let message = match (about_token(run), run.result) {
        (Some(message), _) => message,
        // Its own message names the annotation by which runs in a cluster are cancelled.
        (None, Some(RunResult::Cancelled)) => figures(run),
        // These speak of the next run, which nothing starts here.
        (None, Some(RunResult::LimitReached | RunResult::DeadlineExceeded)) => {
            format!("{}; run drain again for the rest", figures(run))
        }
        (None, _) => run.message.clone().unwrap_or_default(),
    };
    let mut text = format!("{name}: {result}: {}\n", visible(&message));
    let mut line = |words: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {words}");
    };
    if run.uncertain_pages > 0 || run.interruptions > 0 {
        let unknown = (run.uncertain_pages > 0)
            .then(|| format!("the outcome of {} is unknown", count(run.uncertain_pages, "call", "calls")));
        let interrupted = (run.interruptions > 0)
            .then(|| format!("the run was interrupted {}", count(run.interruptions, "time", "times")));
        let why: Vec<_> = unknown.into_iter().chain(interrupted).collect();
        line(format!("the count is a lower bound: {}", why.join(", and ")));
    }
    if run.not_found > 0 {
        line(format!("not in the DLQ: {}", run.not_found));
    }
    if !run.sample_workflow_run_ids.is_empty() {
        line(format!(
            "new workflow runs, the first of them: {}",
            visible(&run.sample_workflow_run_ids.join(" "))
        ));
    }
    if let Some(EntrySummary { workflow_urls, response_statuses, labels, .. }) =
        run.summary.as_deref().filter(|_| run.dry_run)
    {
        for (what, counts) in
            [("workflow URLs", workflow_urls), ("response statuses", response_statuses), ("labels", labels)]
        {
            if !counts.is_empty() {
                line(format!("{what}: {}", told(counts)));
            }
        }
    }
    text
}

fn told(counts: &[ValueCount]) -> String {
    let counts: Vec<_> =
        counts.iter().map(|told| format!("{} ({})", visible(&told.value), told.count)).collect();
    counts.join(", ")
}

/// What a refused token leads to here, where the token is the person's own and in no Secret.
pub(crate) fn about_token(run: &PolicyRun) -> Option<String> {
    match run.reason? {
        Reason::Unauthorized => {
            Some("Upstash does not know the token; check QSTASH_TOKEN or --token-file, and that the URL is that of its region".to_owned())
        }
        Reason::Forbidden if !run.dry_run => {
            Some("Upstash does not let the token act, which is what it says of a read-only one; give one that may act, in QSTASH_TOKEN or --token-file".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
