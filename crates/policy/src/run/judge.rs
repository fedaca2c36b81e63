//! Whether an entry that a list shows is one that the run selects, by the entry's own fields.
//!
//! A bulk call selects for itself. Where entries are acted on by their IDs, the API looks at no criterion: a list that
//! ignores or misreads a parameter would otherwise decide what is deleted.

use std::net::IpAddr;

use jiff::SignedDuration;

use dlq_crd::Window;
use dlq_upstash::types::{Criteria, ListedEntry};

/// How far outside the window an entry may have failed. This guards against a list that ignores a bound, and not against
/// rounding.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(1);

/// What an entry's own fields say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// The run selects it.
    Selected,
    /// The run does not select it.
    NotSelected,
    /// A field that is needed is missing.
    Unjudged,
}

/// What a run selects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selects<'a> {
    pub(crate) criteria: &'a Criteria,
    pub(crate) window: &'a Window,
    /// Whether the policy itself gives a bound of the window.
    pub(crate) is_bounded: bool,
}

impl Selects<'_> {
    /// Judges an entry. One that a field rules out is not selected, whatever else is missing.
    pub(crate) fn judge(self, entry: &ListedEntry) -> Verdict {
        // Written out in full so that a new criterion cannot be forgotten here. The window has the dates.
        let Criteria {
            labels,
            workflow_urls,
            workflow_run_id,
            workflow_created_at,
            failure_function_states,
            caller_ips,
            flow_control_keys,
            from_date: _,
            to_date: _,
        } = self.criteria;
        let verdicts = [
            judged(labels.is_empty(), entry.labels.as_ref(), |own| {
                own.iter().any(|own| labels.contains(own))
            }),
            judged(workflow_urls.is_empty(), entry.workflow_url.as_ref(), |own| workflow_urls.contains(own)),
            judged(workflow_run_id.is_none(), entry.workflow_run_id.as_ref(), |own| {
                workflow_run_id.as_ref().is_some_and(|prefix| own.starts_with(prefix))
            }),
            judged(workflow_created_at.is_none(), entry.workflow_created_at, |own| {
                *workflow_created_at == Some(own)
            }),
            judged(failure_function_states.is_empty(), entry.failure_function_state.as_deref(), |own| {
                failure_function_states.contains(&own)
            }),
            judged(caller_ips.is_empty(), entry.caller_ip.as_ref(), |own| {
                caller_ips.iter().any(|wanted| is_same_address(wanted, own))
            }),
            judged(flow_control_keys.is_empty(), entry.flow_control_key.as_ref(), |own| {
                flow_control_keys.contains(own)
            }),
            self.judge_time(entry),
        ];
        [Verdict::NotSelected, Verdict::Unjudged]
            .into_iter()
            .find(|verdict| verdicts.contains(verdict))
            .unwrap_or(Verdict::Selected)
    }

    fn judge_time(self, entry: &ListedEntry) -> Verdict {
        let Window { from_date, to_date } = self.window;
        let (to, tolerance) = (to_date.as_millisecond(), TOLERANCE.as_millis());
        if let Some(at) = entry.failed_at().map(i128::from) {
            let is_late = at > i128::from(to) + tolerance;
            let is_early = from_date.is_some_and(|from| at < i128::from(from.as_millisecond()) - tolerance);
            return if is_late || is_early { Verdict::NotSelected } else { Verdict::Selected };
        }
        match entry.workflow_created_at {
            // It failed after it was created.
            Some(created) if created > to => Verdict::NotSelected,
            Some(_) if !self.is_bounded => Verdict::Selected,
            _ => Verdict::Unjudged,
        }
    }
}

fn judged<T>(is_free: bool, own: Option<T>, selects: impl FnOnce(T) -> bool) -> Verdict {
    match own.map(selects) {
        _ if is_free => Verdict::Selected,
        None => Verdict::Unjudged,
        Some(true) => Verdict::Selected,
        Some(false) => Verdict::NotSelected,
    }
}

/// An address of IPv6 can be written in several ways.
fn is_same_address(wanted: &str, own: &str) -> bool {
    wanted == own || wanted.parse::<IpAddr>().is_ok_and(|wanted| own.parse() == Ok(wanted))
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
