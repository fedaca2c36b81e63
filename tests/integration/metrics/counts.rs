//! What is counted, and that it is what happened.

use std::collections::BTreeMap;

use serde_json::json;
use testbed::{Entry, Fate};

use super::scrape::Scrape;
use super::{resume, scene, with};
use crate::at_most_once::tempt;
use crate::scene::{DLQ, Scene};

#[tokio::test]
async fn counts_are_those_of_the_ledger_and_of_the_statuses() {
    let scene = scene("counts", &["--checkpoint-interval=0"]).await;
    let other = |name: &str| json!({ "tokenSecretRef": { "name": name, "key": "token" } });
    // Its second page has no answer, and its fourth comes too soon.
    scene.simulator.allow("shaky-token", "shaky").await.unwrap();
    scene.apply_secret("shaky", "token", "shaky-token").await;
    scene.simulator.generate("shaky", 200, &Entry::default()).await.unwrap();
    let rules = json!([
        { "dlq": "shaky", "operation": ["resume"], "nth": 2, "fault": { "lostAnswer": { "how": "close" } } },
        { "dlq": "shaky", "nth": 4, "fault": { "rateLimit": { "headers": "retryAfter", "resetInSeconds": 3 } } },
    ]);
    scene.simulator.set_faults(&rules).await.unwrap();
    scene.apply("shaky", with(resume(), json!({ "connection": other("shaky") }))).await;
    let shaky = scene.ran("shaky", 1).await;
    assert_eq!(shaky["lastRun"]["uncertainPages"], 1, "{shaky:#}");
    // A token that nobody knows.
    scene.apply_secret("unknown", "token", "unknown-token").await;
    scene.apply("refused", with(resume(), json!({ "connection": other("unknown") }))).await;
    scene.ran("refused", 1).await;
    // Two scheduled times have passed for which it is too late.
    scene
        .apply("missed", with(resume(), json!({ "schedule": "0 * * * *", "startingDeadlineSeconds": 1 })))
        .await;
    scene.condition("missed", "Ready", "True", "Scheduled").await;
    let long_ago = dlq_operator::runtime::clock::now() - jiff::SignedDuration::from_hours(2);
    let since = json!([{ "op": "replace", "path": "/status/scheduleSince", "value": long_ago.to_string().split('.').next().map(|time| format!("{}Z", time.trim_end_matches('Z'))) }]);
    scene.patch_status("missed", since).await;
    scene.patch("missed", json!({ "historyLimit": 7 })).await;
    let missed = scene
        .status("missed", "the misses are counted", |status| status["missedSchedules"].as_i64() > Some(0))
        .await;
    // What matches is no entry that was acted on.
    scene.simulator.generate(DLQ, 30, &Entry::default()).await.unwrap();
    scene.apply("dry", with(resume(), json!({ "dryRun": true }))).await;
    assert_eq!(scene.ran("dry", 1).await["lastRun"]["processed"], 30);

    let scrape = Scrape::until(scene.operator.admin_url(), "the last run is counted", |scrape| {
        scrape.count("runs_total", &[("name", "dry"), ("result", "Succeeded")]) == Some(1)
            && scrape.count("last_run_timestamp_seconds", &[("name", "dry")]) > Some(0)
    })
    .await;
    let count = |name: &str, labels: &[(&str, &str)]| scrape.count(name, labels);
    let of = |policy: &'static str| [("name", policy)];
    for (policy, trigger, result) in
        [("once", "Spec", "Succeeded"), ("shaky", "Spec", "Succeeded"), ("refused", "Spec", "Failed")]
    {
        let run = [("name", policy), ("action", "resume"), ("trigger", trigger), ("result", result)];
        assert_eq!(count("runs_total", &run), Some(1), "{policy}");
        assert_eq!(count("runs_total", &of(policy)), Some(1), "{policy}");
        let status = scene.policy(policy).await["status"].take();
        let processed = status["totals"]["processed"].as_i64();
        assert_eq!(count("entries_processed_total", &of(policy)), processed, "{policy}");
        assert_eq!(count("consecutive_failures", &of(policy)), status["consecutiveFailures"].as_i64());
        let uncertain = status["lastRun"]["uncertainPages"].as_i64();
        assert_eq!(count("uncertain_pages_total", &of(policy)), uncertain, "{policy}");
    }
    let (main, shaky) =
        (scene.simulator.ledger(DLQ).await.unwrap(), scene.simulator.ledger("shaky").await.unwrap());
    let resumed = i64::try_from(main.with_fate(Fate::Resumed).count()).unwrap();
    assert_eq!(count("entries_processed_total", &of("once")), Some(resumed));
    assert_eq!(count("entries_processed_total", &of("dry")), Some(0));
    assert_eq!(count("missed_schedules_total", &of("missed")), missed["missedSchedules"].as_i64());
    assert_eq!(
        count("run_duration_seconds_count", &[("action", "resume"), ("result", "Succeeded")]),
        Some(3)
    );
    assert_eq!(count("run_duration_seconds_count", &[("action", "resume"), ("result", "Failed")]), Some(1));

    let unauthorized = scene.simulator.ledger("_unauthorized").await.unwrap();
    let mut answers: BTreeMap<String, i64> = BTreeMap::new();
    for call in [&main, &shaky, &unauthorized].iter().flat_map(|ledger| &ledger.calls) {
        let code = if call.delivered { call.status.to_string() } else { "error".to_owned() };
        *answers.entry(code).or_default() += 1;
    }
    assert!(["200", "401", "429", "error"].iter().all(|code| answers.contains_key(*code)), "{answers:?}");
    for (code, calls) in &answers {
        assert_eq!(count("upstash_requests_total", &[("code", code)]), Some(*calls), "{code}: {answers:?}");
    }
    assert_eq!(count("upstash_requests_total", &[]), Some(answers.values().sum()));
    assert_eq!(count("upstash_request_duration_seconds_count", &[]), Some(answers.values().sum()));
    let waited = scrape.sum("rate_limited_seconds_total", &[]).unwrap();
    assert!((2.0..=4.5).contains(&waited), "{waited}");
    assert!(count("status_writes_total", &[("result", "success")]) >= Some(8));
    assert!(count("reconcile_total", &[("result", "success")]) >= Some(8));
    assert!(count("reconcile_duration_seconds_count", &[]) >= Some(8));
    assert_eq!(count("leader", &[]), Some(1));
    for token in ["shaky-token", "unknown-token", crate::scene::TOKEN] {
        assert!(!scrape.text.contains(token));
    }
}

#[tokio::test]
async fn what_was_left_alone_is_shown_by_reason_and_what_came_back_is_counted() {
    let scene = scene("left-alone", &[]).await;
    let failed = |status: u16| Entry { response_status: Some(status), ..Entry::default() };
    scene.simulator.generate(DLQ, 20, &failed(503)).await.unwrap();
    scene.simulator.generate(DLQ, 7, &failed(404)).await.unwrap();
    tempt(&scene.simulator, DLQ).await;
    let protected =
        json!({ "match": { "responseStatuses": ["503"] }, "loopProtection": { "maxAttempts": 2 } });
    scene.apply("protected", with(resume(), protected)).await;
    for run in 1..=3 {
        scene.ran("protected", run).await;
        scene.annotate("protected", &[("requestedAt", &run.to_string())]).await;
    }
    scene.ran("protected", 4).await;
    let left = |reason: &'static str| [("name", "protected"), ("reason", reason)];
    let scrape = Scrape::until(scene.operator.admin_url(), "the last run is shown", |scrape| {
        scrape.count("runs_total", &[("name", "protected"), ("result", "Succeeded")]) == Some(4)
            && scrape.count("entries_skipped", &left("exhausted")) == Some(20)
    })
    .await;
    assert_eq!(scrape.count("entries_skipped", &left("status")), Some(7));
    assert_eq!(scrape.count("entries_skipped", &left("non_retryable")), Some(0));
    // Twenty after each of two runs, however many runs see the last of them.
    assert_eq!(scrape.count("entries_returned_total", &[("name", "protected")]), Some(40));
    // Nothing is said of policies that look at no entry.
    assert_eq!(scrape.count("entries_skipped", &[("name", "once")]), None);
    assert_eq!(scrape.count("entries_returned_total", &[("name", "once")]), None);
}

#[tokio::test]
async fn a_scheduled_run_is_counted_with_how_late_it_started() {
    let scene = Scene::start("lateness").await;
    scene.apply("often", with(resume(), json!({ "schedule": "@every 2s" }))).await;
    scene.ran("often", 2).await;
    scene.patch("often", json!({ "suspend": true })).await;
    let held = scene.condition("often", "Ready", "True", "Suspended").await;
    let runs = held["totals"]["runs"].as_i64();
    let run = [("name", "often"), ("trigger", "Schedule"), ("result", "Succeeded")];
    let scrape = Scrape::until(scene.operator.admin_url(), "the runs are counted", |scrape| {
        scrape.count("runs_total", &run) == runs && scrape.count("run_active", &[]) == Some(0)
    })
    .await;
    assert_eq!(scrape.count("schedule_lateness_seconds_count", &[]), runs);
    let lateness = scrape.sum("schedule_lateness_seconds_sum", &[]).unwrap();
    assert!((0.0..60.0).contains(&lateness), "{lateness}");
    assert_eq!(
        scrape.count("next_run_timestamp_seconds", &[("name", "often")]),
        None,
        "none while suspended"
    );
}

#[tokio::test]
async fn without_single_policies_counts_are_sums_without_their_names() {
    let scene = scene("sums", &["--per-policy-metrics=off"]).await;
    scene.apply("empty", resume()).await;
    scene.ran("empty", 1).await;
    let run = [("action", "resume"), ("trigger", "Spec"), ("result", "Succeeded")];
    let scrape = Scrape::until(scene.operator.admin_url(), "both runs are counted", |scrape| {
        scrape.count("runs_total", &run) == Some(2) && scrape.count("run_active", &[]) == Some(0)
    })
    .await;
    assert_eq!(scrape.count("entries_processed_total", &[("action", "resume")]), Some(120));
    assert_eq!(scrape.count("missed_schedules_total", &[]), Some(0));
    assert!(!scrape.text.contains("namespace=") && !scrape.text.contains("name=\""), "{}", scrape.text);
    for absent in
        ["policy_info", "last_run_timestamp_seconds", "next_run_timestamp_seconds", "consecutive_failures"]
    {
        assert_eq!(scrape.sum(absent, &[]), None, "{absent}");
    }
}
