//! An operator that is killed at a certain point of a run's life, and the one that comes after it.

use std::ops::RangeInclusive;
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
const WORKERS: usize = 4;

/// Where the operator dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Point {
    BeforeTheClaim,
    AfterTheClaim,
    DuringACall,
    BeforeTheCheckpoint,
    AfterTheCheckpoint,
    /// Every entry was acted on, and the run checks whether any are left.
    InTheLastPass,
    BeforeTheFinalWrite,
    AfterTheFinalWrite,
}

struct Row {
    point: Point,
    pages: usize,
    /// What the next process counts, and how many interruptions it tells of.
    processed: RangeInclusive<usize>,
    interruptions: usize,
}

impl Row {
    fn new(point: Point, pages: usize, processed: usize, interruptions: usize) -> Self {
        Self { point, pages, processed: processed..=processed, interruptions }
    }
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

/// Waits until a run with several cursors has acted on every entry. Calls take so long from here on that its last pass is
/// still under way then.
async fn all_are_acted_on(scene: &Scene, reached: impl Fn(&Value) -> bool, entries: usize) {
    scene.status("run", "its pages are on record", reached).await;
    scene.slow_down(6000).await;
    eventually(PATIENCE, "every entry is acted on", async || {
        let ledger = scene.simulator.ledger(DLQ).await.unwrap();
        ledger.with_fate(Fate::Resumed).count() == entries
    })
    .await
    .unwrap();
}

/// Dies at this point; in the middle of a run when so many pages are on record.
async fn die_at(
    point: Point,
    pages: i64,
    entries: usize,
    scene: &mut Scene,
    proxy: &ApiServerProxy,
    spec: Value,
) {
    let hang = |trouble| {
        proxy.trouble(&[CallKind::WriteStatus], trouble);
        Instant::now()
    };
    let claimed = |status: &Value| status["currentRun"].is_object();
    let reached = |status: &Value| status["currentRun"]["pages"].as_i64() >= Some(pages);
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
            scene.status("run", "its pages are on record", reached).await;
            // Nothing shows from outside that the call is on its way: it takes place when its latency is over.
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        }
        Point::BeforeTheCheckpoint | Point::BeforeTheFinalWrite => {
            scene.apply("run", spec).await;
            scene.status("run", "its pages are on record", reached).await;
            let since = hang(Trouble::Hang);
            a_write_hangs(proxy, since).await;
        }
        Point::AfterTheCheckpoint => {
            scene.apply("run", spec).await;
            scene.status("run", "its pages are on record", reached).await;
            hang(Trouble::HangAnswer);
            let another = |status: &Value| status["currentRun"]["pages"].as_i64() > Some(pages);
            scene.status("run", "the checkpoint is there", another).await;
        }
        Point::InTheLastPass => {
            scene.apply("run", spec).await;
            all_are_acted_on(scene, reached, entries).await;
        }
        Point::AfterTheFinalWrite => {
            scene.apply("run", spec).await;
            if pages > 0 {
                all_are_acted_on(scene, reached, entries).await;
            }
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
    /// It acts on pages, several at once.
    BySeveralCursors,
}

impl Way {
    fn spec(self) -> Value {
        let (protection, limits) = match self {
            Self::InBulk => (Value::Null, Value::Null),
            Self::ByListing => (json!({ "maxAttempts": 9 }), Value::Null),
            Self::BySeveralCursors => (Value::Null, json!({ "parallelism": WORKERS })),
        };
        json!({
            "action": "resume", "filters": { "all": true }, "loopProtection": protection, "limits": limits,
        })
    }
}

async fn check(way: Way, row: Row) {
    let Row { point, pages, processed, interruptions } = row;
    // Without checkpoints in between, the write after the claim is the last one.
    let interval = if pages == 1 { "1h" } else { "0" };
    // So that several calls are under way.
    let on_record = if way == Way::BySeveralCursors { 4 } else { 0 };
    let (mut scene, proxy) = scene(interval).await;
    let entries = pages * PAGE;
    scene.simulator.generate(DLQ, entries, &Entry::default()).await.unwrap();
    tempt(&scene.simulator, DLQ).await;
    scene.slow_down(1500).await;
    die_at(point, on_record, entries, &mut scene, &proxy, way.spec()).await;
    scene.operator.restart(None).await.unwrap();
    scene.patch("run", json!({ "historyLimit": 7 })).await;
    let status = scene
        .status("run", "the next process has looked", |status| {
            status["observedGeneration"] == 2 && status["currentRun"].is_null()
        })
        .await;
    let run = &status["lastRun"];
    assert_eq!(
        (&run["result"], &run["interruptions"], &run["uncertainPages"]),
        (&json!("Succeeded"), &json!(interruptions), &json!(0)),
        "{point:?}: {run:#}"
    );
    let counted = run["processed"].as_u64().and_then(|counted| usize::try_from(counted).ok()).unwrap();
    assert!(processed.contains(&counted), "{point:?}: {counted} of {processed:?}");
    assert_eq!(status["totals"], json!({ "runs": 1, "failedRuns": 0, "processed": counted }), "{point:?}");
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
    let rows = [
        Row::new(Point::BeforeTheClaim, 3, 150, 0),
        Row::new(Point::AfterTheClaim, 3, 150, 1),
        Row::new(Point::DuringACall, 3, 100, 1),
        Row::new(Point::BeforeTheCheckpoint, 3, 100, 1),
        Row::new(Point::AfterTheCheckpoint, 3, 150, 1),
        Row::new(Point::BeforeTheFinalWrite, 1, 0, 1),
        Row::new(Point::AfterTheFinalWrite, 1, 50, 0),
    ];
    join_all(rows.map(|row| check(Way::InBulk, row))).await;
}

#[tokio::test]
async fn a_run_that_lists_before_it_acts_is_taken_over_at_any_point_too() {
    // The first call lists, the second acts on half of what it showed.
    let rows = [
        Row::new(Point::BeforeTheClaim, 2, 100, 0),
        Row::new(Point::AfterTheClaim, 2, 100, 1),
        Row::new(Point::DuringACall, 2, 100, 1),
        Row::new(Point::BeforeTheCheckpoint, 2, 100, 1),
        Row::new(Point::AfterTheCheckpoint, 2, 100, 1),
        Row::new(Point::BeforeTheFinalWrite, 1, 0, 1),
        Row::new(Point::AfterTheFinalWrite, 1, 50, 0),
    ];
    join_all(rows.map(|row| check(Way::ByListing, row))).await;
}

#[tokio::test]
async fn a_run_with_several_calls_under_way_is_taken_over_at_any_point_too() {
    let pages = 14;
    let all = pages * PAGE;
    // Each call under way may leave a page uncounted, and so may each answer that came during a checkpoint.
    let nearly_all = all - 2 * WORKERS * PAGE;
    let row = |point, processed, interruptions| Row { point, pages, processed, interruptions };
    let rows = [
        row(Point::BeforeTheClaim, all..=all, 0),
        row(Point::AfterTheClaim, all..=all, 1),
        row(Point::DuringACall, nearly_all..=all - PAGE, 1),
        row(Point::BeforeTheCheckpoint, nearly_all..=all - PAGE, 1),
        row(Point::AfterTheCheckpoint, nearly_all..=all, 1),
        row(Point::InTheLastPass, nearly_all..=all, 1),
        row(Point::AfterTheFinalWrite, all..=all, 0),
    ];
    join_all(rows.map(|row| check(Way::BySeveralCursors, row))).await;
}
