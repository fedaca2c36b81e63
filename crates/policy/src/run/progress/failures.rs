//! Calls that failed: which are repeated, what is taken apart, and what ends the run.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Failure, Probe, Progress};
use crate::run::activity::Activity;
use crate::run::backoff;
use crate::run::bisection::Bisection;
use crate::run::chunks::Chunks;
use crate::run::outcome::Outcome;
use crate::run::pace::asked;
use dlq_upstash::error::{ApiError, ErrorClass};
use dlq_upstash::types::{Call, Selection};

impl Progress {
    /// Folds a failure in. `jitter` is a random number from 0 to 1.
    pub fn failed(&mut self, call: &Call, error: &ApiError, now: Timestamp, jitter: f64) -> Failure {
        if error.may_have_acted {
            self.doubt(call, now);
        }
        match error.class {
            ErrorClass::RateLimited | ErrorClass::Unavailable => self.retry(error, now, jitter),
            ErrorClass::TooLarge => match call {
                Call::List { count, .. } if *count > 1 => self.list_fewer(*count),
                _ => self.retry(error, now, jitter),
            },
            ErrorClass::Unauthorized => return Failure::TokenRefused,
            ErrorClass::QuotaExceeded => self.outcome = Some(Outcome::quota_exceeded(error)),
            class => match self.probe.take() {
                // Listing does not work either: the refusal of the action is what counts.
                Some(Probe::Token(message)) => {
                    self.outcome = Some(Outcome::forbidden(&message));
                }
                Some(Probe::Request(_)) if class == ErrorClass::Refused => {
                    self.outcome = Some(Outcome::bad_request(self.refusal.as_ref().unwrap_or(error)));
                }
                Some(Probe::Request(_)) if class == ErrorClass::NotFound => self.request_is_fine(),
                _ => self.rejected(call, error),
            },
        }
        Failure::GoOn
    }

    /// Asks for half as many entries from now on: their bodies are large.
    fn list_fewer(&mut self, count: u32) {
        self.failures = 0;
        self.run.retries += 1;
        self.most_listed = count / 2;
    }

    fn rejected(&mut self, call: &Call, error: &ApiError) {
        match error.class {
            ErrorClass::Forbidden if call.operation().acts() => {
                self.probe = Some(Probe::Token(error.to_string()));
            }
            ErrorClass::Forbidden => {
                self.outcome = Some(Outcome::forbidden(&error.to_string()));
            }
            ErrorClass::NotFound => self.not_found(call, error),
            ErrorClass::Refused => self.refused(call, error),
            _ => self.outcome = Some(Outcome::bad_request(error)),
        }
    }

    fn refused(&mut self, call: &Call, error: &ApiError) {
        match call {
            Call::Bulk { selection: Selection::Ids(ids), .. } if ids.len() > 1 => self.halve(ids.len()),
            Call::Bulk { selection: Selection::Ids(_), .. } | Call::Single { .. } => {
                self.failures = 0;
                self.refusal = Some(error.clone());
                if !self.is_request_fine {
                    self.probe = Some(Probe::Request(sent_labels(call)));
                }
                if self.bisection.is_some() {
                    self.bisect(Bisection::refused);
                } else {
                    self.run.rejected += 1;
                    self.pass_one();
                }
            }
            // Where entries are refused, it is not the cursor.
            Call::Bulk { .. } if self.run.rejected > 0 => self.take_apart(error),
            Call::Bulk { .. } | Call::List { .. } if self.cursors.restart() => {
                // What was acted on is gone from the DLQ, so beginning again repeats nothing.
                self.failures = 0;
                self.run.retries += 1;
                self.bisection = None;
                self.begin_again();
            }
            Call::Bulk { .. } => self.take_apart(error),
            Call::List { .. } | Call::Get { .. } => {
                let bisection = self.bisection.take();
                let error = bisection.as_ref().map_or(error, |bisection| &bisection.refusal);
                self.outcome = Some(Outcome::bad_request(error));
            }
        }
    }

    fn take_apart(&mut self, refusal: &ApiError) {
        self.failures = 0;
        self.bisection = Some(Bisection::new(refusal.clone()));
    }

    fn halve(&mut self, size: usize) {
        self.failures = 0;
        match &mut self.bisection {
            Some(bisection) => bisection.halve(size),
            None => {
                if let Some(chunks) = self.chunks() {
                    chunks.halve(size);
                }
            }
        }
    }

    /// How the entries that are named in calls are divided.
    fn chunks(&mut self) -> Option<&mut Chunks> {
        match &mut self.listing {
            Some(listing) => listing.in_hand.chunks(),
            None => Some(&mut self.chunks),
        }
    }

    /// Leaves the only entry of a chunk behind.
    fn pass_one(&mut self) {
        if let Some(listing) = &mut self.listing {
            return listing.in_hand.done(1, false);
        }
        self.run.position += 1;
        self.chunks.done(false);
    }

    /// The call was given up on: nobody knows whether it acted.
    pub fn abandoned(&mut self, call: &Call, now: Timestamp) {
        if call.operation().acts() {
            self.doubt(call, now);
        }
    }

    /// The call may have acted on all that it asked for. A question acts on nothing.
    fn doubt(&mut self, call: &Call, now: Timestamp) {
        if self.probe.is_none() {
            self.run.uncertain_pages += 1;
            if let Some(chunks) = self.chunks() {
                chunks.doubt();
            }
            self.doubted = self.doubted.saturating_add(asked(call));
            self.pace.spend(asked(call), now);
        }
    }

    fn retry(&mut self, error: &ApiError, now: Timestamp, jitter: f64) {
        self.failures += 1;
        let limited = error.class == ErrorClass::RateLimited;
        if self.failures >= self.retry_limit {
            self.outcome = Some(Outcome::gave_up(self.failures, error));
            return;
        }
        self.run.retries += 1;
        let backoff = backoff::delay(self.failures, jitter);
        let wait = error.retry_after.unwrap_or(Duration::ZERO).max(backoff);
        let activity = if limited { Activity::Throttled } else { Activity::Retrying };
        self.run.waiting_reason = activity.waiting_reason();
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::ZERO);
        self.longest_wait = wait;
        self.run.waiting_until = now.checked_add(wait).ok().map(Into::into);
    }

    fn not_found(&mut self, call: &Call, error: &ApiError) {
        match call {
            Call::Bulk { selection: Selection::Ids(ids), .. } if ids.len() > 1 => {
                if self.bisection.as_mut().is_some_and(Bisection::relist) {
                    self.failures = 0;
                } else {
                    self.halve(ids.len());
                }
            }
            Call::Bulk { .. } if self.bisection.is_some() => {
                self.failures = 0;
                self.bisect(Bisection::passed_over);
            }
            Call::Bulk { selection: Selection::Ids(_), .. } | Call::Single { .. } | Call::Get { .. } => {
                self.failures = 0;
                self.run.pages += 1;
                if self.chunks().is_none_or(|chunks| !chunks.is_uncertain()) {
                    self.run.not_found += 1;
                }
                self.pass_one();
            }
            Call::Bulk { .. } | Call::List { .. } => self.outcome = Some(Outcome::bad_request(error)),
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
