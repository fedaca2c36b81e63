//! What the kubelet does with the operator's container.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{Node, Signal, eventually, send_signal};
use tokio::process::{Child, Command};

use super::pods::Pod;
use super::release::{NAME, Release};
use crate::scene::PATIENCE;

const ENTRIES: usize = 200;

/// Waits until the container of the only pod has been started again, and gives the pod.
async fn restarted(release: &Release) -> Pod {
    eventually(PATIENCE, "the container was started again", async || {
        let pod = release.pods().await.into_iter().next().ok_or("no pod")?;
        if pod.restarts() > 0 && pod.is_ready() { Ok(pod) } else { Err("not yet") }
    })
    .await
    .unwrap()
}

/// Fills the memory of a container beyond its limit. What fills it is not marked as a pod's process, as the container's own is by the
/// kubelet, so the kernel kills that one first.
fn exhaust_memory(node: &Node, pod: &Pod) -> Child {
    let cgroup = node.memory_cgroup(pod.container_id()).unwrap();
    let script =
        "echo $$ >\"$0/cgroup.procs\" && exec awk 'BEGIN { text = \"x\"; while (1) text = text text }'";
    let mut fill = Command::new("/bin/sh");
    fill.args(["-c", script]).arg(cgroup).kill_on_drop(true).spawn().unwrap()
}

#[tokio::test]
async fn a_container_that_runs_out_of_memory_is_started_again_and_continues_its_run() {
    let Some(release) = Release::beside_others("exhausted").await else { return };
    if !release.node.is_own() {
        return;
    }
    let values = json!({
        "config": { "checkpointInterval": "0" }, "leaderElection": { "leaseDuration": "3s" },
    });
    release.install(values).await;
    release.begins("resume", ENTRIES).await;
    let _filling = exhaust_memory(release.node, &release.pods().await[0]);
    let pod = restarted(&release).await;
    assert_eq!(pod.last_end()["reason"], "OOMKilled", "{:#}", pod.last_end());
    let limit = &pod.0["spec"]["containers"][0]["resources"]["limits"]["memory"];
    assert_eq!(*limit, "256Mi", "the chart's own");
    release.ends("resume", ENTRIES).await;
}

#[tokio::test]
async fn a_process_that_no_longer_answers_is_started_again_and_continues_its_run() {
    let Some(release) = Release::beside_others("frozen").await else { return };
    if !release.node.is_own() {
        return;
    }
    let probe = json!({ "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 2, "terminationGracePeriodSeconds": 1 });
    let values = json!({
        "livenessProbe": probe,
        "config": { "checkpointInterval": "0" },
        "leaderElection": { "leaseDuration": "3s" },
    });
    release.install(values).await;
    release.begins("resume", ENTRIES).await;
    send_signal(release.pods().await[0].process(release.node), Signal::STOP).unwrap();
    let pod = restarted(&release).await;
    assert_eq!(pod.last_end()["exitCode"], 137, "{:#}", pod.last_end());
    release.ends("resume", ENTRIES).await;
}

#[tokio::test]
async fn a_pod_that_is_deleted_hands_its_run_back_well_within_its_grace() {
    let Some(release) = Release::beside_others("ended").await else { return };
    release.install(json!({ "config": { "checkpointInterval": "0" } })).await;
    release.begins("resume", ENTRIES).await;
    let pod = release.leader().await;
    let since = Instant::now();
    // It waits until the pod is gone.
    release.kubectl(&["delete", "pod", &pod]).await;
    // After 30 s the kubelet would have killed it.
    assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
    release.continues_without("resume", &pod).await;
    let run = release.ends("resume", ENTRIES).await;
    assert_eq!(run["interruptions"], 0, "{run:#}");
}

#[tokio::test]
async fn a_pod_waits_for_the_secret_of_the_releases_connection_and_uses_it_then() {
    let Some(release) = Release::beside_others("connected").await else { return };
    let home = release.namespace.name();
    let connection = json!({ "url": release.simulator.api_url(), "existingSecret": "account" });
    for object in release.rendered(json!({ "defaultConnection": connection })).await {
        if object["kind"] != "Pod" {
            release.apply(&object).await;
        }
    }
    eventually(PATIENCE, "the pod says what it waits for", async || {
        let pods = release.pods().await;
        let waiting = pods
            .first()
            .map_or(&Value::Null, |pod| &pod.0["status"]["containerStatuses"][0]["state"]["waiting"]);
        let message = waiting["message"].as_str().unwrap_or_default();
        if message.contains("secret \"account\" not found") { Ok(()) } else { Err(waiting.to_string()) }
    })
    .await
    .unwrap();
    release.secret(home, "account").await;
    release.kubectl(&["rollout", "status", "deployment", NAME, "--timeout=60s"]).await;
    release.fill(3).await;
    let mut policy = release.policy(home, "default");
    policy["spec"].as_object_mut().unwrap().remove("connection");
    release.apply(&policy).await;
    assert_eq!(release.ran(home, "default", 1).await["processed"], 3);
    if let Some(calls) = release.control_plane.audited(home, NAME).unwrap() {
        let read = calls.iter().find(|call| call.resource == "secrets");
        assert_eq!(read, None, "the kubelet has given it the token");
    }
}
