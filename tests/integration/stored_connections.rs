//! Connections that stand in etcd from other versions: they are read, and nothing of them is lost.

use std::fs;

use dlq_operator::runtime::clock;
use serde_json::{Value, json};
use testbed::{ControlPlane, Entry, Fate, ScratchDir, Simulator, eventually, workspace_root};

use crate::generated_files::definitions;
use crate::scene::{DLQ, PATIENCE, Scene, condition};

fn stored(name: &str) -> Value {
    let path = workspace_root().join(format!("tests/data/stored/{name}.yaml"));
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The definitions as they will be: those of connections have a further field and a further guardrail.
fn future() -> [Value; 3] {
    let [policies, mut own, mut shared] =
        definitions().map(|(_, text)| serde_saphyr::from_str::<Value>(&text).unwrap());
    for definition in [&mut own, &mut shared] {
        let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        schema["status"]["properties"]["quota"] =
            json!({ "type": "object", "properties": { "left": { "type": "integer" } } });
        schema["spec"]["properties"]["contact"] = json!({ "type": "string" });
    }
    [policies, own, shared]
}

/// A control plane of the test's own, and an operator that does not run yet.
async fn scene(name: &str, definitions: [Value; 3]) -> Scene {
    let control_plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start().await.unwrap()));
    let dir = ScratchDir::create("definitions").unwrap();
    let path = dir.path().join("crds.yaml");
    // JSON is YAML.
    fs::write(&path, definitions.map(|definition| definition.to_string()).join("\n---\n")).unwrap();
    control_plane.install_crd(&path).await.unwrap();
    let simulator = Simulator::start().await.unwrap();
    let mut scene = Scene::start_on(control_plane, name, simulator, &[], |_| ()).await;
    assert!(scene.operator.terminate().await.unwrap().success());
    scene
}

/// Stores an object as it is, its status too.
async fn store(scene: &Scene, object: &Value) {
    let mut object = object.clone();
    let status = object.as_object_mut().unwrap().remove("status").unwrap();
    object["metadata"]["namespace"] = scene.namespace.name().into();
    scene.control_plane.kubectl_apply(&object.to_string()).await.unwrap().ok().unwrap();
    let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
    let patch = json!([{ "op": "add", "path": "/status", "value": status }]).to_string();
    let args = ["patch", kind, name, "--subresource=status", "--type=json", "--patch", &patch];
    scene.kubectl(&args).await;
}

/// As this version stored it today.
fn connection_of_today() -> Value {
    let mut connection = stored("connection");
    let now = clock::now();
    connection["status"]["day"] = now.to_zoned(jiff::tz::TimeZone::UTC).date().to_string().into();
    connection["status"]["lastCheckTime"] = format!("{now:.0}").into();
    connection
}

async fn connection(scene: &Scene) -> Value {
    let connection = scene.kubectl(&["get", "dlqconnection", "production", "--output=json"]).await;
    serde_json::from_str(&connection).unwrap()
}

#[tokio::test]
async fn what_this_version_stored_of_a_connection_and_its_policy_is_read_and_counted_on() {
    let definitions = definitions().map(|(_, text)| serde_saphyr::from_str(&text).unwrap());
    let mut scene = scene("stored-connection", definitions).await;
    let entry = Entry { labels: vec!["payments".to_owned()], ..Entry::default() };
    scene.simulator.generate(DLQ, 20, &entry).await.unwrap();
    let (before, policy) = (connection_of_today(), stored("sharing"));
    for object in [&before, &policy] {
        store(&scene, object).await;
    }
    scene.operator.restart(None).await.unwrap();

    // The policy ran for its spec already.
    let status = scene
        .status("sharing", "it is seen by this operator", |status| {
            condition(status, "Ready")["message"] != policy["status"]["conditions"][0]["message"]
        })
        .await;
    for count in ["runs", "processed"] {
        assert_eq!(status["totals"][count], policy["status"]["totals"][count], "{count}");
    }
    assert_eq!(status["currentRun"], Value::Null);
    assert_eq!(status["lastRun"]["reason"], "BudgetSpent", "{status:#}");

    // Seven of the ten entries of the day are spent.
    scene.annotate("sharing", &[("requestedAt", "now")]).await;
    let run = scene.ran("sharing", 3).await["lastRun"].take();
    assert_eq!((&run["processed"], &run["reason"]), (&json!(3), &json!("BudgetSpent")), "{run:#}");
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_eq!(ledger.with_fate(Fate::Resumed).count(), 3);
    let after = connection(&scene).await;
    for (name, field) in before["spec"].as_object().unwrap() {
        assert_eq!(after["spec"][name], *field, "{name}");
    }
    assert_eq!(after["status"]["entriesToday"], 10, "{:#}", after["status"]);
    assert_eq!(
        after["status"]["lastCheckTime"], before["status"]["lastCheckTime"],
        "the token is not tried again"
    );
}

#[tokio::test]
async fn what_a_newer_version_said_of_a_connection_stays() {
    let mut scene = scene("newer-connection", future()).await;
    let mut before = connection_of_today();
    before["spec"]["contact"] = "platform".into();
    before["status"]["quota"] = json!({ "left": 7 });
    before["status"]["conditions"][0]["reason"] = "UpstreamAsleep".into();
    before["status"]["conditions"].as_array_mut().unwrap().push(json!({
        "type": "Metered", "status": "True", "reason": "Prepaid", "message": "paid in advance",
        "observedGeneration": 1, "lastTransitionTime": "2026-01-02T00:00:00Z",
    }));
    store(&scene, &before).await;
    let mut policy = stored("sharing");
    policy["status"] = json!({ "observedGeneration": -1 });
    policy["spec"]["suspend"] = true.into();
    store(&scene, &policy).await;
    scene.operator.restart(None).await.unwrap();

    let after = eventually(PATIENCE, "this operator has written the status", async || {
        let after = connection(&scene).await;
        if after["status"]["policies"] == 1 { Ok(after) } else { Err(format!("{:#}", after["status"])) }
    })
    .await
    .unwrap();
    let (status, stored) = (&after["status"], &before["status"]);
    assert_eq!(status["quota"], stored["quota"]);
    assert_eq!(condition(status, "Metered"), condition(stored, "Metered"));
    assert_eq!(condition(status, "Ready")["reason"], "UpstreamAsleep", "{status:#}");
    assert_eq!(after["spec"]["contact"], "platform");

    // A run of this operator's own takes nothing of it.
    let entry = Entry { labels: vec!["payments".to_owned()], ..Entry::default() };
    scene.simulator.generate(DLQ, 1, &entry).await.unwrap();
    scene.patch("sharing", json!({ "suspend": false })).await;
    scene.annotate("sharing", &[("requestedAt", "now")]).await;
    assert_eq!(scene.ran("sharing", 1).await["lastRun"]["processed"], 1);
    let status = connection(&scene).await["status"].take();
    assert_eq!(status["quota"], stored["quota"]);
    assert_eq!(condition(&status, "Metered"), condition(stored, "Metered"));
    assert!(status["entriesToday"].as_i64() >= Some(8), "{status:#}");
}
