//! The commands of the runbooks, typed as they stand there.

use std::collections::BTreeSet;
use std::fs;

use serde_json::json;
use testbed::{Entry, workspace_root};
use tokio::process::Command;

use crate::scene::{DLQ, Scene};

/// The commands about policies in a page's `sh` blocks. A filter behind them is the reader's own business: `jq` need not be here.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks
        .flat_map(str::lines)
        .map(str::trim)
        .filter(|line| line.starts_with("kubectl ") && (line.contains("dlqp") || line.contains("dlqpolicy/")))
        .filter(|line| !line.ends_with(" -w"))
        .map(|line| line.split(" | ").next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn the_commands_of_the_runbooks_work() {
    let scene = Scene::start("runbooks").await;
    scene.simulator.generate(DLQ, 3, &Entry::default()).await.unwrap();
    scene.apply("typed", json!({ "action": "resume", "filters": { "all": true } })).await;
    scene.ran("typed", 1).await;
    let kubectl = scene.control_plane.kubectl_binary().parent().unwrap();
    let mut typed = 0;
    for entry in fs::read_dir(workspace_root().join("docs/runbooks")).unwrap() {
        let page = entry.unwrap().path();
        for command in commands(&fs::read_to_string(&page).unwrap()) {
            let output = Command::new("bash")
                .args(["-euo", "pipefail", "-c"])
                .arg(format!("PATH=\"{}:$PATH\"; {command}", kubectl.display()))
                .env("KUBECONFIG", scene.control_plane.kubeconfig())
                .env("NS", scene.namespace.name())
                .env("POLICY", "typed")
                .env("ID", "0123456789abcdef")
                .output()
                .await
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{}: {command}\n{said}", page.display());
            assert!(!output.stdout.is_empty(), "{}: {command} says nothing; {said}", page.display());
            typed += 1;
        }
    }
    assert!(typed > 20, "only {typed} commands were found");
    // One of them asked for a run by hand.
    scene.ran("typed", 2).await;
}

/// The words after each of these flags, in the blocks of a page.
fn values<'a>(page: &'a str, flag: &str) -> BTreeSet<&'a str> {
    let words: Vec<_> = page.split_whitespace().collect();
    words.windows(2).filter(|pair| pair[0] == flag).map(|pair| pair[1].trim_matches('`')).collect()
}

#[test]
fn the_runbooks_look_for_the_operator_where_the_guide_installs_it() {
    let read = |path: &str| fs::read_to_string(workspace_root().join("docs").join(path)).unwrap();
    let guide = read("install.md");
    let installed = values(&guide, "--namespace");
    assert_eq!(installed.len(), 1, "{installed:?}");
    let namespace = installed.first().unwrap();
    let runbooks = read("runbooks/README.md");
    let told = runbooks.lines().find_map(|line| line.strip_prefix("OPERATOR_NS=")).unwrap();
    assert_eq!(told.split(' ').next(), Some(*namespace));
    let monitoring = read("monitoring/README.md");
    assert!(monitoring.contains(&format!("namespaces: {{ names: [{namespace}] }}")));
}
