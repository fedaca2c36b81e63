//! The switches of a DLQ: what the service might do in one way or another.

use reqwest::Method;
use serde_json::{Value, json};

use dlq_simulator::service::Order;

use crate::harness::{Running, answer, start, start_with};

async fn switch(simulator: &Running, switches: Value) {
    simulator.admin(Method::PUT, "/dlqs/a/service", &switches).await;
}

async fn status(simulator: &Running, method: Method, path_and_query: &str) -> u16 {
    answer(simulator.call(method, path_and_query).send().await.expect("an answer")).await.0
}

/// Entries `one` to `three`, each of which failed later than the one before.
async fn three(simulator: &Running) {
    let entries =
        ["one", "two", "three"].iter().zip(1..).map(|(id, at)| json!({ "dlqId": id, "failedAt": at }));
    let seed = json!({ "entries": entries.collect::<Vec<_>>() });
    simulator.admin(Method::POST, "/dlqs/a/entries", &seed).await;
}

#[tokio::test]
async fn lists_and_actions_keep_to_the_order_that_was_set() {
    for (method, path) in [(Method::POST, "/resume"), (Method::POST, "/restart"), (Method::DELETE, "")] {
        for (order, expected) in
            [("oldestFirst", ["one", "two", "three"]), ("newestFirst", ["three", "two", "one"])]
        {
            let simulator = start().await;
            three(&simulator).await;
            switch(&simulator, json!({ "order": order })).await;
            assert_eq!(simulator.listed("").await, expected, "{order}");
            simulator.ok(method.clone(), &format!("{path}?count=2")).await;
            assert_eq!(
                simulator.last_call().await["dlqIds"],
                json!(expected[..2]),
                "{method} {path} {order}"
            );
        }
    }
}

#[tokio::test]
async fn an_order_is_that_of_one_dlq_and_ends_with_its_switches() {
    let simulator = start_with(Order::NewestFirst).await;
    three(&simulator).await;
    simulator.admin(Method::PUT, "/dlqs/other/service", &json!({ "order": "oldestFirst" })).await;
    assert_eq!(simulator.listed("").await, ["three", "two", "one"], "as the simulator was started");
    switch(&simulator, json!({ "order": "oldestFirst" })).await;
    assert_eq!(simulator.listed("").await, ["one", "two", "three"]);
    simulator.admin(Method::DELETE, "/dlqs/a/service", &Value::Null).await;
    assert_eq!(simulator.listed("").await, ["three", "two", "one"], "as the simulator was started");
}

#[tokio::test]
async fn ids_are_listed_as_they_were_given_in_either_order() {
    for order in ["oldestFirst", "newestFirst"] {
        let simulator = start().await;
        three(&simulator).await;
        switch(&simulator, json!({ "order": order })).await;
        assert_eq!(simulator.listed("?dlqIds=two,three,one").await, ["two", "three", "one"], "{order}");
    }
}

#[tokio::test]
async fn each_action_handles_as_many_entries_as_was_set() {
    for (method, path, action) in [
        (Method::POST, "/resume", "resume"),
        (Method::POST, "/restart", "restart"),
        (Method::DELETE, "", "delete"),
    ] {
        let handled = async |switches: Value| {
            let simulator = start().await;
            simulator.seed(120).await;
            switch(&simulator, switches).await;
            let page = simulator.ok(method.clone(), &format!("{path}?count=100")).await;
            assert!(page["cursor"].is_string(), "there is more: {page}");
            120 - simulator.in_dlq().await
        };
        assert_eq!(handled(json!({})).await, 50, "{action}");
        assert_eq!(handled(json!({ "mostPerCall": { action: 100 } })).await, 100, "{action}");
        assert_eq!(handled(json!({ "mostPerCall": { action: 7 } })).await, 7, "{action}");
        let others = ["resume", "restart", "delete"].into_iter().filter(|other| *other != action);
        let others: serde_json::Map<_, _> = others.map(|other| (other.to_owned(), json!(100))).collect();
        assert_eq!(handled(json!({ "mostPerCall": others })).await, 50, "{action} alone is not set");
    }
}

#[tokio::test]
async fn an_action_takes_as_many_ids_as_it_handles() {
    let simulator = start().await;
    let ids: Vec<String> =
        simulator.seed(100).await.iter().map(|id| id.as_str().expect("an ID").to_owned()).collect();
    let path = format!("/resume?dlqIds={}", ids.join(","));
    assert_eq!(status(&simulator, Method::POST, &path).await, 400);
    switch(&simulator, json!({ "mostPerCall": { "resume": 100 } })).await;
    assert_eq!(status(&simulator, Method::POST, &path).await, 200);
    assert_eq!(simulator.in_dlq().await, 0);
}

#[tokio::test]
async fn a_delete_can_refuse_parameters_that_it_does_not_know() {
    let simulator = start().await;
    three(&simulator).await;
    let unknown = ["order=earliestFirst", "trimBody=1", "url=u", "responseStatus=500", "labels=x"];
    for query in unknown {
        simulator.ok(Method::DELETE, &format!("?label=none&{query}")).await;
    }
    switch(&simulator, json!({ "deleteRefusesUnknown": true })).await;
    for query in unknown {
        let call = simulator.call(Method::DELETE, &format!("?label=none&{query}"));
        let (status, body) = answer(call.send().await.expect("an answer")).await;
        let name = query.split('=').next().expect("a name");
        assert_eq!((status, &body["error"]), (400, &json!(format!("unknown parameter {name:?}"))));
        assert_eq!(simulator.last_call().await["dlqIds"], json!([]));
    }
    assert_eq!(simulator.in_dlq().await, 3);
    simulator.ok(Method::DELETE, "?label=none&count=1&toDate=5&qstash_token=t").await;
    let messages = simulator.client.delete(format!("{}/v2/dlq?label=none&url=u", simulator.api));
    let messages = messages.bearer_auth("t").send().await.expect("an answer");
    assert_eq!(messages.status(), 200, "messages have a URL");
}

#[tokio::test]
async fn other_calls_ignore_unknown_parameters_whatever_delete_does() {
    let simulator = start().await;
    three(&simulator).await;
    switch(&simulator, json!({ "deleteRefusesUnknown": true })).await;
    for query in ["order=latestFirst", "trimBody=1", "labels=x", "host=app.example.com", "path=%2Fapi"] {
        assert_eq!(simulator.listed(&format!("?{query}")).await, ["one", "two", "three"], "{query}");
    }
    simulator.ok(Method::POST, "/resume?label=none&order=latestFirst").await;
    simulator.ok(Method::DELETE, "/one?order=latestFirst").await;
}

#[tokio::test]
async fn labels_of_an_override_are_carried_into_the_dlq_as_was_set() {
    let simulator = start().await;
    simulator.admin(Method::PUT, "/dlqs/a/refail", &json!({ "delayMs": 0 })).await;
    let relabelled = async |action: &str| {
        let entry = json!({ "entries": [{ "labels": ["old"] }] });
        simulator.admin(Method::POST, "/dlqs/a/entries", &entry).await;
        let call = simulator.call(Method::POST, &format!("/{action}")).header("Upstash-Label", "new");
        assert_eq!(call.send().await.expect("an answer").status(), 200);
        let list = simulator.ok(Method::GET, "").await;
        simulator.ok(Method::DELETE, "").await;
        let ledger = simulator.ledger("a").await;
        let run = ledger["workflowRuns"].as_array().and_then(|runs| runs.last()).expect("a workflow run");
        assert_eq!(run["labels"], json!(["new"]), "what was asked for");
        let back = &list["messages"][0];
        assert_eq!((&back["workflowRunId"], &back["label"]), (&run["workflowRunId"], &back["labels"][0]));
        back["labels"].clone()
    };
    for (switches, resumed, restarted) in [
        (json!({ "labelsCarried": "always" }), "new", "new"),
        (json!({ "labelsCarried": "never" }), "old", "old"),
        (json!({ "labelsCarried": "onRestart" }), "old", "new"),
        (json!({}), "new", "new"),
    ] {
        switch(&simulator, switches.clone()).await;
        assert_eq!(relabelled("resume").await, json!([resumed]), "{switches}");
        assert_eq!(relabelled("restart").await, json!([restarted]), "{switches}");
    }
}
