//! Renders the API reference from the schema.

use std::fmt::Write as _;

use serde_json::Value;

use crate::generated_files::children;

/// The whole page, of the schemas of these kinds.
pub(crate) fn render(schemas: &[(String, Value)]) -> String {
    let mut page = String::from(
        "# API reference\n\n\
         Group `dlq-operator.dev`, version `v1alpha1`. This page is generated from the definitions: \
         `make generate` writes it.\n\n\
         A list is written as `name[]`. *Required* means: required where the object it stands in is given.\n\n",
    );
    for (kind, _) in schemas {
        let _ = writeln!(page, "- [{kind}](#{})", kind.to_lowercase());
    }
    for (kind, schema) in schemas {
        resource(kind, schema, &mut page);
    }
    page
}

fn resource(kind: &str, schema: &Value, page: &mut String) {
    let _ = write!(page, "\n## {kind}\n\n{}\n", one_line(&schema["description"]));
    for half in ["spec", "status"] {
        let half_schema = &schema["properties"][half];
        let _ = write!(page, "\n### {half} of {kind}\n\n{}\n\n", one_line(&half_schema["description"]));
        page.push_str("| field | type | default | bounds | description |\n| --- | --- | --- | --- | --- |\n");
        rows(half, half_schema, page);
    }
    let _ = write!(
        page,
        "\n### rules of {kind}\n\n\
         The API server refuses a `{kind}` that breaks one of these, with the message given here.\n\n\
         | field | message |\n| --- | --- |\n"
    );
    rules("spec", &schema["properties"]["spec"], page);
}

fn rows(path: &str, schema: &Value, page: &mut String) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (path, field) in children(path, schema) {
        if path.ends_with("[]") {
            rows(&path, field, page);
            continue;
        }
        let name = path.rsplit('.').next().unwrap_or_default();
        let default = if required.iter().any(|required| required == name) {
            "*required*".to_owned()
        } else {
            match &field["default"] {
                Value::Null => String::new(),
                default => format!("`{default}`"),
            }
        };
        let shown = if field["type"] == "array" { format!("{path}[]") } else { path.clone() };
        let _ = writeln!(
            page,
            "| `{shown}` | {} | {default} | {} | {} |",
            kind(field),
            bounds(field),
            one_line(&field["description"]),
        );
        rows(&path, field, page);
    }
}

fn rules(path: &str, schema: &Value, page: &mut String) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let at = rule["fieldPath"].as_str().unwrap_or_default();
        let _ = writeln!(page, "| `{path}{at}` | {} |", one_line(&rule["message"]));
    }
    for (path, field) in children(path, schema) {
        rules(&path, field, page);
    }
}

fn kind(field: &Value) -> &str {
    match (field["type"].as_str(), field["format"].as_str()) {
        (Some("string"), Some("date-time")) => "date",
        (Some("array"), _) => match kind(&field["items"]) {
            "object" => "objects",
            _ => "strings",
        },
        (Some(kind), _) => kind,
        (None, _) => "",
    }
}

fn bounds(field: &Value) -> String {
    let mut parts = Vec::new();
    if let Some(values) = field["enum"].as_array() {
        let values: Vec<_> =
            values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect();
        parts.push(values.join(", "));
    }
    let mut range = |least: &str, most: &str, unit: &str| {
        let Some(most) = field[most].as_f64() else { return };
        parts.push(match field[least].as_f64() {
            Some(least) if least > 0.0 || unit.is_empty() => format!("{least}–{most}{unit}"),
            _ => format!("at most {most}{unit}"),
        });
    };
    range("minimum", "maximum", "");
    range("minLength", "maxLength", " characters");
    range("minItems", "maxItems", " items");
    range("minProperties", "maxProperties", " entries");
    if field["x-kubernetes-list-type"] == "set" {
        parts.push("no duplicates".to_owned());
    }
    if field["items"].is_object() && field["items"]["type"] != "object" {
        let items = bounds(&field["items"]);
        if !items.is_empty() {
            parts.push(format!("each {items}"));
        }
    }
    parts.join("; ")
}

/// A description as one cell of a table.
fn one_line(text: &Value) -> String {
    text.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
