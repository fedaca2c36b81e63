//! Runs whose calls are answered one by one, for tests.

use jiff::Timestamp;

use super::progress::{Failure, Progress};
use dlq_upstash::error::ApiError;
use dlq_upstash::types::{Call, Page};

impl Progress {
    /// The call that was asked for last is sent, and answered.
    pub(crate) fn answer(&mut self, call: &Call, page: &Page, now: Timestamp) {
        self.sent(call, now);
        self.answered(call, page, now);
    }

    /// The call that was asked for last is sent, and fails.
    pub(crate) fn fail(&mut self, call: &Call, error: &ApiError, now: Timestamp, jitter: f64) -> Failure {
        self.sent(call, now);
        self.failed(call, error, now, jitter)
    }

    /// The call that was asked for last is sent, and given up on.
    pub(crate) fn give_up(&mut self, call: &Call, now: Timestamp) {
        self.sent(call, now);
        self.abandoned(call, now);
    }
}
