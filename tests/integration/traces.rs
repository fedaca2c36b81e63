//! What a receiver of traces gets to see, and that nobody waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{
    Entry, LedgerCall, OperatorOptions, OtlpReceiver, Process, Program, ScratchDir, Simulator, TraceSpan,
    binary, eventually,
};
use tokio::net::TcpListener;

use crate::cluster::control_plane;
use crate::replicas::{FIRST, Replicas, SECOND};
use crate::scene::{DLQ, PATIENCE, Scene, TOKEN};

/// The library's own variable: what has ended is sent this often, in milliseconds.
const OFTEN: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "100");

fn send_to(options: &mut OperatorOptions, endpoint: &str) {
    options.args.push(format!("--otlp-endpoint={endpoint}"));
    options.env.push((OFTEN.0.to_owned(), OFTEN.1.to_owned()));
}

async fn scene(name: &str, endpoint: &str) -> Scene {
    let simulator = Simulator::start().await.unwrap();
    let args = ["--checkpoint-interval=0"];
    Scene::start_on(control_plane().await, name, simulator, &args, |options| send_to(options, endpoint)).await
}

fn resume() -> Value {
    json!({ "action": "resume", "filters": { "all": true }, "limits": { "pageSize": 50 } })
}

/// The span of a policy's run, once it has come, and all others of its trace.
async fn trace(receiver: &OtlpReceiver, policy: &str) -> (TraceSpan, Vec<TraceSpan>) {
    let run = eventually(PATIENCE, &format!("the span of {policy}'s run comes"), async || {
        let runs = receiver.named("run");
        let run = runs.iter().find(|span| span.attribute("policy").ends_with(&format!("/{policy}")));
        // Whatever ends after the run is sent after it; its slice is the last.
        let slices = receiver.named("slice");
        match run {
            Some(run) if slices.iter().any(|slice| slice.trace == run.trace && slice.end >= run.end) => {
                Ok(run.clone())
            }
            _ => Err(format!("{:#?}", receiver.spans())),
        }
    })
    .await
    .unwrap();
    let mut others = receiver.spans();
    others.retain(|span| span.trace == run.trace && span.id != run.id);
    (run, others)
}

fn named<'a>(spans: &'a [TraceSpan], name: &str) -> Vec<&'a TraceSpan> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// Trace and span of each call that a header names.
fn told_upstream<'a>(calls: impl IntoIterator<Item = &'a LedgerCall>) -> Vec<(String, String)> {
    calls
        .into_iter()
        .map(|call| {
            let header = call.header("traceparent").unwrap_or_else(|| panic!("{call:?}"));
            let parts: Vec<_> = header.split('-').collect();
            let [version, trace, span, flags] = parts[..] else { panic!("{header}") };
            assert_eq!((version, flags), ("00", "01"), "{header}");
            (trace.to_owned(), span.to_owned())
        })
        .collect()
}

#[tokio::test]
async fn a_run_its_pages_and_its_writes_are_one_trace_that_upstash_is_told_of() {
    let receiver = OtlpReceiver::start().await.unwrap();
    let scene = scene("traced", receiver.url()).await;
    scene.simulator.generate(DLQ, 120, &Entry::default()).await.unwrap();
    scene.apply("drain", resume()).await;
    let ran = scene.ran("drain", 1).await["lastRun"].take();
    let (run, others) = trace(&receiver, "drain").await;

    assert_eq!(run.parent, "");
    let policy = format!("{}/drain", scene.namespace.name());
    for (key, value) in [
        ("policy", policy.as_str()),
        ("run_id", ran["id"].as_str().unwrap()),
        ("action", "resume"),
        ("result", "Succeeded"),
        ("processed", "120"),
        ("generation", "1"),
    ] {
        assert_eq!(run.attribute(key), value, "{run:#?}");
    }
    assert_eq!(run.error, None);
    assert_eq!(run.resource["service.name"], "dlq-operator");
    assert_eq!(run.resource["service.instance.id"], "dlq-operator-0");
    let started: jiff::Timestamp = ran["startTime"].as_str().unwrap().parse().unwrap();
    assert_eq!(i128::from(run.start), started.as_nanosecond());

    let slices = named(&others, "slice");
    assert!(!slices.is_empty() && slices.iter().all(|slice| slice.parent == run.id), "{others:#?}");
    let slices: BTreeSet<_> = slices.iter().map(|slice| slice.id.as_str()).collect();
    let (pages, writes) = (named(&others, "page"), named(&others, "status write"));
    for span in pages.iter().chain(&writes) {
        assert!(slices.contains(span.parent.as_str()), "{span:#?}");
        assert!(span.start <= span.end && span.end <= run.end + 5_000_000_000, "{span:#?}");
        assert_eq!((span.attribute("policy"), &span.error), (policy.as_str(), &None), "{span:#?}");
    }
    let entries: i64 = pages.iter().map(|page| page.attribute("entries").parse::<i64>().unwrap()).sum();
    assert_eq!(entries, 120);
    // The claim, the pages, the end.
    assert!(writes.len() >= 4, "{writes:#?}");

    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    let told = told_upstream(&ledger.calls);
    let sent: Vec<_> = pages.iter().map(|page| (page.trace.clone(), page.id.clone())).collect();
    assert_eq!(told.iter().collect::<BTreeSet<_>>(), sent.iter().collect::<BTreeSet<_>>());
    assert_eq!(told.len(), sent.len());

    // No two spans are one, and a token is in none.
    let ids: BTreeSet<_> = receiver.spans().into_iter().map(|span| (span.trace, span.id)).collect();
    assert_eq!(ids.len(), receiver.spans().len());
    assert!(receiver.has_seen("drain") && !receiver.has_seen(TOKEN) && !receiver.has_seen("Bearer"));
    assert_eq!(receiver.problems(), Vec::<String>::new());
}

#[tokio::test]
async fn each_run_is_a_trace_of_its_own_and_a_failed_one_says_why() {
    let receiver = OtlpReceiver::start().await.unwrap();
    let scene = scene("traced-failures", receiver.url()).await;
    let refused = json!([{ "fault": { "status": { "code": 403, "body": "not for you" } } }]);
    scene.simulator.set_faults(&refused).await.unwrap();
    scene.apply("refused", resume()).await;
    scene.ran("refused", 1).await;
    scene.simulator.clear_faults().await.unwrap();
    scene.apply("works", resume()).await;
    scene.ran("works", 1).await;
    // A spec that comes back has the same run ID again.
    scene.patch("works", json!({ "action": "restart" })).await;
    scene.ran("works", 2).await;
    scene.patch("works", json!({ "action": "resume" })).await;
    scene.ran("works", 3).await;
    let (failed, others) = trace(&receiver, "refused").await;
    let (works, _) = trace(&receiver, "works").await;
    assert_ne!(failed.trace, works.trace);
    eventually(PATIENCE, "each run is told of once, in a trace of its own", async || {
        let runs: Vec<_> = receiver.named("run").into_iter().map(|run| run.trace).collect();
        if runs.len() == 4 && runs.iter().collect::<BTreeSet<_>>().len() == 4 {
            Ok(())
        } else {
            Err(format!("{runs:?}"))
        }
    })
    .await
    .unwrap();
    assert_eq!(works.error, None);
    let message = scene.policy("refused").await["status"]["lastRun"]["message"].take();
    assert_eq!(failed.error.as_deref(), message.as_str());
    let page = named(&others, "page");
    assert!(
        page.iter().any(|page| page.error.as_ref().is_some_and(|error| error.contains("403"))),
        "{page:#?}"
    );
}

#[tokio::test]
async fn who_takes_a_run_over_goes_on_with_its_trace() {
    let receiver = OtlpReceiver::start().await.unwrap();
    let url = receiver.url().to_owned();
    let args = ["--lease-duration=3s", "--checkpoint-interval=0", &format!("--otlp-endpoint={url}")];
    let change = |options: &mut OperatorOptions| options.env.push((OFTEN.0.to_owned(), OFTEN.1.to_owned()));
    let mut replicas = Replicas::start_changed("traced-failover", &args, change).await;
    let scene = &replicas.scene;
    scene.simulator.generate(DLQ, 1000, &Entry::default()).await.unwrap();
    scene.slow_down(200).await;
    scene.apply("drain", resume()).await;
    scene
        .status("drain", "pages have landed", |status| status["currentRun"]["pages"].as_i64() >= Some(3))
        .await;
    let first_pages = eventually(PATIENCE, "a page of the first replica is told", async || {
        let pages = receiver.named("page");
        if pages.is_empty() { Err("none") } else { Ok(pages) }
    })
    .await
    .unwrap();
    replicas.replica(FIRST).kill().unwrap();
    replicas.led_by(SECOND).await;
    let scene = &replicas.scene;
    scene.simulator.clear_faults().await.unwrap();
    scene.ran("drain", 1).await;
    let (run, others) = trace(&receiver, "drain").await;
    assert_eq!(run.trace, first_pages[0].trace);
    assert_eq!(run.resource["service.instance.id"], SECOND);
    assert_eq!(run.attribute("interruptions"), "1");
    let mut by_process: BTreeMap<&str, usize> = BTreeMap::new();
    for page in named(&others, "page") {
        *by_process.entry(&page.resource["service.instance.id"]).or_default() += 1;
    }
    assert_eq!(by_process.keys().copied().collect::<Vec<_>>(), [FIRST, SECOND]);
    assert!(named(&others, "slice").iter().all(|slice| slice.parent == run.id), "{others:#?}");
}

#[tokio::test]
async fn without_an_endpoint_upstash_is_told_of_no_trace() {
    let scene = Scene::start("untraced").await;
    scene.simulator.generate(DLQ, 60, &Entry::default()).await.unwrap();
    scene.apply("drain", resume()).await;
    scene.ran("drain", 1).await;
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert!(ledger.calls_of("resume").count() >= 2);
    for call in &ledger.calls {
        assert!(!call.headers.keys().any(|name| name.starts_with("trace") || name == "baggage"), "{call:?}");
    }
}

/// Drains 20 pages, and says how long it took.
async fn drain(scene: &Scene) -> Duration {
    scene.simulator.generate(DLQ, 1000, &Entry::default()).await.unwrap();
    let started = Instant::now();
    scene.apply("drain", resume()).await;
    let run = scene.ran("drain", 1).await["lastRun"].take();
    assert_eq!((&run["result"], &run["processed"]), (&json!("Succeeded"), &json!(1000)), "{run:#}");
    started.elapsed()
}

/// The end of an operator at SIGTERM: how long it took.
async fn terminate(scene: &mut Scene) -> Duration {
    let asked = Instant::now();
    assert!(scene.operator.terminate().await.unwrap().success());
    asked.elapsed()
}

#[tokio::test]
async fn a_receiver_that_is_away_or_never_answers_holds_up_no_run_and_no_end() {
    let away = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", away.local_addr().unwrap());
    drop(away);
    // Connections are accepted, and nobody reads.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_url = format!("http://{}", silent.local_addr().unwrap());
    for (name, url, waits) in [("receiver-away", url, false), ("receiver-silent", silent_url, true)] {
        let mut scene = scene(name, &url).await;
        let took = drain(&scene).await;
        assert!(took < Duration::from_secs(20), "{name}: {took:?}");
        let told = "traces cannot be delivered to --otlp-endpoint";
        eventually(PATIENCE, told, async || {
            let times = scene.operator.log().matches(told).count();
            if times == 1 { Ok(()) } else { Err(times) }
        })
        .await
        .unwrap();
        let took = terminate(&mut scene).await;
        assert!(took < Duration::from_secs(if waits { 6 } else { 5 }), "{name}: {took:?}");
        assert_eq!(scene.operator.log().matches(told).count(), 1, "{name}: once, and not for each batch");
    }
}

#[tokio::test]
async fn a_receiver_in_trouble_is_told_of_and_so_is_its_recovery() {
    let receiver = OtlpReceiver::start().await.unwrap();
    receiver.refuse(true);
    let scene = scene("receiver-in-trouble", receiver.url()).await;
    scene.apply("first", resume()).await;
    scene.ran("first", 1).await;
    let told = |text: &'static str| {
        let scene = &scene;
        eventually(PATIENCE, text, async move || {
            let log = scene.operator.log();
            if log.contains(text) { Ok(()) } else { Err(log) }
        })
    };
    told("the receiver answered 503").await.unwrap();
    receiver.refuse(false);
    scene.apply("second", resume()).await;
    scene.ran("second", 1).await;
    told("traces are delivered again").await.unwrap();
    let (run, _) = trace(&receiver, "second").await;
    assert_eq!(run.attribute("result"), "Succeeded");
}

#[tokio::test]
async fn the_last_spans_are_sent_at_the_end_of_the_process() {
    let receiver = OtlpReceiver::start().await.unwrap();
    let simulator = Simulator::start().await.unwrap();
    // So seldom that only the end of the process sends anything.
    let seldom = |options: &mut OperatorOptions| {
        options.args.push(format!("--otlp-endpoint={}", receiver.url()));
        options.env.push((OFTEN.0.to_owned(), "600000".to_owned()));
    };
    let mut scene = Scene::start_on(control_plane().await, "traced-end", simulator, &[], seldom).await;
    scene.simulator.generate(DLQ, 60, &Entry::default()).await.unwrap();
    scene.apply("drain", resume()).await;
    scene.ran("drain", 1).await;
    assert_eq!(receiver.spans(), []);
    assert!(scene.operator.terminate().await.unwrap().success());
    assert_eq!(receiver.named("run").len(), 1, "{:#?}", receiver.spans());
    assert!(!receiver.named("page").is_empty());
}

#[tokio::test]
async fn a_bad_endpoint_is_told_at_once_by_the_name_of_its_flag() {
    let dir = ScratchDir::create("bad-endpoint").unwrap();
    for (index, (endpoint, why)) in [
        ("collector", "write a URL such as http://collector:4318"),
        ("grpc://collector:4317", "its scheme must be http or https, not grpc"),
        ("http://collector:4317", "port 4317 is for gRPC"),
        ("http://me:hidden-word@collector:4318", "it must hold no name and no password"),
        ("http://collector:4318/?key=hidden-word", "it must have no query"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut process = Process::start(Program {
            name: &format!("operator-{index}"),
            binary: &binary("dlq-operator").await.unwrap(),
            args: vec![format!("--otlp-endpoint={endpoint}")],
            env: Vec::new(),
            dir: dir.path(),
        })
        .unwrap();
        assert!(!process.wait(PATIENCE).await.unwrap().success());
        let log = process.log();
        assert!(log.contains("--otlp-endpoint cannot be used") && log.contains(why), "{log}");
        assert!(log.lines().count() == 1 && !log.contains("hidden-word"), "{log}");
    }
}
