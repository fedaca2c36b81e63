//! `values.schema.json`: what it takes and refuses, and that it knows every value.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::{chart, everything, rendered};

pub(super) fn values() -> Value {
    serde_saphyr::from_str(&fs::read_to_string(chart().join("values.yaml")).unwrap()).unwrap()
}

fn schema() -> Value {
    serde_json::from_str(&fs::read_to_string(chart().join("values.schema.json")).unwrap()).unwrap()
}

/// What a part of the schema says, here or in a definition.
fn resolved<'a>(schema: &'a Value, at: &'a Value) -> &'a Value {
    let reference = at["$ref"].as_str();
    reference.map_or(at, |reference| schema.pointer(reference.trim_start_matches('#')).unwrap())
}

/// Paths of all objects' fields, as far as the schema names them.
fn known(schema: &Value, at: &Value, path: &str, into: &mut BTreeSet<String>) {
    let at = resolved(schema, at);
    for (name, field) in at["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        known(schema, field, &path, into);
        into.insert(path);
    }
}

#[test]
fn the_schema_and_the_values_know_the_same_keys() {
    let (schema, values) = (schema(), values());
    let mut paths = BTreeSet::new();
    known(&schema, &schema, "", &mut paths);
    // What is absent by default.
    let absent = [".resources.claims", ".dnsConfig.nameservers", ".dnsConfig.searches", ".dnsConfig.options"];
    for path in &paths {
        let mut value = &values;
        for name in path.split('.').skip(1) {
            value = value.get(name).unwrap_or_else(|| {
                assert!(absent.contains(&path.as_str()), "values.yaml has no {path}");
                &Value::Null
            });
        }
    }
    for (name, value) in values.as_object().unwrap() {
        assert!(paths.contains(&format!(".{name}")), "the schema has no {name}");
        for field in value.as_object().into_iter().flatten() {
            let path = format!(".{name}.{}", field.0);
            let is_free = resolved(&schema, &schema["properties"][name])["properties"].is_null();
            assert!(is_free || paths.contains(&path), "the schema has no {path}");
        }
    }
}

#[test]
fn every_object_of_the_schema_is_closed_or_free() {
    fn look(at: &Value, path: &str) {
        // Helm gives the globals of all charts to each, when it is part of another.
        if at["properties"].is_object() && at["type"] == "object" && path != "/properties/global" {
            let is_kubernetes_own = at["required"].is_array() && at["additionalProperties"].is_null();
            assert!(at["additionalProperties"] == false || is_kubernetes_own, "{path} takes unknown keys");
        }
        match at {
            Value::Object(fields) => {
                fields.iter().for_each(|(name, field)| look(field, &format!("{path}/{name}")));
            }
            Value::Array(items) => items.iter().for_each(|item| look(item, path)),
            _ => {}
        }
    }
    look(&schema(), "");
}

#[tokio::test]
async fn unknown_keys_are_refused_at_every_level() {
    let closed = [
        "",
        "image",
        "crds",
        "config",
        "clusterConnections",
        "defaultConnection",
        "proxy",
        "caBundle",
        "leaderElection",
        "log",
        "serviceAccount",
        "rbac",
        "resources",
        "strategy",
        "strategy.rollingUpdate",
        "dnsConfig",
        "livenessProbe",
        "readinessProbe",
        "podDisruptionBudget",
        "metrics",
        "metrics.service",
        "serviceMonitor",
        "podMonitor",
        "prometheusRule",
        "grafanaDashboard",
        "networkPolicy",
        "networkPolicy.dns",
        "networkPolicy.apiServer",
        "networkPolicy.upstash",
        "tests",
        "tests.image",
    ];
    for path in closed {
        let typo = json!({ "tpyo": 1 });
        let names = path.rsplit('.').filter(|name| !name.is_empty());
        let values = names.fold(typo, |inner, name| json!({ name: inner }));
        let refusal = rendered(&values).await.expect_err(path);
        assert!(refusal.contains("additional properties 'tpyo' not allowed"), "{path}: {refusal}");
    }
}

#[tokio::test]
async fn what_could_not_work_is_refused_before_anything_is_installed() {
    let refused = [
        json!({ "replicaCount": -1 }),
        json!({ "replicaCount": "2" }),
        json!({ "image": "registry.example/a/b:c" }),
        json!({ "image": { "pullPolicy": "Sometimes" } }),
        json!({ "image": { "digest": "sha256:0" } }),
        json!({ "image": { "repository": "" } }),
        json!({ "image": { "tag": 1.2 } }),
        json!({ "imagePullSecrets": ["registry"] }),
        json!({ "global": { "imagePullSecrets": "registry" } }),
        json!({ "global": { "imageRegistry": "https://registry.example.com" } }),
        json!({ "fullnameOverride": "Upper" }),
        json!({ "commonLabels": { "a": 1 } }),
        json!({ "documentationUrl": "docs" }),
        json!({ "documentationUrl": "https://example.com/docs?ref=main" }),
        json!({ "commonLabels": { "a": "b c" } }),
        json!({ "crds": { "keep": "yes" } }),
        json!({ "crds": { "annotations": { "a": true } } }),
        json!({ "watchNamespaces": "payments" }),
        json!({ "watchNamespaces": ["a", "a"] }),
        json!({ "watchNamespaces": ["a,b"] }),
        json!({ "watchLabelSelector": { "a": "b" } }),
        json!({ "watchLabelSelector": "a\nb" }),
        // Nobody should believe that these still choose policies or an account.
        json!({ "selector": "team=payments" }),
        json!({ "connection": { "existingSecret": "upstash" } }),
        json!({ "pauseAll": "false" }),
        json!({ "config": { "forceDryRun": 1 } }),
        json!({ "config": { "defaultConnectionNamespaces": ["*"] } }),
        json!({ "clusterConnections": { "enabled": "auto" } }),
        json!({ "clusterConnections": { "secretNamespaces": "platform" } }),
        json!({ "clusterConnections": { "secretNamespaces": ["Platform"] } }),
        json!({ "clusterConnections": { "secretNamespaces": ["platform", "platform"] } }),
        json!({ "defaultConnection": { "url": "https://qstash-*.upstash.io" } }),
        json!({ "defaultConnection": { "url": "https://user:secret@a.example" } }),
        json!({ "defaultConnection": { "existingSecret": "Upper" } }),
        json!({ "defaultConnection": { "token": "never-in-values" } }),
        json!({ "proxy": { "https": "socks5://proxy.example.com" } }),
        json!({ "proxy": { "https": "proxy.example.com:3128" } }),
        json!({ "proxy": { "https": "http://user:secret@proxy.example.com:3128" } }),
        json!({ "proxy": { "noProxy": [".example.com"] } }),
        json!({ "caBundle": { "configMap": "Upper" } }),
        json!({ "caBundle": { "configMap": "roots", "key": "" } }),
        json!({ "strategy": { "type": "Blue" } }),
        json!({ "strategy": { "rollingUpdate": { "maxSurge": "some" } } }),
        json!({ "dnsPolicy": "none" }),
        json!({ "dnsConfig": { "nameservers": "10.0.0.10" } }),
        json!({ "deploymentAnnotations": { "a": 1 } }),
        json!({ "log": { "audit": "off" } }),
        json!({ "rbac": { "secretAccess": "list" } }),
        json!({ "resources": { "limits": { "memory": true } } }),
        json!({ "livenessProbe": { "periodSeconds": 0 } }),
        json!({ "podDisruptionBudget": { "minAvailable": "half" } }),
        json!({ "podDisruptionBudget": { "maxUnavailable": -1 } }),
        json!({ "podDisruptionBudget": { "maxUnavailable": 0 } }),
        json!({ "podDisruptionBudget": { "maxUnavailable": "0%" } }),
        json!({ "podDisruptionBudget": { "maxUnavailable": "00%" } }),
        json!({ "nodeSelector": { "a": 1 } }),
        json!({ "extraArgs": ["pause-all"] }),
        json!({ "extraEnv": [{ "value": "1" }] }),
        json!({ "extraEnv": { "A": "1" } }),
        json!({ "extraEnvFrom": [{ "secret": "proxy" }] }),
        json!({ "extraContainers": [{ "name": "beside" }] }),
        json!({ "extraObjects": [1] }),
        json!({ "metrics": { "port": 0 } }),
        json!({ "metrics": { "port": 65536 } }),
        json!({ "serviceMonitor": { "interval": "30" } }),
        json!({ "prometheusRule": { "disabled": ["DlqPolicyStale"] } }),
        json!({ "prometheusRule": { "disabled": { "DlqPolicyStale": "no" } } }),
        json!({ "prometheusRule": { "overrides": { "DlqPolicyStale": { "expr": "vector(1)" } } } }),
        json!({ "prometheusRule": { "overrides": { "DlqPolicyStale": { "for": "15" } } } }),
        json!({ "prometheusRule": { "overrides": { "DlqPolicyRunFailing": { "threshold": "1h" } } } }),
        json!({ "networkPolicy": { "upstash": { "ports": [] } } }),
    ];
    for values in refused {
        let refusal = rendered(&values).await.expect_err(&values.to_string());
        assert!(refusal.contains("specifications of the schema"), "{values}: {refusal}");
    }
}

#[tokio::test]
async fn what_people_write_is_taken() {
    let taken = [
        everything(),
        json!({ "global": { "of-another-chart": { "a": 1 } } }),
        json!({ "global": null }),
        json!({ "strategy": { "type": "Recreate" } }),
        json!({ "strategy": null, "dnsConfig": null }),
        json!({ "replicaCount": 0 }),
        json!({ "resources": { "limits": { "cpu": 1, "memory": "1Gi" } } }),
        json!({ "resources": null, "livenessProbe": null }),
        json!({ "livenessProbe": { "periodSeconds": 30 } }),
        json!({ "podDisruptionBudget": { "enabled": true, "maxUnavailable": "100%" } }),
        json!({ "image": { "tag": "v1.2.3-rc.1" } }),
        json!({ "watchLabelSelector": "team in (a,b),!legacy" }),
        json!({ "proxy": { "https": "https://proxy.example.com/", "noProxy": "*" } }),
        json!({ "proxy": { "https": "http://[fd00::1]:3128" } }),
        json!({ "extraEnv": [{ "name": "A", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } }] }),
        json!({ "serviceMonitor": { "enabled": true, "interval": "1m30s" } }),
        json!({ "affinity": { "nodeAffinity": {} } }),
        json!({ "nameOverride": "", "fullnameOverride": "" }),
        json!({ "clusterConnections": { "enabled": false } }),
        json!({ "clusterConnections": { "enabled": null, "secretNamespaces": null } }),
    ];
    for values in taken {
        rendered(&values).await.unwrap_or_else(|refusal| panic!("{values}: {refusal}"));
    }
}
