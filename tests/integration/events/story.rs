//! Which events there are, and how they read one after the other.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use dlq_operator::runtime::clock;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use testbed::{Entry, eventually};

use super::{events, reasons, told, wait_until_told};
use crate::generated_files::assert_is_current;
use crate::scene::{DLQ, PATIENCE, Scene};

/// All of them, and how serious each is.
const NORMAL: [&str; 9] = [
    "RunStarted",
    "RunSucceeded",
    "DryRunSucceeded",
    "LimitReached",
    "RunCancelled",
    "PolicySuspended",
    "PolicyUnsuspended",
    "CircuitClosed",
    "RunAlreadyActive",
];
const WARNING: [&str; 12] = [
    "RunFailed",
    "MissedSchedule",
    "InvalidSchedule",
    "InvalidTimeZone",
    "SecretNotFound",
    "Unauthorized",
    "UrlNotAllowed",
    "CircuitOpened",
    "RunRequestIgnored",
    "UncertainPage",
    "LoopPossible",
    "AwaitingApproval",
];

fn resume(further: Value) -> Value {
    let mut spec = json!({ "action": "resume", "filters": { "all": true } });
    spec.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    spec
}

fn secret(name: &str) -> Value {
    json!({ "tokenSecretRef": { "name": name, "key": "token" } })
}

/// A Secret for a DLQ of its own, of the same name.
async fn account(scene: &Scene, name: &str, entries: usize) -> Value {
    let token = format!("token-of-{name}");
    scene.simulator.allow(&token, name).await.unwrap();
    scene.simulator.generate(name, entries, &Entry::default()).await.unwrap();
    scene.apply_secret(name, "token", &token).await;
    secret(name)
}

#[tokio::test]
async fn every_event_of_the_list_comes_about_and_regards_its_policy() {
    let mut scene = Scene::start_with("events", &["--retry-limit=3"]).await;
    scene.apply_secret("refused", "token", "nobody-knows-this").await;
    let faults = json!([
        { "dlq": "slow", "fault": { "latency": { "ms": 1000 } } },
        { "dlq": "broken", "fault": { "status": { "code": 422 } } },
        { "dlq": "lossy", "nth": 1, "fault": { "lostAnswer": { "how": "close" } } },
    ]);
    scene.simulator.set_faults(&faults).await.unwrap();
    let (slow, broken) = (account(&scene, "slow", 200).await, account(&scene, "broken", 3).await);
    let lossy = account(&scene, "lossy", 3).await;
    let (dry, limited) = (account(&scene, "dry", 3).await, account(&scene, "limited", 3).await);
    let large = account(&scene, "large", 3).await;
    let evil = json!({ "url": "https://evil.example", "tokenSecretRef": secret("slow")["tokenSecretRef"] });
    let table = [
        ("late", resume(json!({ "schedule": "@every 6s", "startingDeadlineSeconds": 1 }))),
        ("slow", resume(json!({ "limits": { "pageSize": 1 }, "connection": slow }))),
        ("broken", resume(json!({ "failurePolicy": { "openCircuitAfter": 1 }, "connection": broken }))),
        ("lossy", resume(json!({ "connection": lossy }))),
        ("dry", resume(json!({ "dryRun": true, "connection": dry }))),
        ("limited", resume(json!({ "limits": { "maxEntriesPerRun": 2 }, "connection": limited }))),
        ("large", resume(json!({ "limits": { "approvalAbove": 2 }, "connection": large }))),
        ("held", resume(json!({ "suspend": true }))),
        ("cron", resume(json!({ "schedule": "61 * * * *" }))),
        ("zone", resume(json!({ "schedule": "@hourly", "timeZone": "Mars/Olympus" }))),
        ("secretless", resume(json!({ "connection": secret("no-such") }))),
        ("refused", resume(json!({ "connection": secret("refused") }))),
        ("elsewhere", resume(json!({ "connection": evil }))),
    ];
    for (name, spec) in &table {
        scene.apply(name, spec.clone()).await;
    }
    let works = |status: &Value| status["currentRun"]["pages"].as_i64() > Some(0);
    scene.status("slow", "a page has landed", works).await;
    scene.annotate("slow", &[("requestedAt", "1")]).await;
    wait_until_told(&scene, "slow", "RunAlreadyActive", 1).await;
    wait_until_told(&scene, "slow", "RunStarted", 1).await;
    scene.annotate("slow", &[("cancelAt", "1")]).await;
    wait_until_told(&scene, "held", "PolicySuspended", 1).await;
    scene.annotate("held", &[("requestedAt", "1")]).await;
    wait_until_told(&scene, "held", "RunRequestIgnored", 1).await;
    scene.patch("held", json!({ "suspend": false })).await;
    wait_until_told(&scene, "broken", "CircuitOpened", 1).await;
    scene.annotate("broken", &[("resetAt", "1")]).await;

    let status = scene.status("late", "it is seen", |status| status["scheduleSince"].is_string()).await;
    scene.ran("late", 1).await;
    wait_until_told(&scene, "broken", "CircuitClosed", 1).await;
    for (name, reason) in [
        ("slow", "RunCancelled"),
        ("lossy", "RunSucceeded"),
        ("dry", "DryRunSucceeded"),
        ("large", "AwaitingApproval"),
    ] {
        wait_until_told(&scene, name, reason, 1).await;
    }
    scene.operator.kill().unwrap();
    let since: Timestamp = status["scheduleSince"].as_str().unwrap().parse().unwrap();
    // A scheduled time passes, and then its deadline.
    let now = clock::now();
    eventually(PATIENCE, "a scheduled time is missed", async || {
        let since_then = clock::now().duration_since(since);
        clock::now().duration_since(now).as_secs() > 7 && (3..5).contains(&(since_then.as_secs() % 6))
    })
    .await
    .unwrap();
    scene.operator.restart(None).await.unwrap();
    wait_until_told(&scene, "late", "MissedSchedule", 1).await;

    let mut seen = BTreeSet::new();
    for (name, _) in &table {
        let policy = scene.policy(name).await;
        for event in events(&scene, name).await {
            let expected = json!({
                "apiVersion": "dlq-operator.dev/v1alpha1",
                "kind": "DlqPolicy",
                "name": name,
                "namespace": scene.namespace.name(),
                "uid": policy["metadata"]["uid"],
            });
            assert_eq!(event["regarding"], expected);
            assert_eq!(event["reportingController"], "dlq-operator");
            assert_eq!(event["reportingInstance"], "dlq-operator-0");
            assert_ne!(event["note"], "", "{event}");
            let reason = event["reason"].as_str().unwrap().to_owned();
            let kind = if NORMAL.contains(&reason.as_str()) { "Normal" } else { "Warning" };
            assert_eq!(event["type"], kind, "{event}");
            seen.insert(reason);
        }
    }
    let expected: BTreeSet<_> = NORMAL.iter().chain(&WARNING).map(|reason| (*reason).to_owned()).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_run_is_told_by_its_end_a_longer_one_by_its_start_too_and_one_that_found_nothing_not_at_all() {
    let scene = Scene::start_with("few-events", &["--checkpoint-interval=0"]).await;
    scene
        .simulator
        .set_faults(&json!([{ "dlq": "long", "fault": { "latency": { "ms": 1000 } } }]))
        .await
        .unwrap();
    scene.apply("empty", resume(json!({}))).await;
    scene.apply("empty-dry", resume(json!({ "dryRun": true }))).await;
    scene.ran("empty", 1).await;
    scene.ran("empty-dry", 1).await;
    let (long, short) = (account(&scene, "long", 7).await, account(&scene, "short", 30).await);
    scene.apply("long", resume(json!({ "limits": { "pageSize": 1 }, "connection": long }))).await;
    scene.apply("short", resume(json!({ "limits": { "pageSize": 3 }, "connection": short }))).await;
    for (name, told) in [("long", &["RunStarted", "RunSucceeded"][..]), ("short", &["RunSucceeded"])] {
        scene.ran(name, 1).await;
        wait_until_told(&scene, name, "RunSucceeded", 1).await;
        assert_eq!(reasons(&scene, name).await, told, "{name}");
    }
    for name in ["empty", "empty-dry"] {
        assert_eq!(reasons(&scene, name).await, Vec::<String>::new(), "{name}");
        // Nor was it only late.
        scene.annotate(name, &[("cancelAt", "x".repeat(300).as_str())]).await;
        wait_until_told(&scene, name, "RunRequestIgnored", 1).await;
        assert_eq!(reasons(&scene, name).await, ["RunRequestIgnored"], "{name}");
    }
    // What was held has not come later either.
    assert_eq!(reasons(&scene, "short").await, ["RunSucceeded"]);
}

/// What `kubectl describe` shows below `Events:`, but for the ages.
fn story(described: &str) -> String {
    let lines = described.lines().skip_while(|line| !line.starts_with("Events:")).skip(1);
    let mut story = String::new();
    for line in lines {
        let mut words = line.split_whitespace();
        let (kind, reason) = (words.next().unwrap(), words.next().unwrap());
        // `5s`, or `5s (x2 over 10s)`.
        let message = line.split_once("dlq-operator").map_or("", |(_, message)| message.trim());
        let times =
            line.split_once("(x").and_then(|(_, rest)| rest.split_once(' ')).map_or("", |(times, _)| times);
        if kind == "Normal" || kind == "Warning" {
            let times = if times.is_empty() { String::new() } else { format!(" (x{times})") };
            writeln!(story, "{kind:7}  {reason:17}  {message}{times}").unwrap();
        }
    }
    story
}

#[tokio::test]
async fn kubectl_describe_reads_like_a_story() {
    let scene = Scene::start_with("story", &["--retry-limit=2"]).await;
    let breaker = json!({
        "schedule": "0 0 1 1 *", "suspend": true, "failurePolicy": { "openCircuitAfter": 2 },
    });
    let mut asked = 0;
    let mut ask = async |scene: &Scene| {
        asked += 1;
        scene.annotate("payments", &[("requestedAt", &asked.to_string())]).await;
        scene.ran("payments", asked).await;
    };
    scene.apply("payments", resume(breaker)).await;
    wait_until_told(&scene, "payments", "PolicySuspended", 1).await;
    scene.patch("payments", json!({ "suspend": false })).await;
    wait_until_told(&scene, "payments", "PolicyUnsuspended", 1).await;
    ask(&scene).await;
    for _ in 0..2 {
        scene.simulator.generate(DLQ, 60, &Entry::default()).await.unwrap();
        ask(&scene).await;
    }
    wait_until_told(&scene, "payments", "RunSucceeded", 2).await;
    scene.simulator.set_faults(&json!([{ "fault": { "status": { "code": 503 } } }])).await.unwrap();
    ask(&scene).await;
    scene.simulator.set_faults(&json!([{ "fault": { "status": { "code": 422 } } }])).await.unwrap();
    ask(&scene).await;
    wait_until_told(&scene, "payments", "CircuitOpened", 1).await;
    scene.simulator.clear_faults().await.unwrap();
    scene.annotate("payments", &[("resetAt", "1")]).await;
    wait_until_told(&scene, "payments", "CircuitClosed", 1).await;
    assert_eq!(told(&scene, "payments", "RunFailed").await, 2);
    assert_is_current(
        "tests/data/kubectl-describe.txt",
        &story(&scene.kubectl(&["describe", "dlqp", "payments"]).await),
    );
}

/// Runs that fail every second, and how often events are written meanwhile.
#[tokio::test]
async fn a_policy_that_fails_every_second_floods_nobody() {
    use testbed::CallKind;
    let (scene, proxy) = crate::api_server_trouble::behind_a_proxy("flood", &[]).await;
    scene.simulator.set_faults(&json!([{ "fault": { "status": { "code": 422 } } }])).await.unwrap();
    let since = std::time::Instant::now();
    scene.apply("failing", resume(json!({ "schedule": "@every 1s" }))).await;
    scene.ran("failing", 18).await;
    let told_of: Vec<_> =
        reasons(&scene, "failing").await.into_iter().filter(|reason| reason != "LoopPossible").collect();
    assert_eq!(told_of, ["RunFailed"], "one series");
    let counted = told(&scene, "failing", "RunFailed").await;
    // Runs go on while somebody looks: those that were told of have ended by now.
    let runs = scene.policy("failing").await["status"]["totals"]["runs"].as_i64().unwrap();
    assert!((10..=runs + 1).contains(&counted), "{counted} of {runs}");
    let written = proxy.counts_since(since).get(&CallKind::WriteEvent).copied().unwrap_or_default();
    let took = SignedDuration::try_from(since.elapsed()).unwrap().as_secs();
    assert!(written <= 10 + usize::try_from(took / 10).unwrap() + 1, "{written} writes in {took} s");
}
