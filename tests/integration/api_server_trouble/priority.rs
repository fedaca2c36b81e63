//! The API server's own priority and fairness: a neighbour takes all the room there is.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use testbed::{ControlPlane, Entry, Namespace, Simulator, eventually};

use super::assert_as_if_nothing_had_happened;
use crate::cluster::{client, control_plane};
use crate::scene::{DLQ, PATIENCE, Scene};

const OPERATOR: &str = "operator";
const NEIGHBOUR: &str = "neighbour";
/// Longer than the operator acts without a checkpoint.
const SPAN: Duration = Duration::from_secs(8);
/// Of one run, in [`SPAN`].
const MOST_REFUSED: u64 = 60;

const FLOW_CONTROL: &str = "flowcontrol.apiserver.k8s.io/v1";

/// Of what has no namespace.
fn name(home: &Namespace, account: &str) -> String {
    format!("{}-{account}", home.name())
}

async fn apply(control_plane: &ControlPlane, objects: &[Value]) {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    control_plane.kubectl_apply(&list.to_string()).await.unwrap().ok().unwrap();
}

fn object(api: &str, kind: &str, name: &str, rest: &Value) -> Value {
    let mut object = json!({ "apiVersion": api, "kind": kind, "metadata": { "name": name } });
    object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    object
}

/// An account that may do anything, and all of whose requests go to the priority level of its home.
fn account(home: &Namespace, account: &str) -> [Value; 3] {
    let (home, name) = (home.name(), name(home, account));
    let subject = json!({ "kind": "ServiceAccount", "name": account, "namespace": home });
    let role =
        json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" });
    let flow = json!({ "kind": "ServiceAccount", "serviceAccount": { "name": account, "namespace": home } });
    let anything = json!({
        "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"],
    });
    let schema = json!({
        "priorityLevelConfiguration": { "name": home }, "matchingPrecedence": 100,
        "rules": [{ "subjects": [flow], "resourceRules": [anything] }],
    });
    [
        object(
            "v1",
            "ServiceAccount",
            account,
            &json!({ "metadata": { "name": account, "namespace": home } }),
        ),
        object(
            "rbac.authorization.k8s.io/v1",
            "ClusterRoleBinding",
            &name,
            &json!({ "roleRef": role, "subjects": [subject] }),
        ),
        object(FLOW_CONTROL, "FlowSchema", &name, &json!({ "spec": schema })),
    ]
}

/// A priority level with room for one request at a time.
fn one_at_a_time(home: &Namespace) -> Value {
    // A request that finds nobody else is served also where there is no seat.
    let limited = json!({
        "nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0,
        "limitResponse": { "type": "Reject" },
    });
    let spec = json!({ "type": "Limited", "limited": limited });
    object(FLOW_CONTROL, "PriorityLevelConfiguration", home.name(), &json!({ "spec": spec }))
}

/// A webhook that is asked about every `ConfigMap` there and never answers: who creates one takes a seat for long.
fn slow_webhook(home: &Namespace, silent: SocketAddr) -> Value {
    let webhook = json!({
        "name": "silent.dlq-operator.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "clientConfig": { "url": format!("https://{silent}") }, "timeoutSeconds": 30,
        "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": home.name() } },
        "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"] }],
    });
    let kind = "ValidatingWebhookConfiguration";
    object("admissionregistration.k8s.io/v1", kind, home.name(), &json!({ "webhooks": [webhook] }))
}

/// Takes the only seat, and keeps it.
async fn take_all_room(client: kube::Client, home: String) {
    let maps: Api<ConfigMap> = Api::namespaced(client, &home);
    loop {
        let map = ConfigMap {
            metadata: ObjectMeta { name: Some("slow".to_owned()), ..ObjectMeta::default() },
            ..ConfigMap::default()
        };
        let created = maps.create(&PostParams::default(), &map).await;
        println!("the neighbour: {:?}", created.map(|_| ()).map_err(|error| error.to_string()));
    }
}

/// How many requests the API server says it has refused so.
async fn refused(control_plane: &ControlPlane, home: &Namespace) -> u64 {
    let metrics = control_plane.kubectl(&["get", "--raw=/metrics"]).await.unwrap().ok().unwrap();
    let of_schema = format!("flow_schema=\"{}\"", name(home, OPERATOR));
    let lines = metrics.lines().filter(|line| {
        line.starts_with("apiserver_flowcontrol_rejected_requests_total") && line.contains(&of_schema)
    });
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[tokio::test]
async fn who_is_refused_by_priority_and_fairness_asks_little_and_goes_on_when_there_is_room() {
    let control_plane = control_plane().await;
    let home = control_plane.namespace("no-room").await.unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let webhook = slow_webhook(&home, silent.local_addr().unwrap());
    apply(control_plane, &[one_at_a_time(&home), webhook]).await;
    apply(control_plane, &account(&home, OPERATOR)).await;
    apply(control_plane, &account(&home, NEIGHBOUR)).await;
    let kubeconfig = async |account| {
        let token = control_plane.service_account_token(home.name(), account).await.unwrap();
        control_plane.kubeconfig_for(&name(&home, account), &token).unwrap()
    };
    let (of_operator, of_neighbour) = (kubeconfig(OPERATOR).await, kubeconfig(NEIGHBOUR).await);
    let simulator = Simulator::start().await.unwrap();
    let scene =
        Scene::start_on(control_plane, "crowded", simulator, &["--checkpoint-interval=0"], |options| {
            options.kubeconfig = of_operator;
        })
        .await;
    scene.simulator.generate(DLQ, 3000, &Entry::default()).await.unwrap();
    scene.slow_down(300).await;
    scene.apply("drain", json!({ "action": "resume", "filters": { "all": true } })).await;
    let pages =
        |more_than: i64| move |status: &Value| status["currentRun"]["pages"].as_i64() > Some(more_than);
    scene.status("drain", "pages are written", pages(1)).await;

    let (since, before) = (Instant::now(), refused(control_plane, &home).await);
    let neighbour = tokio::spawn(take_all_room(client(&of_neighbour).await, home.name().to_owned()));
    eventually(PATIENCE, "it is refused", async || refused(control_plane, &home).await > before)
        .await
        .unwrap();
    eventually(PATIENCE, "the time is over", async || since.elapsed() > SPAN).await.unwrap();
    let requests = refused(control_plane, &home).await - before;
    println!("{requests} requests refused in {:?}", since.elapsed());
    assert!(requests < MOST_REFUSED, "{requests} requests in {:?}", since.elapsed());
    let known = scene.policy("drain").await["status"]["currentRun"]["pages"].as_i64().unwrap();

    neighbour.abort();
    let back = Instant::now();
    scene.status("drain", "the run continues", pages(known)).await;
    println!("the next page is written {:?} after there is room", back.elapsed());
    scene.simulator.clear_faults().await.unwrap();
    let run = scene.ran("drain", 1).await["lastRun"].take();
    assert_as_if_nothing_had_happened(&run, &scene.simulator.ledger(DLQ).await.unwrap(), 3000, 60);
    let leftovers = ["validatingwebhookconfiguration", "prioritylevelconfiguration"]
        .map(|kind| (kind, home.name().to_owned()));
    let accounts = [OPERATOR, NEIGHBOUR].map(|account| name(&home, account));
    let of_accounts =
        accounts.into_iter().flat_map(|name| [("flowschema", name.clone()), ("clusterrolebinding", name)]);
    for (kind, name) in of_accounts.chain(leftovers) {
        control_plane.kubectl(&["delete", kind, &name]).await.unwrap().ok().unwrap();
    }
}
