//! `kubectl dlq preview`: what a run would act on now.

use serde_json::{Value, json};
use testbed::{Entry, Simulator};

use super::program::{DLQ, Plugin};
use crate::scene::{Scene, TOKEN};

fn entry(number: i64, url: &str, labels: &[&str], status: u16) -> Entry {
    Entry {
        dlq_id: Some(format!("{}-0", 1_795_176_000_000_i64 + number)),
        failed_at: Some(1_795_176_000_000 + number),
        workflow_url: Some(format!("https://app.example.com/{url}")),
        labels: labels.iter().map(ToString::to_string).collect(),
        failure_function_state: (number % 2 == 0).then(|| "CALLBACK_FAIL".to_owned()),
        response_status: Some(status),
        ..Entry::default()
    }
}

async fn previewed(plugin: &Plugin, further: &[&str]) -> Value {
    let mut args = vec!["preview", "-f", "policy.yaml", "-o", "json"];
    args.extend(further);
    let ended = plugin.run(&args).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    serde_json::from_str(&ended.stdout).unwrap()
}

fn counts(report: &Value, kind: &str) -> Vec<(String, u64)> {
    let counts = report[kind].as_array().unwrap();
    counts
        .iter()
        .map(|it| (it["value"].as_str().unwrap().to_owned(), it["count"].as_u64().unwrap()))
        .collect()
}

fn told(counts: &[(&str, u64)]) -> Vec<(String, u64)> {
    counts.iter().map(|(value, count)| ((*value).to_owned(), *count)).collect()
}

#[tokio::test]
async fn a_preview_counts_what_a_run_would_act_on_and_says_why_the_rest_is_left_alone() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await;
    let mut entries: Vec<_> = (0..130).map(|number| entry(number, "pay", &["payments"], 500)).collect();
    entries.push(entry(200, "ship", &["payments", "dlq-attempt-2"], 503));
    entries.push(entry(201, "ship", &["payments", "dlq-attempt-3"], 503));
    entries.push(entry(202, "ship", &["payments"], 404));
    entries.push(entry(203, "ship", &["payments"], 489));
    entries.push(entry(204, "ship", &["other"], 500));
    simulator.add(DLQ, &entries).await.unwrap();
    plugin.policy(&json!({
        "action": "resume", "filters": { "labels": ["payments"] },
        "match": { "excludeResponseStatuses": ["404"] }, "loopProtection": { "maxAttempts": 3 },
    }));
    let report = previewed(&plugin, &["--entries", "--retention", "3d"]).await;
    assert_eq!(report["entries"], 131, "{report:#}");
    assert_eq!(
        counts(&report, "workflowUrls"),
        told(&[("https://app.example.com/pay", 130), ("https://app.example.com/ship", 1)])
    );
    assert_eq!(counts(&report, "labels"), told(&[("payments", 131), ("dlq-attempt-2", 1)]));
    assert_eq!(counts(&report, "responseStatuses"), told(&[("500", 130), ("503", 1)]));
    assert_eq!(counts(&report, "attempts"), told(&[("0", 130), ("2", 1)]));
    assert_eq!(counts(&report, "skipped"), told(&[("exhausted", 1), ("nonRetryable", 1), ("status", 1)]));
    assert_eq!(report["oldestTime"], "2026-11-20T12:00:00.000Z");
    assert_eq!(report["newestTime"], "2026-11-20T12:00:00.200Z");
    assert_eq!(report["calls"], json!({ "list": 2, "act": 4 }), "130 by 50, and one with other labels");
    assert_eq!(report["listed"].as_array().unwrap().len(), 134);
    assert_eq!(report["expiry"]["firstTime"], "2026-11-23T12:00:00.000Z");
    let ledger = simulator.ledger(DLQ).await.unwrap();
    assert!(ledger.calls.iter().all(|call| call.method == "GET"), "it only reads");
}

#[tokio::test]
async fn a_preview_shows_what_a_drain_then_does() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await;
    simulator.generate_spread(DLQ, 730, 60_000).await.unwrap();
    for limits in [json!({ "maxEntriesPerRun": 70 }), json!({ "parallelism": 4 })] {
        plugin.policy(&json!({ "action": "resume", "filters": { "all": true }, "limits": limits }));
        let report = previewed(&plugin, &[]).await;
        let ended = plugin.run(&["drain", "-f", "policy.yaml", "--yes"]).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        assert_eq!(report["entries"], plugin.state()["status"]["lastRun"]["processed"], "{limits}");
        assert_eq!(report["isLimited"], limits["maxEntriesPerRun"].is_number(), "{limits}");
    }
}

#[tokio::test]
async fn a_preview_of_ids_says_which_are_not_there() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await;
    simulator.add(DLQ, &[entry(0, "pay", &[], 500)]).await.unwrap();
    plugin.policy(
        &json!({ "action": "delete", "filters": { "dlqIds": ["1795176000000-0", "1795176000001-0"] } }),
    );
    let report = previewed(&plugin, &[]).await;
    assert_eq!((&report["entries"], &report["notFound"]), (&json!(1), &json!(1)), "{report:#}");
}

#[tokio::test]
async fn a_preview_of_nothing_is_told_by_the_exit_code_where_it_is_asked_for() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await;
    plugin.policy(&json!({ "action": "delete", "filters": { "all": true } }));
    assert_eq!(plugin.run(&["preview", "-f", "policy.yaml"]).await.code, 0);
    assert_eq!(plugin.run(&["preview", "-f", "policy.yaml", "--fail-if-empty"]).await.code, 4);
    simulator.generate(DLQ, 1, &Entry::default()).await.unwrap();
    assert_eq!(plugin.run(&["preview", "-f", "policy.yaml", "--fail-if-empty"]).await.code, 0);
}

#[tokio::test]
async fn a_preview_is_also_a_table_and_markdown() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await;
    simulator.add(DLQ, &[entry(0, "a|b", &["`@team`"], 500)]).await.unwrap();
    plugin.policy(&json!({ "action": "delete", "filters": { "all": true } }));
    let table = plugin.run(&["preview", "-f", "policy.yaml"]).await.stdout;
    assert!(table.contains("\n ENTRIES  WORKFLOW URL\n       1  https://app.example.com/a|b\n"), "{table}");
    let markdown = plugin.run(&["preview", "-f", "policy.yaml", "-o", "markdown", "--entries"]).await.stdout;
    assert!(markdown.contains(r"| `https://app.example.com/a\|b` | 1 |"), "{markdown}");
    assert!(markdown.contains("| `'@team'` | 1 |"), "{markdown}");
}

#[tokio::test]
async fn a_policy_of_the_cluster_is_previewed_and_explained_by_its_name() {
    let scene = Scene::start("preview-by-name").await;
    scene.simulator.generate(DLQ, 30, &Entry::default()).await.unwrap();
    let spec =
        json!({ "action": "resume", "filters": { "all": true }, "trigger": "Manual", "suspend": true });
    scene.apply("by-name", spec).await;
    let kubeconfig = scene.control_plane.kubeconfig().to_str().unwrap();
    let plugin =
        Plugin::of(&scene.simulator).await.with("KUBECONFIG", kubeconfig).with("QSTASH_TOKEN", TOKEN);
    let namespace = scene.namespace.name();
    let ended = plugin.run(&["preview", "by-name", "-n", namespace]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("resume: 30 entries would be acted on now."), "{ended:?}");
    let ended = plugin.run(&["explain", "by-name", "-n", namespace]).await;
    assert!(
        ended.stdout.contains(&format!("{}/v2/workflows/dlq/resume?count=50", scene.simulator.api_url())),
        "{ended:?}"
    );
    let ended = plugin.run(&["preview", "not-there", "-n", namespace]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("\"not-there\" not found in namespace"), "{ended:?}");

    // The connection that it shares has a URL of its own, which is no reason to send a token there.
    let connection = json!({
        "apiVersion": "dlq-operator.dev/v1alpha1", "kind": "DlqConnection",
        "metadata": { "name": "shared", "namespace": namespace },
        "spec": { "url": scene.simulator.api_url(), "tokenSecretRef": { "name": "upstash" } },
    });
    scene.control_plane.kubectl_apply(&connection.to_string()).await.unwrap().ok().unwrap();
    let spec = json!({ "action": "resume", "filters": { "all": true }, "trigger": "Manual", "connection": { "name": "shared" } });
    scene.apply("by-connection", spec).await;
    let command = ["preview", "by-connection", "-n", namespace];
    let ended = plugin.run(&command).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let bare = Plugin::bare().await.with("KUBECONFIG", kubeconfig).with("QSTASH_TOKEN", TOKEN);
    let ended = bare.run(&command).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("--allowed-url"), "{ended:?}");
}
