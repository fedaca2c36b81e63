//! The alerts, their runbooks and the dashboard as files: they belong together, and promtool finds nothing wrong.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use dlq_operator::controller::metrics::definitions;
use serde_json::Value;
use testbed::{Prometheus, promtool, workspace_root};

/// The names that users configure routes and silences by.
const ALERTS: [&str; 14] = [
    "DlqConnectionBudgetSpent",
    "DlqConnectionNotReady",
    "DlqOperatorDown",
    "DlqOperatorNoLeader",
    "DlqOperatorQuotaExceeded",
    "DlqOperatorRateLimited",
    "DlqOperatorUpstreamErrors",
    "DlqPolicyAwaitingApproval",
    "DlqPolicyCircuitOpen",
    "DlqPolicyEntriesExpiring",
    "DlqPolicyMissedSchedules",
    "DlqPolicyNotReady",
    "DlqPolicyRunFailing",
    "DlqPolicyStale",
];

pub(crate) fn folder() -> PathBuf {
    workspace_root().join("docs/monitoring")
}

/// The rules, in order.
fn alerts() -> Vec<Value> {
    let text = fs::read_to_string(folder().join("alerts.yaml")).unwrap();
    let file: Value = serde_saphyr::from_str(&text).unwrap();
    let groups = file["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// The dashboard's queries, each with its panel's title and with its variables replaced.
pub(crate) fn queries() -> Vec<(String, String)> {
    let text = fs::read_to_string(folder().join("dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query =
                [("$__rate_interval", "5m"), ("$__range", "5m"), ("$namespace", ".*"), ("$policy", ".*")]
                    .into_iter()
                    .fold(target["expr"].as_str().unwrap().to_owned(), |query, (name, value)| {
                        query.replace(name, value)
                    });
            queries.push((panel["title"].as_str().unwrap().to_owned(), query));
        }
    }
    queries
}

#[test]
fn every_alert_has_a_runbook_and_no_runbook_is_left_over() {
    let runbooks = workspace_root().join("docs/runbooks");
    let named: BTreeSet<_> =
        alerts().iter().map(|alert| alert["alert"].as_str().unwrap().to_owned()).collect();
    assert_eq!(named, ALERTS.map(str::to_owned).into());
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        let url = alert["annotations"]["runbook_url"].as_str().unwrap();
        assert_eq!(url, format!("docs/runbooks/{name}.md"));
        let page = fs::read_to_string(runbooks.join(format!("{name}.md"))).unwrap();
        for heading in
            ["## What it means", "## What to look at", "## What to do", "## When to ignore it", "kubectl "]
        {
            assert!(page.contains(heading), "{name}: {heading}");
        }
        assert!(page.starts_with(&format!("# {name}\n")), "{name}");
    }
    let pages: BTreeSet<_> = fs::read_dir(runbooks)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|page| page != "README")
        .collect();
    assert_eq!(pages, named);
}

#[test]
fn only_metrics_that_exist_are_asked_for() {
    let known: BTreeSet<_> = definitions().iter().map(|metric| metric.name).collect();
    let mut pages = vec![
        folder().join("alerts.yaml"),
        folder().join("alerts_test.yaml"),
        folder().join("alerts_stale_test.yaml"),
        folder().join("dashboard.json"),
        folder().join("README.md"),
    ];
    pages.extend(ALERTS.map(|name| workspace_root().join(format!("docs/runbooks/{name}.md"))));
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            let name = word.strip_suffix("_bucket").unwrap_or(word);
            let is_ours = name.starts_with("dlq_operator_") || name.starts_with("process_");
            assert!(!is_ours || known.contains(name), "{}: {name}", page.display());
        }
    }
}

#[tokio::test]
async fn each_alert_fires_when_it_should_and_only_then() {
    if !Prometheus::is_installed().unwrap() {
        return;
    }
    let tests =
        ["alerts_test.yaml", "alerts_stale_test.yaml"].map(|file| fs::read_to_string(folder().join(file)));
    let tests: String = tests.into_iter().map(Result::unwrap).collect();
    for name in ALERTS {
        assert!(tests.contains(&format!("alertname: {name}\n        exp_alerts:")), "{name} is never tested");
    }
    for args in [
        &["check", "rules", "--lint-fatal", "alerts.yaml"][..],
        &["test", "rules", "alerts_test.yaml", "alerts_stale_test.yaml"],
    ] {
        let output = promtool(&folder(), args, "").await.unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    }
}
