use std::time::{Duration, Instant};

use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use dlq_simulator::clock;

use crate::harness::{Running, answer, start};

/// A simulator with ten entries and one fault.
async fn with_fault(fault: Value) -> Running {
    let simulator = start().await;
    simulator.seed(10).await;
    simulator.fault(json!({ "dlq": "a", "times": 1, "fault": fault })).await;
    simulator
}

async fn resume(simulator: &Running) -> reqwest::Result<Response> {
    simulator.call(Method::POST, "/resume?count=4").send().await
}

async fn resumed_body(simulator: &Running) -> reqwest::Result<Vec<u8>> {
    Ok(resume(simulator).await?.bytes().await?.to_vec())
}

fn runs(body: &Value) -> Option<usize> {
    body["workflowRuns"].as_array().map(Vec::len)
}

#[tokio::test]
async fn latency_delays_and_then_works() {
    let simulator = with_fault(json!({ "latency": { "ms": 80, "jitterMs": 5 } })).await;
    let start = Instant::now();
    let (status, body) = answer(resume(&simulator).await.expect("an answer")).await;
    assert!(start.elapsed() >= Duration::from_millis(80));
    assert_eq!((status, runs(&body)), (200, Some(4)));
    let call = simulator.last_call().await;
    assert_eq!(call["fault"], "latency");
    let [arrived, took_place] = ["arrivedAt", "at"].map(|time| call[time].as_i64().expect("a time"));
    // Both are cut to milliseconds.
    assert!(took_place - arrived >= 79, "{call}");
}

#[tokio::test]
async fn a_call_goes_on_when_its_caller_hangs_up() {
    let simulator = with_fault(json!({ "latency": { "ms": 150 } })).await;
    let call = simulator.call(Method::POST, "/resume?count=4").timeout(Duration::from_millis(30));
    assert!(call.send().await.is_err_and(|error| error.is_timeout()));
    assert_eq!(simulator.in_dlq().await, 10);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(simulator.in_dlq().await, 6);
    assert_eq!(simulator.last_call().await["delivered"], false);
}

#[tokio::test]
async fn a_status_takes_the_place_of_the_call() {
    let simulator = with_fault(json!({ "status": {
        "code": 429, "headers": { "Burst-RateLimit-Reset": "17" }, "body": "<p>slow down", "contentType": "text/html"
    }}))
    .await;
    let response = resume(&simulator).await.expect("an answer");
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["burst-ratelimit-reset"], "17");
    assert_eq!(response.headers()["content-type"], "text/html");
    assert_eq!(response.text().await.ok().as_deref(), Some("<p>slow down"));
    let call = simulator.last_call().await;
    assert_eq!(
        (&call["status"], &call["fault"], &call["dlqIds"]),
        (&json!(429), &json!("status"), &json!([]))
    );
    assert_eq!(simulator.in_dlq().await, 10);
    assert_eq!(resume(&simulator).await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn lost_answers_are_acted_on() {
    for how in ["close", "status500", "hang"] {
        let simulator = with_fault(json!({ "lostAnswer": { "how": how } })).await;
        let call = simulator.call(Method::POST, "/resume?count=4").timeout(Duration::from_millis(500));
        match (how, call.send().await) {
            ("status500", Ok(response)) => assert_eq!(response.status(), 500),
            ("hang", Err(error)) => assert!(error.is_timeout(), "{error:?}"),
            ("close", Err(error)) => assert!(!error.is_timeout(), "{error:?}"),
            (how, outcome) => panic!("{how}: {outcome:?}"),
        }
        assert_eq!(simulator.in_dlq().await, 6, "{how}");
        let call = simulator.last_call().await;
        assert_eq!((&call["delivered"], &call["fault"]), (&json!(false), &json!("lostAnswer")), "{how}");
        assert_eq!(call["dlqIds"].as_array().map(Vec::len), Some(4), "{how}");
    }
}

#[tokio::test]
async fn a_status_can_come_after_the_action() {
    let fault = json!({ "status": { "code": 524, "body": "timeout", "contentType": "text/html", "afterAction": true } });
    let simulator = with_fault(fault).await;
    let response = resume(&simulator).await.expect("an answer");
    assert_eq!(response.status(), 524);
    assert_eq!(response.text().await.ok().as_deref(), Some("timeout"));
    assert_eq!(simulator.in_dlq().await, 6);
    let call = simulator.last_call().await;
    assert_eq!(
        (&call["status"], &call["delivered"], &call["fault"]),
        (&json!(524), &json!(false), &json!("status"))
    );
    assert_eq!(call["dlqIds"].as_array().map(Vec::len), Some(4));
}

#[tokio::test]
async fn a_connection_can_be_dropped_at_three_points() {
    let simulator = with_fault(json!({ "drop": { "when": "beforeAction" } })).await;
    assert!(resume(&simulator).await.is_err());
    assert_eq!((simulator.in_dlq().await, &simulator.last_call().await["status"]), (10, &json!(0)));
    for when in ["duringBody", "afterHeaders"] {
        let simulator = with_fault(json!({ "drop": { "when": when } })).await;
        let mut response = resume(&simulator).await.expect("headers arrive");
        assert_eq!(response.status(), 200);
        let first = response.chunk().await;
        let rest = if when == "duringBody" {
            assert!(first.is_ok_and(|chunk| chunk.is_some()));
            response.chunk().await
        } else {
            first
        };
        assert!(rest.is_err(), "{when}");
        assert_eq!(simulator.in_dlq().await, 6, "{when}");
    }
}

#[tokio::test]
async fn a_connection_can_end_after_an_answer_that_did_not_say_so() {
    let simulator = with_fault(json!({ "drop": { "when": "afterBody" } })).await;
    let address = simulator.api.strip_prefix("http://").expect("an HTTP URL");
    let mut stream = BufReader::new(TcpStream::connect(address).await.expect("a connection"));
    let call = "POST /v2/workflows/dlq/resume?count=4 HTTP/1.1\r\nhost: s\r\nauthorization: Bearer t\r\n\r\n";
    stream.write_all(call.as_bytes()).await.expect("sent");
    let mut all = String::new();
    stream.read_to_string(&mut all).await.expect("an answer, and then the end");
    let (head, body) = all.split_once("\r\n\r\n").expect("a whole head");
    assert!(head.starts_with("HTTP/1.1 200") && !head.contains("connection: close"), "{head}");
    assert_eq!(runs(&serde_json::from_str(body).expect("a whole body")), Some(4));
    let call = simulator.last_call().await;
    assert_eq!((&call["delivered"], &call["fault"]), (&json!(true), &json!("drop")));
    // The next call takes a new connection, and nobody notices.
    assert_eq!(resume(&simulator).await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn rate_limits_of_each_family_say_when_they_end() {
    for (headers, present) in [
        ("burst", "burst-ratelimit-reset"),
        ("daily", "ratelimit-reset"),
        ("retryAfter", "retry-after"),
        ("none", ""),
    ] {
        let simulator =
            with_fault(json!({ "rateLimit": { "headers": headers, "resetInSeconds": 60 } })).await;
        let before = clock::now() / 1000;
        let response = resume(&simulator).await.expect("an answer");
        assert_eq!(response.status(), 429);
        for name in ["burst-ratelimit-reset", "ratelimit-reset", "retry-after"] {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok()?.parse().ok());
            let value: Option<i64> =
                value.map(|value: i64| if name == "retry-after" { before + value } else { value });
            assert_eq!(value.is_some(), name == present, "{headers}: {name}");
            assert!(
                value.is_none_or(|value| (before + 60..before + 70).contains(&value)),
                "{name}: {value:?}"
            );
        }
        assert_eq!(simulator.in_dlq().await, 10);
        let call = simulator.last_call().await;
        assert_eq!((&call["status"], &call["fault"]), (&json!(429), &json!("rateLimit")));
    }
}

#[tokio::test]
async fn a_violated_quota_stops_every_operation() {
    let simulator = start().await;
    let seed = json!({ "entries": [{ "dlqId": "one", "failureFunctionState": "CALLBACK_FAIL" }] });
    simulator.admin(Method::POST, "/dlqs/a/entries", &seed).await;
    simulator.fault(json!({ "fault": { "quota": {} } })).await;
    for (method, path) in [
        (Method::GET, ""),
        (Method::GET, "/one"),
        (Method::POST, "/resume"),
        (Method::POST, "/resume/one"),
        (Method::POST, "/restart"),
        (Method::POST, "/restart/one"),
        (Method::DELETE, ""),
        (Method::DELETE, "/one"),
        (Method::POST, "/callback/one"),
        (Method::DELETE, "/callback/one"),
    ] {
        let call = simulator.call(method.clone(), path).send().await;
        let (status, body) = answer(call.expect("an answer")).await;
        assert_eq!(status, 412, "{method} {path}");
        let reason = body["error"].as_str().unwrap_or_default();
        assert!(reason.starts_with("quota exceeded") && body.as_object().is_some_and(|all| all.len() == 1));
        let call = simulator.last_call().await;
        assert_eq!((&call["status"], &call["fault"]), (&json!(412), &json!("quota")), "{method} {path}");
        assert_eq!((&call["dlqIds"], &call["delivered"]), (&json!([]), &json!(true)), "{method} {path}");
    }
    let before = simulator.admin(Method::GET, "/dlqs/a/entries", &Value::Null).await;
    assert_eq!(before["entries"][0]["failureFunctionState"], "CALLBACK_FAIL", "nothing was done");

    simulator.fault(json!({ "operation": "resume", "fault": { "quota": {} } })).await;
    assert_eq!(simulator.listed("").await, ["one"], "other operations are served");
}

#[tokio::test]
async fn a_failing_service_answers_with_json_html_or_nothing() {
    for code in [500, 502, 503] {
        for (body, content_type) in [
            (None, "application/json"),
            (Some("<html><h1>Bad Gateway</h1>"), "text/html"),
            (Some(""), "text/plain"),
        ] {
            let fault = json!({ "status": { "code": code, "body": body, "contentType": content_type } });
            let simulator = with_fault(fault).await;
            let response = resume(&simulator).await.expect("an answer");
            assert_eq!(response.status().as_u16(), code);
            assert_eq!(response.headers()["content-type"], content_type);
            let text = response.text().await.expect("a whole body");
            match body {
                Some(body) => assert_eq!(text, body),
                None => assert!(text.starts_with(r#"{"error":"#), "{text}"),
            }
            assert_eq!(simulator.in_dlq().await, 10);
        }
    }
}

#[tokio::test]
async fn bodies_can_be_wrong_in_many_ways() {
    let parse = |body: &[u8]| serde_json::from_slice::<Value>(body);
    for kind in ["truncated", "invalidJson", "empty"] {
        let simulator = with_fault(json!({ "body": { "kind": kind } })).await;
        let body = resumed_body(&simulator).await.expect("a complete body");
        assert!(parse(&body).is_err(), "{kind}");
        assert_eq!(body.is_empty(), kind == "empty");
        assert_eq!((simulator.in_dlq().await, &simulator.last_call().await["delivered"]), (6, &json!(false)));
    }
    for kind in ["huge", "wrongContentType", "extraFields", "slowDrip"] {
        let simulator = with_fault(json!({ "body": { "kind": kind, "bytes": 200_000 } })).await;
        let response = resume(&simulator).await.expect("an answer");
        let json_announced = response.headers()["content-type"] == "application/json";
        assert_eq!(json_announced, kind != "wrongContentType");
        let body = response.bytes().await.expect("a complete body");
        let value = parse(&body).expect(kind);
        assert_eq!((runs(&value), simulator.in_dlq().await), (Some(4), 6), "{kind}");
        assert_eq!(body.len() == 200_000, kind == "huge");
        assert_eq!(value["workflowRuns"][0].get("notInTheDocs").is_some(), kind == "extraFields");
    }
}

#[tokio::test]
async fn entries_can_have_large_response_bodies() {
    let simulator = with_fault(json!({ "body": { "kind": "largeBodies", "bytes": 200_000 } })).await;
    let value = simulator.ok(Method::GET, "?count=3").await;
    let messages = value["messages"].as_array().expect("messages");
    assert_eq!(messages.len(), 3);
    for message in messages {
        assert!(message["responseBody"].as_str().is_some_and(|body| body.len() > 200_000));
        assert_eq!(message["responseStatus"], 500);
    }
}

#[tokio::test]
async fn a_seeded_response_stays_whole_where_bodies_are_large() {
    let simulator = start().await;
    let headers = json!({ "responseBody": ["\"responseBody\":\""] });
    let body = "{\"responseBody\":\"gr\u{f6}\u{df}er\"}";
    let seed = json!({ "entries": [{ "responseHeaders": headers, "responseBody": body }] });
    simulator.admin(Method::POST, "/dlqs/a/entries", &seed).await;
    simulator.fault(json!({ "fault": { "body": { "kind": "largeBodies", "bytes": 70_000 } } })).await;
    let list = simulator.ok(Method::GET, "").await;
    let message = &list["messages"][0];
    assert_eq!(message["responseHeader"], headers);
    assert_eq!(message["responseBody"], "x".repeat(70_000) + body);
}

#[tokio::test]
async fn a_slow_body_comes_in_drips() {
    let simulator = with_fault(json!({ "body": { "kind": "slowDrip", "bytes": 150 } })).await;
    let mut response = resume(&simulator).await.expect("an answer");
    let start = Instant::now();
    let mut drips = 0;
    while let Some(drip) = response.chunk().await.expect("a complete body") {
        assert!(drip.len() <= 150);
        drips += 1;
    }
    assert!(drips > 1 && start.elapsed() > Duration::from_millis(90), "{drips}");
}

#[tokio::test]
async fn a_cursor_can_repeat() {
    let simulator = start().await;
    simulator.seed(10).await;
    simulator.fault(json!({ "operation": "resume", "fault": { "cursor": "repeat" } })).await;
    let first = simulator.ok(Method::POST, "/resume?count=4").await;
    let cursor = first["cursor"].as_str().expect("a cursor").to_owned();
    let encoded = percent_encoding::utf8_percent_encode(&cursor, percent_encoding::NON_ALPHANUMERIC);
    let second = simulator.ok(Method::POST, &format!("/resume?count=4&cursor={encoded}")).await;
    assert_eq!((runs(&second), second["cursor"].as_str()), (Some(4), Some(cursor.as_str())));
}

#[tokio::test]
async fn a_page_can_be_empty_and_go_on() {
    let simulator = start().await;
    simulator.seed(3).await;
    simulator.fault(json!({ "times": 2, "fault": { "cursor": "emptyPage" } })).await;
    let (mut query, mut cursors) = (String::new(), Vec::new());
    for _ in 0..2 {
        let page = simulator.ok(Method::DELETE, &query).await;
        assert_eq!(page["deleted"], 0);
        let cursor = page["cursor"].as_str().expect("a cursor");
        query = format!(
            "?cursor={}",
            percent_encoding::utf8_percent_encode(cursor, percent_encoding::NON_ALPHANUMERIC)
        );
        cursors.push(cursor.to_owned());
    }
    assert_ne!(cursors[0], cursors[1]);
    assert_eq!(simulator.in_dlq().await, 3);
    assert_eq!(simulator.ok(Method::DELETE, &query).await, json!({ "deleted": 3 }));
}

#[tokio::test]
async fn entries_can_vanish_and_arrive_just_before_a_call() {
    let simulator = with_fault(json!({ "expire": { "count": 9 } })).await;
    assert_eq!(runs(&simulator.ok(Method::POST, "/resume").await), Some(1));
    let ledger = simulator.ledger("a").await;
    assert_eq!(
        (&ledger["entries"][0]["fate"], &ledger["entries"][9]["fate"]),
        (&json!("expired"), &json!("resumed"))
    );

    let simulator = with_fault(json!({ "arrive": { "count": 2 } })).await;
    assert_eq!(simulator.ok(Method::DELETE, "").await, json!({ "deleted": 12 }));
}

#[tokio::test]
async fn rules_can_be_added_and_cleared() {
    let simulator = with_fault(json!({ "latency": { "ms": 1 } })).await;
    let rule = json!({ "rules": [{ "fault": { "status": { "code": 503 } } }] });
    simulator.admin(Method::POST, "/faults", &rule).await;
    let (status, body) = answer(resume(&simulator).await.expect("an answer")).await;
    assert_eq!((status, body["error"].is_string()), (503, true));
    simulator.admin(Method::DELETE, "/faults", &Value::Null).await;
    assert_eq!(resume(&simulator).await.expect("an answer").status(), 200);
}
