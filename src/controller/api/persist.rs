//! Writes statuses, and nothing else. Every write has a precondition, so that no two processes write over each other.

use std::sync::Arc;

use kube::api::{DynamicObject, Patch, PatchParams, Request};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::time::timeout;
use tracing::Instrument;
use tracing::field::display;

use super::{FIELD_MANAGER, unknown};
use crate::controller::api::observe::{API_TIMEOUT, policies};
use crate::controller::error::WriteError;
use crate::controller::metrics::Metrics;
use crate::controller::names::PolicyRef;
use crate::controller::tell::report;
use dlq_crd::DlqPolicyStatus;
use dlq_policy::attempt::{Fence, Seen, StatusWrite, Stored};

/// What is written even where the rest of the status cannot be read.
const SAID_OF_ANY_STATUS: [&str; 4] = ["conditions", "message", "observedGeneration", "phase"];

/// A policy after a write.
pub(crate) struct Written {
    pub(crate) object: DynamicObject,
    /// As the API server answered.
    pub(crate) text: Box<RawValue>,
}

impl Written {
    fn read(text: Box<RawValue>) -> Result<Self, kube::Error> {
        let object = serde_json::from_str(text.get()).map_err(kube::Error::SerdeError)?;
        Ok(Self { object, text })
    }
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

    /// Writes what differs from what was seen; the object after it, or `None` when nothing differs.
    pub(crate) async fn write(
        &self,
        policy: &PolicyRef,
        write: &StatusWrite,
    ) -> Result<Option<Written>, WriteError> {
        let changes = changes(&write.seen.stored.status, written_as(&write.seen, &write.next)?);
        if changes.is_empty() {
            return Ok(None);
        }
        let mut patch = vec![json!({ "op": "test", "path": "/metadata/uid", "value": write.seen.uid })];
        patch.extend(conditions(write.fence, &write.seen.stored));
        patch.extend(changes);
        self.patch(policy, write.fence, serde_json::from_value(Value::Array(patch))?).await.map(Some)
    }

    async fn patch(
        &self,
        policy: &PolicyRef,
        fence: Fence,
        patch: json_patch::Patch,
    ) -> Result<Written, WriteError> {
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let api = policies(self.client.clone(), policy.namespace.as_deref().unwrap_or_default());
        let request = Request::new(api.resource_url()).patch_subresource(
            "status",
            &policy.name,
            &parameters,
            &Patch::<()>::Json(patch),
        );
        let request = request.map_err(kube::Error::BuildRequest).map_err(Box::new);
        let request = request.map_err(WriteError::Refused)?;
        let span = report::status_write(policy);
        // By the client itself, so that the answer can be kept as it came.
        let write = async { Written::read(self.client.request(request).await?) };
        let write = timeout(API_TIMEOUT, write).instrument(span.clone());
        let outcome = match write.await {
            Err(_) => Err(WriteError::Timeout),
            Ok(Ok(object)) => Ok(object),
            Ok(Err(error)) if is_conflict(&error, fence) => Err(WriteError::Conflict),
            Ok(Err(error)) if is_refusal(&error) => Err(WriteError::Refused(Box::new(error))),
            Ok(Err(error)) => Err(WriteError::Unknown(Box::new(error))),
        };
        if let Err(problem) = &outcome {
            span.record("otel.error", display(problem));
        }
        self.metrics.wrote(&outcome);
        outcome
    }
}

/// What to write for a next status. What a newer operator wrote and this one does not know stays. Of a status that cannot
/// be read nothing is taken away: it is all that anybody knows of what was done.
fn written_as(seen: &Seen, next: &DlqPolicyStatus) -> Result<Value, serde_json::Error> {
    let next = serde_json::to_value(next)?;
    match (&seen.stored.status, next) {
        (Value::Null, next) => Ok(next),
        (stored, next) if seen.is_status_readable => {
            Ok(unknown::keep(stored, &serde_json::to_value(&seen.status)?, next))
        }
        (Value::Object(stored), Value::Object(next)) => {
            let mut stored = stored.clone();
            let said = next.into_iter().filter(|(key, _)| SAID_OF_ANY_STATUS.contains(&key.as_str()));
            stored.extend(said);
            Ok(Value::Object(stored))
        }
        (_, next) => Ok(next),
    }
}

fn conditions(fence: Fence, stored: &Stored) -> Vec<Value> {
    let test = |path: &str, value: &Value| json!({ "op": "test", "path": path, "value": value });
    match fence {
        Fence::Status if is_comparable(&stored.status) => vec![test("/status", &stored.status)],
        // For a first status, or one that cannot be compared.
        Fence::Status | Fence::Version => {
            vec![test("/metadata/resourceVersion", &stored.version.as_str().into())]
        }
        Fence::Run => {
            let known = &stored.status["currentRun"];
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
fn is_conflict(error: &kube::Error, fence: Fence) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let names_causes = status.details.as_ref().is_some_and(|details| !details.causes.is_empty());
    match status.code {
        404 => true,
        409 => fence != Fence::Run,
        422 => !names_causes,
        _ => false,
    }
}

/// Whether it is known that nothing was written.
fn is_refusal(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if (400..500).contains(&status.code))
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
        let stored = Stored { version: String::new(), status: json!({ "currentRun": run }) };
        assert_eq!(
            conditions(Fence::Run, &stored),
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
