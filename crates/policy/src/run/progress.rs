//! How a run continues: which call comes next, what an answer changes, when it ends.

use std::fmt::Display;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::activity::Activity;
use super::bisection::Bisection;
use super::chunks::{Chunks, Doubt, MAX_CHUNK};
use super::cursors::{Cursors, Turned};
use super::listing::{Listing, anew};
use super::outcome::{Outcome, are_all_refused};
use super::pace::{Pace, most_of_one_call};
use super::seen::Seen;
use crate::spec::ConnectionRef;
use crate::spec::policy::Work;
use crate::spec::selection::Selected;
use dlq_crd::{Limits, PolicyRun, Reason};
use dlq_upstash::error::ApiError;
use dlq_upstash::types::{Call, Cursor, Page, Selection};

const MAX_SAMPLES: usize = 10;

/// What a run does next.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one per policy or run, never many")]
pub enum Step {
    /// Send this.
    Call(Call),
    /// Wait until then.
    Wait(Timestamp),
    /// It ended.
    End(Outcome),
}

/// What a failed call leads to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Failure {
    /// The run continues: see [`Progress::next`].
    GoOn,
    /// The token was refused: somebody has to look for a newer one.
    TokenRefused,
}

/// A question beside the run's work.
#[derive(Debug)]
enum Probe {
    /// The action was refused with 403: does listing work, so that the token is a read-only one?
    Token(String),
    /// An entry was refused, and none was acted on so far: is the request refused whatever the entry? With these labels.
    Request(Vec<String>),
}

/// A run and what this process knows of it beyond its status.
#[derive(Debug)]
pub struct Progress {
    work: Arc<Work>,
    limits: Limits,
    retry_limit: u32,
    run: PolicyRun,
    outcome: Option<Outcome>,
    cursors: Cursors,
    /// Consecutive failed calls.
    failures: u32,
    probe: Option<Probe>,
    /// The request is known to be fine: entries are refused for themselves.
    is_request_fine: bool,
    /// The page that was refused.
    bisection: Option<Bisection>,
    /// Of the last page: there is no cursor behind it.
    rejected_since_cursor: i64,
    /// Likewise.
    left_alone_since_cursor: i64,
    /// What the API said of the last entry that it refused.
    refusal: Option<ApiError>,
    /// What a run that selects by listing has in hand.
    listing: Option<Listing>,
    chunks: Chunks,
    /// How many entries calls of unknown outcome may have acted on.
    doubted: i64,
    pace: Pace,
    /// The longest that `waitingUntil` may be away.
    longest_wait: SignedDuration,
    /// How many entries one list may show without being too large.
    most_listed: u32,
    /// What a dry run saw.
    seen: Seen,
}

/// The longest wait that an answer may ask for.
const LONGEST_ASKED: SignedDuration = SignedDuration::from_hours(1);

impl Progress {
    /// Takes up a run as its status tells it.
    pub fn new(work: Work, run: PolicyRun, retry_limit: u32) -> Self {
        let limits = run.limits.clone().unwrap_or_default();
        let cursors = Cursors::at(run.cursor.clone().map(Cursor));
        // What came before hides which IDs were acted on: an unclean stop all that may have been done since the last
        // checkpoint, a lost answer those of one chunk.
        let doubt = match (run.dry_run, run.interruptions, run.uncertain_pages) {
            (true, ..) | (_, 0, 0) => Doubt::None,
            (_, 0, _) => Doubt::FirstChunk,
            _ => Doubt::All,
        };
        let chunks = Chunks::new(doubt);
        let at_once = match &work.selected {
            Selected::Matching { .. } if work.by_listing.is_none() => usize::MAX,
            Selected::Matching { .. } => MAX_CHUNK,
            Selected::Ids(ids) => ids.len().min(MAX_CHUNK),
        };
        let at_once = i64::try_from(at_once).unwrap_or(i64::MAX);
        let listing = work.by_listing.as_ref().map(|_| Listing::default());
        let run = if listing.is_some() { anew(run) } else { run };
        let cursors = if listing.is_some() { Cursors::at(None) } else { cursors };
        let is_of_ids = matches!(work.selected, Selected::Ids(_));
        let doubted = run.uncertain_pages.saturating_mul(most_of_one_call(&limits).min(at_once));
        Self {
            work: Arc::new(work),
            pace: Pace::new(limits.entries_per_second),
            limits,
            retry_limit,
            outcome: None,
            cursors,
            failures: 0,
            probe: None,
            // Of IDs, `rejected` is written before the question is answered.
            is_request_fine: run.processed > 0 || (run.rejected > 0 && !is_of_ids),
            bisection: None,
            rejected_since_cursor: 0,
            left_alone_since_cursor: 0,
            refusal: None,
            listing,
            chunks,
            doubted,
            longest_wait: LONGEST_ASKED,
            most_listed: u32::MAX,
            seen: Seen::from(run.summary.as_deref()),
            run,
        }
    }

    /// The same, known to be throttled or backing off while it waits.
    #[must_use]
    pub fn seen_as(self, activity: Activity) -> Self {
        let run = PolicyRun { waiting_reason: activity.waiting_reason(), ..self.run };
        Self { run, ..self }
    }

    /// The run as another process could take it up: what was refused since the cursor comes by again there.
    pub fn run(&self) -> &PolicyRun {
        &self.run
    }

    /// The run as it is if it ends here.
    pub fn ended_run(&self) -> PolicyRun {
        let of_page = |count: fn(&Bisection) -> i64| self.bisection.as_ref().map_or(0, count);
        PolicyRun {
            rejected: self.run.rejected + self.rejected_since_cursor + of_page(Bisection::rejected),
            left_alone: self.run.left_alone + self.left_alone_since_cursor + of_page(Bisection::left_alone),
            ..self.run.clone()
        }
    }

    /// As whom the run acts.
    pub fn connection(&self) -> &ConnectionRef {
        &self.work.connection
    }

    /// The run for whoever takes it up.
    pub fn handed_back(&self) -> PolicyRun {
        PolicyRun { holder: Some(String::new()), ..self.run.clone() }
    }

    /// What the run does.
    pub fn activity(&self) -> Activity {
        Activity::of(&self.run)
    }

    /// What comes next. It may be asked without anything being sent.
    pub fn next(&mut self, now: Timestamp) -> Step {
        if let Some(outcome) = self.outcome.clone() {
            return self.end(outcome);
        }
        let deadline = self.deadline();
        if deadline.is_some_and(|deadline| now >= deadline) {
            return self.end(Outcome::deadline_exceeded(&self.run));
        }
        // A clock that is set back makes no wait longer.
        let latest = now.saturating_add(self.longest_wait).unwrap_or(now);
        let waiting = self.run.waiting_until.map(|until| until.timestamp().min(latest));
        self.run.waiting_until = waiting.map(Into::into);
        if let Some(until) = waiting.max(self.pace.until(now)).filter(|until| *until > now) {
            // A wait that Upstash asked for may be longer than the run may take.
            return Step::Wait(deadline.map_or(until, |deadline| until.min(deadline)));
        }
        self.run.waiting_until = None;
        self.run.waiting_reason = None;
        match &Arc::clone(&self.work).selected {
            Selected::Matching { criteria, .. } => self.next_of_window(criteria),
            Selected::Ids(ids) => self.next_ids(ids),
        }
    }

    /// When the run must be over.
    pub fn deadline(&self) -> Option<Timestamp> {
        deadline(&self.run)
    }

    /// Folds an answer in.
    pub fn answered(&mut self, call: &Call, page: &Page, now: Timestamp) {
        self.failures = 0;
        self.run.waiting_until = None;
        match self.probe.take() {
            Some(Probe::Token(message)) => return self.outcome = Some(Outcome::read_only(&message)),
            Some(Probe::Request(_)) => return self.request_is_fine(),
            None => {}
        }
        if self.bisection.is_some() && matches!(call, Call::List { .. }) {
            return self.list(page);
        }
        if self.listing.is_some() && matches!(call, Call::List { .. }) {
            return self.listed(page, now);
        }
        self.run.pages += 1;
        let entries = i64::try_from(page.entries).unwrap_or(i64::MAX);
        self.run.processed = self.run.processed.saturating_add(entries);
        let room = MAX_SAMPLES - self.run.sample_workflow_run_ids.len().min(MAX_SAMPLES);
        let samples = page.workflow_run_ids.iter().filter(|id| id.len() <= 256).take(room).cloned();
        self.run.sample_workflow_run_ids.extend(samples);
        self.pace.spend(entries, now);
        self.is_request_fine |= entries > 0;
        if self.run.dry_run {
            page.listed.iter().for_each(|entry| self.seen.add(entry));
            self.run.summary = self.seen.summary().map(Box::new);
        }
        match call {
            Call::Bulk { selection: Selection::Matching { .. }, .. } | Call::List { .. } => {
                self.turn_page(entries > 0, entries > 0 && !self.run.dry_run, page.cursor.as_ref());
            }
            Call::Bulk { selection: Selection::Ids(ids), .. } if self.bisection.is_some() => {
                self.bisect(|bisection| bisection.acted(ids.len(), page.entries));
            }
            Call::Bulk { selection: Selection::Ids(ids), overrides, .. } if self.listing.is_some() => {
                self.acted_on_listed(ids.len(), page, &overrides.labels, now);
            }
            Call::Bulk { selection: Selection::Ids(ids), .. } => {
                let sent = i64::try_from(ids.len()).unwrap_or(i64::MAX);
                if !self.chunks.is_uncertain() {
                    self.run.not_found += (sent - entries).max(0);
                }
                self.run.position += sent;
                self.chunks.done(entries == sent);
            }
            Call::Single { .. } | Call::Get { .. } => {
                self.run.position += 1;
                self.chunks.done(true);
            }
        }
    }

    fn turn_page(&mut self, shown: bool, progressed: bool, next: Option<&Cursor>) {
        let Some(next) = next else {
            let is_unsure = self.run.uncertain_pages > 0 || self.run.interruptions > 0;
            // What a lost answer or a lost process left behind is before the cursor.
            if !self.run.dry_run && is_unsure && self.cursors.last_pass() {
                self.begin_again();
            } else {
                self.succeed();
            }
            return;
        };
        self.run.cursor = Some(next.0.clone());
        self.run.rejected += std::mem::take(&mut self.rejected_since_cursor);
        self.run.left_alone += std::mem::take(&mut self.left_alone_since_cursor);
        if let Err(message) = self.cursors.turn(Turned { shown, progressed }, next) {
            self.outcome = Some(Outcome::cursor_loop(&message));
        }
    }

    /// What the API refuses, and what a dry run lists, comes by again in a new pass.
    fn begin_again(&mut self) {
        self.run = anew(self.run.clone());
        self.rejected_since_cursor = 0;
        self.left_alone_since_cursor = 0;
        self.list_again();
        if self.run.dry_run {
            self.seen = Seen::default();
        }
    }

    /// Ends the run for want of a call that can be sent.
    pub fn unsendable(&mut self, problem: &str) {
        self.outcome = Some(Outcome::failed(Reason::BadRequest, problem));
    }

    fn end_at_limit(&mut self) -> Step {
        self.end(Outcome::limit_reached(self.limits.max_entries_per_run.unwrap_or_default()))
    }

    fn succeed(&mut self) -> Step {
        let run = &self.ended_run();
        let all_refused = are_all_refused(run);
        let unsendable = self.listing.as_ref().and_then(|listing| listing.unsendable.as_ref());
        let outcome = match (&self.work.selected, &self.refusal) {
            // Entries that stay may not stop a policy for good. Who names one wants to know.
            (Selected::Ids(_), Some(refusal)) if all_refused => Outcome::bad_request(refusal),
            (Selected::Ids(_), None) if all_refused => Outcome::ids_refused(),
            (_, Some(refusal)) => Outcome::succeeded(run, Some(refusal)),
            (_, None) => Outcome::succeeded(run, unsendable.map(|problem| problem as &dyn Display)),
        };
        self.end(outcome)
    }

    fn end(&mut self, outcome: Outcome) -> Step {
        self.outcome = Some(outcome.clone());
        Step::End(outcome.leaving_alone(self.ended_run().left_alone))
    }
}

/// When a run must be over, by the limits that it began with.
pub fn deadline(run: &PolicyRun) -> Option<Timestamp> {
    let seconds = run.limits.as_ref()?.active_deadline_seconds?;
    run.start_time.timestamp().checked_add(SignedDuration::from_secs(seconds)).ok()
}

mod apart;
mod calls;
mod failures;
mod listing;

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
