//! The policy as the API server keeps it.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::schema;
use super::shared::SHARED;
use crate::spec::validate::Source;
use crate::{Permissions, Policy, validate};
use dlq_crd::{DlqPolicySpec, DlqPolicyStatus, PolicyRun, annotations};

/// So many former states are kept.
const MOST_KEPT: usize = 32;

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
    /// Nothing was written since this version.
    Version(usize),
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
    now: Object,
    /// As it was before each change, the latest last.
    before: VecDeque<Object>,
}

/// The policy at one moment.
#[derive(Clone, Debug)]
pub(super) struct Object {
    spec: Value,
    annotations: BTreeMap<String, String>,
    generation: i64,
    status: Value,
    pub(super) version: usize,
}

impl Object {
    /// The spec as it is stored.
    pub(super) fn spec(&self) -> &Value {
        &self.spec
    }
}

impl ApiServer {
    pub(super) fn new(mut spec: Value) -> Self {
        without_what_is_refused(&mut spec);
        let now =
            Object { spec, annotations: BTreeMap::new(), generation: 1, status: Value::Null, version: 0 };
        Self { now, before: VecDeque::new() }
    }

    /// The policy as it is, or as it was so many changes ago.
    pub(super) fn object(&self, changes_ago: usize) -> &Object {
        let index = self.before.len().checked_sub(changes_ago);
        index.and_then(|index| self.before.get(index)).unwrap_or(&self.now)
    }

    /// The policy in this version.
    pub(super) fn version(&self, version: usize) -> &Object {
        self.object(self.now.version - version)
    }

    /// It is about to change.
    fn change(&mut self) -> &mut Object {
        self.before.push_back(self.now.clone());
        if self.before.len() > MOST_KEPT {
            self.before.pop_front();
        }
        self.now.version += 1;
        &mut self.now
    }

    /// Puts fields of the spec in place of those before; null removes one.
    pub(super) fn edit(&mut self, fields: &Value) {
        let now = self.change();
        let before = now.spec.clone();
        let spec = now.spec.as_object_mut().unwrap();
        spec.extend(fields.as_object().unwrap().clone());
        spec.retain(|_, value| !value.is_null());
        without_what_is_refused(&mut now.spec);
        now.generation += i64::from(now.spec != before);
    }

    pub(super) fn annotate(&mut self, key: &str, value: Option<&String>) {
        let key = format!("dlq-operator.dev/{key}");
        assert!(annotations::ALL.contains(&key.as_str()));
        let annotations = &mut self.change().annotations;
        match value {
            Some(value) => annotations.insert(key, value.clone()),
            None => annotations.remove(&key),
        };
    }

    pub(super) fn policy(&self, permissions: &Permissions) -> Policy {
        self.now.policy(permissions)
    }

    pub(super) fn status(&self) -> DlqPolicyStatus {
        self.now.status()
    }

    /// Puts a status in place, if the precondition holds.
    pub(super) fn write(&mut self, next: &DlqPolicyStatus, precondition: &Precondition) -> bool {
        let holds = match precondition {
            Precondition::Version(version) => self.now.version == *version,
            Precondition::Unchanged(status) => self.status() == **status,
            Precondition::OurRun(known) => {
                let (run, known) = (&self.now.status["currentRun"], serde_json::to_value(known).unwrap());
                ["id", "startTime", "holder", "revision"].iter().all(|field| run[*field] == known[*field])
            }
        };
        if holds {
            let next = self.check(next);
            self.change().status = next;
        }
        holds
    }

    /// Judges a status, also one that does not arrive: nothing else may ever be sent.
    pub(super) fn check(&self, next: &DlqPolicyStatus) -> Value {
        let next = serde_json::to_value(next).unwrap();
        let problems = schema::problems(&self.now.status, &next);
        assert!(problems.is_empty(), "the API server would refuse this status: {problems:#?}");
        next
    }
}

/// An edit that would be refused is made without what it is refused for.
fn without_what_is_refused(spec: &mut Value) {
    if spec["filters"].get("dlqIds").is_some() {
        spec.as_object_mut().unwrap().remove("backlog");
    }
}

impl Object {
    pub(super) fn policy(&self, permissions: &Permissions) -> Policy {
        let spec: Result<DlqPolicySpec, _> = serde_json::from_value(self.spec.clone());
        let spec = spec.expect("specs can be read");
        let connection = spec.connection.as_ref();
        let names_connection = connection.is_some_and(|connection| connection.name.is_some());
        let source = Source {
            namespace: "payments",
            name: "a",
            generation: self.generation,
            created: None,
            annotations: &self.annotations,
            spec: Ok(&spec),
            shared: names_connection.then(|| Ok(&*SHARED)),
        };
        validate(&source, permissions)
    }

    pub(super) fn status(&self) -> DlqPolicyStatus {
        if self.status.is_null() {
            return DlqPolicyStatus::default();
        }
        serde_json::from_value(self.status.clone()).expect("what was written can be read")
    }
}
