//! The policy as the API server keeps it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::schema;
use crate::spec::validate::Source;
use crate::{Permissions, Policy, validate};
use dlq_crd::{DlqPolicySpec, DlqPolicyStatus, PolicyRun, annotations};

/// What becomes of a write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// It arrives, and so does the answer.
    None,
    /// It never arrives.
    Lost,
    /// It arrives, and nobody hears of it.
    AnswerLost,
    /// It arrives when nobody waits for an answer any more.
    Late,
    /// Somebody else wrote before.
    Conflict,
}

/// What must hold for a write.
#[derive(Clone, Debug)]
pub(super) enum Precondition {
    /// The status is this one.
    Unchanged(Box<DlqPolicyStatus>),
    /// The run is this one, in this process' hands and in this revision.
    OurRun(Box<PolicyRun>),
}

/// What the writer learns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Written {
    Yes,
    Conflict,
    Unknown,
}

/// The policy as the API server keeps it.
pub(super) struct ApiServer {
    pub(super) spec: Value,
    pub(super) annotations: BTreeMap<String, String>,
    generation: i64,
    status: Value,
}

impl ApiServer {
    pub(super) fn new(spec: Value) -> Self {
        Self { spec, annotations: BTreeMap::new(), generation: 1, status: Value::Null }
    }

    /// Puts fields of the spec in place of those before; null removes one.
    pub(super) fn edit(&mut self, fields: &Value) {
        let before = self.spec.clone();
        let spec = self.spec.as_object_mut().unwrap();
        spec.extend(fields.as_object().unwrap().clone());
        spec.retain(|_, value| !value.is_null());
        self.generation += i64::from(self.spec != before);
    }

    pub(super) fn annotate(&mut self, key: &str, value: Option<&String>) {
        let key = format!("dlq-operator.dev/{key}");
        assert!(annotations::ALL.contains(&key.as_str()));
        match value {
            Some(value) => self.annotations.insert(key, value.clone()),
            None => self.annotations.remove(&key),
        };
    }

    pub(super) fn policy(&self, permissions: &Permissions) -> Policy {
        let spec: Result<DlqPolicySpec, _> = serde_json::from_value(self.spec.clone());
        let source = Source {
            namespace: "payments",
            name: "a",
            generation: self.generation,
            annotations: &self.annotations,
            spec: Ok(&spec.expect("specs can be read")),
        };
        validate(&source, permissions)
    }

    pub(super) fn status(&self) -> DlqPolicyStatus {
        if self.status.is_null() {
            return DlqPolicyStatus::default();
        }
        serde_json::from_value(self.status.clone()).expect("what was written can be read")
    }

    /// Puts a status in place, if the precondition holds.
    pub(super) fn write(&mut self, next: &DlqPolicyStatus, precondition: &Precondition) -> bool {
        let holds = match precondition {
            Precondition::Unchanged(status) => self.status() == **status,
            Precondition::OurRun(known) => {
                let (run, known) = (&self.status["currentRun"], serde_json::to_value(known).unwrap());
                ["id", "startTime", "holder", "revision"].iter().all(|field| run[*field] == known[*field])
            }
        };
        if holds {
            self.status = self.check(next);
        }
        holds
    }

    /// Judges a status, also one that does not arrive: nothing else may ever be sent.
    pub(super) fn check(&self, next: &DlqPolicyStatus) -> Value {
        let next = serde_json::to_value(next).unwrap();
        let problems = schema::problems(&self.status, &next);
        assert!(problems.is_empty(), "the API server would refuse this status: {problems:#?}");
        next
    }
}
