//! What acting commands write: annotations as the operator reads them, and `spec.suspend`.

use dlq_crd::MilliTime;
use dlq_crd::annotations as named;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Verb;

/// A run that is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunRequest {
    /// The value of `requestedAt`: a time that no request had before.
    pub at: String,
    /// It lists and counts only.
    pub is_dry: bool,
    /// Who asks.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

impl RunRequest {
    /// The annotations. Those of an earlier request are taken away: they are not of this one.
    pub fn patch(&self) -> Value {
        annotations([
            (named::REQUESTED_AT, json!(self.at)),
            (named::REQUESTED_MODE, if self.is_dry { json!(named::DRY_RUN) } else { Value::Null }),
            (named::REQUESTED_BY, json!(self.by)),
            (named::REQUEST_REASON, json!(self.reason)),
        ])
    }

    /// The ID of the run that it starts.
    pub fn run_id(&self) -> String {
        dlq_policy::plan::requested_run_id(&self.at)
    }
}

/// What a command writes.
pub fn patch(verb: &Verb, now: Timestamp) -> Value {
    match verb {
        Verb::Cancel => annotations([(named::CANCEL_AT, json!(moment(now)))]),
        Verb::Pause { reason } => annotations([(named::PAUSED, json!(reason))]),
        Verb::Unpause => annotations([(named::PAUSED, Value::Null)]),
        Verb::Suspend => json!({ "spec": { "suspend": true } }),
        Verb::Unsuspend => json!({ "spec": { "suspend": false } }),
        Verb::Reset => annotations([(named::RESET_AT, json!(moment(now)))]),
    }
}

/// The annotation that approves a run.
pub fn approval(id: &str) -> Value {
    annotations([(named::APPROVED_RUN, json!(id))])
}

/// Withdraws a request that no operator has seen.
pub fn withdrawal() -> Value {
    annotations([
        (named::REQUESTED_AT, Value::Null),
        (named::REQUESTED_MODE, Value::Null),
        (named::REQUESTED_BY, Value::Null),
        (named::REQUEST_REASON, Value::Null),
    ])
}

/// A time as the value of an annotation.
pub fn moment(now: Timestamp) -> String {
    MilliTime::new(now).to_string()
}

/// A text that can be the value of an annotation of ours.
pub fn annotation_value(text: &str) -> Result<String, String> {
    if text.len() > named::MAX_VALUE_BYTES {
        return Err(format!("it has {} bytes, and at most {} are taken", text.len(), named::MAX_VALUE_BYTES));
    }
    if text.chars().any(char::is_control) {
        return Err("it holds a control character, such as a line break".to_owned());
    }
    Ok(text.to_owned())
}

fn annotations<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    let pairs: Map<_, _> = pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    json!({ "metadata": { "annotations": pairs } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-20T12:00:00.123456Z".parse().unwrap()
    }

    #[test]
    fn a_request_replaces_all_of_the_one_before() {
        let request =
            RunRequest { at: moment(now()), is_dry: false, by: None, reason: Some("after #7".to_owned()) };
        assert_eq!(
            request.patch(),
            json!({ "metadata": { "annotations": {
                "dlq-operator.dev/requestedAt": "2026-11-20T12:00:00.123Z",
                "dlq-operator.dev/requestedMode": null,
                "dlq-operator.dev/requestedBy": null,
                "dlq-operator.dev/requestReason": "after #7",
            } } })
        );
        let dry = RunRequest { is_dry: true, ..request };
        assert_eq!(dry.patch()["metadata"]["annotations"]["dlq-operator.dev/requestedMode"], "DryRun");
    }

    #[test]
    fn each_command_writes_what_the_operator_reads() {
        let of = |verb| patch(&verb, now());
        let annotation = |key: &str, value: Value| json!({ "metadata": { "annotations": { key: value } } });
        let at = json!("2026-11-20T12:00:00.123Z");
        assert_eq!(of(Verb::Cancel), annotation("dlq-operator.dev/cancelAt", at.clone()));
        assert_eq!(of(Verb::Reset), annotation("dlq-operator.dev/resetAt", at));
        let paused = of(Verb::Pause { reason: "incident-7".to_owned() });
        assert_eq!(paused, annotation("dlq-operator.dev/paused", json!("incident-7")));
        assert_eq!(of(Verb::Unpause), annotation("dlq-operator.dev/paused", Value::Null));
        assert_eq!(of(Verb::Suspend), json!({ "spec": { "suspend": true } }));
        assert_eq!(of(Verb::Unsuspend), json!({ "spec": { "suspend": false } }));
        assert_eq!(approval("5f3c"), annotation("dlq-operator.dev/approvedRun", json!("5f3c")));
    }

    #[test]
    fn a_value_that_the_operator_would_refuse_is_not_written() {
        assert!(annotation_value(&"a".repeat(256)).is_ok());
        assert!(annotation_value(&"a".repeat(257)).is_err());
        assert!(annotation_value("two\nlines").is_err());
    }
}
