//! Which entries: everything but times.

use serde_json::json;

use super::{Row, accepted, filters, rejected, text, texts};

const SOMETHING: &str = "filters must have at least one criterion, dlqIds, or all: true for the whole DLQ";
const NO_COMMA: &str = "hold no comma (the API would split it there)";
const AN_ID: &str = "an ID must hold only letters, digits and _ . : = ~ @ + -";
const A_URL: &str = "the value must be an http:// or https:// URL without spaces";
const A_RUN_ID: &str = "visible ASCII without spaces or commas";
const MORE_OF_THE_ID: &str = "give more of the ID, or say all: true";

pub(super) fn rows() -> Vec<Row> {
    [
        selection(),
        labels(),
        dlq_ids(),
        workflow_urls(),
        workflow_run_ids(),
        failure_function_states(),
        caller_ips(),
        flow_control_keys(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn selection() -> Vec<Row> {
    vec![
        accepted("the whole DLQ, said aloud", filters(json!({ "all": true }))),
        rejected("no filter is not the whole DLQ", filters(json!({})), "spec.filters", SOMETHING),
        rejected(
            "a null criterion is none",
            filters(json!({ "labels": null, "olderThan": null })),
            "spec.filters",
            SOMETHING,
        ),
        rejected(
            "all is never false",
            filters(json!({ "all": false })),
            "spec.filters.all",
            "all must be true or left out",
        ),
        rejected(
            "all: true beside a label is two intentions",
            filters(json!({ "all": true, "labels": ["payments"] })),
            "spec.filters.all",
            "all must stand alone; remove all, or every other filter",
        ),
        rejected(
            "all: true beside an age is two intentions",
            filters(json!({ "all": true, "olderThan": "1d" })),
            "spec.filters.all",
            "all must stand alone",
        ),
        rejected(
            "all: true beside IDs is two intentions",
            filters(json!({ "all": true, "dlqIds": ["dlq-1"] })),
            "spec.filters.all",
            "all must stand alone",
        ),
        rejected(
            "the API would ignore a label beside IDs",
            filters(json!({ "dlqIds": ["dlq-1"], "labels": ["payments"] })),
            "spec.filters.dlqIds",
            "dlqIds must stand alone, as the API ignores every other filter beside it; remove dlqIds, or every other filter",
        ),
        rejected(
            "the API would ignore a date beside IDs",
            filters(json!({ "dlqIds": ["dlq-1"], "fromDate": "2026-11-01T00:00:00Z" })),
            "spec.filters.dlqIds",
            "dlqIds must stand alone",
        ),
        rejected(
            "the API would ignore an age beside IDs",
            filters(json!({ "dlqIds": ["dlq-1"], "newerThan": "1d" })),
            "spec.filters.dlqIds",
            "dlqIds must stand alone",
        ),
        rejected(
            "all is a boolean, not a word",
            filters(json!({ "all": "yes" })),
            "spec.filters.all",
            r#"must be of type boolean: "string""#,
        ),
    ]
}

fn labels() -> Vec<Row> {
    let one = |label: &str| filters(json!({ "labels": [label] }));
    let at = "spec.filters.labels[0]";
    vec![
        accepted("a label may have 256 characters", one(&text(256))),
        rejected("a label has at most 256 characters", one(&text(257)), at, "may not be more than 256"),
        accepted("a label is measured in characters, not in bytes", one(&"ж".repeat(256))),
        accepted("a label may have one character", one("x")),
        rejected("a label is not empty", one(""), at, "at least 1 chars long"),
        accepted("a label may hold spaces and colons", one("team: payments")),
        accepted("a label may be written in any script", one("оплата-支払い")),
        rejected("a comma in a label would select more", one("a,b"), at, NO_COMMA),
        rejected("a label does not begin with a comma", one(",a"), at, NO_COMMA),
        rejected("a label does not end with a comma", one("a,"), at, NO_COMMA),
        rejected("a label does not begin with a space", one(" a"), at, "must not begin or end with a space"),
        rejected("a label does not end with a space", one("a "), at, "must not begin or end with a space"),
        rejected(
            "a label does not end with a no-break space",
            one("a\u{a0}"),
            at,
            "must not begin or end with a space",
        ),
        rejected("a label of one space is none", one(" "), at, "must not begin or end with a space"),
        rejected("a label holds no line break", one("a\nb"), at, "no control character"),
        rejected("a label does not end with a line break", one("a\n"), at, "no control character"),
        rejected("a label holds no tab", one("a\tb"), at, "no control character"),
        rejected("a label holds no NUL", one("a\u{0}b"), at, "no control character"),
        rejected("a label holds no C1 control character", one("a\u{85}b"), at, "no control character"),
        rejected(
            "the message counts to the label that is wrong",
            filters(json!({ "labels": ["a", "b", "c,d"] })),
            "spec.filters.labels[2]",
            NO_COMMA,
        ),
        rejected(
            "a list of no labels would select everything",
            filters(json!({ "labels": [] })),
            "spec.filters.labels",
            "at least 1 items",
        ),
        accepted("there may be 50 labels", filters(json!({ "labels": texts(50) }))),
        rejected(
            "there are at most 50 labels",
            filters(json!({ "labels": texts(51) })),
            "spec.filters.labels",
            "must have at most 50 items",
        ),
        rejected(
            "a label is said once",
            filters(json!({ "labels": ["a", "b", "a"] })),
            "spec.filters.labels[2]",
            "Duplicate value",
        ),
        rejected(
            "labels are a list",
            filters(json!({ "labels": "payments" })),
            "spec.filters.labels",
            r#"must be of type array: "string""#,
        ),
        rejected(
            "a label is a string",
            filters(json!({ "labels": [7] })),
            at,
            r#"must be of type string: "integer""#,
        ),
        rejected(
            "a label is not null",
            filters(json!({ "labels": [null] })),
            at,
            r#"must be of type string: "null""#,
        ),
    ]
}

fn dlq_ids() -> Vec<Row> {
    let one = |id: &str| filters(json!({ "dlqIds": [id] }));
    let at = "spec.filters.dlqIds[0]";
    vec![
        accepted("an ID may hold what Upstash puts into one", one("1763600000001-0_aZ.:=~@+")),
        accepted("an ID may hold two dots", one("a..b")),
        accepted("an ID may be three dots", one("...")),
        accepted("an ID may have 256 characters", one(&text(256))),
        rejected("an ID has at most 256 characters", one(&text(257)), at, "may not be more than 256"),
        rejected("an ID is not empty", one(""), at, "at least 1 chars long"),
        rejected("an ID of two dots would be the whole DLQ's URL", one(".."), at, AN_ID),
        rejected("an ID of one dot would be the whole DLQ's URL", one("."), at, AN_ID),
        rejected("an ID holds no slash", one("a/b"), at, AN_ID),
        rejected("an ID holds no backslash", one("a\\b"), at, AN_ID),
        rejected("an ID holds no percent sign", one("%2e%2e"), at, AN_ID),
        rejected("an ID holds no question mark", one("a?b"), at, AN_ID),
        rejected("an ID holds no number sign", one("a#b"), at, AN_ID),
        rejected("an ID holds no comma", one("a,b"), at, AN_ID),
        rejected("an ID holds no space", one("a b"), at, AN_ID),
        rejected("an ID does not end with a line break", one("a\n"), at, AN_ID),
        rejected("an ID holds no letter beyond ASCII", one("ä"), at, AN_ID),
        accepted("there may be 1,000 IDs", filters(json!({ "dlqIds": texts(1000) }))),
        rejected(
            "there are at most 1,000 IDs",
            filters(json!({ "dlqIds": texts(1001) })),
            "spec.filters.dlqIds",
            "must have at most 1000 items",
        ),
        rejected(
            "a list of no IDs would select everything",
            filters(json!({ "dlqIds": [] })),
            "spec.filters.dlqIds",
            "at least 1 items",
        ),
        rejected(
            "an ID is said once",
            filters(json!({ "dlqIds": ["dlq-1", "dlq-1"] })),
            "spec.filters.dlqIds[1]",
            "Duplicate value",
        ),
    ]
}

fn workflow_urls() -> Vec<Row> {
    let one = |url: &str| filters(json!({ "workflowUrls": [url] }));
    let at = "spec.filters.workflowUrls[0]";
    let long = |length: usize| format!("https://app.example.com/{}", text(length - 24));
    vec![
        accepted("a workflow's URL may be plain http", one("http://localhost:3000/api/pay")),
        accepted("a workflow's URL may have a query and a fragment", one("https://app.example.com/a?b=c#d")),
        accepted("a workflow's URL may have an IPv6 host", one("https://[2001:db8::1]:8443/a")),
        accepted("a workflow's URL may have 2,048 characters", one(&long(2048))),
        rejected(
            "a workflow's URL has at most 2,048 characters",
            one(&long(2049)),
            at,
            "may not be more than 2048",
        ),
        rejected("a workflow's URL is not empty", one(""), at, "at least 1 chars long"),
        rejected("a workflow's URL has a host", one("https:///api"), at, A_URL),
        rejected("a workflow's URL has a scheme", one("app.example.com/api"), at, A_URL),
        rejected("a workflow's URL is not FTP", one("ftp://app.example.com/api"), at, A_URL),
        rejected(
            "a workflow's URL has its scheme in lower case, as Upstash stores it",
            one("HTTPS://app.example.com/api"),
            at,
            A_URL,
        ),
        rejected("a workflow's URL holds no space", one("https://app.example.com/a b"), at, A_URL),
        rejected("a workflow's URL holds no line break", one("https://app.example.com/a\n"), at, A_URL),
        rejected(
            "a comma in a workflow's URL would select more",
            one("https://app.example.com/a,b"),
            at,
            "the URL must hold no comma, as the API would split it there",
        ),
        accepted(
            "there may be 50 workflow URLs",
            filters(
                json!({ "workflowUrls": texts(50).iter().map(|text| format!("https://{text}.example.com")).collect::<Vec<_>>() }),
            ),
        ),
        rejected(
            "there are at most 50 workflow URLs",
            filters(
                json!({ "workflowUrls": texts(51).iter().map(|text| format!("https://{text}.example.com")).collect::<Vec<_>>() }),
            ),
            "spec.filters.workflowUrls",
            "must have at most 50 items",
        ),
        rejected(
            "a list of no workflow URLs would select everything",
            filters(json!({ "workflowUrls": [] })),
            "spec.filters.workflowUrls",
            "at least 1 items",
        ),
        rejected(
            "a workflow's URL is said once",
            filters(json!({ "workflowUrls": ["https://a.example", "https://a.example"] })),
            "spec.filters.workflowUrls[1]",
            "Duplicate value",
        ),
    ]
}

fn workflow_run_ids() -> Vec<Row> {
    let one = |id: &str| filters(json!({ "workflowRunId": id }));
    let at = "spec.filters.workflowRunId";
    vec![
        accepted("a workflow run's ID", one("wfr_8fS2kQ")),
        accepted("the beginning of a workflow run's ID", one("wfr_8")),
        accepted("a workflow run's ID that the workflow's owner chose", one("order-17")),
        accepted("a workflow run's ID may have 256 characters", one(&text(256))),
        rejected(
            "a workflow run's ID is not empty: that would select everything",
            one(""),
            at,
            "at least 1 chars long",
        ),
        rejected(
            "a workflow run's ID has at most 256 characters",
            one(&text(257)),
            at,
            "may not be more than 256",
        ),
        rejected("wfr_ is how every workflow run's ID begins", one("wfr_"), at, MORE_OF_THE_ID),
        rejected("w is how every workflow run's ID begins", one("w"), at, MORE_OF_THE_ID),
        rejected("a workflow run's ID holds no comma", one("wfr_1,wfr_2"), at, A_RUN_ID),
        rejected("a workflow run's ID holds no space", one("wfr_1 2"), at, A_RUN_ID),
        rejected("a workflow run's ID is ASCII", one("wfr_ü"), at, A_RUN_ID),
        rejected("a workflow run's ID does not end with a line break", one("wfr_1\n"), at, A_RUN_ID),
    ]
}

fn failure_function_states() -> Vec<Row> {
    let at = "spec.filters.failureFunctionStates";
    vec![
        accepted(
            "every state of a failure function is known",
            filters(json!({ "failureFunctionStates":
                ["CALLBACK_INPROGRESS", "CALLBACK_SUCCESS", "CALLBACK_FAIL", "CALLBACK_CANCELED"] })),
        ),
        rejected(
            "an unknown state is answered with the known ones",
            filters(json!({ "failureFunctionStates": ["CALLBACK_FAILED"] })),
            "spec.filters.failureFunctionStates[0]",
            r#"supported values: "CALLBACK_INPROGRESS", "CALLBACK_SUCCESS", "CALLBACK_FAIL", "CALLBACK_CANCELED""#,
        ),
        rejected(
            "a list of no states would select everything",
            filters(json!({ "failureFunctionStates": [] })),
            at,
            "at least 1 items",
        ),
        rejected(
            "a fifth state repeats one",
            filters(json!({ "failureFunctionStates":
                ["CALLBACK_INPROGRESS", "CALLBACK_SUCCESS", "CALLBACK_FAIL", "CALLBACK_CANCELED", "CALLBACK_FAIL"] })),
            at,
            "must have at most 4 items",
        ),
        rejected(
            "a state is said once",
            filters(json!({ "failureFunctionStates": ["CALLBACK_FAIL", "CALLBACK_FAIL"] })),
            "spec.filters.failureFunctionStates[1]",
            "Duplicate value",
        ),
    ]
}

fn caller_ips() -> Vec<Row> {
    let one = |address: &str| filters(json!({ "callerIps": [address] }));
    let (at, first) = ("spec.filters.callerIps", "spec.filters.callerIps[0]");
    let addresses = |count: usize| (0..count).map(|host| format!("203.0.113.{host}")).collect::<Vec<_>>();
    vec![
        accepted(
            "callers may have IPv4 and IPv6 addresses",
            filters(json!({ "callerIps": ["203.0.113.7", "2001:db8::7"] })),
        ),
        rejected(
            "an address is not a host name",
            one("app.example.com"),
            first,
            "the value must be one IPv4 or IPv6 address",
        ),
        rejected(
            "an address is not a network",
            one("203.0.113.0/24"),
            first,
            "the value must be one IPv4 or IPv6 address",
        ),
        rejected(
            "an address has no leading zeros, which some read as octal",
            one("203.0.113.007"),
            first,
            "the value must be one IPv4 or IPv6 address",
        ),
        rejected(
            "two addresses are two items",
            one("203.0.113.7,203.0.113.8"),
            first,
            "the value must be one IPv4 or IPv6 address",
        ),
        rejected("an address is not empty", one(""), first, "at least 1 chars long"),
        rejected("an address has at most 45 characters", one(&text(46)), first, "may not be more than 45"),
        accepted("there may be 50 addresses", filters(json!({ "callerIps": addresses(50) }))),
        rejected(
            "there are at most 50 addresses",
            filters(json!({ "callerIps": addresses(51) })),
            at,
            "must have at most 50 items",
        ),
        rejected(
            "a list of no addresses would select everything",
            filters(json!({ "callerIps": [] })),
            at,
            "at least 1 items",
        ),
        rejected(
            "an address is said once",
            filters(json!({ "callerIps": ["203.0.113.7", "203.0.113.7"] })),
            "spec.filters.callerIps[1]",
            "Duplicate value",
        ),
    ]
}

fn flow_control_keys() -> Vec<Row> {
    let one = |key: &str| filters(json!({ "flowControlKeys": [key] }));
    let (at, first) = ("spec.filters.flowControlKeys", "spec.filters.flowControlKeys[0]");
    vec![
        accepted("a flow-control key may have 256 characters", one(&text(256))),
        rejected(
            "a flow-control key has at most 256 characters",
            one(&text(257)),
            first,
            "may not be more than 256",
        ),
        rejected("a flow-control key is not empty", one(""), first, "at least 1 chars long"),
        rejected("a comma in a flow-control key would select more", one("a,b"), first, NO_COMMA),
        accepted("there may be 50 flow-control keys", filters(json!({ "flowControlKeys": texts(50) }))),
        rejected(
            "there are at most 50 flow-control keys",
            filters(json!({ "flowControlKeys": texts(51) })),
            at,
            "must have at most 50 items",
        ),
        rejected(
            "a list of no flow-control keys would select everything",
            filters(json!({ "flowControlKeys": [] })),
            at,
            "at least 1 items",
        ),
        rejected(
            "a flow-control key is said once",
            filters(json!({ "flowControlKeys": ["a", "a"] })),
            "spec.filters.flowControlKeys[1]",
            "Duplicate value",
        ),
    ]
}
