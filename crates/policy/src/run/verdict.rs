//! What to do with an entry that a list shows, where a run selects by listing.

use jiff::Timestamp;

use super::attempts::{Attempts, NewLabels, next_labels, uncounted};
use super::judge::{self, Selects};
use crate::spec::by_listing::{ByListing, Statuses};
use crate::spec::expression::{Fault, Judged};
use crate::spec::policy::Work;
use crate::spec::selection::Selected;
use dlq_crd::{PolicyRun, Skipped};
use dlq_upstash::types::ListedEntry;

/// The status of a workflow that says that a retry is in vain, and the header that says so in any answer.
const NON_RETRYABLE: u16 = 489;
const NON_RETRYABLE_HEADER: &str = "upstash-nonretryable-error";

/// What to do with an entry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Act on it.
    Act(NewLabels),
    /// The run does not select it, whatever the list was asked for.
    NotSelected,
    /// `match` leaves it alone.
    Skipped(Why),
    /// It was acted on as often as it may be.
    Exhausted,
    /// It cannot be acted on: why, and what to do.
    Rejected(String),
}

/// Why `match` leaves an entry alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// `responseStatuses`, `excludeResponseStatuses`.
    Status,
    /// `skipNonRetryable`.
    NonRetryable,
    /// `attempts`.
    Attempts,
    /// `expression` is false.
    Expression,
    /// `expression` fails.
    ExpressionError,
    /// A field that is needed is missing.
    Unjudged,
}

impl Why {
    /// The word for it, as in a run's `skipped`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::NonRetryable => "nonRetryable",
            Self::Attempts => "attempts",
            Self::Expression => "expression",
            Self::ExpressionError => "expressionError",
            Self::Unjudged => "unjudged",
        }
    }

    /// One more.
    pub(crate) fn count(self, skipped: &mut Skipped) {
        let count = match self {
            Self::Status => &mut skipped.status,
            Self::NonRetryable => &mut skipped.non_retryable,
            Self::Attempts => &mut skipped.attempts,
            Self::Expression => &mut skipped.expression,
            Self::ExpressionError => &mut skipped.expression_error,
            Self::Unjudged => &mut skipped.unjudged,
        };
        *count = count.saturating_add(1);
    }
}

/// What a run decides by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    /// Criteria and window.
    pub(crate) selects: Selects<'a>,
    /// `match` and `loopProtection`.
    pub(crate) by_listing: &'a ByListing,
    /// The labels that every new workflow run gets; empty: its own.
    pub(crate) labels: &'a [String],
    /// The run's start.
    pub(crate) now: Timestamp,
}

/// What `run`, which does this work, does with an entry that a list shows. None where it does not decide on entries one by one: it
/// acts on all that its calls select.
pub fn verdict(work: &Work, run: &PolicyRun, entry: &ListedEntry) -> Option<Verdict> {
    Rules::of(work, run).map(|rules| rules.verdict(entry))
}

impl<'a> Rules<'a> {
    /// Of a run that selects by listing; none of another.
    pub(crate) fn of(work: &'a Work, run: &'a PolicyRun) -> Option<Self> {
        let (Selected::Matching { criteria, from, to }, Some(window), Some(by_listing)) =
            (&work.selected, &run.window, &work.by_listing)
        else {
            return None;
        };
        Some(Self {
            selects: Selects { criteria, window, is_bounded: from.is_some() || to.is_some() },
            by_listing,
            labels: &work.overrides.labels,
            now: run.start_time.timestamp(),
        })
    }
}

impl Rules<'_> {
    /// Decides. `match` comes before the limit of attempts, so that an entry which it leaves alone is not called exhausted; of
    /// one whose attempts cannot be read, it has nothing to say.
    pub(crate) fn verdict(self, entry: &ListedEntry) -> Verdict {
        match self.selects.judge(entry) {
            judge::Verdict::NotSelected => return Verdict::NotSelected,
            judge::Verdict::Unjudged => return Verdict::Skipped(Why::Unjudged),
            judge::Verdict::Selected => {}
        }
        let own = entry.labels.as_deref().unwrap_or_default();
        let read = Attempts::of(own);
        if read == Attempts::Unreadable && self.by_listing.max_attempts.is_some() {
            return Verdict::Exhausted;
        }
        if let Some(why) = self.skips(entry, own, read) {
            return Verdict::Skipped(why);
        }
        let (Some(most), Attempts::Known(attempts)) = (self.by_listing.max_attempts, read) else {
            return Verdict::Act(NewLabels::Unchanged);
        };
        if attempts >= most {
            return Verdict::Exhausted;
        }
        let labels = if self.labels.is_empty() { own } else { self.labels };
        match next_labels(labels, attempts) {
            Ok(labels) => Verdict::Act(NewLabels::These(labels)),
            Err(problem) => Verdict::Rejected(problem),
        }
    }

    /// Why `match` leaves the entry alone, if it does.
    fn skips(self, entry: &ListedEntry, own: &[String], read: Attempts) -> Option<Why> {
        let ByListing {
            response_statuses,
            exclude_response_statuses,
            skip_non_retryable,
            attempts: range,
            expression,
            max_attempts: _,
        } = self.by_listing;
        let is_in = |statuses: &[Statuses]| {
            entry.response_status.is_some_and(|own| statuses.iter().any(|wanted| wanted.contains(own)))
        };
        if !(response_statuses.is_empty() || is_in(response_statuses)) || is_in(exclude_response_statuses) {
            return Some(Why::Status);
        }
        if *skip_non_retryable && is_non_retryable(entry) {
            return Some(Why::NonRetryable);
        }
        let attempts = match read {
            Attempts::Known(attempts) => attempts,
            Attempts::Unreadable if range.is_some() || expression.is_some() => return Some(Why::Unjudged),
            Attempts::Unreadable => 0,
        };
        if range.is_some_and(|(min, max)| !(min..=max).contains(&attempts)) {
            return Some(Why::Attempts);
        }
        let labels = &uncounted(own);
        match expression.as_ref()?.is_true(Judged { entry, labels, attempts }, self.now) {
            Ok(true) => None,
            Ok(false) => Some(Why::Expression),
            Err(Fault::MissingField) => Some(Why::Unjudged),
            Err(Fault::Failed) => Some(Why::ExpressionError),
        }
    }
}

/// Whether the workflow said that a retry is in vain.
fn is_non_retryable(entry: &ListedEntry) -> bool {
    let values = entry.response_headers.get(NON_RETRYABLE_HEADER).into_iter().flatten();
    entry.response_status == Some(NON_RETRYABLE)
        || values.into_iter().any(|value| value.trim().eq_ignore_ascii_case("true"))
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
