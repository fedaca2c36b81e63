//! Pods that are deleted or evicted in the middle of a run. Each entry is still acted on only once.

use serde_json::json;
use testbed::eventually;

use super::release::Release;
use crate::scene::PATIENCE;

const ENTRIES: usize = 300;

#[tokio::test]
async fn of_two_replicas_one_leads_and_its_deletion_hands_the_run_over() {
    let Some(release) = Release::beside_others("replicated").await else { return };
    release.install(json!({ "replicaCount": 2, "config": { "checkpointInterval": "0" } })).await;
    assert_eq!(release.ready().await.len(), 2);
    let first = release.leader().await;
    let begun = release.begins("resume", ENTRIES).await;
    let holder = begun["currentRun"]["holder"].as_str().unwrap();
    assert!(holder.starts_with(&format!("{first}/")), "{holder} is not {first}");
    release.kubectl(&["delete", "pod", &first]).await;
    release.continues_without("resume", &first).await;
    let run = release.ends("resume", ENTRIES).await;
    assert_eq!((&run["processed"], &run["interruptions"]), (&json!(ENTRIES), &json!(0)), "{run:#}");
    assert_ne!(release.leader().await, first);
    eventually(PATIENCE, "there are two again", async || release.ready().await.len() == 2).await.unwrap();
}

#[tokio::test]
async fn a_leader_that_is_deleted_by_force_is_replaced_and_its_call_is_not_made_twice() {
    let Some(release) = Release::beside_others("forced").await else { return };
    let values = json!({
        "replicaCount": 2,
        "config": { "checkpointInterval": "0" },
        "leaderElection": { "leaseDuration": "3s" },
    });
    release.install(values).await;
    let first = release.leader().await;
    release.begins("resume", ENTRIES).await;
    release.kubectl(&["delete", "pod", &first, "--force", "--grace-period=0"]).await;
    release.continues_without("resume", &first).await;
    release.ends("resume", ENTRIES).await;
    assert_ne!(release.leader().await, first);
}

#[tokio::test]
async fn an_evicted_leader_hands_the_run_over_where_the_disruption_budget_lets_it_go() {
    let Some(release) = Release::beside_others("evicted").await else { return };
    let values = json!({
        "replicaCount": 2,
        "podDisruptionBudget": { "enabled": true, "minAvailable": 1 },
        "config": { "checkpointInterval": "0" },
    });
    release.install(values).await;
    let first = release.leader().await;
    release.begins("resume", ENTRIES).await;
    eventually(PATIENCE, "one may go", async || {
        let allowed = "--output=jsonpath={.items[*].status.disruptionsAllowed}";
        release.kubectl(&["get", "poddisruptionbudgets", allowed]).await == "1"
    })
    .await
    .unwrap();
    release.evict(&first).await.unwrap();
    let other = release.ready().await.into_iter().find(|pod| pod.name() != first).unwrap();
    let refused = release.evict(other.name()).await.unwrap_err();
    assert!(refused.contains("disruption budget"), "{refused}");
    release.continues_without("resume", &first).await;
    let run = release.ends("resume", ENTRIES).await;
    assert_eq!(run["interruptions"], 0, "it was asked to end: {run:#}");
}
