//! An operator that is killed at a certain point of a run's life, and the one that comes after it.

use std::time::Instant;

use futures::future::join_all;
use serde_json::{Value, json};
use testbed::{
    ApiServerProxy, CallKind, Entry, Fate, Operator, OperatorOptions, Simulator, Trouble, User, eventually,
};

use crate::at_most_once::{Runs, tempt};
use crate::cluster::control_plane;
use crate::scene::{DLQ, PATIENCE, Scene, TOKEN};

const PAGE: usize = 50;

/// Where the operator dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Point {
    BeforeTheClaim,
    AfterTheClaim,
    DuringACall,
    BeforeTheCheckpoint,
    AfterTheCheckpoint,
    BeforeTheFinalWrite,
    AfterTheFinalWrite,
}

struct Row {
    point: Point,
    pages: usize,
    /// What the next process counts, and how many interruptions it tells of.
    processed: usize,
    interruptions: usize,
}

async fn scene(interval: &str) -> (Scene, ApiServerProxy) {
    let control_plane = control_plane().await;
    let proxy = ApiServerProxy::start(control_plane, User::Admin).await.unwrap();
    let namespace = control_plane.namespace("crash").await.unwrap();
    let simulator = Simulator::start().await.unwrap();
    simulator.allow(TOKEN, DLQ).await.unwrap();
    let mut options = OperatorOptions::new(control_plane, &simulator, namespace.name());
    options.kubeconfig = proxy.kubeconfig();
    options.args.push(format!("--checkpoint-interval={interval}"));
    let operator = Operator::start(options).await.unwrap();
    let scene = Scene { operator, control_plane, namespace, simulator };
    scene.apply_secret("upstash", "token", TOKEN).await;
    (scene, proxy)
}

/// Waits until the operator has sent a status that nobody answers.
async fn a_write_hangs(proxy: &ApiServerProxy, since: Instant) {
    eventually(PATIENCE, "a status is sent", async || {
        proxy.calls_since(since).iter().any(|call| call.kind == CallKind::WriteStatus)
    })
    .await
    .unwrap();
}

async fn die_at(point: Point, scene: &mut Scene, proxy: &ApiServerProxy, spec: Value) {
    let hang = |trouble| {
        proxy.trouble(&[CallKind::WriteStatus], trouble);
        Instant::now()
    };
    let claimed = |status: &Value| status["currentRun"].is_object();
    match point {
        Point::BeforeTheClaim => {
            let since = hang(Trouble::Hang);
            scene.apply("run", spec).await;
            a_write_hangs(proxy, since).await;
        }
        Point::AfterTheClaim => {
            hang(Trouble::HangAnswer);
            scene.apply("run", spec).await;
            scene.status("run", "it is claimed", claimed).await;
        }
        Point::DuringACall => {
            scene.apply("run", spec).await;
            scene.status("run", "it is claimed", claimed).await;
            // Nothing shows from outside that the call is on its way: it takes place when its latency is over.
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        }
        Point::BeforeTheCheckpoint | Point::BeforeTheFinalWrite => {
            scene.apply("run", spec).await;
            scene.status("run", "it is claimed", claimed).await;
            let since = hang(Trouble::Hang);
            a_write_hangs(proxy, since).await;
        }
        Point::AfterTheCheckpoint => {
            scene.apply("run", spec).await;
            scene.status("run", "it is claimed", claimed).await;
            hang(Trouble::HangAnswer);
            scene.status("run", "the checkpoint is there", |status| status["currentRun"]["pages"] == 1).await;
        }
        Point::AfterTheFinalWrite => {
            scene.apply("run", spec).await;
            scene.status("run", "it is claimed", claimed).await;
            hang(Trouble::HangAnswer);
            scene.ran("run", 1).await;
        }
    }
    scene.operator.kill().unwrap();
    proxy.clear();
    proxy.cut();
}

/// What the run does in one call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// It acts on a page, unseen.
    InBulk,
    /// It lists a page, or acts on entries that it names.
    ByListing,
}

impl Way {
    fn spec(self) -> Value {
        let protection = match self {
            Self::InBulk => Value::Null,
            Self::ByListing => json!({ "maxAttempts": 9 }),
        };
        json!({ "action": "resume", "filters": { "all": true }, "loopProtection": protection })
    }
}

async fn check(way: Way, row: Row) {
    let Row { point, pages, processed, interruptions } = row;
    // Without checkpoints in between, the write after the claim is the last one.
    let interval = if pages == 1 { "1h" } else { "0" };
    let (mut scene, proxy) = scene(interval).await;
    let entries = pages * PAGE;
    scene.simulator.generate(DLQ, entries, &Entry::default()).await.unwrap();
    tempt(&scene.simulator, DLQ).await;
    scene.slow_down(1500).await;
    die_at(point, &mut scene, &proxy, way.spec()).await;
    scene.operator.restart(None).await.unwrap();
    scene.patch("run", json!({ "historyLimit": 7 })).await;
    let status = scene
        .status("run", "the next process has looked", |status| {
            status["observedGeneration"] == 2 && status["currentRun"].is_null()
        })
        .await;
    let run = &status["lastRun"];
    assert_eq!(
        (&run["result"], &run["processed"], &run["interruptions"], &run["uncertainPages"]),
        (&json!("Succeeded"), &json!(processed), &json!(interruptions), &json!(0)),
        "{point:?}: {run:#}"
    );
    assert_eq!(status["totals"], json!({ "runs": 1, "failedRuns": 0, "processed": processed }), "{point:?}");
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_eq!(ledger.workflow_runs.len(), entries, "{point:?}: each once");
    assert_eq!(ledger.with_fate(Fate::Resumed).count(), entries, "{point:?}: none is left");
    assert_eq!(ledger.with_fate(Fate::InDlq).count(), entries, "{point:?}: but for what came back");
    let temptation = Runs::of(&status).check_all(&ledger);
    let first = ledger.calls.iter().position(|call| call.operation != "list").unwrap();
    assert_eq!(temptation.comebacks > 0, ledger.calls.len() > first + 1, "{point:?}: {temptation:?}");
}

#[tokio::test]
async fn wherever_the_operator_dies_the_next_one_goes_on_from_there_and_says_what_it_does_not_know() {
    let row = |point, pages: usize, processed, interruptions| Row { point, pages, processed, interruptions };
    let rows = [
        row(Point::BeforeTheClaim, 3, 150, 0),
        row(Point::AfterTheClaim, 3, 150, 1),
        row(Point::DuringACall, 3, 100, 1),
        row(Point::BeforeTheCheckpoint, 3, 100, 1),
        row(Point::AfterTheCheckpoint, 3, 150, 1),
        row(Point::BeforeTheFinalWrite, 1, 0, 1),
        row(Point::AfterTheFinalWrite, 1, 50, 0),
    ];
    join_all(rows.map(|row| check(Way::InBulk, row))).await;
}

#[tokio::test]
async fn a_run_that_lists_before_it_acts_is_taken_over_at_any_point_too() {
    let row = |point, pages: usize, processed, interruptions| Row { point, pages, processed, interruptions };
    // The first call lists, the second acts on half of what it showed.
    let rows = [
        row(Point::BeforeTheClaim, 2, 100, 0),
        row(Point::AfterTheClaim, 2, 100, 1),
        row(Point::DuringACall, 2, 100, 1),
        row(Point::BeforeTheCheckpoint, 2, 100, 1),
        row(Point::AfterTheCheckpoint, 2, 100, 1),
        row(Point::BeforeTheFinalWrite, 1, 0, 1),
        row(Point::AfterTheFinalWrite, 1, 50, 0),
    ];
    join_all(rows.map(|row| check(Way::ByListing, row))).await;
}
