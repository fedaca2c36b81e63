//! Single alerts, left out or changed by `prometheusRule`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testbed::{Prometheus, ScratchDir, promtool};

use super::{rendered, the};

/// The alerts by their names, or why there are none.
async fn alerts(mut rule: Value) -> Result<BTreeMap<String, Value>, String> {
    rule["enabled"] = json!(true);
    let objects = rendered(&json!({ "prometheusRule": rule })).await?;
    let groups = the(&objects, "PrometheusRule")["spec"]["groups"].as_array().unwrap().clone();
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
    Ok(rules.map(|rule| (rule["alert"].as_str().unwrap().to_owned(), rule.clone())).collect())
}

#[tokio::test]
async fn a_disabled_alert_is_left_out_and_all_others_stay_as_they_are() {
    let mut expected = alerts(json!({})).await.unwrap();
    let disabled = json!({ "DlqPolicyStale": true, "DlqOperatorDown": true, "DlqPolicyNotReady": false });
    for name in ["DlqPolicyStale", "DlqOperatorDown"] {
        expected.remove(name).unwrap();
    }
    assert_eq!(alerts(json!({ "disabled": disabled })).await.unwrap(), expected);
}

#[tokio::test]
async fn a_group_without_alerts_is_left_out_too() {
    let all = alerts(json!({})).await.unwrap();
    let operators: BTreeMap<_, _> =
        all.keys().filter(|name| name.starts_with("DlqOperator")).map(|name| (name, true)).collect();
    let objects = rendered(&json!({ "prometheusRule": { "enabled": true, "disabled": operators } })).await;
    let rule = the(&objects.unwrap(), "PrometheusRule").clone();
    let groups = rule["spec"]["groups"].as_array().unwrap();
    assert_eq!(
        groups.iter().map(|group| &group["name"]).collect::<Vec<_>>(),
        ["dlq-policies", "dlq-connections"]
    );
}

#[tokio::test]
async fn an_override_changes_what_it_names_and_nothing_else() {
    let mut expected = alerts(json!({})).await.unwrap();
    let changed = expected.get_mut("DlqPolicyNotReady").unwrap();
    changed["for"] = json!("1h");
    changed["keep_firing_for"] = json!("10m");
    changed["labels"]["severity"] = json!("info");
    // This one fires at once by default.
    expected.get_mut("DlqPolicyCircuitOpen").unwrap()["for"] = json!("1m30s");
    let overrides = json!({
        "DlqPolicyNotReady": { "for": "1h", "keepFiringFor": "10m", "severity": "info" },
        "DlqPolicyCircuitOpen": { "for": "1m30s" },
    });
    assert_eq!(alerts(json!({ "overrides": overrides })).await.unwrap(), expected);
}

#[tokio::test]
async fn a_threshold_replaces_the_one_of_the_expression() {
    let original = alerts(json!({})).await.unwrap();
    // As docs/monitoring/README.md lists them.
    let thresholds = [
        ("DlqPolicyRunFailing", "< 1800", json!(3600), "< 3600"),
        ("DlqPolicyEntriesExpiring", "> 0", json!(25), "> 25"),
        ("DlqOperatorRateLimited", "> 0.25", json!(0.5), "> 0.5"),
        // As `--set` passes it.
        ("DlqOperatorUpstreamErrors", "> 0.1", json!("0.2"), "> 0.2"),
    ];
    for (name, before, threshold, after) in &thresholds {
        let overrides = json!({ *name: { "threshold": threshold } });
        let changed = alerts(json!({ "overrides": overrides })).await.unwrap();
        let mut expected = original.clone();
        let expr = original[*name]["expr"].as_str().unwrap();
        assert_eq!(expr.matches(before).count(), 1, "{name}");
        expected.get_mut(*name).unwrap()["expr"] = json!(expr.replace(before, after));
        assert_eq!(changed, expected);
    }
    let without = original.keys().filter(|name| !thresholds.iter().any(|(with, ..)| with == name));
    for name in without {
        let overrides = json!({ name: { "threshold": 1 } });
        let refusal = alerts(json!({ "overrides": overrides })).await.expect_err(name);
        assert!(refusal.contains("this alert has no threshold"), "{refusal}");
    }
}

#[tokio::test]
async fn the_name_of_no_alert_is_refused_with_those_that_there_are() {
    for rule in [
        json!({ "disabled": { "DlqPolicyStall": true } }),
        json!({ "overrides": { "DlqPolicyStall": { "for": "1h" } } }),
    ] {
        let refusal = alerts(rule).await.unwrap_err();
        assert!(refusal.contains("there is no alert DlqPolicyStall; there are: "), "{refusal}");
        assert!(refusal.contains("DlqPolicyStale"), "{refusal}");
    }
}

#[tokio::test]
async fn a_changed_alert_fires_at_its_own_threshold_and_after_its_own_time() {
    if !Prometheus::is_installed().unwrap() {
        return;
    }
    let fires = |eval_time: &str, exp_alerts: Value| json!({ "eval_time": eval_time, "alertname": "DlqOperatorRateLimited", "exp_alerts": exp_alerts });
    let url = "docs/runbooks/DlqOperatorRateLimited.md";
    let alert = |severity: &str| {
        json!([{
            "exp_labels": { "severity": severity, "job": "o", "namespace": "n" },
            "exp_annotations": {
                "summary": "Upstash throttles dlq-operator.",
                "description": "In each second, runs spend 0.40 seconds waiting because Upstash answers 429.",
                "runbook_url": url,
            },
        }])
    };
    for (changes, expected) in [
        (json!({}), vec![fires("20m", json!([])), fires("1h", alert("warning"))]),
        (json!({ "threshold": 0.5 }), vec![fires("1h", json!([]))]),
        (
            json!({ "threshold": 0.35, "for": "2m", "severity": "info" }),
            vec![fires("2m", json!([])), fires("20m", alert("info"))],
        ),
    ] {
        let rule = json!({ "enabled": true, "overrides": { "DlqOperatorRateLimited": changes } });
        let objects = rendered(&json!({ "prometheusRule": rule })).await.unwrap();
        // It waits for 24 seconds in each minute.
        let series = "dlq_operator_rate_limited_seconds_total{job=\"o\", namespace=\"n\"}";
        let test = json!({
            "rule_files": ["rules.yaml"],
            "evaluation_interval": "1m",
            "tests": [{
                "interval": "1m",
                "input_series": [{ "series": series, "values": "0+24x120" }],
                "alert_rule_test": expected,
            }],
        });
        let dir = ScratchDir::create("alerts").unwrap();
        let rules = the(&objects, "PrometheusRule")["spec"].to_string();
        std::fs::write(dir.path().join("rules.yaml"), rules).unwrap();
        std::fs::write(dir.path().join("test.yaml"), test.to_string()).unwrap();
        let output = promtool(dir.path(), &["test", "rules", "test.yaml"], "").await.unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{rule}: {}", String::from_utf8_lossy(&said));
    }
}
