//! What annotations and flags ask for, each value once, also when the operator dies right after.

use futures::future::join_all;
use serde_json::{Value, json};
use testbed::{Entry, OperatorOptions, eventually};

use crate::events::{told, wait_until_told};
use crate::scene::{DLQ, PATIENCE, Scene, TOKEN, condition};

fn all(further: Value) -> Value {
    let mut spec = json!({ "action": "resume", "filters": { "all": true } });
    spec.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    spec
}

/// A policy that runs only when it is asked to.
fn by_hand(further: Value) -> Value {
    let mut spec = all(further);
    spec["schedule"] = "0 0 1 1 *".into();
    spec
}

fn annotations(pairs: &[(&str, &str)]) -> Value {
    pairs.iter().map(|(key, value)| (format!("dlq-operator.dev/{key}"), Value::from(*value))).collect()
}

fn has_paged(status: &Value) -> bool {
    status["currentRun"]["pages"].as_i64() > Some(0)
}

async fn restart_with(scene: &mut Scene, flags: &[&str]) {
    let mut options = OperatorOptions::new(scene.control_plane, &scene.simulator, scene.namespace.name());
    options.args = ["--checkpoint-interval=0"].iter().chain(flags).map(|flag| (*flag).to_owned()).collect();
    scene.operator.restart(Some(options)).await.unwrap();
}

/// Makes the operator look at policies afresh, by an edit that starts nothing, and gives their statuses.
async fn looked_at(scene: &Scene, names: &[&str]) -> Vec<Value> {
    join_all(names.iter().map(async |name| {
        let before = scene.policy(name).await;
        let generation = before["metadata"]["generation"].as_i64().unwrap() + 1;
        let limit = before["spec"]["historyLimit"].as_i64().unwrap() + 1;
        scene.patch(name, json!({ "historyLimit": limit })).await;
        let seen = |status: &Value| status["observedGeneration"] == generation;
        scene.status(name, "the edit is seen", seen).await
    }))
    .await
}

/// Policies that are asked for something: the first five run from the start, the others when they are asked to.
fn values(too_long: &str) -> [(&'static str, Value, Value); 10] {
    let mut secretless = by_hand(json!({}));
    secretless["connection"] = json!({ "tokenSecretRef": { "name": "later", "key": "token" } });
    let in_place =
        [("cancelAt", "old"), ("requestedAt", "first"), ("requestedBy", "ci"), ("paused", "false")];
    [
        ("cancelled", all(json!({})), annotations(&[])),
        ("cancelled-meanwhile", all(json!({})), annotations(&[])),
        ("asked-while-running", all(json!({})), annotations(&[])),
        ("too-long", all(json!({})), annotations(&[])),
        ("in-place", all(json!({})), annotations(&in_place)),
        ("asked", by_hand(json!({})), annotations(&[])),
        ("asked-meanwhile", by_hand(json!({})), annotations(&[])),
        (
            "asked-while-paused",
            by_hand(json!({})),
            annotations(&[("paused", "incident 7"), ("requestedAt", "1")]),
        ),
        ("asked-too-long", by_hand(json!({})), annotations(&[("requestedAt", too_long)])),
        ("asked-while-secretless", secretless, annotations(&[("requestedAt", "1")])),
    ]
}

#[tokio::test]
async fn every_value_is_handled_once_also_when_the_operator_dies_right_after() {
    // The longest that is taken, and one more.
    let (short, long) = ("x".repeat(256), "x".repeat(257));
    let mut scene = Scene::start("values").await;
    scene.simulator.generate(DLQ, 4000, &Entry::default()).await.unwrap();
    scene.slow_down(1000).await;
    let table = values(&long);
    let names = table.clone().map(|(name, ..)| name);
    join_all(table.into_iter().map(async |(name, spec, annotations)| {
        scene.apply_annotated(name, spec, annotations).await;
    }))
    .await;
    for name in &names[..5] {
        scene.status(name, "a page has landed", has_paged).await;
    }
    for name in &names[5..7] {
        scene.condition(name, "Ready", "True", "Scheduled").await;
    }
    scene.condition("asked-while-secretless", "Ready", "False", "SecretNotFound").await;
    scene.annotate("asked-while-running", &[("requestedAt", "1")]).await;
    scene.annotate("too-long", &[("requestedAt", &long), ("cancelAt", &long), ("resetAt", &long)]).await;
    let tellings = [
        ("asked-while-running", "RunAlreadyActive", 1),
        ("too-long", "RunRequestIgnored", 3),
        ("asked-while-paused", "RunRequestIgnored", 1),
        ("asked-too-long", "RunRequestIgnored", 1),
    ];
    for (name, reason, times) in tellings {
        wait_until_told(&scene, name, reason, times).await;
    }

    let at_once = [("cancelled", ("cancelAt", "1")), ("asked", ("requestedAt", short.as_str()))];
    join_all(at_once.iter().map(|(name, asks)| scene.annotate(name, std::slice::from_ref(asks)))).await;
    scene.operator.kill().unwrap();
    scene.annotate("cancelled-meanwhile", &[("cancelAt", "1")]).await;
    scene.annotate("asked-meanwhile", &[("requestedAt", "1")]).await;
    scene.apply_secret("later", "token", TOKEN).await;
    scene.simulator.clear_faults().await.unwrap();
    scene.operator.restart(None).await.unwrap();
    looked_at(&scene, &["asked-while-secretless"]).await;

    let expected = [
        ("cancelled", 1, "Spec", "Cancelled"),
        ("cancelled-meanwhile", 1, "Spec", "Cancelled"),
        ("asked-while-running", 1, "Spec", "Succeeded"),
        ("too-long", 1, "Spec", "Succeeded"),
        ("in-place", 1, "Manual", "Succeeded"),
        ("asked", 1, "Manual", "Succeeded"),
        ("asked-meanwhile", 1, "Manual", "Succeeded"),
        ("asked-while-secretless", 1, "Manual", "Succeeded"),
    ];
    for (name, runs, ..) in expected {
        scene.ran(name, runs).await;
    }
    scene.operator.kill().unwrap();
    scene.operator.restart(None).await.unwrap();
    let statuses = looked_at(&scene, &names).await;
    let status = |name: &str| &statuses[names.iter().position(|its| *its == name).unwrap()];
    for (name, runs, trigger, result) in expected {
        let status = status(name);
        let run = &status["lastRun"];
        assert_eq!((&run["trigger"], &run["result"]), (&json!(trigger), &json!(result)), "{name}: {run:#}");
        assert_eq!(status["totals"]["runs"], runs, "{name}: {status:#}");
        assert!(status["currentRun"].is_null(), "{name}: {status:#}");
    }
    for name in ["asked-while-paused", "asked-too-long"] {
        assert_eq!(status(name)["totals"]["runs"], 0, "{name}");
    }
    for (name, reason, times) in tellings {
        assert_eq!(told(&scene, name, reason).await, times, "{name}: {reason}");
    }
    assert_eq!(told(&scene, "asked-while-secretless", "RunRequestIgnored").await, 0, "it waits");
    let merged = status("in-place");
    assert_eq!(merged["lastRun"]["requestedBy"], "ci");
    assert_eq!(
        (&merged["lastHandledCancelAt"], &merged["lastHandledRequestedAt"]),
        (&json!("old"), &json!("first"))
    );
    assert_eq!(status("asked")["lastHandledRequestedAt"], short);

    // What was asked for while it was held is not done later.
    scene.kubectl(&["annotate", "dlqpolicy", "asked-while-paused", "dlq-operator.dev/paused-"]).await;
    let status = scene.condition("asked-while-paused", "Ready", "True", "Scheduled").await;
    assert_eq!(status["totals"]["runs"], 0);

    // A value that ended one run does not end the next, for no process.
    scene.simulator.generate(DLQ, 400, &Entry::default()).await.unwrap();
    scene.slow_down(700).await;
    scene.annotate("cancelled", &[("requestedAt", "again")]).await;
    scene.status("cancelled", "a page has landed", has_paged).await;
    scene.operator.kill().unwrap();
    scene.simulator.clear_faults().await.unwrap();
    scene.operator.restart(None).await.unwrap();
    let run = scene.ran("cancelled", 2).await["lastRun"].take();
    assert_eq!((&run["result"], &run["interruptions"]), (&json!("Succeeded"), &json!(1)), "{run:#}");
}

#[tokio::test]
async fn flags_at_a_restart_end_what_they_forbid_and_hold_what_comes() {
    let mut scene = Scene::start("flags").await;
    scene.simulator.generate(DLQ, 2000, &Entry::default()).await.unwrap();
    scene.slow_down(700).await;
    scene.apply("acting", all(json!({}))).await;
    scene.apply("dry", all(json!({ "dryRun": true }))).await;
    scene.status("acting", "a page has landed", has_paged).await;
    let dry = scene.status("dry", "a page has landed", has_paged).await;

    scene.operator.kill().unwrap();
    let acting_calls =
        async |scene: &Scene| scene.simulator.ledger(DLQ).await.unwrap().calls_of("resume").count();
    let before = acting_calls(&scene).await;
    restart_with(&mut scene, &["--force-dry-run"]).await;
    let status = scene.ran("acting", 1).await;
    assert_eq!(status["lastRun"]["result"], "Cancelled");
    assert!(status["message"].as_str().unwrap().contains("--force-dry-run"), "{status:#}");
    let going_on = scene.policy("dry").await["status"]["currentRun"].take();
    assert_eq!(going_on["id"], dry["currentRun"]["id"], "a dry run continues");
    scene.simulator.clear_faults().await.unwrap();
    assert_eq!(scene.ran("dry", 1).await["lastRun"]["result"], "Succeeded");
    scene.annotate("acting", &[("requestedAt", "1")]).await;
    scene.apply("new", all(json!({ "action": "delete" }))).await;
    for (name, runs) in [("acting", 2), ("new", 1)] {
        let status = scene.ran(name, runs).await;
        assert_eq!(
            (&status["lastRun"]["dryRun"], &status["lastRun"]["reason"]),
            (&json!(true), &json!("DryRunSucceeded"))
        );
        let left = scene.simulator.entries(DLQ).await.unwrap();
        assert_eq!(status["lastRun"]["processed"], left["entries"].as_array().unwrap().len(), "{name}");
    }
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    let acting =
        ledger.calls.iter().filter(|call| !["list", "get"].contains(&call.operation.as_str())).count();
    // The simulator acts on the call that was under way when its caller died.
    assert!(acting <= before + 1, "{acting} acting calls, {before} of them before");

    restart_with(&mut scene, &[]).await;
    scene.slow_down(700).await;
    scene.annotate("acting", &[("requestedAt", "2")]).await;
    scene.status("acting", "a page has landed", has_paged).await;
    restart_with(&mut scene, &["--pause-all"]).await;
    let status = scene.ran("acting", 3).await;
    assert_eq!((&status["lastRun"]["result"], &status["phase"]), (&json!("Cancelled"), &json!("Paused")));
    for name in ["acting", "dry", "new"] {
        scene.condition(name, "Ready", "True", "Paused").await;
    }
    scene.annotate("new", &[("requestedAt", "1")]).await;
    wait_until_told(&scene, "new", "RunRequestIgnored", 1).await;

    scene.simulator.clear_faults().await.unwrap();
    restart_with(&mut scene, &[]).await;
    for (name, runs) in [("acting", 3), ("dry", 1), ("new", 1)] {
        let status = scene.condition(name, "Ready", "True", "Idle").await;
        assert_eq!(
            status["totals"]["runs"], runs,
            "{name}: what was cancelled or ignored is not begun by itself"
        );
    }
    scene.annotate("acting", &[("requestedAt", "3")]).await;
    let run = scene.ran("acting", 4).await["lastRun"].take();
    assert_eq!((&run["result"], &run["dryRun"]), (&json!("Succeeded"), &json!(false)));
    assert!(run["processed"].as_i64() > Some(0));
}

#[tokio::test]
async fn an_open_circuit_is_closed_by_a_reset_new_work_or_a_trial_that_succeeds_and_nothing_else() {
    let mut scene = Scene::start("closing").await;
    restart_with(&mut scene, &["--retry-limit=1"]).await;
    scene.simulator.allow("broken-token", "broken").await.unwrap();
    scene.apply_secret("broken", "token", "broken-token").await;
    let down = json!({ "status": { "code": 503 } });
    scene.simulator.set_faults(&json!([{ "fault": down }])).await.unwrap();
    let breaker = json!({ "failurePolicy": { "openCircuitAfter": 1 } });
    let mut broken = by_hand(breaker.clone());
    broken["connection"] = json!({ "tokenSecretRef": { "name": "broken", "key": "token" } });
    // The first run fails; the reset in the manifest is older than the circuit.
    let asked = annotations(&[("requestedAt", "1"), ("resetAt", "old")]);
    let names =
        ["reset", "reset-too-long", "new-work", "new-work-unscheduled", "tried", "tried-in-vain", "left"];
    join_all(names.iter().map(async |name| {
        let spec = match *name {
            "new-work-unscheduled" => all(breaker.clone()),
            "tried-in-vain" => broken.clone(),
            _ => by_hand(breaker.clone()),
        };
        scene.apply_annotated(name, spec, asked.clone()).await;
    }))
    .await;
    for name in names {
        let status = scene.condition(name, "Ready", "True", "CircuitOpen").await;
        assert_eq!(status["lastHandledResetAt"], "old", "{name}");
        wait_until_told(&scene, name, "CircuitOpened", 1).await;
    }
    scene.simulator.set_faults(&json!([{ "dlq": "broken", "fault": down }])).await.unwrap();
    scene.operator.kill().unwrap();
    scene.operator.restart(None).await.unwrap();
    for (name, status) in names.iter().zip(looked_at(&scene, &names).await) {
        assert_eq!(
            condition(&status, "Ready")["reason"],
            "CircuitOpen",
            "{name}: an edit or a restart is no reset"
        );
        assert_eq!(
            (&status["phase"], &status["totals"]["runs"]),
            (&json!("CircuitOpen"), &json!(1)),
            "{name}"
        );
    }

    scene.simulator.generate(DLQ, 5, &Entry::default()).await.unwrap();
    let too_long = "x".repeat(257);
    let asks = [
        ("reset", ("resetAt", "new")),
        ("reset-too-long", ("resetAt", too_long.as_str())),
        ("tried", ("requestedAt", "2")),
        ("tried-in-vain", ("requestedAt", "2")),
    ];
    join_all(asks.iter().map(|(name, asks)| scene.annotate(name, std::slice::from_ref(asks)))).await;
    for name in ["new-work", "new-work-unscheduled"] {
        scene.patch(name, json!({ "filters": { "all": null, "labels": ["new"] } })).await;
    }
    let is = |status: &Value, runs: i64, failures: i64, reason: &str| {
        status["totals"]["runs"] == runs
            && status["consecutiveFailures"] == failures
            && condition(status, "Ready")["reason"] == reason
            && status["currentRun"].is_null()
    };
    let table = [
        ("reset", 1, 0, "Scheduled", 1),
        ("reset-too-long", 1, 1, "CircuitOpen", 0),
        ("new-work", 1, 0, "Scheduled", 1),
        ("new-work-unscheduled", 2, 0, "Idle", 1),
        ("tried", 2, 0, "Scheduled", 1),
        ("tried-in-vain", 2, 2, "CircuitOpen", 0),
        ("left", 1, 1, "CircuitOpen", 0),
    ];
    for (name, runs, failures, reason, _) in table {
        scene.status(name, "it is as it should be", |status| is(status, runs, failures, reason)).await;
    }
    scene.operator.kill().unwrap();
    scene.operator.restart(None).await.unwrap();
    let statuses = looked_at(&scene, &names).await;
    for ((name, runs, failures, reason, closed), status) in table.iter().zip(statuses) {
        assert!(is(&status, *runs, *failures, reason), "{name}: it stays so: {status:#}");
        eventually(PATIENCE, "all is told", async || told(&scene, name, "CircuitClosed").await == *closed)
            .await
            .unwrap();
        assert_eq!(told(&scene, name, "CircuitOpened").await, 1, "{name}");
    }
    assert_eq!(scene.policy("tried").await["status"]["lastRun"]["processed"], 5);
}
