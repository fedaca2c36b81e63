use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde_json::json;

use super::*;
use crate::error::MAX_MESSAGE_CHARS;
use crate::types::{DlqId, ListedEntry};

type Headers<'a> = &'a [(&'a str, &'a str)];

/// With what JSON encoders escape though they need not.
const TOKEN: &str = "eyJ0b2tlbiI6/fixed+7w==";

fn token() -> Token {
    Token::parse(TOKEN).unwrap()
}

fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

fn answer(operation: Operation, status: u16, headers: &[(&str, &str)], body: &str) -> Result<Page, ApiError> {
    let headers = headers
        .iter()
        .map(|(name, value)| {
            (name.parse::<http::HeaderName>().unwrap(), value.parse::<http::HeaderValue>().unwrap())
        })
        .collect();
    read(operation, StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes(), now(), &token())
}

fn page_of(operation: Operation, body: &str) -> Page {
    answer(operation, 200, &[], body).unwrap()
}

fn error(status: u16, headers: &[(&str, &str)], body: &str) -> ApiError {
    answer(Operation::BulkResume, status, headers, body).unwrap_err()
}

#[test]
fn a_page_counts_what_the_answer_shows() {
    let runs = r#"{"workflowRuns":[{"workflowRunId":"wfr_1","workflowCreatedAt":1},{"workflowRunId":"wfr_2"}],"cursor":"c","more":{}}"#;
    for operation in [Operation::BulkResume, Operation::BulkRestart] {
        let page = page_of(operation, runs);
        assert_eq!(page.entries, 2);
        assert_eq!(page.workflow_run_ids, ["wfr_1", "wfr_2"]);
        assert_eq!(page.cursor, Some(Cursor("c".into())));
    }
    assert_eq!(page_of(Operation::BulkDelete, r#"{"deleted":7,"cursor":"c"}"#).entries, 7);
    assert_eq!(page_of(Operation::Resume, r#"{"workflowRunId":"wfr_1"}"#).workflow_run_ids, ["wfr_1"]);
    assert_eq!(page_of(Operation::Delete, "").entries, 1);
    assert_eq!(page_of(Operation::List, r#"{"messages":[{"dlqId":"a"},{}]}"#).entries, 2);
    assert_eq!(page_of(Operation::Get, r#"{"dlqId":"a"}"#).entries, 1);
}

#[test]
fn an_absent_null_or_empty_cursor_means_done() {
    for cursor in ["", r#","cursor":null"#, r#","cursor":"""#] {
        assert_eq!(page_of(Operation::BulkDelete, &format!(r#"{{"deleted":1{cursor}}}"#)).cursor, None);
    }
}

#[test]
fn an_empty_page_may_carry_a_cursor() {
    for runs in ["[]", "null"] {
        let page = page_of(Operation::BulkResume, &format!(r#"{{"workflowRuns":{runs},"cursor":"c"}}"#));
        assert_eq!((page.entries, page.cursor), (0, Some(Cursor("c".into()))));
    }
}

#[test]
fn an_answer_that_cannot_be_read_leaves_the_outcome_unknown() {
    let unreadable = ["", "{", "[]", "{}", "<html>", r#"{"workflowRuns":7}"#, r#"{"workflowRuns":[{}]}"#];
    for body in unreadable {
        let error = answer(Operation::BulkResume, 200, &[], body).unwrap_err();
        assert_eq!((error.class, error.may_have_acted), (ErrorClass::Unavailable, true), "{body}");
        assert!(!answer(Operation::List, 200, &[], body).unwrap_err().may_have_acted);
    }
    assert!(answer(Operation::BulkDelete, 200, &[], r#"{"deleted":-1}"#).is_err());
    assert!(answer(Operation::Get, 200, &[], "{}").is_err());
}

#[test]
fn a_cursor_over_16_kib_is_refused() {
    let body = |length| format!(r#"{{"deleted":1,"cursor":"{}"}}"#, "x".repeat(length));
    assert!(answer(Operation::BulkDelete, 200, &[], &body(MAX_CURSOR_BYTES)).is_ok());
    let error = answer(Operation::BulkDelete, 200, &[], &body(MAX_CURSOR_BYTES + 1)).unwrap_err();
    assert!(error.may_have_acted && error.message.contains("16384"));
}

#[test]
fn every_status_has_its_class() {
    let table = [
        (400, ErrorClass::Refused),
        (401, ErrorClass::Unauthorized),
        (403, ErrorClass::Forbidden),
        (404, ErrorClass::NotFound),
        (412, ErrorClass::QuotaExceeded),
        (408, ErrorClass::Unavailable),
        (425, ErrorClass::Unavailable),
        (429, ErrorClass::RateLimited),
        (500, ErrorClass::Unavailable),
        (502, ErrorClass::Unavailable),
        (503, ErrorClass::Unavailable),
        (504, ErrorClass::Unavailable),
        (301, ErrorClass::Unexpected),
        (307, ErrorClass::Unexpected),
        (405, ErrorClass::Unexpected),
        (413, ErrorClass::Unexpected),
        (422, ErrorClass::Unexpected),
    ];
    for (status, class) in table {
        assert_eq!(error(status, &[], "").class, class, "{status}");
    }
}

#[test]
fn a_status_may_have_acted_unless_it_or_the_api_says_otherwise() {
    let own = r#"{"error":"no"}"#;
    // With a body in the API's form, and with another.
    let table = [
        (302, false, false),
        (400, false, false),
        (401, false, false),
        (403, false, false),
        (404, false, false),
        (408, false, true),
        (425, false, false),
        (429, false, false),
        (499, false, true),
        (500, true, true),
        (501, false, true),
        (502, true, true),
        (503, false, true),
        (504, true, true),
        (505, false, true),
        (520, false, true),
        (521, false, true),
        (524, false, true),
        (527, false, true),
        (530, false, true),
        (598, false, true),
        (599, false, true),
    ];
    for (status, with_own, with_other) in table {
        assert_eq!(error(status, &[], own).may_have_acted, with_own, "{status}");
        for body in ["", "<html>", "upstream request timeout", r#"{"message":"no"}"#, r#"{"error":520}"#] {
            assert_eq!(error(status, &[], body).may_have_acted, with_other, "{status} {body}");
        }
        for operation in [Operation::List, Operation::Get] {
            assert!(!answer(operation, status, &[], "").unwrap_err().may_have_acted, "{status}");
        }
    }
}

#[test]
fn the_message_is_the_errors_own_or_the_bodys_beginning() {
    assert_eq!(error(400, &[], r#"{"error":"bad cursor"}"#).message, "bad cursor");
    assert_eq!(error(502, &[], "<html>\n<h1>Bad</h1>").message, "<html> <h1>Bad</h1>");
    assert_eq!(error(500, &[], "").to_string(), "Upstash answered 500");
    assert_eq!(error(500, &[], &"x".repeat(2_000_000)).message.len(), MAX_MESSAGE_CHARS);
}

#[test]
fn a_wait_is_read_from_whichever_header_is_there() {
    let reset = (now().as_second() + 30).to_string();
    let later = (now().as_second() + 90).to_string();
    let table: [(Headers<'_>, Option<u64>); 9] = [
        (&[], None),
        (&[("Retry-After", "7")], Some(7)),
        (&[("Retry-After", "Fri, 20 Nov 2026 12:00:09 GMT")], Some(9)),
        (&[("Retry-After", "soon")], None),
        (&[("Burst-RateLimit-Reset", &reset)], Some(30)),
        (&[("RateLimit-Reset", &later)], Some(90)),
        (
            &[("Burst-RateLimit-Reset", &reset), ("RateLimit-Reset", &later), ("RateLimit-Remaining", "5")],
            Some(30),
        ),
        (&[("Burst-RateLimit-Reset", "1")], Some(0)),
        (&[("Retry-After", "99999999")], Some(3600)),
    ];
    for (headers, seconds) in table {
        assert_eq!(error(429, headers, "").retry_after, seconds.map(Duration::from_secs), "{headers:?}");
    }
}

#[test]
fn resets_are_read_by_the_servers_clock() {
    let server = now().as_second() - 3600;
    let date = rfc2822::to_string(&Timestamp::from_second(server).unwrap().to_zoned(TimeZone::UTC)).unwrap();
    let reset = (server + 30).to_string();
    for family in ["Burst-RateLimit-Reset", "RateLimit-Reset"] {
        let error = error(429, &[("Date", &date), (family, &reset)], "");
        assert_eq!(error.retry_after, Some(Duration::from_secs(30)), "{family}");
    }
    // Within the precision of a `Date` our own clock is the finer one.
    let (date, reset) = ("Fri, 20 Nov 2026 12:00:01 GMT", (now().as_second() + 30).to_string());
    assert_eq!(now().to_string(), "2026-11-20T12:00:00Z");
    let error = error(429, &[("Date", date), ("RateLimit-Reset", &reset)], "");
    assert_eq!(error.retry_after, Some(Duration::from_secs(30)));
}

#[test]
fn an_echoed_token_is_nowhere_however_json_writes_it() {
    let escaped = TOKEN.replace('/', "\\/").replace('=', "\\u003d");
    let unicode = TOKEN.chars().map(|c| format!("\\u{:04X}", u32::from(c))).collect::<Vec<_>>().concat();
    for token in [TOKEN, &escaped, &unicode] {
        let bodies = [
            format!(r#"{{"error":"{token} may not"}}"#),
            format!(r#"{{"message":"{token} may not"}}"#),
            format!("<html>Bearer {token} may not"),
            // Where the message is cut.
            format!(r#"{{"error":"{}{token} may not"}}"#, "x".repeat(MAX_MESSAGE_CHARS - 10)),
        ];
        for body in bodies {
            let message = error(400, &[], &body).message;
            assert!(message.contains("[token]") && !message.contains("eyJ0"), "{body}: {message}");
        }
        let unreadable = format!(r#"{{"deleted":"{token}"}}"#);
        let message = answer(Operation::BulkDelete, 200, &[], &unreadable).unwrap_err().message;
        assert!(message.contains("[token]"), "{message}");

        let runs =
            format!(r#"{{"workflowRuns":[{{"workflowRunId":"a-{token}"}},{{"workflowRunId":"wfr_1"}}]}}"#);
        let page = page_of(Operation::BulkResume, &runs);
        assert_eq!((page.entries, page.workflow_run_ids), (2, vec!["wfr_1".to_owned()]));
        let listed =
            page_of(Operation::List, &format!(r#"{{"messages":[{{"dlqId":"{token}"}},{{"dlqId":"a"}}]}}"#));
        assert_eq!((listed.entries, listed.listed), (2, vec![ListedEntry::bare(DlqId("a".into()))]));
        let message = error_of_page(&format!(r#"{{"deleted":1,"cursor":"a{token}"}}"#)).message;
        assert_eq!(message, "the answer's cursor holds the token");
    }
}

fn error_of_page(body: &str) -> ApiError {
    answer(Operation::BulkDelete, 200, &[], body).unwrap_err()
}

#[test]
fn a_cursor_that_the_status_would_have_to_escape_is_measured_as_it_is_written() {
    let body = |cursor: &str| json!({ "deleted": 1, "cursor": cursor }).to_string();
    for (character, bytes) in [('c', 1), ('é', 2), ('"', 2), ('<', 6), ('\u{1}', 6), ('\u{2028}', 6)] {
        let most = MAX_CURSOR_BYTES / bytes;
        let longest = character.to_string().repeat(most);
        assert!(answer(Operation::BulkDelete, 200, &[], &body(&longest)).is_ok(), "{character:?}");
        let message = error_of_page(&body(&character.to_string().repeat(most + 1))).message;
        assert!(message.contains("longer than 16384"), "{character:?}: {message}");
    }
}

#[test]
fn only_what_looks_like_an_id_is_told_of_new_workflow_runs() {
    let odd = ["", "wfr 1", "wfr_\u{1b}[31m", "<script>", "\u{202e}", &"x".repeat(257)];
    let runs: Vec<_> = odd.iter().chain(&["wfr_1"]).map(|id| json!({ "workflowRunId": id })).collect();
    let page = page_of(Operation::BulkRestart, &json!({ "workflowRuns": runs }).to_string());
    assert_eq!(page.entries, 7);
    assert_eq!(page.workflow_run_ids, ["wfr_1"]);
    let many = vec![json!({ "workflowRunId": "wfr_1" }); 5000];
    let page = page_of(Operation::BulkRestart, &json!({ "workflowRuns": many }).to_string());
    assert_eq!((page.entries, page.workflow_run_ids.len()), (5000, MAX_RUN_IDS));
}

#[test]
fn of_a_listed_entry_each_field_is_read_by_itself() {
    let listed = |message: serde_json::Value| {
        let body = json!({ "messages": [message, { "dlqId": "other" }] }).to_string();
        let page = page_of(Operation::List, &body);
        assert_eq!((page.entries, page.listed.last().unwrap().id.0.as_str()), (2, "other"));
        page.listed.into_iter().next().unwrap()
    };
    let text = |text: &str| Some(text.to_owned());
    let whole = json!({
        "dlqId": "1763640000000-7", "workflowUrl": "https://a.example", "workflowRunId": "wfr_1",
        "workflowCreatedAt": 1_763_630_000_000_i64, "label": "x", "labels": ["x", "y"],
        "failureFunctionState": "CALLBACK_FAIL", "callerIP": "203.0.113.7", "flowControlKey": "k",
        "responseStatus": 503, "header": {}, "body": "a long one",
    });
    let expected = ListedEntry {
        id: DlqId("1763640000000-7".into()),
        workflow_url: text("https://a.example"),
        workflow_run_id: text("wfr_1"),
        workflow_created_at: Some(1_763_630_000_000),
        labels: Some(vec!["x".into(), "y".into()]),
        failure_function_state: text("CALLBACK_FAIL"),
        caller_ip: text("203.0.113.7"),
        flow_control_key: text("k"),
        response_status: Some(503),
        response_headers: BTreeMap::new(),
        response_body: None,
    };
    assert_eq!(listed(whole), expected);
    assert_eq!(expected.failed_at(), Some(1_763_640_000_000));

    let odd = [
        json!(null),
        json!(7.5),
        json!(true),
        json!({ "a": [1, { "b": 2 }] }),
        json!([[1], null, { "c": "d" }]),
    ];
    for value in odd {
        let entry = listed(json!({
            "dlqId": "a", "workflowUrl": value, "workflowRunId": value, "workflowCreatedAt": value, "label": value,
            "failureFunctionState": value, "callerIP": value, "callerIp": value, "flowControlKey": value,
            "responseStatus": value,
        }));
        assert_eq!(entry, ListedEntry::bare(DlqId("a".into())), "{value}");
    }
    let labels = |message: serde_json::Value| {
        let mut message = message;
        message["dlqId"] = "a".into();
        listed(message).labels
    };
    assert_eq!(labels(json!({ "label": "x" })), Some(vec!["x".to_owned()]));
    assert_eq!(labels(json!({ "label": "x", "labels": [] })), Some(vec!["x".to_owned()]));
    assert_eq!(labels(json!({ "labels": [] })), Some(Vec::new()));
    assert_eq!(labels(json!({ "labels": [1, "y", null] })), Some(vec!["y".to_owned()]));
    let address = listed(json!({ "dlqId": "a", "callerIp": "203.0.113.8" })).caller_ip;
    assert_eq!(address, text("203.0.113.8"), "as the reference spells it");
}
