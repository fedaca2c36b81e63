//! Every permission that the chart grants is needed: without it something fails that people see.

use std::collections::BTreeSet;

use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use testbed::{Entry, eventually, workspace_root};

use super::from_chart::{self, FromChart};
use super::manifests::{policy, secret};
use super::release::NAME;
use super::rights::grants;
use crate::scene::{DLQ, PATIENCE, Scene, condition};

/// How many releases run at once.
const AT_ONCE: usize = 2;

/// What can be seen of a release that was asked for two runs.
struct Facts {
    ready: bool,
    leader: bool,
    status: Value,
    events: Vec<Value>,
    log: String,
}

impl Facts {
    async fn of(scene: &Scene) -> Self {
        let events = scene.kubectl(&["get", "events.events.k8s.io", "--output=json"]).await;
        let mut events: Value = serde_json::from_str(&events).unwrap();
        let holder = "--output=jsonpath={.items[*].spec.holderIdentity}";
        Self {
            ready: scene.operator.is_ready().await,
            leader: !scene.kubectl(&["get", "leases", holder]).await.is_empty(),
            status: scene.policy("resume").await["status"].take(),
            events: events["items"].as_array_mut().map(std::mem::take).unwrap_or_default(),
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
        self.events.iter().any(|event| event["series"]["count"].as_i64() >= Some(2))
    }
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
        "get coordination.k8s.io/leases dlq-operator" => {
            !facts.leader && facts.runs() == 0 && named("cannot use the lease", "get", "leases")
        }
        "create coordination.k8s.io/leases" => {
            !facts.leader && facts.runs() == 0 && named("cannot use the lease", "create", "leases")
        }
        "update coordination.k8s.io/leases dlq-operator" => {
            facts.said(&["lost the lease"]) && named("cannot use the lease", "update", "leases")
        }
        _ => return None,
    })
}

/// The objects of a release, in which one verb is taken out of one rule.
fn without(objects: &[Value], grant: &str) -> Vec<Value> {
    let mut objects = objects.to_vec();
    let verb = grant.split(' ').next().unwrap();
    let mut removed = 0;
    for object in objects.iter_mut().filter(|object| object["kind"] == "Role") {
        for rule in object["rules"].as_array_mut().unwrap() {
            if grants(rule).iter().any(|granted| granted == grant) {
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
async fn started_without(access: &str, grant: Option<&str>) -> Scene {
    let values = json!({
        "leaderElection": { "leaseDuration": "3s" }, "rbac": { "userRoles": false, "secretAccess": access },
    });
    let mut chart = FromChart::prepare("unprivileged", |_| values).await;
    if let Some(grant) = grant {
        chart.objects = without(&chart.objects, grant);
    }
    chart.simulator.generate(DLQ, 2, &Entry::default()).await.unwrap();
    // There before the operator, which then has to read the policy itself.
    let home = chart.namespace.name();
    let policy = policy(home, "resume", chart.simulator.api_url());
    chart.objects.extend([secret(home, "upstash"), policy]);
    chart.start().await
}

/// Asks for a second run once the first has ended: its events are the same, and are counted as such.
async fn ask_again(scene: &Scene, facts: &Facts) {
    if facts.runs() == 1 && facts.status["currentRun"].is_null() {
        scene.simulator.generate(DLQ, 2, &Entry::default()).await.unwrap();
        scene.annotate("resume", &[("requestedAt", "2")]).await;
    }
}

async fn fails_without((access, grant): (&str, String)) {
    let scene = started_without(access, Some(&grant)).await;
    eventually(PATIENCE, &format!("it fails without: {grant}"), async || {
        let facts = Facts::of(&scene).await;
        ask_again(&scene, &facts).await;
        let failed = symptom(&grant, &facts).unwrap_or_else(|| panic!("what is this for: {grant}"));
        if failed { Ok(()) } else { Err(format!("{:#} {:#?}", facts.status, facts.events)) }
    })
    .await
    .unwrap_or_else(|error| panic!("{error}\n{}", scene.operator.log()));
}

/// What is granted with this access to Secrets.
async fn granted(access: &str) -> Vec<String> {
    let values = json!({ "rbac": { "secretAccess": access } });
    let objects = from_chart::objects("granted", "http://127.0.0.1:9", &values).await;
    let roles = objects.iter().filter(|object| object["kind"] == "Role");
    let granted = roles.flat_map(|role| role["rules"].as_array().unwrap());
    granted.flat_map(grants).collect()
}

#[tokio::test]
async fn each_permission_is_needed() {
    let all = granted("get").await;
    let distinct: BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "one is granted twice: {all:?}");
    assert_eq!(all.len(), 10, "{all:?}");
    let more: Vec<_> = granted("watch").await.into_iter().filter(|grant| !all.contains(grant)).collect();
    assert_eq!(more, ["list /secrets", "watch /secrets"]);
    let all =
        all.into_iter().map(|grant| ("get", grant)).chain(more.into_iter().map(|grant| ("watch", grant)));
    stream::iter(all).map(fails_without).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

/// Without which the test above would prove nothing.
#[tokio::test]
async fn with_all_permissions_nothing_is_wrong() {
    let scene = started_without("watch", None).await;
    let facts = eventually(PATIENCE, "two runs have ended, and an event was counted twice", async || {
        let facts = Facts::of(&scene).await;
        ask_again(&scene, &facts).await;
        let is_done = facts.runs() == 2 && facts.leader && facts.ready && facts.has_series();
        if is_done { Ok(facts) } else { Err(format!("{:#} {:#?}", facts.status, facts.events)) }
    })
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
    assert_eq!(told, granted("watch").await.into_iter().collect());
}
