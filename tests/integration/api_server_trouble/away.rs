//! An API server that is away altogether.

use std::time::{Duration, Instant};

use dlq_operator::runtime::clock;
use serde_json::json;
use testbed::{Entry, Trouble, eventually};

use super::{assert_as_if_nothing_had_happened, behind_a_proxy};
use crate::cases::{self, Case, Cases};
use crate::scene::PATIENCE;

const POLICIES: usize = 50;
const ENTRIES: usize = 400;
/// How long no call may follow on a checkpoint that fails, and what a slow machine and the page under way add to it.
const WITHOUT_CHECKPOINT: i64 = 5000;
const SLACK: i64 = 1500;

/// A generous bound: of all policies together, while it is away.
const MOST_REQUESTS: usize = POLICIES * 60;

/// Seconds: two minutes in a soak, less where people wait for it.
fn absence() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "a soak is told so from outside")]
    let seconds = std::env::var("API_SERVER_ABSENCE").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(20))
}

#[tokio::test]
async fn while_the_api_server_is_away_nothing_is_called_for_long_and_runs_go_on_when_it_is_back() {
    let (scene, proxy) = behind_a_proxy("away", &[]).await;
    let take = async |ms: u128| {
        scene.simulator.set_faults(&json!([{ "fault": { "latency": { "ms": ms } } }])).await.unwrap();
    };
    // Slow at first, so that none ends before the last one begins.
    let slow = Duration::from_millis(1500);
    take(slow.as_millis()).await;
    let cases = (0..POLICIES).map(|_| Case {
        entries: vec![Entry::default(); ENTRIES],
        spec: json!({ "action": "resume", "filters": { "all": true }, "limits": { "pageSize": 5 } }),
    });
    let applied = Cases::apply(&scene, cases.collect()).await;
    applied
        .statuses("every run is under way", |status| status["currentRun"]["pages"].as_i64() > Some(0))
        .await;
    take(200).await;
    let quick = Instant::now();
    eventually(PATIENCE, "slow calls have ended", async || quick.elapsed() > slow).await.unwrap();

    let (gone, gone_at) = (Instant::now(), clock::now().as_millisecond());
    proxy.trouble(&[], Trouble::Drop);
    proxy.cut();
    eventually(absence() + PATIENCE, "it has been away", async || gone.elapsed() > absence()).await.unwrap();
    let (back, back_at) = (Instant::now(), clock::now().as_millisecond());
    let calls = proxy.calls_since(gone);
    proxy.clear();
    let counts = proxy.counts_since(gone);
    let seconds = calls.iter().fold(vec![0; 200], |mut seconds, call| {
        seconds[usize::try_from(call.at.duration_since(gone).as_secs()).unwrap()] += 1;
        seconds
    });
    println!("while it was away for {:?}: {counts:?}", absence());
    assert!(calls.len() < MOST_REQUESTS, "{counts:?}");
    println!("a second: {:?}", &seconds[..usize::try_from(absence().as_secs()).unwrap()]);

    let outcomes = applied.outcomes().await;
    println!("all runs have ended {:?} after its return", back.elapsed());
    for (index, outcome) in outcomes.iter().enumerate() {
        assert_as_if_nothing_had_happened(&outcome.status["lastRun"], &outcome.ledger, ENTRIES, ENTRIES / 5);
        let called = gone_at + WITHOUT_CHECKPOINT + SLACK..back_at;
        let late = outcome.ledger.calls.iter().find(|call| called.contains(&call.at));
        assert!(late.is_none(), "{}: {} ms after it went", cases::name(index), late.unwrap().at - gone_at);
    }
}

/// Policies that want to look all the time, and how often all of them together may ask.
const CROWD: usize = 200;
const MOST_A_SECOND: usize = 50;
/// Each run under way may try its last write so often, and `--max-concurrent-runs` may be under way.
const MOST_UNDER_WAY: usize = 64;
const WRITES_A_SECOND: usize = 5;
/// As long as runs under way try to write their last state, which is as many as may be at work.
const LAST_WRITES: usize = 7;

#[tokio::test]
async fn however_many_policies_are_due_the_api_server_is_asked_seldom_while_it_refuses() {
    let (scene, proxy) = behind_a_proxy("refusing", &[]).await;
    let spec = json!({ "action": "resume", "filters": { "labels": ["none"] }, "schedule": "@every 3s" });
    scene.apply_crowd(CROWD, &spec).await;
    let ran = async |times: i64| {
        let statuses = scene.statuses().await;
        statuses.iter().filter(|status| status["totals"]["runs"].as_i64() >= Some(times)).count()
    };
    eventually(PATIENCE, "all have run", async || ran(1).await == CROWD).await.unwrap();

    let span = Duration::from_secs(12);
    let since = Instant::now();
    proxy.trouble(&[], Trouble::TooManyRequests);
    eventually(PATIENCE, "the time is over", async || since.elapsed() > span).await.unwrap();
    let calls = proxy.calls_since(since);
    proxy.clear();
    let mut seconds = vec![0; 13];
    for call in &calls {
        seconds[usize::try_from(call.at.duration_since(since).as_secs()).unwrap().min(12)] += 1;
    }
    println!("{CROWD} policies: requests a second {seconds:?}");
    let later = &seconds[LAST_WRITES..12];
    assert!(later.iter().all(|second| *second < MOST_A_SECOND), "{seconds:?}");
    assert!(seconds.iter().all(|second| *second < MOST_UNDER_WAY * WRITES_A_SECOND), "{seconds:?}");
    let times = 3;
    eventually(PATIENCE, "all run again", async || ran(times).await == CROWD).await.unwrap();
}
