//! What a reader of the log and a tool that reads it can rely on.

use serde_json::{Value, json};
use testbed::{Entry, Simulator, eventually};

use crate::cluster::control_plane;
use crate::scene::{DLQ, PATIENCE, Scene};

const ASKED_BY: &str = "ann@example.com \"on call\"";

/// A scene whose operator logs as these flags say.
async fn scene(name: &str, args: &[&str]) -> Scene {
    let simulator = Simulator::start().await.unwrap();
    let change = |options: &mut testbed::OperatorOptions| {
        options.args = args.iter().map(|arg| (*arg).to_owned()).collect();
    };
    Scene::start_on(control_plane().await, name, simulator, &[], change).await
}

fn resume() -> Value {
    json!({ "action": "resume", "filters": { "all": true }, "limits": { "pageSize": 50 } })
}

/// Resumes so many entries, as somebody asked for it.
async fn drain(scene: &Scene, name: &str, entries: usize) {
    scene.simulator.generate(DLQ, entries, &Entry::default()).await.unwrap();
    let asked = json!({
        "dlq-operator.dev/requestedAt": "1",
        "dlq-operator.dev/requestedBy": ASKED_BY,
        "dlq-operator.dev/requestReason": "they were stuck",
    });
    scene.apply_annotated(name, resume(), asked).await;
    scene.ran(name, 1).await;
}

/// The lines so far. Each is JSON, with what every line has.
fn lines(scene: &Scene) -> Vec<Value> {
    let log = scene.operator.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &lines {
        for key in ["timestamp", "level", "message", "target"] {
            assert!(line[key].is_string(), "{key} is missing in {line}");
        }
        line["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        assert!(line["span"].is_null() && line["spans"].is_null(), "{line}");
        for (key, value) in line.as_object().unwrap() {
            assert!(!value.is_object(), "{key} is nested in {line}");
        }
        if let Some(policy) = line["policy"].as_str() {
            let (namespace, name) = policy.split_once('/').unwrap();
            assert_eq!(namespace, scene.namespace.name(), "{line}");
            assert!(!name.contains(['.', '/']), "{line}");
        }
        for key in ["page", "pages", "processed", "duration_ms", "generation"] {
            assert!(line[key].is_null() || line[key].is_u64(), "{key} is no number in {line}");
        }
    }
    lines
}

/// The lines on a policy, once its run's end is among them.
async fn of_policy(scene: &Scene, name: &str) -> Vec<Value> {
    let policy = format!("{}/{name}", scene.namespace.name());
    eventually(PATIENCE, &format!("the end of {name}'s run is logged"), async || {
        let mut lines = lines(scene);
        lines.retain(|line| line["policy"] == *policy);
        if lines.iter().any(|line| line["result"].is_string()) {
            Ok(lines)
        } else {
            Err(format!("{lines:#?}"))
        }
    })
    .await
    .unwrap()
}

fn audit(lines: &[Value]) -> Vec<Value> {
    lines.iter().filter(|line| line["target"] == "audit").cloned().collect()
}

#[tokio::test]
async fn a_run_is_one_line_at_info_that_says_how_it_ended() {
    let scene = scene("logs-run", &[]).await;
    drain(&scene, "drain", 120).await;
    scene.apply("dry", json!({ "action": "delete", "dryRun": true, "filters": { "all": true } })).await;
    scene.ran("dry", 1).await;
    let refused = json!([{ "fault": { "status": { "code": 403, "body": "no" } } }]);
    scene.simulator.set_faults(&refused).await.unwrap();
    scene.apply("refused", resume()).await;
    scene.ran("refused", 1).await;
    let unknown = json!([{ "fault": { "status": { "code": 401, "body": "who?" } } }]);
    scene.simulator.set_faults(&unknown).await.unwrap();
    scene.apply("unknown", resume()).await;
    scene.ran("unknown", 1).await;
    scene.simulator.generate(DLQ, 500, &Entry::default()).await.unwrap();
    scene.slow_down(200).await;
    scene.apply("cancelled", resume()).await;
    scene.status("cancelled", "it runs", |status| status["currentRun"]["pages"].as_i64() > Some(0)).await;
    scene.annotate("cancelled", &[("cancelAt", "1")]).await;
    scene.ran("cancelled", 1).await;

    for (name, action, result) in [
        ("drain", "resume", "Succeeded"),
        ("dry", "delete", "Succeeded"),
        ("refused", "resume", "Failed"),
        ("unknown", "resume", "Failed"),
        ("cancelled", "resume", "Cancelled"),
    ] {
        let lines = of_policy(&scene, name).await;
        let told: Vec<_> =
            lines.iter().filter(|line| line["level"] == "INFO" && line["target"] != "audit").collect();
        let [line] = told[..] else { panic!("{name}: {told:#?}") };
        let run = scene.policy(name).await["status"]["lastRun"].take();
        assert_eq!((&line["action"], &line["result"]), (&json!(action), &json!(result)), "{line}");
        for (key, field) in [
            ("run_id", "id"),
            ("trigger", "trigger"),
            ("reason", "reason"),
            ("pages", "pages"),
            ("processed", "processed"),
            ("generation", "generation"),
            ("message", "message"),
        ] {
            assert_eq!(line[key], run[field], "{key} of {line}");
        }
        assert!(line["duration_ms"].is_u64(), "{line}");
        assert_eq!(
            line["requested_by"],
            if name == "drain" { json!(ASKED_BY) } else { Value::Null },
            "{line}"
        );
    }
}

#[tokio::test]
async fn the_audit_lines_name_each_new_workflow_run_and_who_asked() {
    let scene = scene("logs-audit", &[]).await;
    drain(&scene, "drain", 120).await;
    let lines = audit(&of_policy(&scene, "drain").await);
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    let mut acknowledged: Vec<_> =
        ledger.calls_of("resume").filter(|call| !call.dlq_ids.is_empty()).collect();
    acknowledged.sort_by_key(|call| call.seq);
    assert_eq!(acknowledged.len(), 3, "of 50, 50 and 20");
    let generation = &scene.policy("drain").await["status"]["lastRun"]["generation"];
    for (line, call) in lines.iter().zip(&acknowledged) {
        let started: Vec<_> = ledger
            .workflow_runs
            .iter()
            .filter(|run| call.dlq_ids.contains(&run.from_dlq_id))
            .map(|run| run.workflow_run_id.clone())
            .collect();
        let mut told: Vec<String> = serde_json::from_value(line["workflow_run_ids"].clone()).unwrap();
        let mut expected = started;
        told.sort();
        expected.sort();
        assert_eq!(told, expected, "{line}");
        assert_eq!(line["entries"], told.len(), "{line}");
        assert_eq!(
            (&line["requested_by"], &line["request_reason"]),
            (&json!(ASKED_BY), &json!("they were stuck"))
        );
        assert_eq!((&line["generation"], &line["action"]), (generation, &json!("resume")));
        assert!(line["run_id"].is_string() && line["duration_ms"].is_u64(), "{line}");
    }
    let pages: Vec<_> = lines.iter().map(|line| line["page"].as_i64().unwrap()).collect();
    let processed: Vec<_> = lines.iter().map(|line| line["processed"].as_i64().unwrap()).collect();
    assert_eq!(&processed[..3], [50, 100, 120]);
    assert!(pages.is_sorted() && pages.len() >= 3, "{pages:?}");
    // What is left are pages on which there was nothing.
    assert!(lines[3..].iter().all(|line| line["workflow_run_ids"] == json!([])), "{lines:#?}");
}

#[tokio::test]
async fn a_dry_run_and_a_page_that_was_refused_have_no_audit_line() {
    let scene = scene("logs-no-audit", &[]).await;
    scene.simulator.generate(DLQ, 10, &Entry::default()).await.unwrap();
    let mut dry = resume();
    dry["dryRun"] = json!(true);
    scene.apply("dry", dry).await;
    scene.ran("dry", 1).await;
    let refused = json!([{ "fault": { "status": { "code": 403, "body": "no" } } }]);
    scene.simulator.set_faults(&refused).await.unwrap();
    scene.apply("refused", resume()).await;
    scene.ran("refused", 1).await;
    for name in ["dry", "refused"] {
        assert_eq!(audit(&of_policy(&scene, name).await), Vec::<Value>::new(), "{name}");
    }
}

#[tokio::test]
async fn at_debug_each_page_is_a_line() {
    let scene = scene("logs-debug", &["--log-level=info,dlq_operator=debug"]).await;
    drain(&scene, "drain", 120).await;
    let lines = of_policy(&scene, "drain").await;
    let pages: Vec<_> = lines.iter().filter(|line| line["message"] == "page").collect();
    assert!(pages.len() >= 3, "{lines:#?}");
    for line in pages {
        assert_eq!((&line["level"], &line["operation"]), (&json!("DEBUG"), &json!("bulk_resume")), "{line}");
        for key in ["page", "entries", "processed", "duration_ms"] {
            assert!(line[key].is_u64(), "{key} of {line}");
        }
        assert!(line["run_id"].is_string() && line["action"] == "resume", "{line}");
    }
}

#[tokio::test]
async fn audit_lines_are_written_whatever_the_level_and_alone() {
    let scene = scene("logs-error", &["--log-level=error"]).await;
    drain(&scene, "drain", 60).await;
    let lines = eventually(PATIENCE, "both pages are logged", async || {
        let lines = lines(&scene);
        let entries: i64 = lines.iter().filter_map(|line| line["entries"].as_i64()).sum();
        if entries == 60 { Ok(lines) } else { Err(format!("{lines:#?}")) }
    })
    .await
    .unwrap();
    assert!(lines.iter().all(|line| line["target"] == "audit" && line["level"] == "INFO"), "{lines:#?}");
}

#[tokio::test]
async fn without_audit_no_workflow_run_is_named() {
    let scene = scene("logs-audit-off", &["--audit-log=off", "--log-level=debug"]).await;
    drain(&scene, "drain", 60).await;
    let lines = of_policy(&scene, "drain").await;
    assert_eq!(audit(&lines), Vec::<Value>::new());
    assert!(lines.iter().any(|line| line["message"] == "page"), "{lines:#?}");
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    let log = scene.operator.log();
    // At debug the status' sample is shown where a decision is.
    let said: Vec<_> = log.lines().filter(|line| !line.contains("\"planned\"")).collect();
    assert!(
        ledger.workflow_runs.iter().all(|run| !said.iter().any(|line| line.contains(&run.workflow_run_id)))
    );
}

#[tokio::test]
async fn text_is_for_people_and_says_the_same() {
    let scene = scene("logs-text", &["--log-format=text"]).await;
    drain(&scene, "drain", 60).await;
    let ended = "result=Succeeded";
    let log = eventually(PATIENCE, "the run's end is logged", async || {
        let log = scene.operator.log();
        if log.contains(ended) { Ok(log) } else { Err(log) }
    })
    .await
    .unwrap();
    assert!(!log.contains('\u{1b}'), "colours are for terminals: {log:?}");
    let policy = format!("policy={}/drain", scene.namespace.name());
    let told: Vec<_> =
        log.lines().filter(|line| line.contains(&policy) && !line.contains(" audit: ")).collect();
    let [line] = told[..] else { panic!("{told:#?}") };
    for part in [" INFO ", ended, "processed=60", "action=resume", "duration_ms=", "run_id="] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    let audited: Vec<_> = log.lines().filter(|line| line.contains(" audit: ")).collect();
    for run in &ledger.workflow_runs {
        let id = format!("\"{}\"", run.workflow_run_id);
        assert_eq!(audited.iter().filter(|line| line.contains(&id)).count(), 1, "{id} in {audited:#?}");
    }
}
