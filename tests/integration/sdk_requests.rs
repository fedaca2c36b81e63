//! The operator sends what Upstash's SDK sends: a policy and a call of the SDK that mean the same reach the API as the
//! same query and headers, byte for byte after sorting, apart from what each side says about itself.
//!
//! `tests/sdk/equivalents.json` is the table, written down by hand on both sides.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Stdio;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use testbed::{Entry, LedgerCall, workspace_root};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use url::form_urlencoded;

use crate::cases::{self, Case, Cases, Differences, Outcome};
use crate::scene::Scene;

/// Headers of the connection, and those by which each side describes itself and what it can read.
const OWN_HEADERS: [&str; 8] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "connection",
    "content-length",
    "host",
    "sec-fetch-mode",
    "user-agent",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Row {
    /// What both sides mean.
    name: String,
    /// How many entries are in the DLQ beside those that the policy names.
    #[serde(default)]
    entries: usize,
    /// A spec without its connection.
    policy: Value,
    /// Which of the operator's calls is meant.
    #[serde(default)]
    call: usize,
    sdk: SdkCall,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SdkCall {
    method: String,
    /// `$toDate` stands for the start of the policy's run, `$cursor` for the cursor that the operator sent.
    request: Value,
    #[serde(default)]
    options: Value,
    /// Where the SDK calls another path than the operator.
    path: Option<String>,
    /// What the SDK's query has that the operator's has not.
    #[serde(default)]
    adds: BTreeSet<String>,
}

impl Row {
    fn case(&self) -> Case {
        let named = self.policy["filters"]["dlqIds"].as_array().into_iter().flatten();
        let named = named.map(|id| Entry { dlq_id: id.as_str().map(ToOwned::to_owned), ..Entry::default() });
        let others = (0..self.entries).map(|_| Entry::default());
        Case { entries: named.chain(others).collect(), spec: self.policy.clone() }
    }

    /// The SDK's call, with what only the operator's run could tell filled in.
    fn sdk_call(&self, index: usize, base_url: &str, run: &Value, call: &LedgerCall) -> Value {
        let mut request = self.sdk.request.clone();
        if request["filter"]["toDate"] == "$toDate" {
            let start: Timestamp = run["startTime"].as_str().unwrap().parse().unwrap();
            request["filter"]["toDate"] = json!(start.as_millisecond());
        }
        if request["cursor"] == "$cursor" {
            let cursor = form_urlencoded::parse(call.query.as_bytes()).find(|(name, _)| name == "cursor");
            request["cursor"] = json!(cursor.expect("the operator sent a cursor").1);
        }
        json!({
            "baseUrl": base_url,
            "token": cases::token(index),
            "method": self.sdk.method,
            "request": request,
            "options": self.sdk.options,
        })
    }

    fn compare(&self, operators: &LedgerCall, sdks: &LedgerCall, differences: &mut Differences) {
        let mut same = |what: &str, actual: Value, expected: Value| {
            differences.expect_eq(&self.name, what, actual, expected);
        };
        let path = self.sdk.path.as_ref().unwrap_or(&operators.path);
        same("the SDK's path", json!(sdks.path), json!(path));
        same("the method", json!(operators.method), json!(sdks.method));
        let expected: Vec<_> =
            parameters(sdks).into_iter().filter(|pair| !self.sdk.adds.contains(*pair)).collect();
        same("the query", json!(parameters(operators)), json!(expected));
        same(
            "what the SDK adds is there",
            json!(self.sdk.adds.iter().all(|pair| parameters(sdks).contains(&pair.as_str()))),
            json!(true),
        );
        same("the headers", json!(headers(operators)), json!(headers(sdks)));
        same("the place of the token", json!(token_place(operators)), json!(token_place(sdks)));
    }
}

/// The query's parameters as they were sent, sorted.
fn parameters(call: &LedgerCall) -> Vec<&str> {
    let mut parameters: Vec<_> = call.query.split('&').collect();
    parameters.sort_unstable();
    parameters
}

fn headers(call: &LedgerCall) -> BTreeMap<&str, &str> {
    let headers = call.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    headers
        .filter(|(name, _)| !OWN_HEADERS.contains(name) && !name.starts_with("upstash-telemetry-"))
        .collect()
}

fn token_place(call: &LedgerCall) -> (bool, bool, Option<&str>) {
    (call.authorization, call.token_in_query, call.token.as_deref())
}

async fn send_by_the_sdk(calls: &[Value]) {
    let mut child = Command::new("node")
        .arg("send.js")
        .current_dir(workspace_root().join("tests/sdk/node"))
        // The SDK would start a server of its own and call that.
        .env_remove("QSTASH_DEV")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(json!(calls).to_string().as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
#[ignore = "needs Node.js and the SDK; `make test` runs it where they are"]
async fn the_operator_sends_what_the_sdk_sends() {
    let table = fs::read(workspace_root().join("tests/sdk/equivalents.json")).unwrap();
    let rows: Vec<Row> = serde_json::from_slice(&table).unwrap();
    let scene = Scene::start("sdk-requests").await;
    let cases = Cases::apply(&scene, rows.iter().map(Row::case).collect()).await;
    let outcomes = cases.outcomes().await;

    let calls = rows.iter().zip(&outcomes).enumerate().map(|(index, (row, Outcome { status, ledger }))| {
        row.sdk_call(index, scene.simulator.api_url(), &status["lastRun"], &ledger.calls[row.call])
    });
    send_by_the_sdk(&calls.collect::<Vec<_>>()).await;

    let mut differences = Differences::default();
    for (index, (row, before)) in rows.iter().zip(&outcomes).enumerate() {
        let after = scene.simulator.ledger(&cases::name(index)).await.unwrap();
        let [sdks] = &after.calls[before.ledger.calls.len()..] else {
            panic!("{}: the SDK made {} calls", row.name, after.calls.len() - before.ledger.calls.len());
        };
        row.compare(&before.ledger.calls[row.call], sdks, &mut differences);
    }
    differences.report();
}
