//! The Lease of a release, and how it gets another name: as `docs/install.md` tells, with no pod in between.

use serde_json::{Value, json};
use testbed::eventually;

use super::release::{NAME, Release};
use crate::scene::PATIENCE;

#[tokio::test]
async fn a_lease_is_renamed_while_no_pod_runs() {
    let Some(release) = Release::beside_others("renamed").await else { return };
    let home = release.namespace.name();
    let other = release.control_plane.namespace("leases").await.unwrap();
    let holder = async |namespace: &str, lease: &str| {
        let holder = "--output=jsonpath={.spec.holderIdentity}";
        release.kubectl_in(namespace, &["get", "lease", lease, "--ignore-not-found", holder]).await
    };
    let leads = async |namespace: &str, lease: &str| {
        eventually(PATIENCE, &format!("a ready pod holds {lease}"), async || {
            let holder = holder(namespace, lease).await;
            let pods = release.ready().await;
            let leader = pods.iter().find(|pod| holder.starts_with(&format!("{}/", pod.name())));
            leader.map(|pod| pod.name().to_owned()).ok_or(holder)
        })
        .await
        .unwrap()
    };
    release.install(json!({})).await;
    leads(home, NAME).await;
    release.drains(home, "before", 3).await;

    let (mut namespace, mut lease) = (home, NAME);
    let mut values = json!({});
    for (index, (change, next_namespace, next_lease)) in [
        (json!({ "leaderElection": { "leaseName": "second" } }), home, "second"),
        (
            json!({ "leaderElection": { "leaseName": "second", "leaseNamespace": other.name() } }),
            other.name(),
            "second",
        ),
        (json!({ "fullnameOverride": "third" }), home, "third"),
    ]
    .into_iter()
    .enumerate()
    {
        values["replicaCount"] = json!(0);
        release.upgrade(values).await;
        let selector =
            "--selector=app.kubernetes.io/name=dlq-operator,app.kubernetes.io/instance=dlq-operator";
        release.kubectl(&["wait", "pods", "--for=delete", "--timeout=60s", selector]).await;
        assert_eq!(holder(namespace, lease).await, "", "the last leader has released {lease}");
        values = change;
        release.upgrade(values.clone()).await;
        leads(next_namespace, next_lease).await;
        (namespace, lease) = (next_namespace, next_lease);
        release.drains(home, &format!("after-{index}"), 2).await;
    }
    let events = release.kubectl(&["get", "dlqpolicies", "--output=json"]).await;
    let policies: Value = serde_json::from_str(&events).unwrap();
    for policy in policies["items"].as_array().unwrap() {
        assert_eq!(policy["status"]["totals"]["runs"], 1, "{policy:#}");
    }
}
