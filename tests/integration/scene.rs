//! One test's own namespace, simulated Upstash and operator.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::{ControlPlane, Namespace, Operator, OperatorOptions, ScratchDir, Simulator, eventually};

use crate::cluster::control_plane;

/// The token of every scene's Secret, and the name of its DLQ.
pub(crate) const TOKEN: &str = "scene-token-7f3a";
pub(crate) const DLQ: &str = "main";

/// Longer than anything here takes on a busy machine; nothing waits for it to pass.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Scene {
    /// Before the namespace: with its policies their metrics would go, which are searched when the operator is dropped.
    pub(crate) operator: Operator,
    pub(crate) control_plane: &'static ControlPlane,
    pub(crate) namespace: Namespace,
    pub(crate) simulator: Simulator,
}

impl Scene {
    /// With an operator that writes a checkpoint after every page, so that kills lose little.
    pub(crate) async fn start(name: &str) -> Self {
        Self::start_with(name, &["--checkpoint-interval=0"]).await
    }

    /// With further flags for the operator.
    pub(crate) async fn start_with(name: &str, args: &[&str]) -> Self {
        let simulator = Simulator::start().await.unwrap();
        let api_url = simulator.api_url().to_owned();
        Self::start_behind(name, simulator, api_url, args).await
    }

    /// With an operator that reaches the simulator at another URL.
    pub(crate) async fn start_behind(
        name: &str,
        simulator: Simulator,
        api_url: String,
        args: &[&str],
    ) -> Self {
        let control_plane = control_plane().await;
        Self::start_on(control_plane, name, simulator, args, |options| options.upstash_url = api_url).await
    }

    /// On a control plane that need not be the shared one, with further options of the operator changed.
    pub(crate) async fn start_on(
        control_plane: &'static ControlPlane,
        name: &str,
        simulator: Simulator,
        args: &[&str],
        change: impl FnOnce(&mut OperatorOptions),
    ) -> Self {
        let namespace = control_plane.namespace(name).await.unwrap();
        simulator.allow(TOKEN, DLQ).await.unwrap();
        let mut options = OperatorOptions::new(control_plane, &simulator, namespace.name());
        options.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        options.args.push("--log-level=info,dlq_operator=debug".to_owned());
        change(&mut options);
        let operator = Operator::start(options).await.unwrap();
        let scene = Self { operator, control_plane, namespace, simulator };
        scene.apply_secret("upstash", "token", TOKEN).await;
        scene
    }

    pub(crate) async fn kubectl(&self, args: &[&str]) -> String {
        let args: Vec<_> =
            ["--namespace", self.namespace.name()].into_iter().chain(args.iter().copied()).collect();
        self.control_plane.kubectl(&args).await.unwrap().ok().unwrap()
    }

    /// The events about an object, as they are in this namespace, in the order in which they came.
    pub(crate) async fn events_of(&self, namespace: &str, kind: &str, name: &str) -> Vec<Value> {
        let args = ["get", "events.events.k8s.io", "--output=json"];
        let args = ["--namespace", namespace].into_iter().chain(args).collect::<Vec<_>>();
        let events = self.control_plane.kubectl(&args).await.unwrap().ok().unwrap();
        let events: Value = serde_json::from_str(&events).unwrap();
        let events = events["items"].as_array().unwrap().iter();
        let is_about = |event: &&Value| {
            (&event["regarding"]["kind"], &event["regarding"]["name"]) == (&kind.into(), &name.into())
        };
        let mut events: Vec<_> = events.filter(is_about).cloned().collect();
        // Their names end with a time.
        events.sort_by_key(|event| event["metadata"]["name"].as_str().map(str::to_owned));
        events
    }

    pub(crate) async fn apply_secret(&self, name: &str, key: &str, value: &str) {
        // Also one that the simulator does not know must not be shown.
        self.simulator.tokens().remember(value);
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": name, "namespace": self.namespace.name() },
            "stringData": { key: value },
        });
        self.control_plane.kubectl_apply(&secret.to_string()).await.unwrap().ok().unwrap();
    }

    /// Applies a policy with the real kubectl. `spec` may leave `connection` out for the scene's own.
    pub(crate) async fn apply(&self, name: &str, spec: Value) {
        self.apply_annotated(name, spec, json!({})).await;
    }

    pub(crate) async fn apply_annotated(&self, name: &str, mut spec: Value, annotations: Value) {
        if spec["connection"].is_null() {
            spec["connection"] = json!({ "tokenSecretRef": { "name": "upstash", "key": "token" } });
        }
        let policy = json!({
            "apiVersion": "dlq-operator.dev/v1alpha1",
            "kind": "DlqPolicy",
            "metadata": { "name": name, "namespace": self.namespace.name(), "annotations": annotations },
            "spec": spec,
        });
        self.control_plane.kubectl_apply(&policy.to_string()).await.unwrap().ok().unwrap();
    }

    /// Creates many objects at once.
    /// As many policies, named `p0` and so on, each with this spec.
    pub(crate) async fn apply_crowd(&self, policies: usize, spec: &Value) {
        let mut spec = spec.clone();
        spec["connection"] = json!({ "tokenSecretRef": { "name": "upstash", "key": "token" } });
        let policy = |number: usize| {
            json!({
                "apiVersion": "dlq-operator.dev/v1alpha1",
                "kind": "DlqPolicy",
                "metadata": { "name": format!("p{number}"), "namespace": self.namespace.name() },
                "spec": spec,
            })
        };
        self.apply_all((0..policies).map(policy).collect()).await;
    }

    /// The statuses of all policies, for crowds.
    pub(crate) async fn statuses(&self) -> Vec<Value> {
        let list = self.kubectl(&["get", "dlqpolicies", "--output=json"]).await;
        let mut list: Value = serde_json::from_str(&list).unwrap();
        list["items"].as_array_mut().unwrap().iter_mut().map(|policy| policy["status"].take()).collect()
    }

    pub(crate) async fn apply_all(&self, items: Vec<Value>) {
        let dir = ScratchDir::create("policies").unwrap();
        let file = dir.path().join("policies.json");
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        std::fs::write(&file, list.to_string()).unwrap();
        let args = ["apply", "--server-side", "--filename", file.to_str().unwrap()];
        self.control_plane.kubectl(&args).await.unwrap().ok().unwrap();
    }

    /// Sets annotations of a policy; the keys without the operator's prefix.
    pub(crate) async fn annotate(&self, name: &str, annotations: &[(&str, &str)]) {
        let pairs: Vec<_> =
            annotations.iter().map(|(key, value)| format!("dlq-operator.dev/{key}={value}")).collect();
        let mut args = vec!["annotate", "--overwrite", "dlqpolicy", name];
        args.extend(pairs.iter().map(String::as_str));
        self.kubectl(&args).await;
    }

    pub(crate) async fn patch(&self, name: &str, spec: Value) {
        let patch = json!({ "spec": spec }).to_string();
        self.kubectl(&["patch", "dlqpolicy", name, "--type=merge", "--patch", &patch]).await;
    }

    /// Writes to a policy's status behind the operator's back, as a JSON patch.
    pub(crate) async fn patch_status(&self, name: &str, patch: Value) {
        let patch = patch.to_string();
        self.kubectl(&["patch", "dlqpolicy", name, "--subresource=status", "--type=json", "--patch", &patch])
            .await;
    }

    /// Makes each call take so many milliseconds, so that something can happen in between.
    pub(crate) async fn slow_down(&self, millis: u64) {
        let rules = json!([{ "dlq": DLQ, "fault": { "latency": { "ms": millis } } }]);
        self.simulator.set_faults(&rules).await.unwrap();
    }

    /// A policy as the API server has it.
    pub(crate) async fn policy(&self, name: &str) -> Value {
        serde_json::from_str(&self.kubectl(&["get", "dlqpolicy", name, "--output=json"]).await).unwrap()
    }

    /// Waits until a policy's status is as wished, and gives it.
    pub(crate) async fn status(&self, name: &str, what: &str, wished: impl Fn(&Value) -> bool) -> Value {
        eventually(PATIENCE, what, async || {
            let status = self.policy(name).await["status"].take();
            if wished(&status) { Ok(status) } else { Err(format!("{status:#}")) }
        })
        .await
        .unwrap_or_else(|error| panic!("{error}\n--- the operator's log\n{}", self.operator.log()))
    }

    /// Waits until a policy has ended so many runs and has none, and gives its status.
    pub(crate) async fn ran(&self, name: &str, runs: i64) -> Value {
        self.status(name, &format!("{name} has ended {runs} runs"), |status| {
            status["totals"]["runs"].as_i64() >= Some(runs) && status["currentRun"].is_null()
        })
        .await
    }

    /// Waits for a condition's status and reason.
    pub(crate) async fn condition(&self, name: &str, kind: &str, truth: &str, reason: &str) -> Value {
        self.status(name, &format!("{name}: {kind}={truth}, {reason}"), |status| {
            let found = condition(status, kind);
            found["status"] == truth && found["reason"] == reason
        })
        .await
    }
}

impl Drop for Scene {
    /// No policy and no event shows a token, whatever the test was about; the testbed searches the log and the metrics of
    /// every operator.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let shown = std::process::Command::new(self.control_plane.kubectl_binary())
            .args(["get", "dlqpolicies,events", "--output=yaml", "--namespace", self.namespace.name()])
            .arg("--kubeconfig")
            .arg(self.control_plane.kubeconfig())
            .output()
            .unwrap();
        assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
        let shown = self.simulator.tokens().shown_in(&String::from_utf8_lossy(&shown.stdout));
        assert_eq!(shown, None, "in a policy or an event");
    }
}

/// A condition of a status; null when it is absent.
pub(crate) fn condition(status: &Value, kind: &str) -> Value {
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default()
}
