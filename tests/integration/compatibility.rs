//! The minors of Kubernetes that are pinned: which one runs, and what `docs/compatibility.md` says of them.

use std::fs;
use std::path::Path;

use serde_json::Value;
use testbed::workspace_root;

use crate::cluster::control_plane;

/// Minor and version of `k8s.io/kubernetes` that a Go module pins.
fn pinned(module: &Path) -> (String, String) {
    let text = fs::read_to_string(module.join("go.mod")).unwrap();
    let line = text.lines().find(|line| line.trim_start().starts_with("k8s.io/kubernetes v"));
    let line = line.or_else(|| text.lines().find(|line| line.starts_with("require k8s.io/kubernetes v")));
    let version = line.unwrap().split_whitespace().find(|word| word.starts_with("v1.")).unwrap();
    let (minor, _patch) = version.trim_start_matches('v').rsplit_once('.').unwrap();
    (minor.to_owned(), version.to_owned())
}

fn all_pinned() -> Vec<(String, String)> {
    let tools = workspace_root().join("hack/tools");
    let older = fs::read_dir(tools.join("compat")).unwrap().map(|entry| entry.unwrap().path());
    older.filter(|path| path.is_dir()).chain([tools.clone()]).map(|module| pinned(&module)).collect()
}

#[test]
fn the_table_of_compatibility_has_a_row_for_each_minor_that_is_pinned_and_no_other() {
    let page = fs::read_to_string(workspace_root().join("docs/compatibility.md")).unwrap();
    let all = all_pinned();
    assert!(all.len() > 2, "{all:?}");
    for (minor, version) in &all {
        let row = format!("| {minor} | {version} | ");
        assert!(page.contains(&row), "docs/compatibility.md has no row that begins with {row}");
    }
    let rows = page.lines().filter(|line| line.starts_with("| 1.") && line.contains("| v1.")).count();
    assert_eq!(rows, all.len());
}

#[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[tokio::test]
async fn the_control_plane_is_of_the_version_that_is_pinned_for_the_minor_asked_for() {
    let usual = || pinned(&workspace_root().join("hack/tools")).0;
    let minor = variable("KUBERNETES_MINOR").unwrap_or_else(usual);
    let said = control_plane().await.kubectl(&["version", "--output=json"]).await.unwrap().ok().unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    let (_, version) = all_pinned().into_iter().find(|(pinned, _)| *pinned == minor).unwrap();
    for part in ["clientVersion", "serverVersion"] {
        assert_eq!(
            said[part]["gitVersion"], version,
            "{part}; KUBEBUILDER_ASSETS and USE_EXISTING_CLUSTER may bring another version: {said:#}"
        );
    }
}
