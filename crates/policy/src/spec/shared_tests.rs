use serde_json::{Value, json};

use super::*;
use crate::sample::{self, permissions};
use dlq_crd::ConnectionKind;

fn cluster(fields: &Value) -> Result<SharedConnection, Invalid> {
    let mut spec = json!({ "tokenSecretRef": { "namespace": "platform", "name": "upstash" } });
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let name = ConnectionName::new(ConnectionKind::ClusterDlqConnection, "payments", "production".to_owned());
    SharedConnection::of_cluster(name, &serde_json::from_value(spec).unwrap(), &permissions())
}

/// What becomes of a policy with these fields under these guardrails.
fn checked(guardrails: &Value, fields: &Value) -> Result<(), Invalid> {
    let shared = cluster(guardrails).unwrap();
    let policy = sample::policy_with(fields, &[], &permissions(), Some(Ok(&shared)));
    policy.work.map(|work| assert_eq!(work.connection, shared.account))
}

#[test]
fn a_policy_has_to_keep_every_guardrail_of_its_connection() {
    let callback = |url: &str| json!({ "overrides": { "failureCallback": url } });
    let labels = |labels: &[&str]| json!({ "filters": { "labels": labels } });
    let ours = json!({ "allowedCallbackUrls": ["https://*.example.com"] });
    let team = json!({ "allowedLabels": ["payments", "checkout"] });
    let no_loops = json!({ "requireLoopProtection": true });
    let hourly = json!({ "schedule": "@hourly" });
    for (row, guardrails, fields, broken) in [
        ("nothing is forbidden", json!({}), json!({}), None),
        ("an action that is allowed", json!({ "allowedActions": ["resume", "restart"] }), json!({}), None),
        (
            "an action that is not",
            json!({ "allowedActions": ["restart"] }),
            json!({}),
            Some(
                "spec.action: ClusterDlqConnection production does not allow resume (allowedActions); use restart",
            ),
        ),
        ("no callback", ours.clone(), json!({}), None),
        ("a callback that is allowed", ours.clone(), callback("https://app.example.com/failed"), None),
        ("a callback elsewhere", ours.clone(), callback("https://evil.example"), Some("allowedCallbackUrls")),
        (
            "a callback that hides its host",
            ours,
            callback("https://app.example.com@evil.example/"),
            Some("spec.overrides.failureCallback"),
        ),
        ("a label of the team's", team.clone(), json!({}), None),
        ("all labels of the team's", team.clone(), labels(&["payments", "checkout"]), None),
        (
            "another team's label beside it",
            team.clone(),
            labels(&["payments", "orders"]),
            Some("remove orders"),
        ),
        (
            "no label",
            team.clone(),
            json!({ "filters": { "workflowUrls": ["https://app.example.com"] } }),
            Some("spec.filters.labels"),
        ),
        (
            "the whole queue",
            team.clone(),
            json!({ "filters": { "all": true } }),
            Some("select by payments, checkout"),
        ),
        ("entries by ID", team, json!({ "filters": { "dlqIds": ["dlq-1"] } }), Some("allowedLabels")),
        ("a loop without a schedule", no_loops.clone(), json!({}), None),
        ("a loop on a schedule", no_loops.clone(), hourly.clone(), Some("requireLoopProtection")),
        (
            "a loop that ends",
            no_loops.clone(),
            json!({ "schedule": "@hourly", "loopProtection": { "maxAttempts": 3 } }),
            None,
        ),
        ("a scheduled delete", no_loops, json!({ "schedule": "@hourly", "action": "delete" }), None),
    ] {
        match (checked(&guardrails, &fields), broken) {
            (Ok(()), None) => {}
            (Err(invalid), Some(part)) => {
                assert_eq!(invalid.reason, Reason::GuardrailViolated, "{row}");
                assert!(invalid.message.contains(part), "{row}: {}", invalid.message);
            }
            (outcome, _) => panic!("{row}: {outcome:?}"),
        }
    }
}

#[test]
fn a_shared_connection_sends_its_token_only_where_the_operator_allows() {
    let invalid = cluster(&json!({ "url": "https://evil.example" })).unwrap_err();
    assert_eq!(invalid.reason, Reason::UrlNotAllowed);
    assert!(invalid.message.starts_with("ClusterDlqConnection production: spec.url"), "{}", invalid.message);
    let policy = sample::policy_with(&json!({}), &[], &permissions(), Some(Err(&invalid)));
    assert_eq!(policy.work.unwrap_err(), invalid);
}

#[test]
fn a_shared_connection_has_its_secret_where_it_says() {
    let ConnectionRef::Secret { namespace, secret, .. } = cluster(&json!({})).unwrap().account else {
        panic!("no Secret")
    };
    assert_eq!(
        (namespace.as_str(), secret.name.as_str(), secret.key.as_str()),
        ("platform", "upstash", "token")
    );
    for namespace in ["../kube-system", "a/b", "a.b", ""] {
        let reference = json!({ "tokenSecretRef": { "namespace": namespace, "name": "upstash" } });
        let invalid = cluster(&reference).unwrap_err();
        assert!(invalid.message.contains("spec.tokenSecretRef.namespace"), "{}", invalid.message);
    }
    let invalid = cluster(&json!({ "allowedCallbackUrls": ["https://a.example/path"] })).unwrap_err();
    assert!(invalid.message.contains("spec.allowedCallbackUrls[0]"), "{}", invalid.message);
}

#[test]
fn only_url_and_secret_make_another_account() {
    let hash = |fields: &Value| cluster(fields).unwrap().account.shared_hash();
    let same = hash(&json!({}));
    assert!(same.is_some());
    assert_eq!(hash(&json!({ "allowedActions": ["delete"], "url": "https://qstash.upstash.io/" })), same);
    for fields in [
        json!({ "url": "http://127.0.0.1:8081" }),
        json!({ "tokenSecretRef": { "namespace": "other", "name": "upstash" } }),
        json!({ "tokenSecretRef": { "namespace": "platform", "name": "upstash", "key": "other" } }),
    ] {
        assert_ne!(hash(&fields), same, "{fields}");
    }
}

#[test]
fn the_lower_threshold_of_policy_and_connection_counts() {
    let threshold = |connection: Value, policy: Value| {
        let shared = cluster(&json!({ "limits": connection })).unwrap();
        let policy =
            sample::policy_with(&json!({ "limits": policy }), &[], &permissions(), Some(Ok(&shared)));
        policy.limits.approval_above
    };
    for (connection, policy, expected) in [
        (json!({}), json!({}), None),
        (json!({ "approvalAbove": 100 }), json!({}), Some(100)),
        (json!({}), json!({ "approvalAbove": 50 }), Some(50)),
        (json!({ "approvalAbove": 100 }), json!({ "approvalAbove": 50 }), Some(50)),
        (json!({ "approvalAbove": 0 }), json!({ "approvalAbove": 50 }), Some(0)),
    ] {
        assert_eq!(threshold(connection.clone(), policy.clone()), expected, "{connection} {policy}");
    }
}

#[test]
fn a_limit_that_an_older_definition_let_through_is_not_taken_for_none() {
    for (field, value) in [
        ("entriesPerSecond", 0),
        ("entriesPerSecond", -1),
        ("maxConcurrentRuns", 0),
        ("maxConcurrentRuns", 65_536),
        ("maxEntriesPerDay", -5),
        ("approvalAbove", -1),
    ] {
        let invalid = cluster(&json!({ "limits": { field: value } })).unwrap_err();
        assert_eq!(invalid.reason, Reason::InvalidSpec);
        assert!(invalid.message.contains(&format!("spec.limits.{field}")), "{}", invalid.message);
    }
}
