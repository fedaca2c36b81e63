use std::collections::HashSet;

use reqwest::Method;
use serde_json::{Value, json};

use dlq_simulator::service::Order;

use crate::harness::{ORDERS, Running, answer, start, start_with};

async fn status(simulator: &Running, method: Method, path_and_query: &str) -> u16 {
    let (status, body) =
        answer(simulator.call(method, path_and_query).send().await.expect("an answer")).await;
    assert!(body["error"].is_string(), "{path_and_query}: {body}");
    status
}

#[tokio::test]
async fn a_drain_by_cursor_acts_once_on_everything() {
    for order in ORDERS {
        drains_by_cursor(order).await;
    }
}

async fn drains_by_cursor(order: Order) {
    let simulator = start_with(order).await;
    let mut seeded = simulator.seed(120).await;
    if order == Order::NewestFirst {
        seeded.reverse();
    }
    let (mut query, mut runs, mut pages) = ("?count=50".to_owned(), HashSet::new(), 0);
    loop {
        let page = simulator.ok(Method::POST, &format!("/resume{query}")).await;
        pages += 1;
        for run in page["workflowRuns"].as_array().expect("a list") {
            assert!(run["workflowCreatedAt"].is_i64());
            assert!(runs.insert(run["workflowRunId"].as_str().expect("an ID").to_owned()));
        }
        let Some(cursor) = page["cursor"].as_str() else { break };
        let cursor = percent_encoding::utf8_percent_encode(cursor, percent_encoding::NON_ALPHANUMERIC);
        query = format!("?count=50&cursor={cursor}");
    }
    assert_eq!((pages, runs.len(), simulator.in_dlq().await), (3, 120, 0));
    let ledger = simulator.ledger("a").await;
    let records = ledger["entries"].as_array().expect("a list");
    assert!(records.iter().all(|record| record["fate"] == "resumed" && record["callSeq"].is_u64()));
    let acted_on: Vec<&Value> = ledger["calls"]
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(|call| call["dlqIds"].as_array().expect("a list"))
        .collect();
    assert_eq!(acted_on, seeded.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn each_operation_answers_in_its_own_shape() {
    for order in ORDERS {
        answers_in_shape(&start_with(order).await).await;
    }
}

async fn answers_in_shape(simulator: &Running) {
    let seed = json!({ "entries": [
        { "dlqId": "one", "labels": ["x"], "failureFunctionState": "CALLBACK_FAIL", "callerIp": "192.0.2.7", "flowControlKey": "k",
          "workflowCreatedAt": 2, "createdAt": 3, "failedAt": 5 },
        { "dlqId": "two" }, { "dlqId": "three" }, { "dlqId": "four" }, { "dlqId": "fi/ve" },
    ]});
    simulator.admin(Method::POST, "/dlqs/a/entries", &seed).await;

    assert!(simulator.ok(Method::GET, "?count=1").await["cursor"].is_string());
    let list = simulator.ok(Method::GET, "?label=x").await;
    assert!(list.get("cursor").is_none(), "{list}");
    let message = &list["messages"][0];
    assert_eq!((&message["dlqId"], &message["workflowCreatedAt"]), (&json!("one"), &json!(2)));
    assert_eq!((&message["createdAt"], &message["notBefore"]), (&json!(3), &json!(3)));
    assert_eq!((&message["label"], &message["labels"]), (&json!("x"), &json!(["x"])));
    assert_eq!((&message["callerIP"], &message["flowControlKey"]), (&json!("192.0.2.7"), &json!("k")));
    assert_eq!(
        (&message["failureFunctionState"], &message["responseStatus"]),
        (&json!("CALLBACK_FAIL"), &json!(500))
    );
    assert_eq!(&simulator.ok(Method::GET, "/one").await, message);

    assert_eq!(simulator.ok(Method::POST, "/callback/one").await["workflowRunId"], message["workflowRunId"]);
    assert_eq!(status(simulator, Method::POST, "/callback/one").await, 400);
    assert!(simulator.ok(Method::POST, "/resume/one").await["workflowRunId"].is_string());
    assert!(simulator.ok(Method::POST, "/restart/two").await["workflowCreatedAt"].is_i64());
    assert_eq!(simulator.ok(Method::DELETE, "/fi%2Fve").await, Value::Null);
    assert_eq!(simulator.ok(Method::DELETE, "?dlqIds=three,gone").await, json!({ "deleted": 1 }));
    assert_eq!(
        simulator.ok(Method::POST, "/restart").await["workflowRuns"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(simulator.ok(Method::POST, "/resume").await, json!({ "workflowRuns": [] }));
}

#[tokio::test]
async fn a_running_failure_function_is_cancelled_with_a_302_and_no_other_is() {
    let simulator = start().await;
    let seed = json!({ "entries": [
        { "dlqId": "running", "failureFunctionState": "CALLBACK_INPROGRESS" },
        { "dlqId": "failed", "failureFunctionState": "CALLBACK_FAIL" },
        { "dlqId": "none" },
    ]});
    simulator.admin(Method::POST, "/dlqs/a/entries", &seed).await;
    let cancelled = simulator.call(Method::DELETE, "/callback/running").send().await.expect("an answer");
    assert_eq!(cancelled.status(), 302);
    assert!(!cancelled.headers().contains_key("content-type"));
    assert_eq!(cancelled.text().await.ok().as_deref(), Some(""));
    let call = simulator.last_call().await;
    assert_eq!((&call["operation"], &call["status"]), (&json!("cancelCallback"), &json!(302)));
    assert_eq!((&call["dlqIds"], &call["delivered"]), (&json!(["running"]), &json!(true)));
    assert_eq!(simulator.ok(Method::GET, "/running").await["failureFunctionState"], "CALLBACK_CANCELED");

    for id in ["running", "failed", "none"] {
        assert_eq!(status(&simulator, Method::DELETE, &format!("/callback/{id}")).await, 400, "{id}");
    }
    assert_eq!(status(&simulator, Method::DELETE, "/callback/gone").await, 404);
    simulator.admin(Method::PUT, "/tokens/reader", &json!({ "dlq": "a", "readOnly": true })).await;
    simulator.ok(Method::POST, "/callback/failed").await;
    let url = format!("{}/v2/workflows/dlq/callback/failed", simulator.api);
    let refused = simulator.client.delete(url).bearer_auth("reader").send().await.expect("an answer");
    assert_eq!(refused.status(), 403);
    assert_eq!(simulator.in_dlq().await, 3, "the entries stay");
}

#[tokio::test]
async fn an_override_outside_the_services_alphabet_is_refused() {
    let simulator = start().await;
    simulator.seed(1).await;
    for (header, value) in [
        ("Upstash-Label", "by hand"),
        ("Upstash-Label", "fine, a/b"),
        ("Upstash-Flow-Control-Key", "fast lane"),
        ("Upstash-Flow-Control-Value", "rate=1, period=8d"),
    ] {
        for path in ["/resume", "/restart"] {
            let call = simulator.call(Method::POST, path).header(header, value).send().await;
            let (status, body) = answer(call.expect("an answer")).await;
            assert_eq!(status, 400, "{header}: {value}");
            assert_eq!(body["error"], format!("invalid {header} header"), "{value}");
        }
    }
    assert_eq!(simulator.in_dlq().await, 1);
    let call = simulator.call(Method::POST, "/restart").header("Upstash-Label", "a-1, b_2.c");
    assert_eq!(call.send().await.expect("an answer").status(), 200);
    assert_eq!(simulator.ledger("a").await["workflowRuns"][0]["labels"], json!(["a-1", "b_2.c"]));
}

#[tokio::test]
async fn refusals_have_their_status_and_a_reason() {
    let simulator = start().await;
    simulator.seed(1).await;
    for (method, path_and_query, expected) in [
        (Method::POST, "/resume?count=0", 400),
        (Method::POST, "/resume?label=%ff", 400),
        (Method::DELETE, "?cursor=bogus", 400),
        (Method::GET, "?count=101", 400),
        (Method::POST, "/resume?host=app.example.com", 400),
        (Method::POST, "/restart?path=%2Fapi", 400),
        (Method::DELETE, "?host=app.example.com", 400),
        (Method::POST, "/resume?dlqIds=gone", 404),
        (Method::POST, "/resume/gone", 404),
        (Method::GET, "/gone", 404),
        (Method::PUT, "", 405),
        (Method::GET, "/a/b/c", 404),
    ] {
        assert_eq!(status(&simulator, method, path_and_query).await, expected, "{path_and_query}");
    }
    let bad_header = simulator.call(Method::POST, "/resume").header("Upstash-Retries", "many");
    assert_eq!(answer(bad_header.send().await.expect("an answer")).await.0, 400);
    assert_eq!(simulator.in_dlq().await, 1);
}

#[tokio::test]
async fn tokens_decide_which_dlq_is_seen_and_what_may_be_done() {
    let simulator = start().await;
    simulator.admin(Method::PUT, "/tokens/reader", &json!({ "dlq": "a", "readOnly": true })).await;
    simulator.admin(Method::PUT, "/tokens/other", &json!({})).await;
    simulator.seed(2).await;
    let url = format!("{}/v2/workflows/dlq", simulator.api);
    let call = async |method, suffix: &str, token: &str| {
        let request = simulator.client.request(method, format!("{url}{suffix}")).bearer_auth(token);
        answer(request.send().await.expect("an answer")).await
    };
    assert_eq!(call(Method::GET, "", "reader").await.1["messages"].as_array().map(Vec::len), Some(2));
    assert_eq!(call(Method::POST, "/resume", "reader").await.0, 403);
    assert_eq!(call(Method::GET, "", "other").await.1, json!({ "messages": [] }));
    assert_eq!(call(Method::GET, "", "nobody").await.0, 401);
    simulator.admin(Method::DELETE, "/tokens/reader", &Value::Null).await;
    assert_eq!(call(Method::GET, "", "reader").await.0, 401);

    let by_query = simulator.client.get(format!("{url}?qstash_token=t")).send().await.expect("an answer");
    assert!(by_query.headers().contains_key("date"));
    assert_eq!(by_query.status(), 200);
    let last = simulator.last_call().await;
    assert_eq!((&last["tokenInQuery"], &last["authorization"]), (&json!(true), &json!(false)));
    let refused = simulator.ledger("_unauthorized").await;
    assert_eq!(refused["calls"][0]["token"], "nobody");
    assert_eq!(refused["calls"][0]["status"], 401);
}

#[tokio::test]
async fn the_ledger_shows_calls_as_they_came() {
    let simulator = start().await;
    let seeded = simulator.seed(1).await;
    let call = simulator.call(Method::POST, "/restart?count=5&label=").header("Upstash-Delay", "10s");
    assert_eq!(call.send().await.expect("an answer").status(), 200);
    let ledger = simulator.ledger("a").await;
    let call = &ledger["calls"][0];
    assert_eq!((&call["seq"], &call["operation"]), (&json!(1), &json!("restart")));
    assert_eq!((&call["method"], &call["path"]), (&json!("POST"), &json!("/v2/workflows/dlq/restart")));
    assert_eq!((&call["query"], &call["token"]), (&json!("count=5&label="), &json!("t")));
    assert_eq!((&call["authorization"], &call["headers"]["upstash-delay"]), (&json!(true), &json!("10s")));
    assert!(call["headers"].get("authorization").is_none());
    assert_eq!(
        (&call["status"], &call["delivered"], &call["fault"]),
        (&json!(200), &json!(true), &Value::Null)
    );
    assert_eq!(call["dlqIds"], Value::Array(seeded.clone()));
    let run = &ledger["workflowRuns"][0];
    assert_eq!(
        (&run["action"], &run["fromDlqId"], &run["delay"]),
        (&json!("restart"), &seeded[0], &json!("10s"))
    );
    assert_eq!(ledger["entries"][0]["newWorkflowRunId"], run["workflowRunId"]);

    simulator.admin(Method::DELETE, "/dlqs/a/ledger", &Value::Null).await;
    let cleared = simulator.ledger("a").await;
    assert_eq!((&cleared["calls"], cleared["entries"].as_array().map(Vec::len)), (&json!([]), Some(1)));
    simulator.admin(Method::DELETE, "/dlqs/a", &Value::Null).await;
    assert_eq!(simulator.ledger("a").await["entries"], json!([]));
}

#[tokio::test]
async fn resumed_runs_fail_again_when_told_to() {
    for order in ORDERS {
        let simulator = start_with(order).await;
        simulator.seed(3).await;
        simulator.admin(Method::PUT, "/dlqs/a/refail", &json!({ "delayMs": 0, "times": 1 })).await;
        simulator.ok(Method::POST, "/resume").await;
        assert_eq!(simulator.in_dlq().await, 3, "{order:?}");
        simulator.ok(Method::POST, "/resume").await;
        assert_eq!(simulator.in_dlq().await, 0, "{order:?}");
    }
}

#[tokio::test]
async fn a_dlq_that_lags_lets_entries_be_acted_on_twice_and_the_ledger_says_so() {
    for order in ORDERS {
        lags(order).await;
    }
}

async fn lags(order: Order) {
    let simulator = start_with(order).await;
    let mut seeded = simulator.seed(3).await;
    if order == Order::NewestFirst {
        seeded.reverse();
    }
    simulator.admin(Method::PUT, "/dlqs/a/lag", &json!({ "ms": 3_600_000 })).await;
    for _ in 0..2 {
        let page = simulator.ok(Method::POST, "/resume?count=2").await;
        assert_eq!(page["workflowRuns"].as_array().map(Vec::len), Some(2), "{page}");
    }
    assert_eq!(simulator.ok(Method::GET, "").await["messages"].as_array().map(Vec::len), Some(3));
    assert_eq!(simulator.in_dlq().await, 1);
    let ledger = simulator.ledger("a").await;
    for (id, actions) in seeded.iter().zip([2, 2, 0]) {
        let records = ledger["entries"].as_array().expect("a list");
        let record = records.iter().find(|record| record["dlqId"] == *id).expect("a record");
        assert_eq!(record["actions"], actions, "{id}");
    }
    let acted =
        ledger["calls"].as_array().expect("a list").iter().filter(|call| call["operation"] == "resume");
    assert!(acted.clone().count() == 2 && acted.clone().all(|call| call["dlqIds"] == json!(seeded[..2])));
    assert_eq!(ledger["workflowRuns"].as_array().map(Vec::len), Some(4));
    assert_eq!((&ledger["totals"]["resumed"], &ledger["totals"]["inDlq"]), (&json!(2), &json!(1)));

    simulator.admin(Method::DELETE, "/dlqs/a/lag", &Value::Null).await;
    simulator.ok(Method::POST, "/resume").await;
    assert_eq!(simulator.ok(Method::GET, "").await["messages"], json!([]), "none lingers any more");
}

#[tokio::test]
async fn the_admin_port_explains_what_it_cannot_read() {
    let simulator = start().await;
    for (method, path, body) in [
        (Method::POST, "/dlqs/a/entries", r#"{"entries":[{"label":"a"}]}"#),
        (Method::POST, "/dlqs/a/entries", r#"{"entries":[{"responseHeaders":{"Retry-After":"3"}}]}"#),
        (Method::POST, "/dlqs/a/entries", r#"{"entries":[{"responseBody":{}}]}"#),
        (Method::PUT, "/faults", r#"{"rules":[{"fault":{"explode":{}}}]}"#),
        (Method::PUT, "/dlqs/a/refail", "{"),
        (Method::PUT, "/dlqs/a/lag", r#"{"seconds":1}"#),
        (Method::PUT, "/dlqs/a/service", r#"{"order":"random"}"#),
        (Method::PUT, "/dlqs/a/service", r#"{"orders":"newestFirst"}"#),
        (Method::PUT, "/dlqs/a/service", r#"{"mostPerCall":{"resume":101}}"#),
        (Method::PUT, "/dlqs/a/service", r#"{"mostPerCall":{"list":10}}"#),
        (Method::PUT, "/dlqs/a/service", r#"{"labelsCarried":"onResume"}"#),
    ] {
        let request = simulator.client.request(method, format!("{}{path}", simulator.admin)).body(body);
        let (status, body) = answer(request.send().await.expect("an answer")).await;
        assert_eq!(status, 400, "{path}");
        assert!(body["error"].is_string(), "{path}: {body}");
    }
    let health =
        simulator.client.get(format!("{}/healthz", simulator.admin)).send().await.expect("an answer");
    assert_eq!(health.text().await.ok().as_deref(), Some("ok"));
}

#[tokio::test]
async fn the_services_clock_can_be_another_than_ours() {
    let simulator = start().await;
    simulator.admin(Method::PUT, "/clock", &json!({ "offsetMs": -3_600_000 })).await;
    simulator.seed(1).await;
    let an_hour_ago = dlq_simulator::clock::now() - 3_600_000;
    let near = |time: i64| (an_hour_ago - 30_000..an_hour_ago + 2_000).contains(&time);
    let response = simulator.call(Method::GET, "").send().await.expect("an answer");
    let date = response.headers()["date"].to_str().expect("text");
    let date = httpdate::parse_http_date(date).expect("a date").duration_since(std::time::UNIX_EPOCH);
    assert!(near(date.expect("after 1970").as_millis().try_into().expect("in range")));
    let (_, page) = answer(response).await;
    let failed_at = page["messages"][0]["dlqId"].as_str().and_then(|id| id.split_once('-')?.0.parse().ok());
    assert!(near(failed_at.expect("a time")), "{page}");
    let call = simulator.last_call().await;
    assert!(["arrivedAt", "at"].iter().all(|time| near(call[time].as_i64().expect("a time"))), "{call}");
}
