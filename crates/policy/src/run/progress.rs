//! How a run continues: which call comes next, what an answer changes, when it ends.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::activity::Activity;
use super::approval::{self, Tally, counts_first};
use super::batch::Batch;
use super::budgeted::SharedBudget;
use super::chunks::MAX_CHUNK;
use super::flights::Flights;
use super::listing::{Listing, anew, uncounted};
use super::outcome::{Outcome, are_all_refused};
use super::pace::{Pace, most_of_one_call, takes_several_calls};
use super::pages::Pages;
use super::seen::Seen;
use super::split::Order;
use super::workers::Workers;
use crate::spec::ConnectionRef;
use crate::spec::policy::Work;
use crate::spec::selection::Selected;
use dlq_crd::{Limits, PolicyRun};
use dlq_upstash::error::ApiError;
use dlq_upstash::types::Call;

/// The most that the cursors of a run take in its status, all together.
const MAX_CURSOR_BYTES: usize = 16 * 1024;

/// What a run does next.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one per policy or run, never many")]
pub enum Step {
    /// Send this, and say so: see [`Progress::sent`].
    Call(Call),
    /// Wait until then.
    Wait(Timestamp),
    /// Wait for the answer to a call under way.
    Await,
    /// Ask for an allowance of so many entries: see [`Progress::reserved`].
    Reserve(u64),
    /// Ask for an approval: see [`Progress::await_approval`].
    Ask,
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
enum Question {
    /// The action was refused with 403: does listing work, so that the token is a read-only one?
    Token(String),
    /// An entry was refused, and none was acted on so far: is the request refused whatever the entry? With these labels.
    Request(Vec<String>),
}

/// Which pass over the run's window it is.
#[derive(Debug, Default)]
struct Pass {
    /// The window was split: a last pass over the whole of it follows.
    is_split: bool,
    is_last: bool,
    /// A cursor was refused, and the run begun again without it: once.
    has_begun_again: bool,
}

/// A run and what this process knows of it beyond its status.
#[derive(Debug)]
pub struct Progress {
    work: Arc<Work>,
    limits: Limits,
    retry_limit: u32,
    run: PolicyRun,
    outcome: Option<Outcome>,
    /// While it counts before it acts.
    tally: Option<Tally>,
    /// By which ID it asks for an approval, and since when.
    asks: Option<(String, Timestamp)>,
    workers: Workers,
    flights: Flights,
    /// Of what matches filters: the parts of the window that are not done, oldest first.
    windows: Vec<Pages>,
    pass: Pass,
    /// A page has shown that one call does not do it.
    has_more: bool,
    /// As far as lists told.
    order: Order,
    /// What is named in calls. Of `dlqIds`: what is not done or comes after something that is not, in their order.
    batches: VecDeque<Batch>,
    /// Of `dlqIds`: how many are in batches or done, and of how many of the others calls that this process knows nothing of
    /// may have acted on.
    dealt: usize,
    uncertain: usize,
    /// What tells windows and batches apart.
    last_number: u32,
    /// Consecutive failed calls.
    failures: u32,
    question: Option<Question>,
    /// The request is known to be fine: entries are refused for themselves.
    is_request_fine: bool,
    /// What the API said of the last entry that it refused.
    refusal: Option<ApiError>,
    /// What a run that selects by listing has in hand.
    listing: Option<Listing>,
    /// How many entries calls of unknown outcome may have acted on.
    doubted: i64,
    pace: Pace,
    budget: SharedBudget,
    /// The longest that `waitingUntil` may be away.
    longest_wait: SignedDuration,
    /// Upstash said how long to wait.
    is_wait_asked_for: bool,
    /// How many entries one list may show without being too large.
    most_listed: u32,
    /// What it saw while it listed only.
    seen: Seen,
}

/// The longest wait that an answer may ask for.
const LONGEST_ASKED: SignedDuration = SignedDuration::from_hours(1);

impl Progress {
    /// Takes up a run as its status tells it.
    pub fn new(work: Work, run: PolicyRun, retry_limit: u32) -> Self {
        Self::of(Arc::new(work), run, retry_limit)
    }

    fn of(work: Arc<Work>, run: PolicyRun, retry_limit: u32) -> Self {
        let tally = counts_first(&work, &run).then(Tally::default);
        let lists_only = run.dry_run || tally.is_some();
        let limits = run.limits.clone().unwrap_or_default();
        let is_of_ids = matches!(work.selected, Selected::Ids(_));
        // What is looked at one by one is counted in order.
        let parallelism = limits.parallelism.filter(|_| !(run.dry_run && is_of_ids));
        let workers = Workers::new(parallelism);
        // What came before hides which IDs were acted on: an unclean stop all that may have been done since the last
        // checkpoint, a lost answer those of one call. Several calls at once may have done any of them out of order.
        let is_out_of_order =
            workers.are_several() && run.processed + run.not_found + run.rejected > run.position;
        let uncertain = match (lists_only, run.interruptions, run.uncertain_pages) {
            (true, ..) => 0,
            (_, 0, 0) if !is_out_of_order => 0,
            (_, 0, _) if !workers.are_several() => MAX_CHUNK,
            _ => usize::MAX,
        };
        let at_once = match &work.selected {
            Selected::Matching { .. } if work.by_listing.is_none() => usize::MAX,
            Selected::Matching { .. } => MAX_CHUNK,
            Selected::Ids(ids) => ids.len().min(MAX_CHUNK),
        };
        let at_once = i64::try_from(at_once).unwrap_or(i64::MAX);
        let several = match &work.selected {
            Selected::Matching { .. } => false,
            Selected::Ids(ids) => takes_several_calls(ids, lists_only, &limits),
        };
        let listing = work.by_listing.as_ref().map(|_| Listing::default());
        let begins_anew = listing.is_some()
            || (run.dry_run && !is_of_ids && run.cursor.is_none() && run.windows.is_empty());
        let run = match tally {
            Some(_) => uncounted(run),
            None if begins_anew => anew(run),
            None => run,
        };
        let doubted = run.uncertain_pages.saturating_mul(most_of_one_call(&limits).min(at_once));
        let mut progress = Self {
            // Of a count nobody is to be spared.
            pace: Pace::new(limits.entries_per_second.filter(|_| tally.is_none())),
            budget: SharedBudget::of(&work.connection),
            work,
            limits,
            retry_limit,
            outcome: None,
            tally,
            asks: None,
            workers,
            flights: Flights::default(),
            windows: Vec::new(),
            pass: Pass { is_split: !run.windows.is_empty(), ..Pass::default() },
            has_more: !run.windows.is_empty() || several,
            order: Order::default(),
            batches: VecDeque::new(),
            dealt: usize::try_from(run.position).unwrap_or(usize::MAX),
            uncertain,
            last_number: 0,
            failures: 0,
            question: None,
            // Of IDs, `rejected` is written before the question is answered.
            is_request_fine: run.processed > 0 || (run.rejected > 0 && !is_of_ids),
            refusal: None,
            listing,
            doubted,
            longest_wait: LONGEST_ASKED,
            is_wait_asked_for: false,
            most_listed: u32::MAX,
            seen: Seen::from(run.summary.as_deref()),
            run,
        };
        progress.take_up_windows();
        progress
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
        let of_windows = |count: fn(&Pages) -> i64| self.windows.iter().map(count).sum::<i64>();
        let of_batches = |count: fn(&Batch) -> i64| self.batches.iter().map(count).sum::<i64>();
        PolicyRun {
            rejected: self.run.rejected + of_windows(Pages::rejected) + of_batches(|batch| batch.rejected),
            not_found: self.run.not_found + of_batches(|batch| batch.not_found),
            left_alone: self.run.left_alone + of_windows(Pages::left_alone),
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
        if approval::is_needed(&self.run) {
            return Step::Ask;
        }
        // A clock that is set back makes no wait longer.
        let latest = now.saturating_add(self.longest_wait).unwrap_or(now);
        let waiting = self.run.waiting_until.map(|until| until.timestamp().min(latest));
        self.run.waiting_until = waiting.map(Into::into);
        let paced = self.pace.until(now).max(self.budget.until(now));
        if let Some(until) = waiting.max(paced).filter(|until| *until > now) {
            // A wait that Upstash asked for may be longer than the run may take.
            return Step::Wait(deadline.map_or(until, |deadline| until.min(deadline)));
        }
        self.run.waiting_until = None;
        self.run.waiting_reason = None;
        if !self.has_counted_all() {
            let step = match &Arc::clone(&self.work).selected {
                Selected::Matching { criteria, .. } => self.next_of_window(criteria),
                Selected::Ids(ids) => self.next_ids(ids),
            };
            if !self.has_counted_all() {
                return self.within_budget(step);
            }
        }
        self.after_counting(now)
    }

    /// How many calls the run could have under way now.
    pub fn wants(&self) -> usize {
        // The last pass has one cursor, and little to do as a rule.
        let is_last = self.pass.is_last && self.listing.is_none();
        if self.has_more && !is_last { self.workers.wanted() } else { 1 }
    }

    /// So many calls may be under way from now on; at least one.
    pub fn permit(&mut self, permits: usize) {
        self.workers.permit(permits);
    }

    /// When the run must be over.
    pub fn deadline(&self) -> Option<Timestamp> {
        deadline(&self.run)
    }

    fn succeed(&mut self) -> Step {
        if let Some(tally) = &mut self.tally {
            tally.is_complete = true;
            return Step::Await;
        }
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
        // What is under way still, such as a look, changes nothing of that.
        self.outcome = Some(outcome.clone());
        self.end(outcome)
    }

    /// The end, once no call is under way any more.
    fn end(&mut self, outcome: Outcome) -> Step {
        if self.flights.len() > 0 {
            return Step::Await;
        }
        self.outcome = Some(outcome.clone());
        Step::End(outcome.leaving_alone(self.ended_run().left_alone))
    }
}

/// When a run must be over, by the limits that it began with. The wait for an approval does not count.
pub fn deadline(run: &PolicyRun) -> Option<Timestamp> {
    let seconds = run.limits.as_ref()?.active_deadline_seconds?;
    let longest = SignedDuration::from_secs(seconds).saturating_add(approval::waited(run));
    run.start_time.timestamp().checked_add(longest).ok()
}

mod answers;
mod apart;
mod budget;
mod calls;
mod counting;
mod failures;
mod ids;
mod listing;
mod windows;

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
