//! The table again, without an API server: what CEL decides.

use std::collections::BTreeSet;

use kube_cel::{Validator, compile_schema};
use serde_json::Value;

use super::{Row, Verdict, report, table};
use crate::generated_files::schemas;

/// Rows that the CEL implementation here judges otherwise.
const OTHERWISE: [&str; 1] = [
    // It reads URLs as browsers do: `https:///api` has the host `api`.
    "a workflow's URL has a host",
];

/// Drops the rules that the CEL implementation here cannot evaluate: it has no timestamp of a number.
fn keep_evaluable(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::Array(rules)) = fields.get_mut("x-kubernetes-validations") {
                rules.retain(|rule| !rule["rule"].as_str().unwrap().contains("timestamp(int("));
            }
            fields.values_mut().for_each(keep_evaluable);
        }
        Value::Array(items) => items.iter_mut().for_each(keep_evaluable),
        _ => {}
    }
}

/// The messages of all rules at or below a schema.
fn messages(schema: &Value, into: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            for rule in fields.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten()
            {
                into.insert(rule["message"].as_str().expect("every rule has a message").to_owned());
            }
            fields.values().for_each(|field| messages(field, into));
        }
        Value::Array(items) => items.iter().for_each(|item| messages(item, into)),
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

/// Whether this row is CEL's to decide: it is accepted, or a rule says its message.
fn is_local(row: &Row, messages: &BTreeSet<String>) -> bool {
    if OTHERWISE.contains(&row.name) {
        return false;
    }
    match row.verdict {
        Verdict::Accepted => true,
        Verdict::Rejected { message, .. } => messages.iter().any(|rule| rule.contains(message)),
    }
}

#[test]
fn cel_judges_every_manifest_that_is_its_own_as_the_table_says() {
    let table = table();
    for ((kind, mut schema), least) in schemas().into_iter().zip([100, 30, 40]) {
        keep_evaluable(&mut schema);
        let mut rules = BTreeSet::new();
        messages(&schema, &mut rules);
        let (validator, compiled) = (Validator::new(), compile_schema(&schema));

        let mut failures = Vec::new();
        let mut judged = 0;
        for row in table.iter().filter(|row| row.kind == kind && is_local(row, &rules)) {
            judged += 1;
            let name = row.name;
            let manifest = kube_cel::apply_defaults(&schema, &without_nulls(&row.manifest));
            match (validator.validate_compiled(&compiled, &manifest, None), row.verdict) {
                (Ok(()), Verdict::Accepted) => {}
                (Ok(()), Verdict::Rejected { .. }) => failures.push(format!("{name}: accepted")),
                (Err(errors), Verdict::Accepted) => failures.push(format!("{name}: {errors}")),
                (Err(errors), Verdict::Rejected { field, message }) => {
                    if !errors
                        .iter()
                        .any(|error| error.field_path == field && error.message.contains(message))
                    {
                        failures.push(format!("{name}: expected {field}: {message}; got {errors}"));
                    }
                }
            }
        }
        report(&failures);
        assert!(judged > least, "only {judged} rows of {kind} are CEL's to decide");
    }
}
