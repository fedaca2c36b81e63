//! Calls that failed: which are repeated, what is taken apart, and what ends the run.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::budget::acts_on;
use super::{Failure, Progress, Question};
use crate::run::activity::Activity;
use crate::run::backoff;
use crate::run::batch::Batch;
use crate::run::bisection::Bisection;
use crate::run::flights::{Flight, Owner};
use crate::run::outcome::Outcome;
use dlq_upstash::error::{ApiError, ErrorClass};
use dlq_upstash::types::{Call, Selection};

impl Progress {
    /// Folds a failure in. `jitter` is a random number from 0 to 1.
    pub fn failed(&mut self, call: &Call, error: &ApiError, now: Timestamp, jitter: f64) -> Failure {
        let Some(flight) = self.flights.land(call) else { return Failure::GoOn };
        if error.may_have_acted {
            self.doubt(&flight, now);
        } else {
            self.pace.settle(flight.paid, 0, now);
            self.budget.settle(acts_on(call), 0);
        }
        let failure = self.take_in(error, &flight, now, jitter);
        self.note_windows();
        failure
    }

    fn take_in(&mut self, error: &ApiError, flight: &Flight, now: Timestamp, jitter: f64) -> Failure {
        if self.outcome.is_some() {
            // How the run ends is settled.
            return Failure::GoOn;
        }
        match error.class {
            ErrorClass::RateLimited | ErrorClass::Unavailable => self.retry(flight, error, now, jitter),
            ErrorClass::Unauthorized => return Failure::TokenRefused,
            ErrorClass::QuotaExceeded => self.outcome = Some(Outcome::quota_exceeded(error)),
            // Without it windows are halved.
            _ if matches!(flight.of, Owner::Look(_)) => {}
            // It was begun again.
            _ if matches!(flight.of, Owner::Window(_)) && self.window_of(flight.of).is_none() => {}
            ErrorClass::TooLarge => match &flight.call {
                Call::List { count, .. } if *count > 1 => self.list_fewer(*count),
                _ => self.retry(flight, error, now, jitter),
            },
            class if flight.of == Owner::Question => match self.question.take() {
                // Listing does not work either: the refusal of the action is what counts.
                Some(Question::Token(message)) => {
                    self.outcome = Some(Outcome::forbidden(&message));
                }
                // Another call succeeded meanwhile: it is these labels, or this entry.
                Some(Question::Request(_)) if self.is_request_fine => self.request_is_fine(),
                Some(Question::Request(_)) if class == ErrorClass::Refused => {
                    self.outcome = Some(Outcome::bad_request(self.refusal.as_ref().unwrap_or(error)));
                }
                Some(Question::Request(_)) if class == ErrorClass::NotFound => self.request_is_fine(),
                _ => self.rejected(error, flight),
            },
            _ => self.rejected(error, flight),
        }
        Failure::GoOn
    }

    /// Asks for half as many entries from now on: their bodies are large.
    fn list_fewer(&mut self, count: u32) {
        self.failures = 0;
        self.run.retries += 1;
        self.most_listed = self.most_listed.min(count / 2);
    }

    fn rejected(&mut self, error: &ApiError, flight: &Flight) {
        match error.class {
            ErrorClass::Forbidden if flight.call.operation().acts() => {
                self.question.get_or_insert_with(|| Question::Token(error.to_string()));
            }
            ErrorClass::Forbidden => {
                self.outcome = Some(Outcome::forbidden(&error.to_string()));
            }
            ErrorClass::NotFound => self.not_found(error, flight),
            ErrorClass::Refused => self.refused(error, flight),
            _ => self.outcome = Some(Outcome::bad_request(error)),
        }
    }

    fn refused(&mut self, error: &ApiError, flight: &Flight) {
        let (call, of) = (&flight.call, flight.of);
        let index = self.window_of(of);
        match (call, index) {
            (Call::Bulk { selection: Selection::Ids(ids), .. }, _) if ids.len() > 1 => {
                self.halve(of, ids.len());
            }
            (Call::Bulk { selection: Selection::Ids(_), .. } | Call::Single { .. }, _) => {
                self.failures = 0;
                self.refusal = Some(error.clone());
                if !self.is_request_fine {
                    self.question.get_or_insert_with(|| Question::Request(sent_labels(call)));
                }
                match (of, index) {
                    (Owner::Batch(number), _) => {
                        self.pass(number, 1, false, |batch| batch.rejected += 1);
                    }
                    (_, Some(index)) => self.bisect(index, Bisection::refused),
                    _ => {}
                }
            }
            // Where entries are refused, it is not the cursor.
            (Call::Bulk { .. }, Some(index)) if self.run.rejected > 0 => self.take_apart(index, error),
            (Call::Bulk { .. } | Call::List { .. }, Some(index)) if self.restart(index) => {
                self.failures = 0;
            }
            (Call::Bulk { .. }, Some(index)) => self.take_apart(index, error),
            (Call::List { .. } | Call::Get { .. }, _) => {
                let pages = index.and_then(|index| self.windows.get_mut(index));
                let bisection = pages.and_then(|pages| pages.bisection.take());
                let error = bisection.as_ref().map_or(error, |bisection| &bisection.refusal);
                self.outcome = Some(Outcome::bad_request(error));
            }
            (Call::Bulk { .. }, None) => {}
        }
    }

    fn window_of(&self, of: Owner) -> Option<usize> {
        let Owner::Window(number) = of else { return None };
        self.window_at(number)
    }

    fn take_apart(&mut self, index: usize, refusal: &ApiError) {
        self.failures = 0;
        if let Some(pages) = self.windows.get_mut(index) {
            pages.bisection = Some(Bisection::new(refusal.clone()));
        }
    }

    fn halve(&mut self, of: Owner, size: usize) {
        self.failures = 0;
        match (of, self.window_of(of)) {
            (Owner::Batch(number), _) => {
                if let Some(batch) = self.batch(number) {
                    batch.chunks.halve(size);
                }
            }
            (_, Some(index)) => {
                if let Some(bisection) = self.bisection(index) {
                    bisection.halve(size);
                }
            }
            _ => {}
        }
    }

    fn batch(&mut self, number: u32) -> Option<&mut Batch> {
        self.batches.iter_mut().find(|batch| batch.number == number)
    }

    fn bisection(&mut self, index: usize) -> Option<&mut Bisection> {
        self.windows.get_mut(index)?.bisection.as_mut()
    }

    /// The call was given up on: nobody knows whether it acted.
    pub fn abandoned(&mut self, call: &Call, now: Timestamp) {
        let Some(flight) = self.flights.land(call) else { return };
        if call.operation().acts() {
            self.doubt(&flight, now);
        } else {
            self.pace.settle(flight.paid, 0, now);
        }
    }

    /// The call may have acted on all that it asked for. A question acts on nothing.
    fn doubt(&mut self, flight: &Flight, now: Timestamp) {
        if matches!(flight.of, Owner::Question | Owner::Look(_)) {
            return;
        }
        self.run.uncertain_pages += 1;
        if let Owner::Batch(number) = flight.of
            && let Some(batch) = self.batch(number)
        {
            batch.chunks.doubt();
        }
        self.doubted = self.doubted.saturating_add(flight.reserved);
        self.pace.settle(flight.paid, flight.reserved, now);
    }

    fn retry(&mut self, flight: &Flight, error: &ApiError, now: Timestamp, jitter: f64) {
        let limited = error.class == ErrorClass::RateLimited;
        let is_first = self.workers.failed(flight.round, self.flights.len(), limited, now);
        self.failures += u32::from(is_first);
        if self.failures >= self.retry_limit {
            self.outcome = Some(Outcome::gave_up(self.failures, error));
            return;
        }
        self.run.retries += 1;
        if !is_first && error.retry_after.is_none() {
            // Calls that were under way at the same time fail for one reason, and wait for it once.
            return;
        }
        let backoff = backoff::delay(self.failures, jitter);
        let wait = error.retry_after.unwrap_or(Duration::ZERO).max(backoff);
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::ZERO);
        let until = now.checked_add(wait).ok().map(Into::into);
        if !is_first && self.is_wait_asked_for && until < self.run.waiting_until {
            // Another answer asked for a longer wait.
            return;
        }
        let activity = if limited { Activity::Throttled } else { Activity::Retrying };
        self.run.waiting_reason = activity.waiting_reason();
        self.longest_wait = wait;
        self.is_wait_asked_for = error.retry_after.is_some();
        self.run.waiting_until = until;
    }

    fn not_found(&mut self, error: &ApiError, flight: &Flight) {
        let (call, of) = (&flight.call, flight.of);
        let index = self.window_of(of);
        let is_apart = index.is_some_and(|index| self.bisection(index).is_some());
        match (call, index) {
            (Call::Bulk { selection: Selection::Ids(ids), .. }, _) if ids.len() > 1 => {
                let bisection = index.and_then(|index| self.bisection(index));
                if bisection.is_some_and(Bisection::relist) {
                    self.failures = 0;
                } else {
                    self.halve(of, ids.len());
                }
            }
            (Call::Bulk { .. }, Some(index)) if is_apart => {
                self.failures = 0;
                self.bisect(index, Bisection::passed_over);
            }
            (Call::Bulk { selection: Selection::Ids(_), .. } | Call::Single { .. } | Call::Get { .. }, _) => {
                self.failures = 0;
                self.run.pages += 1;
                // While entries are only counted, none that is missing is told.
                let is_told = self.tally.is_none();
                if let Owner::Batch(number) = of {
                    self.pass(number, 1, false, |batch| {
                        if is_told && !batch.chunks.is_uncertain() {
                            batch.not_found += 1;
                        }
                    });
                }
            }
            (Call::Bulk { .. } | Call::List { .. }, _) => self.outcome = Some(Outcome::bad_request(error)),
        }
    }
}

/// The labels that a call gives to new workflow runs.
fn sent_labels(call: &Call) -> Vec<String> {
    match call {
        Call::Bulk { overrides, .. } | Call::Single { overrides, .. } => overrides.labels.clone(),
        Call::List { .. } | Call::Get { .. } => Vec::new(),
    }
}
