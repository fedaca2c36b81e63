//! A policy as the API server has it. What a newer operator wrote and this plugin cannot read is left out, and named.

use std::collections::BTreeMap;

use dlq_crd::{DlqPolicySpec, DlqPolicyStatus};
use jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::{Map, Value, json};

/// A policy as the API server has it.
#[derive(Clone, Debug)]
pub struct Stored {
    object: Box<DynamicObject>,
    spec: Option<Box<DlqPolicySpec>>,
    status: Box<DlqPolicyStatus>,
    unread: Vec<String>,
}

impl From<DynamicObject> for Stored {
    fn from(mut object: DynamicObject) -> Self {
        object.metadata.managed_fields = None;
        let mut unread = Vec::new();
        let spec = serde_json::from_value::<DlqPolicySpec>(object.data["spec"].clone());
        if let Err(problem) = &spec {
            unread.push(format!("spec: {problem}"));
        }
        let status = status(&object.data["status"], &mut unread);
        Self { spec: spec.ok().map(Box::new), status: Box::new(status), unread, object: Box::new(object) }
    }
}

impl Stored {
    /// Its name.
    pub fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        self.object.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// Its UID.
    pub fn uid(&self) -> Option<&str> {
        self.object.metadata.uid.as_deref()
    }

    /// `metadata.generation`.
    pub fn generation(&self) -> i64 {
        self.object.metadata.generation.unwrap_or_default()
    }

    /// When it was created.
    pub fn created(&self) -> Option<Timestamp> {
        self.object.metadata.creation_timestamp.as_ref().map(|time| time.0)
    }

    /// The value of an annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.object.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// All annotations.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        self.object.metadata.annotations.clone().unwrap_or_default()
    }

    /// Whether it is being deleted.
    pub fn is_going(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }

    /// Its spec; none where a newer version wrote what cannot be read here.
    pub fn spec(&self) -> Option<&DlqPolicySpec> {
        self.spec.as_deref()
    }

    /// A field of its spec, as it stands.
    pub fn spec_text(&self, field: &str) -> Option<&str> {
        self.object.data["spec"][field].as_str()
    }

    /// Whether `spec.suspend` is true.
    pub fn is_suspended(&self) -> bool {
        self.object.data["spec"]["suspend"] == json!(true)
    }

    /// What pauses it by annotation, if anything does.
    pub fn paused(&self) -> Option<&str> {
        self.annotation(dlq_crd::annotations::PAUSED).filter(|value| !["", "false"].contains(value))
    }

    /// Its status, as far as it can be read.
    pub fn status(&self) -> &DlqPolicyStatus {
        &self.status
    }

    /// A field of its status, as it stands: a word that is not known here is none in [`status`](Self::status).
    pub fn status_text(&self, pointer: &str) -> Option<&str> {
        self.object.data["status"].pointer(pointer)?.as_str()
    }

    /// Whether a run is in progress that cannot be read here.
    pub fn has_unread_run(&self) -> bool {
        self.status.current_run.is_none() && self.object.data["status"]["currentRun"].is_object()
    }

    /// Whether the operator has seen it as it is now.
    pub fn is_seen(&self) -> bool {
        self.status.observed_generation.is_some_and(|seen| seen >= self.generation())
    }

    /// What cannot be read here, and why.
    pub fn unread(&self) -> &[String] {
        &self.unread
    }

    /// The object, as `-o json` prints it.
    pub fn object(&self) -> &DynamicObject {
        &self.object
    }
}

/// Reads each field by itself, and each item of a list: one that cannot be read takes no other with it.
fn status(value: &Value, unread: &mut Vec<String>) -> DlqPolicyStatus {
    if value.is_object()
        && let Ok(status) = serde_json::from_value(value.clone())
    {
        return status;
    }
    let mut readable = Map::new();
    for (field, value) in value.as_object().into_iter().flatten() {
        match reads(field, value) {
            Ok(()) => {
                readable.insert(field.clone(), value.clone());
            }
            Err(problem) => {
                unread.push(format!("status.{field}: {problem}"));
                if let Value::Array(items) = value {
                    let items = items.iter().filter(|item| reads(field, &json!([item])).is_ok());
                    readable.insert(field.clone(), items.cloned().collect());
                }
            }
        }
    }
    serde_json::from_value(Value::Object(readable)).unwrap_or_default()
}

fn reads(field: &str, value: &Value) -> Result<(), serde_json::Error> {
    serde_json::from_value::<DlqPolicyStatus>(json!({ field: value })).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(value: Value) -> Stored {
        serde_json::from_value::<DynamicObject>(value).map(Stored::from).unwrap()
    }

    #[test]
    fn what_a_newer_operator_wrote_takes_nothing_else_with_it() {
        let policy = stored(json!({
            "metadata": { "name": "a", "namespace": "b", "generation": 2 },
            "spec": { "action": "postpone", "filters": { "all": true } },
            "status": {
                "phase": "Hibernating", "message": "sleeps", "observedGeneration": 2,
                "currentRun": { "id": "1", "trigger": "Moon", "action": "resume", "startTime": "2026-11-20T12:00:00Z" },
                "history": [
                    { "id": "2", "trigger": "Moon", "action": "resume", "startTime": "2026-11-20T12:00:00Z" },
                    { "id": "3", "trigger": "Spec", "action": "resume", "startTime": "2026-11-20T12:00:00Z" },
                ],
                "totals": "many",
            },
        }));
        assert_eq!(policy.spec(), None);
        assert_eq!(policy.spec_text("action"), Some("postpone"));
        assert_eq!(policy.status_text("/phase"), Some("Hibernating"));
        assert_eq!(policy.status().message.as_deref(), Some("sleeps"));
        assert!(policy.is_seen());
        let ids: Vec<_> = policy.status().history.iter().map(|run| run.id.as_str()).collect();
        assert_eq!(ids, ["3"]);
        let fields: Vec<_> = policy.unread().iter().filter_map(|text| text.split(':').next()).collect();
        assert_eq!(fields, ["spec", "status.currentRun", "status.history", "status.totals"]);
    }

    #[test]
    fn a_status_that_is_no_status_at_all_is_none() {
        for status in [json!("all well"), json!([1]), json!(null)] {
            let policy = stored(json!({ "metadata": { "name": "a" }, "status": status }));
            assert_eq!(policy.status(), &DlqPolicyStatus::default());
        }
    }
}
