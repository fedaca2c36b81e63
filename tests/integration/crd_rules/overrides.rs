//! What the new workflow runs get.

use serde_json::{Value, json};

use super::{Row, accepted, rejected, spec, text, texts};

const A_DELAY: &str = "the value must be one number and one of s, m, h, d, such as 10s";
const A_PERIOD: &str =
    "the period must be one number above 0 and one of s, m, h, d, such as 1m, and at most 7d";
const A_KEY: &str = "a flow-control key must hold only letters, digits, -, _ and .";
const A_LABEL: &str = "a label must hold only letters, digits, -, _ and .";
const AN_EXPRESSION: &str =
    "the value must be an expression in visible ASCII on one line, such as (1 + retried) * 1000";
const A_URL: &str = "the value must be an http:// or https:// URL in visible ASCII (percent-encode the rest)";

pub(super) fn rows() -> Vec<Row> {
    [presence(), numbers(), times(), labels(), callbacks(), flow_control()].into_iter().flatten().collect()
}

fn overrides(overrides: Value) -> Value {
    spec(json!({ "overrides": overrides }))
}

fn presence() -> Vec<Row> {
    vec![
        accepted(
            "a restart takes overrides",
            spec(json!({ "action": "restart", "overrides": { "retries": 1 } })),
        ),
        rejected(
            "a delete takes no overrides",
            spec(json!({ "action": "delete", "overrides": { "retries": 1 } })),
            "spec.overrides",
            "overrides must not be set with a delete; remove overrides, or use resume or restart",
        ),
        rejected(
            "empty overrides override nothing",
            overrides(json!({})),
            "spec.overrides",
            "overrides must have at least one field; add one, or remove overrides",
        ),
        rejected(
            "overrides of nulls override nothing",
            overrides(json!({ "retries": null, "delay": null })),
            "spec.overrides",
            "overrides must have at least one field; add one, or remove overrides",
        ),
        accepted(
            "a null override beside one that is given",
            overrides(
                json!({ "retries": 1, "delay": null, "retryDelay": null, "flowControl": null, "labels": null, "failureCallback": null }),
            ),
        ),
    ]
}

fn numbers() -> Vec<Row> {
    let retries = |retries: Value| overrides(json!({ "retries": retries }));
    let at = "spec.overrides.retries";
    vec![
        accepted("no retries", retries(json!(0))),
        accepted("the most retries", retries(json!(2_147_483_647))),
        rejected("retries are not negative", retries(json!(-1)), at, "greater than or equal to 0"),
        rejected(
            "retries fit into 32 bits",
            retries(json!(2_147_483_648_u64)),
            at,
            "less than or equal to 2147483647",
        ),
        rejected("retries are whole", retries(json!(1.5)), at, "must be of type int"),
        rejected("retries are a number", retries(json!("3")), at, r#"must be of type integer: "string""#),
    ]
}

fn times() -> Vec<Row> {
    let delay = |delay: &str| overrides(json!({ "delay": delay }));
    let expression = |expression: &str| overrides(json!({ "retryDelay": expression }));
    vec![
        accepted("a delay in seconds", delay("10s")),
        accepted("a delay in days", delay("7d")),
        accepted("a delay of nothing", delay("0s")),
        accepted("a delay of seven digits", delay("9999999s")),
        rejected(
            "a delay has at most 8 characters",
            delay("10000000s"),
            "spec.overrides.delay",
            "may not be more than 8",
        ),
        rejected(
            "a delay is one number: Upstash takes no 1h30m",
            delay("1h30m"),
            "spec.overrides.delay",
            A_DELAY,
        ),
        rejected("a delay has a unit", delay("10"), "spec.overrides.delay", A_DELAY),
        rejected("a delay has no milliseconds", delay("10ms"), "spec.overrides.delay", A_DELAY),
        rejected("a delay has no weeks", delay("1w"), "spec.overrides.delay", A_DELAY),
        rejected("a delay is not negative", delay("-1s"), "spec.overrides.delay", A_DELAY),
        rejected("a delay is not empty", delay(""), "spec.overrides.delay", A_DELAY),
        accepted("a retry delay of 256 characters", expression(&text(256))),
        rejected(
            "a retry delay has at most 256 characters",
            expression(&text(257)),
            "spec.overrides.retryDelay",
            "may not be more than 256",
        ),
        rejected(
            "a retry delay is not empty",
            expression(""),
            "spec.overrides.retryDelay",
            "at least 1 chars long",
        ),
        rejected(
            "a retry delay cannot smuggle a second header",
            expression("1\r\nUpstash-Forward-X: 1"),
            "spec.overrides.retryDelay",
            AN_EXPRESSION,
        ),
        rejected(
            "a retry delay is ASCII",
            expression("retried × 1000"),
            "spec.overrides.retryDelay",
            AN_EXPRESSION,
        ),
        rejected(
            "a retry delay does not begin with a space",
            expression(" 1000"),
            "spec.overrides.retryDelay",
            AN_EXPRESSION,
        ),
    ]
}

fn labels() -> Vec<Row> {
    let one = |label: &str| overrides(json!({ "labels": [label] }));
    let at = "spec.overrides.labels[0]";
    vec![
        accepted("a new label of every kind of character", one("By_hand-2.0")),
        rejected("Upstash takes no space in a label", one("by hand"), at, A_LABEL),
        rejected("Upstash takes no slash in a label", one("a/b"), at, A_LABEL),
        accepted("a new label may have one character", one("x")),
        accepted("a new label may have 256 characters", one(&text(256))),
        rejected("a new label has at most 256 characters", one(&text(257)), at, "may not be more than 256"),
        rejected("a new label is not empty", one(""), at, "at least 1 chars long"),
        rejected("a comma in a new label would make two", one("a,b"), at, A_LABEL),
        rejected("a new label is a comma only in error", one(","), at, A_LABEL),
        rejected("a new label does not end with a space", one("a "), at, A_LABEL),
        rejected("a new label cannot smuggle a second header", one("a\r\nX: y"), at, A_LABEL),
        rejected("a new label is ASCII, as headers are", one("größer"), at, A_LABEL),
        rejected(
            "a new label does not count attempts",
            one("dlq-attempt-1"),
            at,
            "a label must not begin with dlq-attempt-, as loopProtection counts with such labels",
        ),
        rejected(
            "a new label does not look like one that counts attempts",
            one("dlq-attempt-"),
            at,
            "must not begin with dlq-attempt-",
        ),
        accepted("a new label may be of attempts", one("dlq-attempts")),
        accepted("there may be 50 new labels", overrides(json!({ "labels": texts(50) }))),
        rejected(
            "there are at most 50 new labels",
            overrides(json!({ "labels": texts(51) })),
            "spec.overrides.labels",
            "must have at most 50 items",
        ),
        rejected(
            "a list of no new labels says nothing",
            overrides(json!({ "labels": [] })),
            "spec.overrides.labels",
            "at least 1 items",
        ),
        rejected(
            "a new label is said once",
            overrides(json!({ "labels": ["a", "a"] })),
            "spec.overrides.labels[1]",
            "Duplicate value",
        ),
    ]
}

fn callbacks() -> Vec<Row> {
    let callback = |url: &str| overrides(json!({ "failureCallback": url }));
    let long = |length: usize| format!("https://app.example.com/{}", text(length - 24));
    let at = "spec.overrides.failureCallback";
    vec![
        accepted("a callback may have a comma and a query", callback("https://app.example.com/a,b?c=d")),
        accepted("a callback may be plain http", callback("http://app.example.com")),
        accepted("a callback may have 2,048 characters", callback(&long(2048))),
        rejected(
            "a callback has at most 2,048 characters",
            callback(&long(2049)),
            at,
            "may not be more than 2048",
        ),
        rejected("a callback is not empty", callback(""), at, "at least 1 chars long"),
        rejected("a callback has a host", callback("https://"), at, A_URL),
        rejected("a callback is a URL of the web", callback("file:///etc/passwd"), at, A_URL),
        rejected("a callback holds no space", callback("https://app.example.com/a b"), at, A_URL),
        rejected(
            "a callback cannot smuggle a second header",
            callback("https://app.example.com/\r\nX: y"),
            at,
            A_URL,
        ),
        rejected("a callback is ASCII, as headers are", callback("https://app.example.com/ü"), at, A_URL),
    ]
}

fn flow_control() -> Vec<Row> {
    let flow = |flow: Value| overrides(json!({ "flowControl": flow }));
    let key = "spec.overrides.flowControl.key";
    let parallelism = "spec.overrides.flowControl.parallelism";
    let rate = "spec.overrides.flowControl.rate";
    let period = "spec.overrides.flowControl.period";
    vec![
        rejected(
            "empty flow control controls nothing",
            flow(json!({})),
            "spec.overrides.flowControl",
            "flowControl must have at least one of key, parallelism, rate and period",
        ),
        accepted("flow control by a new key alone", flow(json!({ "key": "payments" }))),
        accepted("flow control by parallelism, with the original key", flow(json!({ "parallelism": 1 }))),
        accepted("flow control by rate, with the original key", flow(json!({ "rate": 1 }))),
        accepted("flow control by period, with the original key", flow(json!({ "period": "1m" }))),
        accepted(
            "the most of everything in flow control",
            flow(json!({ "parallelism": 2_147_483_647, "rate": 2_147_483_647, "period": "7d" })),
        ),
        accepted("a new key of every kind of character", flow(json!({ "key": "By_hand-2.0" }))),
        rejected("a comma in a new key would be another part", flow(json!({ "key": "a,b" })), key, A_KEY),
        rejected("Upstash takes no space in a key", flow(json!({ "key": "by hand" })), key, A_KEY),
        accepted("a new key may have 256 characters", flow(json!({ "key": text(256) }))),
        rejected(
            "a new key has at most 256 characters",
            flow(json!({ "key": text(257) })),
            key,
            "may not be more than 256",
        ),
        rejected("a new key is not empty", flow(json!({ "key": "" })), key, "at least 1 chars long"),
        rejected("a new key is ASCII, as headers are", flow(json!({ "key": "schlüssel" })), key, A_KEY),
        rejected("a new key cannot smuggle a second header", flow(json!({ "key": "a\r\nX: y" })), key, A_KEY),
        rejected("a new key does not begin with a space", flow(json!({ "key": " a" })), key, A_KEY),
        rejected(
            "parallelism is at least one",
            flow(json!({ "parallelism": 0 })),
            parallelism,
            "greater than or equal to 1",
        ),
        rejected(
            "parallelism fits into 32 bits",
            flow(json!({ "parallelism": 2_147_483_648_u64 })),
            parallelism,
            "less than or equal to 2147483647",
        ),
        rejected("a rate is at least one", flow(json!({ "rate": 0 })), rate, "greater than or equal to 1"),
        rejected(
            "a rate fits into 32 bits",
            flow(json!({ "rate": 2_147_483_648_u64 })),
            rate,
            "less than or equal to 2147483647",
        ),
        accepted("a period of a week in hours", flow(json!({ "period": "168h" }))),
        accepted("a period of a week in minutes", flow(json!({ "period": "10080m" }))),
        accepted("a period of a week in seconds", flow(json!({ "period": "0604800s" }))),
        rejected("a period of more than a week", flow(json!({ "period": "8d" })), period, A_PERIOD),
        rejected("a period of an hour more than a week", flow(json!({ "period": "169h" })), period, A_PERIOD),
        rejected(
            "a period of a minute more than a week",
            flow(json!({ "period": "10081m" })),
            period,
            A_PERIOD,
        ),
        rejected(
            "a period of a second more than a week",
            flow(json!({ "period": "604801s" })),
            period,
            A_PERIOD,
        ),
        rejected("a period is longer than zero", flow(json!({ "period": "0s" })), period, A_PERIOD),
        rejected(
            "a period is one number: Upstash takes no 1m30s",
            flow(json!({ "period": "1m30s" })),
            period,
            A_PERIOD,
        ),
        rejected("a period has a unit", flow(json!({ "period": "60" })), period, A_PERIOD),
        rejected(
            "a period has at most 8 characters",
            flow(json!({ "period": "10000000s" })),
            period,
            "may not be more than 8",
        ),
    ]
}
