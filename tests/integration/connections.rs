//! Policies that share a connection: who may use it, what it allows, and what its status says.

use serde_json::{Value, json};
use testbed::{ControlPlane, Entry, Namespace, eventually};

use crate::scene::{DLQ, PATIENCE, Scene, TOKEN, condition};

fn connection(kind: &str, name: &str, namespace: Option<&str>, spec: Value) -> Value {
    let mut metadata = json!({ "name": name });
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    json!({ "apiVersion": "dlq-operator.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec })
}

impl Scene {
    async fn put(&self, object: &Value) {
        self.control_plane.kubectl_apply(&object.to_string()).await.unwrap().ok().unwrap();
    }

    /// A connection of the scene's own namespace, with its own Secret and these fields.
    async fn share(&self, name: &str, fields: Value) {
        let mut spec = json!({ "tokenSecretRef": { "name": "upstash" } });
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.put(&connection("DlqConnection", name, Some(self.namespace.name()), spec)).await;
    }

    async fn apply_sharing(&self, name: &str, connection: &str, fields: Value) {
        let mut spec = json!({
            "action": "resume", "filters": { "labels": ["payments"] }, "connection": { "name": connection },
        });
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.apply(name, spec).await;
    }

    /// Waits until a connection's `Ready` is so, and gives its status.
    async fn connection(&self, kind: &str, name: &str, truth: &str, reason: &str) -> Value {
        eventually(PATIENCE, &format!("{kind} {name}: Ready={truth}, {reason}"), async || {
            let object = self.kubectl(&["get", kind, name, "--output=json"]).await;
            let status = serde_json::from_str::<Value>(&object).unwrap()["status"].take();
            let ready = condition(&status, "Ready");
            let is_so = ready["status"] == truth && ready["reason"] == reason;
            if is_so { Ok(status) } else { Err(format!("{status:#}")) }
        })
        .await
        .unwrap_or_else(|error| panic!("{error}\n--- the operator's log\n{}", self.operator.log()))
    }

    /// Waits until these events, and no others, are told of a connection, in this order.
    async fn told(&self, namespace: &str, kind: &str, name: &str, reasons: &[&str]) {
        eventually(PATIENCE, &format!("events of {kind} {name}: {reasons:?}"), async || {
            let events = self.events_of(namespace, kind, name).await;
            let told: Vec<_> = events.iter().map(|event| event["reason"].as_str().unwrap()).collect();
            if told == reasons { Ok(()) } else { Err(format!("{events:#?}")) }
        })
        .await
        .unwrap();
    }

    /// Waits until a connection of the namespace says how many policies name it, and gives its status.
    async fn counted(&self, name: &str, policies: usize) -> Value {
        eventually(PATIENCE, "its policies are counted", async || {
            let object = self.kubectl(&["get", "dlqconnection", name, "--output=json"]).await;
            let status = serde_json::from_str::<Value>(&object).unwrap()["status"].take();
            if status["policies"] == policies { Ok(status) } else { Err(format!("{status:#}")) }
        })
        .await
        .unwrap()
    }

    async fn generate(&self, count: usize) {
        let entry = Entry { labels: vec!["payments".to_owned()], ..Entry::default() };
        self.simulator.generate(DLQ, count, &entry).await.unwrap();
    }
}

/// A cluster-wide connection of one test, with its token where the team cannot read it.
struct ClusterWide {
    control_plane: &'static ControlPlane,
    name: String,
    platform: Namespace,
}

impl ClusterWide {
    async fn of(scene: &Scene, selector: Value) -> Self {
        let platform = scene.control_plane.namespace("platform").await.unwrap();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "upstash", "namespace": platform.name() },
            "stringData": { "token": TOKEN },
        });
        scene.put(&secret).await;
        let it =
            Self { control_plane: scene.control_plane, name: scene.namespace.name().to_owned(), platform };
        it.put(scene, json!({ "namespaceSelector": selector })).await;
        it
    }

    async fn put(&self, scene: &Scene, fields: Value) {
        let mut spec = json!({ "tokenSecretRef": { "namespace": self.platform.name(), "name": "upstash" } });
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        scene.put(&connection("ClusterDlqConnection", &self.name, None, spec)).await;
    }

    fn spec(&self) -> Value {
        json!({
            "action": "resume", "filters": { "labels": ["payments"] },
            "connection": { "kind": "ClusterDlqConnection", "name": self.name },
        })
    }
}

impl Drop for ClusterWide {
    fn drop(&mut self) {
        let gone = std::process::Command::new(self.control_plane.kubectl_binary())
            .args(["delete", "clusterdlqconnection", &self.name, "--wait=false", "--kubeconfig"])
            .arg(self.control_plane.kubeconfig())
            .output()
            .unwrap();
        assert!(
            gone.status.success() || std::thread::panicking(),
            "{}",
            String::from_utf8_lossy(&gone.stderr)
        );
    }
}

#[tokio::test]
async fn a_team_acts_with_a_token_that_only_the_operator_reads() {
    let scene = Scene::start("team").await;
    scene.kubectl(&["delete", "secret", "upstash"]).await;
    scene.generate(120).await;
    let name = scene.namespace.name();
    let shared =
        ClusterWide::of(&scene, json!({ "matchLabels": { "kubernetes.io/metadata.name": name } })).await;
    scene.apply("resume", shared.spec()).await;
    let run = scene.ran("resume", 1).await["lastRun"].take();
    assert_eq!((&run["result"], &run["processed"]), (&json!("Succeeded"), &json!(120)), "{run}");
    let status = scene.connection("clusterdlqconnection", &shared.name, "True", "Connected").await;
    assert!(status["lastCheckTime"].is_string(), "{status}");
    // Where the API server takes events about what is cluster-wide.
    scene.told("default", "ClusterDlqConnection", &shared.name, &["Connected"]).await;
}

#[tokio::test]
async fn a_namespace_uses_a_cluster_wide_connection_from_the_moment_that_it_is_selected() {
    let scene = Scene::start("selected").await;
    scene.generate(1).await;
    let label = scene.namespace.name();
    let shared = ClusterWide::of(&scene, json!({ "matchLabels": { "upstash": label } })).await;
    scene.apply("resume", shared.spec()).await;
    let status = scene.condition("resume", "Ready", "False", "ConnectionNotFound").await;
    assert_eq!(status["phase"], "Pending");
    assert!(
        condition(&status, "Reconciling").is_object() && condition(&status, "Stalled").is_null(),
        "{status}"
    );
    assert!(status["message"].as_str().unwrap().contains("is not for namespace"), "{status}");
    let pair = format!("upstash={label}");
    scene.kubectl(&["label", "namespace", scene.namespace.name(), &pair]).await;
    scene.ran("resume", 1).await;
    scene.kubectl(&["label", "namespace", scene.namespace.name(), "upstash-"]).await;
    scene.condition("resume", "Ready", "False", "ConnectionNotFound").await;
    scene.kubectl(&["label", "namespace", scene.namespace.name(), &pair]).await;
    let status = scene.condition("resume", "Ready", "True", "Idle").await;
    assert_eq!(status["totals"]["runs"], 1, "what comes back starts nothing");
}

#[tokio::test]
async fn a_connection_that_comes_later_is_found_at_once_and_one_that_goes_is_told() {
    let scene = Scene::start("later").await;
    scene.generate(100).await;
    scene.apply_sharing("resume", "production", json!({ "limits": { "pageSize": 1 } })).await;
    scene.condition("resume", "Ready", "False", "ConnectionNotFound").await;
    scene.slow_down(100).await;
    scene.share("production", json!({})).await;
    scene.status("resume", "it runs", |status| status["currentRun"]["pages"].as_i64() > Some(2)).await;
    let status = scene.connection("dlqconnection", "production", "True", "Connected").await;
    scene.kubectl(&["delete", "dlqconnection", "production"]).await;
    // The run keeps its token.
    let run = scene.ran("resume", 1).await["lastRun"].take();
    assert_eq!((&run["result"], &run["processed"]), (&json!("Succeeded"), &json!(100)), "{run}");
    assert!(status["observedGeneration"] == 1);
    let status = scene.condition("resume", "Ready", "False", "ConnectionNotFound").await;
    assert_eq!(status["totals"]["runs"], 1);
    scene.share("production", json!({})).await;
    let status = scene.condition("resume", "Ready", "True", "Idle").await;
    assert_eq!(status["totals"]["runs"], 1, "what comes back starts nothing");
}

#[tokio::test]
async fn a_policy_that_breaks_a_guardrail_is_not_ready_and_a_stricter_one_ends_its_run() {
    let scene = Scene::start("guarded").await;
    scene.generate(100).await;
    scene.share("production", json!({ "allowedActions": ["restart"], "allowedLabels": ["payments"] })).await;
    scene.apply_sharing("resume", "production", json!({ "limits": { "pageSize": 1 } })).await;
    let status = scene.condition("resume", "Ready", "False", "GuardrailViolated").await;
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("allowedActions") && message.contains("DlqConnection production"), "{message}");
    assert_eq!(status["phase"], "Invalid");
    assert!(condition(&status, "Stalled").is_object());
    scene.slow_down(200).await;
    scene.share("production", json!({ "allowedLabels": ["payments"] })).await;
    scene.status("resume", "it runs", |status| status["currentRun"]["pages"].as_i64() > Some(0)).await;
    scene.share("production", json!({ "allowedLabels": ["orders"] })).await;
    let status = scene.ran("resume", 1).await;
    let run = &status["lastRun"];
    assert_eq!((&run["result"], &run["reason"]), (&json!("Cancelled"), &json!("Cancelled")), "{run}");
    assert!(run["message"].as_str().unwrap().contains("allowedLabels"), "{run}");
    scene.condition("resume", "Ready", "False", "GuardrailViolated").await;
}

#[tokio::test]
async fn another_token_reference_ends_the_run_and_starts_none() {
    let scene = Scene::start("edited-connection").await;
    scene.generate(100).await;
    scene.apply_secret("other", "token", TOKEN).await;
    scene.share("production", json!({})).await;
    scene.slow_down(200).await;
    scene.apply_sharing("resume", "production", json!({ "limits": { "pageSize": 1 } })).await;
    scene.status("resume", "it runs", |status| status["currentRun"]["pages"].as_i64() > Some(0)).await;
    scene.share("production", json!({ "tokenSecretRef": { "name": "other" } })).await;
    let status = scene.ran("resume", 1).await;
    assert_eq!(status["lastRun"]["result"], "Cancelled", "{status}");
    assert!(status["lastRun"]["message"].as_str().unwrap().contains("tokenSecretRef"), "{status}");
    scene.connection("dlqconnection", "production", "True", "Connected").await;
    let status = scene.policy("resume").await["status"].take();
    assert_eq!((&status["totals"]["runs"], &status["currentRun"]), (&json!(1), &Value::Null), "{status}");
}

#[tokio::test]
async fn the_status_of_a_connection_says_what_is_wrong_with_its_token() {
    let scene = Scene::start("checked").await;
    scene.share("none", json!({ "tokenSecretRef": { "name": "absent" } })).await;
    scene.share("unknown", json!({ "tokenSecretRef": { "name": "unknown" } })).await;
    scene.apply_secret("unknown", "token", "no-such-token-51b0").await;
    scene.share("elsewhere", json!({ "url": "https://evil.example" })).await;
    scene.share("works", json!({})).await;
    for policy in ["a", "b"] {
        scene.apply_sharing(policy, "works", json!({ "suspend": true })).await;
    }
    let status = scene.connection("dlqconnection", "none", "False", "SecretNotFound").await;
    assert!(condition(&status, "Reconciling").is_object() && status["lastCheckTime"].is_null(), "{status}");
    let status = scene.connection("dlqconnection", "unknown", "False", "Unauthorized").await;
    assert!(condition(&status, "Stalled").is_object() && status["lastCheckTime"].is_string(), "{status}");
    scene.connection("dlqconnection", "elsewhere", "False", "UrlNotAllowed").await;
    scene.connection("dlqconnection", "works", "True", "Connected").await;
    scene.counted("works", 2).await;
    let calls = scene.simulator.ledger(DLQ).await.unwrap().calls;
    assert_eq!(calls.len(), 1, "the token that works was tried once: {calls:?}");
}

#[tokio::test]
async fn a_read_only_token_is_told_once_a_run_was_refused() {
    let scene = Scene::start("read-only-connection").await;
    scene.generate(3).await;
    scene.simulator.allow_read_only("reader-9c2e", DLQ).await.unwrap();
    scene.apply_secret("reader", "token", "reader-9c2e").await;
    scene.share("production", json!({ "tokenSecretRef": { "name": "reader" } })).await;
    scene.connection("dlqconnection", "production", "True", "Connected").await;
    scene.apply_sharing("resume", "production", json!({})).await;
    scene.condition("resume", "Ready", "False", "ReadOnlyToken").await;
    scene.connection("dlqconnection", "production", "False", "ReadOnlyToken").await;
    let namespace = scene.namespace.name();
    scene.told(namespace, "DlqConnection", "production", &["Connected", "ReadOnlyToken"]).await;
    // With another token it works again, although the policy, which does not run, still tells of the old one.
    scene.patch("resume", json!({ "suspend": true })).await;
    scene.condition("resume", "Ready", "True", "Suspended").await;
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    scene.share("production", json!({})).await;
    scene.connection("dlqconnection", "production", "True", "Connected").await;
    assert_eq!(scene.policy("resume").await["status"]["refusedReason"], "ReadOnlyToken");
    scene.apply_sharing("another", "production", json!({ "suspend": true })).await;
    let status = scene.counted("production", 2).await;
    assert_eq!(condition(&status, "Ready")["reason"], "Connected", "{status}");
}

#[tokio::test]
async fn a_count_that_somebody_broke_is_told_and_stops_what_acts_until_it_is_corrected() {
    let scene = Scene::start("unreadable").await;
    scene.generate(3).await;
    scene.share("production", json!({ "limits": { "maxEntriesPerDay": 100 } })).await;
    scene.connection("dlqconnection", "production", "True", "Connected").await;
    let broken = json!({ "status": { "day": "yesterday", "entriesToday": 1 } }).to_string();
    let patch = ["patch", "dlqconnection", "production", "--type=merge", "--subresource=status", "--patch"];
    scene.kubectl(&[&patch[..], &[&broken]].concat()).await;
    let status = scene.connection("dlqconnection", "production", "False", "InvalidSpec").await;
    let ready = condition(&status, "Ready");
    assert!(ready["message"].as_str().unwrap().contains("status.entriesToday cannot be read"), "{status}");
    scene.apply_sharing("resume", "production", json!({})).await;
    scene.status("resume", "its run begins", |status| status["currentRun"].is_object()).await;
    let acting = scene.simulator.ledger(DLQ).await.unwrap().calls.into_iter();
    assert_eq!(acting.filter(|call| call.operation != "list").count(), 0);
    let corrected = json!({ "status": { "day": null, "entriesToday": null } }).to_string();
    scene.kubectl(&[&patch[..], &[&corrected]].concat()).await;
    assert_eq!(scene.ran("resume", 1).await["lastRun"]["processed"], 3);
    scene.connection("dlqconnection", "production", "True", "Connected").await;
}

#[tokio::test]
async fn the_lower_threshold_of_policy_and_connection_says_which_runs_need_an_approval() {
    let scene = Scene::start("thresholds").await;
    scene.generate(30).await;
    scene.share("production", json!({ "limits": { "approvalAbove": 20 } })).await;
    let limits = |above: u32| json!({ "limits": { "approvalAbove": above }, "dryRun": false });
    for (name, fields) in [("none", json!({})), ("higher", limits(1000)), ("lower", limits(10))] {
        scene.apply_sharing(name, "production", fields).await;
        let status = scene.condition(name, "Running", "True", "AwaitingApproval").await;
        assert_eq!(status["currentRun"]["matched"], 30, "{status}");
    }
    scene.share("production", json!({ "limits": { "approvalAbove": 30 } })).await;
    scene.apply_sharing("at", "production", limits(1000)).await;
    assert_eq!(scene.ran("at", 1).await["lastRun"]["result"], "Succeeded");
}
