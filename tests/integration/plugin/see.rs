//! Commands that show.

use serde_json::{Value, json};
use testbed::Entry;

use super::person::Desk;
use crate::scene::{DLQ, Scene};

/// One policy of each kind, with names in the opposite of the order that they are to be shown in.
async fn several() -> (Scene, Desk) {
    let scene = Scene::start("plugin-see").await;
    scene.simulator.generate(DLQ, 30, &Entry::default()).await.unwrap();
    let all = |further: Value| {
        let mut spec = json!({ "action": "resume", "filters": { "all": true } });
        spec.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        spec
    };
    scene.apply("d-waits", all(json!({ "limits": { "approvalAbove": 5 } }))).await;
    scene.condition("d-waits", "Running", "True", "AwaitingApproval").await;
    let missing = json!({ "tokenSecretRef": { "name": "absent" } });
    scene.apply("e-not-ready", all(json!({ "connection": missing }))).await;
    scene.condition("e-not-ready", "Ready", "False", "SecretNotFound").await;
    scene.apply("c-failed", all(json!({ "filters": { "labels": ["none"] }, "schedule": "0 0 1 1 *" }))).await;
    scene.condition("c-failed", "Ready", "True", "Scheduled").await;
    scene
        .simulator
        .set_faults(
            &json!([{ "fault": { "status": { "code": 403, "body": "{\"error\":\"not for you\"}" } } }]),
        )
        .await
        .unwrap();
    scene.annotate("c-failed", &[("requestedAt", "1")]).await;
    scene.ran("c-failed", 1).await;
    scene.simulator.clear_faults().await.unwrap();
    let scheduled = json!({
        "schedule": "0 0 1 1 *", "timeZone": "Europe/Berlin", "suspend": true, "filters": { "labels": ["payments"] },
        "match": { "responseStatuses": ["5xx"] },
    });
    scene.apply("a-suspended", all(scheduled)).await;
    scene.status("a-suspended", "it is suspended", |status| status["phase"] == "Suspended").await;
    let desk = Desk::of(&scene).await;
    (scene, desk)
}

fn first_words(table: &str) -> Vec<&str> {
    table
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

#[tokio::test]
async fn policies_are_shown_by_what_needs_attention() {
    let (scene, desk) = several().await;
    let table = desk.runs(&["list"]).await.ok();
    assert_eq!(first_words(&table), ["NAME", "e-not-ready", "d-waits", "c-failed", "a-suspended"], "{table}");
    let mut person = desk.types_at(80, &["list"]);
    let (code, screen) = person.ends().await;
    assert_eq!(code, 0);
    assert!(screen.contains("3 policies need attention: kubectl dlq status e-not-ready -n"), "{screen}");
    let narrow = screen.lines().take_while(|line| !line.is_empty());
    assert_eq!(narrow.count(), 5, "no line is wrapped: {screen}");
    assert!(person.written().contains("\u{1b}["), "there is colour");
    let plain = Desk::of(&scene).await.env("NO_COLOR", "1");
    let mut person = plain.types_at(80, &["list"]);
    person.ends().await;
    assert!(!person.written().contains('\u{1b}'), "{}", person.written());

    let wide = desk.runs(&["list", "-o", "wide"]).await.ok();
    assert!(wide.contains("MESSAGE") && wide.contains("Secret"), "{wide}");
    let names = desk.runs(&["list", "-o", "name"]).await.ok();
    assert!(names.starts_with("dlqpolicy.dlq-operator.dev/e-not-ready\n"), "{names}");
    let list: Value = serde_json::from_str(&desk.runs(&["list", "-o", "json"]).await.ok()).unwrap();
    assert_eq!((&list["kind"], list["items"].as_array().unwrap().len()), (&json!("List"), 4));
    let yaml = desk.runs(&["status", "d-waits", "-o", "yaml"]).await.ok();
    assert!(yaml.contains("kind: DlqPolicy") && !yaml.contains("managedFields"), "{yaml}");
    // What another program reads of it can be applied again.
    let read = scene.control_plane.kubectl_apply(&yaml).await.unwrap();
    assert!(read.status.success(), "{}", read.stderr);
    let all = desk.runs(&["list", "-A"]).await.ok();
    assert!(all.starts_with("NAMESPACE") && all.contains("d-waits"), "{all}");

    for (name, told) in [
        ("d-waits", &["a run would resume 30 entries, more than 5,", "kubectl dlq approve d-waits"][..]),
        ("e-not-ready", &["SecretNotFound", "kubectl create secret generic absent"]),
        ("c-failed", &["the last run failed: Forbidden", "Last run   Failed (Forbidden)"]),
        (
            "a-suspended",
            &[
                "entries labelled payments",
                "whose last response was 5xx",
                "0 0 1 1 * (Europe/Berlin)",
                "kubectl dlq unsuspend a-suspended",
            ],
        ),
    ] {
        let status = desk.runs(&["status", name]).await.ok();
        for words in told {
            assert!(status.contains(words), "{words:?} of {name}:\n{status}");
        }
    }
    let top = desk.runs(&["top"]).await.ok();
    assert!(top.contains("upstash") && top.contains("absent"), "{top}");
}

#[tokio::test]
async fn a_run_is_watched_whatever_becomes_of_the_window() {
    let scene = Scene::start("plugin-watch").await;
    scene.simulator.generate(DLQ, 5000, &Entry::default()).await.unwrap();
    scene.slow_down(400).await;
    let limits = json!({ "approvalAbove": 100_000 });
    scene.apply("drain", json!({ "action": "resume", "filters": { "all": true }, "limits": limits })).await;
    let desk = Desk::of(&scene).await;
    let mut person = desk.types_at(120, &["status", "drain", "--watch"]);
    person
        .sees_that("progress", |screen| {
            screen.contains("of 5,000 entries")
                && screen.contains('█')
                && screen.contains("/s, about")
                && screen.contains("left")
        })
        .await;
    assert!(person.is_on_second_screen());
    for columns in [44, 200, 30, 80] {
        person.resizes(columns);
        let screen = person
            .sees_that("it is drawn anew", |screen| {
                screen.contains("Ctrl-C ends this")
                    && screen.matches("/drain").count() == 1
                    && screen.contains("Selects")
            })
            .await;
        assert!(screen.lines().all(|line| line.chars().count() <= columns.into()), "{columns}: {screen}");
    }
    person.presses_ctrl_c();
    let (code, _) = person.ends().await;
    assert_eq!(code, 0);
    assert!(!person.is_on_second_screen() && person.written().ends_with("\u{1b}[?1049l"), "as it was before");
    let refused = desk.runs(&["status", "drain", "--watch", "-o", "json"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
}

#[tokio::test]
async fn the_history_has_a_bar_for_each_run() {
    let scene = Scene::start("plugin-history").await;
    scene
        .apply("payments", json!({ "action": "resume", "trigger": "Manual", "filters": { "all": true } }))
        .await;
    scene.status("payments", "it is seen", |status| status["observedGeneration"] == 1).await;
    let desk = Desk::of(&scene).await;
    let none = desk.runs(&["history", "payments"]).await;
    assert!(none.code == Some(0) && none.stderr.contains("No run of"), "{none:?}");
    for entries in [40, 20] {
        scene.simulator.generate(DLQ, entries, &Entry::default()).await.unwrap();
        desk.runs(&["run", "payments", "--yes", "--wait"]).await.ok();
    }
    let table = desk.runs(&["history", "payments"]).await.ok();
    let rows: Vec<_> = table.lines().skip(1).map(|line| line.matches('█').count()).collect();
    assert_eq!(rows, [10, 20], "the newest first:\n{table}");
    let wide = desk.runs(&["history", "payments", "-o", "wide"]).await.ok();
    assert!(wide.contains("UNCERTAIN") && wide.contains("jane") && wide.contains("-manual"), "{wide}");
    let runs: Value =
        serde_json::from_str(&desk.runs(&["history", "payments", "-o", "json"]).await.ok()).unwrap();
    assert_eq!(runs[0]["processed"], 20);
}
