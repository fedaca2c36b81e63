//! What all policies of a connection may do together, counted by the simulator's ledger.

use serde_json::{Value, json};
use testbed::{Entry, Fate, LedgerCall, OperatorOptions, eventually};

use crate::replicas::{FIRST, Replicas, SECOND};
use crate::scene::{DLQ, PATIENCE, Scene};

/// A scene with entries and a connection with these limits.
async fn limited(name: &str, entries: usize, limits: Value) -> Scene {
    let scene = Scene::start(name).await;
    scene.limited(entries, &limits).await;
    scene
}

impl Scene {
    async fn limited(&self, entries: usize, limits: &Value) {
        let entry = Entry { labels: vec!["payments".to_owned()], ..Entry::default() };
        self.simulator.generate(DLQ, entries, &entry).await.unwrap();
        self.limit(limits).await;
    }

    async fn limit(&self, limits: &Value) {
        let connection = json!({
            "apiVersion": "dlq-operator.dev/v1alpha1",
            "kind": "DlqConnection",
            "metadata": { "name": "production", "namespace": self.namespace.name() },
            "spec": { "tokenSecretRef": { "name": "upstash" }, "limits": limits },
        });
        self.control_plane.kubectl_apply(&connection.to_string()).await.unwrap().ok().unwrap();
    }

    async fn drain(&self, name: &str, limits: Value) {
        let spec = json!({
            "action": "resume", "filters": { "labels": ["payments"] }, "limits": limits,
            "connection": { "name": "production" },
        });
        self.apply(name, spec).await;
    }

    async fn acted(&self) -> u64 {
        let entries = self.simulator.ledger(DLQ).await.unwrap().entries;
        entries.iter().filter(|entry| entry.fate == Fate::Resumed).count() as u64
    }

    async fn entries_today(&self) -> u64 {
        let connection = self.kubectl(&["get", "dlqconnection", "production", "--output=json"]).await;
        let status = serde_json::from_str::<Value>(&connection).unwrap()["status"].take();
        status["entriesToday"].as_u64().unwrap_or(0)
    }

    async fn settled(&self, entries: u64) {
        eventually(PATIENCE, &format!("{entries} entries are counted"), async || {
            let today = self.entries_today().await;
            if today == entries { Ok(()) } else { Err(today.to_string()) }
        })
        .await
        .unwrap();
    }
}

/// The calls that acted, in the order in which they came.
async fn acting(scene: &Scene) -> Vec<LedgerCall> {
    let calls = scene.simulator.ledger(DLQ).await.unwrap().calls;
    let mut calls: Vec<_> = calls.into_iter().filter(|call| call.operation != "list").collect();
    calls.sort_by_key(|call| call.arrived_at);
    calls
}

#[tokio::test]
async fn a_spent_budget_ends_the_run_and_the_next_one_makes_no_call() {
    let scene = limited("spent", 250, json!({ "maxEntriesPerDay": 100 })).await;
    scene.drain("resume", json!({ "pageSize": 30 })).await;
    let run = scene.ran("resume", 1).await["lastRun"].take();
    assert_eq!((&run["result"], &run["reason"]), (&json!("LimitReached"), &json!("BudgetSpent")), "{run}");
    assert_eq!((&run["processed"], scene.acted().await), (&json!(100), 100), "{run}");
    assert!(run["message"].as_str().unwrap().contains("maxEntriesPerDay"), "{run}");
    assert_eq!(scene.entries_today().await, 100);
    scene.annotate("resume", &[("requestedAt", "again")]).await;
    let run = scene.ran("resume", 2).await["lastRun"].take();
    assert_eq!((&run["reason"], &run["pages"]), (&json!("BudgetSpent"), &json!(0)), "{run}");
    assert_eq!(scene.acted().await, 100);
    let told = scene.events_of(scene.namespace.name(), "DlqConnection", "production").await;
    let spent: Vec<_> = told.iter().filter(|event| event["reason"] == "BudgetSpent").collect();
    assert!(spent.len() == 1 && spent[0]["type"] == "Warning", "told once a day: {told:#?}");
    assert!(
        spent[0]["note"].as_str().unwrap().starts_with("the 100 entries of limits.maxEntriesPerDay"),
        "{told:#?}"
    );
    // A dry run acts on nothing.
    scene.annotate("resume", &[("requestedAt", "dry"), ("requestedMode", "DryRun")]).await;
    let run = scene.ran("resume", 3).await["lastRun"].take();
    assert_eq!((&run["result"], &run["processed"]), (&json!("Succeeded"), &json!(150)), "{run}");
}

#[tokio::test]
async fn policies_share_a_budget_and_what_is_left_of_a_block_is_given_back() {
    let scene = limited("shared-budget", 150, json!({ "maxEntriesPerDay": 5000 })).await;
    for (name, most) in [("a", 40), ("b", 50)] {
        scene.drain(name, json!({ "pageSize": 7, "maxEntriesPerRun": most })).await;
    }
    for name in ["a", "b"] {
        scene.ran(name, 1).await;
    }
    assert_eq!(scene.acted().await, 90);
    scene.settled(90).await;
}

#[tokio::test]
async fn a_lowered_budget_ends_a_run_within_a_block() {
    let scene = limited("lowered", 1000, json!({ "maxEntriesPerDay": 500 })).await;
    scene.slow_down(50).await;
    scene.drain("resume", json!({ "pageSize": 5 })).await;
    scene.status("resume", "it runs", |status| status["processed"].as_i64() >= Some(20)).await;
    let before = scene.acted().await;
    scene.limit(&json!({ "maxEntriesPerDay": 10 })).await;
    let run = scene.ran("resume", 1).await["lastRun"].take();
    assert_eq!(run["reason"], "BudgetSpent", "{run}");
    // What was under way during the edit, which takes a second or two here, and a block of a fiftieth of the day.
    let since = scene.acted().await - before;
    assert!(since <= 100, "{since} more entries after the edit: {run}");
}

#[tokio::test]
async fn a_budget_holds_over_kills_and_is_never_counted_too_low() {
    let mut scene = limited("killed-budget", 900, json!({ "maxEntriesPerDay": 500 })).await;
    scene.slow_down(20).await;
    scene.drain("resume", json!({ "pageSize": 10 })).await;
    for done in [100, 200, 300] {
        scene
            .status("resume", "it gets on", |status| {
                status["processed"].as_i64() >= Some(done) || status["currentRun"].is_null()
            })
            .await;
        scene.operator.kill().unwrap();
        assert!(scene.entries_today().await >= scene.acted().await);
        scene.operator.restart(None).await.unwrap();
    }
    let run = scene.ran("resume", 1).await["lastRun"].take();
    assert_eq!(run["reason"], "BudgetSpent", "{run}");
    let acted = scene.acted().await;
    assert!((300..=500).contains(&acted), "{acted}");
    assert_eq!(scene.entries_today().await, 500, "what a kill left open stays spent");
}

#[tokio::test]
async fn a_budget_holds_when_the_leader_is_killed_and_another_replica_continues() {
    let args = ["--leader-elect", "--lease-duration=3s", "--checkpoint-interval=0"];
    let mut replicas = Replicas::start("budget-handed-over", &args[1..]).await;
    // With the URL that the first has: another default URL is another account, and would end the run.
    let namespace = replicas.scene.namespace.name();
    let mut second = OperatorOptions::new(replicas.scene.control_plane, &replicas.scene.simulator, namespace);
    SECOND.clone_into(&mut second.pod_name);
    second.args = args.map(str::to_owned).into();
    replicas.second.restart(Some(second)).await.unwrap();
    replicas.scene.limited(900, &json!({ "maxEntriesPerDay": 500 })).await;
    replicas.scene.slow_down(20).await;
    replicas.scene.drain("resume", json!({ "pageSize": 10 })).await;
    // In this order, a count that is too low would show.
    let assert_counted = async |scene: &Scene| {
        let acted = scene.acted().await;
        let today = scene.entries_today().await;
        assert!(today >= acted && today <= 500, "{acted} entries were acted on, and {today} are counted");
        acted
    };
    for (killed, next, done) in [(FIRST, SECOND, 100), (SECOND, FIRST, 250)] {
        eventually(PATIENCE, "entries are acted on", async || {
            let acted = assert_counted(&replicas.scene).await;
            if acted >= done { Ok(()) } else { Err(acted) }
        })
        .await
        .unwrap_or_else(|error| {
            panic!("{error}\n{}\n{}", replicas.scene.operator.log(), replicas.second.log())
        });
        replicas.replica(killed).kill().unwrap();
        assert_counted(&replicas.scene).await;
        replicas.led_by(next).await;
        replicas.replica(killed).restart(None).await.unwrap();
    }
    let run = replicas.scene.ran("resume", 1).await["lastRun"].take();
    assert_eq!((&run["result"], &run["reason"]), (&json!("LimitReached"), &json!("BudgetSpent")), "{run}");
    assert_eq!(run["interruptions"], 2, "each leader that was killed left the run to the other: {run}");
    let acted = assert_counted(&replicas.scene).await;
    assert!(acted >= 250, "{acted}");
    assert_eq!(replicas.scene.entries_today().await, 500, "what a killed leader left open stays spent");
    // The next run, of whichever leads, makes no call.
    replicas.scene.annotate("resume", &[("requestedAt", "again")]).await;
    let run = replicas.scene.ran("resume", 2).await["lastRun"].take();
    assert_eq!((&run["reason"], &run["pages"]), (&json!("BudgetSpent"), &json!(0)), "{run}");
    assert_eq!(replicas.scene.acted().await, acted);
}

#[tokio::test]
async fn policies_share_the_rate_of_their_connection() {
    let scene = limited("shared-rate", 100, json!({ "entriesPerSecond": 20 })).await;
    for name in ["a", "b"] {
        scene.drain(name, json!({ "pageSize": 10 })).await;
    }
    for name in ["a", "b"] {
        scene.ran(name, 1).await;
    }
    let calls = acting(&scene).await;
    let entries: usize = calls.iter().map(|call| call.dlq_ids.len()).sum();
    assert_eq!(entries, 100);
    let took = calls.last().unwrap().arrived_at - calls.first().unwrap().arrived_at;
    assert!(took >= 4000, "100 entries within {took} ms");
}

#[tokio::test]
async fn runs_of_a_connection_wait_for_each_other() {
    let scene = limited("one-at-a-time", 60, json!({ "maxConcurrentRuns": 1 })).await;
    scene.slow_down(100).await;
    for name in ["a", "b", "c"] {
        scene.drain(name, json!({ "pageSize": 5, "parallelism": 4, "maxEntriesPerRun": 20 })).await;
    }
    for name in ["a", "b", "c"] {
        scene.ran(name, 1).await;
    }
    let calls = acting(&scene).await;
    for pair in calls.windows(2) {
        assert!(pair[0].at <= pair[1].arrived_at, "two at once: {pair:?}");
    }
}

/// Whether two of these calls were under way at once.
fn overlap(calls: &[LedgerCall]) -> bool {
    calls.windows(2).any(|pair| pair[0].at > pair[1].arrived_at)
}

#[tokio::test]
async fn a_raised_limit_of_runs_holds_for_those_that_are_at_work_and_in_line() {
    let scene = limited("raised", 400, json!({ "maxConcurrentRuns": 1 })).await;
    scene.slow_down(200).await;
    for name in ["a", "b"] {
        scene.drain(name, json!({ "pageSize": 1 })).await;
    }
    let enough = |calls: &[LedgerCall]| calls.len() > 5;
    eventually(PATIENCE, "some calls", async || {
        let calls = acting(&scene).await;
        if enough(&calls) { Ok(()) } else { Err(format!("{calls:?}")) }
    })
    .await
    .unwrap();
    assert!(!overlap(&acting(&scene).await));
    scene.limit(&json!({ "maxConcurrentRuns": 2 })).await;
    eventually(PATIENCE, "two at once", async || {
        let calls = acting(&scene).await;
        if overlap(&calls) { Ok(()) } else { Err(format!("{} calls", calls.len())) }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn another_token_gives_a_connection_no_more_runs() {
    let scene = limited("rotated", 60, json!({ "maxConcurrentRuns": 1 })).await;
    let other = "the-second-token-9f1c";
    scene.simulator.allow(other, DLQ).await.unwrap();
    scene.slow_down(200).await;
    scene.drain("a", json!({ "pageSize": 1, "maxEntriesPerRun": 20 })).await;
    eventually(PATIENCE, "a call with the first token", async || {
        let calls = acting(&scene).await;
        if calls.is_empty() { Err("none".to_owned()) } else { Ok(()) }
    })
    .await
    .unwrap();
    let patch = json!({ "stringData": { "token": other } }).to_string();
    scene.kubectl(&["patch", "secret", "upstash", "--patch", &patch]).await;
    scene.drain("b", json!({ "pageSize": 1, "maxEntriesPerRun": 20 })).await;
    for name in ["a", "b"] {
        scene.ran(name, 1).await;
    }
    let calls = acting(&scene).await;
    assert_eq!(calls.len(), 40);
    assert!(!overlap(&calls), "two at once: {calls:?}");
}
