//! The same over sockets, with clients that really run at the same time.

use std::collections::BTreeSet;

use futures::future::try_join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::audit::audit;
use dlq_simulator::service::Order;

use crate::harness::{ORDERS, Running, answer, start_with};

const ENTRIES: u64 = 3000;
const CLIENTS: usize = 8;

/// Takes pages from the beginning of the DLQ until there is nothing left.
async fn drain(simulator: &Running, method: Method, path: &str) -> Vec<Value> {
    let mut pages = Vec::new();
    loop {
        let (status, page) =
            answer(simulator.call(method.clone(), path).send().await.expect("an answer")).await;
        assert_eq!(status, 200, "{page}");
        let empty = page["deleted"] == 0 || page["workflowRuns"].as_array().is_some_and(Vec::is_empty);
        if empty {
            return pages;
        }
        pages.push(page);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_drain_one_dlq_at_once_act_on_every_entry_once() {
    for order in ORDERS {
        drains_once(order).await;
    }
}

async fn drains_once(order: Order) {
    let simulator = std::sync::Arc::new(start_with(order).await);
    simulator.seed(ENTRIES.try_into().expect("not many")).await;
    simulator.fault(json!({ "probability": 0.2, "fault": { "latency": { "ms": 0, "jitterMs": 2 } } })).await;
    let clients = (0..CLIENTS).map(|client| {
        let simulator = std::sync::Arc::clone(&simulator);
        tokio::spawn(async move {
            if client % 2 == 0 {
                drain(&simulator, Method::POST, "/resume?count=7").await
            } else {
                drain(&simulator, Method::DELETE, "?count=7").await
            }
        })
    });
    let pages: Vec<Value> = try_join_all(clients).await.expect("no client failed").concat();

    let entries = simulator.admin(Method::GET, "/dlqs/a/entries", &Value::Null).await["entries"].take();
    let ledger = audit(simulator.ledger("a").await, entries, 0);
    assert_eq!((ledger.totals.arrived, ledger.totals.in_dlq), (ENTRIES, 0));
    assert_eq!(ledger.arrivals.seeded, ENTRIES);
    let runs: Vec<&str> = pages
        .iter()
        .filter_map(|page| page["workflowRuns"].as_array())
        .flatten()
        .filter_map(|run| run["workflowRunId"].as_str())
        .collect();
    let deleted: u64 = pages.iter().filter_map(|page| page["deleted"].as_u64()).sum();
    assert_eq!((ledger.totals.resumed, ledger.totals.deleted), (runs.len() as u64, deleted));
    assert_eq!(runs.iter().collect::<BTreeSet<_>>().len(), runs.len(), "no workflow run was told twice");
    assert!(!runs.is_empty() && deleted > 0, "both kinds of clients had their share");
}
