//! What a policy's Kubernetes events say.

mod refused;
mod story;

use serde_json::Value;
use testbed::eventually;

use crate::scene::{PATIENCE, Scene};

/// How often a policy was told of a reason.
pub(crate) async fn told(scene: &Scene, policy: &str, reason: &str) -> i64 {
    let list = scene.kubectl(&["get", "events.events.k8s.io", "--output=json"]).await;
    let list: Value = serde_json::from_str(&list).unwrap();
    let events = list["items"].as_array().unwrap().iter();
    events
        .filter(|event| event["regarding"]["name"] == policy && event["reason"] == reason)
        .map(|event| event["series"]["count"].as_i64().unwrap_or(1))
        .sum()
}

/// Waits until a policy is told of a reason for the `times`th time.
pub(crate) async fn wait_until_told(scene: &Scene, policy: &str, reason: &str, times: i64) {
    eventually(PATIENCE, &format!("{policy} is told {reason}"), async || {
        let told = told(scene, policy, reason).await;
        if told >= times { Ok(()) } else { Err(format!("told {told} times")) }
    })
    .await
    .unwrap();
}

/// A policy's events as the API server has them, in the order they were first told.
async fn events(scene: &Scene, policy: &str) -> Vec<Value> {
    let list = scene.kubectl(&["get", "events.events.k8s.io", "--output=json"]).await;
    let mut list: Value = serde_json::from_str(&list).unwrap();
    let items = list["items"].as_array_mut().unwrap().drain(..);
    let mut events: Vec<_> = items.filter(|event| event["regarding"]["name"] == policy).collect();
    events.sort_by_key(|event| event["eventTime"].as_str().map(str::to_owned));
    events
}

async fn reasons(scene: &Scene, policy: &str) -> Vec<String> {
    let events = events(scene, policy).await;
    events.iter().filter_map(|event| event["reason"].as_str().map(str::to_owned)).collect()
}
