//! What people may do with policies: the chart's roles, and the sample that keeps `delete` to those who may.

use serde_json::{Value, json};
use testbed::{ControlPlane, Kubectl, Namespace, User, eventually, workspace_root};
use tokio::sync::Mutex;

use super::release::Release;
use crate::cluster::control_plane;
use crate::scene::PATIENCE;

const SAMPLE: &str = "examples/admission/deleting-needs-a-permission.yaml";

pub(super) async fn bind(control_plane: &ControlPlane, namespace: &Namespace, role: &str, user: User) {
    let group = "rbac.authorization.k8s.io";
    let binding = json!({
        "apiVersion": format!("{group}/v1"),
        "kind": "RoleBinding",
        "metadata": { "generateName": "people-", "namespace": namespace.name() },
        "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": role },
        "subjects": [{ "apiGroup": group, "kind": "User", "name": user.name() }],
    });
    let dir = testbed::ScratchDir::create("binding").unwrap();
    let file = dir.path().join("binding.json");
    std::fs::write(&file, binding.to_string()).unwrap();
    control_plane.kubectl(&["create", "--filename", file.to_str().unwrap()]).await.unwrap().ok().unwrap();
}

pub(super) fn policy(namespace: &Namespace, name: &str, spec: Value) -> Value {
    let mut policy = json!({
        "apiVersion": "dlq-operator.dev/v1alpha1",
        "kind": "DlqPolicy",
        "metadata": { "name": name, "namespace": namespace.name() },
        "spec": { "action": "resume", "filters": { "all": true }, "suspend": true },
    });
    policy["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    policy
}

/// What kubectl says to somebody, in a namespace; `Err` where it is refused.
pub(super) async fn asked(kubectl: &Kubectl, namespace: &Namespace, args: &[&str]) -> Result<String, String> {
    let args: Vec<_> = ["--namespace", namespace.name()].into_iter().chain(args.iter().copied()).collect();
    kubectl.run(&args).await.unwrap().ok().map_err(|error| error.to_string())
}

pub(super) async fn applied(kubectl: &Kubectl, policy: &Value) -> Result<String, String> {
    kubectl.apply(&policy.to_string()).await.unwrap().ok().map_err(|error| error.to_string())
}

#[tokio::test]
async fn the_roles_that_people_have_let_them_read_policies_and_write_them() {
    let Some(release) = Release::beside_others("people").await else { return };
    let (control_plane, namespace) = (release.control_plane, &release.namespace);
    let objects = release.rendered(json!({})).await;
    for role in objects.iter().filter(|object| object["kind"] == "ClusterRole") {
        release.apply(role).await;
    }
    bind(control_plane, namespace, "view", User::Alice).await;
    bind(control_plane, namespace, "edit", User::Bob).await;
    let (alice, bob) = (control_plane.kubectl_as(User::Alice), control_plane.kubectl_as(User::Bob));
    // A controller of Kubernetes adds the rules of the chart's roles to those of its own.
    let written = policy(namespace, "written", json!({}));
    eventually(PATIENCE, "bob writes one", async || applied(&bob, &written).await).await.unwrap();
    asked(&bob, namespace, &["annotate", "dlqpolicy", "written", "dlq-operator.dev/requestedAt=1"])
        .await
        .unwrap();
    eventually(PATIENCE, "alice reads it", async || asked(&alice, namespace, &["get", "dlqpolicies"]).await)
        .await
        .unwrap();
    asked(&alice, namespace, &["get", "dlqpolicy", "written", "--output=yaml"]).await.unwrap();
    asked(&alice, namespace, &["get", "dlqpolicies", "--watch", "--request-timeout=1s"]).await.unwrap();
    // Nobody can keep from admins what editors may do, which is why the chart refuses to pretend it.
    let admin = control_plane.kubectl(&["get", "clusterrole", "admin", "--output=json"]).await.unwrap();
    let admin: Value = serde_json::from_str(&admin.ok().unwrap()).unwrap();
    let is_ours = |rule: &&Value| rule["resources"].as_array().unwrap().contains(&json!("dlqpolicies"));
    let verbs = admin["rules"]
        .as_array()
        .unwrap()
        .iter()
        .filter(is_ours)
        .flat_map(|rule| rule["verbs"].as_array().unwrap());
    let verbs: Vec<_> = verbs.collect();
    assert!(["delete", "approve"].iter().all(|verb| verbs.contains(&&json!(verb))), "{admin:#}");
    let approve = asked(&bob, namespace, &["auth", "can-i", "approve", "dlqpolicies"]).await.unwrap_err();
    assert!(approve.ends_with("no\n"), "an editor may not approve: {approve:?}");

    let refused = applied(&alice, &policy(namespace, "another", json!({}))).await.unwrap_err();
    assert!(refused.contains("cannot create resource \"dlqpolicies\""), "{refused}");
    let status = ["auth", "can-i", "patch", "dlqpolicies", "--subresource=status"];
    for (who, kubectl) in [("alice", &alice), ("bob", &bob)] {
        let refused = asked(kubectl, namespace, &status).await.unwrap_err();
        assert!(refused.ends_with("no\n"), "the status is the operator's, and not {who}'s: {refused:?}");
    }
    let refused = asked(&alice, namespace, &["get", "secrets"]).await.unwrap_err();
    assert!(refused.contains("cannot list resource \"secrets\""), "{refused}");
    for change in [&["delete", "dlqpolicy", "written"][..], &["annotate", "dlqpolicy", "written", "a=b"]] {
        asked(&alice, namespace, change).await.unwrap_err();
    }
    asked(&bob, namespace, &["delete", "dlqpolicy", "written"]).await.unwrap();
    connections_are_written_by_bob_and_the_clusters_are_not(&release, &alice, &bob).await;
}

/// Alice has `view` in the namespace, and Bob `edit`.
async fn connections_are_written_by_bob_and_the_clusters_are_not(
    release: &Release,
    alice: &Kubectl,
    bob: &Kubectl,
) {
    let namespace = &release.namespace;
    let connection = json!({
        "apiVersion": "dlq-operator.dev/v1alpha1",
        "kind": "DlqConnection",
        "metadata": { "name": "production", "namespace": namespace.name() },
        "spec": { "tokenSecretRef": { "name": "upstash" } },
    });
    let refused = applied(alice, &connection).await.unwrap_err();
    assert!(refused.contains("cannot create resource \"dlqconnections\""), "{refused}");
    applied(bob, &connection).await.unwrap();
    asked(alice, namespace, &["get", "dlqconnection", "production"]).await.unwrap();
    asked(bob, namespace, &["delete", "dlqconnection", "production"]).await.unwrap();

    let mut shared = connection;
    shared["kind"] = json!("ClusterDlqConnection");
    shared["metadata"] = json!({ "name": format!("production-{}", namespace.name()) });
    shared["spec"]["tokenSecretRef"]["namespace"] = json!("platform");
    let refused = applied(bob, &shared).await.unwrap_err();
    assert!(refused.contains("clusterdlqconnections"), "{refused}");
}

/// The sample in a namespace of its own, where Alice and Bob write policies, and Bob may let them delete.
async fn guarded() -> (&'static ControlPlane, Namespace) {
    // Its policies and roles are of the whole cluster: two tests that create them at once would get in each other's way.
    static APPLYING: Mutex<()> = Mutex::const_new(());
    let control_plane = control_plane().await;
    let namespace = control_plane.namespace("guarded").await.unwrap();
    let yaml = std::fs::read_to_string(workspace_root().join(SAMPLE)).unwrap();
    let applying = APPLYING.lock().await;
    for mut object in serde_saphyr::from_multiple::<Value>(&yaml).unwrap() {
        if object["kind"] == "ValidatingAdmissionPolicyBinding" {
            // Other tests' policies are left alone, and so are their bindings.
            object["metadata"]["name"] = json!(format!("dlq-policies-that-delete-{}", namespace.name()));
            let name = json!({ "kubernetes.io/metadata.name": namespace.name() });
            object["spec"]["matchResources"] = json!({ "namespaceSelector": { "matchLabels": name } });
        }
        control_plane.kubectl_apply(&object.to_string()).await.unwrap().ok().unwrap();
    }
    drop(applying);
    let writer = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": format!("writes-{}", namespace.name()) },
        "rules": [{ "apiGroups": ["dlq-operator.dev"], "resources": ["dlqpolicies"], "verbs": ["*"] }],
    });
    control_plane.kubectl_apply(&writer.to_string()).await.unwrap().ok().unwrap();
    for user in [User::Alice, User::Bob] {
        bind(control_plane, &namespace, writer["metadata"]["name"].as_str().unwrap(), user).await;
    }
    bind(control_plane, &namespace, "dlq-policies-may-delete", User::Bob).await;
    (control_plane, namespace)
}

#[tokio::test]
async fn only_who_may_delete_lets_a_policy_delete() {
    let (control_plane, namespace) = guarded().await;
    let (alice, bob) = (control_plane.kubectl_as(User::Alice), control_plane.kubectl_as(User::Bob));
    let told = "may not let a policy delete: that needs the verb \"delete\" on \"dlqpolicies/action\"";
    let deleting = |name: &str| policy(&namespace, name, json!({ "action": "delete" }));
    // The admission of the API server learns of it a moment later.
    eventually(PATIENCE, "alice is refused, and told why", async || {
        let _ = asked(&alice, &namespace, &["delete", "dlqpolicy", "purge"]).await;
        match applied(&alice, &deleting("purge")).await {
            Err(refused) if refused.contains(&format!("alice {told}")) => Ok(()),
            answer => Err(format!("{answer:?}")),
        }
    })
    .await
    .unwrap();
    let manifest = deleting("purge").to_string();
    let dry = alice.run_with_input(&["create", "--dry-run=server", "--filename", "-"], &manifest).await;
    let refused = dry.unwrap().ok().unwrap_err().to_string();
    assert!(refused.contains(told), "{refused}");
    applied(&alice, &policy(&namespace, "resume", json!({}))).await.unwrap();
    let turned = applied(&alice, &deleting("resume")).await.unwrap_err();
    assert!(turned.contains(told), "{turned}");

    // To count first needs no permission; to go on from there does.
    applied(&alice, &policy(&namespace, "count", json!({ "action": "delete", "dryRun": true })))
        .await
        .unwrap();
    let patch = ["patch", "dlqpolicy", "count", "--type=merge", "--patch", r#"{"spec":{"dryRun":false}}"#];
    assert!(asked(&alice, &namespace, &patch).await.unwrap_err().contains(told));
    asked(&bob, &namespace, &patch).await.unwrap();

    eventually(PATIENCE, "bob may", async || applied(&bob, &deleting("purge")).await).await.unwrap();
    let annotate = |change: &'static str| ["annotate", "--overwrite", "dlqpolicy", "purge", change];
    let run = asked(&alice, &namespace, &annotate("dlq-operator.dev/requestedAt=1")).await.unwrap_err();
    assert!(run.contains(told), "{run}");
    let wider = ["patch", "dlqpolicy", "purge", "--type=merge", "--patch", r#"{"spec":{"suspend":false}}"#];
    assert!(asked(&alice, &namespace, &wider).await.unwrap_err().contains(told));
    for harmless in ["dlq-operator.dev/cancelAt=1", "dlq-operator.dev/paused=true"] {
        asked(&alice, &namespace, &annotate(harmless)).await.unwrap();
    }
    for goes_on in ["dlq-operator.dev/paused=false", "dlq-operator.dev/paused=", "dlq-operator.dev/paused-"] {
        let refused = asked(&alice, &namespace, &annotate(goes_on)).await.unwrap_err();
        assert!(refused.contains(told), "{goes_on}: {refused}");
    }
    asked(&bob, &namespace, &annotate("dlq-operator.dev/requestedAt=1")).await.unwrap();
    asked(&alice, &namespace, &["delete", "dlqpolicy", "purge"]).await.unwrap();
}

#[tokio::test]
async fn only_who_may_delete_changes_the_labels_by_which_an_operator_selects_a_policy_that_deletes() {
    let (control_plane, namespace) = guarded().await;
    let (alice, bob) = (control_plane.kubectl_as(User::Alice), control_plane.kubectl_as(User::Bob));
    let told = "may not let a policy delete";
    let labelled = |name: &str, spec: Value| {
        let mut policy = policy(&namespace, name, spec);
        policy["metadata"]["labels"] = json!({ "team": "nobody", "hold": "true" });
        policy
    };
    let purge = labelled("purge", json!({ "action": "delete" }));
    eventually(PATIENCE, "bob may", async || applied(&bob, &purge).await).await.unwrap();
    let label =
        |name: &'static str, change: &'static str| ["label", "--overwrite", "dlqpolicy", name, change];
    eventually(PATIENCE, "the sample is in force", async || {
        // Before, she succeeds, and could not do the same again.
        asked(&bob, &namespace, &label("purge", "team=nobody")).await?;
        match asked(&alice, &namespace, &label("purge", "team=payments")).await {
            Err(refused) if refused.contains(told) => Ok(()),
            answer => Err(format!("{answer:?}")),
        }
    })
    .await
    .unwrap();
    // What `--selector` may ask for: that a label is there, that it has a value, and, with `!hold`, that it is gone.
    for change in ["stage=live", "team=payments", "hold-"] {
        let refused = asked(&alice, &namespace, &label("purge", change)).await.unwrap_err();
        assert!(refused.contains(told), "{change}: {refused}");
    }
    let mut bare = purge.clone();
    bare["metadata"].as_object_mut().unwrap().remove("labels");
    let refused = applied(&alice, &bare).await.unwrap_err();
    assert!(refused.contains(told), "{refused}");
    // To apply the same again changes nothing, and a policy that deletes nothing may be labelled by anybody who writes it.
    asked(&alice, &namespace, &label("purge", "team=nobody")).await.unwrap();
    for (name, spec) in [("resume", json!({})), ("count", json!({ "action": "delete", "dryRun": true }))] {
        applied(&alice, &labelled(name, spec)).await.unwrap();
        for change in ["stage=live", "team=payments", "hold-"] {
            asked(&alice, &namespace, &label(name, change)).await.unwrap();
        }
    }
    for change in ["stage=live", "team=payments", "hold-"] {
        asked(&bob, &namespace, &label("purge", change)).await.unwrap();
    }
}
