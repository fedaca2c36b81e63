//! kstatus, which Flux and Helm ask, and Argo CD's health script: run on policies as the API server has them.

use serde_json::{Value, json};
use testbed::{Programs, ScratchDir, workspace_root};
use tokio::process::Command;

use super::states::Health;

/// The words of kstatus and of Argo CD.
fn words(health: Health) -> [&'static str; 2] {
    match health {
        Health::Healthy => ["Current", "Healthy"],
        Health::InProgress => ["InProgress", "Progressing"],
        Health::Failed => ["Failed", "Degraded"],
    }
}

/// Both read these policies, each by its state's name, as a person would. After an edit that the operator has not seen yet
/// each is in progress, whatever it was.
pub(super) async fn assert_read(policies: &[(&str, &Value, Health)]) {
    if !Programs::GO.are_installed().unwrap() {
        return;
    }
    let dir = ScratchDir::create("readers").unwrap();
    for (name, policy, _) in policies {
        std::fs::write(dir.path().join(format!("{name}.json")), policy.to_string()).unwrap();
    }
    let output = Command::new("go")
        .args(["run", "."])
        .arg(dir.path())
        .env("GOWORK", "off")
        .current_dir(workspace_root().join("hack/kstatus"))
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut read: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let mut expected: Vec<_> = policies
        .iter()
        .map(|(name, _, health)| {
            let [kstatus, argo_cd] = words(*health);
            json!({
                "state": name,
                "kstatus": kstatus,
                "argocd": argo_cd,
                "editedKstatus": "InProgress",
                "editedArgocd": "Progressing",
            })
        })
        .collect();
    for rows in [&mut read, &mut expected] {
        rows.sort_by_key(|row| row["state"].to_string());
    }
    assert_eq!(read.len(), expected.len());
    for (read, expected) in read.iter().zip(&expected) {
        assert_eq!(read, expected);
    }
}
