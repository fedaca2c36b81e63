//! The connections that policies share: what each kind must have, and what it may not.

use serde_json::{Map, Value, json};

use super::account::{A_BASE, A_URL, names_of_secrets, urls};
use super::{Row, Verdict, accepted, rejected, shared_limits, text, texts};

const OWN: &str = "DlqConnection";
const SHARED: &str = "ClusterDlqConnection";

pub(super) fn rows() -> Vec<Row> {
    let own = both(own).into_iter().chain(places_of_own()).map(|row| row.of(OWN));
    let shared = [both(shared), places_of_shared(), selectors(), conditions()].into_iter().flatten();
    own.chain(shared.map(|row| row.of(SHARED))).collect()
}

/// A valid spec of either kind with these fields in place of its own.
fn with(mut spec: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else { panic!("the fields of a spec are an object") };
    spec.as_object_mut().unwrap().extend(fields);
    spec
}

fn own(fields: Value) -> Value {
    with(json!({ "tokenSecretRef": { "name": "upstash" } }), fields)
}

fn shared(fields: Value) -> Value {
    with(json!({ "tokenSecretRef": { "namespace": "platform", "name": "upstash" } }), fields)
}

/// Of what both kinds have: the account, and the guardrails.
fn both(spec: fn(Value) -> Value) -> Vec<Row> {
    let url = move |url: &str| spec(json!({ "url": url }));
    let secret = move |name: &str, key: &str| {
        let mut of = spec(json!({}));
        of["tokenSecretRef"]["name"] = name.into();
        of["tokenSecretRef"]["key"] = key.into();
        of
    };
    let at = ["spec.tokenSecretRef.name", "spec.tokenSecretRef.key"];
    [
        urls("spec.url", url),
        names_of_secrets(at, secret),
        wholes(spec),
        actions(spec),
        callbacks(spec),
        labels(spec),
        protection(spec),
        shared_limits::rows(spec),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn wholes(spec: fn(Value) -> Value) -> Vec<Row> {
    let mut nameless = spec(json!({}));
    nameless["tokenSecretRef"].as_object_mut().unwrap().remove("name");
    vec![
        accepted("a Secret is enough", spec(json!({}))),
        accepted(
            "every guardrail may stand beside the others",
            spec(json!({
                "url": "https://qstash-us-east-1.upstash.io",
                "allowedActions": ["resume", "restart"],
                "allowedCallbackUrls": ["https://app.example.com"],
                "allowedLabels": ["payments"],
                "requireLoopProtection": true,
            })),
        ),
        accepted(
            "null for an optional field reads as absent",
            spec(json!({
                "url": null,
                "allowedActions": null,
                "allowedCallbackUrls": null,
                "allowedLabels": null,
                "requireLoopProtection": null,
            })),
        ),
        Row::new(
            "a connection without a spec is none",
            json!({}),
            Verdict::Rejected { field: "spec", message: "Required value" },
        ),
        rejected(
            "a connection has a token of its own",
            json!({ "url": "https://qstash.upstash.io" }),
            "spec.tokenSecretRef",
            "Required value",
        ),
        rejected("a Secret has a name", nameless, "spec.tokenSecretRef.name", "Required value"),
        rejected(
            "strict validation refuses a misspelt guardrail, which would guard nothing",
            spec(json!({ "allowedAction": ["resume"] })),
            r#"unknown field "spec.allowedAction""#,
            "strict decoding error",
        ),
    ]
}

fn actions(spec: fn(Value) -> Value) -> Vec<Row> {
    let actions = |actions: Value| spec(json!({ "allowedActions": actions }));
    let at = "spec.allowedActions";
    vec![
        accepted("one action may be allowed", actions(json!(["resume"]))),
        accepted("every action may be allowed", actions(json!(["resume", "restart", "delete"]))),
        rejected("a list of no actions would allow none", actions(json!([])), at, "at least 1 items"),
        rejected(
            "there are three actions",
            actions(json!(["resume", "restart", "delete", "resume"])),
            at,
            "must have at most 3 items",
        ),
        rejected(
            "an action is allowed once",
            actions(json!(["resume", "resume"])),
            "spec.allowedActions[1]",
            "Duplicate value",
        ),
        rejected(
            "an allowed action is a known one",
            actions(json!(["resume", "retry"])),
            "spec.allowedActions[1]",
            r#"supported values: "resume", "restart", "delete""#,
        ),
    ]
}

fn callbacks(spec: fn(Value) -> Value) -> Vec<Row> {
    let callbacks = |urls: Value| spec(json!({ "allowedCallbackUrls": urls }));
    let one = |url: &str| callbacks(json!([url]));
    let long = |length: usize| format!("https://{}.example.com", text(length - 20));
    let numbered = |count: usize| -> Vec<String> {
        texts(count).iter().map(|text| format!("https://{text}.example.com")).collect()
    };
    let (list, at) = ("spec.allowedCallbackUrls", "spec.allowedCallbackUrls[0]");
    vec![
        accepted(
            "a callback's URL may have a port and a slash at its end",
            one("http://app.example.com:8080/"),
        ),
        accepted("a star stands for a part of a host", one("https://app-*.example.com")),
        accepted("a star stands for a label of a host", one("https://*.example.com")),
        accepted("a callback's URL may have 2,048 characters", one(&long(2048))),
        rejected(
            "a callback's URL has at most 2,048 characters",
            one(&long(2049)),
            at,
            "may not be more than 2048",
        ),
        rejected("a callback's URL is not empty", one(""), at, "at least 1 chars long"),
        rejected("a callback's URL has a scheme", one("app.example.com"), at, A_URL),
        rejected("a star is no scheme", one("*://app.example.com"), at, A_URL),
        rejected("a star is no port", one("https://app.example.com:*"), at, A_URL),
        rejected("a callback's URL has a host", one("https://:443"), at, A_URL),
        rejected(
            "a path would look as if it were compared",
            one("https://app.example.com/failed"),
            at,
            "scheme, host and port only",
        ),
        rejected("a callback's URL has no user", one("https://a@app.example.com"), at, A_BASE),
        rejected("a callback's URL has no query", one("https://app.example.com?a=b"), at, A_BASE),
        rejected("a callback's URL has no fragment", one("https://app.example.com#a"), at, A_BASE),
        rejected("a list of no URLs would allow no callback", callbacks(json!([])), list, "at least 1 items"),
        accepted("there may be 50 URLs of callbacks", callbacks(json!(numbered(50)))),
        rejected(
            "there are at most 50 URLs of callbacks",
            callbacks(json!(numbered(51))),
            list,
            "must have at most 50 items",
        ),
        rejected(
            "a callback's URL is said once",
            callbacks(json!(["https://a.example.com", "https://a.example.com"])),
            "spec.allowedCallbackUrls[1]",
            "Duplicate value",
        ),
    ]
}

fn labels(spec: fn(Value) -> Value) -> Vec<Row> {
    let labels = |labels: Value| spec(json!({ "allowedLabels": labels }));
    let (list, at) = ("spec.allowedLabels", "spec.allowedLabels[0]");
    vec![
        accepted("an allowed label may have 256 characters", labels(json!([text(256)]))),
        rejected(
            "an allowed label has at most 256 characters",
            labels(json!([text(257)])),
            at,
            "may not be more than 256",
        ),
        rejected("an allowed label is not empty", labels(json!([""])), at, "at least 1 chars long"),
        rejected(
            "an allowed label is one that a policy can select by",
            labels(json!(["payments,orders"])),
            at,
            "the value must hold no comma",
        ),
        rejected("a list of no labels would allow no policy", labels(json!([])), list, "at least 1 items"),
        accepted("one label may be allowed", labels(json!(["payments"]))),
        accepted("50 labels may be allowed", labels(json!(texts(50)))),
        rejected(
            "at most 50 labels are allowed",
            labels(json!(texts(51))),
            list,
            "must have at most 50 items",
        ),
        rejected(
            "a label is allowed once",
            labels(json!(["a", "b", "a"])),
            "spec.allowedLabels[2]",
            "Duplicate value",
        ),
    ]
}

fn protection(spec: fn(Value) -> Value) -> Vec<Row> {
    vec![
        accepted(
            "loop protection may be left to the policies",
            spec(json!({ "requireLoopProtection": false })),
        ),
        rejected(
            "requireLoopProtection is a boolean, not a word",
            spec(json!({ "requireLoopProtection": "yes" })),
            "spec.requireLoopProtection",
            r#"must be of type boolean: "string""#,
        ),
    ]
}

fn places_of_own() -> Vec<Row> {
    let at_home = "strict decoding error";
    vec![
        rejected(
            "a connection reads no Secret of another namespace",
            own(json!({ "tokenSecretRef": { "namespace": "platform", "name": "upstash" } })),
            r#"unknown field "spec.tokenSecretRef.namespace""#,
            at_home,
        ),
        rejected(
            "a connection serves its own namespace alone",
            own(json!({ "namespaceSelector": { "matchLabels": { "team": "payments" } } })),
            r#"unknown field "spec.namespaceSelector""#,
            at_home,
        ),
    ]
}

fn places_of_shared() -> Vec<Row> {
    let secret =
        |namespace: Value| shared(json!({ "tokenSecretRef": { "namespace": namespace, "name": "upstash" } }));
    let at = "spec.tokenSecretRef.namespace";
    let a_name = "the value must be the name of a namespace: lower-case letters, digits and - only";
    vec![
        rejected(
            "a connection of the cluster says where its Secret is",
            shared(json!({ "tokenSecretRef": { "name": "upstash" } })),
            at,
            "Required value",
        ),
        accepted("a namespace's name may have 63 characters", secret(json!(text(63)))),
        rejected(
            "a namespace's name has at most 63 characters",
            secret(json!(text(64))),
            at,
            "may not be more than 63",
        ),
        rejected("a namespace's name is not empty", secret(json!("")), at, "at least 1 chars long"),
        rejected("a namespace's name has no dots", secret(json!("platform.dlq")), at, a_name),
        rejected("a namespace's name is no path", secret(json!("../platform")), at, a_name),
    ]
}

fn selector(selector: Value) -> Value {
    shared(json!({ "namespaceSelector": selector }))
}

fn selectors() -> Vec<Row> {
    let labels = |count: usize| -> Value {
        let labels = texts(count).into_iter().map(|name| (name, json!("x")));
        json!({ "matchLabels": labels.collect::<Map<_, _>>() })
    };
    let at = "spec.namespaceSelector";
    let empty = "the selector must hold matchLabels or matchExpressions, as an empty one would open the account to every namespace";
    vec![
        accepted(
            "namespaces are selected by their labels",
            selector(json!({ "matchLabels": { "upstash": "allowed" } })),
        ),
        accepted("a null selector opens the account to none", selector(json!(null))),
        rejected("an empty selector would open the account to all", selector(json!({})), at, empty),
        rejected("no labels select nothing", selector(json!({ "matchLabels": {} })), at, empty),
        rejected("no conditions select nothing", selector(json!({ "matchExpressions": [] })), at, empty),
        rejected(
            "neither of both selects anything",
            selector(json!({ "matchLabels": {}, "matchExpressions": [] })),
            at,
            empty,
        ),
        accepted("a selector may have 64 labels", selector(labels(64))),
        rejected(
            "a selector has at most 64 labels",
            selector(labels(65)),
            "spec.namespaceSelector.matchLabels",
            "must have at most 64 items",
        ),
        accepted(
            "the value of a namespace's label may have 63 characters",
            selector(json!({ "matchLabels": { "team": text(63) } })),
        ),
        rejected(
            "the value of a namespace's label has at most 63 characters",
            selector(json!({ "matchLabels": { "team": text(64) } })),
            "spec.namespaceSelector.matchLabels.team",
            "may not be more than 63",
        ),
        rejected(
            "strict validation refuses a misspelt selector",
            selector(json!({ "matchLabel": { "team": "payments" } })),
            r#"unknown field "spec.namespaceSelector.matchLabel""#,
            "strict decoding error",
        ),
    ]
}

fn conditions() -> Vec<Row> {
    let conditions = |conditions: Value| selector(json!({ "matchExpressions": conditions }));
    let one = |condition: Value| conditions(json!([condition]));
    let within = |values: Value| one(json!({ "key": "team", "operator": "In", "values": values }));
    let exists = |key: String| json!({ "key": key, "operator": "Exists" });
    let (list, at) =
        ("spec.namespaceSelector.matchExpressions", "spec.namespaceSelector.matchExpressions[0]");
    let fields = [
        "spec.namespaceSelector.matchExpressions[0].key",
        "spec.namespaceSelector.matchExpressions[0].operator",
        "spec.namespaceSelector.matchExpressions[0].values",
        "spec.namespaceSelector.matchExpressions[0].values[0]",
    ];
    let [key, operator, values, value] = fields;
    let paired = "values must be given with In and NotIn, and with no other operator";
    vec![
        accepted("a label may have one of some values", within(json!(["payments", "orders"]))),
        accepted("a label may be asked for", one(exists("team".to_owned()))),
        accepted(
            "a label may be ruled out",
            one(json!({ "key": "team", "operator": "DoesNotExist", "values": [] })),
        ),
        rejected("In needs values", one(json!({ "key": "team", "operator": "In" })), at, paired),
        rejected(
            "NotIn needs values",
            one(json!({ "key": "team", "operator": "NotIn", "values": [] })),
            at,
            paired,
        ),
        rejected(
            "Exists takes no values",
            one(json!({ "key": "team", "operator": "Exists", "values": ["payments"] })),
            at,
            paired,
        ),
        rejected("a condition is of a label", one(json!({ "operator": "Exists" })), key, "Required value"),
        rejected("a condition has an operator", one(json!({ "key": "team" })), operator, "Required value"),
        rejected(
            "an operator is a known one",
            one(json!({ "key": "team", "operator": "Equals", "values": ["payments"] })),
            operator,
            r#"supported values: "In", "NotIn", "Exists", "DoesNotExist""#,
        ),
        accepted("a label's name may have 317 characters", one(exists(text(317)))),
        rejected(
            "a label's name has at most 317 characters",
            one(exists(text(318))),
            key,
            "may not be more than 317",
        ),
        rejected("a label's name is not empty", one(exists(String::new())), key, "at least 1 chars long"),
        accepted("a label may have one of 64 values", within(json!(texts(64)))),
        rejected(
            "a label has one of at most 64 values",
            within(json!(texts(65))),
            values,
            "must have at most 64 items",
        ),
        accepted("a value may have 63 characters", within(json!([text(63)]))),
        rejected(
            "a value has at most 63 characters",
            within(json!([text(64)])),
            value,
            "may not be more than 63",
        ),
        accepted(
            "there may be 64 conditions",
            conditions(texts(64).into_iter().map(exists).collect::<Vec<_>>().into()),
        ),
        rejected(
            "there are at most 64 conditions",
            conditions(texts(65).into_iter().map(exists).collect::<Vec<_>>().into()),
            list,
            "must have at most 64 items",
        ),
    ]
}
