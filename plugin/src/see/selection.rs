//! What a policy selects, in words.

use dlq_crd::{DlqPolicySpec, FailureFunctionState, Filters, LoopProtection, Match};

use super::words::{any_of, entries};
use dlq_upstash::error::visible;

/// What a policy selects: a phrase, and what is decided on each entry that is listed, if anything is.
pub fn selection(spec: &DlqPolicySpec) -> (String, Option<String>) {
    (filtered(&spec.filters), judged(spec))
}

/// The same in one sentence.
pub fn selected(spec: &DlqPolicySpec) -> String {
    let (filtered, judged) = selection(spec);
    visible(&judged.map_or(filtered.clone(), |judged| format!("{filtered}; {judged}")))
}

/// The entries that the filters name, as `entries labelled payments, which failed at least 15m before the run`.
fn filtered(filters: &Filters) -> String {
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
    if let Some(ids) = dlq_ids {
        return match ids.as_slice() {
            [one] => format!("the entry {one}"),
            ids => {
                let shown: Vec<_> = ids.iter().take(3).map(ToString::to_string).collect();
                let more = if ids.len() > shown.len() { ", …" } else { "" };
                format!("{} by their IDs: {}{more}", entries(size(ids.len())), shown.join(", "))
            }
        };
    }
    if *all == Some(true) {
        return "every entry of the DLQ".to_owned();
    }
    let mut parts = Vec::new();
    let mut list = |before: &str, values: Option<Vec<String>>| {
        if let Some(values) = values.filter(|values| !values.is_empty()) {
            parts.push(format!("{before} {}", any_of(&values)));
        }
    };
    list("labelled", labels.as_ref().map(|values| texts(values)));
    list("of the workflow", workflow_urls.as_ref().map(|values| texts(values)));
    list(
        "of the workflow run",
        workflow_run_id.as_ref().map(|id| vec![format!("{id} (or IDs that begin so)")]),
    );
    list("created at", workflow_created_at.as_ref().map(|time| vec![time.to_string()]));
    let states = failure_function_states.as_ref();
    list(
        "whose failure function",
        states.map(|states| states.iter().map(|state| state_word(*state)).collect()),
    );
    list("called from", caller_ips.as_ref().map(|values| texts(values)));
    list("with the flow-control key", flow_control_keys.as_ref().map(|values| texts(values)));
    let times = [
        newer_than.as_ref().map(|age| format!("at most {age} before the run")),
        from_date.as_ref().map(|date| format!("at {date} or later")),
        older_than.as_ref().map(|age| format!("at least {age} before the run")),
        to_date.as_ref().map(|date| format!("at {date} or earlier")),
    ];
    let times: Vec<_> = times.into_iter().flatten().collect();
    if !times.is_empty() {
        parts.push(format!("that failed {}", times.join(" and ")));
    }
    format!("entries {}", parts.join(", "))
}

fn judged(spec: &DlqPolicySpec) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(matching) = &spec.matching {
        let Match { response_statuses, exclude_response_statuses, skip_non_retryable, attempts, expression } =
            matching;
        if let Some(statuses) = response_statuses {
            parts.push(format!("whose last response was {}", any_of(&texts(statuses))));
        }
        if let Some(statuses) = exclude_response_statuses {
            parts.push(format!("whose last response was not {}", any_of(&texts(statuses))));
        }
        if skip_non_retryable.unwrap_or(spec.action != dlq_crd::Action::Delete) {
            parts.push("that can be retried".to_owned());
        }
        if let Some(attempts) = attempts {
            parts.push(match (attempts.min, attempts.max) {
                (Some(min), Some(max)) => format!("acted on {min} to {max} times before"),
                (Some(min), None) => format!("acted on at least {min} times before"),
                (None, Some(max)) => format!("acted on at most {max} times before"),
                (None, None) => "acted on any number of times before".to_owned(),
            });
        }
        if let Some(expression) = expression {
            parts.push(format!("for which {expression}"));
        }
    }
    if let Some(LoopProtection { max_attempts }) = &spec.loop_protection {
        parts.push(format!("acted on fewer than {max_attempts} times before (loopProtection)"));
    }
    (!parts.is_empty()).then(|| format!("of these, only those {}", parts.join(", ")))
}

fn state_word(state: FailureFunctionState) -> String {
    match state {
        FailureFunctionState::InProgress => "is running",
        FailureFunctionState::Success => "succeeded",
        FailureFunctionState::Fail => "failed",
        FailureFunctionState::Canceled => "was cancelled",
    }
    .to_owned()
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn size(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(spec: &Value) -> (String, Option<String>) {
        let mut whole = json!({ "action": "resume", "filters": { "all": true } });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        selection(&serde_json::from_value(whole).unwrap())
    }

    #[test]
    fn every_filter_has_its_words() {
        for (filters, words) in [
            (json!({ "all": true }), "every entry of the DLQ"),
            (json!({ "dlqIds": ["a"] }), "the entry a"),
            (json!({ "dlqIds": ["a", "b", "c", "d"] }), "4 entries by their IDs: a, b, c, …"),
            (
                json!({ "labels": ["payments", "checkout"], "newerThan": "7d", "olderThan": "15m" }),
                "entries labelled payments or checkout, that failed at most 7d before the run and at least 15m before the run",
            ),
            (
                json!({ "workflowUrls": ["https://a.example.com"], "failureFunctionStates": ["CALLBACK_FAIL"] }),
                "entries of the workflow https://a.example.com, whose failure function failed",
            ),
            (
                json!({ "workflowRunId": "wfr_8f", "callerIps": ["203.0.113.7"], "flowControlKeys": ["a"] }),
                "entries of the workflow run wfr_8f (or IDs that begin so), called from 203.0.113.7, with the flow-control key a",
            ),
            (
                json!({ "fromDate": "2026-11-01T00:00:00Z", "toDate": "2026-11-08T00:00:00Z" }),
                "entries that failed at 2026-11-01T00:00:00Z or later and at 2026-11-08T00:00:00Z or earlier",
            ),
        ] {
            assert_eq!(of(&json!({ "filters": filters })), (words.to_owned(), None));
        }
    }

    #[test]
    fn what_is_decided_entry_by_entry_is_said_apart() {
        let matching = json!({ "match": { "responseStatuses": ["5xx", "429"] }, "loopProtection": { "maxAttempts": 3 } });
        assert_eq!(
            of(&matching).1.as_deref(),
            Some(
                "of these, only those whose last response was 5xx or 429, that can be retried, acted on fewer than 3 times \
                 before (loopProtection)"
            )
        );
    }
}
