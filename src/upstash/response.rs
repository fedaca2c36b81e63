//! From an answer to a page or a classified error. Pure: the clock's reading comes in.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::error::{ApiError, ErrorClass, printable};
use super::types::{Cursor, Operation, Page};

/// The longest cursor that is taken, in bytes: it is kept in the policy's status.
pub const MAX_CURSOR_BYTES: usize = 16 * 1024;

/// The longest wait that an answer's headers may ask for.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// How far a `Date`, which has whole seconds, may be from our time when both clocks are the same.
const SAME_TIME: SignedDuration = SignedDuration::from_secs(2);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WorkflowRunsBody {
    // There, though it may be null (serde alone takes a missing `Option` for null): an answer without it is none of
    // this API's.
    #[serde(deserialize_with = "Option::deserialize")]
    workflow_runs: Option<Vec<WorkflowRunBody>>,
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WorkflowRunBody {
    workflow_run_id: String,
}

#[derive(Deserialize)]
struct DeletedBody {
    deleted: u64,
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Deserialize)]
struct MessagesBody {
    #[serde(deserialize_with = "Option::deserialize")]
    messages: Option<Vec<IgnoredAny>>,
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageBody {
    #[expect(dead_code, reason = "its presence tells that the answer is an entry")]
    dlq_id: String,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: String,
}

/// Reads an answer that came at `now`.
///
/// # Errors
/// Every answer that is not a page, classified; a body that cannot be read is [`ErrorClass::Unavailable`].
pub fn read(
    operation: Operation,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<Page, ApiError> {
    if !status.is_success() {
        return Err(refusal(operation, status, headers, body, now));
    }
    page(operation, body).map_err(|problem| ApiError {
        class: ErrorClass::Unavailable,
        status: Some(status.as_u16()),
        message: printable(&problem),
        retry_after: None,
        may_have_acted: operation.acts(),
    })
}

/// When the server wrote an answer, by its own clock.
pub fn date(headers: &HeaderMap) -> Option<Timestamp> {
    text(headers, header::DATE.as_str()).and_then(http_date)
}

fn page(operation: Operation, body: &[u8]) -> Result<Page, String> {
    let page = match operation {
        Operation::BulkResume | Operation::BulkRestart => {
            let body: WorkflowRunsBody = json(body)?;
            let ids: Vec<_> =
                body.workflow_runs.unwrap_or_default().into_iter().map(|run| run.workflow_run_id).collect();
            Page { entries: ids.len() as u64, workflow_run_ids: ids, cursor: cursor(body.cursor)? }
        }
        Operation::BulkDelete => {
            let body: DeletedBody = json(body)?;
            Page { entries: body.deleted, workflow_run_ids: Vec::new(), cursor: cursor(body.cursor)? }
        }
        Operation::Resume | Operation::Restart => {
            let body: WorkflowRunBody = json(body)?;
            Page { entries: 1, workflow_run_ids: vec![body.workflow_run_id], cursor: None }
        }
        // No body is promised.
        Operation::Delete => Page { entries: 1, ..Page::default() },
        Operation::List => {
            let body: MessagesBody = json(body)?;
            let entries = body.messages.map_or(0, |messages| messages.len() as u64);
            Page { entries, workflow_run_ids: Vec::new(), cursor: cursor(body.cursor)? }
        }
        Operation::Get => {
            let _: MessageBody = json(body)?;
            Page { entries: 1, ..Page::default() }
        }
    };
    Ok(page)
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("the answer cannot be read: {error}"))
}

fn cursor(cursor: Option<String>) -> Result<Option<Cursor>, String> {
    match cursor {
        Some(cursor) if cursor.len() > MAX_CURSOR_BYTES => {
            Err(format!("the answer's cursor is longer than {MAX_CURSOR_BYTES} bytes"))
        }
        cursor => Ok(cursor.filter(|cursor| !cursor.is_empty()).map(Cursor)),
    }
}

fn refusal(
    operation: Operation,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> ApiError {
    let class = match status.as_u16() {
        400 => ErrorClass::Refused,
        401 => ErrorClass::Unauthorized,
        403 => ErrorClass::Forbidden,
        404 => ErrorClass::NotFound,
        429 => ErrorClass::RateLimited,
        408 | 425 | 500..=599 => ErrorClass::Unavailable,
        _ => ErrorClass::Unexpected,
    };
    let message = serde_json::from_slice::<ErrorBody>(body)
        .map_or_else(|_| printable(&String::from_utf8_lossy(body)), |body| printable(&body.error));
    ApiError {
        class,
        status: Some(status.as_u16()),
        message,
        retry_after: retry_after(headers, now),
        may_have_acted: operation.acts() && matches!(status.as_u16(), 500 | 502 | 504),
    }
}

/// How long the headers ask to wait: the longest of `Retry-After` and the resets of the limits that are used up.
/// Upstash sends `Burst-RateLimit-*` for short-term limits and `RateLimit-*` for daily ones. Their times are the server's.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let now = date(headers).filter(|date| date.duration_since(now).abs() > SAME_TIME).unwrap_or(now);
    let reset_of = |family: &str| {
        let remaining =
            text(headers, &format!("{family}-remaining")).and_then(|text| text.parse::<i64>().ok());
        if remaining.is_some_and(|remaining| remaining > 0) {
            return None;
        }
        unix_time(text(headers, &format!("{family}-reset"))?)
    };
    let retry_after =
        text(headers, header::RETRY_AFTER.as_str()).and_then(|text| match text.parse::<u64>() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => http_date(text).map(|until| until_from(until, now)),
        });
    [
        retry_after,
        reset_of("burst-ratelimit").map(|until| until_from(until, now)),
        reset_of("ratelimit").map(|until| until_from(until, now)),
    ]
    .into_iter()
    .flatten()
    .max()
    .map(|wait| wait.min(MAX_RETRY_AFTER))
}

fn until_from(until: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// Unix seconds, or milliseconds where the number is too large to be seconds.
fn unix_time(text: &str) -> Option<Timestamp> {
    const LATEST_SECOND: i64 = 100_000_000_000;
    let number = text.parse::<i64>().ok()?;
    if number.abs() < LATEST_SECOND {
        Timestamp::from_second(number).ok()
    } else {
        Timestamp::from_millisecond(number).ok()
    }
}

fn http_date(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::upstash::error::MAX_MESSAGE_CHARS;

    type Headers<'a> = &'a [(&'a str, &'a str)];

    fn now() -> Timestamp {
        "2026-11-20T12:00:00Z".parse().unwrap()
    }

    fn answer(
        operation: Operation,
        status: u16,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Page, ApiError> {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (name.parse::<http::HeaderName>().unwrap(), value.parse::<http::HeaderValue>().unwrap())
            })
            .collect();
        read(operation, StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes(), now())
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
    fn only_500_502_and_504_may_have_acted() {
        for status in [400, 401, 404, 408, 429, 500, 502, 503, 504] {
            assert_eq!(error(status, &[], "").may_have_acted, matches!(status, 500 | 502 | 504), "{status}");
        }
        assert!(!answer(Operation::List, 500, &[], "").unwrap_err().may_have_acted);
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
                &[
                    ("Burst-RateLimit-Reset", &reset),
                    ("RateLimit-Reset", &later),
                    ("RateLimit-Remaining", "5"),
                ],
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
        let date =
            rfc2822::to_string(&Timestamp::from_second(server).unwrap().to_zoned(TimeZone::UTC)).unwrap();
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
}
