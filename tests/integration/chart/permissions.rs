//! The Roles: nothing but what the operator does. That each permission is needed is shown where it runs.

use serde_json::{Value, json};

use super::{NAMESPACE, args, of_kind, rendered, the};

/// What the operator does with policies and connections of the namespaces that it manages.
fn rules(secrets: Value) -> Value {
    let statuses = ["dlqpolicies/status", "dlqconnections/status"];
    json!([
        {
            "apiGroups": ["dlq-operator.dev"],
            "resources": ["dlqpolicies", "dlqconnections"],
            "verbs": ["get", "list", "watch"],
        },
        { "apiGroups": ["dlq-operator.dev"], "resources": statuses, "verbs": ["patch"] },
        { "apiGroups": [""], "resources": ["secrets"], "verbs": secrets },
        { "apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"] },
    ])
}

/// What it does in the whole cluster, where a connection may serve several namespaces.
fn cluster_rules() -> Value {
    json!([
        {
            "apiGroups": ["dlq-operator.dev"],
            "resources": ["clusterdlqconnections"],
            "verbs": ["get", "list", "watch"],
        },
        { "apiGroups": ["dlq-operator.dev"], "resources": ["clusterdlqconnections/status"], "verbs": ["patch"] },
        { "apiGroups": [""], "resources": ["namespaces"], "verbs": ["list", "watch"] },
    ])
}

/// One list of rules after the other.
fn both(first: Value, second: Value) -> Value {
    Value::from([first.as_array().unwrap().as_slice(), second.as_array().unwrap()].concat())
}

fn subjects() -> Value {
    json!([{ "kind": "ServiceAccount", "name": "dlq-operator", "namespace": NAMESPACE }])
}

fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let mut of_kind = of_kind(objects, kind).into_iter();
    of_kind.find(|object| object["metadata"]["name"] == name).unwrap_or_else(|| panic!("no {kind} {name}"))
}

#[tokio::test]
async fn the_operator_reads_policies_connections_and_single_secrets_and_writes_statuses_and_events() {
    let objects = rendered(&json!({})).await.unwrap();
    let role = named(&objects, "ClusterRole", "dlq-system:dlq-operator");
    assert_eq!(role["rules"], both(rules(json!(["get"])), cluster_rules()));
    let binding = the(&objects, "ClusterRoleBinding");
    assert_eq!(binding["subjects"], subjects());
    assert_eq!(binding["roleRef"]["name"], "dlq-system:dlq-operator");
}

#[tokio::test]
async fn secrets_are_watched_only_when_that_is_asked_for() {
    let objects = rendered(&json!({ "rbac": { "secretAccess": "watch" } })).await.unwrap();
    let role = named(&objects, "ClusterRole", "dlq-system:dlq-operator");
    assert_eq!(role["rules"], both(rules(json!(["get", "list", "watch"])), cluster_rules()));
    assert!(args(&objects).contains(&"--secret-access=watch"));
    let objects = rendered(&json!({})).await.unwrap();
    assert!(!args(&objects).iter().any(|arg| arg.contains("secret")));
}

#[tokio::test]
async fn one_lease_is_written_the_one_that_the_operator_is_told_of() {
    for (values, namespace, lease) in [
        (json!({}), NAMESPACE, "dlq-operator"),
        (json!({ "leaseName": "shared", "leaseNamespace": "leases" }), "leases", "shared"),
    ] {
        let objects = rendered(&json!({ "leaderElection": values })).await.unwrap();
        let role = the(&objects, "Role");
        assert_eq!(role["metadata"]["namespace"], namespace);
        let rules = json!([
            {
                "apiGroups": ["coordination.k8s.io"],
                "resources": ["leases"],
                "resourceNames": [lease],
                "verbs": ["get", "update"],
            },
            { "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"] },
        ]);
        assert_eq!(role["rules"], rules);
        assert_eq!(the(&objects, "RoleBinding")["subjects"], subjects());
        let args = args(&objects);
        assert!(args.contains(&format!("--lease-name={lease}").as_str()), "{args:?}");
        let elsewhere = args.contains(&format!("--lease-namespace={namespace}").as_str());
        assert_eq!(elsewhere, namespace != NAMESPACE, "{args:?}");
    }
}

#[tokio::test]
async fn with_namespaces_to_watch_each_has_a_role_and_the_cluster_has_none() {
    let values = json!({ "watchNamespaces": ["payments", "orders"] });
    let objects = rendered(&values).await.unwrap();
    assert!(of_kind(&objects, "ClusterRoleBinding").is_empty());
    let bindings = of_kind(&objects, "RoleBinding");
    for namespace in ["payments", "orders"] {
        let found = of_kind(&objects, "Role");
        let role = found.iter().find(|role| role["metadata"]["namespace"] == namespace).unwrap();
        assert_eq!(role["rules"], rules(json!(["get"])));
        let binding = bindings.iter().find(|binding| binding["metadata"]["namespace"] == namespace).unwrap();
        assert_eq!(binding["subjects"], subjects());
        assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
    }
    assert!(args(&objects).contains(&"--namespaces=payments,orders"));
}

#[tokio::test]
async fn an_operator_of_all_namespaces_can_be_kept_from_the_clusters_connections() {
    let objects = rendered(&json!({ "clusterConnections": { "enabled": false } })).await.unwrap();
    assert_eq!(named(&objects, "ClusterRole", "dlq-system:dlq-operator")["rules"], rules(json!(["get"])));
}

#[tokio::test]
async fn with_namespaces_to_watch_the_clusters_connections_take_a_small_role_that_is_asked_for() {
    let name = "dlq-system:dlq-operator:cluster-connections";
    let values = json!({
        "watchNamespaces": ["payments", "orders"],
        "clusterConnections": { "enabled": true, "secretNamespaces": ["platform", "payments"] },
        // Where Secrets are watched, too: nothing tells the operator of namespaces that it does not manage.
        "rbac": { "secretAccess": "watch", "userRoles": false },
    });
    let objects = rendered(&values).await.unwrap();
    assert_eq!(the(&objects, "ClusterRole")["rules"], cluster_rules());
    let binding = the(&objects, "ClusterRoleBinding");
    assert_eq!(binding["roleRef"]["name"], name);
    assert_eq!(binding["subjects"], subjects());

    // payments has a Role that reads Secrets; events about what is cluster-wide are in default.
    let of_secrets = json!({ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] });
    let of_events =
        json!({ "apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"] });
    let expected = json!([["platform", [of_secrets]], ["default", [of_events]]]);
    assert_eq!(small_roles(&objects, name), expected);
    let in_default = json!({
        "watchNamespaces": ["payments"],
        "clusterConnections": { "enabled": true, "secretNamespaces": ["default"] },
    });
    let expected = json!([["default", [of_secrets, of_events]]]);
    assert_eq!(small_roles(&rendered(&in_default).await.unwrap(), name), expected);
    let watched = json!({ "watchNamespaces": ["default"], "clusterConnections": { "enabled": true } });
    assert_eq!(small_roles(&rendered(&watched).await.unwrap(), name), json!([]));
}

/// The namespace and the rules of each Role of this name, which is bound to the operator alone.
fn small_roles(objects: &[Value], name: &str) -> Value {
    let of = |kind: &str| -> Vec<Value> {
        let found = of_kind(objects, kind).into_iter().filter(|object| object["metadata"]["name"] == name);
        found.cloned().collect()
    };
    let (roles, bindings) = (of("Role"), of("RoleBinding"));
    let place = |object: &Value| object["metadata"]["namespace"].clone();
    assert_eq!(roles.iter().map(place).collect::<Vec<_>>(), bindings.iter().map(place).collect::<Vec<_>>());
    for binding in &bindings {
        assert_eq!((&binding["roleRef"]["name"], &binding["subjects"]), (&json!(name), &subjects()));
    }
    roles.iter().map(|role| json!([place(role), role["rules"]])).collect()
}

#[tokio::test]
async fn secrets_are_not_to_be_read_for_connections_that_nobody_can_use() {
    for (values, is_taken) in [
        (json!({ "watchNamespaces": ["payments"] }), false),
        (json!({ "clusterConnections": { "enabled": false } }), false),
        (json!({}), true),
    ] {
        let mut values = values;
        values["clusterConnections"]["secretNamespaces"] = json!(["platform"]);
        match rendered(&values).await {
            // It reads the Secrets of all namespaces.
            Ok(objects) => assert!(is_taken && of_kind(&objects, "Role").len() == 1, "{values}"),
            Err(refusal) => {
                let told = "clusterConnections.secretNamespaces needs clusterConnections.enabled: true";
                assert!(!is_taken && refusal.contains(told), "{refusal}");
            }
        }
    }
}

#[tokio::test]
async fn who_may_not_write_cluster_wide_objects_can_install_it() {
    let values = json!({
        "watchNamespaces": ["payments"],
        "crds": { "enabled": false },
        "rbac": { "userRoles": false },
    });
    for object in rendered(&values).await.unwrap() {
        assert!(object["metadata"]["namespace"].is_string(), "{} is cluster-wide", object["kind"]);
    }
}

#[tokio::test]
async fn people_get_roles_that_join_those_of_kubernetes() {
    const LABEL: &str = "rbac.authorization.k8s.io/aggregate-to";
    let objects = rendered(&json!({})).await.unwrap();
    let view = named(&objects, "ClusterRole", "dlq-system:dlq-operator:view");
    let edit = named(&objects, "ClusterRole", "dlq-system:dlq-operator:edit");
    let reads = json!(["get", "list", "watch"]);
    let writes = json!(["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"]);
    let rule = |resources: &[&str], verbs: &Value| {
        let group = "dlq-operator.dev";
        json!({ "apiGroups": [group], "resources": resources, "verbs": verbs })
    };
    // No status, which is the operator's, and of the cluster's connections nothing that loosens their rules.
    let all = ["dlqpolicies", "dlqconnections", "clusterdlqconnections"];
    assert_eq!(view["rules"], json!([rule(&all, &reads)]));
    assert_eq!(edit["rules"], json!([rule(&all[..2], &writes), rule(&all[2..], &reads)]));
    let approve = named(&objects, "ClusterRole", "dlq-system:dlq-operator:approve");
    assert_eq!(approve["rules"], json!([rule(&["dlqpolicies"], &json!(["approve"]))]));
    assert_eq!(view["metadata"]["labels"][format!("{LABEL}-view")], "true");
    for to in ["edit", "admin"] {
        assert_eq!(edit["metadata"]["labels"][format!("{LABEL}-{to}")], "true");
    }
    assert_eq!(approve["metadata"]["labels"][format!("{LABEL}-admin")], "true");
    assert_eq!(
        approve["metadata"]["labels"][format!("{LABEL}-edit")],
        Value::Null,
        "a person may not approve a run that they asked for"
    );
    let alone = json!({ "aggregateToView": false, "aggregateToEdit": false, "aggregateToAdmin": false });
    let objects = rendered(&json!({ "rbac": alone })).await.unwrap();
    assert_eq!(of_kind(&objects, "ClusterRole").len(), 4);
    for role in of_kind(&objects, "ClusterRole") {
        assert!(!role["metadata"]["labels"].to_string().contains(LABEL));
    }
}

#[tokio::test]
async fn editors_can_write_only_where_admins_can() {
    let aggregates = async |edit: bool, admin: bool| {
        let values = json!({ "rbac": { "aggregateToEdit": edit, "aggregateToAdmin": admin } });
        let objects = rendered(&values).await?;
        let role = named(&objects, "ClusterRole", "dlq-system:dlq-operator:edit");
        let labels = role["metadata"]["labels"].as_object().unwrap();
        let has = |to: &str| labels.contains_key(&format!("rbac.authorization.k8s.io/aggregate-to-{to}"));
        Ok::<_, String>((has("edit"), has("admin")))
    };
    for (edit, admin) in [(true, true), (false, true), (false, false)] {
        assert_eq!(aggregates(edit, admin).await, Ok((edit, admin)));
    }
    // Kubernetes makes `edit` a part of `admin`: the value would change nothing.
    let refusal = aggregates(true, false).await.unwrap_err();
    assert!(refusal.contains("rbac.aggregateToAdmin: false needs rbac.aggregateToEdit: false"), "{refusal}");
    let no_roles = json!({ "rbac": { "userRoles": false, "aggregateToAdmin": false } });
    rendered(&no_roles).await.unwrap();
}

#[tokio::test]
async fn the_account_of_all_other_pods_is_never_given_the_operators_permissions() {
    for rbac in [json!({}), json!({ "create": false })] {
        let nameless = json!({ "serviceAccount": { "create": false }, "rbac": rbac });
        let refusal = rendered(&nameless).await.map(drop).expect_err("is rendered");
        assert!(refusal.contains("serviceAccount.create: false needs serviceAccount.name"), "{refusal}");
    }
    let mine = json!({ "serviceAccount": { "create": false, "name": "mine" } });
    let objects = rendered(&mine).await.unwrap();
    for kind in ["ClusterRoleBinding", "RoleBinding"] {
        let subject = json!([{ "kind": "ServiceAccount", "name": "mine", "namespace": NAMESPACE }]);
        assert_eq!(the(&objects, kind)["subjects"], subject);
    }
}

#[tokio::test]
async fn no_role_is_made_when_somebody_else_makes_them() {
    let values =
        json!({ "rbac": { "create": false }, "serviceAccount": { "create": false, "name": "mine" } });
    let objects = rendered(&values).await.unwrap();
    assert!(objects.iter().all(|object| !object["kind"].as_str().unwrap().contains("Role")));
    assert!(of_kind(&objects, "ServiceAccount").is_empty());
    assert_eq!(the(&objects, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"], "mine");
}
