//! What a restart asks the API server for, where many policies rest.

use std::time::Instant;

use serde_json::json;
use testbed::{CallKind, Trouble, eventually};

use super::behind_a_proxy;
use crate::metrics::scrape::Scrape;
use crate::scene::{PATIENCE, Scene};

/// How many policies a page of the operator's list has.
const PAGE: usize = 100;
const POLICIES: usize = 250;

/// Waits until each policy has had a turn since the process began.
async fn all_had_a_turn(scene: &Scene) {
    eventually(PATIENCE, "every policy has had a turn", async || {
        let turns = Scrape::of(scene.operator.admin_url()).await.count("reconcile_total", &[]);
        turns >= i64::try_from(POLICIES).ok()
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn after_a_restart_policies_that_rest_are_read_by_pages_and_one_by_one_where_that_fails() {
    let (mut scene, proxy) = behind_a_proxy("restarts", &[]).await;
    let rests = json!({ "action": "resume", "filters": { "all": true }, "schedule": "0 0 1 1 *" });
    scene.apply_crowd(POLICIES, &rests).await;
    let is_observed = |status: &serde_json::Value| status["observedGeneration"] == 1;
    eventually(PATIENCE, "all are observed", async || {
        scene.statuses().await.iter().filter(|status| is_observed(status)).count() == POLICIES
    })
    .await
    .unwrap();

    let since = Instant::now();
    scene.operator.restart(None).await.unwrap();
    all_had_a_turn(&scene).await;
    let counts = proxy.counts_since(since);
    let of = |kind| counts.get(&kind).copied().unwrap_or_default();
    assert_eq!((of(CallKind::ReadPolicy), of(CallKind::WriteStatus)), (0, 0), "{counts:?}");
    // The watch's list, and three pages.
    assert_eq!((of(CallKind::ListPolicies), of(CallKind::ContinueList)), (2, 2), "{counts:?}");

    let since = Instant::now();
    proxy.trouble(&[CallKind::ContinueList], Trouble::Gone);
    scene.operator.restart(None).await.unwrap();
    all_had_a_turn(&scene).await;
    let counts = proxy.counts_since(since);
    assert_eq!(counts.get(&CallKind::ReadPolicy), Some(&(POLICIES - PAGE)), "{counts:?}");
}
