//! Every request that the operator sends and every answer that it gets from the simulator conform to
//! `simulator/openapi.yaml`. Prism stands between the two and judges both.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use testbed::{Entry, Fate, Process, Program, ScratchDir, Simulator, eventually, workspace_root};

use crate::cases::{self, Case, Cases};
use crate::scene::{DLQ, Scene};
use crate::{filters, overrides};

/// A validating proxy before a simulator.
struct Prism {
    url: String,
    process: Process,
    _dir: ScratchDir,
}

impl Prism {
    async fn before(simulator: &Simulator) -> Self {
        let root = workspace_root();
        let dir = ScratchDir::create("prism").unwrap();
        let description = root.join("simulator/openapi.yaml");
        let args = ["proxy", "--errors", "--multiprocess=false", "--host", "127.0.0.1", "--port", "0"];
        let operands = [description.to_str().unwrap(), simulator.api_url()];
        let mut process = Process::start(Program {
            name: "prism",
            binary: &root.join("tests/openapi/node_modules/.bin/prism"),
            args: args.iter().chain(&operands).map(|&arg| arg.to_owned()).collect(),
            env: Vec::new(),
            dir: dir.path(),
        })
        .unwrap();
        let url = eventually(Duration::from_secs(30), "Prism says where it listens", async || {
            process.check_running().map_err(|error| error.to_string())?;
            let log = process.log();
            let (_, url) = log.split_once("Prism is listening on ").ok_or_else(|| log.clone())?;
            url.split_once('\n').map(|(url, _)| url.trim().to_owned()).ok_or(log.clone())
        })
        .await
        .unwrap();
        Self { url, process, _dir: dir }
    }

    /// What did not conform: Prism answers such a call itself, with 422 or 500, and writes a line.
    fn violations(&self) -> Vec<String> {
        let log = self.process.log();
        log.lines().filter(|line| line.contains("Request terminated with error")).map(str::to_owned).collect()
    }

    fn expect_conformity(&self) {
        assert_eq!(self.violations(), Vec::<String>::new());
    }
}

/// A scene with Prism in its middle, which lasts as long as the scene does.
async fn scene(name: &str) -> (Scene, Prism) {
    let simulator = Simulator::start().await.unwrap();
    let prism = Prism::before(&simulator).await;
    (Scene::start_behind(name, simulator, prism.url.clone(), &["--checkpoint-interval=0"]).await, prism)
}

#[tokio::test]
#[ignore = "needs Node.js and Prism; `make test` runs it where they are"]
async fn requests_with_every_filter_conform_and_so_do_their_answers() {
    let (scene, prism) = scene("conforming-filters").await;
    filters::run(&scene, &filters::rows()).await;
    prism.expect_conformity();
}

#[tokio::test]
#[ignore = "needs Node.js and Prism; `make test` runs it where they are"]
async fn requests_with_every_override_conform_and_so_do_their_answers() {
    join_all(overrides::ways().into_iter().map(async |way| {
        let (scene, prism) = scene("conforming-overrides").await;
        way.sends_each_override_as_its_header(&scene).await;
        prism.expect_conformity();
    }))
    .await;
}

#[tokio::test]
#[ignore = "needs Node.js and Prism; `make test` runs it where they are"]
async fn what_goes_wrong_conforms_as_well() {
    let (scene, prism) = scene("conforming-failures").await;
    let resume = |filters| json!({ "action": "resume", "filters": filters });
    let dry = |filters| json!({ "action": "delete", "dryRun": true, "filters": filters });
    let fault = |index: usize, fault| json!({ "dlq": cases::name(index), "times": 1, "fault": fault });
    let rules = json!([
        fault(2, json!({ "rateLimit": { "headers": "burst", "resetInSeconds": 1 } })),
        fault(3, json!({ "rateLimit": { "headers": "daily", "resetInSeconds": 1 } })),
        fault(4, json!({ "rateLimit": { "headers": "none" } })),
        fault(5, json!({ "status": { "code": 500 } })),
        fault(6, json!({ "lostAnswer": { "how": "status500" } })),
        fault(7, json!({ "cursor": "emptyPage" })),
    ]);
    scene.simulator.set_faults(&rules).await.unwrap();
    let entries = || {
        ["one", "two", "three"]
            .map(|id| Entry { dlq_id: Some(id.to_owned()), labels: vec!["x".to_owned()], ..Entry::default() })
            .to_vec()
    };
    let specs = [
        dry(json!({ "labels": ["x"] })),
        dry(json!({ "dlqIds": ["one", "gone", "two"] })),
        resume(json!({ "all": true })),
        resume(json!({ "all": true })),
        resume(json!({ "all": true })),
        resume(json!({ "all": true })),
        resume(json!({ "all": true })),
        resume(json!({ "all": true })),
        resume(json!({ "dlqIds": ["one", "gone", "two", "three"] })),
    ];
    let cases = specs.map(|spec| Case { entries: entries(), spec }).into();
    let outcomes = Cases::apply(&scene, cases).await.outcomes().await;
    for (index, outcome) in outcomes.iter().enumerate() {
        let run = &outcome.status["lastRun"];
        assert_eq!(run["result"], "Succeeded", "{index}: {run:#}");
        let left = outcome.ledger.with_fate(Fate::InDlq).count();
        assert_eq!(left, if index < 2 { 3 } else { 0 }, "{index}: {run:#}");
    }
    prism.expect_conformity();
}

#[tokio::test]
#[ignore = "needs Node.js and Prism; `make test` runs it where they are"]
async fn what_does_not_conform_is_seen() {
    let (scene, prism) = scene("not-conforming").await;
    let rules =
        json!([{ "operation": "resume", "times": 1, "fault": { "body": { "kind": "extraFields" } } }]);
    scene.simulator.set_faults(&rules).await.unwrap();
    scene.simulator.generate(DLQ, 1, &Entry::default()).await.unwrap();
    scene.apply("resume", json!({ "action": "resume", "filters": { "all": true } })).await;
    let run = scene.ran("resume", 1).await["lastRun"].take();
    assert_eq!((&run["uncertainPages"], &run["retries"]), (&json!(1), &json!(1)), "{run:#}");
    assert_eq!(prism.violations().len(), 1, "{:?}", prism.violations());
}
