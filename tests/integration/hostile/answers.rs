//! Answers that are long, or hold what nobody wants to read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use testbed::{OperatorOptions, Simulator, eventually};

use crate::events::wait_until_told;
use crate::scene::{DLQ, PATIENCE, Scene, TOKEN};

const MAX_STATUS: usize = 64 * 1024;

/// Pages of fifty new workflow runs with the longest IDs, and cursors of 10 KiB; every fourth page is the last.
async fn long_winded(State(pages): State<Arc<AtomicUsize>>) -> Json<Value> {
    let page = pages.fetch_add(1, Ordering::SeqCst) + 1;
    let runs: Vec<_> = (0..50)
        .map(|run| json!({ "workflowRunId": format!("{page:08}{run:02}{}", "w".repeat(246)) }))
        .collect();
    let cursor = (page % 4 != 0).then(|| format!("{page:08}{}", "+".repeat(10 * 1024 - 8)));
    Json(json!({ "workflowRuns": runs, "cursor": cursor }))
}

#[tokio::test]
async fn cursors_of_ten_kibibytes_are_sent_back_whole_and_statuses_stay_small() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let pages = Arc::new(AtomicUsize::new(0));
    let router =
        Router::new().route("/v2/workflows/dlq/resume", post(long_winded)).with_state(Arc::clone(&pages));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let simulator = Simulator::start().await.unwrap();
    let scene = Scene::start_behind("long-winded", simulator, url, &["--checkpoint-interval=0"]).await;
    scene.apply("long", json!({ "action": "resume", "filters": { "all": true }, "historyLimit": 50 })).await;
    let long = "<".repeat(240);
    for run in 1..=32 {
        let status = scene.ran("long", run).await;
        assert_eq!(status["lastRun"]["pages"], 4);
        assert_eq!(status["lastRun"]["cursor"].as_str().unwrap().len(), 10 * 1024);
        let annotations =
            [("requestedBy", &*long), ("requestReason", &*long), ("requestedAt", &*format!("{run}{long}"))];
        scene.annotate("long", &annotations).await;
    }
    let status = scene.ran("long", 33).await;
    assert_eq!(status["lastRun"]["sampleWorkflowRunIds"].as_array().unwrap().len(), 10);
    // The oldest had to yield.
    let history = status["history"].as_array().unwrap().len();
    assert!((12..33).contains(&history), "{history}");
    let path =
        format!("/apis/dlq-operator.dev/v1alpha1/namespaces/{}/dlqpolicies/long", scene.namespace.name());
    let raw = scene.kubectl(&["get", "--raw", &path]).await;
    let start = raw.find("\"status\":{").unwrap();
    let bytes = raw.len() - start;
    assert!(bytes <= MAX_STATUS && bytes > MAX_STATUS / 2, "{bytes} bytes");
}

#[tokio::test]
async fn of_a_mebibyte_of_rubbish_only_a_printable_beginning_is_told() {
    let scene = Scene::start_with("rubbish", &["--retry-limit=2"]).await;
    let noise = "\u{1b}[2J\u{1b}]0;owned\u{7}\r\n\u{0}\u{202e}Bearer eyJVc2VySUQiOiJub2JvZHkifQ== ";
    let rubbish = format!("{noise}{TOKEN}{}", noise.repeat((1 << 20) / noise.len()));
    let unicode = TOKEN.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect::<Vec<_>>().concat();
    let bodies = [
        ("json", 400, json!({ "error": rubbish }).to_string()),
        ("text", 400, rubbish.clone()),
        ("escaped", 400, format!("{{\"message\":\"{unicode}\",\"error\":7}}")),
        ("busy", 503, rubbish.clone()),
        (
            "page",
            200,
            json!({ "workflowRuns": [{ "workflowRunId": rubbish }], "cursor": rubbish }).to_string(),
        ),
        ("cursor", 200, json!({ "workflowRuns": [{ "workflowRunId": TOKEN }], "cursor": TOKEN }).to_string()),
    ];
    for (name, code, body) in bodies {
        let fault = json!({ "status": { "code": code, "body": body } });
        scene.simulator.set_faults(&json!([{ "fault": fault }])).await.unwrap();
        scene.apply(name, json!({ "action": "resume", "filters": { "all": true } })).await;
        let status = scene.ran(name, 1).await;
        let message = status["lastRun"]["message"].as_str().unwrap();
        assert!(
            message.chars().count() <= 256 && !message.chars().any(char::is_control),
            "{name}: {message:?}"
        );
        assert_eq!(status["lastRun"]["result"], "Failed", "{name}");
        wait_until_told(&scene, name, "RunFailed", 1).await;
        assert!(status.to_string().len() < 8 * 1024, "{name}: {status}");
        let events = scene.kubectl(&["get", "events", "--output=json"]).await;
        for text in [&status.to_string(), &events, &scene.operator.log()] {
            let is_hidden = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!text.contains(TOKEN) && !text.contains(is_hidden), "{name}");
            assert!(!text.contains("\\u001b") && !text.contains("\\u{1b}"), "{name}");
        }
        let longest = scene.operator.log().lines().map(str::len).max().unwrap();
        assert!(longest < 8 * 1024, "{name}: a line of {longest} bytes in the log");
    }
}

#[tokio::test]
async fn no_token_is_in_the_log_even_where_it_tells_everything() {
    let mut scene = Scene::start("trace").await;
    let mut options = OperatorOptions::new(scene.control_plane, &scene.simulator, scene.namespace.name());
    options.args.push("--log-level=trace".to_owned());
    scene.operator.restart(Some(options)).await.unwrap();
    scene.simulator.generate(DLQ, 60, &testbed::Entry::default()).await.unwrap();
    scene.apply("traced", json!({ "action": "resume", "filters": { "all": true } })).await;
    scene.ran("traced", 1).await;
    eventually(PATIENCE, "the calls are traced", async || scene.operator.log().contains("hyper_util"))
        .await
        .unwrap();
    // What is left is searched when the scene ends.
}
