//! Whose turn it is when there are more runs than slots.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{Entry, Namespace, Operator, OperatorOptions, ScratchDir, Simulator, eventually};

use crate::cluster::control_plane;
use crate::scene::{DLQ, PATIENCE, Scene, TOKEN};

/// How many policies are due at once in the crowded namespace.
const CROWD: usize = 500;
/// Every call takes so long.
const CALL: Duration = Duration::from_millis(300);

/// A scene whose operator looks after a second namespace too, with one watch and one controller for both.
async fn two_namespaces(name: &str, args: &[&str]) -> (Scene, Namespace) {
    let control_plane = control_plane().await;
    let namespace = control_plane.namespace(name).await.unwrap();
    let other = control_plane.namespace(name).await.unwrap();
    let simulator = Simulator::start().await.unwrap();
    simulator.allow(TOKEN, DLQ).await.unwrap();
    let mut options = OperatorOptions::new(control_plane, &simulator, namespace.name());
    options.namespaces.clear();
    options.args = args.iter().map(|arg| (*arg).to_owned()).collect();
    options.args.push("--log-level=info,dlq_operator=debug".to_owned());
    options.args.push(format!("--selector=scene={namespace}"));
    let operator = Operator::start(options).await.unwrap();
    (Scene { control_plane, namespace, simulator, operator }, other)
}

/// A Secret and policies that read it, each of which drains all of the token's DLQ, one entry a page.
fn drains(
    scene: &Scene,
    namespace: &Namespace,
    token: &str,
    names: impl Iterator<Item = String>,
) -> Vec<Value> {
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "upstash", "namespace": namespace.name() },
        "stringData": { "token": token },
    });
    let policies = names.map(|name| {
        json!({
            "apiVersion": "dlq-operator.dev/v1alpha1",
            "kind": "DlqPolicy",
            "metadata": {
                "name": name, "namespace": namespace.name(), "labels": { "scene": scene.namespace.name() },
            },
            "spec": {
                "action": "resume", "filters": { "all": true }, "limits": { "pageSize": 1 },
                "connection": { "tokenSecretRef": { "name": "upstash", "key": "token" } },
            },
        })
    });
    [secret].into_iter().chain(policies).collect()
}

async fn apply(scene: &Scene, items: Vec<Value>) {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    let dir = ScratchDir::create("policies").unwrap();
    let file = dir.path().join("policies.json");
    std::fs::write(&file, list.to_string()).unwrap();
    let args = ["apply", "--server-side", "--filename", file.to_str().unwrap()];
    scene.control_plane.kubectl(&args).await.unwrap().ok().unwrap();
}

/// The statuses of all policies of a namespace.
async fn statuses(scene: &Scene, namespace: &Namespace) -> Vec<Value> {
    let args = ["get", "dlqp", "--namespace", namespace.name(), "--output=json"];
    let list = scene.control_plane.kubectl(&args).await.unwrap().ok().unwrap();
    let mut list: Value = serde_json::from_str(&list).unwrap();
    list["items"].as_array_mut().unwrap().iter_mut().map(|policy| policy["status"].take()).collect()
}

#[tokio::test]
async fn measure() {
    let t0 = Instant::now();
    let max = std::env::var("MAX").unwrap_or("4".into());
    let (scene, other) = two_namespaces("crowd", &[&format!("--max-concurrent-runs={max}")]).await;
    scene
        .simulator
        .generate(DLQ, 10_000, &Entry { labels: vec!["crowd".to_owned()], ..Entry::default() })
        .await
        .unwrap();
    scene.simulator.allow("lone-token", "lone").await.unwrap();
    for dlq in ["lone", DLQ] {
        scene
            .simulator
            .generate(dlq, 5, &Entry { labels: vec!["lone".to_owned()], ..Entry::default() })
            .await
            .unwrap();
    }
    let latency = json!({ "latency": { "ms": CALL.as_millis() } });
    scene.simulator.set_faults(&json!([{ "fault": latency }])).await.unwrap();
    println!("{:?} set up", t0.elapsed());
    let mode = std::env::var("MODE").unwrap_or("late".into());
    let mut crowd = drains(&scene, &scene.namespace, TOKEN, (0..CROWD).map(|i| format!("crowd-{i:03}")));
    let same = std::env::var("SAME").is_ok();
    let mut lone =
        drains(&scene, &other, if same { TOKEN } else { "lone-token" }, ["lone".to_owned()].into_iter());
    if mode == "minute" {
        for p in crowd.iter_mut().chain(lone.iter_mut()).filter(|p| p["kind"] == "DlqPolicy") {
            p["spec"]["schedule"] = json!("* * * * *");
        }
    }
    for p in crowd.iter_mut().filter(|p| p["kind"] == "DlqPolicy") {
        p["spec"]["filters"] = json!({"labels": ["crowd"]});
    }
    for p in lone.iter_mut().filter(|p| p["kind"] == "DlqPolicy") {
        p["spec"]["filters"] = json!({"labels": ["lone"]});
    }
    apply(&scene, crowd).await;
    println!("{:?} applied", t0.elapsed());
    if mode == "late" {
        eventually(PATIENCE, "all are in line", async || {
            let n = statuses(&scene, &scene.namespace)
                .await
                .iter()
                .filter(|s| s["currentRun"].is_object())
                .count();
            println!("{:?} {n}", t0.elapsed());
            if n == CROWD { Ok(()) } else { Err(n.to_string()) }
        })
        .await
        .unwrap();
    }
    let at = Instant::now();
    apply(&scene, lone).await;
    println!("lone applied in {:?}", at.elapsed());
    let patience = Duration::from_secs(std::env::var("PATIENCE").map_or(60, |p| p.parse().unwrap()));
    let first = eventually(patience, "a page of the lone one", async || {
        let ledger = scene.simulator.ledger(if same { DLQ } else { "lone" }).await.unwrap();
        ledger
            .calls
            .iter()
            .find(|call| call.query.contains("lone"))
            .map(|call| call.at)
            .ok_or_else(|| "none".to_owned())
    })
    .await
    .unwrap();
    println!("first page seen {:?} after apply; ledger ms in minute {}", at.elapsed(), first % 60_000);
    eventually(patience, "the lone one ended", async || {
        statuses(&scene, &other).await[0]["totals"]["runs"] == 1
    })
    .await
    .unwrap();
    println!("ended {:?} after apply", at.elapsed());
    std::fs::write("/tmp/fairness-work/operator.log", scene.operator.log()).unwrap();
    let lone = statuses(&scene, &other).await;
    println!("{}", lone[0]["lastRun"]["startTime"]);
    let crowd = scene.simulator.ledger(DLQ).await.unwrap();
    println!("crowd's calls {} first {}", crowd.calls.len(), crowd.calls[0].at % 60_000);
}
