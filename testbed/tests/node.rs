//! A node of real parts, and what it leaves behind.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use testbed::{Node, eventually};

/// What says that this process is the one that is killed.
const KILLED: &str = "TESTBED_TEST_IS_KILLED";
const SOON: Duration = Duration::from_secs(60);

/// A pod of busybox under a name, with what it does.
fn pod(name: &str, script: &str) -> String {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": {
            "restartPolicy": "Never",
            "containers": [{
                "name": "main",
                "image": "docker.io/library/busybox:1.37.0",
                "imagePullPolicy": "Never",
                "command": ["sh", "-c", script],
            }],
        },
    });
    pod.to_string()
}

async fn log(node: &Node, name: &str) -> Result<String> {
    let control_plane = node.control_plane();
    let phase = ["get", "pod", name, "--output=jsonpath={.status.phase}"];
    eventually(SOON, &format!("{name} has succeeded"), async || {
        let phase = control_plane.kubectl(&phase).await?.ok()?;
        anyhow::ensure!(phase == "Succeeded", "{phase}");
        Ok(())
    })
    .await?;
    control_plane.kubectl(&["logs", name]).await?.ok()
}

/// Not a test by itself: what [`a_node_whose_testbed_is_killed_leaves_nothing`] starts and kills.
#[expect(clippy::print_stdout, reason = "this is how the other test learns of it")]
#[tokio::test]
async fn a_node_that_waits_to_be_killed() -> Result<()> {
    if std::env::var_os(KILLED).is_none() {
        return Ok(());
    }
    let node = Node::start().await?;
    let control_plane = node.control_plane();
    // By the name and port of the API server's Service: DNS, the proxy and the pods' network work.
    let script = "sleep 0; wget -qO- http://kubernetes.default.svc:443 2>&1; true";
    control_plane.kubectl_apply(&pod("asks", script)).await?.ok()?;
    anyhow::ensure!(log(&node, "asks").await?.contains("400 Bad Request"));
    control_plane.kubectl_apply(&pod("stays", "sleep 1000")).await?.ok()?;
    let stays = ["wait", "pod", "stays", "--for=condition=Ready", "--timeout=60s"];
    control_plane.kubectl(&stays).await?.ok()?;
    println!("the pod stays");
    std::future::pending().await
}

/// What there is of nodes on this machine: processes and cgroups.
fn left() -> Vec<String> {
    let cgroups = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let folders = |dir: fs::DirEntry| {
        let inner = fs::read_dir(dir.path()).into_iter().flatten().flatten().map(|inner| inner.path());
        inner.chain([dir.path()]).collect::<Vec<_>>()
    };
    let cgroups = cgroups.flat_map(folders).map(|path| path.display().to_string());
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    let processes = processes.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    cgroups.chain(processes).filter(|found| found.contains("testbed-node-")).collect()
}

#[tokio::test]
async fn a_node_whose_testbed_is_killed_leaves_nothing() -> Result<()> {
    if !Node::is_possible()? {
        return Ok(());
    }
    let mut testbed = Command::new(std::env::current_exe()?)
        .args(["--exact", "a_node_that_waits_to_be_killed", "--nocapture"])
        .env(KILLED, "1")
        .stdout(Stdio::piped())
        .spawn()?;
    let output = BufReader::new(testbed.stdout.take().context("it has no stdout")?);
    let stays = output.lines().map_while(Result::ok).any(|line| line.contains("the pod stays"));
    assert!(stays, "it ended before its pod ran");
    let before = left();
    assert!(before.iter().any(|found| found.starts_with("/sys/fs/cgroup")), "{before:?}");
    assert!(before.iter().any(|found| found.contains("containerd-shim")), "{before:?}");
    testbed.kill()?;
    testbed.wait()?;
    eventually(SOON, "nothing is left", || async {
        let left = left();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:#?}")) }
    })
    .await
}
