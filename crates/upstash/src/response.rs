//! From an answer to a page or a classified error. Pure: the clock's reading comes in.
//!
//! What an answer says ends up in statuses, events and logs, and some servers echo what they were sent: nothing that
//! leaves here holds the token.

pub(crate) mod listed;

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use self::listed::ListedBody;
use super::error::{ApiError, ErrorClass, printable};
use super::token::Token;
use super::types::{Cursor, Operation, Page};

/// The longest cursor that is taken, in bytes: it is kept in the policy's status.
pub const MAX_CURSOR_BYTES: usize = 16 * 1024;

/// The longest ID of a workflow run that is told, in bytes.
pub const MAX_RUN_ID_BYTES: usize = 256;

/// The most IDs of new workflow runs that are told of one answer. No answer of the API has as many.
pub const MAX_RUN_IDS: usize = 1000;

/// What of a body a message is made from, in bytes: more than its longest token and its longest message.
const MESSAGE_BYTES: usize = 64 * 1024;

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
    messages: Option<Vec<ListedBody>>,
    #[serde(default)]
    cursor: Option<String>,
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
    token: &Token,
) -> Result<Page, ApiError> {
    if !status.is_success() {
        let retry_after = retry_after(headers, now);
        return Err(refusal(operation, status, body, retry_after, token));
    }
    page(operation, body, token).map_err(|problem| ApiError {
        class: ErrorClass::Unavailable,
        status: Some(status.as_u16()),
        message: printable(&token.redact(&problem)),
        retry_after: None,
        may_have_acted: operation.acts(),
    })
}

/// When the server wrote an answer, by its own clock.
pub fn date(headers: &HeaderMap) -> Option<Timestamp> {
    text(headers, header::DATE.as_str()).and_then(http_date)
}

fn page(operation: Operation, body: &[u8], token: &Token) -> Result<Page, String> {
    let cursor = |text| cursor(text, token);
    let page = match operation {
        Operation::BulkResume | Operation::BulkRestart => {
            let body: WorkflowRunsBody = json(body)?;
            let runs = body.workflow_runs.unwrap_or_default();
            Page {
                entries: runs.len() as u64,
                workflow_run_ids: run_ids(runs, token),
                cursor: cursor(body.cursor)?,
                ..Page::default()
            }
        }
        Operation::BulkDelete => {
            let body: DeletedBody = json(body)?;
            Page { entries: body.deleted, cursor: cursor(body.cursor)?, ..Page::default() }
        }
        Operation::Resume | Operation::Restart => {
            let body: WorkflowRunBody = json(body)?;
            Page { entries: 1, workflow_run_ids: run_ids(vec![body], token), ..Page::default() }
        }
        // No body is promised.
        Operation::Delete => Page { entries: 1, ..Page::default() },
        Operation::List => {
            let body: MessagesBody = json(body)?;
            let messages = body.messages.unwrap_or_default();
            Page {
                entries: messages.len() as u64,
                listed: messages.into_iter().filter_map(|message| listed::entry(message, token)).collect(),
                cursor: cursor(body.cursor)?,
                ..Page::default()
            }
        }
        Operation::Get => {
            let body: ListedBody = json(body)?;
            if !body.is_an_entry() {
                return Err("the answer cannot be read: missing field `dlqId`".to_owned());
            }
            Page { entries: 1, listed: listed::entry(body, token).into_iter().collect(), ..Page::default() }
        }
    };
    Ok(page)
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("the answer cannot be read: {error}"))
}

/// The IDs that can be told: those that look like IDs.
fn run_ids(runs: Vec<WorkflowRunBody>, token: &Token) -> Vec<String> {
    let is_mark = |byte| b"_-.:=~@+/".contains(&byte);
    runs.into_iter()
        .map(|run| run.workflow_run_id)
        .filter(|id| {
            !id.is_empty()
                && id.len() <= MAX_RUN_ID_BYTES
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || is_mark(b))
        })
        .filter(|id| !token.is_in(id))
        .take(MAX_RUN_IDS)
        .collect()
}

/// A cursor goes to the status and back to the API as it came, or it is no use.
fn cursor(cursor: Option<String>, token: &Token) -> Result<Option<Cursor>, String> {
    match cursor {
        Some(cursor) if json_bytes(&cursor) > MAX_CURSOR_BYTES => {
            Err(format!("the answer's cursor is longer than {MAX_CURSOR_BYTES} bytes"))
        }
        Some(cursor) if token.is_in(&cursor) => Err("the answer's cursor holds the token".to_owned()),
        cursor => Ok(cursor.filter(|cursor| !cursor.is_empty()).map(Cursor)),
    }
}

/// How long a text is in the JSON of the API server, which escapes more than it must.
fn json_bytes(text: &str) -> usize {
    let bytes = |c: char| match c {
        '"' | '\\' | '\n' | '\r' | '\t' => 2,
        '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => 6,
        c => c.len_utf8(),
    };
    text.chars().map(bytes).sum()
}

fn refusal(
    operation: Operation,
    status: StatusCode,
    body: &[u8],
    retry_after: Option<Duration>,
    token: &Token,
) -> ApiError {
    let class = match status.as_u16() {
        400 => ErrorClass::Refused,
        401 => ErrorClass::Unauthorized,
        403 => ErrorClass::Forbidden,
        404 => ErrorClass::NotFound,
        412 => ErrorClass::QuotaExceeded,
        429 => ErrorClass::RateLimited,
        408 | 425 | 500..=599 => ErrorClass::Unavailable,
        _ => ErrorClass::Unexpected,
    };
    let own = serde_json::from_slice::<ErrorBody>(body).ok().map(|body| body.error);
    let is_own = own.is_some();
    let text =
        own.unwrap_or_else(|| unescaped(&String::from_utf8_lossy(&body[..body.len().min(MESSAGE_BYTES)])));
    ApiError {
        class,
        status: Some(status.as_u16()),
        message: printable(&token.redact(&text)),
        retry_after,
        may_have_acted: operation.acts() && is_doubtful(status, is_own),
    }
}

/// Whether a call that was refused with this status may have acted. `is_own`: the body is an error in the API's form.
fn is_doubtful(status: StatusCode, is_own: bool) -> bool {
    match status.as_u16() {
        500 | 502 | 504 => true,
        // Proxies give these also when the server did its work and only its answer was late or lost (503 of Envoy, 520 to
        // 527, 598, 599); the API itself, when it did not do it.
        408 | 499 | 500..=599 => !is_own,
        _ => false,
    }
}

/// A text with the characters that JSON's escapes stand for: some encoders write `/` and `=` so, as tokens have them.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let code = after.strip_prefix('u').and_then(|after| after.get(..4));
        let escaped = code.and_then(|code| u32::from_str_radix(code, 16).ok()).and_then(char::from_u32);
        rest = match (escaped, after.strip_prefix('/')) {
            (Some(c), _) => {
                plain.push(c);
                &after[5..]
            }
            (None, Some(after)) => {
                plain.push('/');
                after
            }
            (None, None) => {
                plain.push('\\');
                after
            }
        };
    }
    plain.push_str(rest);
    plain
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
#[path = "response_properties.rs"]
mod properties;
#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
