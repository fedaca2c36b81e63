//! `kubectl dlq drain`: one run without a cluster, as the operator would make it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testbed::{Entry, Fate, Ledger, Simulator};

use super::program::{DLQ, Plugin, TOKEN, acting};
use crate::scene::{self, Scene};

const OTHER: &str = "of-the-drain";

fn resume(further: Value) -> Value {
    let mut spec = json!({ "action": "resume", "filters": { "all": true } });
    spec.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    spec
}

/// The calls as they were made, but for the time at which the run began.
fn calls(ledger: &Ledger) -> Vec<String> {
    let is_fixed = |pair: &&str| !pair.starts_with("toDate=") && !pair.starts_with("cursor=");
    let told = ledger.calls.iter().map(|call| {
        let query: Vec<_> = call.query.split('&').filter(is_fixed).collect();
        let headers: Vec<_> = call.headers.iter().filter(|(name, _)| name.starts_with("upstash-")).collect();
        format!(
            "{} {} {} {headers:?} {:?} {}",
            call.method,
            call.path,
            query.join("&"),
            call.dlq_ids,
            call.status
        )
    });
    told.collect()
}

fn fates(ledger: &Ledger) -> BTreeMap<String, Fate> {
    ledger.entries.iter().map(|entry| (entry.dlq_id.clone(), entry.fate)).collect()
}

/// Entries of several kinds, in two DLQs.
async fn fill(simulator: &Simulator, dlqs: [&str; 2]) {
    let entry = |number: i64| Entry {
        dlq_id: Some(format!("{}-0", 1_795_176_000_000 + number)),
        failed_at: Some(1_795_176_000_000 + number),
        labels: vec![if number % 3 == 0 { "payments".to_owned() } else { "other".to_owned() }],
        response_status: Some(if number % 4 == 0 { 404 } else { 500 }),
        unresumable: number == 33,
        ..Entry::default()
    };
    let entries: Vec<_> = (0..180).map(entry).collect();
    for dlq in dlqs {
        simulator.add(dlq, &entries).await.unwrap();
    }
}

#[tokio::test]
async fn a_drain_makes_the_calls_that_an_operator_makes() {
    let scene = Scene::start("drain-as-operator").await;
    let plugin = Plugin::of(&scene.simulator).await;
    scene.simulator.allow(TOKEN, OTHER).await.unwrap();
    let specs = [
        (
            "bulk",
            resume(
                json!({ "filters": { "labels": ["payments"] }, "overrides": { "retries": 2 }, "limits": { "pageSize": 20 } }),
            ),
        ),
        ("limited", resume(json!({ "limits": { "pageSize": 30, "maxEntriesPerRun": 70 } }))),
        (
            "judged",
            resume(
                json!({ "match": { "responseStatuses": ["5xx"] }, "loopProtection": { "maxAttempts": 2 } }),
            ),
        ),
        ("deleted", json!({ "action": "delete", "filters": { "labels": ["other"] } })),
    ];
    for (name, spec) in specs {
        for dlq in [scene::DLQ, OTHER] {
            scene.simulator.clear(dlq).await.unwrap();
        }
        fill(&scene.simulator, [scene::DLQ, OTHER]).await;
        scene.apply(name, spec.clone()).await;
        let run = scene.ran(name, 1).await["lastRun"].take();
        plugin.policy(&spec);
        let ended = plugin.run(&["drain", "-f", "policy.yaml", "--yes"]).await;
        assert_eq!(ended.code, 0, "{name}: {ended:?}");
        let [by_operator, by_drain] = [scene::DLQ, OTHER].map(|dlq| scene.simulator.ledger(dlq));
        let (by_operator, by_drain) = (by_operator.await.unwrap(), by_drain.await.unwrap());
        assert_eq!(calls(&by_drain), calls(&by_operator), "{name}");
        assert_eq!(fates(&by_drain), fates(&by_operator), "{name}");
        let own = &plugin.state()["status"]["lastRun"];
        for field in ["result", "reason", "message", "processed", "rejected", "pages", "skipped"] {
            assert_eq!(own[field], run[field], "{name}: {field}");
        }
    }
}

#[tokio::test]
async fn a_drain_runs_whatever_starts_or_holds_the_policy() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await;
    simulator.generate(DLQ, 30, &Entry::default()).await.unwrap();
    plugin.policy(&resume(json!({ "schedule": "0 0 29 2 *", "suspend": true })));
    let ended = plugin.run(&["drain", "-f", "policy.yaml", "--yes"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.starts_with("one: Succeeded: resumed 30 entries in 1 call"), "{ended:?}");
}

#[tokio::test]
async fn several_cursors_leave_nothing_and_act_on_nothing_twice() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await;
    simulator.generate_spread(DLQ, 1500, 3_600_000).await.unwrap();
    plugin.policy(&resume(json!({ "limits": { "parallelism": 8, "pageSize": 20 } })));
    let ended = plugin.run(&["drain", "-f", "policy.yaml", "--yes"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let ledger = simulator.ledger(DLQ).await.unwrap();
    assert_eq!(ledger.with_fate(Fate::Resumed).filter(|entry| entry.actions == 1).count(), 1500);
    assert_eq!(plugin.state()["status"]["lastRun"]["processed"], 1500);
}

#[tokio::test]
async fn a_dry_run_acts_on_nothing_and_leaves_no_file() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await;
    simulator.generate(DLQ, 70, &Entry::default()).await.unwrap();
    plugin.policy(&resume(json!({})));
    let ended = plugin.run(&["drain", "-f", "policy.yaml", "--dry-run"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("dry run: 70 entries match"), "{ended:?}");
    assert!(acting(&simulator.ledger(DLQ).await.unwrap()).is_empty());
    assert!(!plugin.path("one.drain.json").exists());
}

#[tokio::test]
async fn without_a_terminal_and_without_yes_nothing_is_done() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await;
    simulator.generate(DLQ, 3, &Entry::default()).await.unwrap();
    plugin.policy(&resume(json!({})));
    let ended = plugin.run(&["drain", "-f", "policy.yaml"]).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("--yes"), "{ended:?}");
    assert!(simulator.ledger(DLQ).await.unwrap().calls.is_empty());
}

#[tokio::test]
async fn yes_is_the_approval_that_a_large_run_needs() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await;
    simulator.generate(DLQ, 70, &Entry::default()).await.unwrap();
    plugin.policy(&resume(json!({ "limits": { "approvalAbove": 10 } })));
    let ended = plugin.run(&["drain", "-f", "policy.yaml", "--yes"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let run = &plugin.state()["status"]["lastRun"];
    assert_eq!((&run["matched"], &run["processed"]), (&json!(70), &json!(70)), "{run:#}");
}

#[tokio::test]
async fn the_exit_code_tells_how_a_run_ended() {
    let simulator = Simulator::start().await.unwrap();
    let plugin = Plugin::of(&simulator).await;
    plugin.policy(&resume(json!({})));
    let drain = ["drain", "-f", "policy.yaml", "--yes"];
    assert_eq!(plugin.run(&drain).await.code, 0, "nothing matched");
    let ended = plugin.run(&["drain", "-f", "policy.yaml", "--yes", "--fail-if-empty"]).await;
    assert_eq!(ended.code, 4, "{ended:?}");
    simulator.generate(DLQ, 1, &Entry::default()).await.unwrap();
    let quota =
        json!([{ "dlq": DLQ, "fault": { "status": { "code": 412, "body": "{\"error\":\"quota\"}" } } }]);
    simulator.set_faults(&quota).await.unwrap();
    let ended = plugin.run(&drain).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stdout.starts_with("one: Failed:"), "{ended:?}");
}

#[tokio::test]
async fn a_policy_that_cannot_run_is_told_with_its_field() {
    let plugin = Plugin::bare().await.with("QSTASH_TOKEN", TOKEN);
    for (spec, field) in [
        (json!({ "action": "resume", "filters": {} }), "spec.filters"),
        (
            json!({ "action": "delete", "filters": { "all": true }, "overrides": { "retries": 1 } }),
            "overrides",
        ),
        (resume(json!({ "match": { "expression": "entry.nothing" } })), "spec.match.expression"),
        (resume(json!({ "loopProtectoin": { "maxAttempts": 3 } })), "spec.loopProtectoin"),
    ] {
        plugin.policy(&spec);
        let ended = plugin.run(&["drain", "-f", "policy.yaml", "--yes"]).await;
        assert_eq!(ended.code, 1, "{spec}: {ended:?}");
        assert!(ended.stderr.contains(field), "{spec}: {ended:?}");
    }
}
