//! What a policy's Kubernetes events say.

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
