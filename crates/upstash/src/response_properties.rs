//! Whatever answers: nothing panics, what is taken is bounded, what is told can be printed and holds no token.

use http::{HeaderName, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::error::MAX_MESSAGE_CHARS;
use crate::types::{DlqId, ListedEntry, MAX_RESPONSE_BODY_BYTES};

/// Holds what JSON encoders escape though they need not.
const TOKEN: &str = "eyJVc2VySUQiOiI3/fuzz+9Q==";

const OPERATIONS: [Operation; 8] = [
    Operation::BulkResume,
    Operation::BulkRestart,
    Operation::BulkDelete,
    Operation::Resume,
    Operation::Restart,
    Operation::Delete,
    Operation::List,
    Operation::Get,
];

const FIELDS: [&str; 13] = [
    "workflowRuns",
    "workflowRunId",
    "deleted",
    "cursor",
    "messages",
    "dlqId",
    "responseHeader",
    "responseHeaders",
    "responseBody",
    "responseBodyBase64",
    "labels",
    "error",
    "more",
];

fn token() -> Token {
    Token::parse(TOKEN).unwrap()
}

fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

/// Texts that servers do not send, and some that they do.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "\\PC{0,40}",
        2 => any::<String>(),
        2 => Just("dlq-1".to_owned()),
        1 => ("\\PC{0,200}", "\\PC{0,20}").prop_map(|(before, after)| format!("{before}{TOKEN}{after}")),
        1 => "[\u{0}-\u{1f}\u{7f}-\u{9f}\u{200b}\u{202e}\u{2028}]{0,300}",
        1 => Just("\u{1b}]0;owned\u{7}\u{1b}[2J\r\n".to_owned()),
        1 => (0_usize..3).prop_map(|more| "c".repeat(MAX_CURSOR_BYTES - 1 + more)),
        1 => Just("<&>".repeat(2000)),
    ]
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => text().prop_map(Value::from),
        2 => any::<u64>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        2 => Just(Value::Null),
    ]
}

/// Documents with the API's fields in any place, and others.
fn document() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 48, 8, |inner| {
        let field = prop_oneof![5 => prop::sample::select(FIELDS.as_slice()).prop_map(str::to_owned), 1 => "\\PC{0,8}"];
        let fields = vec((field, inner.clone()), 0..5);
        prop_oneof![
            vec(inner, 0..6).prop_map(Value::Array),
            fields.prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// What the API answers, with any texts and numbers in it.
fn answer() -> impl Strategy<Value = Value> {
    let cursor = || prop::option::of(text());
    prop_oneof![
        (vec(text(), 0..8), cursor()).prop_map(|(ids, cursor)| {
            let runs: Vec<_> = ids.iter().map(|id| json!({ "workflowRunId": id })).collect();
            json!({ "workflowRuns": runs, "cursor": cursor })
        }),
        (any::<u64>(), cursor())
            .prop_map(|(deleted, cursor)| json!({ "deleted": deleted, "cursor": cursor })),
        (vec((prop::option::of(text()), text()), 0..8), cursor()).prop_map(|(entries, cursor)| {
            let entry = |(id, text): &(Option<String>, String)| {
                let headers = json!({ text: "a value", "of-a-name": [text] });
                json!({ "dlqId": id, "responseHeader": headers, "responseBody": text })
            };
            let messages: Vec<_> = entries.iter().map(entry).collect();
            json!({ "messages": messages, "cursor": cursor })
        }),
        text().prop_map(|id| json!({ "workflowRunId": id })),
        text().prop_map(|error| json!({ "error": error })),
    ]
}

/// JSON as some encoders write it.
fn written(value: &Value, more: bool) -> Vec<u8> {
    let text = value.to_string();
    let escaped = || text.replace('/', "\\/").replace('+', "\\u002b").replace('=', "\\u003D");
    if more { escaped().into_bytes() } else { text.into_bytes() }
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let whole = || {
        let value = prop_oneof![2 => answer(), 1 => document()];
        (value, any::<bool>()).prop_map(|(value, more)| written(&value, more))
    };
    let altered = (whole(), any::<prop::sample::Index>(), any::<u8>(), any::<bool>()).prop_map(
        |(mut body, place, byte, cut)| {
            let place = place.index(body.len());
            if cut {
                body.truncate(place);
            } else {
                body[place] = byte;
            }
            body
        },
    );
    prop_oneof![1 => vec(any::<u8>(), 0..600), 4 => whole(), 2 => altered]
}

/// A header's value: any bytes that one may have, or nearly what is meant.
fn header() -> impl Strategy<Value = HeaderValue> {
    let text = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        (-10_i64..10_000).prop_map(|number| number.to_string()),
        (0_i64..4_000_000_000).prop_map(|at| (at * 7).to_string()),
        "[+-]?[0-9]{0,30}(\\.[0-9]+)?",
        "(Mon|Fri|Xyz)?,? ?[0-9]{1,2} (Jan|Nov|Foo) [0-9]{1,5} [0-9]{2}:[0-9]{2}:[0-9]{2} (GMT|[+-][0-9]{4})",
        Just("Fri, 20 Nov 2026 13:00:00 GMT".to_owned()),
        Just("Fri, 31 Dec 9999 23:59:60 -2359".to_owned()),
    ];
    let bytes = prop_oneof![3 => text.prop_map(String::into_bytes), 1 => vec(any::<u8>(), 0..40)];
    bytes.prop_filter_map("no header has it", |bytes| HeaderValue::from_bytes(&bytes).ok())
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    const NAMES: [&str; 6] = [
        "retry-after",
        "burst-ratelimit-reset",
        "burst-ratelimit-remaining",
        "ratelimit-reset",
        "ratelimit-remaining",
        "date",
    ];
    vec((prop::sample::select(NAMES.as_slice()), header()), 0..6).prop_map(|headers| {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), value);
        }
        map
    })
}

fn status() -> impl Strategy<Value = StatusCode> {
    prop_oneof![
        3 => Just(200),
        1 => prop::sample::select([201, 204, 299, 400, 401, 403, 404, 408, 429, 499, 500, 502, 520].as_slice()),
        2 => 100_u16..1000,
    ]
    .prop_map(|status| StatusCode::from_u16(status).unwrap())
}

fn is_printable(text: &str) -> bool {
    text.chars().count() <= MAX_MESSAGE_CHARS && crate::error::visible(text) == text
}

fn check(
    operation: Operation,
    status: StatusCode,
    answer: &Result<Page, ApiError>,
) -> Result<(), TestCaseError> {
    match answer {
        Ok(page) => {
            prop_assert!(status.is_success());
            if let Some(cursor) = &page.cursor {
                prop_assert!(!cursor.0.is_empty() && !cursor.0.contains(TOKEN));
                prop_assert!(serde_json::to_string(&cursor.0).unwrap().len() <= MAX_CURSOR_BYTES + 2);
            }
            let (told, listed) = (&page.workflow_run_ids, &page.listed);
            prop_assert!(told.len() <= MAX_RUN_IDS && told.len() as u64 <= page.entries);
            prop_assert!(told.iter().all(|id| id.len() <= MAX_RUN_ID_BYTES && !id.contains(TOKEN)));
            prop_assert!(told.iter().all(|id| id.bytes().all(|byte| byte.is_ascii_graphic())));
            prop_assert!(listed.len() as u64 <= page.entries);
            prop_assert!(matches!(operation, Operation::List | Operation::Get) || listed.is_empty());
            let sendable = |id: &DlqId| DlqId::parse(id.0.clone()).is_some() && !id.0.contains(TOKEN);
            prop_assert!(listed.iter().all(|entry| sendable(&entry.id)));
            for ListedEntry { response_headers, response_body, .. } in listed {
                let headers = response_headers.iter().flat_map(|(name, values)| values.iter().chain([name]));
                let body = response_body.iter();
                prop_assert!(body.clone().all(|body| body.len() <= MAX_RESPONSE_BODY_BYTES));
                prop_assert!(body.chain(headers).all(|text| !text.contains(TOKEN)));
            }
        }
        Err(error) => {
            prop_assert!(is_printable(&error.message), "{:?}", error.message);
            let shown = format!("{error} {error:?}");
            prop_assert!(!shown.contains(TOKEN), "the token is shown");
            prop_assert!(error.retry_after.is_none_or(|wait| wait <= MAX_RETRY_AFTER));
            prop_assert!(operation.acts() || !error.may_have_acted);
            prop_assert_eq!(error.status, Some(status.as_u16()));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn any_answer_is_a_sane_page_or_an_error_that_can_be_told(
        operation in prop::sample::select(OPERATIONS.as_slice()),
        status in status(),
        headers in headers(),
        body in body(),
    ) {
        let answer = read(operation, status, &headers, &body, now(), &token());
        check(operation, status, &answer)?;
        prop_assert_eq!(&read(operation, status, &headers, &body, now(), &token()), &answer);
    }

    #[test]
    fn what_a_failure_means_is_said_by_its_status_alone(
        operation in prop::sample::select(OPERATIONS.as_slice()),
        status in status(),
        headers in headers(),
        body in body(),
    ) {
        let told = read(operation, status, &headers, &body, now(), &token());
        let bare = read(operation, status, &HeaderMap::new(), b"", now(), &token());
        if let (Err(told), Err(bare)) = (told, bare) {
            prop_assert_eq!(told.class, bare.class);
            // Only the API's own words can say that a call did not act.
            prop_assert!(bare.may_have_acted || !told.may_have_acted);
            let is_repeated = told.class == ErrorClass::Unavailable;
            // A proxy's 499 is no answer of the API, and ends the run.
            let is_known = !told.may_have_acted || status.as_u16() == 499;
            prop_assert!(is_repeated || is_known, "what is not repeated has an outcome that is known");
        }
    }

    #[test]
    fn no_header_asks_for_more_than_an_hour(headers in headers()) {
        let wait = retry_after(&headers, now());
        prop_assert!(wait.is_none_or(|wait| wait <= MAX_RETRY_AFTER));
        // And none of them teaches a clock that is out of this world.
        if let Some(date) = date(&headers) {
            let mut clock = crate::clock::ClockOffset::default();
            clock.observe(date, now(), now());
            prop_assert!(clock.value().abs() <= SignedDuration::from_hours(25));
        }
    }

    #[test]
    fn no_header_asks_for_more_than_an_hour_at_any_time(headers in headers(), at in any::<i64>()) {
        let at = Timestamp::from_millisecond(at % 250_000_000_000_000).unwrap();
        prop_assert!(retry_after(&headers, at).is_none_or(|wait| wait <= MAX_RETRY_AFTER));
    }
}
