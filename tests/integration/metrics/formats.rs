//! How metrics are written, and what Prometheus and promtool make of it.

use std::collections::BTreeSet;

use serde_json::json;
use testbed::{Entry, Prometheus, ScratchDir, eventually, promtool};

use super::scrape::{OPENMETRICS, Scrape, get};
use super::{metrics, resume, scene, url, with};
use crate::scene::{DLQ, PATIENCE};

#[tokio::test]
async fn every_metric_has_its_name_type_help_and_labels_in_both_formats() {
    let scene = scene("metrics", &[]).await;
    scene.simulator.generate(DLQ, 3, &Entry::default()).await.unwrap();
    let backlog = json!({ "trigger": "Manual", "backlog": { "interval": "1h", "retention": "7d" } });
    scene.apply("watches", with(resume(), backlog)).await;
    scene.apply("matching", with(resume(), json!({ "match": { "responseStatuses": ["404"] } }))).await;
    let connection = json!({
        "apiVersion": "dlq-operator.dev/v1alpha1",
        "kind": "DlqConnection",
        "metadata": { "name": "production", "namespace": scene.namespace.name() },
        "spec": { "tokenSecretRef": { "name": "upstash" }, "limits": { "maxEntriesPerDay": 100 } },
    });
    scene.control_plane.kubectl_apply(&connection.to_string()).await.unwrap().ok().unwrap();
    let scrape = Scrape::until(
        scene.operator.admin_url(),
        "yearly, what waits, what matches and the connection are shown",
        |scrape| {
            scrape.count("next_run_timestamp_seconds", &[("name", "yearly")]) > Some(0)
                && scrape.count("connection_entries_limit", &[("name", "production")]) == Some(100)
                && scrape.count("backlog_entries", &[("name", "watches")]) == Some(3)
                && scrape.count("entries_skipped", &[("name", "matching"), ("reason", "status")]) == Some(3)
        },
    )
    .await;
    let open = get(&url(&scene.operator, "/metrics"), OPENMETRICS).await;
    assert_eq!(open.content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.text.ends_with("# EOF\n"));
    for (name, kind, labels) in metrics() {
        let family = if kind == "counter" { name.trim_end_matches("_total") } else { name };
        for (text, name) in [(&scrape.text, name), (&open.text, family)] {
            assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name} in\n{text}");
            let help = format!("# HELP {name} ");
            assert!(text.lines().any(|line| line.len() > help.len() && line.starts_with(&help)), "{name}");
        }
        for (unit, word) in [("_seconds", "seconds"), ("_bytes", "bytes")] {
            let has_unit = open.text.contains(&format!("# UNIT {family} {word}\n"));
            assert_eq!(has_unit, family.ends_with(unit), "the unit of {name}");
        }
        let sample = if kind == "histogram" { format!("{name}_sum") } else { name.to_owned() };
        let found: Vec<_> = scrape.series.iter().filter(|series| series.name == sample).collect();
        assert!(!found.is_empty(), "no series of {name} in\n{}", scrape.text);
        for series in found {
            assert_eq!(series.labels.keys().map(String::as_str).collect::<BTreeSet<_>>(), labels, "{name}");
        }
    }
    let known: BTreeSet<_> = metrics().map(|(name, ..)| name).collect();
    let described = scrape.text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    assert_eq!(described.collect::<BTreeSet<_>>(), known, "none is told of that nobody documents");
    assert_eq!(
        get(&url(&scene.operator, "/metrics"), "*/*").await.content_type,
        "text/plain; version=0.0.4; charset=utf-8"
    );
}

#[tokio::test]
async fn promtool_has_nothing_to_say_against_the_metrics() {
    if !Prometheus::is_installed().unwrap() {
        return;
    }
    let scene = scene("promtool", &[]).await;
    let dir = ScratchDir::create("promtool").unwrap();
    let scrape = Scrape::of(scene.operator.admin_url()).await;
    let output = promtool(dir.path(), &["check", "metrics"], &scrape.text).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(
        (output.status.code(), String::from_utf8_lossy(&said).trim()),
        (Some(0), ""),
        "{}",
        scrape.text
    );
}

#[tokio::test]
async fn a_real_prometheus_scrapes_the_operator_and_answers_queries() {
    if !Prometheus::is_installed().unwrap() {
        return;
    }
    let scene = scene("prometheus", &[]).await;
    let prometheus = Prometheus::start(&[scene.operator.admin_url()]).await.unwrap();
    for (query, expected) in [
        (r#"dlq_operator_entries_processed_total{name="once",action="resume"}"#, "120"),
        (r#"sum(dlq_operator_runs_total{name="once"})"#, "1"),
        (r#"dlq_operator_policy_condition{name="yearly",type="Ready",status="True"}"#, "1"),
        (r"histogram_quantile(0.99, sum by (le) (dlq_operator_run_duration_seconds_bucket)) > bool 0", "1"),
        ("count(dlq_operator_leader == 1)", "1"),
        ("process_resident_memory_bytes > bool 1000000", "1"),
    ] {
        eventually(PATIENCE, query, async || {
            let samples = prometheus.query(query).await.map_err(|error| format!("{error:#}"))?;
            let values: Vec<_> = samples.iter().map(|sample| sample.value.to_string()).collect();
            if values == [expected] { Ok(()) } else { Err(format!("{samples:?}")) }
        })
        .await
        .unwrap();
    }
    let metadata = prometheus.get("metadata", &[]).await.unwrap();
    for (name, kind, _) in metrics() {
        // In OpenMetrics a counter's family has no suffix.
        let family = name.trim_end_matches("_total");
        assert_eq!(metadata[family][0]["type"], *kind, "{name}");
        assert!(metadata[family][0]["help"].as_str().is_some_and(|help| help.ends_with('.')), "{name}");
    }
    let targets = prometheus.targets().await.unwrap();
    assert_eq!((&targets[0]["health"], &targets[0]["lastError"]), (&json!("up"), &json!("")));
}
