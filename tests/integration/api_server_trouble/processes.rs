//! kube-apiserver and etcd, killed and frozen.

use std::time::{Duration, Instant};

use serde_json::json;
use testbed::{Entry, Part, Simulator, eventually};

use super::assert_as_if_nothing_had_happened;
use crate::cluster::own_control_plane;
use crate::scene::{DLQ, PATIENCE, Scene};

const ENTRIES: usize = 10_000;
const PAGES: usize = 200;
/// Longer than the operator waits for one answer, and than it acts without a checkpoint.
const FROST: Duration = Duration::from_secs(7);

#[tokio::test]
async fn a_run_goes_on_by_itself_when_the_api_server_or_etcd_is_killed_or_frozen() {
    let control_plane = own_control_plane().await;
    let simulator = Simulator::start().await.unwrap();
    let scene =
        Scene::start_on(control_plane, "restarts", simulator, &["--checkpoint-interval=0"], |_| {}).await;
    scene.simulator.generate(DLQ, ENTRIES, &Entry::default()).await.unwrap();
    scene.slow_down(500).await;
    scene.apply("drain", json!({ "action": "resume", "filters": { "all": true } })).await;
    let mut seen = 2;
    for (part, kill) in
        [(Part::KubeApiserver, true), (Part::Etcd, true), (Part::Etcd, false), (Part::KubeApiserver, false)]
    {
        scene
            .status("drain", "pages are written", |status| {
                status["currentRun"]["pages"].as_i64() >= Some(seen)
            })
            .await;
        if kill {
            control_plane.kill(part).unwrap();
            control_plane.restart(part).unwrap();
        } else {
            let frozen = Instant::now();
            control_plane.freeze(part).unwrap();
            eventually(PATIENCE, "the time is over", async || frozen.elapsed() > FROST).await.unwrap();
            control_plane.thaw(part).unwrap();
        }
        control_plane.ready().await.unwrap();
        let back = Instant::now();
        let known = scene.policy("drain").await["status"]["currentRun"]["pages"].as_i64();
        let status = scene
            .status("drain", "the run continues", |status| status["currentRun"]["pages"].as_i64() > known)
            .await;
        println!("{part:?} killed: {kill}: the next page is written {:?} after its return", back.elapsed());
        seen = status["currentRun"]["pages"].as_i64().unwrap() + 1;
    }
    scene.simulator.clear_faults().await.unwrap();
    let run = scene.ran("drain", 1).await["lastRun"].take();
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_as_if_nothing_had_happened(&run, &ledger, ENTRIES, PAGES);

    // The watch is back as well.
    let back = Instant::now();
    scene.apply("new", json!({ "action": "resume", "filters": { "all": true } })).await;
    assert_eq!(scene.ran("new", 1).await["lastRun"]["reason"], "NothingMatched");
    println!("a new policy has run after {:?}", back.elapsed());
    // It asks the API server what it leaves.
    drop(scene);
    for part in [Part::KubeApiserver, Part::Etcd] {
        control_plane.kill(part).unwrap();
    }
}
