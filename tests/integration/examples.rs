//! The policies that people copy, from `examples/` and from the pages: each is one that the API server takes.

use std::fs;

use dlq_crd::DlqPolicy;
use serde_json::Value;
use testbed::workspace_root;

use crate::cluster::Judge;
use crate::documents::{below, pages};

/// Whole policies, with where each was found.
fn policies(place: &str, yaml: &str) -> Vec<(String, Value)> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("{place}: {error}"));
    documents
        .into_iter()
        .filter(|document| document["kind"] == "DlqPolicy")
        .map(|policy| (place.to_owned(), policy))
        .collect()
}

fn in_examples() -> Vec<(String, Value)> {
    let mut files = Vec::new();
    below(&workspace_root().join("examples"), "yaml", &mut files);
    files
        .iter()
        .flat_map(|file| policies(&file.display().to_string(), &fs::read_to_string(file).unwrap()))
        .collect()
}

/// The code blocks of pages that are whole manifests.
fn in_pages() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let blocks = text.split("\n```yaml\n").skip(1).filter_map(|rest| rest.split("\n```").next());
        for block in blocks.filter(|block| block.starts_with("apiVersion:")) {
            found.extend(policies(&page.display().to_string(), block));
        }
    }
    found
}

async fn assert_all_are_taken(policies: Vec<(String, Value)>) {
    let judge = Judge::new().await;
    let mut failures = Vec::new();
    for (place, policy) in policies {
        if let Err(refusal) = judge.judge(&policy).await {
            failures.push(format!("{place}: {}", refusal.message));
        }
        if let Err(error) = serde_json::from_value::<DlqPolicy>(policy) {
            failures.push(format!("{place}: cannot be decoded: {error}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[tokio::test]
async fn the_api_server_takes_every_example() {
    let policies = in_examples();
    assert!(policies.len() >= 8, "only {} examples", policies.len());
    assert_all_are_taken(policies).await;
}

#[tokio::test]
async fn the_api_server_takes_every_policy_in_the_pages() {
    let policies = in_pages();
    assert!(policies.len() >= 3, "only {} policies in the pages", policies.len());
    assert_all_are_taken(policies).await;
}

#[test]
fn the_examples_have_different_names() {
    let mut names: Vec<_> =
        in_examples().into_iter().map(|(_, policy)| policy["metadata"]["name"].to_string()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
