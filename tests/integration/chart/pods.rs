//! The values about the pods that people know from other charts.

use serde_json::{Value, json};

use super::{container, everything, further_container, rendered, the};

fn spec(objects: &[Value]) -> &Value {
    &the(objects, "Deployment")["spec"]["template"]["spec"]
}

/// The operator's variable of this name.
fn variable<'a>(objects: &'a [Value], name: &str) -> &'a Value {
    let variables = container(objects)["env"].as_array().unwrap();
    variables.iter().find(|variable| variable["name"] == name).map_or(&Value::Null, |found| &found["value"])
}

#[tokio::test]
async fn the_global_registry_replaces_that_of_every_image() {
    let global = json!({ "imageRegistry": "mirror.example:5000" });
    let objects =
        rendered(&json!({ "global": global, "image": { "registry": "own.example" } })).await.unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let image = &container(&objects)["image"];
    assert_eq!(*image, format!("mirror.example:5000/dlq-operator:{version}"));
    let test = the(&objects, "Pod")["spec"]["containers"][0]["image"].as_str().unwrap();
    assert!(test.starts_with("mirror.example:5000/library/busybox:"), "{test}");
}

#[tokio::test]
async fn every_pod_has_the_pull_secrets_of_global_and_of_the_chart_each_once() {
    let values = json!({
        "global": { "imagePullSecrets": ["by-name", { "name": "as-a-map" }, "both"] },
        "imagePullSecrets": [{ "name": "both" }, { "name": "own" }],
    });
    let objects = rendered(&values).await.unwrap();
    let names = ["by-name", "as-a-map", "both", "own"].map(|name| json!({ "name": name }));
    for pod in [spec(&objects), &the(&objects, "Pod")["spec"]] {
        assert_eq!(pod["imagePullSecrets"], json!(names));
    }
    let without = rendered(&json!({})).await.unwrap();
    assert!(spec(&without)["imagePullSecrets"].is_null());
}

#[tokio::test]
async fn an_update_starts_the_new_pod_first_unless_the_strategy_says_otherwise() {
    let strategy = async |values: Value| {
        let objects = rendered(&json!({ "strategy": values })).await.unwrap();
        the(&objects, "Deployment")["spec"]["strategy"].clone()
    };
    let rolling = |surge: Value, unavailable: Value| json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": surge, "maxUnavailable": unavailable } });
    assert_eq!(strategy(json!({})).await, rolling(json!(1), json!(0)));
    let slow = json!({ "rollingUpdate": { "maxSurge": 0, "maxUnavailable": "50%" } });
    assert_eq!(strategy(slow).await, rolling(json!(0), json!("50%")));
    assert_eq!(strategy(json!({ "type": "Recreate" })).await, json!({ "type": "Recreate" }));
}

#[tokio::test]
async fn several_replicas_prefer_different_nodes_unless_an_affinity_is_given() {
    let affinity = async |values: Value| spec(&rendered(&values).await.unwrap())["affinity"].clone();
    assert_eq!(affinity(json!({})).await, Value::Null);
    let objects = rendered(&json!({ "replicaCount": 2 })).await.unwrap();
    let rules = &spec(&objects)["affinity"]["podAntiAffinity"];
    let preferred = &rules["preferredDuringSchedulingIgnoredDuringExecution"][0]["podAffinityTerm"];
    assert_eq!(preferred["topologyKey"], "kubernetes.io/hostname");
    assert_eq!(preferred["labelSelector"], the(&objects, "Deployment")["spec"]["selector"]);
    // A cluster of one node has to run both.
    assert!(rules["requiredDuringSchedulingIgnoredDuringExecution"].is_null());
    let mine = json!({ "nodeAffinity": {} });
    assert_eq!(affinity(json!({ "replicaCount": 2, "affinity": mine })).await, mine);
}

#[tokio::test]
async fn further_parts_of_the_pod_stand_beside_the_charts_own() {
    let objects = rendered(&everything()).await.unwrap();
    let spec = spec(&objects);
    let names: Vec<_> = spec["containers"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["operator", "beside"]);
    assert_eq!(spec["containers"][1], further_container());
    let from = &container(&objects)["envFrom"];
    assert_eq!(*from, json!([{ "secretRef": { "name": "proxy", "optional": true } }]));
    assert_eq!(
        (&spec["dnsPolicy"], &spec["dnsConfig"]["nameservers"][0]),
        (&json!("None"), &json!("10.0.0.10"))
    );
    let annotations = &the(&objects, "Deployment")["metadata"]["annotations"];
    assert_eq!(*annotations, json!({ "example.com/reload": "true" }));
    for list in [&spec["volumes"], &container(&objects)["volumeMounts"]] {
        let names: Vec<_> = list.as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["ca-bundle", "more"]);
    }
}

#[tokio::test]
async fn the_authorities_of_a_config_map_are_added_to_those_of_the_image() {
    let objects =
        rendered(&json!({ "caBundle": { "configMap": "roots", "key": "roots.pem" } })).await.unwrap();
    let mount = &container(&objects)["volumeMounts"][0];
    assert_eq!(mount["readOnly"], true);
    let folder = mount["mountPath"].as_str().unwrap();
    assert_eq!(*variable(&objects, "SSL_CERT_DIR"), format!("/etc/ssl/certs:{folder}"));
    let volume = &spec(&objects)["volumes"][0];
    assert_eq!(volume["name"], mount["name"]);
    let source = json!({ "name": "roots", "items": [{ "key": "roots.pem", "path": "ca.crt" }] });
    assert_eq!(volume["configMap"], source);
    let without = rendered(&json!({})).await.unwrap();
    assert_eq!(*variable(&without, "SSL_CERT_DIR"), Value::Null);
}
