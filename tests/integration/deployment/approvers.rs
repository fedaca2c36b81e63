//! Who may approve runs: the samples that ask for a permission, and for somebody else than who asked for the run.

use serde_json::{Value, json};
use testbed::{ControlPlane, Kubectl, Namespace, User, eventually, workspace_root};
use tokio::sync::Mutex;

use super::people::{applied, asked, bind, policy};
use crate::cluster::control_plane;
use crate::scene::PATIENCE;

const PERMISSION: &str = "examples/admission/approving-needs-a-permission.yaml";
const SOMEBODY_ELSE: &str = "examples/admission/approving-needs-somebody-else.yaml";
const ID: &str = "5f3c9a1be07d2468";

/// A namespace with a sample of its own, where Alice and Bob write policies, and those of `approvers` may approve runs.
struct Guarded {
    control_plane: &'static ControlPlane,
    namespace: Namespace,
}

impl Guarded {
    async fn by(sample: &str, approvers: &[User]) -> Self {
        // Its policies and roles are of the whole cluster: two tests that create them at once would get in each other's way.
        static APPLYING: Mutex<()> = Mutex::const_new(());
        let control_plane = control_plane().await;
        let namespace = control_plane.namespace("approvers").await.unwrap();
        let applying = APPLYING.lock().await;
        for file in [PERMISSION, sample] {
            let yaml = std::fs::read_to_string(workspace_root().join(file)).unwrap();
            for mut object in serde_saphyr::from_multiple::<Value>(&yaml).unwrap() {
                if object["kind"] == "ValidatingAdmissionPolicyBinding" {
                    if file != sample {
                        continue;
                    }
                    // Other tests' policies are left alone, and so are their bindings.
                    let name =
                        format!("{}-{}", object["metadata"]["name"].as_str().unwrap(), namespace.name());
                    object["metadata"]["name"] = json!(name);
                    let label = json!({ "kubernetes.io/metadata.name": namespace.name() });
                    object["spec"]["matchResources"] =
                        json!({ "namespaceSelector": { "matchLabels": label } });
                }
                control_plane.kubectl_apply(&object.to_string()).await.unwrap().ok().unwrap();
            }
        }
        drop(applying);
        let verbs = ["get", "list", "create", "update", "patch"];
        let writer = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": { "name": format!("writes-{}", namespace.name()) },
            "rules": [{ "apiGroups": ["dlq-operator.dev"], "resources": ["dlqpolicies"], "verbs": verbs }],
        });
        control_plane.kubectl_apply(&writer.to_string()).await.unwrap().ok().unwrap();
        for user in [User::Alice, User::Bob] {
            bind(control_plane, &namespace, writer["metadata"]["name"].as_str().unwrap(), user).await;
        }
        for user in approvers {
            bind(control_plane, &namespace, "dlq-runs-may-be-approved", *user).await;
        }
        Self { control_plane, namespace }
    }

    /// A policy with this run, as an operator would have written it.
    async fn policy_with(&self, name: &str, run: Value) {
        let manifest = policy(&self.namespace, name, json!({}));
        self.control_plane.kubectl_apply(&manifest.to_string()).await.unwrap().ok().unwrap();
        let mut current = json!({
            "id": "1-manual", "trigger": "Manual", "action": "resume", "startTime": "2026-11-20T12:00:00.000Z",
        });
        current.as_object_mut().unwrap().extend(run.as_object().unwrap().clone());
        let patch = json!({ "status": { "currentRun": current } }).to_string();
        let namespace = ["--namespace", self.namespace.name()];
        let args = ["patch", "dlqpolicy", name, "--subresource=status", "--type=merge", "--patch", &patch];
        self.control_plane.kubectl(&[&namespace[..], &args[..]].concat()).await.unwrap().ok().unwrap();
    }

    async fn annotate(&self, who: &Kubectl, name: &str, changes: &[&str]) -> Result<String, String> {
        let changes: Vec<_> = changes.iter().map(|change| format!("dlq-operator.dev/{change}")).collect();
        let mut args = vec!["annotate", "--overwrite", "dlqpolicy", name];
        args.extend(changes.iter().map(String::as_str));
        asked(who, &self.namespace, &args).await
    }

    /// The admission of the API server learns of a sample, and of a binding, a moment later.
    async fn until_refused(&self, who: &Kubectl, name: &str, changes: &[&str], told: &str) {
        eventually(PATIENCE, told, async || match self.annotate(who, name, changes).await {
            Err(refused) if refused.contains(told) => Ok(()),
            answer => Err(format!("{answer:?}")),
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn only_who_may_approve_approves_a_run_and_only_the_one_that_waits() {
    let guarded = Guarded::by(PERMISSION, &[User::Bob]).await;
    let kubectl = |user| guarded.control_plane.kubectl_as(user);
    let (alice, bob) = (kubectl(User::Alice), kubectl(User::Bob));
    let since = "2026-11-20T12:05:00.000Z";
    guarded.policy_with("waits", json!({ "approvalId": ID, "approvalRequestedTime": since })).await;
    guarded.policy_with("counts", json!({})).await;
    let acts = json!({ "approvalId": ID, "approvalRequestedTime": since, "approvedTime": since });
    guarded.policy_with("acts", acts).await;
    let right = format!("approvedRun={ID}");
    let told = "alice may not approve runs: that needs the verb \"approve\" on \"dlqpolicies\" in namespace";
    guarded.until_refused(&alice, "waits", &[&right], told).await;
    let stale = "another run waits; the ID of the one that does is in status.currentRun.approvalId";
    guarded.until_refused(&bob, "waits", &["approvedRun=0123456789abcdef"], stale).await;
    for name in ["counts", "acts"] {
        let refused = guarded.annotate(&bob, name, &[&right]).await.unwrap_err();
        assert!(refused.contains("no run of this policy waits for an approval"), "{name}: {refused}");
    }
    guarded.annotate(&bob, "waits", &[&right]).await.unwrap();

    // Anyone who writes policies may set what approves nothing.
    for harmless in [&["cancelAt=1"][..], &["requestedAt=1"], &["paused=true"], &[&right], &["approvedRun-"]]
    {
        guarded.annotate(&alice, "waits", harmless).await.unwrap();
    }
    let refused = guarded.annotate(&alice, "waits", &[&right]).await.unwrap_err();
    assert!(refused.contains(told), "{refused}");
    let mut restored = policy(&guarded.namespace, "restored", json!({}));
    restored["metadata"]["annotations"] = json!({ "dlq-operator.dev/approvedRun": ID });
    applied(&alice, &restored).await.unwrap();
}

#[tokio::test]
async fn nobody_approves_a_run_that_they_asked_for_and_everybody_asks_in_their_own_name() {
    let guarded = Guarded::by(SOMEBODY_ELSE, &[User::Alice, User::Bob]).await;
    let kubectl = |user| guarded.control_plane.kubectl_as(user);
    let (alice, bob) = (kubectl(User::Alice), kubectl(User::Bob));
    let since = "2026-11-20T12:05:00.000Z";
    let run = |asked: &str| json!({ "approvalId": ID, "approvalRequestedTime": since, "requestedBy": asked });
    guarded.policy_with("of-alice", run("alice")).await;
    guarded.policy_with("of-nobody", json!({ "approvalId": ID, "approvalRequestedTime": since })).await;
    let right = format!("approvedRun={ID}");
    let told = "alice asked for this run: somebody else has to approve it";
    guarded.until_refused(&alice, "of-alice", &[&right], told).await;
    guarded.annotate(&bob, "of-alice", &[&right]).await.unwrap();
    guarded.annotate(&alice, "of-nobody", &[&right]).await.unwrap();

    let name = "to ask for a run, give your own name: set dlq-operator.dev/requestedBy to alice";
    for request in [
        &["requestedAt=1"][..],
        &["requestedAt=1", "requestedBy=bob"],
        &["requestedAt=1", "requestedBy="],
        // A run that Alice asked for may be about to start, as somebody else's.
        &["requestedBy=bob"],
    ] {
        let refused = guarded.annotate(&alice, "of-nobody", request).await.unwrap_err();
        assert!(refused.contains(name), "{request:?}: {refused}");
    }
    guarded.annotate(&bob, "of-nobody", &["requestedAt=1", "requestedBy=bob"]).await.unwrap();
    let refused = guarded.annotate(&alice, "of-nobody", &["requestedAt=2"]).await.unwrap_err();
    assert!(refused.contains(name), "in the name of who asked before: {refused}");
    guarded.annotate(&alice, "of-nobody", &["requestedAt=2", "requestedBy=alice"]).await.unwrap();
    for hidden in ["requestedBy=", "requestedBy-"] {
        let refused = guarded.annotate(&alice, "of-nobody", &[hidden]).await.unwrap_err();
        assert!(refused.contains(name), "a run that is about to start would have no name: {refused}");
    }
    let mut created = policy(&guarded.namespace, "created", json!({}));
    created["metadata"]["annotations"] = json!({ "dlq-operator.dev/requestedAt": "1" });
    let refused = applied(&alice, &created).await.unwrap_err();
    assert!(refused.contains(name), "{refused}");
}
