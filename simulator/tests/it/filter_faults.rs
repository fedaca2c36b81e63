//! Faults by which a call reads its filter in another way than it should.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Running, answer, start};

/// The bulk calls: method, path, and the name of the operation.
const BULK: [(Method, &str, &str); 3] = [
    (Method::POST, "/resume", "resume"),
    (Method::POST, "/restart", "restart"),
    (Method::DELETE, "", "delete"),
];

/// Three entries that a label and a time of failure tell apart.
async fn three() -> Running {
    let simulator = start().await;
    let seed = json!({ "entries": [
        { "dlqId": "one", "labels": ["x"], "failedAt": 1 },
        { "dlqId": "two", "labels": ["x"], "failedAt": 2 },
        { "dlqId": "three", "labels": ["y"], "failedAt": 3 },
    ]});
    simulator.admin(Method::POST, "/dlqs/a/entries", &seed).await;
    simulator
}

#[tokio::test]
async fn a_list_call_can_ignore_filters() {
    let simulator = three().await;
    for (parameters, expected) in [
        (json!(["label"]), vec!["one"]),
        (json!(["toDate"]), vec!["one", "two"]),
        (json!(["label", "toDate"]), vec!["one", "two", "three"]),
        (json!(["callerIp"]), vec!["one"]),
    ] {
        let fault = json!({ "ignore": { "parameters": parameters } });
        simulator.fault(json!({ "operation": "list", "times": 1, "fault": fault })).await;
        assert_eq!(simulator.listed("?label=x&toDate=1").await, expected, "{parameters}");
        let call = simulator.last_call().await;
        assert_eq!((&call["fault"], &call["status"]), (&json!("ignore"), &json!(200)));
        assert_eq!((&call["query"], &call["delivered"]), (&json!("label=x&toDate=1"), &json!(true)));
        assert_eq!(simulator.listed("?label=x&toDate=1").await, ["one"], "once was enough");
    }
}

#[tokio::test]
async fn a_bulk_call_can_select_more_than_a_list_shows() {
    for (method, path, operation) in BULK {
        let simulator = three().await;
        let fault = json!({ "ignore": { "parameters": ["label"] } });
        simulator.fault(json!({ "operation": operation, "fault": fault })).await;
        assert_eq!(simulator.listed("?label=y").await, ["three"]);
        assert_eq!(simulator.last_call().await["fault"], Value::Null);
        simulator.ok(method, &format!("{path}?label=y&count=2")).await;
        let call = simulator.last_call().await;
        assert_eq!((&call["fault"], &call["dlqIds"]), (&json!("ignore"), &json!(["one", "two"])));
        assert_eq!(simulator.listed("").await, ["three"], "{operation}");
    }
}

#[tokio::test]
async fn a_filter_that_is_ignored_may_be_malformed() {
    let simulator = three().await;
    simulator.fault(json!({ "fault": { "ignore": { "parameters": ["toDate"] } } })).await;
    assert_eq!(simulator.listed("?toDate=yesterday&fromDate=3").await, ["three"]);
}

#[tokio::test]
async fn only_filters_can_be_ignored() {
    let simulator = start().await;
    for name in ["dlqIds", "cursor", "count", "labels"] {
        let rules = json!({ "rules": [{ "fault": { "ignore": { "parameters": ["label", name] } } }] });
        let call = simulator.client.put(format!("{}/faults", simulator.admin)).body(rules.to_string());
        let (status, body) = answer(call.send().await.expect("an answer")).await;
        let error = body["error"].as_str().expect("a reason");
        assert!(status == 400 && error.contains(&format!("{name:?}")), "{status} {error}");
        assert!(error.contains("label, ") && error.contains("toDate, "), "{error}");
    }
}

#[tokio::test]
async fn a_bulk_call_can_be_refused_for_giving_several_values() {
    for (method, path, operation) in BULK {
        let simulator = three().await;
        let fault = json!({ "refuseSeveral": { "parameter": "label" } });
        simulator.fault(json!({ "operation": operation, "times": 2, "fault": fault })).await;
        simulator.ok(method.clone(), &format!("{path}?label=none")).await;
        simulator.ok(method.clone(), &format!("{path}?count=1")).await;
        for query in ["label=x&label=y", "label=x,y"] {
            let call = simulator.call(method.clone(), &format!("{path}?{query}"));
            let (status, body) = answer(call.send().await.expect("an answer")).await;
            assert_eq!((status, body), (400, json!({ "error": "label takes only one value" })), "{query}");
            let call = simulator.last_call().await;
            assert_eq!((&call["status"], &call["fault"]), (&json!(400), &json!("refuseSeveral")));
            assert_eq!((&call["dlqIds"], &call["delivered"]), (&json!([]), &json!(true)));
        }
        assert_eq!(simulator.listed("?label=x&label=y").await, ["two", "three"], "lists may");
        simulator.ok(method, &format!("{path}?label=x&label=y")).await;
        assert_eq!(simulator.in_dlq().await, 0, "{operation}: twice was enough");
    }
}

#[tokio::test]
async fn a_list_call_can_be_refused_for_giving_several_values() {
    let simulator = three().await;
    simulator.fault(json!({ "fault": { "refuseSeveral": { "parameter": "callerIp" } } })).await;
    let call = simulator.call(Method::GET, "?callerIp=192.0.2.1&callerIp=192.0.2.2").send().await;
    assert_eq!(answer(call.expect("an answer")).await.0, 400);
    assert_eq!(simulator.listed("?label=x,y").await, ["one", "two", "three"]);
}
