//! How a run goes on: which call comes next, what an answer changes, when it ends.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::activity::Activity;
use super::chunks::{Chunks, Doubt};
use super::ending::Ending;
use super::selection::Selected;
use super::validate::{ConnectionRef, Work};
use super::window;
use crate::crd::{Limits, MilliTime, PolicyRun, Reason};
use crate::upstash::error::{ApiError, ErrorClass};
use crate::upstash::types::{Action, Call, Criteria, Cursor, DlqId, Page, Selection};

/// So many pages without an entry in a row are taken for a circle.
const MAX_EMPTY_PAGES: u32 = 100;
const MAX_SAMPLES: usize = 10;

/// What a run does next.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one per policy or run, never many")]
pub enum Step {
    /// Send this.
    Call(Call),
    /// Wait until then.
    Wait(Timestamp),
    /// It is over.
    End(Ending),
}

/// What a failed call leads to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Failure {
    /// The run goes on: see [`Progress::next`].
    GoOn,
    /// The token was refused: somebody has to look for a newer one.
    TokenRefused,
}

/// A run and what this process knows of it beyond its status.
#[derive(Debug)]
pub struct Progress {
    work: Arc<Work>,
    limits: Limits,
    retry_limit: u32,
    run: PolicyRun,
    activity: Activity,
    ending: Option<Ending>,
    /// Where the next page begins.
    cursor: Option<Cursor>,
    /// Consecutive failed calls.
    failures: u32,
    /// Hashes of the cursors seen since the last progress.
    seen: HashSet<u64>,
    hasher: RandomState,
    empty_pages: u32,
    /// The pass without cursor at the end of a run that does not know all it did.
    is_last_pass: bool,
    /// A cursor was refused, and the run began again without it.
    restarted: bool,
    /// The action was refused: list, to tell a read-only token from one that may do nothing.
    probing: Option<String>,
    chunks: Chunks,
    /// Not before this, to hold `entriesPerSecond`.
    paced_until: Option<Timestamp>,
}

impl Progress {
    /// Takes up a run as its status tells it.
    pub fn new(work: Work, run: PolicyRun, retry_limit: u32) -> Self {
        let limits = run.limits.clone().unwrap_or_default();
        let cursor = run.cursor.clone().map(Cursor);
        // What came before hides which IDs were acted on: an unclean stop all that may have been done since the last
        // checkpoint, a lost answer those of one chunk.
        let doubt = match (run.dry_run, run.interruptions, run.uncertain_pages) {
            (true, ..) | (_, 0, 0) => Doubt::None,
            (_, 0, _) => Doubt::FirstChunk,
            _ => Doubt::All,
        };
        let chunks = Chunks::new(doubt);
        Self {
            work: Arc::new(work),
            limits,
            retry_limit,
            activity: Activity::Working,
            ending: None,
            cursor,
            failures: 0,
            seen: HashSet::new(),
            hasher: RandomState::new(),
            empty_pages: 0,
            is_last_pass: false,
            restarted: false,
            probing: None,
            chunks,
            paced_until: None,
            run,
        }
    }

    /// The same, known to be throttled or backing off while it waits.
    #[must_use]
    pub fn seen_as(self, activity: Activity) -> Self {
        Self { activity, ..self }
    }

    /// The run as it stands now.
    pub fn run(&self) -> &PolicyRun {
        &self.run
    }

    /// As whom the run acts.
    pub fn connection(&self) -> &ConnectionRef {
        &self.work.connection
    }

    /// What the run does.
    pub fn activity(&self) -> Activity {
        self.activity
    }

    /// What comes next.
    pub fn next(&mut self, now: Timestamp) -> Step {
        if let Some(ending) = &self.ending {
            return Step::End(ending.clone());
        }
        let deadline = self.deadline();
        if deadline.is_some_and(|deadline| now >= deadline) {
            let seconds = self.limits.active_deadline_seconds.unwrap_or_default();
            return self.end(Ending::deadline_exceeded(seconds));
        }
        let waiting = self.run.waiting_until.map(MilliTime::timestamp);
        if let Some(until) = waiting.max(self.paced_until).filter(|until| *until > now) {
            // A wait that Upstash asked for may be longer than the run may take.
            return Step::Wait(deadline.map_or(until, |deadline| until.min(deadline)));
        }
        self.run.waiting_until = None;
        self.activity = Activity::Working;
        match &Arc::clone(&self.work).selected {
            Selected::Matching { criteria, .. } => self.next_page(criteria),
            Selected::Ids(ids) => self.next_ids(ids),
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        let seconds = self.limits.active_deadline_seconds?;
        self.run.start_time.timestamp().checked_add(SignedDuration::from_secs(seconds)).ok()
    }

    fn next_page(&mut self, criteria: &Criteria) -> Step {
        let Some(frozen) = self.run.window.clone() else {
            let message = "the run has no window; its status was edited by hand";
            return self.end(Ending::failed(Reason::BadRequest, message));
        };
        if window::is_empty(&frozen) {
            return self.end(Ending::nothing_matched());
        }
        let criteria = Criteria {
            from_date: frozen.from_date.map(MilliTime::as_millisecond),
            to_date: Some(frozen.to_date.as_millisecond()),
            ..criteria.clone()
        };
        if self.probing.is_some() {
            return Step::Call(Call::List { criteria, cursor: None, count: 1 });
        }
        let Some(count) = self.count(self.limits.page_size) else { return self.end_at_limit() };
        let cursor = self.cursor.clone();
        Step::Call(if self.run.dry_run {
            Call::List { criteria, cursor, count }
        } else {
            Call::Bulk {
                action: self.work.api_action(),
                selection: Selection::Matching { criteria, cursor, count },
                overrides: self.work.overrides.clone(),
            }
        })
    }

    fn next_ids(&mut self, ids: &[DlqId]) -> Step {
        let position = usize::try_from(self.run.position).unwrap_or(usize::MAX);
        let Some(rest) = ids.get(position..).filter(|rest| !rest.is_empty()) else { return self.succeed() };
        if self.probing.is_some() {
            // Not a look at the ID: that it is not in the DLQ would tell nothing of the token.
            return Step::Call(Call::List { criteria: Criteria::default(), cursor: None, count: 1 });
        }
        let Some(count) = self.count(self.limits.page_size) else { return self.end_at_limit() };
        if self.run.dry_run {
            return Step::Call(Call::Get { id: rest[0].clone() });
        }
        let (action, overrides) = (self.work.api_action(), self.work.overrides.clone());
        if ids.len() == 1 && action == Action::Resume {
            return Step::Call(Call::Single { action, id: ids[0].clone(), overrides });
        }
        let chunk = self.chunks.next(rest.len(), usize::try_from(count).unwrap_or(1));
        let selection = Selection::Ids(rest[..chunk].to_vec());
        Step::Call(Call::Bulk { action, selection, overrides })
    }

    /// How many entries the next call may ask for: a page, what is left of the run's limit, a second's worth.
    /// `None` when nothing is left.
    fn count(&self, page_size: i32) -> Option<u32> {
        let left =
            self.limits.max_entries_per_run.map_or(i64::MAX, |most| most.saturating_sub(self.run.processed));
        let second = self.limits.entries_per_second.map_or(i64::MAX, |rate| i64::from(rate.max(1)));
        u32::try_from(left.min(second).min(i64::from(page_size.clamp(1, 100))))
            .ok()
            .filter(|count| *count > 0)
    }

    /// Folds an answer in.
    pub fn answered(&mut self, call: &Call, page: &Page, now: Timestamp) {
        if let Some(message) = self.probing.take() {
            self.ending = Some(Ending::read_only(&message));
            return;
        }
        self.failures = 0;
        self.run.waiting_until = None;
        self.run.pages += 1;
        let entries = i64::try_from(page.entries).unwrap_or(i64::MAX);
        self.run.processed = self.run.processed.saturating_add(entries);
        let room = MAX_SAMPLES - self.run.sample_workflow_run_ids.len().min(MAX_SAMPLES);
        let samples = page.workflow_run_ids.iter().filter(|id| id.len() <= 256).take(room).cloned();
        self.run.sample_workflow_run_ids.extend(samples);
        if let Some(rate) = self.limits.entries_per_second {
            let millis = entries.saturating_mul(1000) / i64::from(rate.max(1));
            let from =
                self.paced_until.filter(|until| *until > now - SignedDuration::from_secs(1)).unwrap_or(now);
            self.paced_until = from.checked_add(SignedDuration::from_millis(millis)).ok();
        }
        match call {
            Call::Bulk { selection: Selection::Matching { cursor, .. }, .. } | Call::List { cursor, .. } => {
                self.turn_page(cursor.as_ref(), page);
            }
            Call::Bulk { selection: Selection::Ids(ids), .. } => {
                let sent = i64::try_from(ids.len()).unwrap_or(i64::MAX);
                if !self.chunks.is_uncertain() {
                    self.run.not_found += (sent - entries).max(0);
                }
                self.run.position += sent;
                self.chunks.done();
            }
            Call::Single { .. } | Call::Get { .. } => {
                self.run.position += 1;
                self.chunks.done();
            }
        }
    }

    fn turn_page(&mut self, sent: Option<&Cursor>, page: &Page) {
        let acting = !self.run.dry_run;
        if page.entries > 0 {
            self.empty_pages = 0;
            if acting {
                self.seen.clear();
            }
        } else {
            self.empty_pages += 1;
        }
        if let Some(sent) = sent {
            self.seen.insert(self.hasher.hash_one(sent));
        }
        let Some(next) = &page.cursor else {
            if acting && !self.is_last_pass && (self.run.uncertain_pages > 0 || self.run.interruptions > 0) {
                // What a lost answer or a lost process left behind is before the cursor.
                self.is_last_pass = true;
                self.cursor = None;
                self.seen.clear();
                self.empty_pages = 0;
            } else {
                self.succeed();
            }
            return;
        };
        self.run.cursor = Some(next.0.clone());
        let repeated = !self.seen.insert(self.hasher.hash_one(next));
        if repeated && (page.entries == 0 || !acting) {
            let message = "the API gave a cursor that it had given before, without progress";
            self.ending = Some(Ending::failed(Reason::CursorLoop, message));
        } else if self.empty_pages >= MAX_EMPTY_PAGES {
            let message = format!("the API gave {MAX_EMPTY_PAGES} pages without an entry in a row");
            self.ending = Some(Ending::failed(Reason::CursorLoop, message));
        }
        self.cursor = Some(next.clone());
    }

    /// Folds a failure in. `jitter` is a random number from 0 to 1.
    pub fn failed(&mut self, call: &Call, error: &ApiError, now: Timestamp, jitter: f64) -> Failure {
        if error.may_have_acted {
            self.run.uncertain_pages += 1;
            self.chunks.doubt();
        }
        let repeatable = matches!(error.class, ErrorClass::RateLimited | ErrorClass::Unavailable);
        if error.class != ErrorClass::Unauthorized
            && !repeatable
            && let Some(message) = self.probing.take()
        {
            // Listing does not work either: the refusal of the action is what counts.
            self.ending = Some(Ending::failed(Reason::Forbidden, message));
            return Failure::GoOn;
        }
        match error.class {
            ErrorClass::RateLimited | ErrorClass::Unavailable => self.retry(error, now, jitter),
            ErrorClass::Unauthorized => return Failure::TokenRefused,
            ErrorClass::Forbidden if call.operation().acts() => self.probing = Some(error.to_string()),
            ErrorClass::Forbidden => {
                self.ending = Some(Ending::failed(Reason::Forbidden, error.to_string()));
            }
            ErrorClass::NotFound => self.not_found(call, error),
            ErrorClass::Refused if self.cursor.is_some() && !self.restarted => {
                // Cursors go stale; what was acted on is gone from the DLQ, so beginning again repeats nothing.
                self.restarted = true;
                self.run.retries += 1;
                self.cursor = None;
                self.seen.clear();
                if self.run.dry_run {
                    // A list shows the same entries again.
                    self.run.processed = 0;
                }
            }
            ErrorClass::Refused | ErrorClass::Unexpected => {
                self.ending = Some(Ending::bad_request(error));
            }
        }
        Failure::GoOn
    }

    /// The call was given up on: nobody knows whether it acted.
    pub fn abandoned(&mut self, call: &Call) {
        if call.operation().acts() {
            self.run.uncertain_pages += 1;
            self.chunks.doubt();
        }
    }

    fn retry(&mut self, error: &ApiError, now: Timestamp, jitter: f64) {
        self.failures += 1;
        let limited = error.class == ErrorClass::RateLimited;
        if self.failures >= self.retry_limit {
            let reason = if limited { Reason::RateLimited } else { Reason::UpstreamUnavailable };
            let message = format!("gave up after {} calls in a row failed; the last: {error}", self.failures);
            self.ending = Some(Ending::failed(reason, message));
            return;
        }
        self.run.retries += 1;
        let backoff = super::backoff::delay(self.failures, jitter);
        let wait = error.retry_after.unwrap_or(Duration::ZERO).max(backoff);
        self.activity = if limited { Activity::Throttled } else { Activity::Retrying };
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::ZERO);
        self.run.waiting_until = now.checked_add(wait).ok().map(Into::into);
    }

    fn not_found(&mut self, call: &Call, error: &ApiError) {
        match call {
            Call::Bulk { selection: Selection::Ids(ids), .. } if ids.len() > 1 => {
                self.failures = 0;
                self.chunks.halve(ids.len());
            }
            Call::Bulk { selection: Selection::Ids(_), .. } | Call::Single { .. } | Call::Get { .. } => {
                self.failures = 0;
                self.run.pages += 1;
                if !self.chunks.is_uncertain() {
                    self.run.not_found += 1;
                }
                self.run.position += 1;
                self.chunks.done();
            }
            Call::Bulk { .. } | Call::List { .. } => self.ending = Some(Ending::bad_request(error)),
        }
    }

    /// Ends the run for want of a call that can be sent.
    pub fn unsendable(&mut self, problem: &str) {
        self.ending = Some(Ending::failed(Reason::BadRequest, problem));
    }

    fn end_at_limit(&mut self) -> Step {
        self.end(Ending::limit_reached(self.limits.max_entries_per_run.unwrap_or_default()))
    }

    fn succeed(&mut self) -> Step {
        self.end(Ending::succeeded(&self.run))
    }

    fn end(&mut self, ending: Ending) -> Step {
        self.ending = Some(ending.clone());
        Step::End(ending)
    }
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
