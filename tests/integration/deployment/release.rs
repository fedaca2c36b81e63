//! One test's own release of the chart on a node, with a simulated Upstash beside it.

use std::path::Path;

use serde_json::{Value, json};
use testbed::{CommandOutput, ControlPlane, Entry, Helm, Namespace, Node, ScratchDir, Simulator, eventually};

use super::manifests;
use super::pods::Pod;
use super::simulator::start_simulator;
use crate::chart::{chart, documents};
use crate::cluster::node;
use crate::scene::{DLQ, PATIENCE, TOKEN};

/// The release, its Deployment, its `ServiceAccount` and its Lease.
pub(super) const NAME: &str = "dlq-operator";

/// How long Helm waits; nothing waits for it to pass.
const TIMEOUT: &str = "--timeout=90s";

pub(super) struct Release {
    pub(super) node: &'static Node,
    pub(super) control_plane: &'static ControlPlane,
    pub(super) helm: Helm,
    pub(super) namespace: Namespace,
    pub(super) simulator: Simulator,
    /// What every installation of it says.
    base: Value,
}

impl Release {
    /// One that manages its own namespace alone, so that other tests' policies are left to them. `None` where no node can
    /// run.
    pub(super) async fn beside_others(name: &str) -> Option<Self> {
        if !Node::is_possible().unwrap() {
            return None;
        }
        let mut release = Self::on(node().await, name).await;
        release.base["watchNamespaces"] = json!([release.namespace.name()]);
        // The definition is there.
        release.base["crds"] = json!({ "enabled": false });
        Some(release)
    }

    /// One on a node of its own, which has no definition. `None` also with an existing cluster, which may have one.
    pub(super) async fn alone(name: &str) -> Option<Self> {
        if !Node::is_possible().unwrap() {
            return None;
        }
        let node = Node::start().await.unwrap();
        if !node.is_own() {
            return None;
        }
        Some(Self::on(Box::leak(Box::new(node)), name).await)
    }

    async fn on(node: &'static Node, name: &str) -> Self {
        let control_plane = node.control_plane();
        let namespace = control_plane.namespace(name).await.unwrap();
        // What runs there must satisfy the strictest of the Pod Security Standards.
        let label = "pod-security.kubernetes.io/enforce=restricted";
        control_plane.kubectl(&["label", "namespace", namespace.name(), label]).await.unwrap().ok().unwrap();
        let simulator = start_simulator(control_plane, namespace.name()).await;
        simulator.allow(TOKEN, DLQ).await.unwrap();
        let helm = Helm::new(control_plane.kubeconfig()).await.unwrap();
        let base = json!({ "config": { "allowedUrls": [simulator.api_url()] } });
        Self { node, control_plane, helm, namespace, simulator, base }
    }

    /// Values on top of those that each test has.
    fn values(&self, more: &Value) -> Value {
        let mut values = self.base.clone();
        merge(&mut values, more);
        values
    }

    /// One command of Helm's about the release, with a chart.
    pub(super) async fn helm_with(&self, command: &[&str], chart: &Path, values: &Value) -> CommandOutput {
        let mut args = command.to_vec();
        args.extend([NAME, chart.to_str().unwrap(), "--namespace", self.namespace.name(), "--values", "-"]);
        self.helm.run_with_input(&args, &self.values(values).to_string()).await.unwrap()
    }

    /// `helm install --wait`.
    pub(super) async fn install(&self, values: Value) {
        self.install_chart(&chart(), values).await;
    }

    pub(super) async fn install_chart(&self, chart: &Path, values: Value) {
        self.helm_with(&["install", "--wait", TIMEOUT], chart, &values).await.ok().unwrap();
    }

    /// `helm upgrade --wait`.
    pub(super) async fn upgrade(&self, values: Value) {
        self.helm_with(&["upgrade", "--wait", TIMEOUT], &chart(), &values).await.ok().unwrap();
    }

    /// The manifests that would be installed.
    pub(super) async fn rendered(&self, values: Value) -> Vec<Value> {
        documents(&self.helm_with(&["template"], &chart(), &values).await.ok().unwrap())
    }

    pub(super) async fn kubectl_in(&self, namespace: &str, args: &[&str]) -> String {
        let args: Vec<_> = ["--namespace", namespace].into_iter().chain(args.iter().copied()).collect();
        self.control_plane.kubectl(&args).await.unwrap().ok().unwrap()
    }

    pub(super) async fn kubectl(&self, args: &[&str]) -> String {
        self.kubectl_in(self.namespace.name(), args).await
    }

    pub(super) async fn apply(&self, object: &Value) {
        self.control_plane.kubectl_apply(&object.to_string()).await.unwrap().ok().unwrap();
    }

    pub(super) async fn secret(&self, namespace: &str, name: &str) {
        self.apply(&manifests::secret(namespace, name)).await;
    }

    /// A policy that resumes everything once, with a Secret of its namespace.
    pub(super) fn policy(&self, namespace: &str, name: &str) -> Value {
        manifests::policy(namespace, name, self.simulator.api_url())
    }

    pub(super) async fn fill(&self, entries: usize) {
        self.simulator.generate(DLQ, entries, &Entry::default()).await.unwrap();
    }

    /// A policy as the API server has it.
    pub(super) async fn read(&self, namespace: &str, name: &str) -> Value {
        let policy = self
            .kubectl_in(namespace, &["get", "dlqpolicy", name, "--output=json", "--show-managed-fields"])
            .await;
        serde_json::from_str(&policy).unwrap()
    }

    /// Waits until a policy's status is as wished, and gives the policy.
    pub(super) async fn when(
        &self,
        namespace: &str,
        name: &str,
        what: &str,
        wished: impl Fn(&Value) -> bool,
    ) -> Value {
        eventually(PATIENCE, what, async || {
            let policy = self.read(namespace, name).await;
            if wished(&policy["status"]) { Ok(policy) } else { Err(format!("{:#}", policy["status"])) }
        })
        .await
        .unwrap()
    }

    /// Waits until a policy has ended so many runs, and gives the last one.
    pub(super) async fn ran(&self, namespace: &str, name: &str, runs: i64) -> Value {
        let mut policy = self
            .when(namespace, name, &format!("{name} has ended {runs} runs"), |status| {
                status["totals"]["runs"].as_i64() >= Some(runs) && status["currentRun"].is_null()
            })
            .await;
        policy["status"]["lastRun"].take()
    }

    /// Applies a policy to so many new entries, and sees them resumed.
    pub(super) async fn drains(&self, namespace: &str, name: &str, entries: usize) {
        self.secret(namespace, "upstash").await;
        self.fill(entries).await;
        self.apply(&self.policy(namespace, name)).await;
        let run = self.ran(namespace, name, 1).await;
        assert_eq!((&run["result"], &run["processed"]), (&json!("Succeeded"), &json!(entries)), "{run:#}");
    }

    /// The operator's pods.
    pub(super) async fn pods(&self) -> Vec<Pod> {
        let selector = format!("--selector=app.kubernetes.io/name={NAME}");
        let list: Value =
            serde_json::from_str(&self.kubectl(&["get", "pods", &selector, "--output=json"]).await).unwrap();
        list["items"].as_array().unwrap().iter().cloned().map(Pod).collect()
    }

    /// Those that are ready and not about to end.
    pub(super) async fn ready(&self) -> Vec<Pod> {
        self.pods().await.into_iter().filter(Pod::is_ready).collect()
    }

    /// Waits until a ready pod holds the Lease, and gives its name.
    pub(super) async fn leader(&self) -> String {
        self.leader_after("").await
    }

    /// Likewise, until it is another pod than this one.
    pub(super) async fn leader_after(&self, former: &str) -> String {
        let holder = "--output=jsonpath={.items[*].spec.holderIdentity}";
        eventually(PATIENCE, "another ready pod holds the Lease", async || {
            let holder = self.kubectl(&["get", "leases", holder]).await;
            let holder = holder.split('/').next().unwrap_or_default().to_owned();
            let is_ready = self.ready().await.iter().any(|pod| pod.name() == holder);
            if is_ready && holder != former { Ok(holder) } else { Err(holder) }
        })
        .await
        .unwrap()
    }

    /// Asks the API server to evict a pod, as `kubectl drain` does.
    pub(super) async fn evict(&self, pod: &str) -> Result<String, String> {
        let namespace = self.namespace.name();
        let metadata = json!({ "name": pod, "namespace": namespace });
        let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata });
        let dir = ScratchDir::create("eviction").unwrap();
        let file = dir.path().join("eviction.json");
        std::fs::write(&file, eviction.to_string()).unwrap();
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/eviction");
        let args = ["create", "--raw", &path, "--filename", file.to_str().unwrap()];
        self.control_plane.kubectl(&args).await.unwrap().ok().map_err(|error| error.to_string())
    }

    /// Applies a policy to so many entries, ten a page, with slow calls, and waits until it has processed some. The run lasts
    /// until [`ends`](Self::ends) makes calls quick again; none is too slow for the grace that an operator gives it when it stops.
    /// Gives the status.
    pub(super) async fn begins(&self, name: &str, entries: usize) -> Value {
        let home = self.namespace.name();
        self.secret(home, "upstash").await;
        self.fill(entries).await;
        let rules = json!([{ "dlq": DLQ, "operation": ["resume"], "fault": { "latency": { "ms": 1000 } } }]);
        self.simulator.set_faults(&rules).await.unwrap();
        let mut policy = self.policy(home, name);
        policy["spec"]["limits"] = json!({ "pageSize": 10 });
        self.apply(&policy).await;
        let begun = |status: &Value| status["currentRun"]["processed"].as_i64() > Some(0);
        self.when(home, name, "the run has begun", begun).await["status"].take()
    }

    /// Waits until another pod than this one works on the run that this one began.
    pub(super) async fn continues_without(&self, name: &str, pod: &str) {
        self.when(self.namespace.name(), name, "another pod works on the run", |status| {
            let run = &status["currentRun"];
            assert!(run.is_object(), "the run ended before it was handed over: {status:#}");
            let holder = run["holder"].as_str().unwrap_or_default();
            !holder.is_empty() && !holder.starts_with(&format!("{pod}/"))
        })
        .await;
    }

    /// Waits for the end of the run of [`begins`](Self::begins), and sees that each entry was resumed once.
    pub(super) async fn ends(&self, name: &str, entries: usize) -> Value {
        self.simulator.clear_faults().await.unwrap();
        let run = self.ran(self.namespace.name(), name, 1).await;
        assert_eq!(run["result"], "Succeeded", "{run:#}");
        let ledger = self.simulator.ledger(DLQ).await.unwrap();
        let resumed: Vec<_> = ledger.entries.iter().map(|entry| entry.actions).collect();
        assert_eq!(resumed, vec![1; entries], "each entry once");
        run
    }
}

impl Drop for Release {
    /// No pod has said a token, whatever the test was about.
    #[expect(clippy::print_stderr, reason = "the harness shows it beside the test that failed")]
    fn drop(&mut self) {
        let shown = std::process::Command::new(self.control_plane.kubectl_binary())
            .args([
                "logs",
                "--selector",
                &format!("app.kubernetes.io/name={NAME}"),
                "--tail=-1",
                "--namespace",
            ])
            .args([self.namespace.name(), "--kubeconfig"])
            .arg(self.control_plane.kubeconfig())
            .output();
        let Ok(shown) = shown else { return };
        let log = String::from_utf8_lossy(&shown.stdout);
        if std::thread::panicking() {
            eprintln!("--- the pods' logs\n{log}");
            return;
        }
        assert_eq!(self.simulator.tokens().shown_in(&log), None, "in the log of a pod");
    }
}

pub(super) fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more.clone(),
    }
}
