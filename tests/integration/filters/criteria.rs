//! Each criterion alone, and criteria together.

use serde_json::json;
use testbed::Entry;

use super::{FAILED, Row, entry, row, run};
use crate::scene::Scene;

const PAY: &str = "https://app.example.com/api/pay";
const REFUND: &str = "https://app.example.com/api/refund";

/// Entries that differ from each other in one thing each, named after it.
pub(super) fn entries() -> Vec<Entry> {
    let label = |id, labels: &[&str]| Entry {
        labels: labels.iter().map(|&label| label.to_owned()).collect(),
        ..entry(id)
    };
    let url = |id, url: &str| Entry { workflow_url: Some(url.to_owned()), ..entry(id) };
    let workflow_run = |id| Entry { workflow_run_id: Some(format!("wfr_{id}")), ..entry(id) };
    let created = |id, at| Entry { workflow_created_at: Some(at), ..entry(id) };
    let state = |id, state: &str| Entry { failure_function_state: Some(state.to_owned()), ..entry(id) };
    let caller = |id, ip: &str| Entry { caller_ip: Some(ip.to_owned()), ..entry(id) };
    let key = |id, key: &str| Entry { flow_control_key: Some(key.to_owned()), ..entry(id) };
    vec![
        label("payments", &["payments"]),
        label("payments-eu", &["eu", "payments"]),
        label("payments-2", &["payments-2"]),
        label("emails", &["emails"]),
        url("pay", PAY),
        url("pay-later", "https://app.example.com/api/pay/later"),
        url("refund", REFUND),
        workflow_run("8f"),
        workflow_run("8fa"),
        workflow_run("8g"),
        created("before-noon", 1_699_963_200_122),
        created("noon", 1_699_963_200_123),
        created("after-noon", 1_699_963_200_124),
        state("in-progress", "CALLBACK_INPROGRESS"),
        state("success", "CALLBACK_SUCCESS"),
        state("fail", "CALLBACK_FAIL"),
        state("canceled", "CALLBACK_CANCELED"),
        caller("ip-7", "203.0.113.7"),
        caller("ip-70", "203.0.113.70"),
        caller("ipv6-7", "2001:db8::7"),
        caller("ipv6-70", "2001:db8::70"),
        key("key-payments", "payments"),
        key("key-emails", "emails"),
    ]
}

fn labels_and_urls() -> Vec<Row> {
    vec![
        row(
            "a label selects every entry that has it among others, and none that begins so",
            json!({ "labels": ["payments"] }),
            &["payments", "payments-eu"],
            &[("label", "payments")],
        ),
        row(
            "labels select entries with any of them",
            json!({ "labels": ["emails", "eu"] }),
            &["emails", "payments-eu"],
            &[("label", "emails"), ("label", "eu")],
        ),
        row(
            "a label is compared letter for letter",
            json!({ "labels": ["Payments"] }),
            &[],
            &[("label", "Payments")],
        ),
        row(
            "a URL selects its own entries, not those of longer ones",
            json!({ "workflowUrls": [PAY] }),
            &["pay"],
            &[("workflowUrl", PAY)],
        ),
        row(
            "URLs select entries of any of them",
            json!({ "workflowUrls": [REFUND, PAY] }),
            &["pay", "refund"],
            &[("workflowUrl", PAY), ("workflowUrl", REFUND)],
        ),
    ]
}

fn workflow_runs() -> Vec<Row> {
    vec![
        row(
            "a workflow run's whole ID selects its entry",
            json!({ "workflowRunId": "wfr_8fa" }),
            &["8fa"],
            &[("workflowRunId", "wfr_8fa")],
        ),
        row(
            "the beginning of an ID selects all that begin so",
            json!({ "workflowRunId": "wfr_8f" }),
            &["8f", "8fa"],
            &[("workflowRunId", "wfr_8f")],
        ),
        row(
            "a creation time selects to the millisecond",
            json!({ "workflowCreatedAt": "2023-11-14T12:00:00.123Z" }),
            &["noon"],
            &[("workflowCreatedAt", "1699963200123")],
        ),
        row(
            "a creation time may be given in another zone",
            json!({ "workflowCreatedAt": "2023-11-14T13:00:00.124+01:00" }),
            &["after-noon"],
            &[("workflowCreatedAt", "1699963200124")],
        ),
        row(
            "a failure function's state selects the entries in it",
            json!({ "failureFunctionStates": ["CALLBACK_FAIL"] }),
            &["fail"],
            &[("failureFunctionState", "CALLBACK_FAIL")],
        ),
        row(
            "states select the entries in any of them",
            json!({ "failureFunctionStates": ["CALLBACK_INPROGRESS", "CALLBACK_SUCCESS", "CALLBACK_CANCELED"] }),
            &["in-progress", "success", "canceled"],
            &[
                ("failureFunctionState", "CALLBACK_CANCELED"),
                ("failureFunctionState", "CALLBACK_INPROGRESS"),
                ("failureFunctionState", "CALLBACK_SUCCESS"),
            ],
        ),
    ]
}

fn callers_and_keys() -> Vec<Row> {
    vec![
        row(
            "an IPv4 address selects its own entries, not those of longer ones",
            json!({ "callerIps": ["203.0.113.7"] }),
            &["ip-7"],
            &[("callerIp", "203.0.113.7")],
        ),
        row(
            "an IPv6 address selects its entries",
            json!({ "callerIps": ["2001:db8::7"] }),
            &["ipv6-7"],
            &[("callerIp", "2001:db8::7")],
        ),
        row(
            "addresses of both families select entries of any of them",
            json!({ "callerIps": ["2001:db8::70", "203.0.113.70"] }),
            &["ip-70", "ipv6-70"],
            &[("callerIp", "2001:db8::70"), ("callerIp", "203.0.113.70")],
        ),
        row(
            "a flow-control key selects its entries, not those with a label of that name",
            json!({ "flowControlKeys": ["payments"] }),
            &["key-payments"],
            &[("flowControlKey", "payments")],
        ),
        row(
            "flow-control keys select entries with any of them",
            json!({ "flowControlKeys": ["payments", "emails"] }),
            &["key-payments", "key-emails"],
            &[("flowControlKey", "emails"), ("flowControlKey", "payments")],
        ),
    ]
}

fn ids() -> Vec<Row> {
    let whole_dlq = entries();
    let all: Vec<_> = whole_dlq.iter().filter_map(|entry| entry.dlq_id.as_deref()).collect();
    vec![
        row(
            "IDs select their entries, and are sent alone",
            json!({ "dlqIds": ["emails", "8f"] }),
            &["emails", "8f"],
            &[("dlqIds", "8f"), ("dlqIds", "emails")],
        ),
        row("one ID of a resume is in the path", json!({ "dlqIds": ["8f"] }), &["8f"], &[]).by("resume"),
        row("one ID of a restart is in the query", json!({ "dlqIds": ["8f"] }), &["8f"], &[("dlqIds", "8f")])
            .by("restart"),
        row("one ID of a delete is in the query", json!({ "dlqIds": ["8f"] }), &["8f"], &[("dlqIds", "8f")]),
        row("all: true selects the whole DLQ", json!({ "all": true }), &all, &[]),
    ]
}

/// An entry that every criterion of [`combined`] selects.
fn wanted(id: &str) -> Entry {
    Entry {
        labels: vec!["eu".to_owned(), "payments".to_owned()],
        workflow_url: Some(PAY.to_owned()),
        workflow_run_id: Some(format!("wfr_8f-{id}")),
        failure_function_state: Some("CALLBACK_FAIL".to_owned()),
        caller_ip: Some("203.0.113.7".to_owned()),
        flow_control_key: Some("payments".to_owned()),
        ..entry(id)
    }
}

fn combined() -> Vec<Row> {
    let other = entry("other");
    let among = || {
        vec![
            wanted("every"),
            Entry {
                labels: vec!["checkout".to_owned()],
                workflow_url: Some(REFUND.to_owned()),
                failure_function_state: Some("CALLBACK_CANCELED".to_owned()),
                caller_ip: Some("2001:db8::7".to_owned()),
                flow_control_key: Some("checkout".to_owned()),
                ..wanted("every-second")
            },
            Entry { labels: vec!["eu".to_owned()], ..wanted("but-labels") },
            Entry { workflow_url: other.workflow_url.clone(), ..wanted("but-url") },
            Entry { workflow_run_id: Some("wfr_8g".to_owned()), ..wanted("but-run-id") },
            Entry { workflow_created_at: Some(FAILED), ..wanted("but-creation") },
            Entry { failure_function_state: None, ..wanted("but-state") },
            Entry { caller_ip: other.caller_ip.clone(), ..wanted("but-caller") },
            Entry { flow_control_key: None, ..wanted("but-key") },
            Entry { failed_at: Some(FAILED - 1), ..wanted("but-from-date") },
            Entry { failed_at: Some(FAILED + 2), ..wanted("but-to-date") },
        ]
    };
    let every = json!({
        "labels": ["payments", "checkout"],
        "workflowUrls": [PAY, REFUND],
        "workflowRunId": "wfr_8f",
        "workflowCreatedAt": "2023-11-14T22:12:20.123Z",
        "failureFunctionStates": ["CALLBACK_FAIL", "CALLBACK_CANCELED"],
        "callerIps": ["203.0.113.7", "2001:db8::7"],
        "flowControlKeys": ["payments", "checkout"],
        "fromDate": "2023-11-14T22:13:20.123Z",
        "toDate": "2023-11-14T22:13:20.124Z",
    });
    let sent = [
        ("callerIp", "2001:db8::7"),
        ("callerIp", "203.0.113.7"),
        ("failureFunctionState", "CALLBACK_CANCELED"),
        ("failureFunctionState", "CALLBACK_FAIL"),
        ("flowControlKey", "checkout"),
        ("flowControlKey", "payments"),
        ("fromDate", "1700000000123"),
        ("label", "checkout"),
        ("label", "payments"),
        ("toDate", "1700000000124"),
        ("workflowCreatedAt", "1699999940123"),
        ("workflowRunId", "wfr_8f"),
        ("workflowUrl", PAY),
        ("workflowUrl", REFUND),
    ];
    let name =
        |action| format!("a {action} takes any value of every list, and only what meets every criterion");
    let mut rows: Vec<_> = ["resume", "restart", "delete"]
        .map(|action| {
            row(&name(action), every.clone(), &["every", "every-second"], &sent).among(among()).by(action)
        })
        .into();
    rows.push(
        row(
            "two criteria select what meets both",
            json!({ "labels": ["payments", "checkout"], "callerIps": ["2001:db8::7", "198.51.100.1"] }),
            &["every-second", "but-caller"],
            &[
                ("callerIp", "198.51.100.1"),
                ("callerIp", "2001:db8::7"),
                ("label", "checkout"),
                ("label", "payments"),
            ],
        )
        .among(among()),
    );
    rows.push(
        row(
            "criteria that nothing meets together select nothing",
            json!({ "labels": ["checkout"], "workflowUrls": [PAY] }),
            &[],
            &[("label", "checkout"), ("workflowUrl", PAY)],
        )
        .among(among()),
    );
    rows
}

pub(super) fn rows() -> Vec<Row> {
    [labels_and_urls(), workflow_runs(), callers_and_keys(), ids(), combined()]
        .into_iter()
        .flatten()
        .collect()
}

#[tokio::test]
async fn each_filter_selects_what_it_says_and_filters_together_what_all_of_them_say() {
    let scene = Scene::start("filters").await;
    let rows = rows();
    let outcomes = run(&scene, &rows).await;
    let path = |name: &str| {
        let index = rows.iter().position(|row| row.name == name).unwrap();
        outcomes[index].ledger.calls[0].path.clone()
    };
    assert_eq!(path("one ID of a resume is in the path"), "/v2/workflows/dlq/resume/8f");
    assert_eq!(path("one ID of a delete is in the query"), "/v2/workflows/dlq");
}
