//! The operator's flags: each can be set by a value, and the schema takes what the operator takes.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use testbed::binary;
use tokio::process::Command;

use super::{args, everything, rendered};

/// Values that are both allowed, or both refused, by the schema and by the operator; each with its flag.
fn table() -> Vec<(&'static str, &'static str, Vec<Value>, Vec<Value>)> {
    let urls = || {
        let good = [
            "https://qstash.upstash.io",
            "http://127.0.0.1:9",
            "https://qstash-*.upstash.io/",
            "https://a.example:65535",
        ];
        let bad = [
            "qstash.upstash.io",
            "ftp://a.example",
            "https://a.example/v2",
            "https://user@a.example",
            "https://a.example?b",
            "https://a.example#b",
            "https://",
            "https://a.example:0",
        ];
        (good.map(|url| json!([url])).to_vec(), bad.map(|url| json!([url])).to_vec())
    };
    let durations = |longest: &str, zero: &str| {
        let good = ["500ms", "1s", "1m30s", "1h", "90m", longest].map(Value::from).to_vec();
        let bad = ["10", "1x", "s", "-1s", "1s1m", zero].map(Value::from).to_vec();
        (good, bad)
    };
    let counts =
        || (vec![json!(1), json!(65535)], vec![json!(0), json!(-1), json!(65536), json!("many"), json!(1.5)]);
    let with = |path, flag, (good, bad)| (path, flag, good, bad);
    let actions =
        || (vec![json!(["resume"]), json!(["restart", "delete"])], vec![json!(["purge"]), json!(["Resume"])]);
    vec![
        with("config.allowedUrls", "allowed-url", urls()),
        with("config.allowedCallbackUrls", "allowed-callback-url", urls()),
        with("config.allowedActions", "allowed-actions", actions()),
        with("config.maxConcurrentRuns", "max-concurrent-runs", counts()),
        with("config.maxRunsPerConnection", "max-runs-per-connection", counts()),
        with(
            "config.retryLimit",
            "retry-limit",
            (vec![json!(0), json!(4_294_967_295_u32)], vec![json!(-1), json!(4_294_967_296_u64), json!("a")]),
        ),
        with("config.checkpointInterval", "checkpoint-interval", durations("0", "")),
        with("config.requestTimeout", "request-timeout", durations("24h", "0s")),
        with(
            "config.otlpEndpoint",
            "otlp-endpoint",
            (
                vec![json!("http://collector:4318"), json!("https://a.example/otlp/v1/traces")],
                vec![
                    json!("collector:4318"),
                    json!("http://collector:4317"),
                    json!("http://user:secret@collector:4318"),
                    json!("http://collector:4318?a=b"),
                ],
            ),
        ),
        with(
            "leaderElection.leaseDuration",
            "lease-duration",
            (
                ["3s", "15s", "999s", "3600s", "1m", "59m59s", "60m", "1h"].map(Value::from).to_vec(),
                ["2s", "0", "3601s", "61m", "2h", "1500ms", "15"].map(Value::from).to_vec(),
            ),
        ),
        with(
            "leaderElection.leaseName",
            "lease-name",
            (vec![json!("a"), json!("a-b.c")], vec![json!("A"), json!("-a"), json!("a_b"), json!("a..b")]),
        ),
        with(
            "leaderElection.leaseNamespace",
            "lease-namespace",
            (vec![json!("a-b")], vec![json!("a.b"), json!("A"), json!("n".repeat(64))]),
        ),
        with("log.level", "log-level", (vec![json!("debug"), json!("info,dlq_operator=debug")], vec![])),
        with(
            "log.format",
            "log-format",
            (vec![json!("text"), json!("json")], vec![json!("xml"), json!("JSON")]),
        ),
    ]
}

/// `{ "a": { "b": value } }` of `a.b`.
fn nested(path: &str, value: &Value) -> Value {
    path.rsplit('.').fold(value.clone(), |inner, name| json!({ name: inner }))
}

/// What the operator says to a command line that is otherwise well: nothing, if only the cluster is missing.
async fn complaint(args: &[&str]) -> Option<String> {
    // Each on a port of its own.
    let args = args.iter().filter(|arg| !arg.starts_with("--admin-address"));
    let output = Command::new(binary("dlq-operator").await.unwrap())
        .args(args)
        .arg("--admin-address=127.0.0.1:0")
        .env_clear()
        .env("KUBECONFIG", "/nowhere")
        .env("POD_NAMESPACE", "dlq-system")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    if said.contains("cannot find a cluster") { None } else { Some(said) }
}

/// A value as a flag's: lists with commas, as the chart writes them.
fn as_text(value: &Value) -> String {
    match value {
        Value::Array(items) => items.iter().map(as_text).collect::<Vec<_>>().join(","),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[tokio::test]
async fn the_operator_takes_what_the_schema_takes() {
    for (path, flag, good, _) in table() {
        for value in good {
            let objects =
                rendered(&nested(path, &value)).await.unwrap_or_else(|error| panic!("{path}: {error}"));
            let args = args(&objects);
            let expected = format!("--{flag}={}", as_text(&value));
            assert!(args.contains(&expected.as_str()), "{path}: {args:?}");
            if let Some(complaint) = complaint(&args).await {
                panic!("{path}: the schema takes {value}, the operator says: {complaint}");
            }
        }
    }
}

#[tokio::test]
async fn the_schema_refuses_what_the_operator_refuses() {
    for (path, flag, _, bad) in table() {
        for value in bad {
            let refusal = rendered(&nested(path, &value)).await.expect_err(&format!("{path}: {value}"));
            assert!(refusal.contains("specifications of the schema"), "{path}: {value}: {refusal}");
            // An empty text is a value that is not set.
            let arg = format!("--{flag}={}", as_text(&value));
            assert!(complaint(&["--leader-elect", &arg]).await.is_some(), "the operator takes {arg}");
        }
    }
}

#[tokio::test]
async fn every_flag_of_the_operator_can_be_set_by_a_value() {
    let help = Command::new(binary("dlq-operator").await.unwrap()).arg("--help").output().await.unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let flags: BTreeSet<_> = help
        .lines()
        .filter_map(|line| {
            line.trim_start().trim_start_matches("-h, ").trim_start_matches("-V, ").strip_prefix("--")
        })
        .map(|rest| rest.split([' ', '[', '=']).next().unwrap())
        .filter(|flag| !["help", "version"].contains(flag))
        .collect();
    assert!(flags.len() > 20, "{flags:?}");
    let objects = rendered(&everything()).await.unwrap();
    let args = args(&objects);
    // On wherever it takes a permission, and so a flag only where it is off.
    let without = rendered(&json!({ "clusterConnections": { "enabled": false } })).await.unwrap();
    let set: BTreeSet<_> = args
        .iter()
        .chain(&super::args(&without))
        .map(|arg| arg.trim_start_matches("--").split('=').next().unwrap())
        .collect();
    let missing: Vec<_> = flags.difference(&set).collect();
    assert!(missing.is_empty(), "no value sets {missing:?}");
    // Nor does a value set what the operator does not know.
    if let Some(complaint) = complaint(&args).await {
        panic!("{complaint}");
    }
}

#[tokio::test]
async fn further_arguments_come_last() {
    let objects = rendered(&json!({ "extraArgs": ["--allowed-actions=resume"] })).await.unwrap();
    assert_eq!(args(&objects).last(), Some(&"--allowed-actions=resume"));
    assert!(Path::new("/nowhere").metadata().is_err(), "the tests above need a place where nothing is");
}
