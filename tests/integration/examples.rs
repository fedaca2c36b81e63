//! The objects that people copy, from `examples/` and from the pages: each is one that the API server takes.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use testbed::workspace_root;

use crate::cluster::{Judge, decoded};
use crate::documents::{below, pages};
use crate::generated_files::schemas;

/// Whole objects of our kinds, with where each was found.
fn objects(place: &str, yaml: &str) -> Vec<(String, Value)> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("{place}: {error}"));
    documents
        .into_iter()
        .filter(|document| document["apiVersion"] == "dlq-operator.dev/v1alpha1")
        .map(|object| (place.to_owned(), object))
        .collect()
}

/// The kinds that are found among them.
fn kinds(objects: &[(String, Value)]) -> BTreeSet<&str> {
    objects.iter().map(|(_, object)| object["kind"].as_str().unwrap()).collect()
}

fn in_examples() -> Vec<(String, Value)> {
    let mut files = Vec::new();
    below(&workspace_root().join("examples"), "yaml", &mut files);
    files
        .iter()
        .flat_map(|file| objects(&file.display().to_string(), &fs::read_to_string(file).unwrap()))
        .collect()
}

/// The code blocks of pages that are whole manifests.
fn in_pages() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let blocks = text.split("\n```yaml\n").skip(1).filter_map(|rest| rest.split("\n```").next());
        for block in blocks.filter(|block| block.starts_with("apiVersion:")) {
            found.extend(objects(&page.display().to_string(), block));
        }
    }
    found
}

async fn assert_all_are_taken(objects: Vec<(String, Value)>) {
    let judge = Judge::new().await;
    let mut failures = Vec::new();
    for (place, object) in objects {
        if let Err(refusal) = judge.judge(&object).await {
            failures.push(format!("{place}: {}", refusal.message));
        }
        let kind = object["kind"].as_str().unwrap().to_owned();
        if let Err(error) = decoded(&kind, object) {
            failures.push(format!("{place}: cannot be decoded: {error}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[tokio::test]
async fn the_api_server_takes_every_example() {
    let objects = in_examples();
    assert!(objects.len() >= 8, "only {} examples", objects.len());
    assert_eq!(
        kinds(&objects),
        schemas().iter().map(|(kind, _)| kind.as_str()).collect(),
        "one of each kind"
    );
    assert_all_are_taken(objects).await;
}

#[tokio::test]
async fn the_api_server_takes_every_object_in_the_pages() {
    let objects = in_pages();
    assert!(objects.len() >= 3, "only {} objects in the pages", objects.len());
    assert_all_are_taken(objects).await;
}

#[test]
fn the_examples_have_different_names() {
    let name =
        |(_, object): (String, Value)| [&object["kind"], &object["metadata"]["name"]].map(Value::to_string);
    let mut names: Vec<_> = in_examples().into_iter().map(name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

/// So that people who apply the folder get policies that run.
#[test]
fn every_connection_that_an_example_names_is_in_the_examples() {
    let objects = in_examples();
    let is_there = |kind: &str, namespace: &Value, name: &Value| {
        objects.iter().any(|(_, object)| {
            let metadata = &object["metadata"];
            object["kind"] == kind && metadata["name"] == *name && metadata["namespace"] == *namespace
        })
    };
    let mut named = 0;
    for (place, policy) in objects.iter().filter(|(_, object)| object["kind"] == "DlqPolicy") {
        let connection = &policy["spec"]["connection"];
        if connection["name"].is_null() {
            continue;
        }
        named += 1;
        let kind = connection["kind"].as_str().unwrap_or("DlqConnection");
        let own = &policy["metadata"]["namespace"];
        let namespace = if kind == "DlqConnection" { own } else { &Value::Null };
        assert!(is_there(kind, namespace, &connection["name"]), "{place}: no {kind} {}", connection["name"]);
    }
    assert!(named >= 2, "only {named} policies of the examples name a connection");
}
