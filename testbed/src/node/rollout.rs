//! What the controllers of Deployments and `ReplicaSets` do next. Decisions only.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use serde_json::{Value, json};

use super::container::text;
use crate::random_hex;

const HASH_LABEL: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";

/// What there is in a namespace.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) deployments: Vec<Value>,
    pub(super) replica_sets: Vec<Value>,
    pub(super) pods: Vec<Value>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Step {
    CreateReplicaSet(Value),
    CreatePod(Value),
    DeleteReplicaSet(String),
    DeletePod(String),
    /// Of a Deployment.
    Status(String, Value),
    /// Of a `ReplicaSet`.
    ReplicaSetStatus(String, Value),
}

impl Seen {
    pub(super) fn steps(&self, node: &str) -> Vec<Step> {
        let mut steps: Vec<_> =
            self.deployments.iter().flat_map(|deployment| self.steps_of(deployment, node)).collect();
        steps.extend(self.orphans());
        steps
    }

    fn steps_of(&self, deployment: &Value, node: &str) -> Vec<Step> {
        let hash = template_hash(&deployment["spec"]["template"]);
        let owned = owned_by(deployment, &self.replica_sets);
        let Some(current) = owned.iter().find(|set| set["metadata"]["labels"][HASH_LABEL] == hash) else {
            return vec![Step::CreateReplicaSet(replica_set(deployment, &hash, owned.len() + 1))];
        };
        let new = owned_by(current, &self.pods);
        let old: Vec<_> = owned
            .iter()
            .filter(|set| set["metadata"]["uid"] != current["metadata"]["uid"])
            .flat_map(|set| owned_by(set, &self.pods))
            .collect();
        let wanted = usize::try_from(deployment["spec"]["replicas"].as_u64().unwrap_or(1)).unwrap_or(1);
        let mut steps = Vec::new();
        let mut live: Vec<_> = new.iter().copied().filter(|pod| is_live(pod)).collect();
        let recreates = deployment["spec"]["strategy"]["type"] == "Recreate";
        if !recreates || old.is_empty() {
            steps.extend((live.len()..wanted).map(|_| Step::CreatePod(pod(current, node))));
        }
        live.sort_by_key(|pod| !is_ready(pod));
        steps.extend(live.iter().skip(wanted).map(|pod| Step::DeletePod(name(pod))));
        let ready = new.iter().filter(|pod| is_live(pod) && is_ready(pod)).count();
        if recreates || ready >= wanted {
            steps.extend(old.iter().filter(|pod| is_live(pod)).map(|pod| Step::DeletePod(name(pod))));
        }
        let old_live = old.iter().filter(|pod| is_live(pod)).count();
        let old_ready = old.iter().filter(|pod| is_live(pod) && is_ready(pod)).count();
        let live = live.len();
        let set_status = json!({
            "observedGeneration": current["metadata"]["generation"],
            "replicas": live, "fullyLabeledReplicas": live, "readyReplicas": ready, "availableReplicas": ready,
        });
        if differs(current, &set_status) {
            steps.push(Step::ReplicaSetStatus(name(current), set_status));
        }
        let is_done = ready >= wanted && old.is_empty();
        let condition = |kind: &str, is_true: bool, reason: &str| json!({ "type": kind, "status": if is_true { "True" } else { "False" }, "reason": reason });
        let available = ready + old_ready;
        let status = json!({
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": live + old_live,
            "updatedReplicas": live,
            "readyReplicas": available,
            "availableReplicas": available,
            "unavailableReplicas": wanted.saturating_sub(available),
            "conditions": [
                condition("Available", available >= wanted, "MinimumReplicas"),
                condition(
                    "Progressing",
                    true,
                    if is_done { "NewReplicaSetAvailable" } else { "ReplicaSetUpdated" },
                ),
            ],
        });
        if differs(deployment, &status) {
            steps.push(Step::Status(name(deployment), status));
        }
        steps
    }

    /// What the garbage collector would remove.
    fn orphans(&self) -> Vec<Step> {
        let uids = |objects: &[Value]| -> BTreeSet<String> {
            objects.iter().map(|object| text(&object["metadata"]["uid"]).to_owned()).collect()
        };
        let is_orphan = |object: &Value, kind: &str, owners: &BTreeSet<String>| {
            let owner = &object["metadata"]["ownerReferences"][0];
            owner["kind"] == kind && !owners.contains(text(&owner["uid"]))
        };
        let (deployments, sets) = (uids(&self.deployments), uids(&self.replica_sets));
        let gone = self.replica_sets.iter().filter(|set| is_orphan(set, "Deployment", &deployments));
        let mut steps: Vec<_> = gone.map(|set| Step::DeleteReplicaSet(name(set))).collect();
        let gone = self.pods.iter().filter(|pod| is_live(pod) && is_orphan(pod, "ReplicaSet", &sets));
        steps.extend(gone.map(|pod| Step::DeletePod(name(pod))));
        steps
    }
}

fn name(object: &Value) -> String {
    text(&object["metadata"]["name"]).to_owned()
}

fn owned_by<'a>(owner: &Value, objects: &'a [Value]) -> Vec<&'a Value> {
    let uid = &owner["metadata"]["uid"];
    objects.iter().filter(|object| object["metadata"]["ownerReferences"][0]["uid"] == *uid).collect()
}

fn is_live(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_null()
        && !["Succeeded", "Failed"].contains(&text(&pod["status"]["phase"]))
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Whether a status says something else than is to be said. A count of 0 is left out when it is stored.
fn differs(object: &Value, status: &Value) -> bool {
    let stored = &object["status"];
    status.as_object().into_iter().flatten().any(|(key, wished)| match wished.as_u64() {
        Some(wished) => stored[key].as_u64().unwrap_or(0) != wished,
        None => !contains(&stored[key], wished),
    })
}

/// Whether all that `wished` says is there too.
fn contains(stored: &Value, wished: &Value) -> bool {
    match (stored, wished) {
        (Value::Array(stored), Value::Array(wished)) => {
            stored.len() == wished.len()
                && wished.iter().zip(stored).all(|(wished, stored)| contains(stored, wished))
        }
        (Value::Object(stored), Value::Object(wished)) => {
            wished.iter().all(|(key, wished)| contains(&stored[key], wished))
        }
        _ => stored == wished,
    }
}

/// The same for the same template only.
fn template_hash(template: &Value) -> String {
    let mut hasher = DefaultHasher::new();
    template.to_string().hash(&mut hasher);
    format!("{:010x}", hasher.finish() & 0xff_ffff_ffff)
}

fn owner(object: &Value, version: &str, kind: &str) -> Value {
    json!([{
        "apiVersion": version, "kind": kind, "name": object["metadata"]["name"],
        "uid": object["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    }])
}

fn replica_set(deployment: &Value, hash: &str, revision: usize) -> Value {
    let spec = &deployment["spec"];
    let (mut selector, mut template) = (spec["selector"].clone(), spec["template"].clone());
    selector["matchLabels"][HASH_LABEL] = hash.into();
    template["metadata"]["labels"][HASH_LABEL] = hash.into();
    let metadata = json!({
        "name": format!("{}-{hash}", name(deployment)),
        "namespace": deployment["metadata"]["namespace"],
        "labels": template["metadata"]["labels"],
        "annotations": { REVISION: revision.to_string() },
        "ownerReferences": owner(deployment, "apps/v1", "Deployment"),
    });
    let spec = json!({ "replicas": spec["replicas"], "selector": selector, "template": template });
    json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": spec })
}

fn pod(set: &Value, node: &str) -> Value {
    let template = &set["spec"]["template"];
    let mut spec = template["spec"].clone();
    spec["nodeName"] = node.into();
    let metadata = json!({
        "name": format!("{}-{}", name(set), &random_hex()[..5]),
        "namespace": set["metadata"]["namespace"],
        "labels": template["metadata"]["labels"],
        "annotations": template["metadata"]["annotations"],
        "ownerReferences": owner(set, "apps/v1", "ReplicaSet"),
    });
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(image: &str, strategy: &str) -> Value {
        json!({
            "metadata": { "name": "operator", "namespace": "ops", "uid": "d", "generation": 1 },
            "spec": {
                "replicas": 2,
                "strategy": { "type": strategy },
                "selector": { "matchLabels": { "app": "dlq" } },
                "template": { "metadata": { "labels": { "app": "dlq" } }, "spec": { "image": image } },
            },
        })
    }

    /// A world in which a Deployment's `ReplicaSet` has so many pods, each ready or not.
    fn world(strategy: &str, old: &[bool], new: &[bool]) -> Seen {
        let mut seen = Seen { deployments: vec![deployment("new", strategy)], ..Seen::default() };
        for (image, pods) in [("old", old), ("new", new)] {
            let deployment = deployment(image, strategy);
            let mut set = replica_set(&deployment, &template_hash(&deployment["spec"]["template"]), 1);
            set["metadata"]["uid"] = image.into();
            for (number, ready) in pods.iter().enumerate() {
                let mut pod = pod(&set, "node");
                pod["metadata"]["name"] = format!("{image}-{number}").into();
                let truth = if *ready { "True" } else { "False" };
                pod["status"] = json!({ "conditions": [{ "type": "Ready", "status": truth }] });
                seen.pods.push(pod);
            }
            if image == "new" || !pods.is_empty() {
                seen.replica_sets.push(set);
            }
        }
        seen
    }

    /// What is done to pods.
    fn moves(seen: &Seen) -> Vec<String> {
        let of = |step: Step| match step {
            Step::CreatePod(_) => Some("create".to_owned()),
            Step::DeletePod(name) => Some(format!("delete {name}")),
            _ => None,
        };
        seen.steps("node").into_iter().filter_map(of).collect()
    }

    #[test]
    fn a_new_template_gets_a_replica_set_first() {
        let seen = Seen { deployments: vec![deployment("new", "RollingUpdate")], ..Seen::default() };
        assert!(matches!(seen.steps("node")[..], [Step::CreateReplicaSet(_)]));
    }

    #[test]
    fn as_many_pods_are_started_as_are_asked_for_and_no_more() {
        assert_eq!(moves(&world("RollingUpdate", &[], &[])), ["create", "create"]);
        assert_eq!(moves(&world("RollingUpdate", &[], &[false])), ["create"]);
        assert_eq!(moves(&world("RollingUpdate", &[], &[false, true, true])), ["delete new-0"]);
    }

    #[test]
    fn old_pods_stay_until_all_new_ones_are_ready() {
        assert_eq!(moves(&world("RollingUpdate", &[true, true], &[])), ["create", "create"]);
        assert_eq!(moves(&world("RollingUpdate", &[true, true], &[true, false])), Vec::<String>::new());
        assert_eq!(
            moves(&world("RollingUpdate", &[true, true], &[true, true])),
            ["delete old-0", "delete old-1"]
        );
    }

    #[test]
    fn where_pods_are_recreated_the_old_ones_go_first() {
        assert_eq!(moves(&world("Recreate", &[true], &[])), ["delete old-0"]);
        assert_eq!(moves(&world("Recreate", &[], &[])), ["create", "create"]);
    }

    #[test]
    fn what_belongs_to_nothing_any_more_is_removed() {
        let mut seen = world("RollingUpdate", &[], &[true]);
        seen.deployments.clear();
        assert!(matches!(&seen.steps("node")[..], [Step::DeleteReplicaSet(_)]));
        seen.replica_sets.clear();
        assert_eq!(moves(&seen), ["delete new-0"]);
    }

    #[test]
    fn a_status_that_is_as_it_should_be_is_not_written_again() {
        let mut seen = world("RollingUpdate", &[], &[true, true]);
        for step in seen.steps("node") {
            match step {
                Step::Status(_, status) => seen.deployments[0]["status"] = status,
                Step::ReplicaSetStatus(_, status) => seen.replica_sets[0]["status"] = status,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(seen.steps("node"), []);
    }
}
