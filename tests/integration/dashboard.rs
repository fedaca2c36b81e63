//! What an admin sees in Grafana and Prometheus, after runs that went well, failed, were throttled and lost answers.

use std::collections::BTreeSet;

use serde_json::json;
use testbed::{Entry, Prometheus, PrometheusOptions, eventually};

use crate::monitoring::{folder, queries};
use crate::scene::{DLQ, PATIENCE, Scene};

/// Panels that show more than zeros after what happens below.
const LIVELY: [&str; 20] = [
    "Policies",
    "Not ready",
    "Failing",
    "Circuits open",
    "Runs that ended",
    "Entries processed",
    "Runs by what started them",
    "Failures in a row",
    "Circuits",
    "Pages whose outcome is unknown",
    "Calls by answer",
    "Calls by operation",
    "How long calls take",
    "Calls that failed",
    "Waiting because of 429",
    "Status writes",
    "Entries that wait",
    "Age of the oldest entry",
    "Entries of the day",
    "Tokens of connections that work",
];

const POLICIES: [&str; 7] = ["well", "failing", "throttled", "losing", "given-up", "secretless", "watching"];

/// Policies that will succeed, fail, open their circuit, wait for a Secret, be throttled, lose an answer and count what waits. None runs yet.
async fn held() -> Scene {
    let scene = Scene::start_with("dashboard", &["--checkpoint-interval=0", "--retry-limit=5"]).await;
    for account in ["failing", "throttled", "losing", "watching"] {
        let token = format!("scene-token-{account}");
        scene.simulator.allow(&token, account).await.unwrap();
        scene.apply_secret(account, "token", &token).await;
    }
    for dlq in [DLQ, "throttled", "losing", "watching"] {
        scene.simulator.generate(dlq, 120, &Entry::default()).await.unwrap();
    }
    let retry_after = json!({ "headers": "retryAfter", "resetInSeconds": 3 });
    let rules = json!([
        { "dlq": "failing", "fault": { "status": { "code": 503 } } },
        { "dlq": "throttled", "times": 2, "fault": { "rateLimit": retry_after } },
        { "dlq": "losing", "times": 1, "fault": { "lostAnswer": { "how": "close" } } },
    ]);
    scene.simulator.set_faults(&rules).await.unwrap();
    let connection = json!({
        "apiVersion": "dlq-operator.dev/v1alpha1", "kind": "DlqConnection",
        "metadata": { "name": "production", "namespace": scene.namespace.name() },
        "spec": { "tokenSecretRef": { "name": "upstash" }, "limits": { "maxEntriesPerDay": 1000 } },
    });
    scene.control_plane.kubectl_apply(&connection.to_string()).await.unwrap().ok().unwrap();
    for name in POLICIES {
        let secret = match name {
            "well" => "upstash",
            "given-up" => "failing",
            "secretless" => "absent",
            account => account,
        };
        let mut spec = json!({
            "action": if name == "well" { "resume" } else { "delete" },
            "filters": { "all": true },
            "suspend": true,
            "connection": { "tokenSecretRef": { "name": secret, "key": "token" } },
        });
        match name {
            "well" => {
                spec["schedule"] = json!("@every 3s");
                spec["connection"] = json!({ "name": "production" });
            }
            "watching" => {
                spec["trigger"] = json!("Manual");
                spec["backlog"] = json!({ "interval": "1m", "retention": "3d" });
            }
            "given-up" => spec["failurePolicy"] = json!({ "openCircuitAfter": 1 }),
            _ => {}
        }
        scene.apply(name, spec).await;
    }
    scene
}

#[tokio::test]
async fn every_panel_shows_something_and_the_right_alerts_go_off() {
    if !Prometheus::is_installed().unwrap() {
        return;
    }
    let scene = held().await;
    let options = PrometheusOptions {
        targets: vec![scene.operator.admin_url().to_owned()],
        rules: vec![folder().join("alerts.yaml")],
        ..PrometheusOptions::default()
    };
    let prometheus = Prometheus::start_with(options).await.unwrap();
    // An increase is seen only by who saw the zero.
    eventually(PATIENCE, "Prometheus knows the policies", async || {
        let samples = prometheus.query("dlq_operator_uncertain_pages_total == 0").await;
        let samples = samples.map_err(|error| format!("{error:#}"))?;
        if samples.len() == POLICIES.len() { Ok(()) } else { Err(format!("{samples:?}")) }
    })
    .await
    .unwrap();
    for name in POLICIES {
        scene.patch(name, json!({ "suspend": false })).await;
    }
    for name in ["failing", "throttled", "losing", "given-up"] {
        scene.ran(name, 1).await;
    }
    scene.ran("well", 2).await;

    let mut lively: BTreeSet<_> = LIVELY.into();
    for (panel, query) in queries() {
        eventually(PATIENCE, &format!("{panel}: {query}"), async || {
            let samples = prometheus.query(&query).await.map_err(|error| format!("{error:#}"))?;
            let mut values = samples.iter().map(|sample| sample.value).filter(|value| !value.is_nan());
            let wished = |value: f64| value > 0.0 || !LIVELY.contains(&panel.as_str());
            if values.any(wished) { Ok(()) } else { Err(format!("{samples:?}")) }
        })
        .await
        .unwrap_or_else(|error| panic!("{error}\n--- the operator's log\n{}", scene.operator.log()));
        lively.remove(panel.as_str());
    }
    assert!(lively.is_empty(), "the dashboard has no panel {lively:?}");

    let expected: BTreeSet<_> = [
        ("DlqPolicyNotReady", "secretless"),
        ("DlqPolicyRunFailing", "failing"),
        ("DlqPolicyCircuitOpen", "given-up"),
        ("DlqOperatorUpstreamErrors", ""),
    ]
    .map(|(alert, policy)| (alert.to_owned(), policy.to_owned()))
    .into();
    eventually(PATIENCE, "these alerts and no other are pending or firing", async || {
        let alerts = prometheus.alerts().await.map_err(|error| format!("{error:#}"))?;
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let found: BTreeSet<_> = alerts
            .iter()
            .map(|alert| (text(&alert["labels"]["alertname"]), text(&alert["labels"]["name"])))
            .collect();
        if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
    .unwrap();
    let groups = prometheus.get("rules", &[]).await.unwrap();
    for rule in
        groups["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap())
    {
        assert_eq!(rule["health"], "ok", "{rule:#}");
    }
}
