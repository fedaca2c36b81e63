//! `docs/regions.md`: an account in two regions, with the policies that the page shows.

use std::fs;

use serde_json::{Value, json};
use testbed::{Entry, Simulator, workspace_root};

use crate::scene::{DLQ, Scene, TOKEN};

const NEW_TOKEN: &str = "new-region-token-51c2";

/// The page's policies: that of the new region, and that of the old one.
fn policies() -> [Value; 2] {
    let page = fs::read_to_string(workspace_root().join("docs/regions.md")).unwrap();
    let blocks = page.split("\n```yaml\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let found: Vec<Value> = blocks.map(|block| serde_saphyr::from_str(block).unwrap()).collect();
    found.try_into().unwrap()
}

#[tokio::test]
async fn an_account_that_moved_is_drained_in_both_regions_each_with_its_own_token() {
    let (old, new) = (Simulator::start().await.unwrap(), Simulator::start().await.unwrap());
    let allowed = format!("--allowed-url={}", old.api_url());
    // Each region refuses the token of the other.
    new.allow(NEW_TOKEN, DLQ).await.unwrap();
    let scene = Scene::start_behind("regions", old, new.api_url().to_owned(), &[&allowed]).await;
    let regions = [(&new, NEW_TOKEN, 2), (&scene.simulator, TOKEN, 3)];
    for (policy, (region, token, entries)) in policies().into_iter().zip(regions) {
        region.generate(DLQ, entries, &Entry::default()).await.unwrap();
        let mut spec = policy["spec"].clone();
        let secret = &spec["connection"]["tokenSecretRef"];
        scene.apply_secret(secret["name"].as_str().unwrap(), secret["key"].as_str().unwrap(), token).await;
        spec["connection"]["url"] = json!(region.api_url());
        let now = json!({ "dlq-operator.dev/requestedAt": "now" });
        scene.apply_annotated(policy["metadata"]["name"].as_str().unwrap(), spec, now).await;
    }
    for (policy, (region, _, entries)) in policies().into_iter().zip(regions) {
        let run = scene.ran(policy["metadata"]["name"].as_str().unwrap(), 1).await["lastRun"].take();
        assert_eq!((&run["result"], &run["processed"]), (&json!("Succeeded"), &json!(entries)), "{run:#}");
        assert_eq!(region.entries(DLQ).await.unwrap()["entries"], json!([]));
    }
    // As the page says of a region that is empty.
    scene.annotate("resume-eu", &[("requestedAt", "again")]).await;
    let run = scene.ran("resume-eu", 2).await["lastRun"].take();
    assert_eq!((&run["result"], &run["processed"]), (&json!("Succeeded"), &json!(0)), "{run:#}");
}
