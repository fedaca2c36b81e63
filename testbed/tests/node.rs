//! A node of real parts, and what it leaves behind.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use testbed::{Node, eventually, image_archives};

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

/// Settings of the whole machine that a kubelet changes, and folders that parts of a node write to.
const SETTINGS: [&str; 6] = [
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
];
const FOLDERS: [&str; 10] = [
    "/sys/class/net",
    "/etc/cni/net.d",
    "/opt/cni",
    "/opt/containerd",
    "/run/containerd",
    "/run/netns",
    "/usr/libexec/kubernetes",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/containers",
];

/// What a node could change on this machine: settings, mounts, what is in folders, cgroups, links of the network.
fn machine() -> Vec<String> {
    let read = |path: String| format!("{path}: {}", fs::read_to_string(&path).unwrap_or_default());
    let names = |path: &str| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.path().display().to_string()).collect();
        names.sort();
        names
    };
    let settings = SETTINGS.iter().map(|setting| read(format!("/proc/sys/{setting}")));
    let state = [read("/proc/self/mounts".to_owned())];
    let cgroups = names("/sys/fs/cgroup")
        .into_iter()
        .flat_map(|cgroup| [vec![cgroup.clone()], names(&cgroup)].concat());
    let cgroups = cgroups.filter(|path| path.contains("testbed-node-"));
    let folders = FOLDERS.iter().flat_map(|folder| names(folder));
    settings.chain(state).chain(cgroups).chain(folders).collect()
}

/// The command lines of processes that have to do with a folder.
fn processes(folder: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(folder))
        .collect()
}

#[tokio::test]
async fn a_node_whose_testbed_is_killed_leaves_nothing() -> Result<()> {
    if !Node::is_possible()? {
        return Ok(());
    }
    // buildah has a lock file of its own.
    image_archives().await?;
    let before = machine();
    // Everything that it writes is below this folder.
    let dir = tempfile::tempdir()?;
    let folder = dir.path().display().to_string();
    let mut testbed = Command::new(std::env::current_exe()?)
        .args(["--exact", "a_node_that_waits_to_be_killed", "--nocapture"])
        .env(KILLED, "1")
        .env("TMPDIR", dir.path())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = BufReader::new(testbed.stdout.take().context("it has no stdout")?);
    let stays = output.lines().map_while(Result::ok).any(|line| line.contains("the pod stays"));
    assert!(stays, "it ended before its pod ran");
    let during = machine();
    assert!(during.iter().any(|found| found.contains("testbed-node-")), "it has cgroups: {during:#?}");
    let running = processes(&folder);
    for part in ["etcd", "kube-apiserver", "kubelet", "containerd-shim", "unshare"] {
        assert!(running.iter().any(|line| line.contains(part)), "{part}: {running:#?}");
    }
    let cgroups = |machine: &[String]| -> Vec<String> {
        machine.iter().filter(|line| line.contains("testbed-node-")).cloned().collect()
    };
    let without = |machine: Vec<String>| -> Vec<String> {
        machine.into_iter().filter(|line| !line.contains("testbed-node-")).collect()
    };
    assert_eq!(without(during.clone()), without(before.clone()), "it changes nothing else of the machine");
    testbed.kill()?;
    testbed.wait()?;
    eventually(SOON, "nothing is left", || async {
        let left = [
            processes(&folder),
            fs::read_dir(dir.path())?.flatten().map(|entry| entry.path().display().to_string()).collect(),
        ]
        .concat();
        anyhow::ensure!(left.is_empty(), "{left:#?}");
        let its = cgroups(&during);
        let left: Vec<_> = cgroups(&machine())
            .into_iter()
            .filter(|cgroup| its.contains(cgroup) && !before.contains(cgroup))
            .collect();
        anyhow::ensure!(left.is_empty(), "{left:#?}");
        Ok(())
    })
    .await?;
    assert_eq!(without(machine()), without(before));
    Ok(())
}
