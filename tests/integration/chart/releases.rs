//! Releases on a real cluster: install, upgrade, uninstall, and two beside each other.
//!
//! The definitions are the whole cluster's, so each test has a cluster of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use futures::future::join_all;
use serde_json::{Value, json};
use testbed::{CommandOutput, ControlPlane, Helm, ScratchDir, eventually, workspace_root};

use super::{chart, documents, with_plain_numbers};
use crate::cluster::Judge;
use crate::generated_files::definitions;
use crate::scene::PATIENCE;

struct Cluster {
    helm: Helm,
    control_plane: ControlPlane,
}

impl Cluster {
    async fn start() -> Self {
        let control_plane = ControlPlane::start().await.unwrap();
        let helm = Helm::new(control_plane.kubeconfig()).await.unwrap();
        Self { helm, control_plane }
    }

    async fn try_install(
        &self,
        release: &str,
        namespace: &str,
        chart: &Path,
        values: Value,
    ) -> CommandOutput {
        let chart = chart.to_str().unwrap();
        let args =
            ["install", release, chart, "--namespace", namespace, "--create-namespace", "--values", "-"];
        self.helm.run_with_input(&args, &values.to_string()).await.unwrap()
    }

    async fn install(&self, release: &str, namespace: &str, values: Value) -> String {
        self.try_install(release, namespace, &chart(), values).await.ok().unwrap()
    }

    /// With the values that the release has, and others.
    async fn upgrade(&self, release: &str, namespace: &str, chart: &Path, others: &[&str]) {
        let chart = chart.to_str().unwrap();
        let args = ["upgrade", release, chart, "--namespace", namespace, "--reset-then-reuse-values"];
        self.helm.run(&[&args, others].concat()).await.unwrap().ok().unwrap();
    }

    async fn uninstall(&self, release: &str, namespace: &str) -> String {
        self.helm.run(&["uninstall", release, "--namespace", namespace]).await.unwrap().ok().unwrap()
    }

    async fn kubectl(&self, args: &[&str]) -> String {
        self.control_plane.kubectl(args).await.unwrap().ok().unwrap()
    }

    async fn get(&self, args: &[&str]) -> Option<Value> {
        let args = [&["get", "--output=json", "--ignore-not-found"], args].concat();
        let found = self.kubectl(&args).await;
        (!found.is_empty()).then(|| serde_json::from_str(&found).unwrap())
    }

    /// A policy in the namespace `default`, applied as soon as the definition can be used.
    async fn apply_policy(&self, name: &str, spec: &Value) -> Value {
        let policy = json!({
            "apiVersion": "dlq-operator.dev/v1alpha1",
            "kind": "DlqPolicy",
            "metadata": { "name": name, "namespace": "default" },
            "spec": spec,
        });
        eventually(PATIENCE, "the policy is taken", async || {
            self.control_plane.kubectl_apply(&policy.to_string()).await.unwrap().ok()
        })
        .await
        .unwrap();
        self.policy(name).await.unwrap()
    }

    /// Our definitions in this cluster: their plural names.
    async fn definitions(&self) -> Vec<String> {
        let is_ours = |(plural, _): (String, String)| async move {
            let name = format!("crd/{plural}.dlq-operator.dev");
            self.get(&[name.as_str()]).await.is_some().then_some(plural)
        };
        join_all(definitions().map(is_ours)).await.into_iter().flatten().collect()
    }

    async fn policy(&self, name: &str) -> Option<Value> {
        self.get(&["dlqpolicy", name, "--namespace=default"]).await
    }

    /// The objects of a release that are missing in the cluster.
    async fn missing(&self, release: &str, namespace: &str) -> Vec<String> {
        let manifest = ["get", "manifest", release, "--namespace", namespace];
        let manifest = self.helm.run(&manifest).await.unwrap().ok().unwrap();
        self.missing_of(&documents(&manifest)).await
    }

    async fn missing_of(&self, objects: &[Value]) -> Vec<String> {
        let dir = ScratchDir::create("objects").unwrap();
        let file = dir.path().join("objects.json");
        fs::write(&file, json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string())
            .unwrap();
        let found = self.get(&["--filename", file.to_str().unwrap()]).await.unwrap_or_default();
        // One alone comes without a list.
        let found = found["items"].as_array().cloned().unwrap_or_else(|| vec![found]);
        let found: BTreeSet<_> = found.iter().map(identity).collect();
        objects.iter().map(identity).filter(|identity| !found.contains(identity)).collect()
    }
}

fn identity(object: &Value) -> String {
    let metadata = &object["metadata"];
    format!("{} {} {}", object["kind"], metadata["namespace"], metadata["name"])
}

fn spec() -> Value {
    json!({ "action": "resume", "filters": { "labels": ["payments"] }, "dryRun": true })
}

/// What an admin may have set since the first release: values must be taken by every later chart.
fn old_values() -> Value {
    json!({
        "replicaCount": 2,
        "commonLabels": { "owner": "platform" },
        "watchNamespaces": ["default"],
        "config": { "allowedActions": ["resume"], "retryLimit": 5 },
        "log": { "level": "debug" },
        "podDisruptionBudget": { "enabled": true },
        "networkPolicy": { "enabled": true },
        "grafanaDashboard": { "enabled": true },
    })
}

/// The chart of the release before this one; `tests/data/charts/README.md` says how it was made.
fn previous_chart() -> PathBuf {
    workspace_root().join("tests/data/charts/dlq-operator-0.0.1.tgz")
}

fn all_definitions() -> Vec<String> {
    definitions().map(|(plural, _)| plural).into()
}

fn schema(definition: &Value) -> Value {
    with_plain_numbers(&definition["spec"]["versions"][0]["schema"])
}

#[tokio::test]
async fn an_installation_says_what_to_do_next() {
    let helm = Helm::offline().await.unwrap();
    let chart = chart();
    let set = "pauseAll=true,serviceMonitor.enabled=true,podMonitor.enabled=true";
    let args = ["install", "dlq-operator", chart.to_str().unwrap(), "--dry-run=client", "--set", set];
    let notes = helm.run(&args).await.unwrap().ok().unwrap();
    let notes = notes.split("NOTES:").nth(1).unwrap();
    let hints = [
        "kubectl create secret generic upstash",
        "kubectl get dlqp -A",
        "kubectl dlq status first",
        "kubectl annotate dlqp first",
        "docs/plugin.md",
        "pauseAll is set",
        "twice",
        "is in no registry",
        "Guide: docs/guide.md",
    ];
    for hint in hints {
        assert!(notes.contains(hint), "{hint} is not in {notes}");
    }
    let policy = notes.split("<<'EOF'\n").nth(1).unwrap().split("EOF").next().unwrap();
    Judge::new().await.judge(&serde_saphyr::from_str(policy).unwrap()).await.unwrap();
}

#[tokio::test]
async fn an_upgrade_from_the_release_before_keeps_policies_and_deployment() {
    let cluster = Cluster::start().await;
    let installed = cluster.try_install("dlq-operator", "dlq-system", &previous_chart(), old_values()).await;
    installed.ok().unwrap();
    let policy = cluster.apply_policy("kept", &spec()).await;
    let deployment = ["deployment", "dlq-operator", "--namespace=dlq-system"];
    let before = cluster.get(&deployment).await.unwrap();
    assert!(before["spec"]["template"].to_string().contains(":0.0.1"));

    cluster.upgrade("dlq-operator", "dlq-system", &chart(), &[]).await;
    let after = cluster.get(&deployment).await.unwrap();
    assert_eq!(before["metadata"]["uid"], after["metadata"]["uid"]);
    assert!(after["spec"]["template"].to_string().contains(&format!(":{}", env!("CARGO_PKG_VERSION"))));
    assert!(after["spec"]["template"].to_string().contains("--retry-limit=5"));
    let kept = cluster.policy("kept").await.unwrap();
    assert_eq!(kept["metadata"]["uid"], policy["metadata"]["uid"]);
    assert_eq!(cluster.missing("dlq-operator", "dlq-system").await, Vec::<String>::new());
    for (plural, committed) in definitions() {
        let committed: Value = serde_saphyr::from_str(&committed).unwrap();
        let stored = cluster.get(&[format!("crd/{plural}.dlq-operator.dev").as_str()]).await.unwrap();
        assert!(schema(&stored) == schema(&committed), "{plural}: another definition than the chart's");
    }

    let back = ["rollback", "dlq-operator", "1", "--namespace", "dlq-system"];
    cluster.helm.run(&back).await.unwrap().ok().unwrap();
    let back = cluster.get(&deployment).await.unwrap();
    assert!(back["spec"]["template"].to_string().contains(":0.0.1"));
    assert_eq!(cluster.policy("kept").await.unwrap()["metadata"]["uid"], policy["metadata"]["uid"]);
}

/// A copy of the chart whose definition of policies has a field more.
fn chart_with_a_new_field(dir: &Path) -> PathBuf {
    let copy = dir.join("dlq-operator");
    copy_folder(&chart(), &copy);
    let file = copy.join("files/crds/dlqpolicies.yaml");
    let mut definition: Value = serde_saphyr::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["spec"]["properties"]["note"] = json!({ "type": "string", "maxLength": 10 });
    fs::write(&file, serde_saphyr::to_string(&definition).unwrap()).unwrap();
    copy
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_change_of_the_definition_arrives_with_an_upgrade() {
    let cluster = Cluster::start().await;
    cluster.install("dlq-operator", "dlq-system", json!({})).await;
    let policy = cluster.apply_policy("old", &spec()).await;
    let mut new = spec();
    new["note"] = json!("new");
    let manifest = json!({
        "apiVersion": "dlq-operator.dev/v1alpha1",
        "kind": "DlqPolicy",
        "metadata": { "name": "new", "namespace": "default" },
        "spec": new,
    });
    let refused = cluster.control_plane.kubectl_apply(&manifest.to_string()).await.unwrap();
    assert!(refused.stderr.contains("note"), "{}", refused.stderr);

    let dir = ScratchDir::create("chart").unwrap();
    cluster.upgrade("dlq-operator", "dlq-system", &chart_with_a_new_field(dir.path()), &[]).await;
    let taken = cluster.apply_policy("new", &new).await;
    assert_eq!(taken["spec"]["note"], "new");
    assert_eq!(cluster.policy("old").await.unwrap()["metadata"]["uid"], policy["metadata"]["uid"]);

    // The way back that the documentation tells: the older chart, without its definition.
    let back = ["--set", "crds.enabled=false"];
    cluster.upgrade("dlq-operator", "dlq-system", &chart(), &back).await;
    assert_eq!(cluster.policy("new").await.unwrap()["spec"]["note"], "new");
}

#[tokio::test]
async fn what_is_uninstalled_leaves_the_policies_unless_they_are_to_go() {
    let cluster = Cluster::start().await;
    cluster.install("dlq-operator", "dlq-system", json!({})).await;
    let policy = cluster.apply_policy("kept", &spec()).await;
    let manifest = ["get", "manifest", "dlq-operator", "--namespace=dlq-system"];
    let objects = documents(&cluster.helm.run(&manifest).await.unwrap().ok().unwrap());

    cluster.uninstall("dlq-operator", "dlq-system").await;
    assert_eq!(cluster.missing_of(&objects).await.len(), objects.len() - definitions().len());
    assert_eq!(cluster.definitions().await, all_definitions());
    assert_eq!(cluster.policy("kept").await.unwrap()["metadata"]["uid"], policy["metadata"]["uid"]);

    // Installed again, it finds them.
    cluster.install("dlq-operator", "dlq-system", json!({ "crds": { "keep": false } })).await;
    assert_eq!(cluster.policy("kept").await.unwrap()["metadata"]["uid"], policy["metadata"]["uid"]);
    assert_eq!(cluster.missing("dlq-operator", "dlq-system").await, Vec::<String>::new());

    cluster.uninstall("dlq-operator", "dlq-system").await;
    eventually(PATIENCE, "the definitions are gone", async || cluster.definitions().await.is_empty())
        .await
        .unwrap();
}

#[tokio::test]
async fn two_releases_share_a_cluster_when_one_has_the_definitions() {
    let cluster = Cluster::start().await;
    cluster.install("dlq-operator", "one", json!({ "watchLabelSelector": "team=one" })).await;
    let second = json!({ "watchLabelSelector": "team=two" });
    let refused = cluster.try_install("dlq-operator", "two", &chart(), second).await;
    assert!(refused.stderr.contains("invalid ownership metadata"), "{}", refused.stderr);

    let second = json!({ "watchLabelSelector": "team=two", "crds": { "enabled": false } });
    let notes = cluster.install("dlq-operator", "two", second).await;
    assert!(notes.contains("crds.enabled is false"), "{notes}");
    for namespace in ["one", "two"] {
        assert_eq!(cluster.missing("dlq-operator", namespace).await, Vec::<String>::new());
    }
    cluster.uninstall("dlq-operator", "one").await;
    assert_eq!(cluster.definitions().await, all_definitions());
    assert_eq!(cluster.missing("dlq-operator", "two").await, Vec::<String>::new());

    // Names that YAML takes for something else, and one with a dot.
    cluster.kubectl(&["create", "namespace", "on"]).await;
    let values = json!({
        "crds": { "enabled": false },
        "watchNamespaces": ["no", "on"],
        "leaderElection": { "leaseNamespace": "on" },
        "serviceAccount": { "name": "null" },
        "networkPolicy": { "enabled": true },
        "grafanaDashboard": { "enabled": true },
        "podDisruptionBudget": { "enabled": true },
    });
    for release in ["2026", "1.5"] {
        cluster.install(release, "no", values.clone()).await;
        assert_eq!(cluster.missing(release, "no").await, Vec::<String>::new(), "{release}");
        cluster.uninstall(release, "no").await;
    }
}
