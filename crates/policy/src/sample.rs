//! A policy for tests: resumes what has the label `payments`, in the namespace `payments`, as an operator without
//! further limits reads it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use std::ops::{Deref, DerefMut};

use jiff::Timestamp;

use super::validate::Source;
use super::{Connectivity, Facts, Permissions, Plan, plan, validate};
use crate::{Invalid, Policy, SharedConnection};
use dlq_crd::DlqPolicyStatus;

pub(crate) fn permissions() -> Permissions {
    Permissions {
        urls: vec!["https://qstash.upstash.io".parse().unwrap(), "http://127.0.0.1:8081".parse().unwrap()],
        actions: Vec::new(),
        callback_urls: Vec::new(),
        default_url: url::Url::parse("https://qstash.upstash.io").unwrap(),
        default_connection_namespaces: vec!["payments".into()],
        pause_all: false,
        force_dry_run: false,
    }
}

/// The spec with other fields, or without those that are null.
pub(crate) fn spec(fields: &Value) -> Value {
    let mut spec = json!({"action": "resume", "filters": {"labels": ["payments"]}});
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    spec.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    spec
}

/// The policy with other fields, annotations without their prefix, and permissions.
pub(crate) fn policy(fields: &Value, annotations: &[(&str, &str)], permissions: &Permissions) -> Policy {
    policy_with(fields, annotations, permissions, None)
}

/// The same, where the spec names a shared connection.
pub(crate) fn policy_with(
    fields: &Value,
    annotations: &[(&str, &str)],
    permissions: &Permissions,
    shared: Option<Result<&SharedConnection, &Invalid>>,
) -> Policy {
    let spec = serde_json::from_value(spec(fields)).unwrap();
    let annotations: BTreeMap<_, _> = annotations
        .iter()
        .map(|(key, value)| (format!("dlq-operator.dev/{key}"), (*value).to_owned()))
        .collect();
    let source = Source {
        namespace: "payments",
        name: "a",
        generation: 3,
        created: Some("2026-11-20T12:00:00Z".parse().unwrap()),
        annotations: &annotations,
        spec: Ok(&spec),
        shared,
    };
    validate(&source, permissions)
}

/// A policy, and what is known beside it.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) policy: Policy,
    pub(crate) facts: Facts,
}

impl From<Policy> for Known {
    fn from(policy: Policy) -> Self {
        Self { policy, facts: Facts::default() }
    }
}

impl Deref for Known {
    type Target = Policy;

    fn deref(&self) -> &Policy {
        &self.policy
    }
}

impl DerefMut for Known {
    fn deref_mut(&mut self) -> &mut Policy {
        &mut self.policy
    }
}

impl Known {
    /// The same with this connection.
    pub(crate) fn with(self, connection: Connectivity) -> Self {
        Self { facts: Facts { connection: Some(connection), ..self.facts }, ..self }
    }

    /// What to do with it. Where the plan depends on its token, that is found.
    pub(crate) fn plan(&self, status: &DlqPolicyStatus, now: Timestamp) -> Plan {
        plan(&self.policy, status, &self.facts, now).unwrap_or_else(|question| {
            plan(&self.policy, status, &self.clone().with(Connectivity::Usable).facts, now)
                .unwrap_or_else(|_| panic!("asks {question:?} again"))
        })
    }
}
