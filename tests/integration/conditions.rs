//! Every state that conditions can tell of, and how deploy tools read it.

mod readers;
mod states;
mod transitions;

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use serde_json::{Value, json};
use testbed::{Entry, eventually, workspace_root};

use crate::approval::expire;
use crate::at_most_once::tempt;
use crate::cluster::control_plane;
use crate::generated_files::{assert_is_current, schema};
use crate::scene::{PATIENCE, Scene, condition};
pub(crate) use readers::assert_read;
pub(crate) use states::Health;
use states::{
    CANCELLED, EXPIRED, GUARDED, HOLDER, QUEUED, SPENT, Secret, State, UNCARRIED, UNREADABLE, states,
};

const FOLDER: &str = "tests/data/conditions";
/// One that is not in the table, as it shows no conditions.
const UNSEEN: &str = "unseen";

fn token(name: &str) -> String {
    format!("token-of-{name}")
}

/// The manifests of a state's Secret and policy.
fn manifests(namespace: &str, state: &State) -> Vec<Value> {
    let name = state.name;
    let metadata = json!({ "name": name, "namespace": namespace });
    let (key, value) = match state.secret {
        Secret::Key => ("other", token(name)),
        Secret::Invalid => ("token", "two\nlines".to_owned()),
        Secret::Unknown => ("token", "nobody-knows-this".to_owned()),
        _ => ("token", token(name)),
    };
    let secret =
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": { key: value } });
    let mut spec = state.spec.clone();
    if spec["connection"].is_null() && state.secret != Secret::Unnamed {
        spec["connection"] = json!({ "tokenSecretRef": { "name": name, "key": "token" } });
    }
    let mut policy = json!({
        "apiVersion": "dlq-operator.dev/v1alpha1", "kind": "DlqPolicy", "metadata": metadata, "spec": spec,
    });
    policy["metadata"]["annotations"] = state.annotations.clone();
    let has_secret = !matches!(state.secret, Secret::Missing | Secret::Unnamed);
    has_secret.then_some(secret).into_iter().chain([policy]).collect()
}

/// The connections that states share, each with the Secret of the state that needs one.
fn connections(namespace: &str) -> Vec<Value> {
    let connection = |name: &str, mut spec: Value| {
        spec["tokenSecretRef"] = json!({ "name": SPENT });
        json!({
            "apiVersion": "dlq-operator.dev/v1alpha1", "kind": "DlqConnection",
            "metadata": { "name": name, "namespace": namespace }, "spec": spec,
        })
    };
    vec![
        connection(SPENT, json!({ "limits": { "maxEntriesPerDay": 2 } })),
        connection(GUARDED, json!({ "allowedActions": ["restart"] })),
    ]
}

/// Brings every state about.
async fn bring_about(scene: &Scene, states: &[State]) {
    let faults = states
        .iter()
        .filter_map(|state| state.fault.as_ref().map(|fault| json!({ "dlq": state.name, "fault": fault })));
    scene.simulator.set_faults(&faults.collect()).await.unwrap();
    scene.simulator.set_service(UNCARRIED, &json!({ "labelsCarried": "never" })).await.unwrap();
    tempt(&scene.simulator, UNCARRIED).await;
    join_all(states.iter().map(async |state| {
        let (token, name) = (token(state.name), state.name);
        match state.secret {
            Secret::ReadOnly => scene.simulator.allow_read_only(&token, name).await.unwrap(),
            Secret::Unknown => {}
            _ => scene.simulator.allow(&token, name).await.unwrap(),
        }
        scene.simulator.generate(name, state.entries, &Entry::default()).await.unwrap();
    }))
    .await;
    let namespace = scene.namespace.name();
    // One before the other, on the account that has one slot.
    let queued = states.iter().find(|state| state.name == QUEUED).unwrap();
    let mut holder = manifests(namespace, queued);
    holder[1]["metadata"]["name"] = HOLDER.into();
    scene.apply_all(holder).await;
    let works = |status: &Value| status["currentRun"]["pages"].as_i64() > Some(0);
    scene.status(HOLDER, "it holds the slot", works).await;
    scene.apply_all(connections(namespace)).await;
    scene.apply_all(states.iter().flat_map(|state| manifests(namespace, state)).collect()).await;

    let goes_on = |status: &Value| status["currentRun"].is_object();
    scene.status(CANCELLED, "its run continues", goes_on).await;
    scene.annotate(CANCELLED, &[("cancelAt", "now")]).await;
    scene.condition(EXPIRED, "Running", "True", "AwaitingApproval").await;
    expire(scene, EXPIRED).await;
    scene.condition(UNREADABLE, "Ready", "True", "Scheduled").await;
    // The API server takes this time, and Rust's types do not.
    let poison = json!([{ "op": "add", "path": "/status/scheduleSince", "value": "9999-12-31T23:59:59Z" }]);
    scene.patch_status(UNREADABLE, poison).await;
    scene.annotate(UNREADABLE, &[("requestedAt", "now")]).await;
}

/// Type, status and reason of each condition.
fn conditions(status: &Value) -> Vec<[String; 3]> {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let text = |condition: &Value, key: &str| condition[key].as_str().unwrap_or_default().to_owned();
    let mut found: Vec<_> =
        conditions.map(|condition| ["type", "status", "reason"].map(|key| text(condition, key))).collect();
    found.sort_unstable();
    found
}

/// Waits until each policy has been seen in its state, and gives it as it was then.
async fn seen(scene: &Scene, states: &[State]) -> BTreeMap<&'static str, Value> {
    let mut seen = BTreeMap::new();
    eventually(PATIENCE, "every state comes about", async || {
        let list = scene.kubectl(&["get", "dlqp", "--output=json"]).await;
        let list: Value = serde_json::from_str(&list).unwrap();
        let mut wrong = String::new();
        for state in states {
            let is_its = |policy: &&Value| policy["metadata"]["name"] == state.name;
            let policy = list["items"].as_array().unwrap().iter().find(is_its).cloned().unwrap_or_default();
            let (found, expected) = (conditions(&policy["status"]), state.conditions());
            if found == expected {
                seen.entry(state.name).or_insert(policy);
            } else if !seen.contains_key(state.name) {
                wrong = format!("{wrong}{}\n  is       {found:?}\n  expected {expected:?}\n", state.name);
            }
        }
        if seen.len() == states.len() { Ok(()) } else { Err(wrong) }
    })
    .await
    .unwrap_or_else(|error| panic!("{error}\n--- the operator's log\n{}", scene.operator.log()));
    seen
}

/// What readers look at, without what differs from one time to the next.
fn recorded(policy: &Value) -> String {
    let (metadata, status) = (&policy["metadata"], &policy["status"]);
    let mut conditions = status["conditions"].clone();
    for condition in conditions.as_array_mut().into_iter().flatten() {
        condition["lastTransitionTime"] = "2026-11-20T12:00:00Z".into();
    }
    let mut object = json!({
        "apiVersion": policy["apiVersion"],
        "kind": policy["kind"],
        "metadata": { "name": metadata["name"], "namespace": "payments", "generation": metadata["generation"] },
        "spec": policy["spec"],
        "status": {
            "observedGeneration": status["observedGeneration"],
            "phase": status["phase"],
            "message": status["message"],
            "conditions": conditions,
        },
    });
    object["status"].as_object_mut().unwrap().retain(|_, field| !field.is_null());
    let namespace = metadata["namespace"].as_str().unwrap();
    let id = status["currentRun"]["approvalId"].as_str().unwrap_or(namespace);
    let text = serde_json::to_string_pretty(&object).unwrap().replace(namespace, "payments");
    text.replace(id, "0123456789abcdef")
}

/// `kubectl wait` for each of these policies to be ready; whether it was, and what it said.
async fn kubectl_wait(scene: &Scene, names: &[&str], timeout: &str) -> (bool, String) {
    let names: Vec<_> = names.iter().map(|name| format!("dlqpolicy/{name}")).collect();
    let timeout = format!("--timeout={timeout}");
    let mut args = vec!["wait", "--namespace", scene.namespace.name(), "--for=condition=Ready", &timeout];
    args.extend(names.iter().map(String::as_str));
    let output = scene.control_plane.kubectl(&args).await.unwrap();
    (output.status.success(), format!("{}{}", output.stdout, output.stderr))
}

#[tokio::test]
async fn every_state_is_read_by_deploy_tools_as_a_person_would_read_it() {
    let flags = ["--retry-limit=2", "--allowed-actions=resume", "--max-runs-per-connection=1"];
    let mut scene = Scene::start_with("conditions", &flags).await;
    let states = states();
    bring_about(&scene, &states).await;
    let seen = seen(&scene, &states).await;
    for (name, policy) in &seen {
        let conditions = policy["status"]["conditions"].as_array().unwrap();
        for condition in conditions {
            assert_eq!(
                condition["observedGeneration"], policy["metadata"]["generation"],
                "{name}: {condition}"
            );
            assert_ne!(condition["message"], "", "{name}: {condition}");
        }
    }

    let that_are = |ready: bool| -> Vec<_> {
        states.iter().filter(|state| state.ready.0 == ready).map(|state| state.name).collect()
    };
    let (able, others) = (that_are(true), that_are(false));
    let (ready, said) = kubectl_wait(&scene, &able, "10s").await;
    assert!(ready, "{said}");
    for name in others {
        let (ready, said) = kubectl_wait(&scene, &[name], "0").await;
        assert!(!ready, "{name}: {said}");
    }
    let read = states.iter().map(|state| (state.name, &seen[state.name], state.health()));
    assert_read(&read.collect::<Vec<_>>()).await;
    for (name, policy) in &seen {
        assert_is_current(&format!("{FOLDER}/{name}.json"), &recorded(policy));
    }
    let files = std::fs::read_dir(workspace_root().join(FOLDER)).unwrap();
    let files: BTreeSet<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let names = seen.keys().chain([&UNSEEN]);
    assert_eq!(files, names.map(|name| format!("{name}.json")).collect(), "one file for each state");

    // An edit that nobody has seen yet is waited for, whatever the conditions say of the spec before.
    scene.operator.kill().unwrap();
    scene.patch("idle", json!({ "historyLimit": 3 })).await;
    let (ready, said) = kubectl_wait(&scene, &["idle"], "0").await;
    assert!(!ready, "{said}");
    scene.operator.restart(None).await.unwrap();
    eventually(PATIENCE, "the edit is seen", async || {
        let (ready, said) = kubectl_wait(&scene, &["idle"], "0").await;
        if ready { Ok(()) } else { Err(said) }
    })
    .await
    .unwrap();
    let edited = scene.policy("idle").await;
    assert_eq!(condition(&edited["status"], "Ready")["observedGeneration"], 2);
}

#[tokio::test]
async fn a_policy_that_no_operator_has_seen_says_so_to_deploy_tools() {
    let control_plane = control_plane().await;
    let namespace = control_plane.namespace("unseen").await.unwrap();
    let policy = json!({
        "apiVersion": "dlq-operator.dev/v1alpha1",
        "kind": "DlqPolicy",
        "metadata": { "name": UNSEEN, "namespace": namespace.name() },
        "spec": { "action": "resume", "filters": { "all": true } },
    });
    control_plane.kubectl_apply(&policy.to_string()).await.unwrap().ok().unwrap();
    let args = ["get", "dlqpolicy", UNSEEN, "--output=json", "--namespace", namespace.name()];
    let policy = control_plane.kubectl(&args).await.unwrap().ok().unwrap();
    let policy: Value = serde_json::from_str(&policy).unwrap();
    assert_eq!(policy["status"]["observedGeneration"], -1, "{policy:#}");
    assert_read(&[(UNSEEN, &policy, Health::InProgress)]).await;
    assert_is_current(&format!("{FOLDER}/{UNSEEN}.json"), &recorded(&policy));
}

/// The texts that a field of the status may be.
fn values(field: &Value) -> BTreeSet<String> {
    let values = field["enum"].as_array().unwrap().iter().filter_map(Value::as_str);
    values.map(str::to_owned).collect()
}

#[test]
fn no_reason_is_without_a_state_that_shows_it() {
    let schema = schema();
    let mut reasons =
        values(&schema["properties"]["status"]["properties"]["lastRun"]["properties"]["reason"]);
    assert!(reasons.len() > 30, "{reasons:?}");
    assert!(reasons.remove("Connected"), "a connection's, and no policy's");
    let shown = states().iter().flat_map(State::conditions).map(|[_, _, reason]| reason.to_owned()).collect();
    assert_eq!(reasons, shown);
}
