//! A table of faults, one policy each, all at once.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join;
use serde_json::{Value, json};
use testbed::{Entry, Fate, eventually};

use crate::at_most_once::{Runs, tempt};
use crate::cases::{self, Case, Cases, Differences};
use crate::scene::{PATIENCE, Scene, condition};

/// Two whole pages and a part of one.
const ENTRIES: usize = 120;
/// What each of the mixed drains has.
const MANY: usize = 600;
/// What `Retry-After` and the rate limits ask for, in seconds.
const PAUSE: i64 = 4;

/// What becomes of a drain that met a fault.
#[derive(Clone)]
struct Row {
    name: String,
    /// Of the second call, unless they say otherwise.
    rules: Value,
    /// Calls of the action.
    calls: usize,
    retries: i64,
    uncertain: i64,
    processed: i64,
    left: usize,
    reason: &'static str,
    /// What must be seen of `Running` on the way, and how long the pause must be.
    on_the_way: Option<(&'static str, i64)>,
}

fn row(name: &str, fault: Value) -> Row {
    Row {
        name: format!("{name} {fault}"),
        rules: json!([{ "nth": 2, "fault": fault }]),
        calls: 3,
        retries: 0,
        uncertain: 0,
        processed: 120,
        left: 0,
        reason: "RunSucceeded",
        on_the_way: None,
    }
}

/// The call was not acted on, and the answer says so.
fn repeated(fault: Value) -> Row {
    Row { calls: 4, retries: 1, ..row("repeated", fault) }
}

/// The same, after a pause.
fn paused(reason: &'static str, millis: i64, fault: Value) -> Row {
    Row { on_the_way: Some((reason, millis)), ..repeated(fault) }
}

/// The call was not acted on, and nobody can tell: one more pass looks for what is left.
fn doubted(fault: Value) -> Row {
    Row { calls: 5, uncertain: 1, ..repeated(fault) }
}

/// The call was acted on, and its answer is lost.
fn lost(fault: Value) -> Row {
    Row { calls: 4, processed: 70, ..doubted(fault) }
}

/// The answer is odd, and all that matters is in it.
fn odd(fault: Value) -> Row {
    row("odd", fault)
}

/// The run ends with this call.
fn ended(reason: &'static str, fault: Value) -> Row {
    Row { calls: 2, processed: 50, left: 70, reason, ..row("ended", fault) }
}

/// Every call meets the fault.
fn always(row: Row) -> Row {
    let fault = row.rules[0]["fault"].clone();
    let name = format!("always {}", row.name);
    Row { name, rules: json!([{ "fault": fault }]), processed: 0, left: ENTRIES, ..row }
}

fn status(code: u16) -> Value {
    json!({ "status": { "code": code } })
}

/// As a proxy says it, not the API.
fn page_of_a_proxy(code: u16, after_action: bool) -> Value {
    json!({ "status": {
        "code": code, "body": "<h1>Sorry</h1>", "contentType": "text/html", "afterAction": after_action,
    } })
}

fn retry_after(code: u16) -> Value {
    json!({ "status": { "code": code, "headers": { "Retry-After": PAUSE.to_string() } } })
}

fn table() -> Vec<Row> {
    let limit = |headers: &str| json!({ "rateLimit": { "headers": headers, "resetInSeconds": PAUSE } });
    let dropped = |when: &str| json!({ "drop": { "when": when } });
    let answer_lost = |how: &str| json!({ "lostAnswer": { "how": how } });
    let body = |kind: &str| json!({ "body": { "kind": kind } });
    let sized = |kind: &str, bytes: u64| json!({ "body": { "kind": kind, "bytes": bytes } });
    // A reset is told in whole seconds.
    let (exactly, nearly) = (PAUSE * 1000, PAUSE * 1000 - 1000);
    let given_up = |reason, calls| Row { calls, retries: 3, reason, ..ended(reason, Value::Null) };
    let failing =
        |code, reason| always(Row { rules: json!([{ "fault": status(code) }]), ..given_up(reason, 4) });
    vec![
        repeated(status(429)),
        repeated(limit("none")),
        paused("Throttled", exactly, retry_after(429)),
        paused("Throttled", exactly, limit("retryAfter")),
        paused("Throttled", nearly, limit("burst")),
        paused("Throttled", nearly, limit("daily")),
        paused("Retrying", exactly, retry_after(503)),
        paused("Retrying", exactly, retry_after(408)),
        repeated(status(408)),
        repeated(status(425)),
        repeated(status(501)),
        repeated(status(503)),
        doubted(status(500)),
        doubted(status(502)),
        doubted(status(504)),
        // What the API says of itself is believed; a proxy may have lost the answer to a call that acted.
        repeated(status(520)),
        doubted(page_of_a_proxy(524, false)),
        doubted(page_of_a_proxy(408, false)),
        doubted(page_of_a_proxy(503, false)),
        lost(page_of_a_proxy(503, true)),
        lost(page_of_a_proxy(502, true)),
        lost(page_of_a_proxy(520, true)),
        lost(page_of_a_proxy(599, true)),
        lost(page_of_a_proxy(408, true)),
        doubted(dropped("beforeAction")),
        lost(answer_lost("close")),
        lost(answer_lost("status500")),
        lost(answer_lost("hang")),
        lost(dropped("afterHeaders")),
        lost(dropped("duringBody")),
        lost(body("truncated")),
        lost(body("invalidJson")),
        lost(body("empty")),
        lost(sized("slowDrip", 1)),
        odd(body("wrongContentType")),
        odd(body("extraFields")),
        odd(sized("huge", 1 << 20)),
        odd(sized("slowDrip", 100_000)),
        odd(json!({ "latency": { "ms": 300, "jitterMs": 200 } })),
        odd(json!({ "cursor": "repeat" })),
        Row { calls: 4, ..odd(json!({ "cursor": "emptyPage" })) },
        Row { calls: 2, processed: 100, ..odd(json!({ "expire": { "count": 20 } })) },
        // What comes during a run is left for the next.
        Row { left: 30, ..odd(json!({ "arrive": { "count": 30 } })) },
        // A cursor that went stale: once more from the beginning.
        repeated(status(400)),
        ended("BadRequest", status(302)),
        ended("BadRequest", status(404)),
        ended("BadRequest", status(418)),
        ended("BadRequest", status(499)),
        Row { uncertain: 1, ..ended("BadRequest", page_of_a_proxy(499, false)) },
        Row { uncertain: 1, left: 20, ..ended("BadRequest", page_of_a_proxy(499, true)) },
        ended("Unauthorized", status(401)),
        ended("Forbidden", status(403)),
        failing(429, "RateLimited"),
        failing(503, "UpstreamUnavailable"),
        Row { uncertain: 4, ..failing(500, "UpstreamUnavailable") },
        always(Row { calls: 100, ..ended("CursorLoop", json!({ "cursor": "emptyPage" })) }),
    ]
}

#[tokio::test]
async fn each_fault_has_its_condition_retries_counts_and_end() {
    let table = table();
    let scene = Scene::start_with("faults", &["--request-timeout=1500ms", "--retry-limit=4"]).await;
    let mut rules = Vec::new();
    for (index, row) in table.iter().enumerate() {
        for mut rule in row.rules.as_array().unwrap().clone() {
            rule["dlq"] = cases::name(index).into();
            rule["operation"] = "resume".into();
            rules.push(rule);
        }
    }
    scene.simulator.set_faults(&json!(rules)).await.unwrap();
    for index in 0..table.len() {
        tempt(&scene.simulator, &cases::name(index)).await;
    }
    let cases = table.iter().map(|_| Case {
        entries: vec![Entry::default(); ENTRIES],
        spec: json!({ "action": "resume", "filters": { "all": true } }),
    });
    // The first may have run before the last is there.
    let apply = Cases::apply(&scene, cases.collect());
    let (applied, seen) = join(apply, seen_on_the_way(&scene, table.len())).await;
    let mut differences = Differences::default();
    for (index, (row, outcome)) in table.iter().zip(applied.outcomes().await).enumerate() {
        let (run, ledger) = (&outcome.status["lastRun"], &outcome.ledger);
        let mut same = |what: &str, actual: &Value, expected: Value| {
            differences.expect_eq(&row.name, what, actual.clone(), expected);
        };
        same("retries", &run["retries"], json!(row.retries));
        same("uncertain pages", &run["uncertainPages"], json!(row.uncertain));
        same("processed", &run["processed"], json!(row.processed));
        same("interruptions", &run["interruptions"], json!(0));
        let last = condition(&outcome.status, "LastRunSucceeded");
        same("end", &last["reason"], json!(row.reason));
        same("success", &last["status"], json!(if row.reason == "RunSucceeded" { "True" } else { "False" }));
        let calls: Vec<_> = ledger.calls_of("resume").collect();
        same("calls", &json!(calls.len()), json!(row.calls));
        // What came back is left for the next run, all of it.
        let comebacks: BTreeSet<_> =
            ledger.entries.iter().filter_map(|entry| entry.refailed_as.as_ref()).collect();
        let (back, left): (Vec<_>, Vec<_>) =
            ledger.with_fate(Fate::InDlq).partition(|entry| comebacks.contains(&entry.dlq_id));
        same("left", &json!(left.len()), json!(row.left));
        same("back", &json!(back.len()), json!(ledger.workflow_runs.len()));
        Runs::of_one(run).check_all(ledger);
        let acted: Vec<_> = calls.iter().flat_map(|call| &call.dlq_ids).collect();
        same("acted on twice", &json!(acted.len() - acted.iter().collect::<BTreeSet<_>>().len()), json!(0));
        if let Some((reason, millis)) = row.on_the_way {
            let pause = calls[2].at - calls[1].at;
            differences.expect_eq(&row.name, "reasons on the way", seen[&index].contains(reason), true);
            let is_kept = (millis..millis + 5000).contains(&pause);
            differences.expect_eq(&row.name, &format!("a pause of {pause} ms is right"), is_kept, true);
        }
    }
    differences.report();
}

/// The reasons of `Running` that each policy had until all had run.
async fn seen_on_the_way(scene: &Scene, count: usize) -> BTreeMap<usize, BTreeSet<String>> {
    let mut seen: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    eventually(PATIENCE, "every policy has run", async || {
        let list: Value =
            serde_json::from_str(&scene.kubectl(&["get", "dlqp", "--output=json"]).await).unwrap();
        let mut ended = 0;
        for policy in list["items"].as_array().unwrap() {
            let name = policy["metadata"]["name"].as_str();
            let index = (0..count).find(|index| Some(cases::name(*index).as_str()) == name).unwrap();
            let reason = condition(&policy["status"], "Running")["reason"].take();
            seen.entry(index).or_default().extend(reason.as_str().map(str::to_owned));
            ended += usize::from(policy["status"]["totals"]["runs"] == 1);
        }
        if ended == count { Ok(()) } else { Err(format!("{ended} of {count} have run")) }
    })
    .await
    .unwrap();
    seen
}

#[tokio::test]
async fn faults_mixed_lose_nothing_and_double_nothing() {
    let scene = Scene::start_with("mixed", &["--request-timeout=1s", "--retry-limit=12"]).await;
    let faults = [
        json!({ "latency": { "ms": 5, "jitterMs": 40 } }),
        json!({ "lostAnswer": { "how": "close" } }),
        json!({ "lostAnswer": { "how": "hang" } }),
        json!({ "drop": { "when": "duringBody" } }),
        json!({ "drop": { "when": "beforeAction" } }),
        // Alone it has no certain outcome: the next call may find the connection closed before or after it is sent.
        json!({ "drop": { "when": "afterBody" } }),
        json!({ "body": { "kind": "truncated" } }),
        status(503),
        status(500),
        json!({ "rateLimit": { "headers": "retryAfter", "resetInSeconds": 1 } }),
    ];
    let rules: Vec<_> = faults.iter().map(|fault| json!({ "probability": 0.03, "fault": fault })).collect();
    scene.simulator.set_faults(&json!(rules)).await.unwrap();
    for index in 0..6 {
        tempt(&scene.simulator, &cases::name(index)).await;
    }
    let cases = (0..6).map(|index| Case {
        entries: vec![Entry::default(); MANY],
        spec: json!({
            "action": (["resume", "restart", "delete"][index % 3]), "filters": { "all": true },
            "limits": { "pageSize": 20 },
        }),
    });
    let applied = Cases::apply(&scene, cases.collect()).await;
    let mut uncertain = 0;
    for (index, outcome) in applied.outcomes().await.iter().enumerate() {
        let (run, ledger) = (&outcome.status["lastRun"], &outcome.ledger);
        let name = cases::name(index);
        assert_eq!(run["result"], "Succeeded", "{name}: {run:#}");
        let acting = ["resume", "restart", "delete"][index % 3];
        // Nothing is left but what came back.
        let comebacks = if acting == "delete" { 0 } else { MANY };
        assert_eq!(ledger.with_fate(Fate::InDlq).count(), comebacks, "{name}: {run:#}");
        let tempted = Runs::of_one(run).check_all(ledger).comebacks;
        assert_eq!(tempted > 0, comebacks > 0, "{name}: {tempted} came back during the run");
        let acted: Vec<_> = ledger.calls_of(acting).flat_map(|call| &call.dlq_ids).collect();
        assert_eq!((acted.len(), acted.iter().collect::<BTreeSet<_>>().len()), (MANY, MANY), "{name}");
        let told = run["uncertainPages"].as_i64().unwrap();
        let lost: usize = ledger
            .calls_of(acting)
            .filter(|call| !call.delivered || (call.status == 500 && !call.dlq_ids.is_empty()))
            .map(|call| call.dlq_ids.len())
            .sum();
        let processed = usize::try_from(run["processed"].as_i64().unwrap()).unwrap();
        assert_eq!(processed, MANY - lost, "{name}: the count is short by what was lost: {run:#}");
        assert!(told > 0 || lost == 0, "{name}: {lost} lost, and nothing said");
        uncertain += told;
    }
    println!("{uncertain} pages were uncertain");
    assert!(uncertain > 0, "the faults did not bite");
}
