//! What is remembered of runs that ended.

use serde_json::{Value, json};
use testbed::{Entry, Fate};

use crate::scene::{DLQ, Scene};

/// What a summary has of a run.
const FIELDS: [&str; 17] = [
    "id",
    "trigger",
    "generation",
    "action",
    "dryRun",
    "scheduledTime",
    "startTime",
    "completionTime",
    "result",
    "reason",
    "requestedBy",
    "pages",
    "processed",
    "notFound",
    "rejected",
    "uncertainPages",
    "interruptions",
];

fn summary(run: &Value) -> Value {
    let fields = FIELDS.iter().filter(|field| !run[**field].is_null());
    fields.map(|field| ((*field).to_owned(), run[*field].clone())).collect::<serde_json::Map<_, _>>().into()
}

fn history(status: &Value) -> Vec<Value> {
    status["history"].as_array().cloned().unwrap_or_default()
}

/// A policy that runs when it is asked to, and what its runs were.
struct Asked<'a> {
    scene: &'a Scene,
    summaries: Vec<Value>,
}

impl Asked<'_> {
    /// Starts a run, lets something happen to it, and checks its end against what is remembered.
    async fn run(&mut self, result: &str, during: impl AsyncFnOnce(&Scene)) -> Value {
        let request = (self.summaries.len() + 1).to_string();
        self.scene
            .annotate("asked", &[("requestedBy", &format!("asker {request}")), ("requestedAt", &request)])
            .await;
        during(self.scene).await;
        let status = self.scene.ran("asked", i64::try_from(self.summaries.len()).unwrap() + 1).await;
        let run = &status["lastRun"];
        assert_eq!(run["result"], result, "{run:#}");
        self.summaries.insert(0, summary(run));
        self.expect(&status);
        status
    }

    /// The history is the newest runs, as many as it may hold, and the totals are those of all.
    fn expect(&self, status: &Value) {
        let history = history(status);
        assert_eq!(history, self.summaries[..history.len()], "newest first");
        let sum = |of: &dyn Fn(&Value) -> i64| self.summaries.iter().map(of).sum::<i64>();
        let failed = |run: &Value| {
            i64::from(["Failed", "DeadlineExceeded"].contains(&run["result"].as_str().unwrap()))
        };
        let processed =
            |run: &Value| if run["dryRun"] == true { 0 } else { run["processed"].as_i64().unwrap() };
        let totals = json!({
            "runs": self.summaries.len(), "failedRuns": sum(&failed), "processed": sum(&processed),
        });
        assert_eq!(status["totals"], totals);
    }
}

async fn as_it_is(_: &Scene) {}

#[tokio::test]
async fn history_and_totals_are_exact_over_runs_of_every_kind() {
    let mut scene = Scene::start("history").await;
    let spec = json!({
        "action": "resume", "filters": { "all": true }, "schedule": "0 0 1 1 *", "historyLimit": 3,
        "limits": { "pageSize": 20 },
    });
    scene.apply("asked", spec).await;
    scene.condition("asked", "Ready", "True", "Scheduled").await;
    let mut asked = Asked { scene: &scene, summaries: Vec::new() };
    asked.run("Succeeded", as_it_is).await;

    scene.simulator.generate(DLQ, 50, &Entry::default()).await.unwrap();
    let status = asked.run("Succeeded", as_it_is).await;
    assert_eq!((&status["lastRun"]["processed"], &status["lastRun"]["pages"]), (&json!(50), &json!(3)));

    scene.simulator.generate(DLQ, 200, &Entry::default()).await.unwrap();
    scene
        .simulator
        .set_faults(&json!([{ "from": 3, "fault": { "status": { "code": 422 } } }]))
        .await
        .unwrap();
    let status = asked.run("Failed", as_it_is).await;
    assert_eq!(status["lastRun"]["processed"], 40, "what it did before it failed counts");
    assert_eq!(history(&status).len(), 3);

    scene.slow_down(700).await;
    let status = asked
        .run("Cancelled", async |scene| {
            let landed = |status: &Value| status["currentRun"]["pages"].as_i64() > Some(0);
            scene.status("asked", "a page has landed", landed).await;
            scene.annotate("asked", &[("cancelAt", "now")]).await;
        })
        .await;
    assert_eq!(history(&status).len(), 3, "no more than historyLimit");
    scene.simulator.clear_faults().await.unwrap();

    scene.patch("asked", json!({ "dryRun": true })).await;
    let status = asked.run("Succeeded", as_it_is).await;
    assert_eq!(
        (&status["lastRun"]["dryRun"], &status["lastRun"]["reason"]),
        (&json!(true), &json!("DryRunSucceeded"))
    );
    assert!(status["lastRun"]["processed"].as_i64() > Some(0));
    scene.patch("asked", json!({ "dryRun": false, "limits": { "maxEntriesPerRun": 30 } })).await;
    asked.run("LimitReached", as_it_is).await;
    let summaries = asked.summaries;

    scene.operator.kill().unwrap();
    scene.operator.restart(None).await.unwrap();
    let mut asked = Asked { scene: &scene, summaries };
    for (generation, (limit, kept)) in (4..).zip([(2, 2), (1, 1), (0, 0), (50, 0)]) {
        scene.patch("asked", json!({ "historyLimit": limit })).await;
        let status = scene
            .status("asked", "the edit is seen", |status| status["observedGeneration"] == generation)
            .await;
        assert_eq!(history(&status).len(), kept, "a lower historyLimit ({limit}) holds at once: {status:#}");
        asked.expect(&status);
    }
    scene.patch("asked", json!({ "historyLimit": 0 })).await;
    let status = asked.run("LimitReached", as_it_is).await;
    assert_eq!(history(&status).len(), 0);
    assert_eq!(summary(&status["lastRun"]), asked.summaries[0], "the last run is known all the same");
    scene.patch("asked", json!({ "historyLimit": 50, "limits": { "maxEntriesPerRun": null } })).await;
    let status = asked.run("Succeeded", as_it_is).await;
    assert_eq!(history(&status).len(), 1);
    let resumed = scene.simulator.ledger(DLQ).await.unwrap().with_fate(Fate::Resumed).count();
    assert_eq!(status["totals"]["processed"], resumed, "all of it, and nothing twice");
    assert_eq!(resumed, 250);
}
