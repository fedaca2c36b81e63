//! Which entries a call is about. Fields are joined by AND; the values of one field by OR.

use std::ops::RangeInclusive;

use crate::{
    clock::Millis,
    cursor::Position,
    entry::{Entry, FailureFunctionState},
    service::Order,
};

/// The criteria of a call. Empty lists and missing values match everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Bounds on the time of failure, both inclusive.
    pub from_date: Option<Millis>,
    pub to_date: Option<Millis>,
    pub workflow_urls: Vec<String>,
    /// An exact ID or the beginning of one.
    pub workflow_run_id: Option<String>,
    pub workflow_created_at: Option<Millis>,
    pub labels: Vec<String>,
    pub failure_function_states: Vec<FailureFunctionState>,
    pub caller_ips: Vec<String>,
    pub flow_control_keys: Vec<String>,
    pub response_statuses: Vec<u16>,
    pub message_id: Option<String>,
    /// A criterion was given that holds for messages of other kinds only.
    pub excludes_workflows: bool,
}

impl Filter {
    /// The stretch of positions in which entries can match, and that come after `after` in this order; `None` when there
    /// is none.
    pub fn span(&self, after: Position, order: Order) -> Option<RangeInclusive<Position>> {
        if self.excludes_workflows {
            return None;
        }
        let mut first = Position { failed_at: self.from_date.unwrap_or(Millis::MIN), sequence: 0 };
        let mut last = Position { failed_at: self.to_date.unwrap_or(Millis::MAX), sequence: u64::MAX };
        if after != Position::START {
            match order {
                Order::OldestFirst => first = first.max(after.next()),
                Order::NewestFirst => last = last.min(after.previous()),
            }
        }
        (first <= last).then_some(first..=last)
    }

    /// Whether an entry within [`Self::span`] matches the rest of the criteria.
    pub fn matches(&self, entry: &Entry) -> bool {
        let run_id_matches =
            self.workflow_run_id.as_deref().is_none_or(|prefix| entry.workflow_run_id.starts_with(prefix));
        let state_matches = self.failure_function_states.is_empty()
            || entry
                .failure_function_state
                .is_some_and(|state| self.failure_function_states.contains(&state));
        let labels_match = self.labels.is_empty()
            || entry.settings.labels.iter().any(|label| any_equal(&self.labels, Some(label)));
        run_id_matches
            && state_matches
            && labels_match
            && (self.response_statuses.is_empty() || self.response_statuses.contains(&entry.response.status))
            && self.message_id.as_deref().is_none_or(|wanted| wanted == entry.message_id())
            && self.workflow_created_at.is_none_or(|at| entry.workflow_created_at == at)
            && (self.workflow_urls.is_empty() || any_equal(&self.workflow_urls, Some(&entry.workflow_url)))
            && (self.caller_ips.is_empty() || any_equal(&self.caller_ips, Some(&entry.caller_ip)))
            && (self.flow_control_keys.is_empty()
                || any_equal(&self.flow_control_keys, entry.settings.flow_control_key.as_deref()))
    }
}

fn any_equal(wanted: &[String], value: Option<&str>) -> bool {
    value.is_some_and(|value| wanted.iter().any(|wanted| wanted == value))
}
