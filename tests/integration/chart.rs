//! The chart in `charts/dlq-operator`: what the real Helm makes of it, on the real API server.

mod alerts;
mod dist;
mod files;
mod flags;
mod helm_versions;
mod monitoring;
mod naming;
mod objects;
mod permissions;
mod pods;
mod readme;
mod releases;
mod rendering;
mod schema;
mod scored;

use std::path::PathBuf;

use serde_json::{Value, json};
use testbed::{Helm, workspace_root};

/// Where most tests pretend to install it.
pub(crate) const NAMESPACE: &str = "dlq-system";

pub(crate) fn chart() -> PathBuf {
    workspace_root().join("charts/dlq-operator")
}

/// The objects that a release called `dlq-operator` in [`NAMESPACE`] consists of, or why there is none.
async fn rendered(values: &Value) -> Result<Vec<Value>, String> {
    rendered_as("dlq-operator", NAMESPACE, values).await
}

pub(crate) async fn rendered_as(
    release: &str,
    namespace: &str,
    values: &Value,
) -> Result<Vec<Value>, String> {
    let helm = Helm::offline().await.unwrap();
    let chart = chart();
    let args = ["template", release, chart.to_str().unwrap(), "--namespace", namespace, "--values", "-"];
    let output = helm.run_with_input(&args, &values.to_string()).await.unwrap();
    if !output.status.success() {
        return Err(output.stderr);
    }
    Ok(documents(&output.stdout))
}

/// The objects of a YAML stream.
pub(crate) fn documents(yaml: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

/// For comparisons: whoever reads and writes an object may write 1.0 as 1.
fn with_plain_numbers(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(with_plain_numbers).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, field)| (name.clone(), with_plain_numbers(field))).collect()
        }
        other => other.clone(),
    }
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The only object of a kind.
#[track_caller]
fn the<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found = of_kind(objects, kind);
    assert_eq!(found.len(), 1, "of kind {kind}");
    found[0]
}

/// The operator's container.
fn container(objects: &[Value]) -> &Value {
    &the(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
}

fn args(objects: &[Value]) -> Vec<&str> {
    container(objects)["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect()
}

/// Values that make every template of the chart say something, and set every flag.
fn everything() -> Value {
    let mut values = json!({
        "global": { "imageRegistry": "registry.example.com", "imagePullSecrets": ["all", { "name": "registry" }] },
        "commonLabels": { "owner": "platform" },
        "watchNamespaces": ["payments", "orders"],
        "watchLabelSelector": "team=payments,stage in (live,test)",
        "clusterConnections": { "enabled": true, "secretNamespaces": ["platform"] },
        "pauseAll": true,
        "config": {
            "allowedUrls": ["https://qstash-*.upstash.io", "http://127.0.0.1:9"],
            "allowedActions": ["resume", "delete"],
            "allowedCallbackUrls": ["https://app.example.com"],
            "defaultConnectionNamespaces": ["payments"],
            "maxConcurrentRuns": 9,
            "maxRunsPerConnection": 3,
            "checkpointInterval": "0",
            "requestTimeout": "5s",
            "retryLimit": 0,
            "forceDryRun": true,
            "otlpEndpoint": "http://collector:4318",
        },
        "defaultConnection": { "url": "https://qstash-us-east-1.upstash.io", "existingSecret": "upstash", "key": "t" },
        "proxy": { "https": "http://proxy.example.com:3128", "noProxy": ".example.com,10.0.0.0/8" },
        "leaderElection": { "leaseDuration": "30s", "leaseName": "shared", "leaseNamespace": "leases" },
        "log": { "level": "info,dlq_operator=debug", "format": "text", "audit": false },
        "rbac": { "secretAccess": "watch" },
        "podDisruptionBudget": { "enabled": true },
        "extraObjects": [
            { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "{{ .Release.Name }}-map" } },
            "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: text }",
        ],
        "metrics": { "port": 9090, "perPolicy": false, "service": { "annotations": { "a": "b" } } },
        "serviceMonitor": { "enabled": true, "labels": { "release": "prometheus" }, "interval": "30s" },
        "podMonitor": {
            "enabled": true,
            "scrapeTimeout": "10s",
            "relabelings": [{ "action": "labeldrop", "regex": "pod" }],
            "metricRelabelings": [{ "sourceLabels": ["__name__"], "action": "drop", "regex": "process_.*" }],
        },
        "prometheusRule": {
            "enabled": true,
            "annotations": { "a": "b" },
            "disabled": { "DlqPolicyStale": true },
            "overrides": { "DlqOperatorUpstreamErrors": { "threshold": 0.2, "for": "1h", "severity": "info" } },
        },
        "grafanaDashboard": { "enabled": true, "annotations": { "grafana_folder": "Queues" } },
        "networkPolicy": { "enabled": true, "metricsFrom": [{ "namespaceSelector": {} }] },
    });
    values.as_object_mut().unwrap().append(everything_of_pods().as_object_mut().unwrap());
    values
}

/// Values that set every part of the pods.
fn everything_of_pods() -> Value {
    json!({
        "replicaCount": 2,
        "imagePullSecrets": [{ "name": "registry" }],
        "caBundle": { "configMap": "roots", "key": "roots.pem" },
        "nodeSelector": { "kubernetes.io/os": "linux" },
        "tolerations": [{ "key": "spot", "operator": "Exists" }],
        "affinity": { "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 1,
            "podAffinityTerm": {
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": { "matchLabels": { "app.kubernetes.io/name": "dlq-operator" } },
            },
        }] } },
        "topologySpreadConstraints": [{
            "maxSkew": 1,
            "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": { "app.kubernetes.io/name": "dlq-operator" } },
        }],
        "priorityClassName": "system-cluster-critical",
        "strategy": { "rollingUpdate": { "maxSurge": "100%" } },
        "dnsPolicy": "None",
        "dnsConfig": {
            "nameservers": ["10.0.0.10"],
            "searches": ["svc.cluster.local"],
            "options": [{ "name": "ndots", "value": "2" }],
        },
        "deploymentAnnotations": { "example.com/reload": "true" },
        "podAnnotations": { "example.com/note": "1" },
        "podLabels": { "example.com/team": "platform" },
        "extraEnv": [{ "name": "RUST_BACKTRACE", "value": "1" }],
        "extraEnvFrom": [{ "secretRef": { "name": "proxy", "optional": true } }],
        "extraVolumes": [{ "name": "more", "configMap": { "name": "more" } }],
        "extraVolumeMounts": [{ "name": "more", "mountPath": "/etc/more", "readOnly": true }],
        "extraContainers": [further_container()],
    })
}

/// One that is admitted wherever the operator's is.
fn further_container() -> Value {
    json!({
        "name": "beside",
        "image": "registry.example.com/beside:1",
        "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
    })
}

#[tokio::test]
async fn helm_finds_nothing_to_warn_about() {
    let helm = Helm::offline().await.unwrap();
    let chart = chart();
    for values in [json!({}), everything()] {
        let args = ["lint", "--strict", chart.to_str().unwrap(), "--values", "-"];
        let output = helm.run_with_input(&args, &values.to_string()).await.unwrap().ok().unwrap();
        assert!(output.contains("0 chart(s) failed"), "{output}");
    }
}
