//! `/metrics` and the other paths of the admin server, while a real operator works.

pub(crate) mod reference;
pub(crate) mod scrape;

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::Path;

use serde_json::{Value, json};
use testbed::{
    Entry, Fate, Operator, Process, Program, Prometheus, ScratchDir, Signal, binary, eventually, promtool,
};

use crate::replicas::{FIRST, Replicas};
use crate::scene::{DLQ, PATIENCE, Scene};
use scrape::{OPENMETRICS, Scrape, TEXT, get};

/// What people may build on: name, type and labels of each metric, as alerts and dashboards know them.
const METRICS: &str = "
    dlq_operator_build_info                         gauge      version revision
    dlq_operator_policy_info                        gauge      namespace name action schedule
    dlq_operator_policy_condition                   gauge      namespace name type status
    dlq_operator_runs_total                         counter    namespace name action trigger result
    dlq_operator_run_duration_seconds               histogram  action result
    dlq_operator_run_active                         gauge      namespace name
    dlq_operator_last_run_timestamp_seconds         gauge      namespace name
    dlq_operator_last_success_timestamp_seconds     gauge      namespace name
    dlq_operator_next_run_timestamp_seconds         gauge      namespace name
    dlq_operator_entries_processed_total            counter    namespace name action
    dlq_operator_uncertain_pages_total              counter    namespace name
    dlq_operator_missed_schedules_total             counter    namespace name
    dlq_operator_schedule_lateness_seconds          histogram
    dlq_operator_circuit_open                       gauge      namespace name
    dlq_operator_consecutive_failures               gauge      namespace name
    dlq_operator_upstash_requests_total             counter    operation code
    dlq_operator_upstash_request_duration_seconds   histogram  operation
    dlq_operator_rate_limited_seconds_total         counter
    dlq_operator_reconcile_total                    counter    result
    dlq_operator_reconcile_errors_total             counter    reason
    dlq_operator_reconcile_duration_seconds         histogram
    dlq_operator_status_writes_total                counter    result
    dlq_operator_leader                             gauge
    dlq_operator_clock_offset_seconds               gauge
    process_cpu_seconds_total                       counter
    process_open_fds                                gauge
    process_max_fds                                 gauge
    process_virtual_memory_bytes                    gauge
    process_resident_memory_bytes                   gauge
    process_start_time_seconds                      gauge
";

/// Name, type and labels.
fn metrics() -> impl Iterator<Item = (&'static str, &'static str, BTreeSet<&'static str>)> {
    METRICS.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.next().unwrap(), words.collect()))
    })
}

fn resume() -> Value {
    json!({ "action": "resume", "filters": { "all": true }, "limits": { "pageSize": 50 } })
}

fn with(mut spec: Value, more: Value) -> Value {
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

/// A scene in which one policy has run and one waits for a far day.
async fn scene(name: &str, args: &[&str]) -> Scene {
    let scene = Scene::start_with(name, args).await;
    scene.simulator.generate(DLQ, 120, &Entry::default()).await.unwrap();
    scene.apply("once", resume()).await;
    scene.ran("once", 1).await;
    scene.apply("yearly", with(resume(), json!({ "schedule": "0 0 1 1 *" }))).await;
    scene.condition("yearly", "Ready", "True", "Scheduled").await;
    scene
}

fn url(operator: &Operator, path: &str) -> String {
    format!("{}{path}", operator.admin_url())
}

#[tokio::test]
async fn every_metric_has_its_name_type_help_and_labels_in_both_formats() {
    let scene = scene("metrics", &[]).await;
    let scrape = Scrape::until(scene.operator.admin_url(), "yearly is shown", |scrape| {
        scrape.count("next_run_timestamp_seconds", &[("name", "yearly")]) > Some(0)
    })
    .await;
    let open = get(&url(&scene.operator, "/metrics"), OPENMETRICS).await;
    assert_eq!(open.content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.text.ends_with("# EOF\n"));
    for (name, kind, labels) in metrics() {
        let family = if kind == "counter" { name.trim_end_matches("_total") } else { name };
        for (text, name) in [(&scrape.text, name), (&open.text, family)] {
            assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name} in\n{text}");
            let help = format!("# HELP {name} ");
            assert!(text.lines().any(|line| line.len() > help.len() && line.starts_with(&help)), "{name}");
        }
        let sample = if kind == "histogram" { format!("{name}_sum") } else { name.to_owned() };
        let found: Vec<_> = scrape.series.iter().filter(|series| series.name == sample).collect();
        assert!(!found.is_empty(), "no series of {name} in\n{}", scrape.text);
        for series in found {
            assert_eq!(series.labels.keys().map(String::as_str).collect::<BTreeSet<_>>(), labels, "{name}");
        }
    }
    let known: BTreeSet<_> = metrics().map(|(name, ..)| name).collect();
    let described = scrape.text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    assert_eq!(described.collect::<BTreeSet<_>>(), known, "none is told of that nobody documents");
    assert_eq!(
        get(&url(&scene.operator, "/metrics"), "*/*").await.content_type,
        "text/plain; version=0.0.4; charset=utf-8"
    );
}

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
    // Two instants have passed for which it is too late.
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
async fn a_circuit_that_opens_is_shown_and_so_is_a_run_that_goes_on() {
    let scene = Scene::start("circuit").await;
    scene.apply_secret("unknown", "token", "unknown-token").await;
    let connection = json!({ "tokenSecretRef": { "name": "unknown", "key": "token" } });
    let policy = json!({ "connection": connection, "schedule": "@every 1s",
        "failurePolicy": { "pauseAfterConsecutiveFailures": 2 } });
    scene.apply("broken", with(resume(), policy)).await;
    scene.condition("broken", "Ready", "False", "CircuitOpen").await;
    let of = [("name", "broken")];
    let admin_url = scene.operator.admin_url();
    let scrape = Scrape::until(admin_url, "the circuit is open", |scrape| {
        scrape.count("circuit_open", &of) == Some(1)
    })
    .await;
    assert_eq!(scrape.count("consecutive_failures", &of), Some(2));
    let ready = |status| [("name", "broken"), ("type", "Ready"), ("status", status)];
    let shown = ["True", "False", "Unknown"].map(|status| scrape.count("policy_condition", &ready(status)));
    assert_eq!(shown, [Some(0), Some(1), Some(0)]);
    scene.simulator.generate(DLQ, 100, &Entry::default()).await.unwrap();
    scene.slow_down(2_000).await;
    scene.apply("slow", resume()).await;
    let running = [("name", "slow")];
    Scrape::until(admin_url, "a run goes on", |scrape| scrape.count("run_active", &running) == Some(1)).await;
    scene.simulator.clear_faults().await.unwrap();
    scene.ran("slow", 1).await;
    Scrape::until(admin_url, "it has ended", |scrape| scrape.count("run_active", &running) == Some(0)).await;
}

#[tokio::test]
async fn the_series_of_a_policy_go_when_it_is_deleted_or_leaves_the_selection() {
    let scene = Scene::start_with("gone", &["--selector=team=a"]).await;
    let admin_url = scene.operator.admin_url();
    for name in ["deleted", "moved", "stays"] {
        scene.apply(name, resume()).await;
        scene.kubectl(&["label", "dlqpolicy", name, "team=a"]).await;
        scene.ran(name, 1).await;
        Scrape::until(admin_url, "it is counted", |scrape| {
            scrape.count("runs_total", &[("name", name), ("result", "Succeeded")]) == Some(1)
        })
        .await;
    }
    scene.kubectl(&["delete", "dlqpolicy", "deleted"]).await;
    scene.kubectl(&["label", "dlqpolicy", "moved", "team-"]).await;
    let scrape =
        Scrape::until(admin_url, "two are gone", |scrape| !scrape.names("deleted") && !scrape.names("moved"))
            .await;
    assert_eq!(scrape.count("runs_total", &[("name", "stays"), ("result", "Succeeded")]), Some(1));
    scene.kubectl(&["label", "dlqpolicy", "moved", "team=a"]).await;
    let back = Scrape::until(admin_url, "one is back", |scrape| scrape.names("moved")).await;
    assert_eq!(back.count("runs_total", &[("name", "moved")]), Some(0), "counts begin anew");
}

#[tokio::test]
async fn a_restarted_operator_shows_the_policies_as_soon_as_it_is_ready() {
    let mut scene = scene("restarted", &[]).await;
    scene.operator.restart(None).await.unwrap();
    let scrape = Scrape::of(scene.operator.admin_url()).await;
    let status = scene.policy("once").await["status"].take();
    let start: jiff::Timestamp = status["lastRun"]["startTime"].as_str().unwrap().parse().unwrap();
    let shown = scrape.sum("last_run_timestamp_seconds", &[("name", "once")]).unwrap();
    assert!((shown - start.as_duration().as_secs_f64()).abs() < 0.001, "{shown}");
    let ready = [("name", "once"), ("type", "Ready"), ("status", "True")];
    assert_eq!(scrape.count("policy_condition", &ready), Some(1));
    assert_eq!(scrape.count("policy_info", &[("name", "yearly"), ("schedule", "0 0 1 1 *")]), Some(1));
    assert_eq!(scrape.count("runs_total", &[("name", "once")]), Some(0), "counts are those of the process");
}

#[tokio::test]
async fn a_standby_is_ready_and_shows_the_policies_as_the_leader_does() {
    let replicas = Replicas::start("metrics-standby", &[]).await;
    let scene = &replicas.scene;
    scene.apply("once", resume()).await;
    scene.ran("once", 1).await;
    let (leader, standby) = (scene.operator.admin_url(), replicas.second.admin_url());
    assert!(replicas.leader().await.starts_with(FIRST));
    assert_eq!(get(&format!("{standby}/readyz"), TEXT).await.status, 200);
    let policy = [("name", "once")];
    let has_run = |scrape: &Scrape| scrape.count("last_run_timestamp_seconds", &policy) > Some(0);
    let [leading, waiting] = [
        Scrape::until(leader, "the leader shows it", has_run).await,
        Scrape::until(standby, "the standby shows it", has_run).await,
    ];
    assert_eq!((leading.count("leader", &[]), waiting.count("leader", &[])), (Some(1), Some(0)));
    for gauge in
        ["last_run_timestamp_seconds", "last_success_timestamp_seconds", "policy_info", "circuit_open"]
    {
        let [here, there] = [&leading, &waiting].map(|scrape| scrape.sum(gauge, &policy).map(f64::to_bits));
        assert_eq!(here, there, "{gauge}");
    }
    assert_eq!(waiting.count("runs_total", &policy), Some(0));
    assert_eq!(waiting.count("reconcile_total", &[]), Some(0), "a standby looks at nothing");
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

#[tokio::test]
async fn the_admin_server_is_up_before_the_cluster_is_and_says_what_is_missing() {
    let dir = ScratchDir::create("unreachable").unwrap();
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "none",
        "clusters": [{ "name": "none", "cluster": { "server": "http://127.0.0.1:9" } }],
        "contexts": [{ "name": "none", "context": { "cluster": "none", "user": "none" } }],
        "users": [{ "name": "none", "user": {} }],
    });
    let path = dir.path().join("kubeconfig");
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let process = start_unreachable(dir.path(), &path, port).await;
    let at = |path: &str| format!("http://127.0.0.1:{port}{path}");
    eventually(PATIENCE, "it listens", async || reqwest::get(at("/livez")).await.map(drop)).await.unwrap();
    let live = get(&at("/livez"), TEXT).await;
    assert_eq!((live.status, live.text.as_str()), (200, "ok"), "{}", process.log());
    assert_eq!(get(&at("/livez?verbose"), TEXT).await.text, "[+]ping ok\nlivez check passed\n");
    let ready = get(&at("/readyz"), TEXT).await;
    assert_eq!(ready.status, 503);
    assert!(
        ready.text.starts_with("[-]cache failed: ") && ready.text.ends_with("readyz check failed\n"),
        "{}",
        ready.text
    );
    assert_eq!(Scrape::of(&at("")).await.count("leader", &[]), Some(0));
}

async fn start_unreachable(dir: &Path, kubeconfig: &Path, port: u16) -> Process {
    let env = [("KUBECONFIG", kubeconfig.to_str().unwrap()), ("POD_NAMESPACE", "none")];
    Process::start(Program {
        name: "dlq-operator",
        binary: &binary("dlq-operator").await.unwrap(),
        args: vec!["--leader-elect".to_owned(), format!("--admin-address=127.0.0.1:{port}")],
        env: env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        dir,
    })
    .unwrap()
}

#[tokio::test]
async fn a_ready_operator_says_so_in_short_or_at_length() {
    let scene = Scene::start("ready").await;
    assert_eq!(get(&url(&scene.operator, "/readyz"), TEXT).await.text, "ok");
    let verbose = get(&url(&scene.operator, "/readyz?verbose"), TEXT).await;
    assert_eq!((verbose.status, verbose.text.as_str()), (200, "[+]cache ok\nreadyz check passed\n"));
}

#[tokio::test]
async fn an_operator_that_stops_is_not_ready_and_still_answers() {
    let scene = Scene::start("stopping").await;
    scene.simulator.generate(DLQ, 100, &Entry::default()).await.unwrap();
    // Longer than the grace of a call at a stop, in which there is time to ask.
    scene.slow_down(5_000).await;
    scene.apply("slow", resume()).await;
    // The ledger has a call once it is over; a run that is claimed makes its first at once.
    scene.status("slow", "a call is under way", |status| status["currentRun"].is_object()).await;
    scene.operator.process().signal(Signal::TERM).unwrap();
    let readyz = url(&scene.operator, "/readyz");
    eventually(PATIENCE, "it says that it stops", async || {
        let answer = reqwest::get(&readyz).await.map_err(|error| error.to_string())?;
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap_or_default());
        let is_told = status == 503 && text.contains("[+]cache ok\n[-]shutdown failed: the process stops\n");
        if is_told { Ok(()) } else { Err(format!("{status} {text}")) }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn promtool_has_nothing_to_say_against_the_metrics() {
    if !Prometheus::is_installed().unwrap() {
        return;
    }
    let scene = scene("promtool", &[]).await;
    let dir = ScratchDir::create("promtool").unwrap();
    let scrape = Scrape::of(scene.operator.admin_url()).await;
    let output = promtool(dir.path(), &["check", "metrics"], &scrape.text).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(
        (output.status.code(), String::from_utf8_lossy(&said).trim()),
        (Some(0), ""),
        "{}",
        scrape.text
    );
}

#[tokio::test]
async fn a_real_prometheus_scrapes_the_operator_and_answers_queries() {
    if !Prometheus::is_installed().unwrap() {
        return;
    }
    let scene = scene("prometheus", &[]).await;
    let prometheus = Prometheus::start(&[scene.operator.admin_url()]).await.unwrap();
    for (query, expected) in [
        (r#"dlq_operator_entries_processed_total{name="once",action="resume"}"#, "120"),
        (r#"sum(dlq_operator_runs_total{name="once"})"#, "1"),
        (r#"dlq_operator_policy_condition{name="yearly",type="Ready",status="True"}"#, "1"),
        (r"histogram_quantile(0.99, sum by (le) (dlq_operator_run_duration_seconds_bucket)) > bool 0", "1"),
        ("count(dlq_operator_leader == 1)", "1"),
        ("process_resident_memory_bytes > bool 1000000", "1"),
    ] {
        eventually(PATIENCE, query, async || {
            let samples = prometheus.query(query).await.map_err(|error| format!("{error:#}"))?;
            let values: Vec<_> = samples.iter().map(|sample| sample.value.to_string()).collect();
            if values == [expected] { Ok(()) } else { Err(format!("{samples:?}")) }
        })
        .await
        .unwrap();
    }
    let metadata = prometheus.get("metadata", &[]).await.unwrap();
    for (name, kind, _) in metrics() {
        // In OpenMetrics a counter's family has no suffix.
        let family = name.trim_end_matches("_total");
        assert_eq!(metadata[family][0]["type"], *kind, "{name}");
        assert!(metadata[family][0]["help"].as_str().is_some_and(|help| help.ends_with('.')), "{name}");
    }
    let targets = prometheus.targets().await.unwrap();
    assert_eq!((&targets[0]["health"], &targets[0]["lastError"]), (&json!("up"), &json!("")));
}
