//! What an answer changes.

use jiff::Timestamp;

use super::budget::acts_on;
use super::{Progress, Question};
use crate::run::flights::Owner;
use crate::run::outcome::Outcome;
use crate::run::pace::entries_of;
use dlq_crd::Reason;
use dlq_upstash::types::{Call, Page};

const MAX_SAMPLES: usize = 10;

impl Progress {
    /// Folds an answer in.
    pub fn answered(&mut self, call: &Call, page: &Page, now: Timestamp) {
        let Some(flight) = self.flights.land(call) else { return };
        self.workers.succeeded(flight.sent, now);
        // What was sent before the last failure says nothing of whether it has passed.
        if flight.round == self.workers.round() {
            self.failures = 0;
            if !self.is_wait_asked_for {
                self.run.waiting_until = None;
            }
        }
        match flight.of {
            Owner::Question => match self.question.take() {
                Some(Question::Token(message)) => self.outcome = Some(Outcome::read_only(&message)),
                Some(Question::Request(_)) => self.request_is_fine(),
                None => {}
            },
            Owner::Look(number) => self.looked(number, page),
            Owner::Window(number) => self.paged(number, call, page, now),
            Owner::Batch(number) => self.acted(number, call, page, now),
        }
        if flight.reserved > 0 {
            self.pace.settle(flight.paid, entries_of(page), now);
        }
        if acts_on(call) > 0 {
            self.budget.settle(acts_on(call), entries_of(page));
        }
        self.note_windows();
    }

    /// A page that the API answered counts.
    pub(super) fn count_page(&mut self, page: &Page) {
        self.run.pages += 1;
        self.add_counted(entries_of(page));
        let room = MAX_SAMPLES - self.run.sample_workflow_run_ids.len().min(MAX_SAMPLES);
        let samples = page.workflow_run_ids.iter().filter(|id| id.len() <= 256).take(room).cloned();
        self.run.sample_workflow_run_ids.extend(samples);
        self.is_request_fine |= page.entries > 0;
        if self.lists_only() {
            page.listed.iter().for_each(|entry| self.seen.add(entry));
            self.run.summary = self.seen.summary().map(Box::new);
        }
    }

    /// Ends the run for want of a call that can be sent.
    pub fn unsendable(&mut self, call: &Call, problem: &str) {
        self.flights.land(call);
        self.budget.settle(acts_on(call), 0);
        self.outcome = Some(Outcome::failed(Reason::BadRequest, problem));
    }

    /// The call was not sent.
    pub fn not_sent(&mut self, call: &Call, now: Timestamp) {
        if let Some(flight) = self.flights.land(call) {
            self.pace.settle(flight.paid, 0, now);
            self.budget.settle(acts_on(call), 0);
        }
    }
}
