//! When conditions change: with their value, and only then.

use std::pin::pin;

use dlq_crd::DlqPolicy;
use futures::TryStreamExt as _;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::{Value, json};

use crate::cluster::client;
use crate::scene::{PATIENCE, Scene, condition};

const RUNS: i64 = 100;
/// These fail.
const FAIL: std::ops::RangeInclusive<i64> = 31..=40;

/// The values that a condition had, one after the other, each with the time it says that it has had it since.
fn episodes(statuses: &[Value], kind: &str) -> Vec<(Value, Value)> {
    let mut episodes: Vec<(Value, Value)> = Vec::new();
    for found in statuses.iter().map(|status| condition(status, kind)).filter(|found| !found.is_null()) {
        let (value, since) = (found["status"].clone(), found["lastTransitionTime"].clone());
        match episodes.last() {
            Some((last, known)) if *last == value => {
                assert_eq!(since, *known, "{kind}: the time moved, and the value did not");
            }
            _ => episodes.push((value, since)),
        }
    }
    episodes
}

#[tokio::test]
async fn a_hundred_runs_that_come_and_fail_and_go_leave_ready_as_it_was() {
    let scene = Scene::start("flapping").await;
    scene
        .apply("asked", json!({ "action": "resume", "filters": { "all": true }, "schedule": "0 0 1 1 *" }))
        .await;
    let client = client(scene.control_plane.kubeconfig()).await;
    let resource = ApiResource::erase::<DlqPolicy>(&());
    let policies = Api::<DynamicObject>::namespaced_with(client, scene.namespace.name(), &resource);
    let mut watched = pin!(watcher(policies.clone(), watcher::Config::default()).applied_objects());
    let mut statuses: Vec<Value> = Vec::new();
    for run in 0..=RUNS {
        if run == *FAIL.start() {
            scene.simulator.set_faults(&json!([{ "fault": { "status": { "code": 422 } } }])).await.unwrap();
        } else if run == FAIL.end() + 1 {
            scene.simulator.clear_faults().await.unwrap();
        }
        if run > 0 {
            let asked =
                json!({ "metadata": { "annotations": { "dlq-operator.dev/requestedAt": run.to_string() } } });
            policies.patch("asked", &PatchParams::default(), &Patch::Merge(asked)).await.unwrap();
        }
        tokio::time::timeout(PATIENCE, async {
            while let Some(policy) = watched.try_next().await.unwrap() {
                let status = policy.data["status"].clone();
                let is_done = status["totals"]["runs"] == run && status["currentRun"].is_null();
                statuses.push(status);
                if is_done {
                    break;
                }
            }
        })
        .await
        .unwrap_or_else(|_| panic!("run {run}: {:#}", statuses.last().unwrap()));
    }

    let values = |kind| episodes(&statuses, kind).into_iter().map(|(value, _)| value).collect::<Vec<_>>();
    assert_eq!(values("Ready"), ["True"], "it says whether the policy can run, not how runs go");
    assert_eq!(values("LastRunSucceeded"), ["Unknown", "True", "False", "True"]);
    let running = values("Running");
    assert!(running.len() > 100, "the watch saw runs come and go: {}", running.len());
    for kind in ["Reconciling", "Stalled"] {
        assert_eq!(values(kind), Vec::<Value>::new(), "{kind}");
    }
    for status in &statuses {
        for condition in status["conditions"].as_array().into_iter().flatten() {
            assert_eq!(condition["observedGeneration"], 1, "{condition}");
        }
    }
}
