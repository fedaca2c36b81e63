//! What values make of the pods and what stands beside them.

use serde_json::{Value, json};

use super::{NAMESPACE, args, container, everything, of_kind, rendered, the};

fn pod(objects: &[Value]) -> &Value {
    &the(objects, "Deployment")["spec"]["template"]
}

async fn refusal(values: Value) -> String {
    rendered(&values).await.map(drop).expect_err("is rendered")
}

#[tokio::test]
async fn only_what_is_set_is_passed_to_the_operator() {
    let objects = rendered(&json!({})).await.unwrap();
    let own = ["--leader-elect", "--lease-name=dlq-operator", "--admin-address=0.0.0.0:8080"];
    assert_eq!(args(&objects), own);
}

#[tokio::test]
async fn zero_is_a_value() {
    let values = json!({ "config": { "retryLimit": 0, "checkpointInterval": "0" } });
    let objects = rendered(&values).await.unwrap();
    let args = args(&objects);
    assert!(args.contains(&"--retry-limit=0") && args.contains(&"--checkpoint-interval=0"), "{args:?}");
}

#[tokio::test]
async fn the_pod_may_do_nothing_that_it_need_not() {
    let objects = rendered(&json!({})).await.unwrap();
    let pod = &pod(&objects)["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["runAsUser"], 65532);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let context = &container(&objects)["securityContext"];
    let strict = json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
    });
    assert_eq!(*context, strict);
    assert_eq!(pod["volumes"], Value::Null);
    assert!(pod["hostNetwork"].is_null() && pod["hostPID"].is_null());
    // The token is this pod's, and no other pod's with the same account.
    assert_eq!(pod["automountServiceAccountToken"], true);
    assert_eq!(the(&objects, "ServiceAccount")["automountServiceAccountToken"], false);
}

#[tokio::test]
async fn the_container_has_limits_and_probes() {
    let objects = rendered(&json!({})).await.unwrap();
    let container = container(&objects);
    assert!(container["resources"]["requests"]["memory"].is_string());
    // 10m would be the smallest share of a contended CPU that there is, and the leader has to renew its Lease in time.
    let cpu = container["resources"]["requests"]["cpu"].as_str().unwrap();
    assert!(cpu.strip_suffix('m').unwrap().parse::<u32>().unwrap() >= 100, "{cpu}");
    assert!(container["resources"]["limits"]["memory"].is_string());
    // The kubelet keeps up to 250 MiB of logs in some clusters, and evicts a pod that takes more than its limit.
    for kind in ["requests", "limits"] {
        assert!(container["resources"][kind]["ephemeral-storage"].is_string(), "{kind}");
    }
    // A leader that is throttled may lose its Lease.
    assert!(container["resources"]["limits"]["cpu"].is_null());
    for (probe, path) in [("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        let asked = &container[probe]["httpGet"];
        assert_eq!((&asked["path"], &asked["port"]), (&json!(path), &json!("admin")));
    }
    assert_eq!(container["ports"][0]["name"], "admin");
    // 10 s for runs, 1 s for the Lease, 5 s for traces.
    assert!(pod(&objects)["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap() > 16);
}

#[tokio::test]
async fn the_port_is_the_same_everywhere() {
    let values = json!({ "metrics": { "port": 9191 }, "networkPolicy": { "enabled": true } });
    let objects = rendered(&values).await.unwrap();
    assert!(args(&objects).contains(&"--admin-address=0.0.0.0:9191"));
    assert_eq!(container(&objects)["ports"][0]["containerPort"], 9191);
    let service = &the(&objects, "Service")["spec"]["ports"][0];
    assert_eq!((&service["port"], &service["targetPort"]), (&json!(9191), &json!("admin")));
    assert_eq!(the(&objects, "NetworkPolicy")["spec"]["ingress"][0]["ports"][0]["port"], "admin");
    let url = the(&objects, "Pod")["spec"]["containers"][0]["args"][1].as_str().unwrap().to_owned();
    assert_eq!(url, format!("http://dlq-operator-metrics.{NAMESPACE}:9191/readyz?verbose"));
}

#[tokio::test]
async fn the_token_of_the_default_connection_comes_from_a_secret() {
    let values = json!({ "defaultConnection": { "url": "https://qstash-us-east-1.upstash.io", "existingSecret": "upstash" } });
    let objects = rendered(&values).await.unwrap();
    let env = container(&objects)["env"].as_array().unwrap();
    let find = |name: &str| env.iter().find(|variable| variable["name"] == name).unwrap();
    assert_eq!(find("QSTASH_URL")["value"], "https://qstash-us-east-1.upstash.io");
    assert_eq!(
        find("QSTASH_TOKEN")["valueFrom"]["secretKeyRef"],
        json!({ "name": "upstash", "key": "token" })
    );
    let objects = rendered(&json!({})).await.unwrap();
    let names: Vec<_> = container(&objects)["env"].as_array().unwrap().iter().map(|e| &e["name"]).collect();
    assert_eq!(names, ["POD_NAME", "POD_NAMESPACE"]);
}

#[tokio::test]
async fn the_proxy_is_set_by_the_variables_that_name_one() {
    let variable = |objects: &[Value], name: &str| {
        let env = container(objects)["env"].as_array().unwrap();
        let found: Vec<_> = env.iter().filter(|variable| variable["name"] == name).cloned().collect();
        assert!(found.len() < 2, "{found:?}");
        found.first().cloned()
    };
    let values = json!({ "proxy": { "https": "http://proxy.example.com:3128", "noProxy": ".example.com" } });
    let objects = rendered(&values).await.unwrap();
    assert_eq!(variable(&objects, "HTTPS_PROXY").unwrap()["value"], "http://proxy.example.com:3128");
    assert_eq!(variable(&objects, "NO_PROXY").unwrap()["value"], ".example.com");
    // A URL with a password comes from a Secret.
    let secret = json!({ "secretKeyRef": { "name": "proxy", "key": "url" } });
    let values = json!({
        "proxy": { "noProxy": ".example.com" },
        "extraEnv": [{ "name": "HTTPS_PROXY", "valueFrom": secret }],
    });
    let objects = rendered(&values).await.unwrap();
    assert_eq!(variable(&objects, "HTTPS_PROXY").unwrap()["valueFrom"], secret);
    assert_eq!(variable(&objects, "NO_PROXY").unwrap()["value"], ".example.com");
}

#[tokio::test]
async fn the_image_is_the_charts_unless_told_otherwise() {
    let image = async |values: Value| {
        let objects = rendered(&json!({ "image": values })).await.unwrap();
        container(&objects)["image"].as_str().unwrap().to_owned()
    };
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(image(json!({})).await, format!("localhost/dlq-operator:{version}"));
    let digest = format!("sha256:{}", "0f".repeat(32));
    let pinned = json!({ "registry": "mirror.example:5000", "tag": "v9", "digest": digest });
    assert_eq!(image(pinned).await, format!("mirror.example:5000/dlq-operator@{digest}"));
    assert_eq!(image(json!({ "registry": "", "repository": "own", "tag": "v9" })).await, "own:v9");
}

#[tokio::test]
async fn every_pod_takes_part_in_the_election() {
    for replicas in 0..3 {
        let values = json!({ "replicaCount": replicas, "leaderElection": { "enabled": true } });
        let objects = rendered(&values).await.unwrap();
        assert!(args(&objects).contains(&"--leader-elect"), "with {replicas} replicas");
        the(&objects, "Role");
    }
    // Were a pod allowed to act without a Lease, the update that turns the election on would run it beside the new leader.
    let refusal = refusal(json!({ "leaderElection": { "enabled": false } })).await;
    assert!(refusal.contains("leaderElection.enabled cannot be false"), "{refusal}");
}

#[tokio::test]
async fn values_that_exclude_each_other_are_refused() {
    let no_service = json!({ "serviceMonitor": { "enabled": true }, "metrics": { "enabled": false } });
    assert!(refusal(no_service).await.contains("needs metrics.enabled"));
    let both = json!({ "podDisruptionBudget": { "enabled": true, "minAvailable": 1, "maxUnavailable": 1 } });
    assert!(refusal(both).await.contains("not both"));
}

#[tokio::test]
async fn a_disruption_budget_never_blocks_a_drain() {
    let render = async |replicas: u32, mut budget: Value| {
        budget["enabled"] = json!(true);
        let values = json!({ "replicaCount": replicas, "podDisruptionBudget": budget });
        rendered(&values).await.map(|objects| the(&objects, "PodDisruptionBudget")["spec"].clone())
    };
    for (replicas, budget) in [
        (1, json!({})),
        (1, json!({ "maxUnavailable": 1 })),
        // Kubernetes rounds up: one pod may go.
        (2, json!({ "maxUnavailable": "1%" })),
        (2, json!({ "minAvailable": 1 })),
        (2, json!({ "minAvailable": "50%" })),
        (3, json!({ "minAvailable": "66%" })),
        (1, json!({ "minAvailable": 0 })),
        // There is no pod that a drain could have to wait for.
        (0, json!({ "minAvailable": 1 })),
    ] {
        let spec = render(replicas, budget.clone()).await.unwrap_or_else(|error| panic!("{budget}: {error}"));
        for (field, value) in budget.as_object().unwrap() {
            assert_eq!(spec[field], *value, "{spec}");
        }
    }
    assert_eq!(render(1, json!({})).await.unwrap()["maxUnavailable"], 1);

    for (replicas, budget) in [
        (1, json!({ "minAvailable": 1 })),
        (2, json!({ "minAvailable": 2 })),
        (2, json!({ "minAvailable": 3 })),
        (2, json!({ "minAvailable": "100%" })),
        // Kubernetes rounds up here too: all of them must stay.
        (1, json!({ "minAvailable": "50%" })),
        (2, json!({ "minAvailable": "51%" })),
        (3, json!({ "minAvailable": "67%" })),
    ] {
        let refusal = render(replicas, budget.clone()).await.expect_err(&format!("{replicas}: {budget}"));
        assert!(refusal.contains("would block every drain of a node"), "{refusal}");
    }
    // What no number of replicas makes right is refused by the schema; see there.
    for budget in [json!({ "maxUnavailable": 0 }), json!({ "maxUnavailable": "0%" })] {
        render(3, budget.clone()).await.expect_err(&budget.to_string());
    }
}

#[tokio::test]
async fn monitors_let_the_policies_labels_win() {
    for (values, kind, endpoints, port) in [
        (json!({ "serviceMonitor": { "enabled": true } }), "ServiceMonitor", "endpoints", "metrics"),
        (json!({ "podMonitor": { "enabled": true } }), "PodMonitor", "podMetricsEndpoints", "admin"),
    ] {
        let objects = rendered(&values).await.unwrap();
        let spec = &the(&objects, kind)["spec"];
        let endpoint = &spec[endpoints][0];
        assert_eq!((&endpoint["honorLabels"], &endpoint["path"]), (&json!(true), &json!("/metrics")));
        assert_eq!(endpoint["port"], port);
        assert_eq!(spec["namespaceSelector"]["matchNames"], json!([NAMESPACE]));
        // It selects the Service or the pods, and not the test's pod.
        let selector = spec["selector"]["matchLabels"].as_object().unwrap();
        let target = if kind == "ServiceMonitor" { the(&objects, "Service") } else { pod(&objects) };
        let has = |labels: &Value| selector.iter().all(|(name, value)| labels[name] == *value);
        assert!(has(&target["metadata"]["labels"]));
        assert!(!has(&the(&objects, "Pod")["metadata"]["labels"]));
    }
}

#[tokio::test]
async fn the_network_policy_lets_out_what_the_operator_calls() {
    let objects = rendered(&everything()).await.unwrap();
    let policy = &the(&objects, "NetworkPolicy")["spec"];
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    let ports: Vec<_> = policy["egress"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|rule| rule["ports"].as_array().unwrap())
        .map(|port| port["port"].as_u64().unwrap())
        .collect();
    assert_eq!(ports, [53, 53, 443, 6443, 443]);
    // Who scrapes, and the pod of `helm test`.
    let from = policy["ingress"][0]["from"].as_array().unwrap();
    let test = &the(&objects, "Pod")["metadata"]["labels"];
    let lets_test_in = from.iter().any(|peer| {
        let labels = peer["podSelector"]["matchLabels"].as_object();
        labels.is_some_and(|labels| labels.iter().all(|(name, value)| test[name] == *value))
    });
    assert!(lets_test_in, "{from:?}");
}

#[tokio::test]
async fn further_objects_may_be_maps_or_texts_with_templates() {
    let objects = rendered(&everything()).await.unwrap();
    let names: Vec<_> = of_kind(&objects, "ConfigMap").iter().map(|map| &map["metadata"]["name"]).collect();
    for name in ["dlq-operator-map", "text"] {
        assert!(names.contains(&&json!(name)), "{names:?}");
    }
}

#[tokio::test]
async fn every_definition_stays_unless_told_otherwise() {
    let annotations = async |values: Value| {
        let objects = rendered(&json!({ "crds": values })).await.unwrap();
        let definitions = of_kind(&objects, "CustomResourceDefinition").into_iter();
        definitions.map(|crd| crd["metadata"]["annotations"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(annotations(json!({})).await, vec![json!({ "helm.sh/resource-policy": "keep" }); 3]);
    assert_eq!(
        annotations(json!({ "annotations": { "a": "b" } })).await,
        vec![json!({ "helm.sh/resource-policy": "keep", "a": "b" }); 3]
    );
    assert_eq!(annotations(json!({ "keep": false })).await, vec![Value::Null; 3]);
    let without = rendered(&json!({ "crds": { "enabled": false } })).await.unwrap();
    assert!(of_kind(&without, "CustomResourceDefinition").is_empty());
}
