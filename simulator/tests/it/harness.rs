//! A simulator on ports of its own, and calls to it.

use std::{sync::Arc, time::Duration};

use dlq_simulator::{
    server::Server,
    service::Order,
    simulator::{NewToken, Simulator},
};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

pub(crate) struct Running {
    pub(crate) api: String,
    pub(crate) admin: String,
    pub(crate) client: Client,
}

/// For tests of what holds in either order.
pub(crate) const ORDERS: [Order; 2] = [Order::OldestFirst, Order::NewestFirst];

/// Starts a simulator that knows the token `t` of the DLQ `a`. It ends with the test's runtime.
pub(crate) async fn start() -> Running {
    start_with(Order::default()).await
}

pub(crate) async fn start_with(order: Order) -> Running {
    let simulator = Arc::new(Simulator::with_order(order));
    simulator.put_token("t".into(), NewToken { dlq: Some("a".into()), read_only: false });
    let any_port = "127.0.0.1:0".parse().expect("an address");
    let server = Server::bind(any_port, any_port, simulator).await.expect("free ports");
    let (api, admin) = (server.api_url().expect("bound"), server.admin_url().expect("bound"));
    tokio::spawn(server.serve(std::future::pending()));
    Running { api, admin, client: client() }
}

pub(crate) fn client() -> Client {
    Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().expect("a client")
}

impl Running {
    /// A call of the API with the token `t`.
    pub(crate) fn call(&self, method: Method, path_and_query: &str) -> RequestBuilder {
        self.client.request(method, format!("{}/v2/workflows/dlq{path_and_query}", self.api)).bearer_auth("t")
    }

    /// A call of the API that must succeed.
    pub(crate) async fn ok(&self, method: Method, path_and_query: &str) -> Value {
        let (status, body) = answer(self.call(method, path_and_query).send().await.expect("an answer")).await;
        assert_eq!(status, 200, "{path_and_query}: {body}");
        body
    }

    pub(crate) async fn admin(&self, method: Method, path: &str, body: &Value) -> Value {
        let request = self.client.request(method, format!("{}{path}", self.admin)).body(body.to_string());
        let (status, body) = answer(request.send().await.expect("an answer")).await;
        assert!(matches!(status, 200 | 204), "{path}: {status} {body}");
        body
    }

    /// Seeds entries from one template.
    pub(crate) async fn seed(&self, count: usize) -> Vec<Value> {
        let seed = json!({ "generate": { "count": count } });
        let mut made = self.admin(Method::POST, "/dlqs/a/entries", &seed).await;
        made["dlqIds"].as_array_mut().map(std::mem::take).expect("a list of IDs")
    }

    pub(crate) async fn fault(&self, rule: Value) {
        self.admin(Method::PUT, "/faults", &json!({ "rules": [rule] })).await;
    }

    /// The IDs that a list call gives, in its order.
    pub(crate) async fn listed(&self, query: &str) -> Vec<String> {
        let page = self.ok(Method::GET, query).await;
        let messages = page["messages"].as_array().expect("messages");
        messages.iter().map(|message| message["dlqId"].as_str().expect("an ID").to_owned()).collect()
    }

    pub(crate) async fn in_dlq(&self) -> usize {
        let body = self.admin(Method::GET, "/dlqs/a/entries", &Value::Null).await;
        body["entries"].as_array().expect("a list of entries").len()
    }

    pub(crate) async fn ledger(&self, dlq: &str) -> Value {
        self.admin(Method::GET, &format!("/dlqs/{dlq}/ledger"), &Value::Null).await
    }

    /// The last call in the ledger of the DLQ `a`.
    pub(crate) async fn last_call(&self) -> Value {
        let mut ledger = self.ledger("a").await;
        ledger["calls"].as_array_mut().and_then(Vec::pop).expect("a call")
    }
}

/// Status and body; a body that is no JSON is `null`.
pub(crate) async fn answer(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let body = response.bytes().await.expect("a whole body");
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}
