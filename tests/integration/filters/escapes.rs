//! Values that mean something else in a URL unless they are escaped. Beside the entry that has the value, each DLQ
//! holds those that would be taken if it were sent as it is, cut, split, or encoded or decoded twice.

use serde_json::{Value, json};
use testbed::Entry;

use super::{Row, entry, row, run};
use crate::scene::Scene;

/// A value, and what it must not be taken for.
type Escape = (&'static str, &'static [&'static str]);

/// For labels and flow-control keys.
const TEXTS: &[Escape] = &[
    ("a&b", &["a", "b", "a%26b"]),
    ("a&label=b&flowControlKey=b", &["a", "b"]),
    ("a=b", &["a", "b", "a%3Db"]),
    ("a+b", &["a b", "a", "a%2Bb"]),
    ("a b", &["a+b", "a", "a%20b"]),
    ("a  b", &["a b", "a++b"]),
    ("100%", &["100", "100%25"]),
    ("%61", &["a", "%2561"]),
    ("a%2Cb", &["a", "b", "a,b"]),
    ("a#b", &["a", "a%23b"]),
    ("a?b", &["a", "b"]),
    ("a/b", &["a", "b", "a%2Fb"]),
    ("a;b", &["a", "b"]),
    ("a\\b", &["a/b", "ab"]),
    ("\"quoted\"", &["quoted", "\\\"quoted\\\""]),
    ("it's", &["it", "its", "it''s"]),
    ("{a: [b]}", &["a", "b"]),
    ("größe", &["gr", "grosse", "gr%C3%B6%C3%9Fe", "grÃ¶Ã\u{9f}e", "gro\u{308}ße"]),
    ("日本", &["日", "%E6%97%A5%E6%9C%AC", "??"]),
    ("los 🚀", &["los", "los \u{fffd}", "los+🚀"]),
];

const URLS: &[Escape] = &[
    (
        "https://app.example.com/api?a=b&c=d",
        &["https://app.example.com/api?a=b", "https://app.example.com/api"],
    ),
    (
        "https://app.example.com/api?q=a+b",
        &["https://app.example.com/api?q=a b", "https://app.example.com/api?q=a%20b"],
    ),
    (
        "https://app.example.com/api?q=a%2Bb",
        &["https://app.example.com/api?q=a+b", "https://app.example.com/api?q=a b"],
    ),
    (
        "https://app.example.com/api?q=100%25",
        &["https://app.example.com/api?q=100%", "https://app.example.com/api?q=100"],
    ),
    (
        "https://app.example.com/api#top",
        &["https://app.example.com/api", "https://app.example.com/api%23top"],
    ),
    ("https://app.example.com/a/../b", &["https://app.example.com/b", "https://app.example.com/a/"]),
    ("https://app.example.com", &["https://app.example.com/", "https://APP.example.com"]),
    (
        "https://app.example.com/it's?q=\"a\"",
        &["https://app.example.com/it's?q=%22a%22", "https://app.example.com/it"],
    ),
    (
        "https://app.example.com/größe?q=日本",
        &["https://app.example.com/gr%C3%B6%C3%9Fe?q=%E6%97%A5%E6%9C%AC", "https://app.example.com/gr"],
    ),
    ("http://[2001:db8::1]:8443/a", &["http://[2001:db8:0:0:0:0:0:1]:8443/a", "http://2001:db8::1:8443/a"]),
];

const RUN_IDS: &[Escape] = &[
    ("order+17", &["order 17", "order", "order%2B17"]),
    ("order=17", &["order", "order%3D17"]),
    ("order&17", &["order", "order-1"]),
    ("order&label=x", &["order", "x"]),
    ("order%2B17", &["order+17", "order"]),
    ("order#17/1?a", &["order", "order#17", "order#17/1"]),
];

/// A row for each value: its entry leaves, and the others stay.
fn one_by_one(
    escapes: &[Escape],
    parameter: &str,
    filters: impl Fn(&str) -> Value,
    with: impl Fn(Entry, &str) -> Entry,
) -> Vec<Row> {
    escapes
        .iter()
        .map(|(value, others)| {
            let its = with(entry("its"), value);
            let entries = others.iter().map(|other| with(entry(&format!("not:{other}")), other));
            let name = format!("{parameter} {value} is itself and nothing else");
            row(&name, filters(value), &["its"], &[(parameter, value)])
                .among([its].into_iter().chain(entries).collect())
        })
        .collect()
}

fn labels() -> Vec<Row> {
    one_by_one(
        TEXTS,
        "label",
        |label| json!({ "labels": [label] }),
        |entry, label| Entry { labels: vec![label.to_owned()], ..entry },
    )
}

fn flow_control_keys() -> Vec<Row> {
    one_by_one(
        TEXTS,
        "flowControlKey",
        |key| json!({ "flowControlKeys": [key] }),
        |entry, key| Entry { flow_control_key: Some(key.to_owned()), ..entry },
    )
}

fn workflow_urls() -> Vec<Row> {
    one_by_one(
        URLS,
        "workflowUrl",
        |url| json!({ "workflowUrls": [url] }),
        |entry, url| Entry { workflow_url: Some(url.to_owned()), ..entry },
    )
}

fn workflow_run_ids() -> Vec<Row> {
    one_by_one(
        RUN_IDS,
        "workflowRunId",
        |id| json!({ "workflowRunId": id }),
        |entry, id| Entry { workflow_run_id: Some(id.to_owned()), ..entry },
    )
}

fn texts() -> Vec<Row> {
    [labels(), flow_control_keys()].into_iter().flatten().collect()
}

fn urls_and_ids() -> Vec<Row> {
    let mut rows: Vec<_> = [workflow_urls(), workflow_run_ids()].into_iter().flatten().collect();
    let ids = ["a+b", "a=b", "a@b", "a:b", "a~b", "a.b", "1763600000001-0_aZ", "...", "a..b"];
    let entries =
        || ids.iter().chain(&["a", "b", "a b", "a%2Bb", ".."]).map(|id| entry(id)).collect::<Vec<_>>();
    let sent = ids.map(|id| ("dlqIds", id));
    for action in ["resume", "restart", "delete"] {
        let name = format!("a {action} of IDs");
        rows.push(row(&name, json!({ "dlqIds": ids }), &ids, &sent).among(entries()).by(action));
    }
    for id in ids {
        let name = format!("a resume of {id} alone");
        rows.push(row(&name, json!({ "dlqIds": [id] }), &[id], &[]).among(entries()).by("resume"));
    }
    rows
}

pub(super) fn rows() -> Vec<Row> {
    [texts(), urls_and_ids()].into_iter().flatten().collect()
}

#[tokio::test]
async fn a_label_or_flow_control_key_is_itself_whatever_it_holds() {
    let scene = Scene::start("texts").await;
    run(&scene, &texts()).await;
}

#[tokio::test]
async fn a_url_or_id_is_itself_whatever_it_holds() {
    let scene = Scene::start("urls").await;
    run(&scene, &urls_and_ids()).await;
}

#[tokio::test]
async fn queries_and_paths_are_encoded_byte_for_byte_as_in_forms() {
    let scene = Scene::start("bytes").await;
    let label = Entry { labels: vec!["größe & + 100%".to_owned()], ..entry("label") };
    let id = "a+b=c@d:e~f_g-h.i";
    let rows = [
        row(
            "a label in a window",
            json!({ "labels": ["größe & + 100%"], "fromDate": "2023-11-14T22:13:20.123Z", "toDate": "2023-11-15T00:00:00Z" }),
            &["label"],
            &[("fromDate", "1700000000123"), ("label", "größe & + 100%"), ("toDate", "1700006400000")],
        )
        .among(vec![label, entry("other")]),
        row("two IDs", json!({ "dlqIds": [id, "b"] }), &[id, "b"], &[("dlqIds", id), ("dlqIds", "b")])
            .among(vec![entry(id), entry("b")]),
        row("an ID alone", json!({ "dlqIds": [id] }), &[id], &[]).among(vec![entry(id), entry("b")]).by("resume"),
    ];
    let outcomes = run(&scene, &rows).await;
    let calls: Vec<_> = outcomes
        .iter()
        .map(|outcome| (outcome.ledger.calls[0].path.as_str(), outcome.ledger.calls[0].query.as_str()))
        .collect();
    assert_eq!(
        calls,
        [
            (
                "/v2/workflows/dlq",
                "count=50&fromDate=1700000000123&toDate=1700006400000&label=gr%C3%B6%C3%9Fe+%26+%2B+100%25"
            ),
            ("/v2/workflows/dlq", "dlqIds=a%2Bb%3Dc%40d%3Ae%7Ef_g-h.i&dlqIds=b"),
            ("/v2/workflows/dlq/resume/a%2Bb%3Dc%40d%3Ae~f_g-h%2Ei", ""),
        ]
    );
}
