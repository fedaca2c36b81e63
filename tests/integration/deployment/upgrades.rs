//! Upgrades in the middle of a run.

use std::path::PathBuf;

use serde_json::json;
use testbed::ScratchDir;

use super::release::Release;
use crate::chart::chart;

const ENTRIES: usize = 300;

/// The chart as an earlier version. Nothing is released yet, so it differs in its version alone, and its pods in an annotation.
async fn earlier(release: &Release, dir: &ScratchDir) -> PathBuf {
    let (chart, folder) = (chart(), dir.path().to_str().unwrap());
    let args = ["package", chart.to_str().unwrap(), "--version=0.0.9", "--destination", folder];
    release.helm.run(&args).await.unwrap().ok().unwrap();
    dir.path().join("dlq-operator-0.0.9.tgz")
}

#[tokio::test]
async fn an_upgrade_from_the_earlier_chart_in_the_middle_of_a_run_hands_the_run_over() {
    let Some(release) = Release::beside_others("upgraded").await else { return };
    let dir = ScratchDir::create("charts").unwrap();
    let values = |version: &str| json!({ "config": { "checkpointInterval": "0" }, "podAnnotations": { "example.com/chart": version } });
    release.install_chart(&earlier(&release, &dir).await, values("0.0.9")).await;
    let first = release.leader().await;
    release.begins("resume", ENTRIES).await;
    let version = env!("CARGO_PKG_VERSION");
    release.upgrade(values(version)).await;
    let pods = release.ready().await;
    assert!(pods.iter().all(|pod| pod.name() != first), "helm has waited for the new pod: {pods:?}");
    let label = "--output=jsonpath={.items[*].metadata.labels.helm\\.sh/chart}";
    let chart = release
        .kubectl(&["get", "deployments", "--selector=app.kubernetes.io/name=dlq-operator", label])
        .await;
    assert_eq!(chart, format!("dlq-operator-{version}"));
    release.continues_without("resume", &first).await;
    let run = release.ends("resume", ENTRIES).await;
    assert_eq!((&run["processed"], &run["interruptions"]), (&json!(ENTRIES), &json!(0)), "{run:#}");
}

#[tokio::test]
async fn an_upgrade_to_an_image_that_is_not_there_fails_and_leaves_the_old_pod_at_work() {
    let Some(release) = Release::beside_others("stuck").await else { return };
    release.install(json!({})).await;
    let before = release.leader().await;
    let values = json!({ "image": { "tag": "none", "pullPolicy": "Never" } });
    let failed = release.helm_with(&["upgrade", "--wait", "--timeout=5s"], &chart(), &values).await;
    assert!(!failed.status.success(), "{}", failed.stdout);
    assert_eq!(release.leader().await, before);
    release.drains(release.namespace.name(), "resume", 3).await;
}
