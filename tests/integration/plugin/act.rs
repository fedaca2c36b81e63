//! Commands that act, and follow what they started.

use serde_json::{Value, json};
use testbed::{ApiServerProxy, CallKind, Entry, Trouble, User};

use super::person::Desk;
use crate::scene::{DLQ, Scene};

fn manual(further: Value) -> Value {
    let mut spec = json!({ "action": "resume", "trigger": "Manual", "filters": { "all": true } });
    spec.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    spec
}

/// A scene with one policy that runs when asked, which the operator has seen.
async fn asked(name: &str, entries: usize, further: Value) -> (Scene, Desk) {
    let scene = Scene::start(name).await;
    scene.simulator.generate(DLQ, entries, &Entry::default()).await.unwrap();
    scene.apply("payments", manual(further)).await;
    scene.status("payments", "it is seen", |status| status["observedGeneration"] == 1).await;
    let desk = Desk::of(&scene).await;
    (scene, desk)
}

#[tokio::test]
async fn a_run_is_asked_for_at_a_terminal_and_followed_to_its_end() {
    let (scene, desk) = asked("plugin-run", 600, json!({ "limits": { "approvalAbove": 5000 } })).await;
    scene.slow_down(300).await;
    let mut person = desk.types(&["run", "payments", "--wait", "--reason", "after incident 7"]);
    let screen = person.sees("Continue? [y/N]").await;
    assert!(screen.contains("About to resume every entry of the DLQ"), "{screen}");
    assert!(screen.contains("How many match is not known; kubectl dlq preview payments"), "{screen}");
    person.enters("y");
    person.sees_that("a bar", |screen| screen.contains('█') && screen.contains("of 600 entries")).await;
    let (code, screen) = person.ends().await;
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("resumed 600 entries in 18 pages"), "{screen}");
    assert!(!screen.contains('█'), "the line of progress is taken away: {screen}");
    let run = scene.ran("payments", 1).await["lastRun"].take();
    assert_eq!((&run["requestedBy"], &run["requestReason"]), (&json!("jane"), &json!("after incident 7")));
    assert_eq!((&run["trigger"], &run["processed"]), (&json!("Manual"), &json!(600)));
}

#[tokio::test]
async fn nothing_is_done_without_a_yes() {
    let (scene, desk) = asked("plugin-no", 3, json!({})).await;
    for answer in ["n", ""] {
        let mut person = desk.types(&["run", "payments"]);
        person.sees("Continue? [y/N]").await;
        person.enters(answer);
        let (code, screen) = person.ends().await;
        assert!(code == 1 && screen.contains("nothing was done"), "{code} {screen}");
    }
    let verbs = [&["run", "payments"][..], &["pause", "payments"], &["suspend", "payments"]];
    for verb in verbs {
        let said = desk.runs(verb).await.failed(2);
        assert!(
            said.contains("About to") && said.contains("there is no terminal to ask at; give --yes"),
            "{said}"
        );
    }
    let policy = scene.policy("payments").await;
    assert_eq!(policy["metadata"]["annotations"]["dlq-operator.dev/requestedAt"], Value::Null);
    assert_eq!((&policy["spec"]["suspend"], &policy["status"]["totals"]["runs"]), (&json!(false), &json!(0)));
}

#[tokio::test]
async fn a_script_reads_from_the_exit_code_how_a_run_ended() {
    let (scene, desk) = asked("plugin-codes", 0, json!({})).await;
    let run = ["run", "payments", "--yes", "--wait"];
    let said = desk.runs(&run).await.ok();
    assert!(said.starts_with("Succeeded (NothingMatched)"), "{said}");
    let empty = desk.runs(&["run", "payments", "--yes", "--wait", "--fail-if-empty"]).await;
    assert_eq!(empty.code, Some(4), "{empty:?}");

    scene
        .simulator
        .set_faults(
            &json!([{ "fault": { "status": { "code": 403, "body": "{\"error\":\"not for you\"}" } } }]),
        )
        .await
        .unwrap();
    let failed = desk.runs(&run).await;
    assert_eq!(failed.code, Some(3), "{failed:?}");
    assert!(
        failed.stdout.contains("Failed (Forbidden)") && failed.stdout.contains("kubectl dlq status payments"),
        "{failed:?}"
    );
    assert!(!failed.stdout.contains('\u{1b}') && !failed.stderr.contains('\u{1b}'), "{failed:?}");

    let usage = desk.runs(&["run", "payments", "--fail-if-empty"]).await;
    assert_eq!(usage.code, Some(2), "{usage:?}");
    let missing = desk.runs(&["run", "paiments", "--yes"]).await.failed(1);
    assert!(
        missing.contains("\"paiments\" not found") && missing.contains("kubectl dlq list -A"),
        "{missing}"
    );
}

#[tokio::test]
async fn ctrl_c_cancels_the_run_and_waits_for_its_end() {
    let (scene, desk) = asked("plugin-ctrl-c", 2000, json!({})).await;
    scene.slow_down(500).await;
    let mut person = desk.types(&["run", "payments", "--wait", "--yes"]);
    person.sees("resuming: ").await;
    scene.status("payments", "some are resumed", |status| status["processed"].as_i64() > Some(0)).await;
    person.presses_ctrl_c();
    person.sees("Ctrl-C again leaves it").await;
    let (code, screen) = person.ends().await;
    assert_eq!(code, 3, "{screen}");
    assert!(screen.contains("Cancelled after"), "{screen}");
    assert_eq!(scene.ran("payments", 1).await["lastRun"]["result"], "Cancelled");
}

#[tokio::test]
async fn a_second_ctrl_c_leaves_the_run() {
    let (scene, desk) = asked("plugin-leave", 500, json!({})).await;
    // The call under way may take two and a half seconds before it is abandoned.
    scene.slow_down(20_000).await;
    let mut person = desk.types(&["run", "payments", "--wait", "--yes"]);
    person.sees("resuming: ").await;
    person.presses_ctrl_c();
    person.sees("Ctrl-C again leaves it").await;
    person.presses_ctrl_c();
    let (code, screen) = person.ends().await;
    assert_eq!(code, 1, "{screen}");
    assert!(screen.contains("left the run, which may continue"), "{screen}");
    assert_eq!(scene.ran("payments", 1).await["lastRun"]["result"], "Cancelled");
}

#[tokio::test]
async fn an_api_server_that_fails_for_a_while_ends_no_wait() {
    let (scene, _) = asked("plugin-trouble", 600, json!({})).await;
    scene.slow_down(400).await;
    let proxy = ApiServerProxy::start(scene.control_plane, User::Admin).await.unwrap();
    let desk = Desk::with(&proxy.kubeconfig(), scene.namespace.name()).await;
    let mut person = desk.types_at(160, &["run", "payments", "--wait", "--yes", "--request-timeout=2s"]);
    person.sees("resuming: ").await;
    proxy.trouble_times(&[CallKind::ReadPolicy], Trouble::Hang, 1);
    person.sees("trying again: ").await;
    proxy.trouble_times(&[CallKind::ReadPolicy], Trouble::Drop, 2);
    let (code, screen) = person.ends().await;
    assert!(code == 0 && screen.contains("resumed 600 entries"), "{code} {screen}");
    assert!(!screen.contains("trying again"), "{screen}");
}

#[tokio::test]
async fn a_terminal_that_cannot_be_drawn_on_gets_lines() {
    let (_scene, desk) = asked("plugin-dumb", 5, json!({})).await;
    let desk = desk.env("TERM", "dumb");
    let mut person = desk.types(&["run", "payments", "--wait", "--yes"]);
    let (code, screen) = person.ends().await;
    assert!(code == 0 && screen.contains("waiting for the run to start\n"), "{code} {screen}");
    assert!(!person.written().contains('\u{1b}'), "{}", person.written());
}

#[tokio::test]
async fn a_request_that_no_operator_has_seen_is_withdrawn() {
    let (mut scene, desk) = asked("plugin-withdraw", 5, json!({})).await;
    scene.operator.terminate().await.unwrap();
    let mut person = desk.types(&["run", "payments", "--wait", "--yes"]);
    person.sees("waiting for the run to start").await;
    person.presses_ctrl_c();
    let (code, screen) = person.ends().await;
    assert!(code == 1 && screen.contains("withdrawn before a run started"), "{code} {screen}");
    let policy = scene.policy("payments").await;
    assert_eq!(policy["metadata"]["annotations"]["dlq-operator.dev/requestedAt"], Value::Null);
}

#[tokio::test]
async fn a_policy_is_held_and_released_by_annotation_and_by_spec() {
    let (scene, desk) = asked("plugin-held", 4, json!({})).await;
    let said = desk.runs(&["pause", "payments", "--reason", "incident-7", "--yes"]).await;
    assert_eq!(said.stdout, "dlqpolicy.dlq-operator.dev/payments paused\n", "{said:?}");
    assert!(said.stderr.contains("no run starts until it is unpaused"), "{said:?}");
    scene.status("payments", "it is paused", |status| status["phase"] == "Paused").await;
    let refused = desk.runs(&["run", "payments", "--yes"]).await.failed(1);
    assert!(refused.contains("is paused") && refused.contains("kubectl dlq unpause payments"), "{refused}");
    let again = desk.runs(&["pause", "payments", "--yes"]).await;
    assert!(again.code == Some(0) && again.stderr.contains("is paused already (incident-7)"), "{again:?}");

    let dry = desk.runs(&["run", "payments", "--dry-run", "--wait"]).await.ok();
    assert!(dry.starts_with("Succeeded (DryRunSucceeded)") && dry.contains("4 entries match"), "{dry}");
    desk.runs(&["unpause", "payments", "--yes"]).await.ok();
    scene.status("payments", "it runs", |status| status["phase"] != "Paused").await;

    let said = desk.runs(&["suspend", "payments", "--yes"]).await;
    assert!(said.stderr.contains("A GitOps tool that applies the manifest reverts this"), "{said:?}");
    scene.status("payments", "it is suspended", |status| status["phase"] == "Suspended").await;
    desk.runs(&["unsuspend", "payments", "--yes"]).await.ok();
    scene.status("payments", "it runs", |status| status["phase"] != "Suspended").await;
    // The mode of the dry run is gone: this run acts.
    let said = desk.runs(&["run", "payments", "--yes", "--wait"]).await.ok();
    assert!(said.contains("resumed 4 entries in 1 page"), "{said}");
}

#[tokio::test]
async fn the_circuit_is_closed_and_the_current_run_is_cancelled() {
    let (scene, desk) =
        asked("plugin-circuit", 100, json!({ "failurePolicy": { "openCircuitAfter": 1 } })).await;
    let nothing = desk.runs(&["cancel", "payments", "--yes"]).await.failed(1);
    assert!(nothing.contains("no run in progress"), "{nothing}");
    let closed = desk.runs(&["reset", "payments"]).await;
    assert!(closed.code == Some(0) && closed.stderr.contains("is closed"), "{closed:?}");

    scene
        .simulator
        .set_faults(
            &json!([{ "fault": { "status": { "code": 403, "body": "{\"error\":\"not for you\"}" } } }]),
        )
        .await
        .unwrap();
    assert_eq!(desk.runs(&["run", "payments", "--yes", "--wait"]).await.code, Some(3));
    scene.condition("payments", "Ready", "True", "CircuitOpen").await;
    let mut person = desk.types(&["reset", "payments"]);
    let screen = person.sees("Continue? [y/N]").await;
    assert!(screen.contains("forget 1 failed run"), "{screen}");
    person.enters("y");
    assert_eq!(person.ends().await.0, 0);
    scene.status("payments", "it is closed", |status| status["consecutiveFailures"] == 0).await;

    scene.simulator.clear_faults().await.unwrap();
    scene.slow_down(3000).await;
    desk.runs(&["run", "payments", "--yes"]).await.ok();
    scene.condition("payments", "Running", "True", "RunInProgress").await;
    let busy = desk.runs(&["run", "payments", "--yes"]).await.failed(1);
    assert!(busy.contains("is in progress") && busy.contains("kubectl dlq cancel payments"), "{busy}");
    let said = desk.runs(&["cancel", "payments", "--yes"]).await;
    assert!(said.stderr.contains("which stay so"), "{said:?}");
    let status = scene.ran("payments", 2).await;
    assert_eq!(status["lastRun"]["result"], "Cancelled");
}

#[tokio::test]
async fn a_run_that_waits_is_shown_and_approved() {
    let (scene, desk) = asked("plugin-approve", 20, json!({ "limits": { "approvalAbove": 5 } })).await;
    let nothing = desk.runs(&["approve", "payments", "--yes"]).await.failed(1);
    assert!(nothing.contains("no run of") && nothing.contains("waits for an approval"), "{nothing}");
    let mut waiting = desk.types_at(160, &["run", "payments", "--wait", "--yes"]);
    waiting.sees("waits for an approval of 20 entries: kubectl dlq approve payments").await;

    let mut person = desk.types(&["approve", "payments"]);
    let screen = person.sees("Continue? [y/N]").await;
    assert!(screen.contains("resume 20 entries") && screen.contains("workflows: "), "{screen}");
    person.enters("yes");
    let (code, screen) = person.ends().await;
    assert!(code == 0 && screen.contains("run approved"), "{code} {screen}");
    let (code, screen) = waiting.ends().await;
    assert!(code == 0 && screen.contains("resumed 20 entries"), "{code} {screen}");
    assert_eq!(scene.ran("payments", 1).await["lastRun"]["processed"], 20);
}
