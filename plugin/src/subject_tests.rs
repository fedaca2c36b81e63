use serde_json::json;

use super::*;
use dlq_policy::spec::permissions::UPSTASH_URLS;

fn policy(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "dlq-operator.dev/v1alpha1",
        "kind": "DlqPolicy",
        "metadata": { "name": name, "namespace": "payments" },
        "spec": spec,
    })
}

fn file(objects: &[Value]) -> Vec<Document> {
    objects.iter().cloned().map(Document::alone).collect()
}

fn subject(spec: &Value) -> Result<Subject, String> {
    Subject::of_file(file(&[policy("one", spec)]), None, "policy.yaml").map_err(|problem| problem.to_string())
}

fn permissions() -> Permissions {
    Permissions {
        urls: UPSTASH_URLS.split(',').map(|url| url.parse().unwrap()).collect(),
        actions: Vec::new(),
        callback_urls: Vec::new(),
        default_url: "https://qstash.upstash.io".parse().unwrap(),
        default_connection_namespaces: vec!["payments".to_owned()],
        pause_all: false,
        force_dry_run: false,
    }
}

fn all() -> Value {
    json!({ "action": "delete", "filters": { "all": true } })
}

#[test]
fn the_only_policy_of_a_file_is_found_among_other_objects() {
    let objects = [json!({ "kind": "Secret" }), policy("one", &all())];
    assert_eq!(Subject::of_file(file(&objects), None, "policy.yaml").unwrap().name, "one");
}

#[test]
fn of_several_policies_one_has_to_be_named() {
    let objects = [policy("one", &all()), policy("two", &all())];
    let problem = Subject::of_file(file(&objects), None, "policy.yaml").unwrap_err().to_string();
    assert!(problem.contains("one, two"), "{problem}");
    assert_eq!(Subject::of_file(file(&objects), Some("two"), "policy.yaml").unwrap().name, "two");
    let problem = Subject::of_file(file(&objects), Some("three"), "policy.yaml").unwrap_err().to_string();
    assert!(problem.contains("no DlqPolicy three"), "{problem}");
}

#[test]
fn a_field_that_is_misspelt_is_refused_as_it_could_select_more_than_is_meant() {
    let spec =
        json!({ "action": "delete", "filters": { "labels": ["a"], "worklowUrls": ["https://a.example"] } });
    let problem = subject(&spec).unwrap_err();
    assert!(problem.contains("spec.filters.worklowUrls"), "{problem}");
}

#[test]
fn what_the_api_server_would_refuse_is_refused() {
    let all_and_more = json!({ "action": "delete", "filters": { "all": true, "labels": ["a"] } });
    for (spec, field) in [
        (json!({ "action": "delete", "filters": {} }), "spec.filters"),
        (all_and_more, "spec.filters"),
        (
            json!({ "action": "delete", "filters": { "all": true }, "limits": { "pageSize": 0 } }),
            "spec.limits.pageSize",
        ),
    ] {
        let problem = subject(&spec).unwrap_err();
        assert!(problem.contains(&format!("policy.yaml:1: {field}")), "{problem}");
    }
}

#[test]
fn a_field_that_cannot_be_read_is_named() {
    let problem = subject(&json!({ "action": "delete", "filters": { "all": "yes" } })).unwrap_err();
    assert!(problem.contains("spec.filters.all"), "{problem}");
}

#[test]
fn a_name_that_would_be_a_path_is_refused() {
    for name in ["../other", "a/b", "", "A", "-a", "a..b"] {
        let found = Subject::of_file(file(&[policy(name, &all())]), None, "policy.yaml");
        assert!(found.unwrap_err().to_string().contains("metadata.name"), "{name}");
    }
}

#[test]
fn what_starts_or_holds_runs_makes_no_difference() {
    let spec = json!({
        "action": "delete", "filters": { "all": true }, "schedule": "@hourly", "timeZone": "Europe/Berlin",
        "jitter": "30s", "suspend": true,
    });
    let subject = subject(&spec).unwrap();
    let policy = subject.policy(&BTreeMap::new(), &permissions());
    assert!(policy.work.is_ok() && matches!(policy.schedule, Ok(None)) && !policy.suspend, "{policy:?}");
}

#[test]
fn the_url_that_a_file_names_is_used_only_if_a_token_may_go_there() {
    let at = |url: &str| {
        let connection = json!({ "url": url, "tokenSecretRef": { "name": "upstash" } });
        let spec = json!({ "action": "delete", "filters": { "all": true }, "connection": connection });
        let subject = subject(&spec)?;
        subject.work(&permissions()).map(|(_, url)| url.to_string()).map_err(|problem| problem.to_string())
    };
    assert_eq!(at("https://qstash-us-east-1.upstash.io").unwrap(), "https://qstash-us-east-1.upstash.io/");
    let problem = at("http://127.0.0.1:9").unwrap_err();
    assert!(problem.contains("--allowed-url http://127.0.0.1:9"), "{problem}");
    let problem = at("https://qstash.upstash.io@evil.example").unwrap_err();
    assert!(!problem.contains("--allowed-url"), "no address that could be allowed: {problem}");
}

#[test]
fn what_is_not_read_is_said() {
    let notes = |connection: Value| {
        let spec = json!({ "action": "delete", "filters": { "all": true }, "connection": connection });
        let subject = subject(&spec).unwrap();
        (subject.notes.join(" "), subject.work(&permissions()).unwrap().1.to_string())
    };
    let (told, _) = notes(json!({ "tokenSecretRef": { "name": "upstash" } }));
    assert!(told.contains("tokenSecretRef is not read"), "{told}");
    let (told, url) = notes(json!({ "kind": "ClusterDlqConnection", "name": "production" }));
    assert!(told.contains("ClusterDlqConnection production"), "{told}");
    assert_eq!(url, "https://qstash.upstash.io/");
}

#[test]
fn a_shared_connection_that_stands_beside_the_policy_says_where_and_what_it_may() {
    let connection = |fields: Value| {
        let mut spec =
            json!({ "url": "https://qstash-us-east-1.upstash.io", "tokenSecretRef": { "name": "upstash" } });
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({
            "apiVersion": "dlq-operator.dev/v1alpha1", "kind": "DlqConnection",
            "metadata": { "name": "shared", "namespace": "payments" }, "spec": spec,
        })
    };
    let spec = json!({ "action": "delete", "filters": { "all": true }, "connection": { "name": "shared" } });
    let at = |fields: Value| {
        let objects = [policy("one", &spec), connection(fields)];
        let subject = Subject::of_file(file(&objects), None, "policy.yaml").unwrap();
        subject.work(&permissions()).map(|(_, url)| url.to_string()).map_err(|problem| problem.to_string())
    };
    assert_eq!(at(json!({})).unwrap(), "https://qstash-us-east-1.upstash.io/");
    let problem = at(json!({ "allowedActions": ["resume"] })).unwrap_err();
    assert!(problem.contains("allowedActions"), "{problem}");
}

#[test]
fn a_namespace_that_is_none_is_refused() {
    for namespace in ["a/b", "x\ntouch pwned", "A", "a.b", ""] {
        let mut object = policy("one", &all());
        object["metadata"]["namespace"] = namespace.into();
        let found = Subject::of_file(file(&[object]), None, "policy.yaml");
        assert!(found.unwrap_err().to_string().contains("metadata.namespace"), "{namespace:?}");
    }
}
