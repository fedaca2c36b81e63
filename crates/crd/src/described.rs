//! What is said of a field or its type reaches people: the CRD, `kubectl explain` and the reference have room for one
//! description of both. No schema has both, so this reads the sources.

use std::collections::{BTreeMap, BTreeSet};

use kube::CustomResourceExt as _;
use serde_json::Value;

use super::{ClusterDlqConnection, DlqConnection, DlqPolicy};

/// The files whose types are fields of the resources. Those of `text` and `time` are texts to people; what they must look
/// like is told by their rules.
const SOURCES: [&str; 13] = [
    include_str!("backlog.rs"),
    include_str!("conditions.rs"),
    include_str!("connection.rs"),
    include_str!("dlq_connection.rs"),
    include_str!("filters.rs"),
    include_str!("history.rs"),
    include_str!("limits.rs"),
    include_str!("matching.rs"),
    include_str!("overrides.rs"),
    include_str!("run.rs"),
    include_str!("spec.rs"),
    include_str!("status.rs"),
    include_str!("summary.rs"),
];
/// The longest documentation that only names a type, such as "What to do with an entry."
const LONGEST_NAME: usize = 60;

/// A field, as `Type.field`, the words of its type, and its documentation.
struct Field<'a> {
    path: String,
    kind: &'a str,
    doc: String,
}

/// The documentation of each type, and every field.
fn documented() -> (BTreeMap<&'static str, String>, Vec<Field<'static>>) {
    let (mut types, mut fields) = (BTreeMap::new(), Vec::new());
    for source in SOURCES {
        let (mut doc, mut owner, mut is_flat) = (Vec::new(), "", false);
        for line in source.lines() {
            let words = line.trim();
            if let Some(text) = words.strip_prefix("///") {
                doc.push(text.trim());
                continue;
            }
            // Its fields stand in its place, each with a description of its own.
            is_flat |= words == "#[serde(flatten)]";
            let Some(item) = words.strip_prefix("pub ") else {
                // Attributes and their lines stand between the documentation and what it is about.
                if words.is_empty() || words == "}" {
                    doc.clear();
                }
                continue;
            };
            let text = doc.join(" ");
            doc.clear();
            if std::mem::take(&mut is_flat) {
                continue;
            }
            if let Some(name) = item.strip_prefix("struct ").or_else(|| item.strip_prefix("enum ")) {
                owner = name.split(|letter: char| !letter.is_alphanumeric()).next().unwrap();
                types.insert(owner, text);
            } else if let Some((name, kind)) = item.strip_suffix(',').and_then(|item| item.split_once(": ")) {
                fields.push(Field { path: format!("{owner}.{name}"), kind, doc: text });
            }
        }
    }
    (types, fields)
}

/// Whether a documentation says no more than what the type is, so that nothing is lost where only the field's is shown.
fn is_a_name(text: &str) -> bool {
    text.len() <= LONGEST_NAME
        && !text.trim_end_matches('.').contains([',', ';', ':'])
        && !text.contains(". ")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Every description in a CRD.
fn shown(schema: &Value, into: &mut BTreeSet<String>) {
    match schema {
        Value::Object(keys) => {
            into.extend(keys.get("description").and_then(Value::as_str).map(one_line));
            keys.values().for_each(|value| shown(value, into));
        }
        Value::Array(values) => values.iter().for_each(|value| shown(value, into)),
        _ => {}
    }
}

#[test]
fn what_the_documentation_of_a_field_says_is_in_a_crd() {
    let mut descriptions = BTreeSet::new();
    for crd in [DlqPolicy::crd(), DlqConnection::crd(), ClusterDlqConnection::crd()] {
        shown(&serde_json::to_value(crd).unwrap(), &mut descriptions);
    }
    let (_, fields) = documented();
    let lost = fields.iter().filter(|field| !descriptions.contains(&one_line(&field.doc)));
    let lost: Vec<_> = lost.map(|field| field.path.as_str()).collect();
    assert!(lost.is_empty(), "the CRDs show something else for {}", lost.join(", "));
}

#[test]
fn what_the_documentation_of_a_type_says_is_said_at_every_field_of_that_type() {
    let (types, fields) = documented();
    let (mut lost, mut seen) = (Vec::new(), 0);
    for field in &fields {
        for word in field.kind.split(|letter: char| !letter.is_alphanumeric()) {
            let Some(of_type) = types.get(word) else { continue };
            seen += 1;
            if !is_a_name(of_type) && !field.doc.contains(of_type.as_str()) {
                lost.push(format!("{}: {word}", field.path));
            }
        }
    }
    assert!(lost.is_empty(), "people see the field's documentation alone: {}", lost.join(", "));
    // Were the sources written another way, nothing would be looked at.
    assert!(seen > 20 && types.len() > 12, "only {seen} fields and {} types", types.len());
}
