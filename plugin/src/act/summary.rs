//! What is said of a run at its end.

use dlq_crd::{PolicyRun, Reason, RunResult};

use crate::cluster::Stored;
use crate::outcome::Outcome;
use crate::see::status::{summarized, what_was_done};
use crate::see::trouble::{command, doubts};
use crate::see::words::{age, number, sentence};
use crate::terminal::{Look, Paint, visible};

/// How the command ends whose run ended so.
pub(super) fn outcome(run: &PolicyRun, fail_if_empty: bool) -> Outcome {
    let is_empty = run.processed == 0 && run.rejected == 0 && run.uncertain_pages == 0;
    match run.result {
        Some(RunResult::Succeeded | RunResult::LimitReached) if fail_if_empty && is_empty => Outcome::Empty,
        // A spent budget is a limit, and leaves entries: it failed at nothing.
        Some(RunResult::Succeeded | RunResult::LimitReached) => Outcome::Done,
        Some(RunResult::Failed | RunResult::Cancelled | RunResult::DeadlineExceeded) | None => {
            Outcome::RunFailed
        }
    }
}

/// How the run ended, in lines.
pub(super) fn render(policy: &Stored, run: &PolicyRun, look: Look) -> String {
    let result = run.result.map_or("ended", RunResult::as_str);
    let reason = run.reason.map(Reason::as_str).filter(|reason| !["RunSucceeded", result].contains(reason));
    let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
    let paint = match run.result {
        Some(RunResult::Succeeded) => Paint::Good,
        Some(RunResult::LimitReached | RunResult::Cancelled) => Paint::Warning,
        Some(RunResult::Failed | RunResult::DeadlineExceeded) | None => Paint::Bad,
    };
    let took = run.completion_time.map_or_else(String::new, |end| {
        format!(" after {}", age(run.start_time.timestamp(), end.timestamp()))
    });
    let mut lines = vec![format!("{}{reason}{took}: {}", look.paint(paint, result), what_was_done(run))];
    // The message of a run that went well says the same.
    let message = run.message.as_deref().filter(|message| !message.contains(&run.processed.to_string()));
    lines.extend(message.map(|message| format!("  {}", sentence(&visible(message)))));
    let left = [
        (run.rejected, "refused by Upstash"),
        (run.not_found, "not in the DLQ"),
        (run.skipped.total(), "skipped by match"),
        (run.exhausted, "acted on often enough before"),
    ];
    let left: Vec<_> = left
        .into_iter()
        .filter(|(many, _)| *many > 0)
        .map(|(many, what)| format!("{} {what}", number(many)))
        .collect();
    if !left.is_empty() {
        lines.push(format!("  {}", left.join("; ")));
    }
    lines.extend(doubts(run.uncertain_pages, run.interruptions).map(|doubts| format!("  {doubts}")));
    lines.extend(
        run.summary
            .iter()
            .flat_map(|summary| summarized(summary))
            .map(|line| format!("  {}", visible(&line))),
    );
    let samples: Vec<_> = run.sample_workflow_run_ids.iter().take(3).map(|id| visible(id)).collect();
    if !samples.is_empty() {
        lines.push(format!("  new workflow runs: {}, …", samples.join(", ")));
    }
    if outcome(run, false) == Outcome::RunFailed {
        lines.push(format!("  {} tells what to do", command("status", policy)));
    }
    lines.into_iter().map(|line| line + "\n").collect()
}
