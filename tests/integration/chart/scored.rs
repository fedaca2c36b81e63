//! What `make check` asks kube-score: that the script finds what is wrong, and exceptions that nothing needs.

use std::fs;
use std::path::Path;

use testbed::{ScratchDir, workspace_root};
use tokio::process::Command;

use super::chart;

/// What the script says to this chart with these exceptions; nothing if all is well.
async fn complaints(chart: &Path, exceptions: &Path) -> String {
    let script = workspace_root().join("hack/kube-score/check");
    let output = Command::new(script).args([chart, exceptions]).output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    said
}

fn exceptions() -> String {
    fs::read_to_string(workspace_root().join("hack/kube-score/exceptions")).unwrap()
}

#[tokio::test]
async fn a_container_without_a_memory_limit_is_found() {
    let dir = ScratchDir::create("scored").unwrap();
    let copy = dir.path().join("dlq-operator");
    let copied = Command::new("cp").arg("-r").args([&chart(), &copy]).status().await.unwrap();
    assert!(copied.success());
    let exceptions = workspace_root().join("hack/kube-score/exceptions");
    assert_eq!(complaints(&copy, &exceptions).await, "");

    let values = fs::read_to_string(copy.join("values.yaml")).unwrap();
    let loose = values.replacen("    memory: 256Mi\n", "", 1);
    assert_ne!(loose, values);
    fs::write(copy.join("values.yaml"), loose).unwrap();
    let said = complaints(&copy, &exceptions).await;
    assert!(said.contains("(operator) Memory limit is not set"), "{said}");
}

#[tokio::test]
async fn an_exception_that_nothing_needs_is_found() {
    let dir = ScratchDir::create("scored").unwrap();
    let longer = dir.path().join("exceptions");
    fs::write(&longer, exceptions() + "hardened --ignore-test=pod-networkpolicy It has one.\n").unwrap();
    let said = complaints(&chart(), &longer).await;
    assert!(said.contains("--ignore-test=pod-networkpolicy"), "{said}");
    assert!(said.contains("is not needed"), "{said}");
}

#[test]
fn every_exception_has_a_reason() {
    let exceptions = exceptions();
    let lines: Vec<_> =
        exceptions.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(!lines.is_empty());
    for line in lines {
        let mut words = line.split_whitespace();
        let (values, told) = (words.next().unwrap(), words.next().unwrap());
        let file = workspace_root().join(format!("hack/kube-score/values/{values}.yaml"));
        assert!(values == "every" || file.is_file(), "{line}");
        assert!(told.starts_with("--ignore-"), "{line}");
        assert!(words.count() > 3, "{line}: says no reason");
    }
}
