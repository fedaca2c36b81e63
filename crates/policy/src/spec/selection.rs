//! Which entries a policy selects.

use jiff::Timestamp;

use super::duration;
use super::invalid::Invalid;
use crate::run::window::Bound;
use dlq_crd::{AgeText, DateTimeText, Filters};
use dlq_upstash::types::{Criteria, DlqId, MAX_FILTER_BYTES};

/// Which entries a policy selects.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one per policy or run, never many")]
pub enum Selected {
    /// These.
    Ids(Vec<DlqId>),
    /// Those that match, within a window that is frozen when a run starts.
    Matching {
        /// Everything but the window.
        criteria: Criteria,
        /// The window's lower bound.
        from: Option<Bound>,
        /// The window's upper bound.
        to: Option<Bound>,
    },
}

/// Reads `spec.filters`.
pub(crate) fn selected(filters: &Filters) -> Result<Selected, Invalid> {
    // Written out in full so that a new filter cannot be forgotten here.
    let Filters {
        all,
        dlq_ids,
        labels,
        workflow_urls,
        workflow_run_id,
        workflow_created_at,
        failure_function_states,
        caller_ips,
        flow_control_keys,
        from_date,
        to_date,
        newer_than,
        older_than,
    } = filters;
    let criteria = Criteria {
        labels: values("labels", labels.as_deref(), |text| text.as_str())?,
        workflow_urls: values("workflowUrls", workflow_urls.as_deref(), |text| text.as_str())?,
        workflow_run_id: workflow_run_id.as_ref().map(|text| run_id(text.as_str())).transpose()?,
        workflow_created_at: workflow_created_at
            .as_ref()
            .map(|text| date("workflowCreatedAt", text).map(Timestamp::as_millisecond))
            .transpose()?,
        failure_function_states: present("failureFunctionStates", failure_function_states.as_deref())?
            .iter()
            .map(|state| state.as_str())
            .collect(),
        caller_ips: values("callerIps", caller_ips.as_deref(), |text| text.as_str())?,
        flow_control_keys: values("flowControlKeys", flow_control_keys.as_deref(), |text| text.as_str())?,
        from_date: None,
        to_date: None,
    };
    let from = bound("fromDate", from_date.as_ref(), "newerThan", newer_than.as_ref())?;
    let to = bound("toDate", to_date.as_ref(), "olderThan", older_than.as_ref())?;
    let narrowed = criteria != Criteria::default() || from.is_some() || to.is_some();
    match (all.unwrap_or(false), dlq_ids, narrowed) {
        (true, None, false) | (false, None, true) => {
            fits(&criteria)?;
            Ok(Selected::Matching { criteria, from, to })
        }
        (false, Some(ids), false) => {
            let ids = values("dlqIds", Some(ids), |text| text.as_str())?;
            Ok(Selected::Ids(ids.into_iter().map(DlqId).collect()))
        }
        (false, None, false) => Err(Invalid::spec(
            "spec.filters",
            "filters must have at least one criterion, dlqIds, or all: true for the whole DLQ",
        )),
        (true, ..) => {
            Err(Invalid::spec("spec.filters.all", "stands alone; remove all, or every other filter"))
        }
        (false, Some(_), true) => {
            Err(Invalid::spec("spec.filters.dlqIds", "stands alone; remove dlqIds, or every other filter"))
        }
    }
}

/// Refuses more criteria than a query can carry. The parameter that takes most of it is named.
fn fits(criteria: &Criteria) -> Result<(), Invalid> {
    let bytes = criteria.query_bytes();
    let all: usize = bytes.values().sum();
    let longest = bytes.into_iter().max_by_key(|(_, bytes)| *bytes);
    let Some((parameter, most)) = longest.filter(|_| all > MAX_FILTER_BYTES) else { return Ok(()) };
    let field = match parameter {
        "label" => "labels",
        "workflowUrl" => "workflowUrls",
        "failureFunctionState" => "failureFunctionStates",
        "callerIp" => "callerIps",
        "flowControlKey" => "flowControlKeys",
        same => same,
    };
    let problem = format!(
        "takes {most} of the {all} bytes that the filters have in a URL, and Upstash may refuse more than \
         {MAX_FILTER_BYTES}; give fewer or shorter values, or split them over several policies"
    );
    Err(Invalid::spec(&format!("spec.filters.{field}"), &problem))
}

fn present<'a, T>(field: &str, list: Option<&'a [T]>) -> Result<&'a [T], Invalid> {
    match list {
        // To the API an empty list is no filter, and no filter is everything.
        Some([]) => {
            Err(Invalid::spec(&format!("spec.filters.{field}"), "is empty; give a value or remove it"))
        }
        list => Ok(list.unwrap_or_default()),
    }
}

fn values<T>(field: &str, list: Option<&[T]>, text: impl Fn(&T) -> &str) -> Result<Vec<String>, Invalid> {
    present(field, list)?
        .iter()
        .enumerate()
        .map(|(index, item)| value(&format!("{field}[{index}]"), text(item)))
        .collect()
}

fn value(field: &str, text: &str) -> Result<String, Invalid> {
    if text.is_empty() || text.contains(',') || text.chars().any(char::is_control) {
        let problem = "must not be empty, and must hold no comma (the API would split it there) and no control character";
        return Err(Invalid::spec(&format!("spec.filters.{field}"), problem));
    }
    Ok(text.to_owned())
}

/// An ID or the beginning of one. What every ID begins with would select everything without saying so.
fn run_id(text: &str) -> Result<String, Invalid> {
    if "wfr_".starts_with(text) {
        let problem = "is how every workflow run's ID begins; give more of the ID, or say all: true";
        return Err(Invalid::spec("spec.filters.workflowRunId", problem));
    }
    value("workflowRunId", text)
}

fn date(field: &str, text: &DateTimeText) -> Result<Timestamp, Invalid> {
    text.as_str().parse().map_err(|_| {
        let problem =
            format!("{text:?} is no RFC 3339 time such as 2026-11-01T00:00:00Z", text = text.as_str());
        Invalid::spec(&format!("spec.filters.{field}"), &problem)
    })
}

fn bound(
    date_field: &str,
    absolute: Option<&DateTimeText>,
    age_field: &str,
    age: Option<&AgeText>,
) -> Result<Option<Bound>, Invalid> {
    match (absolute, age) {
        (None, None) => Ok(None),
        (Some(text), None) => date(date_field, text).map(Bound::At).map(Some),
        (None, Some(text)) => duration::parse(text.as_str())
            .filter(jiff::SignedDuration::is_positive)
            .map(|span| Some(Bound::Before(span)))
            .ok_or_else(|| {
                Invalid::spec(
                    &format!("spec.filters.{age_field}"),
                    "not a duration longer than 0, such as 7d or 1h30m",
                )
            }),
        (Some(_), Some(_)) => Err(Invalid::spec(
            &format!("spec.filters.{age_field}"),
            &format!("{age_field} and {date_field} exclude each other; keep one of them"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn criteria_may_take_all_the_room_there_is() {
        let criteria = |bytes: usize| Criteria { labels: vec!["x".repeat(bytes)], ..Criteria::default() };
        let room = MAX_FILTER_BYTES - criteria(0).query_bytes().values().sum::<usize>();
        assert!(fits(&criteria(room)).is_ok());
        assert!(fits(&criteria(room + 1)).is_err());
    }
}
