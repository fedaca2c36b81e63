//! A sync during a run changes nothing, and nobody has to ignore what the operator writes.

use serde_json::{Value, json};
use testbed::{Entry, ScratchDir};

use super::from_chart::FromChart;
use super::manifests::policy;
use crate::scene::{DLQ, Scene};

/// What each manager owns: `manager subresource field`.
fn owned(policy: &Value) -> Vec<String> {
    let entries = policy["metadata"]["managedFields"].as_array().unwrap();
    let of = |entry: &Value| -> Vec<String> {
        let part = entry["subresource"].as_str().unwrap_or("-").to_owned();
        let manager = entry["manager"].as_str().unwrap().to_owned();
        let fields = entry["fieldsV1"].as_object().unwrap().keys();
        fields.map(|field| format!("{manager} {part} {field}")).collect()
    };
    entries.iter().flat_map(of).collect()
}

/// What a tool wrote, and only such a tool may change.
fn declared(policy: &Value) -> Value {
    let metadata = &policy["metadata"];
    let of = |field: &str| metadata[field].clone();
    json!([
        policy["spec"],
        of("labels"),
        of("annotations"),
        of("finalizers"),
        of("ownerReferences"),
        of("generation")
    ])
}

/// A policy with what each manager owns.
async fn read(scene: &Scene, name: &str) -> Value {
    let policy = scene.kubectl(&["get", "dlqpolicy", name, "--output=json", "--show-managed-fields"]).await;
    serde_json::from_str(&policy).unwrap()
}

#[tokio::test]
async fn a_sync_during_a_run_changes_nothing() {
    let values = json!({ "config": { "checkpointInterval": "0" } });
    let scene = FromChart::prepare("synced", |_| values).await.start().await;
    let home = scene.namespace.name();
    let rules = json!([{ "dlq": DLQ, "fault": { "latency": { "ms": 3000 } } }]);
    scene.simulator.set_faults(&rules).await.unwrap();
    let mut policies = Vec::new();
    for (name, how) in [("by-flux", &["--server-side", "--field-manager=flux"][..]), ("by-argo", &[][..])] {
        let mut policy = policy(home, name, scene.simulator.api_url());
        policy["metadata"]["labels"] = json!({ "team": "payments" });
        policy["spec"]["filters"] = json!({ "labels": [name] });
        let entry = Entry { labels: vec![name.to_owned()], ..Entry::default() };
        scene.simulator.generate(DLQ, 60, &entry).await.unwrap();
        policy["spec"]["limits"] = json!({ "pageSize": 10, "maxEntriesPerRun": 50 });
        policies.push((name, policy, how));
    }
    let dir = ScratchDir::create("manifests").unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let sync = async |name: &str, policy: &Value, how: &[&str]| {
        std::fs::write(file(name), policy.to_string()).unwrap();
        let manifest = file(name);
        let args: Vec<_> =
            ["apply", "--filename", &manifest].into_iter().chain(how.iter().copied()).collect();
        scene.kubectl(&args).await
    };
    for (name, policy, how) in &policies {
        sync(name, policy, how).await;
    }
    for (name, policy, how) in &policies {
        let goes_on = |status: &Value| status["currentRun"]["processed"].as_i64() > Some(0);
        scene.status(name, "the run continues", goes_on).await;
        let before = read(&scene, name).await;
        for _ in 0..2 {
            let said = sync(name, policy, how).await;
            assert!(said.contains("unchanged") || said.contains("serverside-applied"), "{said}");
        }
        let diff: Vec<_> = ["diff", "--filename", &file(name)].into_iter().map(str::to_owned).collect();
        let diff: Vec<_> = diff.iter().map(String::as_str).chain(how.iter().copied()).collect();
        // It fails where there is a difference.
        assert_eq!(scene.kubectl(&diff).await, "");
        let after = read(&scene, name).await;
        assert_eq!(declared(&after), declared(&before), "{name}");
        let run = |policy: &Value| {
            let run = &policy["status"]["currentRun"];
            [&run["id"], &run["startTime"], &run["holder"]].map(Clone::clone)
        };
        assert_eq!(run(&after), run(&before), "{name}: the same run continues");
    }
    scene.simulator.clear_faults().await.unwrap();
    for (name, policy, how) in &policies {
        let run = scene.ran(name, 1).await["lastRun"].take();
        assert_eq!((&run["processed"], &run["result"]), (&json!(50), &json!("LimitReached")), "{run:#}");
        sync(name, policy, how).await;
        let ended = read(&scene, name).await;
        assert_eq!(ended["status"]["totals"]["runs"], 1, "{name}: a sync starts nothing");
        assert_eq!(ended["metadata"]["generation"], 1);
        let owned = owned(&ended);
        let is_tools = |field: &&String| field.starts_with("flux ") || field.starts_with("kubectl");
        for field in owned.iter().filter(|field| !is_tools(field)) {
            assert!(field.ends_with(" status f:status"), "{name}: the operator owns {field}");
        }
        assert_eq!(owned.iter().filter(|field| field.ends_with(" status f:status")).count(), 1, "{owned:?}");
    }
}
