//! Which call comes next.

use jiff::Timestamp;

use super::budget::acts_on;
use super::{Progress, Question, Step, most_of_one_call};
use crate::run::approval;
use crate::run::bisection::NOBODYS;
use crate::run::flights::{Flight, Owner};
use crate::run::in_hand::PAGE;
use crate::run::outcome::Outcome;
use crate::run::pace::asked;
use crate::run::pages::Look;
use crate::run::window;
use dlq_crd::{MilliTime, Reason, Window};
use dlq_upstash::types::{Call, Criteria, Detail, DlqId, Overrides, Selection};

/// How many entries a list is asked for that is to show where entries are.
const LOOK: u32 = 100;

impl Progress {
    /// The call that was asked for last is under way.
    pub fn sent(&mut self, call: &Call, now: Timestamp) {
        let Some(of) = self.flights.offered() else { return };
        let reserved = self.reserves(call, of);
        // One call at a time is paid for by what it brought, once that is known.
        let paid = if self.workers.are_several() { reserved } else { 0 };
        self.pace.pay(paid, now);
        self.budget.spend(acts_on(call));
        let round = self.workers.round();
        self.flights.send(Flight { call: call.clone(), of, sent: now, round, reserved, paid });
        if let Owner::Look(number) = of {
            self.looks(number);
        }
    }

    pub(super) fn next_of_window(&mut self, criteria: &Criteria) -> Step {
        let Some(frozen) = self.run.window.clone() else {
            let message = "the run has no window, as its status was edited by hand; set dlq-operator.dev/requestedAt to a new value to start another";
            return self.end(Outcome::failed(Reason::BadRequest, message));
        };
        if window::is_empty(&frozen) {
            return self.end(Outcome::nothing_matched());
        }
        if self.question.is_some() {
            return self.ask(within(criteria, &frozen));
        }
        if self.listing.is_some() { self.next_listed(criteria) } else { self.next_page(criteria) }
    }

    fn next_page(&mut self, criteria: &Criteria) -> Step {
        if self.has_no_worker() {
            return Step::Await;
        }
        let Some(count) = self.count() else { return self.end_at_limit() };
        self.split_windows();
        let Some(index) = self.ready_window() else {
            let wanted = self.windows.iter().find(|pages| pages.size.look == Look::Wanted);
            let Some(pages) = wanted else { return Step::Await };
            let criteria = within(criteria, &pages.window);
            let call = Call::List { criteria, cursor: None, count: LOOK, detail: Detail::Brief };
            let of = Owner::Look(pages.number);
            return self.offer(call, of);
        };
        let list = self.lists_only();
        let most_listed = self.most_listed;
        let Some(pages) = self.windows.get_mut(index) else { return Step::Await };
        let cursor = pages.cursors.next().cloned();
        let of = Owner::Window(pages.number);
        let criteria = within(criteria, &pages.window);
        let call = match &mut pages.bisection {
            Some(bisection) if !bisection.is_unlisted() => {
                let ids = bisection.chunk(usize::try_from(count).unwrap_or(1));
                self.bulk(Selection::Ids(ids))
            }
            bisection if list || bisection.is_some() => {
                Call::List { criteria, cursor, count: count.min(most_listed), detail: Detail::Brief }
            }
            _ => self.bulk(Selection::Matching { criteria, cursor, count }),
        };
        self.offer(call, of)
    }

    pub(super) fn offer(&mut self, call: Call, of: Owner) -> Step {
        self.flights.offer(of);
        Step::Call(call)
    }

    pub(super) fn bulk(&self, selection: Selection) -> Call {
        Call::Bulk { action: self.work.api_action(), selection, overrides: self.work.overrides.clone() }
    }

    /// The same, with other labels of the new workflow runs.
    pub(super) fn bulk_with(&self, selection: Selection, labels: Vec<String>) -> Call {
        let overrides = Overrides { labels, ..self.work.overrides.clone() };
        Call::Bulk { action: self.work.api_action(), selection, overrides }
    }

    /// Asks the question that is open, and nothing else meanwhile.
    pub(super) fn ask(&mut self, criteria: Criteria) -> Step {
        let call = match &self.question {
            Some(Question::Token(_)) => {
                Call::List { criteria, cursor: None, count: 1, detail: Detail::Brief }
            }
            Some(Question::Request(labels)) => {
                self.bulk_with(Selection::Ids(vec![DlqId(NOBODYS.to_owned())]), labels.clone())
            }
            None => return Step::Await,
        };
        if self.flights.has(Owner::Question) { Step::Await } else { self.offer(call, Owner::Question) }
    }

    /// Whether as many calls are under way as may be.
    pub(super) fn has_no_worker(&self) -> bool {
        self.flights.len() >= self.workers.allowed()
    }

    /// How many entries the next call may ask for: no more than one call may, nor than is left of the run's limit.
    /// `None` when nothing is left.
    pub(super) fn count(&self) -> Option<u32> {
        let one_call = if self.tally.is_some() { PAGE.into() } else { most_of_one_call(&self.limits) };
        u32::try_from(self.left().min(one_call).min(self.budget.most())).ok().filter(|count| *count > 0)
    }

    /// How many entries the run may still act on, were those that calls under way ask for acted on.
    pub(super) fn left(&self) -> i64 {
        let spent = self.counted().saturating_add(self.doubted).saturating_add(self.flights.reserved());
        approval::most(&self.limits, &self.run).map_or(i64::MAX, |most| most.saturating_sub(spent))
    }

    /// How many entries a call may act on, or list where the run only lists.
    pub(super) fn reserves(&self, call: &Call, of: Owner) -> i64 {
        let counts = match of {
            Owner::Question | Owner::Look(_) => false,
            Owner::Batch(_) => true,
            Owner::Window(_) => call.operation().acts() || (self.lists_only() && self.listing.is_none()),
        };
        if counts { asked(call) } else { 0 }
    }
}

/// The criteria with the bounds of this window.
pub(super) fn within(criteria: &Criteria, window: &Window) -> Criteria {
    Criteria {
        from_date: window.from_date.map(MilliTime::as_millisecond),
        to_date: Some(window.to_date.as_millisecond()),
        ..criteria.clone()
    }
}
