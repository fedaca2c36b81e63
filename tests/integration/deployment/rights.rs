//! What a `ServiceAccount` may do, as the API server says.

use serde_json::{Value, json};
use testbed::ControlPlane;

/// What it may do in a namespace, beside what everybody may: `verb group/resource`, sorted.
pub(super) async fn may(control_plane: &ControlPlane, account: (&str, &str), namespace: &str) -> Vec<String> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
        "spec": { "namespace": namespace },
    });
    let (home, name) = account;
    let user = format!("system:serviceaccount:{home}:{name}");
    let dir = testbed::ScratchDir::create("review").unwrap();
    let file = dir.path().join("review.json");
    std::fs::write(&file, review.to_string()).unwrap();
    let args = [
        "create",
        // That would ask for definitions, as the ServiceAccount.
        "--validate=false",
        "--as",
        &user,
        "--output=json",
        "--filename",
        file.to_str().unwrap(),
    ];
    let review: Value =
        serde_json::from_str(&control_plane.kubectl(&args).await.unwrap().ok().unwrap()).unwrap();
    let rules = review["status"]["resourceRules"].as_array().unwrap();
    let mut may: Vec<_> = rules.iter().flat_map(grants).filter(|grant| !is_everybodys(grant)).collect();
    may.sort();
    may.dedup();
    may
}

/// Each verb of a rule on each of its resources: `verb group/resource`, and the name where there is one.
pub(super) fn grants(rule: &Value) -> Vec<String> {
    let texts = |field: &str| -> Vec<String> {
        let texts = rule[field].as_array().into_iter().flatten();
        texts.map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let names = texts("resourceNames");
    let name = if names.is_empty() { String::new() } else { format!(" {}", names.join(",")) };
    let mut grants = Vec::new();
    for group in texts("apiGroups") {
        for resource in texts("resources") {
            let grant = |verb: &String| format!("{verb} {group}/{resource}{name}");
            grants.extend(texts("verbs").iter().map(grant));
        }
    }
    grants
}

/// What Kubernetes lets everybody ask about themselves.
fn is_everybodys(grant: &str) -> bool {
    grant.contains("authorization.k8s.io/selfsubject") || grant.contains("authentication.k8s.io/selfsubject")
}
