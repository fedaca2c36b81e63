//! A policy for tests: resumes what has the label `payments`, in the namespace `payments`, as an operator without
//! further limits reads it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::validate::{Policy, Source};
use super::{Permissions, validate};

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
    let spec = serde_json::from_value(spec(fields)).unwrap();
    let annotations: BTreeMap<_, _> = annotations
        .iter()
        .map(|(key, value)| (format!("dlq-operator.dev/{key}"), (*value).to_owned()))
        .collect();
    let source = Source {
        namespace: "payments",
        name: "a",
        generation: 3,
        annotations: &annotations,
        spec: Ok(&spec),
    };
    validate(&source, permissions)
}
