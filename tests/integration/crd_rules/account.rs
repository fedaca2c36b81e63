//! Which account.

use serde_json::{Value, json};

use super::{Row, accepted, rejected, spec, text};

pub(super) const A_URL: &str = "the value must be an http:// or https:// URL";
pub(super) const A_BASE: &str = "a base URL must have no user, query or fragment";
const TOKEN: &str =
    "tokenSecretRef or name must be set, as the operator's own token never goes to a URL that a policy chose";
const OF_A_SECRET: &str = "the value must be the name of a Secret: lower-case letters, digits, - and . only";
const OF_A_CONNECTION: &str =
    "the value must be the name of a connection: lower-case letters, digits, - and . only";

pub(super) fn rows() -> Vec<Row> {
    let url = |url: &str| {
        connection(json!({ "url": url, "tokenSecretRef": { "name": "upstash", "key": "token" } }))
    };
    let secret =
        |name: &str, key: &str| connection(json!({ "tokenSecretRef": { "name": name, "key": key } }));
    let at = ["spec.connection.tokenSecretRef.name", "spec.connection.tokenSecretRef.key"];
    [urls("spec.connection.url", url), names_of_secrets(at, secret), secrets(), shared()]
        .into_iter()
        .flatten()
        .collect()
}

fn connection(connection: Value) -> Value {
    spec(json!({ "connection": connection }))
}

/// Of a connection's URL at this path, wherever that is.
pub(super) fn urls(at: &'static str, url: impl Fn(&str) -> Value) -> Vec<Row> {
    let long = |length: usize| format!("https://app.example.com/{}", text(length - 24));
    vec![
        accepted("a connection may have another URL", url("https://qstash-us-east-1.upstash.io")),
        accepted(
            "a connection may have plain http, where the operator allows it",
            url("http://127.0.0.1:8080/"),
        ),
        accepted("a connection's URL may have 2,048 characters", url(&long(2048))),
        rejected(
            "a connection's URL has at most 2,048 characters",
            url(&long(2049)),
            at,
            "may not be more than 2048",
        ),
        rejected("a connection's URL is not empty", url(""), at, "at least 1 chars long"),
        rejected("a connection's URL has a scheme", url("qstash.upstash.io"), at, A_URL),
        rejected(
            "a connection's URL has its scheme in lower case",
            url("HTTPS://qstash.upstash.io"),
            at,
            A_URL,
        ),
        rejected("a connection's URL has a host", url("https:///"), at, A_URL),
        rejected("a connection's URL holds no space", url("https://qstash.upstash.io/ "), at, A_URL),
        rejected("a connection's URL has no user", url("https://qstash.upstash.io@evil.example"), at, A_BASE),
        rejected(
            "a connection's URL has no password",
            url("https://user:secret@qstash.upstash.io"),
            at,
            A_BASE,
        ),
        rejected(
            "a connection's URL has no query",
            url("https://qstash.upstash.io?qstash_token=x"),
            at,
            A_BASE,
        ),
        rejected("a connection's URL has no fragment", url("https://qstash.upstash.io#x"), at, A_BASE),
    ]
}

/// Of the name and the key of a Secret at these paths.
pub(super) fn names_of_secrets(
    [name, key]: [&'static str; 2],
    secret: impl Fn(&str, &str) -> Value,
) -> Vec<Row> {
    let a_key = "the value must be a key of a Secret: letters, digits, -, _ and . only";
    vec![
        accepted("a connection may have the default URL", secret("upstash", "token")),
        accepted(
            "a Secret's name may have dots and 253 characters",
            secret(&format!("a.{}", text(251)), "token"),
        ),
        rejected(
            "a Secret's name has at most 253 characters",
            secret(&text(254), "token"),
            name,
            "may not be more than 253",
        ),
        rejected("a Secret's name is not empty", secret("", "token"), name, "at least 1 chars long"),
        rejected("a Secret's name is in lower case", secret("Upstash", "token"), name, OF_A_SECRET),
        rejected(
            "a Secret's name is not a path to another namespace",
            secret("other/upstash", "token"),
            name,
            OF_A_SECRET,
        ),
        rejected("a Secret's name does not end with a dash", secret("upstash-", "token"), name, OF_A_SECRET),
        accepted(
            "a Secret's key may have dots, dashes and upper case",
            secret("upstash", "QSTASH_TOKEN.eu-1"),
        ),
        accepted("a Secret's key may have 253 characters", secret("upstash", &text(253))),
        rejected(
            "a Secret's key has at most 253 characters",
            secret("upstash", &text(254)),
            key,
            "may not be more than 253",
        ),
        rejected("a Secret's key is not empty", secret("upstash", ""), key, "at least 1 chars long"),
        rejected("a Secret's key is not a path", secret("upstash", "a/b"), key, a_key),
    ]
}

fn secrets() -> Vec<Row> {
    vec![
        rejected(
            "the operator's token goes to no URL that a policy chose",
            connection(json!({ "url": "https://qstash.upstash.io" })),
            "spec.connection.tokenSecretRef",
            TOKEN,
        ),
        rejected(
            "an empty connection says nothing",
            connection(json!({})),
            "spec.connection.tokenSecretRef",
            TOKEN,
        ),
        rejected(
            "a null Secret is none",
            connection(json!({ "url": "https://qstash.upstash.io", "tokenSecretRef": null })),
            "spec.connection.tokenSecretRef",
            TOKEN,
        ),
        rejected(
            "a Secret has a name",
            connection(json!({ "tokenSecretRef": { "key": "token" } })),
            "spec.connection.tokenSecretRef.name",
            "Required value",
        ),
        accepted(
            "a Secret's key that is not named",
            connection(json!({ "tokenSecretRef": { "name": "upstash" } })),
        ),
        rejected(
            "a Secret is in the policy's own namespace",
            connection(
                json!({ "tokenSecretRef": { "name": "upstash", "key": "token", "namespace": "other" } }),
            ),
            r#"unknown field "spec.connection.tokenSecretRef.namespace""#,
            "strict decoding error",
        ),
    ]
}

fn shared() -> Vec<Row> {
    let named = |name: &str| connection(json!({ "name": name }));
    let (name, kind) = ("spec.connection.name", "spec.connection.kind");
    let alone = "name must not be set with url or tokenSecretRef, as the connection of that name has its own; remove name";
    vec![
        accepted("a policy may name a connection of its namespace", named("production")),
        accepted(
            "a policy may say that the connection is of its namespace",
            connection(json!({ "kind": "DlqConnection", "name": "production" })),
        ),
        accepted(
            "a policy may name a connection of the cluster",
            connection(json!({ "kind": "ClusterDlqConnection", "name": "production" })),
        ),
        rejected(
            "kinds of connections are written as Kubernetes writes them",
            connection(json!({ "kind": "clusterdlqconnection", "name": "production" })),
            kind,
            r#"supported values: "DlqConnection", "ClusterDlqConnection""#,
        ),
        rejected(
            "a kind alone names no connection",
            connection(json!({ "kind": "DlqConnection", "tokenSecretRef": { "name": "upstash" } })),
            kind,
            "kind must come with name; add the name of a connection, or remove kind",
        ),
        rejected(
            "a policy does not send a shared token to a URL of its own",
            connection(json!({ "name": "production", "url": "https://qstash.upstash.io" })),
            name,
            alone,
        ),
        rejected(
            "a policy does not have two tokens",
            connection(json!({ "name": "production", "tokenSecretRef": { "name": "upstash" } })),
            name,
            alone,
        ),
        rejected(
            "a null name is none",
            connection(json!({ "name": null, "url": "https://qstash.upstash.io" })),
            "spec.connection.tokenSecretRef",
            TOKEN,
        ),
        accepted("a connection's name may have dots and 253 characters", named(&format!("a.{}", text(251)))),
        rejected(
            "a connection's name has at most 253 characters",
            named(&text(254)),
            name,
            "may not be more than 253",
        ),
        rejected("a connection's name is not empty", named(""), name, "at least 1 chars long"),
        rejected("a connection's name is in lower case", named("Production"), name, OF_A_CONNECTION),
        rejected(
            "a connection's name is not a path to another namespace",
            named("other/production"),
            name,
            OF_A_CONNECTION,
        ),
        rejected(
            "a connection's name does not begin with a dot",
            named(".production"),
            name,
            OF_A_CONNECTION,
        ),
    ]
}
