//! Which account.

use serde_json::{Value, json};

use super::{Row, accepted, rejected, spec, text};

const A_URL: &str = "the value must be an http:// or https:// URL";
const A_BASE: &str = "a base URL must have no user, query or fragment";
const TOKEN: &str =
    "tokenSecretRef must be set, as the operator's own token never goes to a URL that a policy chose";

pub(super) fn rows() -> Vec<Row> {
    [urls(), secrets()].into_iter().flatten().collect()
}

fn connection(connection: Value) -> Value {
    spec(json!({ "connection": connection }))
}

fn urls() -> Vec<Row> {
    let url = |url: &str| {
        connection(json!({ "url": url, "tokenSecretRef": { "name": "upstash", "key": "token" } }))
    };
    let long = |length: usize| format!("https://app.example.com/{}", text(length - 24));
    let at = "spec.connection.url";
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

fn secrets() -> Vec<Row> {
    let secret =
        |name: &str, key: &str| connection(json!({ "tokenSecretRef": { "name": name, "key": key } }));
    let name = "spec.connection.tokenSecretRef.name";
    let key = "spec.connection.tokenSecretRef.key";
    vec![
        accepted("a connection may have the default URL", secret("upstash", "token")),
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
            name,
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
        rejected(
            "a Secret's name is in lower case",
            secret("Upstash", "token"),
            name,
            "the value must be the name of a Secret: lower-case letters, digits, - and . only",
        ),
        rejected(
            "a Secret's name is not a path to another namespace",
            secret("other/upstash", "token"),
            name,
            "the value must be the name of a Secret: lower-case letters, digits, - and . only",
        ),
        rejected(
            "a Secret's name does not end with a dash",
            secret("upstash-", "token"),
            name,
            "the value must be the name of a Secret: lower-case letters, digits, - and . only",
        ),
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
        rejected(
            "a Secret's key is not a path",
            secret("upstash", "a/b"),
            key,
            "the value must be a key of a Secret: letters, digits, -, _ and . only",
        ),
    ]
}
