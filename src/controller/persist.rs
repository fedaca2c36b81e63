//! Writes statuses, and nothing else. Every write has a precondition, so that no two processes write over each other.

use std::sync::Arc;

use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Map, Value, json};
use thiserror::Error;
use tokio::time::timeout;
use tracing::Instrument;
use tracing::field::display;

use super::context::PolicyRef;
use super::metrics::Metrics;
use super::observe::{API_TIMEOUT, policies};
use super::{report, unknown};
use dlq_crd::PolicyRun;

const FIELD_MANAGER: &str = "dlq-operator";

/// What must hold for a write.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Precondition<'a> {
    /// Nobody wrote to the status since it was read. For decisions. What others write to labels, annotations or the spec
    /// in between is as if it had come a moment later: the watch tells of it.
    Unchanged {
        /// The status as it was read; nothing when there was none.
        status: &'a Value,
        /// `metadata.resourceVersion`, for a status that cannot be compared.
        resource_version: &'a str,
    },
    /// The run is this process', and in the revision that this process knows, as it stands there. For checkpoints: edits of
    /// labels or spec by others do not hold them up.
    OurRun(&'a Value),
}

/// Why a status was not written.
#[derive(Debug, Error)]
pub(crate) enum PersistError {
    /// The precondition does not hold, or the policy is gone.
    #[error("the policy changed meanwhile")]
    Conflict,
    /// No answer in time: nobody knows whether it was written.
    #[error("no answer in time")]
    Timeout,
    /// Anything else.
    #[error(transparent)]
    Api(Box<kube::Error>),
    /// The status has no JSON form.
    #[error("the status cannot be expressed")]
    Encode(#[from] serde_json::Error),
}

/// Writes statuses.
pub(crate) struct StatusWriter {
    client: kube::Client,
    metrics: Arc<Metrics>,
}

impl StatusWriter {
    pub(crate) fn new(client: kube::Client, metrics: Arc<Metrics>) -> Self {
        Self { client, metrics }
    }

    /// Writes what differs between `before` and `next`; the object after it, or `None` when nothing differs.
    pub(crate) async fn write(
        &self,
        object: (&str, &str, &str),
        before: &Value,
        next: Value,
        precondition: Precondition<'_>,
    ) -> Result<Option<DynamicObject>, PersistError> {
        let changes = changes(before, next);
        if changes.is_empty() {
            return Ok(None);
        }
        self.patch(object, precondition, changes).await.map(Some)
    }

    /// Writes only the run: how it is given back. `stored` is how it stood when this process took it, `known` how this
    /// process wrote it last.
    pub(crate) async fn release(
        &self,
        object: (&str, &str, &str),
        stored: &Value,
        known: &Value,
        run: &PolicyRun,
    ) -> Result<(), PersistError> {
        let run = unknown::keep_as(stored, run)?;
        let run = json!({ "op": "add", "path": "/status/currentRun", "value": run });
        self.patch(object, Precondition::OurRun(known), vec![run]).await.map(drop)
    }

    async fn patch(
        &self,
        (namespace, name, uid): (&str, &str, &str),
        precondition: Precondition<'_>,
        changes: Vec<Value>,
    ) -> Result<DynamicObject, PersistError> {
        let mut patch = vec![json!({ "op": "test", "path": "/metadata/uid", "value": uid })];
        patch.extend(conditions(precondition));
        patch.extend(changes);
        let patch: json_patch::Patch = serde_json::from_value(Value::Array(patch))?;
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let api = policies(self.client.clone(), namespace);
        let patch = Patch::<()>::Json(patch);
        let span = report::status_write(&PolicyRef::new(name).within(namespace));
        let write =
            timeout(API_TIMEOUT, api.patch_status(name, &parameters, &patch)).instrument(span.clone());
        let outcome = match write.await {
            Err(_) => Err(PersistError::Timeout),
            Ok(Ok(object)) => Ok(object),
            Ok(Err(error)) if is_conflict(&error, precondition) => Err(PersistError::Conflict),
            Ok(Err(error)) => Err(PersistError::Api(Box::new(error))),
        };
        if let Err(problem) = &outcome {
            span.record("otel.error", display(problem));
        }
        self.metrics.wrote(&outcome);
        outcome
    }
}

fn conditions(precondition: Precondition<'_>) -> Vec<Value> {
    let test = |path: &str, value: &Value| json!({ "op": "test", "path": path, "value": value });
    match precondition {
        Precondition::Unchanged { status, .. } if is_comparable(status) => vec![test("/status", status)],
        Precondition::Unchanged { resource_version, .. } => {
            vec![test("/metadata/resourceVersion", &resource_version.into())]
        }
        Precondition::OurRun(known) => {
            // A spec that comes back has a run of the same ID again, which starts later.
            ["id", "startTime", "holder", "revision"]
                .into_iter()
                .map(|field| test(&format!("/status/currentRun/{field}"), &known[field]))
                .collect()
        }
    }
}

/// Whether the API server finds a status equal to itself. It compares texts as they are written in JSON, and writes these
/// characters in another way than is written here. And no test can tell that there is no status.
fn is_comparable(status: &Value) -> bool {
    let is_plain =
        |text: &str| !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}', '\u{8}', '\u{c}', '\u{7f}']);
    match status {
        Value::Null => false,
        Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => is_plain(text),
        Value::Array(values) => values.iter().all(|value| value.is_null() || is_comparable(value)),
        Value::Object(fields) => {
            fields.iter().all(|(key, value)| is_plain(key) && (value.is_null() || is_comparable(value)))
        }
    }
}

/// The fields of the status that differ, each written or removed as a whole.
fn changes(before: &Value, next: Value) -> Vec<Value> {
    let Value::Object(next) = next else { return Vec::new() };
    let Value::Object(before) = before else {
        return vec![json!({ "op": "add", "path": "/status", "value": next })];
    };
    let path = |key: &str| format!("/status/{key}");
    let gone = |fields: &Map<String, Value>| {
        before
            .keys()
            .filter(|key| !fields.contains_key(*key))
            .map(|key| json!({ "op": "remove", "path": path(key) }))
            .collect::<Vec<_>>()
    };
    let mut operations = gone(&next);
    operations.extend(
        next.into_iter()
            .filter(|(key, value)| before.get(key) != Some(value))
            .map(|(key, value)| json!({ "op": "add", "path": path(&key), "value": value })),
    );
    operations
}

/// A test that failed, a newer version, or no such policy. The API server answers 422 to a failed test and to a status
/// that breaks the schema; only the latter names causes. To a patch that meets other writes too often it answers 409, which
/// says nothing of whose the run is.
fn is_conflict(error: &kube::Error, precondition: Precondition<'_>) -> bool {
    match error {
        kube::Error::Api(status) => {
            let names_causes = status.details.as_ref().is_some_and(|details| !details.causes.is_empty());
            match status.code {
                404 => true,
                409 => matches!(precondition, Precondition::Unchanged { .. }),
                422 => !names_causes,
                _ => false,
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_written() {
        let before = json!({ "a": 1, "b": { "c": 2 }, "gone": true });
        let next = json!({ "a": 1, "b": { "c": 3 }, "new": [1] });
        assert_eq!(
            changes(&before, next),
            [
                json!({ "op": "remove", "path": "/status/gone" }),
                json!({ "op": "add", "path": "/status/b", "value": { "c": 3 } }),
                json!({ "op": "add", "path": "/status/new", "value": [1] }),
            ]
        );
        assert_eq!(changes(&before, before.clone()), Vec::<Value>::new());
    }

    #[test]
    fn a_checkpoint_tests_all_that_makes_a_run_this_one_as_it_stands_there() {
        let run = json!({
            "id": "1-spec", "startTime": "2026-11-20T12:00:00Z", "holder": "pod-1/8c1f", "revision": 7, "pages": 3,
        });
        let test = |field: &str, value: Value| json!({ "op": "test", "path": format!("/status/currentRun/{field}"), "value": value });
        assert_eq!(
            conditions(Precondition::OurRun(&run)),
            [
                test("id", "1-spec".into()),
                // As it was written, by whomever.
                test("startTime", "2026-11-20T12:00:00Z".into()),
                test("holder", "pod-1/8c1f".into()),
                test("revision", 7.into()),
            ]
        );
    }

    #[test]
    fn the_first_status_is_written_whole() {
        let patch = changes(&Value::Null, json!({ "a": 1 }));
        assert_eq!(patch, [json!({ "op": "add", "path": "/status", "value": { "a": 1 } })]);
    }
}
