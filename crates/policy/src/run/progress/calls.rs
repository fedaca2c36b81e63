//! Which call comes next.

use super::{Probe, Progress, Step, are_all_refused, most_of_one_call};
use crate::run::bisection::NOBODYS;
use crate::run::chunks::fitting;
use crate::run::outcome::Outcome;
use crate::run::window;
use dlq_crd::{MilliTime, Reason};
use dlq_upstash::types::{Action, Call, Criteria, Detail, DlqId, Overrides, Selection};

impl Progress {
    pub(super) fn next_of_window(&mut self, criteria: &Criteria) -> Step {
        let Some(frozen) = self.run.window.clone() else {
            let message = "the run has no window, as its status was edited by hand; set dlq-operator.dev/requestedAt to a new value to start another";
            return self.end(Outcome::failed(Reason::BadRequest, message));
        };
        if window::is_empty(&frozen) {
            return self.end(Outcome::nothing_matched());
        }
        let criteria = Criteria {
            from_date: frozen.from_date.map(MilliTime::as_millisecond),
            to_date: Some(frozen.to_date.as_millisecond()),
            ..criteria.clone()
        };
        if let Some(probe) = &self.probe {
            return Step::Call(self.probe_call(probe, criteria));
        }
        if self.listing.is_some() { self.next_listed(criteria) } else { self.next_page(criteria) }
    }

    fn next_page(&mut self, criteria: Criteria) -> Step {
        let Some(count) = self.count() else { return self.end_at_limit() };
        let cursor = self.cursors.next().cloned();
        let list = self.run.dry_run;
        Step::Call(match &mut self.bisection {
            Some(bisection) if !bisection.is_unlisted() => {
                let ids = bisection.chunk(usize::try_from(count).unwrap_or(1));
                self.bulk(Selection::Ids(ids))
            }
            bisection if list || bisection.is_some() => {
                Call::List { criteria, cursor, count: count.min(self.most_listed), detail: Detail::Brief }
            }
            _ => self.bulk(Selection::Matching { criteria, cursor, count }),
        })
    }

    pub(super) fn bulk(&self, selection: Selection) -> Call {
        Call::Bulk { action: self.work.api_action(), selection, overrides: self.work.overrides.clone() }
    }

    /// The same, with other labels of the new workflow runs.
    pub(super) fn bulk_with(&self, selection: Selection, labels: Vec<String>) -> Call {
        let overrides = Overrides { labels, ..self.work.overrides.clone() };
        Call::Bulk { action: self.work.api_action(), selection, overrides }
    }

    fn probe_call(&self, probe: &Probe, criteria: Criteria) -> Call {
        match probe {
            Probe::Token(_) => Call::List { criteria, cursor: None, count: 1, detail: Detail::Brief },
            Probe::Request(labels) => {
                self.bulk_with(Selection::Ids(vec![DlqId(NOBODYS.to_owned())]), labels.clone())
            }
        }
    }

    pub(super) fn next_ids(&mut self, ids: &[DlqId]) -> Step {
        let position = usize::try_from(self.run.position).unwrap_or(usize::MAX);
        let rest = ids.get(position..).unwrap_or_default();
        if rest.is_empty() {
            // Another process heard the refusals and ended before it asked.
            let is_open = self.run.rejected > 0 && !self.is_request_fine;
            // Where all are refused, the answer would change nothing.
            if !is_open || are_all_refused(&self.run) {
                return self.succeed();
            }
            self.probe.get_or_insert_with(|| Probe::Request(self.work.overrides.labels.clone()));
        }
        if let Some(probe) = &self.probe {
            // Not a look at the ID: that it is not in the DLQ would tell nothing of the token.
            return Step::Call(self.probe_call(probe, Criteria::default()));
        }
        let Some(count) = self.count() else { return self.end_at_limit() };
        if self.run.dry_run {
            return Step::Call(Call::Get { id: rest[0].clone() });
        }
        let action = self.work.api_action();
        if ids.len() == 1 && action == Action::Resume {
            let overrides = self.work.overrides.clone();
            return Step::Call(Call::Single { action, id: ids[0].clone(), overrides });
        }
        let most = usize::try_from(count).unwrap_or(1).min(fitting(rest));
        let chunk = self.chunks.next(rest.len(), most);
        Step::Call(self.bulk(Selection::Ids(rest[..chunk].to_vec())))
    }

    /// How many entries the next call may ask for: no more than one call may, nor than is left of the run's limit.
    /// `None` when nothing is left.
    pub(super) fn count(&self) -> Option<u32> {
        u32::try_from(self.left().min(most_of_one_call(&self.limits))).ok().filter(|count| *count > 0)
    }

    /// How many entries the run may still act on.
    pub(super) fn left(&self) -> i64 {
        let spent = self.run.processed.saturating_add(self.doubted);
        self.limits.max_entries_per_run.map_or(i64::MAX, |most| most.saturating_sub(spent))
    }
}
