//! Every permission that the chart grants is needed: without it something fails that people see.

use std::collections::BTreeSet;

use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use testbed::{Entry, eventually, workspace_root};

use super::from_chart::{self, FromChart};
use super::manifests::{policy, secret};
use super::release::NAME;
use super::rights::grants;
use super::sharing::{OWN, SHARED, Sharing, flips};
use crate::cluster::control_plane;
use crate::scene::{DLQ, PATIENCE, Scene, condition};

/// How many releases run at once.
const AT_ONCE: usize = 2;

/// What can be seen of a release that was asked for two runs, and for one with each kind of connection.
struct Facts {
    ready: bool,
    leader: bool,
    status: Value,
    /// Of the policies that name a connection: of the namespace's own, and of the cluster's.
    sharing: [Value; 2],
    events: Vec<Value>,
    /// About the cluster-wide connections.
    cluster_events: Vec<Value>,
    log: String,
}

impl Facts {
    async fn of(scene: &Scene) -> Self {
        let mut cluster_events = Vec::new();
        for name in [scene.namespace.name().to_owned(), flips(scene.namespace.name())] {
            cluster_events.extend(scene.events_of("default", "ClusterDlqConnection", &name).await);
        }
        let events = scene.kubectl(&["get", "events.events.k8s.io", "--output=json"]).await;
        let mut events: Value = serde_json::from_str(&events).unwrap();
        let holder = "--output=jsonpath={.items[*].spec.holderIdentity}";
        Self {
            ready: scene.operator.is_ready().await,
            leader: !scene.kubectl(&["get", "leases", holder]).await.is_empty(),
            status: scene.policy("resume").await["status"].take(),
            sharing: [scene.policy(OWN).await["status"].take(), scene.policy(SHARED).await["status"].take()],
            events: events["items"].as_array_mut().map(std::mem::take).unwrap_or_default(),
            cluster_events,
            log: scene.operator.log().replace("\\\"", "\""),
        }
    }

    fn runs(&self) -> i64 {
        self.status["totals"]["runs"].as_i64().unwrap_or(0)
    }

    /// A line of the log with all of these.
    fn said(&self, words: &[&str]) -> bool {
        self.log.lines().any(|line| words.iter().all(|word| line.contains(word)))
    }

    fn has_series(&self) -> bool {
        has_series(&self.events)
    }
}

fn has_series(events: &[Value]) -> bool {
    events.iter().any(|event| event["series"]["count"].as_i64() >= Some(2))
}

/// What goes wrong without a permission. Beside it the log names it, so that an admin knows what to grant.
fn symptom(grant: &str, facts: &Facts) -> Option<bool> {
    let named = |told: &str, verb: &str, resource: &str| {
        facts.said(&[told, &format!("cannot {verb} resource \"{resource}\"")])
    };
    let policies = "dlqpolicies";
    Some(match grant {
        "list dlq-operator.dev/dlqpolicies" => {
            !facts.ready && named("the watch of policies failed", "list", policies)
        }
        "watch dlq-operator.dev/dlqpolicies" => named("the watch of policies failed", "watch", policies),
        "get dlq-operator.dev/dlqpolicies" => facts.runs() == 0 && named("reconcile failed", "get", policies),
        "patch dlq-operator.dev/dlqpolicies/status" => {
            // As the definition has it.
            facts.status["observedGeneration"] == -1
                && named("reconcile failed", "patch", "dlqpolicies/status")
        }
        "get /secrets" => {
            let ready = condition(&facts.status, "Ready");
            let message = ready["message"].as_str().unwrap_or_default();
            ready["reason"] == "SecretNotFound" && message.contains("give its ServiceAccount \"get\"")
        }
        "list /secrets" => named("the watch of Secrets failed", "list", "secrets"),
        "watch /secrets" => named("the watch of Secrets failed", "watch", "secrets"),
        "create events.k8s.io/events" => {
            facts.runs() == 2
                && facts.events.is_empty()
                && named("cannot publish an event", "create", "events")
        }
        "patch events.k8s.io/events" => {
            facts.runs() == 2 && !facts.has_series() && named("cannot publish an event", "patch", "events")
        }
        "create events.k8s.io/events in default" => {
            facts.cluster_events.is_empty()
                && facts.said(&["cannot publish an event", "cannot create resource", "namespace \"default\""])
        }
        "patch events.k8s.io/events in default" => {
            !has_series(&facts.cluster_events)
                && facts.said(&["cannot publish an event", "cannot patch resource", "namespace \"default\""])
        }
        "get coordination.k8s.io/leases dlq-operator" => {
            !facts.leader && facts.runs() == 0 && named("cannot use the lease", "get", "leases")
        }
        "create coordination.k8s.io/leases" => {
            !facts.leader && facts.runs() == 0 && named("cannot use the lease", "create", "leases")
        }
        "update coordination.k8s.io/leases dlq-operator" => {
            facts.said(&["lost the lease"]) && named("cannot use the lease", "update", "leases")
        }
        _ => return of_connections(grant, facts),
    })
}

/// The same of what is for shared connections alone.
fn of_connections(grant: &str, facts: &Facts) -> Option<bool> {
    let (verb, resource) = grant.split_once(' ')?;
    let (kind, resource, status) = match resource {
        "dlq-operator.dev/dlqconnections" | "dlq-operator.dev/dlqconnections/status" => {
            ("DlqConnection", "dlqconnections", &facts.sharing[0])
        }
        "dlq-operator.dev/clusterdlqconnections" | "dlq-operator.dev/clusterdlqconnections/status" => {
            ("ClusterDlqConnection", "clusterdlqconnections", &facts.sharing[1])
        }
        "/namespaces" => ("ClusterDlqConnection", "namespaces", &facts.sharing[1]),
        _ => return None,
    };
    let told = |told: &str| facts.said(&[told, &format!("cannot {verb} resource \"{resource}\"")]);
    let ready = condition(status, "Ready");
    let is_not_found = ready["reason"] == "ConnectionNotFound";
    let says = |words: &str| ready["message"].as_str().is_some_and(|message| message.contains(words));
    Some(match (verb, resource) {
        ("list", "namespaces") => {
            is_not_found
                && says("does not know the labels of namespaces")
                && told("the watch of namespaces failed")
        }
        ("watch", "namespaces") => told("the watch of namespaces failed"),
        ("list", _) => is_not_found && says(&format!("the operator may not list {kind};")),
        ("watch", _) => {
            !is_not_found
                && facts.said(&["shared connections cannot be used", &format!("may not list {kind};")])
        }
        ("get", _) => told("cannot reserve entries in the connection's status"),
        ("patch", _) => {
            let resource = format!("cannot patch resource \"{resource}/status\"");
            status["totals"]["runs"].as_i64().unwrap_or(0) == 0
                && facts.said(&["cannot write the connection's status", &resource])
        }
        _ => return None,
    })
}

/// A rule as one for each resource, so that a verb can be taken from one alone.
fn by_resource(rule: &Value) -> Vec<Value> {
    let of = |resource: &Value| {
        let mut rule = rule.clone();
        rule["resources"] = json!([resource]);
        rule
    };
    rule["resources"].as_array().unwrap().iter().map(of).collect()
}

/// The grants of a rule of a role in a namespace, or in none. Those for events about what is cluster-wide say where.
fn grants_in(namespace: &Value, rule: &Value) -> Vec<String> {
    let place = if namespace == "default" { " in default" } else { "" };
    grants(rule).into_iter().map(|grant| grant + place).collect()
}

/// The objects of a release, in which one verb on one resource is taken out.
fn without(objects: &[Value], grant: &str) -> Vec<Value> {
    let mut objects = objects.to_vec();
    let verb = grant.split(' ').next().unwrap();
    let mut removed = 0;
    let is_role = |object: &&mut Value| ["Role", "ClusterRole"].contains(&object["kind"].as_str().unwrap());
    for object in objects.iter_mut().filter(is_role) {
        let namespace = object["metadata"]["namespace"].clone();
        object["rules"] = object["rules"].as_array().unwrap().iter().flat_map(by_resource).collect();
        for rule in object["rules"].as_array_mut().unwrap() {
            if grants_in(&namespace, rule).iter().any(|granted| granted == grant) {
                removed += 1;
                rule["verbs"].as_array_mut().unwrap().retain(|granted| granted != verb);
            }
        }
        // A rule without verbs is refused.
        object["rules"].as_array_mut().unwrap().retain(|rule| rule["verbs"] != json!([]));
    }
    assert_eq!(removed, 1, "{grant}");
    objects
}

/// Runs an operator without a permission, or with all of them, and asks it for two runs.
async fn started_without(access: &str, grant: Option<&str>) -> (Sharing, Scene) {
    let values = json!({
        "leaderElection": { "leaseDuration": "3s" }, "rbac": { "userRoles": false, "secretAccess": access },
        "clusterConnections": { "enabled": true },
    });
    let mut chart = FromChart::prepare("unprivileged", |_| values).await;
    if let Some(grant) = grant {
        chart.objects = without(&chart.objects, grant);
    }
    chart.simulator.generate(DLQ, 2, &Entry::default()).await.unwrap();
    // There before the operator, which then has to read the policy itself.
    let home = chart.namespace.name();
    let policy = policy(home, "resume", chart.simulator.api_url());
    let mut sharing = Sharing::prepare(control_plane().await, &chart.simulator, (home, home)).await;
    sharing.deletes(&chart.objects);
    chart.objects.extend([secret(home, "upstash"), policy]);
    chart.objects.extend(sharing.objects(chart.simulator.api_url()));
    let scene = chart.start().await;
    sharing.edit(scene.simulator.api_url()).await;
    (sharing, scene)
}

/// Asks for a second run once the first has ended: its events are the same, and are counted as such.
async fn ask_again(scene: &Scene, facts: &Facts) {
    if facts.runs() == 1 && facts.status["currentRun"].is_null() {
        scene.simulator.generate(DLQ, 2, &Entry::default()).await.unwrap();
        scene.annotate("resume", &[("requestedAt", "2")]).await;
    }
}

async fn fails_without((access, grant): (&str, String)) {
    let (_sharing, scene) = started_without(access, Some(&grant)).await;
    eventually(PATIENCE, &format!("it fails without: {grant}"), async || {
        let facts = Facts::of(&scene).await;
        ask_again(&scene, &facts).await;
        let failed = symptom(&grant, &facts).unwrap_or_else(|| panic!("what is this for: {grant}"));
        if failed { Ok(()) } else { Err(format!("{:#} {:#?}", facts.status, facts.events)) }
    })
    .await
    .unwrap_or_else(|error| panic!("{error}\n{}", scene.operator.log()));
}

/// What is granted with this access to Secrets, in the namespaces to watch.
async fn granted(access: &str) -> Vec<String> {
    let everything = json!({ "rbac": { "secretAccess": access }, "clusterConnections": { "enabled": true } });
    granted_with(everything).await
}

/// What the operator is granted with these values, in the whole cluster too.
async fn granted_with(mut values: Value) -> Vec<String> {
    // Those of people are not its own.
    values["rbac"]["userRoles"] = json!(false);
    let objects = from_chart::objects("granted", "http://127.0.0.1:9", &values).await;
    let roles =
        objects.iter().filter(|object| ["Role", "ClusterRole"].contains(&object["kind"].as_str().unwrap()));
    let of = |role: &Value| {
        let place = &role["metadata"]["namespace"];
        role["rules"].as_array().unwrap().iter().flat_map(|rule| grants_in(place, rule)).collect::<Vec<_>>()
    };
    roles.flat_map(of).collect()
}

#[tokio::test]
async fn each_permission_is_needed() {
    let all = granted("get").await;
    let distinct: BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "one is granted twice: {all:?}");
    assert_eq!(all.len(), 22, "{all:?}");
    let more: Vec<_> = granted("watch").await.into_iter().filter(|grant| !all.contains(grant)).collect();
    assert_eq!(more, ["list /secrets", "watch /secrets"]);
    let all = all.into_iter().map(|grant| ("get", grant));
    let all = all.chain(more.into_iter().map(|grant| ("watch", grant)));
    stream::iter(all).map(fails_without).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

/// Without which the test above would prove nothing.
#[tokio::test]
async fn with_all_permissions_nothing_is_wrong() {
    let (_sharing, scene) = started_without("watch", None).await;
    let facts = eventually(
        PATIENCE,
        "two runs have ended, and events of both kinds were counted twice",
        async || {
            let facts = Facts::of(&scene).await;
            ask_again(&scene, &facts).await;
            let has_run = |status: &Value| status["lastRun"]["result"] == "Succeeded";
            let shared = facts.sharing.iter().all(has_run);
            let is_done = facts.runs() == 2 && facts.leader && facts.ready && facts.has_series() && shared;
            let is_done = is_done && has_series(&facts.cluster_events);
            if is_done { Ok(facts) } else { Err(format!("{:#} {:#?}", facts.status, facts.events)) }
        },
    )
    .await
    .unwrap();
    for grant in granted("watch").await {
        assert_eq!(symptom(&grant, &facts), Some(false), "{grant}\n{}", facts.log);
    }
    if let Some(calls) = scene.control_plane.audited(scene.namespace.name(), NAME).unwrap() {
        assert!(calls.iter().all(|call| call.code != 403), "{calls:#?}");
    }
}

#[tokio::test]
async fn the_page_says_what_each_permission_is_for() {
    let page = std::fs::read_to_string(workspace_root().join("docs/security.md")).unwrap();
    let table = page.split("## What the operator may do").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let told: BTreeSet<_> = rows.map(str::to_owned).collect();
    let everything = json!({
        "rbac": { "secretAccess": "watch" },
        "clusterConnections": { "enabled": true, "secretNamespaces": ["platform"] },
    });
    assert_eq!(told, granted_with(everything).await.into_iter().collect());
}
