//! One test's own release of the chart, with a node that runs its pods, and a simulated Upstash.

use serde_json::{Value, json};
use testbed::{
    CommandOutput, ControlPlane, Entry, Helm, Namespace, Node, PodView, Simulator, eventually, workspace_root,
};

use crate::cluster::control_plane;
use crate::scene::{DLQ, PATIENCE, TOKEN};

/// The release, its Deployment, its `ServiceAccount` and its Lease.
pub(super) const NAME: &str = "dlq-operator";

pub(super) struct Release {
    pub(super) control_plane: &'static ControlPlane,
    pub(super) helm: Helm,
    pub(super) namespace: Namespace,
    pub(super) node: Node,
    pub(super) simulator: Simulator,
    /// What every installation of it says.
    base: Value,
}

impl Release {
    /// One that manages its own namespace alone, so that other tests' policies are left to them. `None` where pods
    /// cannot be played.
    pub(super) async fn beside_others(name: &str) -> Option<Self> {
        let mut release = Self::on(control_plane().await, name).await?;
        release.base["watchNamespaces"] = json!([release.namespace.name()]);
        // The definition is there.
        release.base["crds"] = json!({ "enabled": false });
        Some(release)
    }

    /// One on a control plane of its own, which has no definition.
    pub(super) async fn alone(name: &str) -> Option<Self> {
        if !Node::is_possible().unwrap() {
            return None;
        }
        Self::on(Box::leak(Box::new(ControlPlane::start().await.unwrap())), name).await
    }

    async fn on(control_plane: &'static ControlPlane, name: &str) -> Option<Self> {
        if !Node::is_possible().unwrap() {
            return None;
        }
        let namespace = control_plane.namespace(name).await.unwrap();
        // What runs there must satisfy the strictest of the Pod Security Standards.
        let label = "pod-security.kubernetes.io/enforce=restricted";
        control_plane.kubectl(&["label", "namespace", namespace.name(), label]).await.unwrap().ok().unwrap();
        let simulator = Simulator::start().await.unwrap();
        simulator.allow(TOKEN, DLQ).await.unwrap();
        let node = Node::start(control_plane, namespace.name(), simulator.tokens()).await.unwrap();
        let helm = Helm::new(control_plane.kubeconfig()).await.unwrap();
        let base = json!({ "config": { "allowedUrls": [simulator.api_url()] } });
        Some(Self { control_plane, helm, namespace, node, simulator, base })
    }

    /// Values on top of those that each test has.
    fn values(&self, more: &Value) -> Value {
        let mut values = self.base.clone();
        merge(&mut values, more);
        values
    }

    async fn helm_with(&self, command: &[&str], values: &Value) -> CommandOutput {
        let chart = workspace_root().join("charts/dlq-operator");
        let mut args = command.to_vec();
        args.extend([NAME, chart.to_str().unwrap(), "--namespace", self.namespace.name(), "--values", "-"]);
        self.helm.run_with_input(&args, &self.values(values).to_string()).await.unwrap()
    }

    /// `helm install --wait`.
    pub(super) async fn install(&self, values: Value) {
        self.helm_with(&["install", "--wait", "--timeout=60s"], &values).await.ok().unwrap();
    }

    /// `helm upgrade --wait`.
    pub(super) async fn upgrade(&self, values: Value) {
        self.helm_with(&["upgrade", "--wait", "--timeout=60s"], &values).await.ok().unwrap();
    }

    /// The manifests that would be installed.
    pub(super) async fn rendered(&self, values: Value) -> Vec<Value> {
        let yaml = self.helm_with(&["template"], &values).await.ok().unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&yaml).unwrap();
        documents.into_iter().filter(|document| !document.is_null()).collect()
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
        let metadata = json!({ "name": name, "namespace": namespace });
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": { "token": TOKEN } });
        self.apply(&secret).await;
    }

    /// A policy that resumes everything once, with a Secret of its namespace.
    pub(super) fn policy(&self, namespace: &str, name: &str) -> Value {
        let connection = json!({ "url": self.simulator.api_url(), "tokenSecretRef": { "name": "upstash", "key": "token" } });
        json!({
            "apiVersion": "dlq-operator.dev/v1alpha1",
            "kind": "DlqPolicy",
            "metadata": { "name": name, "namespace": namespace },
            "spec": { "action": "resume", "filters": { "all": true }, "connection": connection },
        })
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

    /// The pods that are ready.
    pub(super) fn ready(&self) -> Vec<PodView> {
        self.node.pods().into_iter().filter(|pod| pod.ready).collect()
    }

    /// The name of the pod that holds the Lease; empty when none does.
    pub(super) async fn leader(&self) -> String {
        let holder = "--output=jsonpath={.items[*].spec.holderIdentity}";
        let holder = self.kubectl(&["get", "leases", holder]).await;
        holder.split('/').next().unwrap_or_default().to_owned()
    }

    /// What a `ServiceAccount` of the release may do in a namespace, beside what everybody may: `verb group/resource`,
    /// sorted.
    pub(super) async fn may(&self, account: &str, namespace: &str) -> Vec<String> {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
            "spec": { "namespace": namespace },
        });
        let user = format!("system:serviceaccount:{}:{account}", self.namespace);
        let kubeconfig = self.control_plane.kubeconfig().to_str().unwrap();
        let dir = testbed::ScratchDir::create("review").unwrap();
        let file = dir.path().join("review.json");
        std::fs::write(&file, review.to_string()).unwrap();
        let args = [
            "create",
            // That would ask for definitions, as the ServiceAccount.
            "--validate=false",
            "--kubeconfig",
            kubeconfig,
            "--as",
            &user,
            "--output=json",
            "--filename",
            file.to_str().unwrap(),
        ];
        let review: Value =
            serde_json::from_str(&self.control_plane.kubectl(&args).await.unwrap().ok().unwrap()).unwrap();
        let rules = review["status"]["resourceRules"].as_array().unwrap();
        let mut may: Vec<_> = rules.iter().flat_map(grants).filter(|grant| !is_everybodys(grant)).collect();
        may.sort();
        may.dedup();
        may
    }
}

/// Each verb of a rule on each of its resources: `verb group/resource`, and the name where there is one.
pub(super) fn grants(rule: &Value) -> Vec<String> {
    let texts = |field: &str| -> Vec<String> {
        let texts = rule[field].as_array().into_iter().flatten();
        texts.map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let names = texts("resourceNames");
    let name = if names.is_empty() { String::new() } else { format!(" {}", names.join(",")) };
    let mut grants = Vec::new();
    for group in texts("apiGroups") {
        for resource in texts("resources") {
            let grant = |verb: &String| format!("{verb} {group}/{resource}{name}");
            grants.extend(texts("verbs").iter().map(grant));
        }
    }
    grants
}

/// What Kubernetes lets everybody ask about themselves.
fn is_everybodys(grant: &str) -> bool {
    grant.contains("authorization.k8s.io/selfsubject") || grant.contains("authentication.k8s.io/selfsubject")
}

fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more.clone(),
    }
}
