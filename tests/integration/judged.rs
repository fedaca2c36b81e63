//! Entries that are acted on by ID were judged by their own fields: a list that ignores a parameter decides nothing.

use std::collections::BTreeSet;

use dlq_operator::runtime::clock;
use jiff::SignedDuration;
use serde_json::{Value, json};
use testbed::{Entry, Fate};

use crate::events::wait_until_told;
use crate::scene::Scene;

/// So many entries of a row are selected, and so many are not.
const SELECTED: usize = 5;
const OTHERS: usize = 4;

fn ago(minutes: i64) -> i64 {
    (clock::now() - SignedDuration::from_mins(minutes)).as_millisecond()
}

/// What every row selects: it failed two hours ago.
fn selected() -> Entry {
    Entry {
        labels: vec!["a".to_owned()],
        failed_at: Some(ago(120)),
        workflow_created_at: Some(1_700_000_000_123),
        workflow_url: Some("https://app.example.com/pay".to_owned()),
        workflow_run_id: Some("wfr_in_7".to_owned()),
        failure_function_state: Some("CALLBACK_FAIL".to_owned()),
        caller_ip: Some("203.0.113.7".to_owned()),
        flow_control_key: Some("checkout".to_owned()),
        ..Entry::default()
    }
}

/// A parameter that the list ignores, the filter that is sent in it, and an entry that the filter rules out.
fn rows() -> Vec<(&'static str, Value, Entry)> {
    let text = |text: &str| Some(text.to_owned());
    vec![
        ("label", json!({}), Entry { labels: vec!["z".to_owned()], ..selected() }),
        (
            "workflowUrl",
            json!({ "workflowUrls": ["https://app.example.com/pay"] }),
            Entry { workflow_url: text("https://app.example.com/payments"), ..selected() },
        ),
        (
            "workflowRunId",
            json!({ "workflowRunId": "wfr_in" }),
            Entry { workflow_run_id: text("wfr_out_7"), ..selected() },
        ),
        (
            "workflowCreatedAt",
            json!({ "workflowCreatedAt": "2023-11-14T22:13:20.123Z" }),
            Entry { workflow_created_at: Some(1_700_000_000_124), ..selected() },
        ),
        (
            "failureFunctionState",
            json!({ "failureFunctionStates": ["CALLBACK_FAIL"] }),
            Entry { failure_function_state: None, ..selected() },
        ),
        (
            "callerIp",
            json!({ "callerIps": ["203.0.113.7"] }),
            Entry { caller_ip: text("203.0.113.70"), ..selected() },
        ),
        (
            "flowControlKey",
            json!({ "flowControlKeys": ["checkout"] }),
            Entry { flow_control_key: text("checkout-2"), ..selected() },
        ),
        ("fromDate", json!({ "newerThan": "3h" }), Entry { failed_at: Some(ago(240)), ..selected() }),
        ("toDate", json!({ "olderThan": "1h" }), Entry { failed_at: Some(ago(10)), ..selected() }),
    ]
}

#[tokio::test]
async fn a_page_that_is_taken_apart_touches_nothing_outside_the_selection() {
    let scene = Scene::start("judged").await;
    let (rows, mut rules, mut wanted) = (rows(), Vec::new(), Vec::new());
    for (parameter, _, other) in &rows {
        let token = format!("{parameter}-token-7f3a");
        scene.simulator.allow(&token, parameter).await.unwrap();
        scene.apply_secret(&parameter.to_lowercase(), "token", &token).await;
        let ids = scene.simulator.generate(parameter, SELECTED, &selected()).await.unwrap();
        scene.simulator.generate(parameter, OTHERS, other).await.unwrap();
        wanted.push(ids.into_iter().collect::<BTreeSet<_>>());
        rules.push(json!({ "dlq": parameter, "operation": "delete", "fault": { "refuseSeveral": { "parameter": "label" } } }));
        rules.push(json!({ "dlq": parameter, "operation": "list", "fault": { "ignore": { "parameters": [parameter] } } }));
    }
    scene.simulator.set_faults(&json!(rules)).await.unwrap();
    for (parameter, filters, _) in &rows {
        let (name, mut filters) = (parameter.to_lowercase(), filters.clone());
        filters["labels"] = json!(["a", "b"]);
        let connection = json!({ "tokenSecretRef": { "name": name, "key": "token" } });
        scene.apply(&name, json!({ "action": "delete", "filters": filters, "connection": connection })).await;
    }
    for ((parameter, ..), wanted) in rows.iter().zip(wanted) {
        let name = parameter.to_lowercase();
        let run = scene.ran(&name, 1).await["lastRun"].take();
        let counts = ["result", "processed", "rejected", "notFound"].map(|key| &run[key]);
        let expected = [&json!("Succeeded"), &json!(SELECTED), &json!(0), &json!(0)];
        assert_eq!(counts, expected, "{parameter}: {run:#}");
        let ledger = scene.simulator.ledger(parameter).await.unwrap();
        let deleted: BTreeSet<_> =
            ledger.with_fate(Fate::Deleted).map(|entry| entry.dlq_id.clone()).collect();
        assert_eq!(deleted, wanted, "{parameter}");
        let message = run["message"].as_str().unwrap();
        assert!(
            message.starts_with(&format!("left {OTHERS} listed entries alone")),
            "{parameter}: {message}"
        );
        wait_until_told(&scene, &name, "FilterMismatch", 1).await;
    }
}
