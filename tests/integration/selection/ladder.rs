//! The example of three policies that hand failing workflow runs on to each other: resumed, restarted, deleted.

use std::fs;

use serde_json::{Value, json};
use testbed::{Entry, Fate, eventually, workspace_root};

use super::{assert_lineages, lineages};
use crate::at_most_once::tempt;
use crate::scene::{DLQ, PATIENCE, Scene};

const ENTRIES: usize = 20;

/// The policies of `examples/ladder.yaml`: names and specs.
fn ladder() -> Vec<(String, Value)> {
    let text = fs::read_to_string(workspace_root().join("examples/ladder.yaml")).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let policies = documents.into_iter().filter(|document| document["kind"] == "DlqPolicy");
    policies
        .map(|mut policy| (policy["metadata"]["name"].as_str().unwrap().to_owned(), policy["spec"].take()))
        .collect()
}

/// The same policy every second and without waiting, as this test's operator serves it. All else is as the example has it.
fn hurried(spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["schedule"] = "@every 1s".into();
    let fields = spec.as_object_mut().unwrap();
    for field in ["connection", "jitter", "timeZone", "startingDeadlineSeconds"] {
        fields.remove(field);
    }
    let filters = fields["filters"].as_object_mut().unwrap();
    for age in ["olderThan", "newerThan"] {
        filters.remove(age);
    }
    if filters.is_empty() {
        filters.insert("all".to_owned(), json!(true));
    }
    spec
}

#[tokio::test]
async fn a_failing_workflow_run_goes_up_the_ladder_of_the_examples_to_its_end() {
    let ladder = ladder();
    let actions: Vec<_> = ladder.iter().map(|(_, spec)| spec["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["resume", "restart", "delete"]);
    let selected = |(_, spec): &(String, Value)| -> Vec<String> {
        serde_json::from_value(spec["filters"]["labels"].clone()).unwrap_or_default()
    };
    // What all three select.
    let labels: Vec<_> = ladder.iter().flat_map(selected).take(1).collect();
    let scene = Scene::start_with("ladder", &[]).await;
    let entry = Entry { labels: labels.clone(), response_status: Some(503), ..Entry::default() };
    scene.simulator.generate(DLQ, ENTRIES, &entry).await.unwrap();
    let in_vain = Entry { dlq_id: Some("in-vain".to_owned()), response_status: Some(489), ..entry };
    scene.simulator.add(DLQ, &[in_vain]).await.unwrap();
    tempt(&scene.simulator, DLQ).await;
    for (name, spec) in &ladder {
        scene.apply(name, hurried(spec)).await;
    }
    eventually(PATIENCE, "the ladder comes to its end", async || {
        let ledger = scene.simulator.ledger(DLQ).await.unwrap();
        let deleted = ledger.with_fate(Fate::Deleted).count();
        if deleted == ENTRIES { Ok(()) } else { Err(format!("{deleted} of {ENTRIES} are deleted")) }
    })
    .await
    .unwrap();
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    let own: Vec<_> = labels.iter().map(String::as_str).collect();
    let mut lineages = lineages(&ledger);
    // As the example says, what must not be tried again is left.
    let in_vain = lineages.remove("in-vain").unwrap();
    assert_eq!((in_vain.actions.len(), in_vain.fate), (0, Fate::InDlq));
    let actions = ["resume", "resume", "resume", "restart", "delete"];
    assert_lineages(lineages, &own, ENTRIES, &actions, Fate::Deleted);
    for (name, _) in &ladder {
        let status =
            scene.status(name, "it has run", |status| status["totals"]["runs"].as_i64() > Some(0)).await;
        assert_eq!(status["totals"]["failedRuns"], 0, "{name}: {status:#}");
    }
}
