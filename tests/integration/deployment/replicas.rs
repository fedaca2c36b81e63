//! Two replicas, as `replicaCount: 2` makes them.

use serde_json::json;
use testbed::eventually;

use super::release::Release;
use crate::scene::{DLQ, PATIENCE};

#[tokio::test]
async fn of_two_replicas_one_leads_and_its_deletion_hands_the_run_over() {
    let Some(release) = Release::beside_others("replicated").await else { return };
    let home = release.namespace.name();
    release.install(json!({ "replicaCount": 2, "config": { "checkpointInterval": "0" } })).await;
    assert_eq!(release.ready().len(), 2);
    let leader = async || {
        let holder = release.leader().await;
        release.ready().iter().any(|pod| pod.name == holder).then_some(holder)
    };
    let first = eventually(PATIENCE, "a ready pod holds the Lease", leader).await.unwrap();
    release.secret(home, "upstash").await;
    release.fill(300).await;
    let rules = json!([{ "dlq": DLQ, "fault": { "latency": { "ms": 200 } } }]);
    release.simulator.set_faults(&rules).await.unwrap();
    let mut policy = release.policy(home, "resume");
    policy["spec"]["limits"] = json!({ "pageSize": 10 });
    release.apply(&policy).await;
    let begun = |status: &serde_json::Value| status["currentRun"]["processed"].as_i64() > Some(0);
    let begun = release.when(home, "resume", "the run has begun", begun).await;
    let holder = begun["status"]["currentRun"]["holder"].as_str().unwrap();
    assert!(holder.starts_with(&format!("{first}/")), "{holder} is not {first}");
    release.kubectl(&["delete", "pod", &first]).await;
    release.simulator.clear_faults().await.unwrap();
    let run = release.ran(home, "resume", 1).await;
    assert_eq!((&run["processed"], &run["interruptions"]), (&json!(300), &json!(0)), "{run:#}");
    let second = eventually(PATIENCE, "another ready pod holds the Lease", leader).await.unwrap();
    assert_ne!(second, first);
    eventually(PATIENCE, "there are two again", async || release.ready().len() == 2).await.unwrap();
}
