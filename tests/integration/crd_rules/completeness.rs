//! The table forgets nothing: every rule of the definitions is broken by some row, and every bound is touched from both
//! sides.

use serde_json::Value;

use super::{Row, Verdict, table};
use crate::generated_files::{children, schemas};

/// Bounds that no valid value can reach, as another rule is narrower.
const UNREACHABLE: [(&str, &str); 6] = [
    // The longest address in text has 39 characters.
    ("spec.filters.callerIps[]", "maxLength"),
    // The longest duration has 34.
    ("spec.filters.newerThan", "maxLength"),
    ("spec.filters.olderThan", "maxLength"),
    ("spec.jitter", "maxLength"),
    ("spec.backlog.interval", "maxLength"),
    ("spec.backlog.retention", "maxLength"),
];

/// `spec.filters.labels[2]` as `spec.filters.labels[]`.
fn without_index(field: &str) -> String {
    let Some((before, after)) = field.split_once('[') else { return field.to_owned() };
    let (_, after) = after.split_once(']').unwrap();
    format!("{before}[]{}", without_index(after))
}

fn is_refused(rows: &[&Row], path: &str, says: impl Fn(&str) -> bool) -> bool {
    rows.iter().any(|row| match row.verdict {
        Verdict::Accepted => false,
        Verdict::Rejected { field, message } => without_index(field) == path && says(message),
    })
}

/// All that accepted rows have at a path.
fn accepted_values<'a>(rows: &[&'a Row], path: &str) -> Vec<&'a Value> {
    let mut values: Vec<&Value> =
        rows.iter().filter(|row| matches!(row.verdict, Verdict::Accepted)).map(|row| &row.manifest).collect();
    for part in path.split('.') {
        let name = part.trim_end_matches("[]");
        values = values.into_iter().filter_map(|value| value.get(name)).collect();
        if part.ends_with("[]") {
            values = values.into_iter().filter_map(Value::as_array).flatten().collect();
        }
    }
    values
}

/// How far a value goes into a bound.
fn measure(keyword: &str, value: &Value) -> Option<String> {
    match keyword {
        "maxLength" => value.as_str().map(|text| text.chars().count().to_string()),
        "minItems" | "maxItems" => value.as_array().map(|items| items.len().to_string()),
        "maxProperties" => value.as_object().map(|fields| fields.len().to_string()),
        _ => value.as_u64().map(|number| number.to_string()),
    }
}

/// A bound as it is written, whether the schema has it as `50` or as `50.0`.
fn bound(schema: &Value, keyword: &str) -> Option<String> {
    schema[keyword].as_f64().map(|bound| bound.to_string())
}

fn missing(rows: &[&Row], path: &str, schema: &Value) -> Vec<String> {
    let mut missing = Vec::new();
    let mut refused = |what: &str, says: &dyn Fn(&str) -> bool| {
        if !is_refused(rows, path, says) {
            missing.push(format!("{path}: no row is rejected for {what}"));
        }
    };
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let said = rule["message"].as_str().unwrap();
        let at = format!("{path}{}", rule["fieldPath"].as_str().unwrap_or_default());
        if !is_refused(rows, &at, |message| said.contains(message)) {
            refused(said, &|_| false);
        }
    }
    let bounds = [
        ("maxLength", "may not be more than"),
        ("minLength", "at least"),
        ("minimum", "greater than or equal to"),
        ("maximum", "less than or equal to"),
        ("minItems", "at least"),
        ("maxItems", "must have at most"),
        ("maxProperties", "must have at most"),
    ];
    for (keyword, words) in bounds {
        // A minimum of 0 for a length is none.
        if let Some(bound) = bound(schema, keyword).filter(|bound| keyword != "minLength" || bound != "0") {
            let words = format!("{words} {bound}");
            refused(&words, &|message| message.contains(&words));
        }
    }
    if schema["enum"].is_array() {
        refused("a value that is not in the list", &|message| message.contains("supported values"));
    }
    if schema["format"] == "date-time" {
        refused("a date that does not exist", &|message| {
            message.contains("must be of type date-time") || message.contains("should match")
        });
    }
    if schema["x-kubernetes-list-type"] == "set"
        && !is_refused(rows, &format!("{path}[]"), |m| m == "Duplicate value")
    {
        missing.push(format!("{path}: no row is rejected for a duplicate"));
    }
    for field in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !is_refused(rows, &format!("{path}.{field}"), |message| message == "Required value") {
            missing.push(format!("{path}: no row is rejected for want of {field}"));
        }
    }
    for keyword in ["maxLength", "minimum", "maximum", "minItems", "maxItems", "maxProperties"] {
        let Some(bound) = bound(schema, keyword).filter(|_| !UNREACHABLE.contains(&(path, keyword))) else {
            continue;
        };
        let values = accepted_values(rows, path);
        let touched = values.iter().any(|value| measure(keyword, value).as_ref() == Some(&bound));
        if !touched {
            missing.push(format!("{path}: no row is accepted with exactly {keyword} {bound}"));
        }
    }
    missing
}

fn walk(rows: &[&Row], path: &str, schema: &Value, into: &mut Vec<String>) {
    into.extend(missing(rows, path, schema));
    for (path, child) in children(path, schema) {
        walk(rows, &path, child, into);
    }
}

#[test]
fn every_rule_has_a_row_that_breaks_it_and_every_bound_a_row_on_each_side() {
    let (table, mut lacking) = (table(), Vec::new());
    for (kind, schema) in schemas() {
        let rows: Vec<_> = table.iter().filter(|row| row.kind == kind).collect();
        let mut missing = Vec::new();
        walk(&rows, "spec", &schema["properties"]["spec"], &mut missing);
        lacking.extend(missing.into_iter().map(|missing| format!("{kind}: {missing}")));
    }
    assert!(lacking.is_empty(), "the table lacks:\n{}", lacking.join("\n"));
}
