//! What cannot be meant is refused with a 400 and a reason, whatever is wrong with it, and changes nothing.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::harness::{Running, answer, start};

/// Sends bytes as they are, and reads until the simulator hangs up.
async fn raw(simulator: &Running, request: &[u8]) -> (u16, Value) {
    let address = simulator.api.strip_prefix("http://").expect("an HTTP URL");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(request).await.expect("the simulator reads to the end");
    let mut all = Vec::new();
    let read = timeout(Duration::from_secs(5), stream.read_to_end(&mut all)).await;
    read.expect("no hang").expect("no reset");
    let text = String::from_utf8(all).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    assert!(head.contains("content-type: application/json"), "{head}");
    (status, serde_json::from_str(body).expect("JSON"))
}

fn request(target: &[u8], header: &[u8]) -> Vec<u8> {
    const START: &[u8] = b"POST /v2/workflows/dlq/resume";
    const HEADERS: &[u8] = b" HTTP/1.1\r\nhost: s\r\nauthorization: Bearer t\r\nconnection: close\r\n";
    [START, target, HEADERS, header, b"\r\n"].concat()
}

#[tokio::test]
async fn a_parameter_that_cannot_be_meant_is_refused() {
    let simulator = start().await;
    simulator.seed(3).await;
    simulator.admin(Method::PUT, "/tokens/other", &serde_json::json!({})).await;
    let other = simulator.client.post(format!("{}/dlqs/other/entries", simulator.admin));
    let other = other.body(r#"{"generate":{"count":2}}"#).send().await.expect("an answer");
    assert_eq!(other.status(), 200);
    let page =
        simulator.client.get(format!("{}/v2/workflows/dlq?count=1", simulator.api)).bearer_auth("other");
    let (_, page) = answer(page.send().await.expect("an answer")).await;
    let foreign = page["cursor"].as_str().expect("a cursor");
    let foreign = percent_encoding::utf8_percent_encode(foreign, percent_encoding::NON_ALPHANUMERIC);

    let mut queries: Vec<String> = [
        "count=0",
        "count=-1",
        "count=1.5",
        "count=ten",
        "count=%31%30%20",
        "count=9223372036854775808999",
        "fromDate=yesterday",
        "toDate=2026-01-01T00:00:00Z",
        "toDate=9223372036854775808",
        "workflowCreatedAt=-1",
        "failureFunctionState=CALLBACK_UNKNOWN",
        "failureFunctionState=callback_fail",
        "cursor=bogus",
        "cursor=%00",
        "label=%ff",
        "label=%c3%28",
        "label=%zz",
        "%ff=1",
    ]
    .map(ToOwned::to_owned)
    .into();
    queries.push(format!("cursor={foreign}"));
    queries.push(format!("cursor={}", "x".repeat(60_000)));
    queries.push((0..101).map(|n| format!("dlqIds={n}")).collect::<Vec<_>>().join("&"));
    for query in &queries {
        for (method, path) in
            [(Method::POST, "/resume"), (Method::POST, "/restart"), (Method::DELETE, ""), (Method::GET, "")]
        {
            let call = simulator.call(method.clone(), &format!("{path}?{query}"));
            let (status, body) = answer(call.send().await.expect("an answer")).await;
            assert_eq!(status, 400, "{method} {path}?{query:.80}");
            assert!(body["error"].as_str().is_some_and(|error| !error.is_empty()), "{query:.80}: {body}");
        }
    }
    assert_eq!(simulator.in_dlq().await, 3);
}

#[tokio::test]
async fn what_is_too_long_for_http_is_refused_as_everything_else_is() {
    let simulator = start().await;
    simulator.seed(1).await;
    let long_header = [b"x-long: ".as_slice(), &b"x".repeat(1 << 20), b"\r\n"].concat();
    let many_headers: Vec<u8> = (0..200).flat_map(|n| format!("x-{n}: 1\r\n").into_bytes()).collect();
    for (name, bytes) in [
        ("a URL of 1 MiB", request(&[b"?label=".as_slice(), &b"x".repeat(1 << 20)].concat(), b"")),
        ("a header of 1 MiB", request(b"", &long_header)),
        ("two hundred headers", request(b"", &many_headers)),
        ("raw bytes in the URL", request(b"?label=\xff\xfe", b"")),
        ("a space in the URL", request(b"?label=a b", b"")),
        ("a header without a colon", request(b"", b"nonsense\r\n")),
        ("no HTTP at all", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n".to_vec()),
    ] {
        let (status, body) = raw(&simulator, &bytes).await;
        assert_eq!(status, 400, "{name}");
        assert!(body["error"].is_string(), "{name}: {body}");
    }
    assert_eq!(simulator.in_dlq().await, 1);
}

#[tokio::test]
async fn headers_that_are_no_text_are_refused() {
    let simulator = start().await;
    simulator.seed(1).await;
    for header in [
        b"upstash-label: \xff\xfe\r\n".as_slice(),
        "upstash-label: größe\r\n".as_bytes(),
        b"upstash-flow-control-key: a\xc3\x28\r\n",
        b"upstash-retries: 1\r\nupstash-retries: 2\r\n",
    ] {
        let (status, body) = raw(&simulator, &request(b"", header)).await;
        assert_eq!((status, body["error"].is_string()), (400, true), "{body}");
    }
    let (status, _) = raw(&simulator, &request(b"", b"upstash-label: plain\r\n")).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_hundred_thousand_ids_are_refused_at_once() {
    let simulator = start().await;
    simulator.seed(1).await;
    let ids: Vec<String> = (0..100_000).map(|n| format!("{n:x}")).collect();
    let body = serde_json::json!({ "dlqIds": ids }).to_string();
    let call = simulator.client.delete(format!("{}/v2/dlq", simulator.api)).bearer_auth("t").body(body);
    let answered = timeout(Duration::from_secs(3), call.send()).await.expect("no hang");
    assert_eq!(answer(answered.expect("an answer")).await.0, 400);
    let query = format!("?dlqIds={}", ids[..10_000].join(","));
    let answered = timeout(Duration::from_secs(3), simulator.call(Method::GET, &query).send()).await;
    assert_eq!(answer(answered.expect("no hang").expect("an answer")).await.0, 400);
}

#[tokio::test]
async fn a_body_that_nobody_asked_for_loses_no_answer() {
    let simulator = start().await;
    simulator.seed(3).await;
    for (method, path) in [(Method::POST, "/resume?count=1"), (Method::DELETE, "?count=1"), (Method::GET, "")]
    {
        let call = simulator.call(method.clone(), path).body(vec![b'x'; 20 << 20]);
        assert_eq!(call.send().await.expect("an answer").status(), 200, "{method}");
    }
    assert_eq!(simulator.in_dlq().await, 1);
}

#[tokio::test]
async fn calls_of_one_entry_ignore_what_only_pages_have() {
    let simulator = start().await;
    simulator.seed(1).await;
    let (status, _) =
        answer(simulator.call(Method::GET, "/gone?count=0&cursor=q").send().await.expect("an answer")).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_token_in_a_query_counts_also_when_the_rest_is_malformed() {
    let simulator = start().await;
    let url = format!("{}/v2/workflows/dlq?label=%ff&qstash_token=t", simulator.api);
    assert_eq!(answer(simulator.client.get(url).send().await.expect("an answer")).await.0, 400);
    assert_eq!(simulator.last_call().await["tokenInQuery"], true);
}

#[tokio::test]
async fn the_admin_port_refuses_what_nobody_can_mean_and_goes_on() {
    let simulator = start().await;
    for (method, path, body) in [
        (Method::POST, "/dlqs/a/entries", r#"{"generate":{"count":18446744073709551615}}"#),
        (Method::POST, "/dlqs//entries", "{}"),
        (Method::PUT, "/tokens/%ff", "{}"),
        (Method::GET, "/dlqs/%ff/ledger", ""),
    ] {
        let call = simulator.client.request(method, format!("{}{path}", simulator.admin)).body(body);
        let (status, body) = answer(call.send().await.expect("an answer")).await;
        assert_eq!((status, body["error"].is_string()), (400, true), "{path}: {body}");
    }
    assert_eq!(simulator.in_dlq().await, 0);
}
