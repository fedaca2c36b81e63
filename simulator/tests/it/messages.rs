//! The DLQ under its other path, `/v2/dlq`, where the SDKs list.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::harness::{Running, answer, start};

fn call(simulator: &Running, method: Method, path_and_query: &str) -> RequestBuilder {
    simulator.client.request(method, format!("{}/v2/dlq{path_and_query}", simulator.api)).bearer_auth("t")
}

async fn ids(simulator: &Running, query: &str) -> Vec<String> {
    let (status, page) = answer(call(simulator, Method::GET, query).send().await.expect("an answer")).await;
    assert_eq!(status, 200, "{query}: {page}");
    let messages = page["messages"].as_array().expect("messages");
    messages.iter().map(|message| message["dlqId"].as_str().expect("an ID").to_owned()).collect()
}

async fn list_of_messages(simulator: &Running) -> Value {
    answer(call(simulator, Method::GET, "").send().await.expect("an answer")).await.1
}

async fn seeded() -> Running {
    let simulator = start().await;
    let seed = json!({ "entries": [
        { "dlqId": "one", "failedAt": 1, "workflowUrl": "https://a.example/w", "responseStatus": 502 },
        { "dlqId": "two", "failedAt": 2, "labels": ["x", "y"], "failureFunctionState": "CALLBACK_FAIL" },
    ]});
    simulator.admin(Method::POST, "/dlqs/a/entries", &seed).await;
    simulator
}

#[tokio::test]
async fn lists_filter_by_what_messages_have() {
    let simulator = seeded().await;
    for (query, expected) in [
        ("?source=workflow", vec!["one", "two"]),
        ("?url=https%3A%2F%2Fa.example%2Fw", vec!["one"]),
        ("?responseStatus=502", vec!["one"]),
        ("?responseStatus=500&responseStatus=502", vec!["one", "two"]),
        ("?messageId=msg_two", vec!["two"]),
        ("?label=y&source=workflow", vec!["two"]),
        ("?queueName=q", vec![]),
        ("?topicName=t", vec![]),
        ("?scheduleId=s", vec![]),
        ("?dlqIds=two&dlqIds=gone", vec!["two"]),
    ] {
        assert_eq!(ids(&simulator, query).await, expected, "{query}");
    }
    for query in ["?source=qstash", "?responseStatus=many"] {
        let refused = call(&simulator, Method::GET, query).send().await.expect("an answer");
        assert_eq!(refused.status(), 400, "{query}");
    }
}

#[tokio::test]
async fn a_message_has_what_the_sdks_read() {
    let simulator = seeded().await;
    let (_, message) = answer(call(&simulator, Method::GET, "/two").send().await.expect("an answer")).await;
    assert_eq!((&message["label"], &message["labels"]), (&json!("x"), &json!(["x", "y"])));
    assert_eq!(message["failureCallbackInfo"], json!({ "state": "CALLBACK_FAIL" }));
    assert_eq!((&message["messageId"], &message["method"]), (&json!("msg_two"), &json!("POST")));
}

#[tokio::test]
async fn a_message_has_its_retries_and_its_flow_control_in_the_lists_own_fields() {
    let simulator = start().await;
    let seed = json!({ "entries": [
        { "dlqId": "all", "flowControlKey": "k", "flowControlValue": "parallelism=5, rate=10, period=2m",
          "retries": 7, "retryDelay": "(1 + retried) * 1000", "callerIp": "192.0.2.7" },
        { "dlqId": "some", "flowControlKey": "k", "flowControlValue": "rate=1" },
        { "dlqId": "none" },
    ]});
    simulator.admin(Method::POST, "/dlqs/a/entries", &seed).await;
    let message = async |id: &str| {
        let (status, listed) =
            answer(call(&simulator, Method::GET, &format!("?dlqIds={id}")).send().await.expect("an answer"))
                .await;
        assert_eq!(status, 200);
        let got = simulator.ok(Method::GET, &format!("/{id}")).await;
        assert_eq!(listed["messages"][0], got, "{id}");
        got
    };
    let all = message("all").await;
    assert_eq!((&all["parallelism"], &all["rate"], &all["period"]), (&json!(5), &json!(10), &json!(120)));
    assert_eq!(all["maxRetries"], 7);
    assert_eq!(all["retryDelayExpression"], "(1 + retried) * 1000");
    assert_eq!(all["callerIP"], "192.0.2.7");
    for name in ["flowControlValue", "callerIp", "retryDelay", "failedAt"] {
        assert!(all.get(name).is_none(), "{name}");
    }
    let some = message("some").await;
    assert_eq!((&some["flowControlKey"], &some["rate"]), (&json!("k"), &json!(1)));
    let none = message("none").await;
    for (message, absent) in [
        (&some, ["parallelism", "period", "retryDelayExpression"].as_slice()),
        (&none, &["flowControlKey", "parallelism", "rate", "period", "retryDelayExpression"]),
    ] {
        for name in absent {
            assert!(message.get(name).is_none(), "{name}: {message}");
        }
    }
}

#[tokio::test]
async fn a_message_has_the_response_that_was_seeded_or_one_that_is_made_up() {
    let simulator = start().await;
    let headers = json!({ "Content-Type": ["text/plain"], "Set-Cookie": ["a=1", "b=2"], "X-Empty": [] });
    let entry = json!({ "responseStatus": 503, "responseHeaders": headers, "responseBody": "no \"room\"\n" });
    let seed = json!({ "entries": [entry, {}], "generate": { "count": 2, "entry": entry } });
    let seeded = simulator.admin(Method::POST, "/dlqs/a/entries", &seed).await;
    let in_dlq = simulator.admin(Method::GET, "/dlqs/a/entries", &Value::Null).await;
    let [a, none, b, c] = [0, 1, 2, 3].map(|index| seeded["dlqIds"][index].as_str().expect("an ID"));
    for id in [a, b, c, none] {
        let message = simulator.ok(Method::GET, &format!("/{id}")).await;
        let (_, same) =
            answer(call(&simulator, Method::GET, &format!("/{id}")).send().await.expect("an answer")).await;
        assert_eq!(message, same, "{id}");
        for list in [simulator.ok(Method::GET, "").await, list_of_messages(&simulator).await] {
            let listed =
                list["messages"].as_array().expect("messages").iter().find(|listed| listed["dlqId"] == id);
            assert_eq!(listed, Some(&message), "{id}");
        }
        let expected = if id == none {
            json!([500, {}, "simulated failure"])
        } else {
            json!([503, headers, "no \"room\"\n"])
        };
        let shown = ["responseStatus", "responseHeader", "responseBody"].map(|field| &message[field]);
        assert_eq!(json!(shown), expected, "{id}");
        let entries = in_dlq["entries"].as_array().expect("entries");
        let entry = entries.iter().find(|entry| entry["dlqId"] == id).expect("what was seeded");
        let seeded = ["responseStatus", "responseHeaders", "responseBody"].map(|field| &entry[field]);
        assert_eq!(json!(seeded), expected, "{id}");
    }
}

#[tokio::test]
async fn a_message_says_when_it_was_created_and_not_when_it_failed() {
    let simulator = start().await;
    let seed = json!({ "entries": [
        { "dlqId": "seeded", "workflowCreatedAt": 1000, "createdAt": 1999, "failedAt": 2000 },
        { "dlqId": "made up", "workflowCreatedAt": 1000, "failedAt": 3000 },
    ]});
    simulator.admin(Method::POST, "/dlqs/a/entries", &seed).await;
    let (_, page) = answer(call(&simulator, Method::GET, "").send().await.expect("an answer")).await;
    for (message, created_at) in page["messages"].as_array().expect("messages").iter().zip([1999, 2000]) {
        assert_eq!(message["createdAt"], created_at, "{message}");
        assert_eq!(message["notBefore"], created_at, "{message}");
    }
    let entries = simulator.admin(Method::GET, "/dlqs/a/entries", &Value::Null).await;
    let [seeded, made_up] = [0, 1].map(|index| &entries["entries"][index]);
    assert_eq!((&seeded["createdAt"], &seeded["failedAt"]), (&json!(1999), &json!(2000)));
    assert_eq!((&made_up["createdAt"], &made_up["failedAt"]), (&json!(2000), &json!(3000)));
    assert_eq!(ids(&simulator, "?fromDate=2000&toDate=2000").await, ["seeded"], "filters go by the failure");
}

#[tokio::test]
async fn deletes_take_ids_from_the_path_the_query_or_a_body() {
    let simulator = seeded().await;
    simulator.seed(3).await;
    let all = ids(&simulator, "").await;
    let one = call(&simulator, Method::DELETE, "/one").send().await.expect("an answer");
    assert_eq!(answer(one).await, (200, Value::Null));
    let two = call(&simulator, Method::DELETE, "?dlqIds=two").send().await.expect("an answer");
    assert_eq!(answer(two).await, (200, json!({ "deleted": 1 })));
    let body = json!({ "dlqIds": [all[2], "gone"] }).to_string();
    let three = call(&simulator, Method::DELETE, "").body(body).send().await.expect("an answer");
    assert_eq!(answer(three).await, (200, json!({ "deleted": 1 })));
    assert_eq!(ids(&simulator, "").await, all[3..]);
    let comma = json!({ "dlqIds": [format!("{},{}", all[3], all[4])] }).to_string();
    let none = call(&simulator, Method::DELETE, "").body(comma).send().await.expect("an answer");
    assert_eq!(answer(none).await, (200, json!({ "deleted": 0 })));
    for body in [
        "{",
        "{}",
        r#"{"dlqIds":"one"}"#,
        r#"{"dlqIds":[1]}"#,
        r#"{"dlqIds":[]}"#,
        r#"{"dlqIds":["one",""]}"#,
    ] {
        let refused = call(&simulator, Method::DELETE, "").body(body).send().await.expect("an answer");
        assert_eq!(answer(refused).await.0, 400, "{body}");
    }
    assert_eq!(simulator.in_dlq().await, 2);
}

#[tokio::test]
async fn messages_cannot_be_published_again() {
    let simulator = seeded().await;
    let refused = call(&simulator, Method::POST, "/retry?dlqIds=one").send().await.expect("an answer");
    assert_eq!(refused.status(), 404);
    assert_eq!(simulator.in_dlq().await, 2);
}
