//! What a user gets to read when something is wrong, and that nothing is hammered meanwhile.

use std::time::{Duration, Instant};

use serde_json::json;
use testbed::{Entry, Fate, eventually};

use crate::scene::{DLQ, PATIENCE, Scene, TOKEN, condition};

fn all() -> serde_json::Value {
    json!({ "action": "resume", "filters": { "all": true } })
}

#[tokio::test]
async fn a_missing_secret_is_waited_for_and_then_the_run_starts() {
    let scene = Scene::start("secret").await;
    scene.simulator.generate(DLQ, 3, &Entry::default()).await.unwrap();
    let mut spec = all();
    spec["connection"] = json!({ "tokenSecretRef": { "name": "later", "key": "token" } });
    scene.apply("waits", spec).await;
    let status = scene.condition("waits", "Ready", "False", "SecretNotFound").await;
    assert_eq!(condition(&status, "Reconciling")["status"], "True");
    assert!(condition(&status, "Stalled").is_null());
    assert_eq!(status["phase"], "Pending");
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("later") && message.contains("key token"), "{message}");

    scene.apply_secret("later", "other", TOKEN).await;
    // A new generation is looked at afresh, not only once a minute.
    scene.patch("waits", json!({ "historyLimit": 5 })).await;
    scene.condition("waits", "Ready", "False", "SecretKeyNotFound").await;
    scene.apply_secret("later", "token", TOKEN).await;
    scene.patch("waits", json!({ "historyLimit": 6 })).await;
    let status = scene.ran("waits", 1).await;
    assert_eq!(status["lastRun"]["processed"], 3);
    assert_eq!(condition(&status, "Ready")["status"], "True");
    assert!(condition(&status, "Reconciling").is_null());
}

#[tokio::test]
async fn a_missing_secret_that_comes_is_found_within_a_minute() {
    let scene = Scene::start("secret").await;
    let mut spec = all();
    spec["connection"] = json!({ "tokenSecretRef": { "name": "later", "key": "token" } });
    scene.apply("waits", spec).await;
    scene.condition("waits", "Ready", "False", "SecretNotFound").await;
    scene.apply_secret("later", "token", TOKEN).await;
    eventually(Duration::from_secs(75), "the policy finds its Secret", async || {
        scene.policy("waits").await["status"]["totals"]["runs"] == 1
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn where_secrets_are_watched_a_policy_that_waits_for_one_goes_on_at_once() {
    let scene = Scene::start_with("watched", &["--secret-access=watch"]).await;
    let token = |name: &str| json!({ "tokenSecretRef": { "name": name, "key": "token" } });
    scene.apply_secret("other-key", "another", "not-a-token-yet").await;
    scene.apply_secret("refused", "token", "nobodys-token").await;
    let table =
        [("later", "SecretNotFound"), ("other-key", "SecretKeyNotFound"), ("refused", "Unauthorized")];
    for (name, reason) in table {
        let mut spec = all();
        spec["connection"] = token(name);
        scene.apply(name, spec).await;
        scene.condition(name, "Ready", "False", reason).await;
    }
    let since = Instant::now();
    for (name, _) in table {
        let runs = scene.policy(name).await["status"]["totals"]["runs"].as_i64().unwrap();
        scene.apply_secret(name, "token", TOKEN).await;
        scene.ran(name, runs + 1).await;
        scene.condition(name, "Ready", "True", "Idle").await;
    }
    assert!(since.elapsed() < Duration::from_secs(40), "{:?}", since.elapsed());
}

#[tokio::test]
async fn what_no_rule_of_the_api_server_catches_is_stalled_with_the_way_out() {
    let scene = Scene::start("stalled").await;
    let token = json!({ "name": "upstash", "key": "token" });
    let table = [
        ("cron", json!({ "schedule": "61 * * * *" }), "InvalidSchedule", "spec.schedule"),
        ("never", json!({ "schedule": "0 0 31 2 *" }), "InvalidSchedule", "no such day"),
        (
            "zone",
            json!({ "schedule": "@hourly", "timeZone": "Mars/Olympus" }),
            "InvalidTimeZone",
            "Mars/Olympus",
        ),
        (
            "url",
            json!({ "connection": { "url": "https://evil.example", "tokenSecretRef": token } }),
            "UrlNotAllowed",
            "--allowed-url",
        ),
        (
            "look-alike",
            json!({ "connection": { "url": "https://qstash.upstash.io.evil.example", "tokenSecretRef": token } }),
            "UrlNotAllowed",
            "spec.connection.url",
        ),
    ];
    for (name, part, _, _) in &table {
        let mut spec = all();
        spec.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        scene.apply(name, spec).await;
    }
    for (name, _, reason, hint) in &table {
        let status = scene.condition(name, "Ready", "False", reason).await;
        assert_eq!(condition(&status, "Stalled")["reason"], *reason);
        assert_eq!(status["phase"], "Invalid");
        let message = status["message"].as_str().unwrap();
        assert!(message.contains(hint), "{name}: {message}");
        assert_eq!(status["observedGeneration"], 1);
    }
    assert_eq!(scene.simulator.ledger(DLQ).await.unwrap().calls.len(), 0);
    // Mended, it runs.
    scene.patch("zone", json!({ "timeZone": "Europe/Berlin" })).await;
    let status = scene.condition("zone", "Ready", "True", "Scheduled").await;
    assert!(condition(&status, "Stalled").is_null());
}

#[tokio::test]
async fn without_a_connection_a_namespace_that_has_no_default_is_told_so() {
    let scene = Scene::start("default").await;
    let manifest = json!({
        "apiVersion": "dlq-operator.dev/v1alpha1",
        "kind": "DlqPolicy",
        "metadata": { "name": "none", "namespace": scene.namespace.name() },
        "spec": all(),
    });
    scene.control_plane.kubectl_apply(&manifest.to_string()).await.unwrap().ok().unwrap();
    let status = scene.condition("none", "Ready", "False", "NoConnection").await;
    assert!(status["message"].as_str().unwrap().contains("tokenSecretRef"));
}

#[tokio::test]
async fn the_default_connection_serves_the_operators_own_namespace() {
    let mut scene = Scene::start("default").await;
    scene.simulator.generate(DLQ, 3, &Entry::default()).await.unwrap();
    let mut options =
        testbed::OperatorOptions::new(scene.control_plane, &scene.simulator, scene.namespace.name());
    options.env.push(("QSTASH_TOKEN".to_owned(), TOKEN.to_owned()));
    scene.operator.restart(Some(options)).await.unwrap();
    let manifest = json!({
        "apiVersion": "dlq-operator.dev/v1alpha1",
        "kind": "DlqPolicy",
        "metadata": { "name": "default", "namespace": scene.namespace.name() },
        "spec": all(),
    });
    scene.control_plane.kubectl_apply(&manifest.to_string()).await.unwrap().ok().unwrap();
    assert_eq!(scene.ran("default", 1).await["lastRun"]["processed"], 3);
}

#[tokio::test]
async fn a_refused_token_costs_one_call_and_a_new_one_starts_the_run_again() {
    let scene = Scene::start("token").await;
    scene.simulator.generate(DLQ, 3, &Entry::default()).await.unwrap();
    scene.apply_secret("bad", "token", "no-such-token").await;
    let mut spec = all();
    spec["connection"] = json!({ "tokenSecretRef": { "name": "bad", "key": "token" } });
    scene.apply("refused", spec).await;
    let status = scene.condition("refused", "Ready", "False", "Unauthorized").await;
    assert_eq!(condition(&status, "Stalled")["reason"], "Unauthorized");
    assert_eq!(condition(&status, "LastRunSucceeded")["reason"], "Unauthorized");
    assert_eq!(status["lastRun"]["result"], "Failed");
    assert!(status["message"].as_str().unwrap().contains("valid token"));
    // Looking at it again does not try the token again.
    scene.patch("refused", json!({ "historyLimit": 5 })).await;
    scene.status("refused", "the edit is seen", |status| status["observedGeneration"] == 2).await;
    assert_eq!(scene.simulator.ledger("_unauthorized").await.unwrap().calls.len(), 1);

    scene.apply_secret("bad", "token", TOKEN).await;
    scene.patch("refused", json!({ "historyLimit": 6 })).await;
    let status =
        scene.status("refused", "the new token drains", |status| status["totals"]["processed"] == 3).await;
    assert_eq!(condition(&status, "Ready")["status"], "True");
}

#[tokio::test]
async fn a_token_rotated_before_the_refusal_is_read_once_more_and_the_run_goes_on() {
    let scene = Scene::start("rotated").await;
    scene.simulator.generate(DLQ, 200, &Entry::default()).await.unwrap();
    scene
        .simulator
        .set_faults(&json!([{ "dlq": DLQ, "fault": { "latency": { "ms": 1000 } } }]))
        .await
        .unwrap();
    scene.apply("rotated", all()).await;
    scene
        .status("rotated", "a page has landed", |status| status["currentRun"]["pages"].as_i64() > Some(0))
        .await;
    scene.simulator.allow("newer-token", DLQ).await.unwrap();
    scene.apply_secret("upstash", "token", "newer-token").await;
    scene.simulator.send(reqwest::Method::DELETE, &format!("/tokens/{TOKEN}"), None).await.unwrap();
    let status = scene.ran("rotated", 1).await;
    assert_eq!(
        (&status["lastRun"]["result"], &status["lastRun"]["processed"]),
        (&json!("Succeeded"), &json!(200))
    );
    assert_eq!(status["totals"]["runs"], 1);
    assert_eq!(scene.simulator.ledger("_unauthorized").await.unwrap().calls.len(), 1, "the old token, once");
}

#[tokio::test]
async fn a_request_that_the_api_refuses_ends_the_run_at_once() {
    let scene = Scene::start("refused").await;
    let refusal = json!({ "status": { "code": 400, "body": "{\"error\":\"no such filter\"}" } });
    scene.simulator.set_faults(&json!([{ "fault": refusal }])).await.unwrap();
    scene.apply("refused", all()).await;
    let status = scene.ran("refused", 1).await;
    let last = condition(&status, "LastRunSucceeded");
    assert_eq!((&last["status"], &last["reason"]), (&json!("False"), &json!("BadRequest")));
    assert!(last["message"].as_str().unwrap().contains("no such filter"), "{last}");
    assert_eq!(condition(&status, "Ready")["status"], "True", "a run that fails turns no health check red");
    assert_eq!(status["phase"], "Failed");
    // Once for this spec, not again and again.
    scene.patch("refused", json!({ "historyLimit": 5 })).await;
    scene.status("refused", "the edit is seen", |status| status["observedGeneration"] == 2).await;
    assert_eq!(
        scene.simulator.ledger(DLQ).await.unwrap().calls.len(),
        2,
        "the action, and a list to see whose fault it is"
    );
}

#[tokio::test]
async fn a_read_only_token_can_do_dry_runs_and_is_named_otherwise() {
    let scene = Scene::start("read-only").await;
    scene.simulator.generate(DLQ, 120, &Entry::default()).await.unwrap();
    scene.simulator.allow_read_only("token-that-only-reads", DLQ).await.unwrap();
    scene.apply_secret("reader", "token", "token-that-only-reads").await;
    let connection = json!({ "tokenSecretRef": { "name": "reader", "key": "token" } });
    let mut dry = all();
    dry["connection"] = connection.clone();
    dry["dryRun"] = true.into();
    scene.apply("dry", dry).await;
    let status = scene.ran("dry", 1).await;
    assert_eq!(status["lastRun"]["processed"], 120);
    assert_eq!(condition(&status, "LastRunSucceeded")["reason"], "DryRunSucceeded");
    assert_eq!(status["totals"]["processed"], 0, "dry runs are not in the total");

    let mut acting = all();
    acting["connection"] = connection;
    scene.apply("acting", acting).await;
    let status = scene.condition("acting", "Ready", "False", "ReadOnlyToken").await;
    assert_eq!(condition(&status, "LastRunSucceeded")["reason"], "Forbidden");
    // It is not tried again with the same token.
    scene.patch("acting", json!({ "historyLimit": 5 })).await;
    let status = scene.status("acting", "the edit is seen", |status| status["observedGeneration"] == 2).await;
    assert_eq!(status["totals"]["runs"], 1);
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_eq!(ledger.with_fate(Fate::InDlq).count(), 120);
    assert_eq!(ledger.calls_of("resume").count(), 1);
}

#[tokio::test]
async fn an_object_that_the_operator_cannot_read_harms_only_itself() {
    let mut scene = Scene::start("poison").await;
    scene.simulator.generate(DLQ, 3, &Entry::default()).await.unwrap();
    scene.apply("poisoned", json!({ "action": "resume", "filters": { "labels": ["none"] } })).await;
    scene.ran("poisoned", 1).await;
    // The API server takes this time, and Rust's types do not.
    scene
        .patch_status(
            "poisoned",
            json!([{ "op": "add", "path": "/status/scheduleSince", "value": "9999-12-31T23:59:59Z" }]),
        )
        .await;
    scene.annotate("poisoned", &[("requestedAt", "now")]).await;
    let status = scene.condition("poisoned", "Ready", "False", "InvalidSpec").await;
    let message = status["message"].as_str().unwrap();
    assert!(message.starts_with("status.scheduleSince cannot be read: "), "{message}");
    // The way out is a command.
    let (_, command) = message.split_once("clear it: kubectl ").unwrap();
    let (args, patch) = command.split_once(" -p ").unwrap();
    let args: Vec<_> = args.split(' ').chain(["-p", patch.trim_matches('\'')]).collect();
    // What was done is still known once somebody has fixed it, also to another process.
    scene.operator.restart(None).await.unwrap();
    scene.control_plane.kubectl(&args).await.unwrap().ok().unwrap();
    scene.patch("poisoned", json!({ "historyLimit": 5 })).await;
    let status = scene.ran("poisoned", 2).await;
    assert_eq!(
        status["lastRun"]["trigger"], "Manual",
        "the request is handled, the spec not again: {status}"
    );
    assert_eq!(
        (&status["totals"]["runs"], &condition(&status, "Ready")["status"]),
        (&json!(2), &json!("True"))
    );

    scene.apply("healthy", all()).await;
    assert_eq!(scene.ran("healthy", 1).await["lastRun"]["processed"], 3);
}

#[tokio::test]
async fn an_answer_of_a_hundred_mebibytes_does_not_eat_the_memory() {
    let scene = Scene::start_with("huge", &["--retry-limit=2"]).await;
    scene.simulator.generate(DLQ, 3, &Entry::default()).await.unwrap();
    let huge = json!({ "body": { "kind": "huge", "bytes": 100 << 20 } });
    scene.simulator.set_faults(&json!([{ "fault": huge }])).await.unwrap();
    scene.apply("huge", all()).await;
    let status = scene.ran("huge", 1).await;
    assert_eq!(status["lastRun"]["reason"], "UpstreamUnavailable");
    assert!(status["lastRun"]["message"].as_str().unwrap().contains("16 MiB"), "{status}");
    assert_eq!(status["lastRun"]["uncertainPages"], 2);
    let process =
        std::fs::read_to_string(format!("/proc/{}/status", scene.operator.process().pid())).unwrap();
    let peak: u64 = process
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|line| line.split_whitespace().next())
        .unwrap()
        .parse()
        .unwrap();
    assert!(peak < 90 * 1024, "the operator's peak is {peak} KiB");
}

#[tokio::test]
async fn no_token_is_in_the_log_or_the_status() {
    let scene = Scene::start("secretive").await;
    let echo = |body: String| json!({ "fault": { "status": { "code": 400, "body": body } } });
    for (name, body) in [
        ("json", json!({ "error": format!("{TOKEN} may not do this") }).to_string()),
        ("html", format!("<html>Authorization: Bearer {TOKEN}</html>")),
    ] {
        scene.simulator.set_faults(&json!([echo(body)])).await.unwrap();
        scene.apply(name, all()).await;
        let status = scene.ran(name, 1).await;
        assert!(status["lastRun"]["message"].as_str().unwrap().contains("[token]"), "{status}");
    }
    let policy = scene.kubectl(&["get", "dlqpolicies,events", "--output=yaml"]).await;
    let log = scene.operator.log();
    assert!(log.contains("run_id"), "{log}");
    assert!(!policy.contains(TOKEN) && !log.contains(TOKEN));
    eventually(PATIENCE, "the failure is an event", async || {
        scene.kubectl(&["get", "events", "--output=yaml"]).await.contains("RunFailed")
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_token_goes_nowhere_else() {
    let scene = Scene::start("redirect").await;
    let elsewhere = testbed::Simulator::start().await.unwrap();
    let location = format!("{}/v2/workflows/dlq/resume", elsewhere.api_url());
    let redirect = json!({ "status": { "code": 307, "headers": { "Location": location } } });
    scene.simulator.set_faults(&json!([{ "fault": redirect }])).await.unwrap();
    scene.apply("redirected", all()).await;
    let status = scene.ran("redirected", 1).await;
    assert_eq!(status["lastRun"]["reason"], "BadRequest");
    assert!(status["message"].as_str().unwrap().contains("307"), "{status}");
    assert_eq!(elsewhere.ledger("_unauthorized").await.unwrap().calls.len(), 0);
}

#[tokio::test]
async fn an_answer_that_never_comes_is_given_up_on_in_time() {
    let scene = Scene::start_with("hangs", &["--request-timeout=500ms", "--retry-limit=2"]).await;
    scene.simulator.generate(DLQ, 3, &Entry::default()).await.unwrap();
    scene.simulator.set_faults(&json!([{ "fault": { "lostAnswer": { "how": "hang" } } }])).await.unwrap();
    scene.apply("hangs", all()).await;
    let run = scene.ran("hangs", 1).await["lastRun"].clone();
    assert_eq!((&run["reason"], &run["uncertainPages"]), (&json!("UpstreamUnavailable"), &json!(2)));
    assert!(run["message"].as_str().unwrap().contains("no answer in time"), "{run}");
}

#[tokio::test]
async fn a_refused_token_is_not_tried_again_by_the_next_process() {
    let mut scene = Scene::start("refused-restart").await;
    scene.apply_secret("upstash", "token", "nobody-knows-it").await;
    let mut spec = all();
    spec["failurePolicy"] = json!({ "openCircuitAfter": 3 });
    scene.apply("refused", spec).await;
    scene.condition("refused", "Ready", "False", "Unauthorized").await;
    for generation in 2..5 {
        scene.operator.restart(None).await.unwrap();
        scene.patch("refused", json!({ "historyLimit": generation })).await;
        let status = scene
            .status("refused", "the next process has looked", |status| {
                status["observedGeneration"] == generation
            })
            .await;
        assert_eq!(status["totals"]["runs"], 1, "{status:#}");
    }
    scene.apply_secret("upstash", "token", TOKEN).await;
    scene.patch("refused", json!({ "historyLimit": 9 })).await;
    assert_eq!(scene.ran("refused", 2).await["lastRun"]["result"], "Succeeded");
}

#[tokio::test]
async fn a_quota_that_is_used_up_ends_the_run_at_once_and_opens_no_circuit() {
    let scene = Scene::start("quota").await;
    scene.simulator.generate(DLQ, 3, &Entry::default()).await.unwrap();
    scene.simulator.set_faults(&json!([{ "fault": { "quota": {} } }])).await.unwrap();
    let mut policy = all();
    policy["failurePolicy"] = json!({ "openCircuitAfter": 1 });
    scene.apply("quota", policy).await;
    let status = scene.ran("quota", 1).await;
    let run = &status["lastRun"];
    assert_eq!(
        (&run["result"], &run["reason"], &run["retries"], &status["consecutiveFailures"]),
        (&json!("Failed"), &json!("QuotaExceeded"), &json!(0), &json!(0)),
        "{status:#}"
    );
    let message = run["message"].as_str().unwrap();
    assert!(message.contains("412") && message.ends_with("a daily quota passes by itself"), "{message}");
    assert_eq!(condition(&status, "Ready")["status"], "True");
    assert_eq!(scene.simulator.ledger(DLQ).await.unwrap().calls.len(), 1, "it is not tried again");
    scene.simulator.clear_faults().await.unwrap();
    scene.annotate("quota", &[("requestedAt", "1")]).await;
    assert_eq!(scene.ran("quota", 2).await["lastRun"]["processed"], 3, "no circuit is in the way");
}
