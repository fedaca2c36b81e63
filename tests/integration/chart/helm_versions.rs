//! The oldest Helm that the documentation promises, beside the one that all other tests run.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use testbed::{ControlPlane, Helm, workspace_root};

use super::{chart, documents, everything, rendered, with_plain_numbers};
use crate::generated_files::definitions;

/// Such an old Helm knows of itself only a Kubernetes that is too old for the chart; a cluster tells it the real one.
const KUBE_VERSION: &str = "--kube-version=1.31.0";

async fn template(helm: &Helm, values: &Value) -> Result<Vec<Value>, String> {
    let chart = chart();
    let args = [
        "template",
        "dlq-operator",
        chart.to_str().unwrap(),
        "--namespace",
        super::NAMESPACE,
        KUBE_VERSION,
        "--values",
        "-",
    ];
    let output = helm.run_with_input(&args, &values.to_string()).await.unwrap();
    if output.status.success() { Ok(documents(&output.stdout)) } else { Err(output.stderr) }
}

#[tokio::test]
async fn the_oldest_helm_renders_the_same_and_refuses_the_same() {
    let helm = Helm::oldest(Path::new("/dev/null")).await.unwrap();
    let chart = chart();
    for values in [json!({}), everything()] {
        let args = ["lint", "--strict", chart.to_str().unwrap(), KUBE_VERSION, "--values", "-"];
        helm.run_with_input(&args, &values.to_string()).await.unwrap().ok().unwrap();
        let (old, new) = (template(&helm, &values).await.unwrap(), rendered(&values).await.unwrap());
        assert_eq!(with_plain_numbers(&json!(old)), with_plain_numbers(&json!(new)));
    }
    for (values, told) in [
        (json!({ "tpyo": 1 }), "Additional property tpyo is not allowed"),
        (json!({ "podDisruptionBudget": { "maxUnavailable": 0 } }), "podDisruptionBudget.maxUnavailable"),
        (json!({ "leaderElection": { "enabled": false } }), "leaderElection.enabled cannot be false"),
    ] {
        let refusal = template(&helm, &values).await.map(drop).expect_err(&values.to_string());
        assert!(refusal.contains(told), "{refusal}");
    }
}

#[tokio::test]
async fn the_oldest_helm_installs_upgrades_and_uninstalls_the_chart() {
    let control_plane = ControlPlane::start().await.unwrap();
    let helm = Helm::oldest(control_plane.kubeconfig()).await.unwrap();
    let (chart, values) = (chart(), json!({ "config": { "retryLimit": 5 } }).to_string());
    let release = ["dlq-operator", chart.to_str().unwrap(), "--namespace=dlq-system"];
    let install = [&["install"], &release[..], &["--create-namespace", "--values", "-"]].concat();
    helm.run_with_input(&install, &values).await.unwrap().ok().unwrap();
    // As docs/install.md tells.
    let upgrade =
        [&["upgrade"], &release[..], &["--reset-then-reuse-values", "--set=pauseAll=true"]].concat();
    helm.run(&upgrade).await.unwrap().ok().unwrap();
    let args = "--output=jsonpath={.spec.template.spec.containers[0].args}";
    let get = ["get", "deployment", "dlq-operator", "--namespace=dlq-system", args];
    let args = control_plane.kubectl(&get).await.unwrap().ok().unwrap();
    assert!(args.contains("--retry-limit=5") && args.contains("--pause-all"), "{args}");
    helm.run(&["uninstall", "dlq-operator", "--namespace=dlq-system"]).await.unwrap().ok().unwrap();
    for (plural, _) in definitions() {
        let crd = ["get", "crd", &format!("{plural}.dlq-operator.dev"), "--output=name"];
        control_plane.kubectl(&crd).await.unwrap().ok().unwrap();
    }
}

#[test]
fn the_pages_promise_the_helm_that_is_tested() {
    let read = |path: &str| fs::read_to_string(workspace_root().join(path)).unwrap();
    let pinned = read("hack/helm/oldest/go.mod");
    let version = pinned.lines().find_map(|line| line.split_once("helm.sh/helm/v3 v")).unwrap().1;
    let (minor, _patch) = version.split_whitespace().next().unwrap().rsplit_once('.').unwrap();
    for page in ["docs/install.md", "charts/dlq-operator/README.md"] {
        assert!(
            read(page).contains(&format!("Helm {minor} or later, or 4")),
            "{page} does not promise {minor}"
        );
    }
}
