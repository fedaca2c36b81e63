//! What stands in etcd from other versions of the definition and the operator: it is read, and nothing of it is lost.

use std::fs;

use serde_json::{Value, json};
use testbed::{ControlPlane, Entry, Fate, ScratchDir, Simulator, workspace_root};

use crate::definition_changes::released;
use crate::generated_files::{definition, definitions};
use crate::scene::{DLQ, PATIENCE, Scene, TOKEN};

/// The DLQ of the policy `bare`, and its token.
const BARE_DLQ: &str = "bare";
const BARE_TOKEN: &str = "bare-token-3d1c";

/// 2026-01-01T00:00:00Z, before the windows of the stored runs end.
const FAILED_AT: i64 = 1_767_225_600_000;

fn stored(name: &str) -> Value {
    let path = workspace_root().join(format!("tests/data/stored/{name}.yaml"));
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Installs this definition of policies, and beside it those of connections as they are now.
async fn install(control_plane: &ControlPlane, definition: &Value) {
    let dir = ScratchDir::create("definitions").unwrap();
    let path = dir.path().join("crds.yaml");
    let [_, own, shared] = definitions().map(|(_, text)| text);
    // JSON is YAML.
    fs::write(&path, [definition.to_string(), own, shared].join("\n---\n")).unwrap();
    control_plane.install_crd(&path).await.unwrap();
}

fn current() -> Value {
    serde_saphyr::from_str(&definition()).unwrap()
}

/// The schemas of a definition's spec and status.
fn part<'a>(definition: &'a mut Value, name: &str) -> &'a mut Value {
    &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][name]["properties"]
}

/// A control plane of the test's own with this definition, and an operator that does not run yet.
async fn scene(name: &str, definition: &Value) -> Scene {
    let control_plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start().await.unwrap()));
    install(control_plane, definition).await;
    let simulator = Simulator::start().await.unwrap();
    let args = ["--checkpoint-interval=0"];
    let mut scene = Scene::start_on(control_plane, name, simulator, &args, |_| ()).await;
    assert!(scene.operator.terminate().await.unwrap().success());
    scene
}

/// Stores an object as it is, its status too.
async fn store(scene: &Scene, mut object: Value) {
    let status = object["status"].take();
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    object["metadata"]["namespace"] = scene.namespace.name().into();
    object.as_object_mut().unwrap().remove("status");
    scene.control_plane.kubectl_apply(&object.to_string()).await.unwrap().ok().unwrap();
    scene.patch_status(&name, json!([{ "op": "add", "path": "/status", "value": status }])).await;
}

/// What an older operator did before it died: so many pages of fifty. The last one's cursor.
async fn pages_of_an_older_operator(scene: &Scene, pages: usize) -> String {
    let client = reqwest::Client::new();
    let mut cursor: Option<String> = None;
    for _ in 0..pages {
        let mut url: reqwest::Url =
            format!("{}/v2/workflows/dlq/resume?count=50", scene.simulator.api_url()).parse().unwrap();
        if let Some(cursor) = &cursor {
            url.query_pairs_mut().append_pair("cursor", cursor);
        }
        let answer = client.post(url).bearer_auth(TOKEN).send().await.unwrap().error_for_status().unwrap();
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        cursor = Some(answer["cursor"].as_str().unwrap().to_owned());
    }
    cursor.unwrap()
}

#[tokio::test]
async fn what_older_operators_stored_is_gone_on_with_after_an_upgrade() {
    let (_, first) = released().into_iter().find(|(name, _)| name == "first").unwrap();
    let mut scene = scene("stored", &first).await;
    let old = Entry { failed_at: Some(FAILED_AT), ..Entry::default() };
    scene.simulator.generate(DLQ, 300, &old).await.unwrap();
    scene.simulator.allow(BARE_TOKEN, BARE_DLQ).await.unwrap();
    scene.simulator.generate(BARE_DLQ, 3, &old).await.unwrap();
    scene.apply_secret("bare", "token", BARE_TOKEN).await;

    let mut mid_flight = stored("mid-flight");
    mid_flight["status"]["currentRun"]["cursor"] = pages_of_an_older_operator(&scene, 3).await.into();
    for object in [&mid_flight, &stored("handled"), &stored("bare")] {
        store(&scene, object.clone()).await;
    }
    install(scene.control_plane, &current()).await;
    scene.operator.restart(None).await.unwrap();

    let (status, before) = (scene.ran("mid-flight", 1).await, &mid_flight["status"]["currentRun"]);
    let run = &status["lastRun"];
    for field in ["id", "startTime", "trigger", "window", "limits"] {
        assert_eq!(run[field], before[field], "{field}");
    }
    assert_eq!(
        (&run["result"], &run["processed"], &run["interruptions"]),
        (&json!("Succeeded"), &json!(300), &json!(1)),
        "{run:#}"
    );
    assert_eq!(status["totals"]["processed"], 300);
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_eq!(ledger.with_fate(Fate::Resumed).count(), 300);
    assert!(ledger.calls[3].query.contains("cursor="), "it went on where the older one stood");

    let before = &stored("handled")["status"];
    let status = scene
        .status("handled", "handled is seen by the new operator", |status| {
            status["conditions"][0]["message"] != before["conditions"][0]["message"]
        })
        .await;
    for field in [
        "totals",
        "history",
        "missedSchedules",
        "lastMissedTime",
        "consecutiveFailures",
        "lastScheduleTime",
        "lastSuccessfulTime",
        "lastHandledRequestedAt",
        "lastHandledCancelAt",
        "scheduleSince",
    ] {
        assert_holds(field, &status[field], &before[field]);
    }
    assert_eq!(status["phase"], "Scheduled");
    assert_eq!(status["currentRun"], Value::Null, "no request and no scheduled time is handled twice");

    let status = scene.ran("bare", 1).await;
    assert_eq!(status["lastRun"]["processed"], 3, "{:#}", status["lastRun"]);
    assert_eq!(status["lastRun"]["id"], stored("bare")["status"]["currentRun"]["id"]);
    assert_eq!(status["history"][1]["id"], "earlier-spec");
}

/// Everything of `before` stands in `now`, which may say more.
fn assert_holds(path: &str, now: &Value, before: &Value) {
    match (now, before) {
        (Value::Object(now), Value::Object(before)) => {
            for (key, value) in before {
                assert_holds(&format!("{path}.{key}"), now.get(key).unwrap_or(&Value::Null), value);
            }
        }
        (Value::Array(now), Value::Array(before)) => {
            assert_eq!(now.len(), before.len(), "{path}");
            for (index, (now, before)) in now.iter().zip(before).enumerate() {
                assert_holds(&format!("{path}[{index}]"), now, before);
            }
        }
        (now, before) => assert_eq!(now, before, "{path}"),
    }
}

/// A definition that is yet to come: further fields everywhere, and further words.
fn future() -> Value {
    let mut definition = current();
    let status = part(&mut definition, "status");
    let text = json!({ "type": "string" });
    status["quota"] = json!({ "type": "object", "properties": { "left": { "type": "integer" } } });
    status["phase"]["enum"].as_array_mut().unwrap().push("Resting".into());
    status["totals"]["properties"]["bytes"] = json!({ "type": "integer" });
    for run in ["/currentRun", "/lastRun", "/history/items"] {
        let run = &mut status.pointer_mut(run).unwrap()["properties"];
        run["region"] = text.clone();
        run["result"]["enum"].as_array_mut().unwrap().push("Postponed".into());
        run["reason"]["enum"].as_array_mut().unwrap().push("UpstreamAsleep".into());
    }
    definition
}

#[tokio::test]
async fn what_a_newer_operator_stored_stays_when_an_older_one_is_back() {
    let mut scene = scene("newer", &future()).await;
    let mut object = stored("handled");
    object["metadata"]["name"] = "newer".into();
    let status = &mut object["status"];
    status["quota"] = json!({ "left": 7 });
    status["phase"] = "Resting".into();
    status["totals"]["bytes"] = 12.into();
    for run in ["/lastRun", "/history/0"] {
        let run = status.pointer_mut(run).unwrap();
        run["region"] = "eu".into();
        run["result"] = "Postponed".into();
        run["reason"] = "UpstreamAsleep".into();
    }
    status["conditions"][2]["reason"] = "UpstreamAsleep".into();
    let before = status.clone();
    store(&scene, object).await;
    let mut going_on = stored("mid-flight");
    going_on["status"]["currentRun"]["region"] = "eu".into();
    going_on["status"]["currentRun"].as_object_mut().unwrap().remove("cursor");
    store(&scene, going_on).await;
    let old = Entry { failed_at: Some(FAILED_AT), ..Entry::default() };
    scene.simulator.generate(DLQ, 400, &old).await.unwrap();
    scene.slow_down(1000).await;
    scene.operator.restart(None).await.unwrap();

    let pages = "the run has gone on for a page";
    let status =
        scene.status("mid-flight", pages, |status| status["currentRun"]["pages"].as_i64() > Some(3)).await;
    assert_eq!(status["currentRun"]["region"], "eu");
    assert!(scene.operator.terminate().await.unwrap().success());
    let run = scene.policy("mid-flight").await["status"]["currentRun"].take();
    assert_eq!((&run["holder"], &run["region"]), (&json!(""), &json!("eu")), "it is given back whole");
    scene.simulator.clear_faults().await.unwrap();
    scene.operator.restart(None).await.unwrap();
    scene.ran("mid-flight", 1).await;

    let status = scene.condition("newer", "Ready", "True", "Scheduled").await;
    for field in ["quota", "totals", "lastRun", "history"] {
        assert_holds(field, &status[field], &before[field]);
    }
    let of_last_run = crate::scene::condition(&status, "LastRunSucceeded");
    assert_eq!(of_last_run["reason"], "UpstreamAsleep", "what the newer one said of its run stays");

    // A run of this operator's own takes nothing from what was said of the others.
    scene.annotate("newer", &[("requestedAt", "again")]).await;
    let status = scene.ran("newer", 10).await;
    assert_eq!(status["lastRun"]["region"], Value::Null);
    assert_eq!(status["history"].as_array().unwrap().len(), 3);
    assert_holds("history[1]", &status["history"][1], &before["history"][0]);
    assert_eq!((&status["quota"]["left"], &status["totals"]["bytes"]), (&json!(7), &json!(12)));
    assert_eq!(status["phase"], "Scheduled");
}

/// Whether the API server lets what did not change be when a status is written, whatever a rule says. It does since 1.33.
async fn spares_unchanged_values(control_plane: &ControlPlane) -> bool {
    let said = control_plane.kubectl(&["version", "--output=json"]).await.unwrap().ok().unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    let minor = said["serverVersion"]["minor"].as_str().unwrap().trim_end_matches('+');
    minor.parse::<u32>().unwrap() >= 33
}

#[tokio::test]
async fn a_rule_that_became_stricter_spares_stored_policies_if_it_says_so_itself() {
    let mut scene = scene("stricter", &current()).await;
    let policy = |name: &str, labels: [&str; 2], history: i64| {
        let policy = json!({
            "apiVersion": "dlq-operator.dev/v1alpha1",
            "kind": "DlqPolicy",
            "metadata": { "name": name, "namespace": scene.namespace.name() },
            "spec": {
                "action": "resume", "filters": { "labels": labels }, "schedule": "0 0 29 2 *",
                "historyLimit": history,
                "connection": { "tokenSecretRef": { "name": "upstash", "key": "token" } },
            },
        });
        policy.to_string()
    };
    let (before, other) = (policy("before", ["a", "b"], 10), policy("other", ["x-a", "x-b"], 10));
    let long = policy("long", ["x-a", "x-b"], 21);
    scene.control_plane.kubectl_apply(&before).await.unwrap().ok().unwrap();
    let refused = async |manifest: &str, why: &str| {
        testbed::eventually(PATIENCE, why, async || {
            let answer = scene.control_plane.kubectl_apply(manifest).await.unwrap().ok();
            let error = answer.err().ok_or("it was taken")?.to_string();
            if error.contains(why) { Ok(()) } else { Err("it was refused otherwise") }
        })
        .await
        .unwrap();
    };

    let mut stricter = current();
    let rules = |schema: &mut Value, rule: Value| {
        schema["x-kubernetes-validations"].as_array_mut().unwrap().push(rule);
    };
    part(&mut stricter, "spec")["filters"]["properties"]["labels"]["items"]["pattern"] = "^x-".into();
    let spec = &mut stricter["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let spares = "oldSelf.hasValue() || self.historyLimit > 20";
    rules(spec, json!({ "rule": spares, "optionalOldSelf": true, "message": "a long history" }));
    install(scene.control_plane, &stricter).await;
    refused(&other, "a long history").await;
    scene.operator.restart(None).await.unwrap();
    scene.annotate("before", &[("requestedAt", "1")]).await;
    let status = scene.ran("before", 1).await;
    assert_eq!(status["lastRun"]["result"], "Succeeded", "the operator writes as before");
    scene.patch("before", json!({ "historyLimit": 3 })).await;
    refused(&policy("before", ["a", "c"], 3), "spec.filters.labels[1]").await;

    rules(
        &mut part(&mut stricter, "spec")["filters"],
        json!({ "rule": "!has(self.labels) || self.labels.size() < 2", "message": "one label" }),
    );
    install(scene.control_plane, &stricter).await;
    refused(&long, "one label").await;
    scene.annotate("before", &[("requestedAt", "2")]).await;
    if spares_unchanged_values(scene.control_plane).await {
        scene.ran("before", 2).await;
    } else {
        testbed::eventually(PATIENCE, "the status is refused", async || {
            scene.operator.log().contains("cannot write the status")
                && scene.operator.log().contains("one label")
        })
        .await
        .unwrap();
    }
}
