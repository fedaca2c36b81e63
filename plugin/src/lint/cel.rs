//! The rules (CEL) of a resource's definition, and the definitions themselves.

use std::collections::BTreeMap;

use dlq_crd::{ClusterDlqConnection, DlqConnection, DlqPolicy};
use dlq_policy::spec::duration;
use kube::CustomResourceExt;
use kube_cel::{CompiledSchema, Validator, apply_defaults, compile_schema};
use serde_json::{Value, json};

use super::rule::Rule;
use super::schema::{Broken, Checker};

/// What the API server would say of objects of the operator's kinds.
pub(super) struct Definitions {
    validator: Validator,
    kinds: BTreeMap<&'static str, Definition>,
}

struct Definition {
    schema: Value,
    rules: CompiledSchema,
}

impl Definitions {
    pub(super) fn new() -> Self {
        let kinds = [
            ("DlqPolicy", of::<DlqPolicy>()),
            ("DlqConnection", of::<DlqConnection>()),
            ("ClusterDlqConnection", of::<ClusterDlqConnection>()),
        ];
        Self { validator: Validator::new(), kinds: kinds.into_iter().collect() }
    }

    /// The kinds that there are.
    pub(super) fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.kinds.keys().copied()
    }

    /// What is wrong with an object of a kind that there is. Of an object with the wrong structure no rule is asked, as the
    /// API server does.
    pub(super) fn judge(&self, kind: &str, object: &Value) -> Vec<Broken> {
        let Some(Definition { schema, rules }) = self.kinds.get(kind) else { return Vec::new() };
        // The API server drops it on the way in.
        let mut object = object.clone();
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        let mut broken = Checker::check(schema, "", &object);
        if broken.iter().any(|broken| broken.rule != Rule::UnknownField) {
            return broken;
        }
        let object = apply_defaults(schema, &without_nulls(&object));
        if let Err(errors) = self.validator.validate_compiled(rules, &object, None) {
            broken.extend(errors.into_vec().into_iter().map(|error| Broken {
                rule: Rule::BrokenRule,
                field: error.field_path,
                message: error.message,
            }));
        }
        broken.extend(ages(&object));
        broken.extend(hosts(schema, "", &object));
        broken
    }
}

fn of<T: CustomResourceExt>() -> Definition {
    let crd = serde_json::to_value(T::crd()).unwrap_or_default();
    let mut schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    // Every resource has them, and no definition says so.
    for (field, kind) in [("apiVersion", "string"), ("kind", "string"), ("metadata", "object")] {
        schema["properties"][field] = json!({ "type": kind });
    }
    keep_evaluable(&mut schema);
    let rules = compile_schema(&schema);
    Definition { schema, rules }
}

/// Drops the rules that the CEL implementation here cannot evaluate, as it has no timestamp of a number. They compare
/// durations, which [`ages`] and `dlq_policy::validate` do.
fn keep_evaluable(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::Array(rules)) = fields.get_mut("x-kubernetes-validations") {
                rules.retain(|rule| {
                    rule["rule"].as_str().is_some_and(|rule| !rule.contains("timestamp(int("))
                });
            }
            fields.values_mut().for_each(keep_evaluable);
        }
        Value::Array(items) => items.iter_mut().for_each(keep_evaluable),
        _ => {}
    }
}

/// The API server drops null before it asks CEL: where a field has a default, and where it is nullable.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, field)| !field.is_null())
            .map(|(name, field)| (name.clone(), without_nulls(field)))
            .collect(),
        other => other.clone(),
    }
}

/// Whether the bounds of a window's ages leave anything between them.
fn ages(object: &Value) -> Option<Broken> {
    let age = |name: &str| object["spec"]["filters"][name].as_str().and_then(duration::parse);
    (age("newerThan")? <= age("olderThan")?).then(|| Broken {
        rule: Rule::BrokenRule,
        field: "spec.filters.newerThan".to_owned(),
        message: "newerThan must be longer than olderThan, else no entry can match".to_owned(),
    })
}

/// URLs without a host. The CEL implementation here reads URLs as browsers do, to whom `https:///api` has the host `api`;
/// the API server finds none.
fn hosts(schema: &Value, path: &str, value: &Value) -> Vec<Broken> {
    match value {
        Value::String(text) => {
            let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
            let mut asking = rules.filter(|rule| {
                rule["rule"].as_str().is_some_and(|rule| rule.contains("getHostname() != ''"))
            });
            let asked = asking.next().filter(|_| !has_host(text));
            let broken = asked.map(|rule| Broken {
                rule: Rule::BrokenRule,
                field: path.to_owned(),
                message: rule["message"].as_str().unwrap_or_default().to_owned(),
            });
            broken.into_iter().collect()
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items
                .flat_map(|(index, item)| hosts(&schema["items"], &format!("{path}[{index}]"), item))
                .collect()
        }
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, field)| {
                hosts(&schema["properties"][name], &super::schema::joined(path, name), field)
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn has_host(url: &str) -> bool {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    !authority.is_empty() && !authority.contains('\\')
}

#[cfg(test)]
#[path = "cel_tests.rs"]
mod tests;
