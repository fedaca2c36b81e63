//! The chart's alerts in a cluster with several releases, as promtool sees them.

use serde_json::{Value, json};
use testbed::{Prometheus, ScratchDir, promtool};

use super::{rendered_as, the};

/// What fires of `DlqOperatorDown`, by the labels that tell installations apart.
fn fires(eval_time: &str, installations: &[(&str, &str)]) -> Value {
    let alert = |(job, namespace): &(&str, &str)| {
        json!({
            "exp_labels": { "severity": "critical", "job": job, "namespace": namespace },
            "exp_annotations": {
                "summary": "dlq-operator does not answer Prometheus.",
                "description": format!(
                    "No replica of dlq-operator in namespace {namespace} answers Prometheus. Most likely no policy runs."
                ),
                "runbook_url":
                    "docs/runbooks/DlqOperatorDown.md",
            },
        })
    };
    let alerts: Vec<_> = installations.iter().map(alert).collect();
    json!({ "eval_time": eval_time, "alertname": "DlqOperatorDown", "exp_alerts": alerts })
}

/// Tests the rules of a release in `two`, beside another one in `one` that answers all the time.
async fn tested(values: &Value, series: &Value, expected: Vec<Value>) {
    let objects = rendered_as("dlq-operator", "two", values).await.unwrap();
    let rules = the(&objects, "PrometheusRule")["spec"].to_string();
    let test = json!({
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [{ "interval": "1m", "input_series": series, "alert_rule_test": expected }],
    });
    let dir = ScratchDir::create("alerts").unwrap();
    std::fs::write(dir.path().join("rules.yaml"), rules).unwrap();
    std::fs::write(dir.path().join("test.yaml"), test.to_string()).unwrap();
    let output = promtool(dir.path(), &["test", "rules", "test.yaml"], "").await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{values}: {}", String::from_utf8_lossy(&said));
}

#[tokio::test]
async fn a_release_that_is_down_fires_for_good_although_another_one_answers() {
    if !Prometheus::is_installed().unwrap() {
        return;
    }
    let series = |job: &str, namespace: &str, values: &str| {
        json!({
            "series": format!("dlq_operator_build_info{{job=\"{job}\", namespace=\"{namespace}\", pod=\"0\"}}"),
            "values": values,
        })
    };
    for (monitors, job) in [
        (&["serviceMonitor"][..], "dlq-operator-metrics"),
        (&["podMonitor"], "two/dlq-operator"),
        // The Service's job is enough: it covers the same pods.
        (&["serviceMonitor", "podMonitor"], "dlq-operator-metrics"),
    ] {
        let mut values = json!({ "prometheusRule": { "enabled": true } });
        for monitor in monitors {
            values[*monitor] = json!({ "enabled": true });
        }
        let other = series(job, "one", "1x3000");
        let expected = |first: &str| {
            vec![
                fires("30m", &[]),
                fires(first, &[(job, "two")]),
                fires("20h", &[(job, "two")]),
                fires("49h", &[(job, "two")]),
            ]
        };
        let gone = json!([other, series(job, "two", "1x30 stale")]);
        tested(&values, &gone, expected("38m")).await;
        // It comes back.
        let back = json!([other, series(job, "two", "1x30 stale _x60 1x30")]);
        tested(&values, &back, vec![fires("60m", &[(job, "two")]), fires("100m", &[])]).await;
        let never_scraped = json!([other]);
        tested(
            &values,
            &never_scraped,
            vec![fires("4m", &[]), fires("8m", &[(job, "two")]), fires("49h", &[(job, "two")])],
        )
        .await;
    }
}

#[tokio::test]
async fn a_release_that_is_scraped_in_some_other_way_is_known_by_its_last_day() {
    if !Prometheus::is_installed().unwrap() {
        return;
    }
    let values = json!({ "prometheusRule": { "enabled": true } });
    let series = json!([
        { "series": "dlq_operator_build_info{job=\"own\", namespace=\"one\"}", "values": "1x3000" },
        { "series": "dlq_operator_build_info{job=\"own\", namespace=\"two\"}", "values": "1x30 stale" },
    ]);
    let expected = vec![
        fires("30m", &[]),
        fires("38m", &[("own", "two")]),
        fires("20h", &[("own", "two")]),
        fires("25h", &[]),
    ];
    tested(&values, &series, expected).await;
}
