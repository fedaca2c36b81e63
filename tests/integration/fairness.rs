//! Whose turn it is when there are more runs than slots.

use std::time::Duration;

use dlq_operator::runtime::clock;
use jiff::Timestamp;
use serde_json::{Value, json};
use testbed::{Entry, Namespace, Operator, OperatorOptions, Simulator, eventually};

use crate::cluster::control_plane;
use crate::scene::{DLQ, PATIENCE, Scene, TOKEN, condition};

/// How many policies are due at once in the crowded namespace.
const CROWD: usize = 700;
/// So many of them may begin before one of another account or namespace: those that have a turn when it comes, and one
/// more for each place ahead of it, in the line for turns and in that for slots. Where machines are busy, its Secret and its
/// claim are answered late.
const MOST_BEFORE: usize = 250;
/// Every call takes so long.
const CALL: Duration = Duration::from_millis(300);

/// A scene whose operator manages a second namespace too, with one watch and one controller for both.
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
    (Scene { operator, control_plane, namespace, simulator }, other)
}

/// A Secret of this name and policies that read it, each of which drains all of the token's DLQ, one entry a page.
fn drains_of(
    scene: &Scene,
    namespace: &Namespace,
    secret_name: &str,
    token: &str,
    names: impl Iterator<Item = String>,
) -> Vec<Value> {
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": secret_name, "namespace": namespace.name() },
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
                "connection": { "tokenSecretRef": { "name": secret_name, "key": "token" } },
            },
        })
    });
    [secret].into_iter().chain(policies).collect()
}

fn drains(
    scene: &Scene,
    namespace: &Namespace,
    token: &str,
    names: impl Iterator<Item = String>,
) -> Vec<Value> {
    drains_of(scene, namespace, "upstash", token, names)
}

/// The statuses of all policies of a namespace.
async fn statuses(scene: &Scene, namespace: &Namespace) -> Vec<Value> {
    let args = ["get", "dlqp", "--namespace", namespace.name(), "--output=json"];
    let list = scene.control_plane.kubectl(&args).await.unwrap().ok().unwrap();
    let mut list: Value = serde_json::from_str(&list).unwrap();
    list["items"].as_array_mut().unwrap().iter_mut().map(|policy| policy["status"].take()).collect()
}

#[tokio::test]
async fn a_crowded_namespace_does_not_starve_another() {
    let (scene, other) = two_namespaces("crowd", &["--max-concurrent-runs=4"]).await;
    scene.simulator.generate(DLQ, 10_000, &Entry::default()).await.unwrap();
    scene.simulator.allow("lone-token", "lone").await.unwrap();
    scene.simulator.generate("lone", 5, &Entry::default()).await.unwrap();
    let latency = json!([{ "fault": { "latency": { "ms": CALL.as_millis() } } }]);
    scene.simulator.set_faults(&latency).await.unwrap();
    let crowd = (0..CROWD).map(|index| format!("crowd-{index:03}"));
    scene.apply_all(drains(&scene, &scene.namespace, TOKEN, crowd)).await;
    eventually(PATIENCE, "all of the crowd are in line", async || {
        let statuses = statuses(&scene, &scene.namespace).await;
        let in_line = statuses.iter().filter(|status| status["currentRun"].is_object()).count();
        if in_line == CROWD { Ok(()) } else { Err(in_line) }
    })
    .await
    .unwrap();

    let lone = drains(&scene, &other, "lone-token", ["lone".to_owned()].into_iter());
    scene.apply_all(lone).await;
    let ended = async || statuses(&scene, &other).await[0]["totals"]["runs"] == 1;
    // One slice of another's at most, and its own five pages.
    eventually(PATIENCE / 4, "the lone one has ended", ended).await.unwrap();
    let crowd = statuses(&scene, &scene.namespace).await;
    let going_on = crowd.iter().filter(|status| status["currentRun"].is_object()).count();
    assert_eq!(going_on, CROWD, "the crowd has its work still before it");
}

/// Starts the operator anew where the crowd is already there.
async fn meet_a_crowd(scene: &mut Scene) {
    scene.simulator.generate(DLQ, 10_000, &Entry::default()).await.unwrap();
    scene.simulator.allow("lone-token", "lone").await.unwrap();
    let latency = json!([{ "fault": { "latency": { "ms": CALL.as_millis() } } }]);
    scene.simulator.set_faults(&latency).await.unwrap();
    scene.operator.terminate().await.unwrap();
    let crowd = (0..CROWD).map(|index| format!("crowd-{index:03}"));
    scene.apply_all(drains(scene, &scene.namespace, TOKEN, crowd)).await;
    scene.operator.restart(None).await.unwrap();
}

/// When runs of the policies of a namespace began, but for one named `lone`, and when its run did.
async fn begun(scene: &Scene, namespace: &Namespace) -> (Vec<Timestamp>, Option<Timestamp>) {
    let args = ["get", "dlqp", "--namespace", namespace.name(), "--output=json"];
    let list = scene.control_plane.kubectl(&args).await.unwrap().ok().unwrap();
    let list: Value = serde_json::from_str(&list).unwrap();
    let start = |policy: &Value| {
        let run = ["currentRun", "lastRun"].map(|run| policy["status"][run]["startTime"].clone());
        run.iter().find_map(|start| start.as_str().map(|start| start.parse().unwrap()))
    };
    let is_lone = |policy: &&Value| policy["metadata"]["name"] == "lone";
    let policies = list["items"].as_array().unwrap();
    let crowd = policies.iter().filter(|policy| !is_lone(policy)).filter_map(start).collect();
    (crowd, policies.iter().find(is_lone).and_then(start))
}

/// Adds one policy of another account, in the middle of the crowd, and sees that few of the crowd begin after that and
/// before it.
async fn begins_soon(scene: &Scene, namespace: &Namespace) {
    let some = async || !begun(scene, &scene.namespace).await.0.is_empty();
    eventually(PATIENCE, "some of the crowd have begun", some).await.unwrap();
    let lone = drains_of(scene, namespace, "lone", "lone-token", ["lone".to_owned()].into_iter());
    scene.apply_all(lone).await;
    let applied = clock::now();
    let began = async || begun(scene, namespace).await.1.ok_or("not yet");
    let start = eventually(PATIENCE, "the lone one has begun", began).await.unwrap();
    let all = async || {
        let (crowd, _) = begun(scene, &scene.namespace).await;
        if crowd.len() == CROWD { Ok(crowd) } else { Err(crowd.len()) }
    };
    let crowd = eventually(PATIENCE, "all of the crowd have begun", all).await.unwrap();
    let after = |time: Timestamp| crowd.iter().filter(|start| **start > time).count();
    assert!(after(applied) > MOST_BEFORE, "the crowd was too small: {} were left", after(applied));
    let before_it = after(applied).saturating_sub(after(start));
    assert!(before_it < MOST_BEFORE, "{before_it} of the crowd began before it");
}

#[tokio::test]
async fn a_crowd_that_is_looked_at_all_at_once_does_not_keep_another_from_its_start() {
    let (mut scene, other) = two_namespaces("storm", &[]).await;
    meet_a_crowd(&mut scene).await;
    begins_soon(&scene, &other).await;
}

#[tokio::test]
async fn a_crowd_of_one_account_does_not_keep_another_of_its_namespace_from_its_start() {
    let (mut scene, _) = two_namespaces("accounts", &[]).await;
    meet_a_crowd(&mut scene).await;
    begins_soon(&scene, &scene.namespace).await;
}

#[tokio::test]
async fn a_connection_that_is_full_holds_up_no_other() {
    let (scene, other) = two_namespaces("connections", &["--max-runs-per-connection=1"]).await;
    scene.simulator.generate(DLQ, 10_000, &Entry::default()).await.unwrap();
    scene.simulator.allow("lone-token", "lone").await.unwrap();
    scene.simulator.generate("lone", 5, &Entry::default()).await.unwrap();
    let latency = json!([{ "fault": { "latency": { "ms": CALL.as_millis() } } }]);
    scene.simulator.set_faults(&latency).await.unwrap();
    let pair = ["first", "second"].map(ToOwned::to_owned).into_iter();
    scene.apply_all(drains(&scene, &scene.namespace, TOKEN, pair)).await;
    eventually(PATIENCE, "one of the two waits for the other", async || {
        let statuses = statuses(&scene, &scene.namespace).await;
        let mut reasons: Vec<_> =
            statuses.iter().map(|status| condition(status, "Running")["reason"].take()).collect();
        reasons.sort_by_key(ToString::to_string);
        if reasons == ["Queued", "RunInProgress"] { Ok(()) } else { Err(format!("{reasons:?}")) }
    })
    .await
    .unwrap();
    scene.apply_all(drains(&scene, &other, "lone-token", ["lone".to_owned()].into_iter())).await;
    let ended = async || statuses(&scene, &other).await[0]["totals"]["runs"] == 1;
    eventually(PATIENCE / 4, "the other connection's run has ended", ended).await.unwrap();
}
