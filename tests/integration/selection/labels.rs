//! What happens where Upstash does not carry the labels that count.

use serde_json::{Value, json};
use testbed::{Entry, Fate};

use super::{acting, all, assert_lineages, lineages, protected};
use crate::at_most_once::tempt;
use crate::events::{told, wait_until_told};
use crate::scene::{DLQ, Scene, condition};

const EVERY: &str = "@every 1s";

async fn carry(scene: &Scene, labels: &str) {
    scene.simulator.set_service(DLQ, &json!({ "labelsCarried": labels })).await.unwrap();
}

/// Waits until a policy beside has run so often more: scheduled times have come and gone.
async fn let_times_pass(scene: &Scene, times: i64) {
    let runs = scene.policy("clock").await["status"]["totals"]["runs"].as_i64().unwrap_or_default();
    scene
        .status("clock", "scheduled times pass", |status| {
            status["totals"]["runs"].as_i64() >= Some(runs + times)
        })
        .await;
}

async fn apply_clock(scene: &Scene) {
    let spec = json!({ "action": "delete", "filters": { "labels": ["none"] }, "schedule": EVERY });
    scene.apply("clock", spec).await;
}

/// The policy says that it cannot count.
async fn wait_until_stalled(scene: &Scene, name: &str) -> Value {
    let status = scene.condition(name, "Ready", "False", "LabelsNotCarried").await;
    assert_eq!(condition(&status, "Stalled")["reason"], "LabelsNotCarried", "{status:#}");
    assert_eq!(status["phase"], "Invalid");
    for message in [&condition(&status, "Ready")["message"], &status["message"]] {
        let message = message.as_str().unwrap();
        assert!(message.contains("without its dlq-attempt label"), "{message}");
        assert!(message.contains("dlq-operator.dev/resetAt"), "what to do: {message}");
    }
    status
}

#[tokio::test]
async fn where_labels_never_come_back_the_policy_stops_and_says_so_until_it_is_reset() {
    let scene = Scene::start_with("never-carried", &[]).await;
    scene.simulator.generate(DLQ, 30, &Entry::default()).await.unwrap();
    tempt(&scene.simulator, DLQ).await;
    carry(&scene, "never").await;
    apply_clock(&scene).await;
    let breaker = json!({ "schedule": EVERY, "failurePolicy": { "openCircuitAfter": 1 } });
    scene.apply("blind", protected("resume", 3, breaker)).await;
    let status = wait_until_stalled(&scene, "blind").await;
    let run = &status["lastRun"];
    assert_eq!((&run["result"], &run["reason"]), (&json!("Failed"), &json!("LabelsNotCarried")), "{run:#}");
    assert_eq!(run["processed"], 0, "the run that noticed it acted on nothing");
    assert_eq!(status["nextScheduleTime"], Value::Null);
    assert_eq!(status["consecutiveFailures"], 0, "it is no matter of the circuit");
    wait_until_told(&scene, "blind", "LabelsNotCarried", 1).await;

    // It acts no more, not on schedule, not by hand, and not after a restart.
    let runs = status["totals"]["runs"].clone();
    let acted = scene.simulator.ledger(DLQ).await.unwrap().workflow_runs.len();
    assert_eq!(acted, 30, "once each");
    scene.annotate("blind", &[("requestedAt", "1")]).await;
    let mut scene = scene;
    scene.operator.restart(None).await.unwrap();
    let_times_pass(&scene, 3).await;
    let status = wait_until_stalled(&scene, "blind").await;
    assert_eq!(status["totals"]["runs"], runs);
    assert_eq!(scene.simulator.ledger(DLQ).await.unwrap().workflow_runs.len(), acted);
    assert_eq!(told(&scene, "blind", "LabelsNotCarried").await, 1);

    // Somebody knows that they are carried now.
    carry(&scene, "always").await;
    scene.annotate("blind", &[("resetAt", "1")]).await;
    let status = scene.condition("blind", "Ready", "True", "Scheduled").await;
    assert_eq!(condition(&status, "Stalled"), Value::Null);
    let is_done = |status: &Value| status["lastRun"]["exhausted"] == 30;
    scene.status("blind", "each was acted on as often as it may be", is_done).await;
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    for (id, lineage) in lineages(&ledger) {
        let counted: Vec<_> = lineage.labels.iter().map(|labels| labels.join(",")).collect();
        assert_eq!(counted, ["dlq-attempt-1", "dlq-attempt-1", "dlq-attempt-2", "dlq-attempt-3"], "{id}");
    }
}

#[tokio::test]
async fn where_only_restarts_carry_labels_resumes_stop_and_restarts_go_on() {
    let scene = Scene::start_with("on-restart", &[]).await;
    carry(&scene, "onRestart").await;
    tempt(&scene.simulator, DLQ).await;
    scene.simulator.allow("other-token-9e8d", "other").await.unwrap();
    scene.apply_secret("other", "token", "other-token-9e8d").await;
    scene.simulator.set_service("other", &json!({ "labelsCarried": "onRestart" })).await.unwrap();
    tempt(&scene.simulator, "other").await;
    for dlq in [DLQ, "other"] {
        scene.simulator.generate(dlq, 10, &Entry::default()).await.unwrap();
    }
    scene.apply("resumes", protected("resume", 3, json!({ "schedule": EVERY }))).await;
    let other = json!({ "tokenSecretRef": { "name": "other", "key": "token" } });
    scene.apply("restarts", protected("restart", 3, json!({ "schedule": EVERY, "connection": other }))).await;
    wait_until_stalled(&scene, "resumes").await;
    let is_done = |status: &Value| status["lastRun"]["exhausted"] == 10;
    let status = scene.status("restarts", "each was restarted as often as it may be", is_done).await;
    assert_eq!(condition(&status, "Ready")["status"], "True");
    let (others, own) =
        (scene.simulator.ledger("other").await.unwrap(), scene.simulator.ledger(DLQ).await.unwrap());
    assert_lineages(lineages(&others), &[], 10, &["restart"; 3], Fate::InDlq);
    assert_lineages(lineages(&own), &[], 10, &["resume"], Fate::InDlq);
}

#[tokio::test]
async fn a_failure_that_comes_back_many_runs_later_is_noticed_by_another_process() {
    let mut scene = Scene::start_with("much-later", &[]).await;
    scene.simulator.generate(DLQ, 120, &Entry::default()).await.unwrap();
    scene.simulator.refail(DLQ, &json!({ "delayMs": 5000 })).await.unwrap();
    carry(&scene, "never").await;
    scene.apply("patient", protected("resume", 3, json!({ "schedule": EVERY, "historyLimit": 1 }))).await;
    let has_acted = |status: &Value| status["totals"]["processed"] == 120;
    let acted = scene.status("patient", "its first run has acted", has_acted).await;
    assert_eq!(acted["labelProbes"].as_array().unwrap().len(), 50, "{acted:#}");
    scene.operator.restart(None).await.unwrap();
    let status = wait_until_stalled(&scene, "patient").await;
    let runs = status["totals"]["runs"].as_i64().unwrap();
    assert!(runs >= acted["totals"]["runs"].as_i64().unwrap() + 3, "it was back too early: {status:#}");
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_eq!((ledger.workflow_runs.len(), ledger.with_fate(Fate::InDlq).count()), (120, 120));
}

#[tokio::test]
async fn a_new_spec_forgets_that_labels_were_lost_and_one_that_needs_no_count_goes_on() {
    let scene = Scene::start_with("new-spec", &[]).await;
    scene.simulator.generate(DLQ, 10, &Entry::default()).await.unwrap();
    tempt(&scene.simulator, DLQ).await;
    carry(&scene, "never").await;
    scene.apply("blind", protected("restart", 3, json!({}))).await;
    scene.ran("blind", 1).await;
    scene.annotate("blind", &[("requestedAt", "1")]).await;
    wait_until_stalled(&scene, "blind").await;
    let calls = acting(&scene.simulator.ledger(DLQ).await.unwrap()).len();
    scene.patch("blind", json!({ "historyLimit": 3 })).await;
    scene.status("blind", "the edit is seen", |status| status["observedGeneration"] == 2).await;
    wait_until_stalled(&scene, "blind").await;
    assert_eq!(acting(&scene.simulator.ledger(DLQ).await.unwrap()).len(), calls, "it is the same work");
    scene.patch("blind", json!({ "loopProtection": null, "match": { "responseStatuses": ["5xx"] } })).await;
    let status = scene.ran("blind", 3).await;
    assert_eq!(
        (&status["lastRun"]["processed"], &status["labelProbes"]),
        (&json!(10), &Value::Null),
        "{status:#}"
    );
    assert_eq!(condition(&status, "Ready")["reason"], "Idle");
    // Without loopProtection nobody looks for labels.
    scene.apply("beside", all("resume", json!({ "match": { "responseStatuses": ["5xx"] } }))).await;
    assert_eq!(scene.ran("beside", 1).await["lastRun"]["processed"], 10);
}
