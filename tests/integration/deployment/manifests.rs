//! What every test of a release applies: a Secret with the token, and a policy that uses it.

use serde_json::{Value, json};

use crate::scene::TOKEN;

pub(super) fn secret(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": name, "namespace": namespace },
        "stringData": { "token": TOKEN },
    })
}

/// A policy that resumes everything once, with the Secret `upstash` of its namespace.
pub(super) fn policy(namespace: &str, name: &str, api_url: &str) -> Value {
    let connection = json!({ "url": api_url, "tokenSecretRef": { "name": "upstash", "key": "token" } });
    json!({
        "apiVersion": "dlq-operator.dev/v1alpha1",
        "kind": "DlqPolicy",
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "action": "resume", "filters": { "all": true }, "connection": connection },
    })
}
