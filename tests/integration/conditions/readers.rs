//! kstatus, which Flux and Helm ask, and Argo CD's health script: run on objects as the API server has them.

use dlq_crd::annotations;
use serde_json::{Value, json};
use testbed::{Programs, ScratchDir, workspace_root};
use tokio::process::Command;

use super::states::Health;
use crate::scene::condition;

/// The words of kstatus and of Argo CD.
fn words(health: Health) -> [&'static str; 2] {
    match health {
        Health::Healthy => ["Current", "Healthy"],
        Health::NeedsAPerson => ["Current", "Degraded"],
        Health::WaitsForAPerson => ["Current", "Suspended"],
        Health::InProgress => ["InProgress", "Progressing"],
        Health::Failed => ["Failed", "Degraded"],
    }
}

/// Both read these objects, each by its state's name, as a person would. After an edit that the operator has not seen yet
/// each is in progress, whatever it was.
pub(crate) async fn assert_read(objects: &[(&str, &Value, Health)]) {
    if !Programs::GO.are_installed().unwrap() {
        return;
    }
    let dir = ScratchDir::create("readers").unwrap();
    for (name, object, _) in objects {
        std::fs::write(dir.path().join(format!("{name}.json")), object.to_string()).unwrap();
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
    let mut expected: Vec<_> = objects
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
    for (read, expected) in read.iter_mut().zip(&expected) {
        let actions = read.as_object_mut().unwrap().remove("actions").unwrap();
        assert_eq!(read, expected);
        let (name, object, _) = objects.iter().find(|(name, ..)| read["state"] == *name).unwrap();
        if object["kind"] == "DlqPolicy" {
            assert_make_sense(name, object, &actions);
        } else {
            assert_eq!(actions, Value::Null, "{name}: there is nothing to do with a connection");
        }
    }
}

/// Argo CD offers the actions that can do something, and each changes annotations alone.
fn assert_make_sense(name: &str, policy: &Value, actions: &Value) {
    const OF_ANNOTATIONS: &str = "/metadata/annotations/";
    let is_paused = policy["metadata"]["annotations"][annotations::PAUSED].is_string();
    let is_running = condition(&policy["status"], "Running")["status"] == "True";
    let is_held = is_paused || policy["spec"]["suspend"] == true;
    // What each is to set, and when it is to be offered.
    let table = [
        ("cancel", annotations::CANCEL_AT, is_running),
        ("approve", annotations::APPROVED_RUN, policy["status"]["phase"] == "AwaitingApproval"),
        ("reset", annotations::RESET_AT, policy["status"]["phase"] == "CircuitOpen"),
        ("run", annotations::REQUESTED_AT, !is_held && !is_running),
        ("pause", annotations::PAUSED, !is_paused),
        ("unpause", annotations::PAUSED, is_paused),
    ];
    for (action, key, is_offered) in table {
        let Some(changes) = actions[action].as_object() else {
            assert!(!is_offered, "{name}: {action} is not offered");
            continue;
        };
        assert!(is_offered, "{name}: {action} is offered");
        for path in changes.keys() {
            let key =
                path.strip_prefix(OF_ANNOTATIONS).unwrap_or_else(|| panic!("{name}: {action} sets {path}"));
            assert!(annotations::ALL.contains(&key), "{name}: {action} sets {path}");
        }
        let value = changes[&format!("{OF_ANNOTATIONS}{key}")].as_str().unwrap();
        assert_eq!(action == "unpause", value == "false", "{name}: {action} sets {value}");
    }
    assert!(
        actions.as_object().unwrap().keys().all(|action| table.iter().any(|(known, ..)| action == known))
    );
}
