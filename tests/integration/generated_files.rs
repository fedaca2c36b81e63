//! The files that are generated, and what must be true of the definition they come from.
//!
//! `UPDATE_GENERATED=1 cargo test --test integration generated_files` writes them.

use std::path::Path;

use dlq_operator::crd::DlqPolicy;
use kube::CustomResourceExt as _;
use serde_json::Value;
use testbed::workspace_root;

use crate::reference;

/// The definition, as `dlq-operator crd` prints it.
pub(crate) fn definition() -> String {
    dlq_operator::cli::definition().unwrap()
}

/// The schema of the one version.
pub(crate) fn schema() -> Value {
    let definition = serde_json::to_value(DlqPolicy::crd()).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// The schemas of an object's fields, and of an array's items as `path[]`.
pub(crate) fn children<'a>(path: &str, schema: &'a Value) -> Vec<(String, &'a Value)> {
    let fields = schema["properties"].as_object().into_iter().flatten();
    let mut children: Vec<_> = fields
        .map(|(name, field)| (format!("{path}.{name}").trim_start_matches('.').to_owned(), field))
        .collect();
    if schema["items"].is_object() {
        children.push((format!("{path}[]"), &schema["items"]));
    }
    children
}

pub(crate) fn assert_is_current(path: &str, content: &str) {
    let file = workspace_root().join(path);
    #[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
    let update = std::env::var("UPDATE_GENERATED").is_ok_and(|value| value == "1");
    if update {
        write(&file, content);
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(committed.trim_end() == content.trim_end(), "{path} is stale: run `make generate`");
}

fn write(file: &Path, content: &str) {
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, format!("{}\n", content.trim_end())).unwrap();
}

#[test]
fn the_committed_definition_is_what_the_types_say() {
    assert_is_current("crds/dlqpolicies.yaml", &definition());
}

#[test]
fn the_committed_reference_is_what_the_types_say() {
    assert_is_current("docs/reference.md", &reference::render(&schema()));
}

#[test]
fn kubectl_shows_what_people_look_for() {
    let definition = serde_json::to_value(DlqPolicy::crd()).unwrap();
    let columns = definition["spec"]["versions"][0]["additionalPrinterColumns"].as_array().unwrap();
    let names = |wide: bool| -> Vec<&str> {
        let columns = columns.iter().filter(|column| wide == (column["priority"] == 1));
        columns.filter_map(|column| column["name"].as_str()).collect()
    };
    assert_eq!(names(false), ["Action", "Schedule", "Suspend", "Phase", "Processed", "Last Run", "Age"]);
    assert_eq!(names(true), ["Next Run", "Total", "Message"]);
    let names = &definition["spec"]["names"];
    assert_eq!(names["shortNames"], serde_json::json!(["dlqp"]));
    assert_eq!(names["categories"], serde_json::json!(["upstash"]));
}

#[test]
fn every_column_reads_a_field_that_exists() {
    let definition = serde_json::to_value(DlqPolicy::crd()).unwrap();
    let (schema, version) = (schema(), &definition["spec"]["versions"][0]);
    for column in version["additionalPrinterColumns"].as_array().unwrap() {
        let path = column["jsonPath"].as_str().unwrap().trim_start_matches('.');
        let field = path.split('.').fold(&schema, |schema, name| &schema["properties"][name]);
        assert!(path.starts_with("metadata.") || field.is_object(), "no field {path}");
    }
}

/// Every field below, with its path.
fn fields<'a>(path: &str, schema: &'a Value, into: &mut Vec<(String, &'a Value)>) {
    for (path, child) in children(path, schema) {
        into.push((path.clone(), child));
        fields(&path, child, into);
    }
}

fn assert_all(path: &str, is_right: impl Fn(&str, &Value) -> bool, what: &str) {
    let schema = schema();
    let mut found = Vec::new();
    fields(path, &schema["properties"][path], &mut found);
    assert!(found.len() > 20, "only {} fields below {path}", found.len());
    let wrong: Vec<_> =
        found.into_iter().filter(|(path, field)| !is_right(path, field)).map(|(path, _)| path).collect();
    assert!(wrong.is_empty(), "{what}: {}", wrong.join(", "));
}

#[test]
fn every_field_is_described() {
    for half in ["spec", "status"] {
        // Items are described by their list.
        let is_described =
            |path: &str, field: &Value| path.ends_with("[]") || field["description"].is_string();
        assert_all(half, is_described, "without a description");
    }
}

#[test]
fn every_integer_of_the_spec_has_a_minimum_and_a_maximum() {
    let is_bounded = |_: &str, field: &Value| {
        field["type"] != "integer" || (field["minimum"].is_number() && field["maximum"].is_number())
    };
    assert_all("spec", is_bounded, "without a minimum and a maximum");
}

#[test]
fn every_string_of_the_spec_has_a_longest_form() {
    let is_bounded = |_: &str, field: &Value| {
        field["type"] != "string" || field["maxLength"].is_number() || field["enum"].is_array()
    };
    assert_all("spec", is_bounded, "without maxLength or enum");
}

#[test]
fn every_list_of_the_spec_is_a_set_with_bounds() {
    let is_bounded = |_: &str, field: &Value| {
        field["type"] != "array"
            || (field["minItems"] == 1
                && field["maxItems"].is_number()
                && field["x-kubernetes-list-type"] == "set")
    };
    assert_all("spec", is_bounded, "not a bounded set");
}

#[test]
fn every_list_and_text_of_the_status_has_a_bound() {
    // The conditions' fields are Kubernetes' own.
    let is_bounded = |path: &str, field: &Value| {
        path.starts_with("status.conditions[]")
            || match field["type"].as_str() {
                Some("string") => {
                    field["maxLength"].is_number()
                        || field["enum"].is_array()
                        || field["format"] == "date-time"
                }
                Some("array") => field["maxItems"].is_number(),
                _ => true,
            }
    };
    assert_all("status", is_bounded, "without a bound");
}
