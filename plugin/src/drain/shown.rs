//! Shows a run as it is under way: a bar on a terminal, else a line from time to time.

use std::io::{IsTerminal, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dlq_crd::{PolicyRun, WaitingReason};
use dlq_policy::attempt::Answer;
use dlq_policy::run::figures;
use dlq_upstash::error::visible;
use dlq_upstash::types::Call;
use indicatif::{ProgressBar, ProgressStyle};

use super::ports::Watcher;
use crate::terminal::tell;

/// How long a line stands for what happened since.
const BETWEEN_LINES: Duration = Duration::from_secs(5);

/// Where a run is shown.
pub(super) struct Shown(Where);

enum Where {
    Bar(ProgressBar),
    Lines(Mutex<Option<Instant>>),
}

impl Shown {
    /// On standard error.
    pub(super) fn new() -> Self {
        if !stderr().is_terminal() {
            return Self(Where::Lines(Mutex::new(None)));
        }
        let bar = ProgressBar::new_spinner();
        style(&bar, "{spinner} {wide_msg}");
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(Where::Bar(bar))
    }

    /// Leaves a line.
    pub(super) fn line(&self, text: &str) {
        // Nothing of a policy or an answer may command the terminal.
        let text = visible(text);
        match &self.0 {
            Where::Bar(bar) => bar.suspend(|| say(&text)),
            Where::Lines(_) => say(&text),
        }
    }

    /// Makes room for a question, or for the summary.
    pub(super) fn clear(&self) {
        if let Where::Bar(bar) = &self.0 {
            bar.disable_steady_tick();
            bar.finish_and_clear();
        }
    }

    /// Shows it again.
    pub(super) fn again(&self) {
        if let Where::Bar(bar) = &self.0 {
            bar.reset();
            bar.enable_steady_tick(Duration::from_millis(120));
        }
    }

    fn bar(bar: &ProgressBar, run: &PolicyRun) {
        let whole = run.matched.or(run.limits.as_ref().and_then(|limits| limits.max_entries_per_run));
        if let Some(whole) = whole.and_then(|whole| u64::try_from(whole).ok())
            && bar.length() != Some(whole)
        {
            bar.set_length(whole);
            style(bar, "{spinner} [{bar:20}] {pos}/{len}, {eta} left: {wide_msg}");
        }
        bar.set_position(u64::try_from(run.processed).unwrap_or_default());
        bar.set_message(words(run));
    }
}

impl Default for Shown {
    fn default() -> Self {
        Self::new()
    }
}

impl Watcher for Shown {
    fn answered(&self, _: &PolicyRun, _: &Call, answer: &Answer) {
        if let Answer::Error { error, .. } = answer {
            self.line(&format!("a call failed: {error}"));
        }
    }

    fn works(&self, run: &PolicyRun) {
        match &self.0 {
            Where::Bar(bar) => Self::bar(bar, run),
            Where::Lines(last) => {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                let since = *last.get_or_insert_with(Instant::now);
                if since.elapsed() >= BETWEEN_LINES {
                    *last = Some(Instant::now());
                    say(&words(run));
                }
            }
        }
    }
}

/// Sets how a bar looks: one line, cut to the width of the terminal.
fn style(bar: &ProgressBar, template: &str) {
    // A template that cannot be read leaves it as it was.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

/// What a run did so far.
fn words(run: &PolicyRun) -> String {
    let counts_first = run.limits.as_ref().is_some_and(|limits| limits.approval_above.is_some());
    let done = if counts_first && !run.dry_run && run.matched.is_none() {
        "counting what would be acted on".to_owned()
    } else {
        figures(run)
    };
    match (run.waiting_reason, run.waiting_until) {
        (Some(WaitingReason::Throttled), Some(until)) => {
            format!("{done}; waits until {until}, as Upstash asked for it")
        }
        (_, Some(until)) => format!("{done}; repeats a call that failed at {until}"),
        _ => done,
    }
}

/// A line on standard error. Nobody is left to tell when it is closed.
fn say(text: &str) {
    let _ = tell(&format!("{text}\n"));
}
