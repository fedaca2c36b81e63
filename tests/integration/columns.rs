//! What `kubectl get` shows of policies and connections.

use std::fmt::Write as _;

use serde_json::{Value, json};
use testbed::{ControlPlane, Entry};

use crate::cluster::own_control_plane;
use crate::generated_files::assert_is_current;
use crate::scene::{DLQ, Scene, condition};

/// What a terminal shows of a line, when it is not made wider.
const WIDTH: usize = 120;

/// Where each column begins, and its name.
fn columns(header: &str) -> Vec<(usize, &str)> {
    let names = header.split("   ").map(str::trim).filter(|name| !name.is_empty());
    let mut from = 0;
    names
        .map(|name| {
            let start = from + header[from..].find(name).unwrap();
            from = start + name.len();
            (start, name)
        })
        .collect()
}

/// The table with what differs from one time to the next replaced, and its columns as wide as then needed.
fn steady(table: &str, namespace: &str) -> String {
    let columns = columns(table.lines().next().unwrap());
    let ends = columns.iter().skip(1).map(|(start, _)| *start).chain([usize::MAX]);
    let ends: Vec<_> = ends.collect();
    let cell = |line: &str, index: usize| {
        let (start, name) = columns[index];
        let text = line.get(start..ends[index].min(line.len())).unwrap_or_default().trim();
        match name {
            _ if text.is_empty() || text == name => text.to_owned(),
            "LAST RUN" | "AGE" => "9s".to_owned(),
            "NEXT RUN" => "2027-01-01T00:00:00Z".to_owned(),
            _ => text.replace(namespace, "payments"),
        }
    };
    let rows: Vec<Vec<_>> =
        table.lines().map(|line| (0..columns.len()).map(|index| cell(line, index)).collect()).collect();
    let width = |index: usize| rows.iter().map(|row| row[index].len()).max().unwrap_or_default();
    let mut steady = String::new();
    for row in &rows {
        let mut line = String::new();
        for (index, cell) in row.iter().enumerate() {
            write!(line, "{cell:0$}   ", width(index)).unwrap();
        }
        writeln!(steady, "{}", line.trim_end()).unwrap();
    }
    steady
}

fn resume(further: Value) -> Value {
    let mut spec = json!({ "action": "resume", "filters": { "all": true } });
    spec.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    spec
}

#[tokio::test]
async fn kubectl_shows_every_state_in_columns_that_fit() {
    let scene = Scene::start_with("columns", &["--request-timeout=5m"]).await;
    scene.simulator.generate(DLQ, 1234, &Entry::default()).await.unwrap();
    let quick = [("running", "slow-token-5e1f", "slow"), ("failed", "broken-token-77a", "broken")];
    for (name, token, dlq) in quick {
        scene.simulator.allow(token, dlq).await.unwrap();
        scene.simulator.generate(dlq, 1, &Entry::default()).await.unwrap();
        scene.apply_secret(name, "token", token).await;
    }
    let faults = json!([
        { "dlq": "slow", "fault": { "latency": { "ms": 200_000 } } },
        { "dlq": "broken", "fault": { "status": { "code": 422, "body": "{\"error\":\"no such filter\"}" } } },
    ]);
    scene.simulator.set_faults(&faults).await.unwrap();
    let with_secret = |name: &str| json!({ "tokenSecretRef": { "name": name, "key": "token" } });
    let dry = json!({ "action": "delete", "dryRun": true, "filters": { "all": true } });
    let table = [
        ("resume-payments-hourly", resume(json!({ "schedule": "0 0 1 1 *" })), "Ready", "Scheduled"),
        (
            "resume-checkout",
            resume(json!({ "connection": with_secret("running") })),
            "Running",
            "RunInProgress",
        ),
        (
            "restart-emails",
            resume(json!({ "schedule": "*/15 * * * *", "suspend": true })),
            "Ready",
            "Suspended",
        ),
        ("resume-orders", resume(json!({ "schedule": "61 * * * *" })), "Ready", "InvalidSchedule"),
        ("resume-invoices", resume(json!({ "connection": with_secret("later") })), "Ready", "SecretNotFound"),
        (
            "resume-refunds",
            resume(json!({ "connection": with_secret("failed") })),
            "LastRunSucceeded",
            "BadRequest",
        ),
        ("delete-old-preview", dry, "LastRunSucceeded", "DryRunSucceeded"),
    ];
    for (name, spec, ..) in &table {
        scene.apply(name, spec.clone()).await;
    }
    for (name, _, kind, reason) in &table {
        scene
            .status(name, &format!("{name}: {kind}, {reason}"), |status| {
                condition(status, kind)["reason"] == *reason
            })
            .await;
    }
    let narrow = scene.kubectl(&["get", "dlqp"]).await;
    for line in narrow.lines() {
        assert!(line.len() <= WIDTH, "{} characters: {line}", line.len());
    }
    let namespace = scene.namespace.name();
    assert_is_current("tests/data/kubectl-get.txt", &steady(&narrow, namespace));
    let wide = scene.kubectl(&["get", "dlqp", "--output=wide"]).await;
    assert_is_current("tests/data/kubectl-get-wide.txt", &steady(&wide, namespace));
    // Beside them, connections of the cluster that other tests made.
    let upstash = scene.kubectl(&["get", "upstash", "--output=name"]).await;
    let policies = upstash.lines().filter(|line| line.starts_with("dlqpolicy."));
    assert_eq!(policies.count(), table.len(), "{upstash}");
    for (selector, expected) in [
        ("spec.action=delete", vec!["delete-old-preview"]),
        ("spec.suspend=true", vec!["restart-emails"]),
        ("status.phase=Invalid", vec!["resume-orders"]),
        (
            "status.phase!=Invalid,spec.suspend=false,spec.action=resume",
            vec!["resume-checkout", "resume-invoices", "resume-payments-hourly", "resume-refunds"],
        ),
    ] {
        let selected = scene.kubectl(&["get", "dlqp", "--output=name", "--field-selector", selector]).await;
        let selected: Vec<_> = selected.lines().map(|name| name.split_once('/').unwrap().1).collect();
        assert_eq!(selected, expected, "{selector}");
    }
}

/// As an operator would write it. No test's operator is there to write another.
async fn connection(control_plane: &ControlPlane, mut object: Value, [ready, reason, message]: [&str; 3]) {
    object["apiVersion"] = json!("dlq-operator.dev/v1alpha1");
    control_plane.kubectl_apply(&object.to_string()).await.unwrap().ok().unwrap();
    let condition = json!({
        "type": "Ready", "status": ready, "reason": reason, "message": message,
        "lastTransitionTime": "2026-11-20T12:00:00Z", "observedGeneration": 1,
    });
    let status = json!({ "observedGeneration": 1, "policies": 3, "day": "2026-11-20", "entriesToday": 1200, "conditions": [condition] });
    let patch = format!("--patch={}", json!({ "status": status }));
    let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
    let patch = ["patch", kind, name, "--namespace=payments", "--subresource=status", "--type=merge", &patch];
    control_plane.kubectl(&patch).await.unwrap().ok().unwrap();
}

#[tokio::test]
async fn kubectl_shows_in_a_line_how_a_connection_fares() {
    let control_plane = own_control_plane().await;
    control_plane.kubectl(&["create", "namespace", "payments"]).await.unwrap().ok().unwrap();
    let well = ["True", "Idle", "the token works"];
    let badly = ["False", "SecretNotFound", "the Secret platform/upstash does not exist"];
    let url = "https://qstash-us-east-1.upstash.io";
    let own = json!({
        "kind": "DlqConnection",
        "metadata": { "name": "production", "namespace": "payments" },
        "spec": { "tokenSecretRef": { "name": "upstash" } },
    });
    let shared = json!({
        "kind": "ClusterDlqConnection",
        "metadata": { "name": "production" },
        "spec": {
            "url": url, "tokenSecretRef": { "namespace": "platform", "name": "upstash" },
            "limits": { "maxEntriesPerDay": 20000 },
        },
    });
    connection(control_plane, own, well).await;
    connection(control_plane, shared, badly).await;
    let get = async |args: &[&str]| {
        let args = [&["get", "--namespace=payments"], args].concat();
        control_plane.kubectl(&args).await.unwrap().ok().unwrap()
    };
    let mut shown = String::new();
    for short in ["dlqc", "cdlqc"] {
        for args in [&[short][..], &[short, "--output=wide"]] {
            writeln!(shown, "$ kubectl get {}\n{}", args.join(" "), steady(&get(args).await, "payments"))
                .unwrap();
        }
    }
    assert_is_current("tests/data/kubectl-get-connections.txt", &shown);
    let names = get(&["upstash", "--output=name"]).await;
    assert_eq!(names.lines().count(), 2, "{names}");
}
