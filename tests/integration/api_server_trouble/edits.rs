//! Other clients that write to the policy all the time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dlq_crd::DlqPolicy;
use futures::future::{join, join_all};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use testbed::{Entry, Fate, eventually};

use super::assert_as_if_nothing_had_happened;
use crate::at_most_once::{Runs, tempt};
use crate::cluster::client;
use crate::scene::{DLQ, PATIENCE, Scene};

const WRITERS: usize = 4;
/// How long they write at least.
const STORM: Duration = Duration::from_secs(10);

/// Writes to the policy `drain` until the flag is set: labels, annotations of others, and fields of the spec that are no
/// new work. How many edits there were.
async fn write_until(scene: &Scene, has_ended: &AtomicUsize) -> usize {
    let policies: Api<DlqPolicy> =
        Api::namespaced(client(scene.control_plane.kubeconfig()).await, scene.namespace.name());
    let mut edits = 0;
    while has_ended.load(Ordering::Relaxed) == 0 {
        let patch = match edits % 4 {
            0 => json!({ "metadata": { "labels": { "edit": format!("n{edits}") } } }),
            1 => json!({ "metadata": { "annotations": { "example.com/edit": format!("n{edits}") } } }),
            2 => json!({ "spec": { "historyLimit": edits % 50 } }),
            _ => json!({ "spec": { "limits": { "maxEntriesPerRun": 100_000 + edits } } }),
        };
        policies.patch("drain", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        edits += 1;
    }
    edits
}

#[tokio::test]
async fn a_storm_of_edits_keeps_no_run_from_its_start_and_no_suspend_from_its_effect() {
    let scene = Scene::start("start-in-a-storm").await;
    scene.simulator.generate(DLQ, 5000, &Entry::default()).await.unwrap();
    tempt(&scene.simulator, DLQ).await;
    scene.slow_down(300).await;
    let suspended = json!({ "action": "resume", "filters": { "all": true }, "suspend": true });
    scene.apply("drain", suspended).await;
    scene.condition("drain", "Ready", "True", "Suspended").await;
    let has_ended = AtomicUsize::new(0);
    let story = async {
        let mut runs = Runs::default();
        for round in 1..=3 {
            scene.patch("drain", json!({ "suspend": false })).await;
            if round > 1 {
                scene.annotate("drain", &[("requestedAt", &round.to_string())]).await;
            }
            // The edits continue until this block ends, so a blocked step times out.
            let start = Instant::now();
            let status = scene
                .status("drain", "pages are written", |status| {
                    status["currentRun"]["pages"].as_i64() > Some(0)
                })
                .await;
            // The storm leaves no history to look at later.
            runs.see(&status);
            let started_after = start.elapsed();
            scene.patch("drain", json!({ "suspend": true })).await;
            let start = Instant::now();
            scene.status("drain", "the run has ended", |status| status["totals"]["runs"] == round).await;
            let ended_after = start.elapsed();
            println!("started after {started_after:?}, ended after {ended_after:?}");
        }
        has_ended.store(1, Ordering::Relaxed);
        runs
    };
    let (runs, edits) = join(story, join_all((0..WRITERS).map(|_| write_until(&scene, &has_ended)))).await;
    assert!(edits.iter().sum::<usize>() > 100, "{edits:?}");
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    let acted_on = ledger.workflow_runs.len();
    assert_eq!(ledger.with_fate(Fate::Resumed).count(), acted_on, "each once");
    runs.check_all(&ledger);
}

#[tokio::test]
async fn a_run_goes_on_and_ends_exactly_in_a_storm_of_labels_and_annotations() {
    let scene = Scene::start("storm").await;
    scene.simulator.generate(DLQ, 1500, &Entry::default()).await.unwrap();
    tempt(&scene.simulator, DLQ).await;
    scene.slow_down(300).await;
    let policies: Api<DlqPolicy> =
        Api::namespaced(client(scene.control_plane.kubeconfig()).await, scene.namespace.name());
    scene.apply("drain", json!({ "action": "resume", "filters": { "all": true } })).await;
    scene
        .status("drain", "pages are written", |status| status["currentRun"]["pages"].as_i64() > Some(0))
        .await;

    let (start, edits) = (Instant::now(), AtomicUsize::new(0));
    let has_ended = AtomicUsize::new(0);
    let write = async |writer: usize| {
        while has_ended.load(Ordering::Relaxed) == 0 {
            let edit = edits.fetch_add(1, Ordering::Relaxed);
            let metadata = if edit % 2 == 0 {
                json!({ "labels": { "edit": format!("n{edit}") } })
            } else {
                json!({ "annotations": { format!("example.com/{writer}"): format!("n{edit}") } })
            };
            let patch = json!({ "metadata": metadata });
            policies.patch("drain", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        }
    };
    let run = async {
        let status = scene.ran("drain", 1).await;
        let took = start.elapsed();
        eventually(PATIENCE, "it has blown long enough", async || start.elapsed() > STORM).await.unwrap();
        has_ended.store(1, Ordering::Relaxed);
        (status, took)
    };
    let ((mut status, took), _) = join(run, join_all((0..WRITERS).map(write))).await;
    let edits = edits.load(Ordering::Relaxed);
    println!("{edits} edits; the run took {took:?}");
    assert!(edits > 100, "{edits}");
    let run = status["lastRun"].take();
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_as_if_nothing_had_happened(&run, &ledger, 1500, 30);
    assert_eq!(ledger.with_fate(Fate::InDlq).count(), 1500, "all came back, and were left alone");
}
