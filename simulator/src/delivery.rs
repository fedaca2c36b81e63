//! Sends an answer: as it is, or as a fault would have it.

use std::{convert::Infallible, io, iter, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    answer::{Answer, Content},
    clock::Millis,
    faults::{BodyFault, DropTime, Fault, Loss, RateLimit, RateLimitHeaders, StatusFault},
};

/// The connection is closed without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is dropped")]
pub struct Dropped;

/// Marks a response after which the connection is closed, although nothing in the response says so.
#[derive(Debug, Clone, Copy)]
pub struct LastOfItsConnection;

const JSON: &str = "application/json";
/// Long enough for what has been written to leave before the connection is closed.
const FLUSH: Duration = Duration::from_millis(20);
const DRIP_INTERVAL: Duration = Duration::from_millis(100);
const HUGE: u64 = 64 << 20;
const LARGE: u64 = 1 << 20;
static PADDING: [u8; 64 << 10] = [b'x'; 64 << 10];

/// Sends an answer, with the fault that belongs to its call.
pub async fn send(answer: Answer, fault: Option<Fault>, now: Millis) -> Result<Response<Body>, Dropped> {
    let body = answer.content.to_json();
    let status = answer.status;
    match fault {
        None
        | Some(
            Fault::Latency { .. }
            | Fault::Cursor(_)
            | Fault::Expire { .. }
            | Fault::Arrive { .. }
            | Fault::Ignore { .. }
            | Fault::RefuseSeveral { .. }
            | Fault::Quota {}
            | Fault::Drop { when: DropTime::AfterBody },
        ) => {
            let mut response = response(status, JSON, body);
            if matches!(answer.content, Content::Nothing) {
                // What has no body has no kind of body either: some clients parse what is announced.
                response.headers_mut().remove(header::CONTENT_TYPE);
            }
            if fault.is_some_and(|fault| matches!(fault, Fault::Drop { .. })) {
                response.extensions_mut().insert(LastOfItsConnection);
            }
            Ok(response)
        }
        Some(Fault::Status(fault)) => Ok(status_instead(fault)),
        Some(Fault::RateLimit(limit)) => Ok(rate_limited(limit, now)),
        Some(Fault::LostAnswer { how: Loss::Close } | Fault::Drop { when: DropTime::BeforeAction }) => {
            Err(Dropped)
        }
        Some(Fault::LostAnswer { how: Loss::Status500 }) => {
            let error = Content::Error { error: "internal server error".into() };
            Ok(response(StatusCode::INTERNAL_SERVER_ERROR, JSON, error.to_json()))
        }
        Some(Fault::LostAnswer { how: Loss::Hang }) => std::future::pending().await,
        Some(Fault::Drop { when: DropTime::DuringBody }) => {
            let half = body.len() / 2;
            Ok(broken_off(status, &body, half))
        }
        Some(Fault::Drop { when: DropTime::AfterHeaders }) => Ok(broken_off(status, &body, 0)),
        Some(Fault::Body { kind, bytes }) => Ok(mangled(status, body, kind, bytes)),
    }
}

fn response(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Announces the whole body, sends the first bytes of it, and breaks off.
fn broken_off(status: StatusCode, body: &[u8], sent: usize) -> Response<Body> {
    let start = Bytes::copy_from_slice(body.get(..sent).unwrap_or_default());
    let rest = stream::once(async {
        tokio::time::sleep(FLUSH).await;
        Err(io::Error::from(io::ErrorKind::ConnectionAborted))
    });
    // An empty body cannot be broken off, so at least one byte is announced.
    let announced = HeaderValue::from(body.len().max(1));
    let mut response = response(status, JSON, Body::from_stream(stream::iter([Ok(start)]).chain(rest)));
    response.headers_mut().insert(header::CONTENT_LENGTH, announced);
    response
}

fn mangled(status: StatusCode, body: Vec<u8>, kind: BodyFault, bytes: Option<u64>) -> Response<Body> {
    match kind {
        BodyFault::Truncated => {
            let kept = bytes.map_or(body.len() / 2, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
            response(status, JSON, body.into_iter().take(kept).collect::<Vec<u8>>())
        }
        BodyFault::InvalidJson => response(status, JSON, [b"{\"oops\": ", body.as_slice()].concat()),
        BodyFault::Huge => response(status, JSON, padded(&body, bytes.unwrap_or(HUGE))),
        BodyFault::LargeBodies => response(status, JSON, with_large_bodies(&body, bytes.unwrap_or(LARGE))),
        BodyFault::SlowDrip => response(status, JSON, dripping(body, bytes.unwrap_or(1))),
        BodyFault::WrongContentType => response(status, "text/html; charset=utf-8", body),
        BodyFault::ExtraFields => response(status, JSON, with_extra_fields(&body)),
        BodyFault::Empty => response(status, JSON, Body::empty()),
    }
}

/// The JSON object with one more field in front that makes it `size` bytes long. The padding is streamed, never held.
fn padded(body: &[u8], size: u64) -> Body {
    const START: &[u8] = b"{\"padding\":\"";
    let rest = body.strip_prefix(b"{").unwrap_or(b"}");
    let end = [if rest == b"}" { b"\"".as_slice() } else { b"\",".as_slice() }, rest].concat();
    let frame = (START.len() + end.len()) as u64;
    let padding = padding(size.saturating_sub(frame));
    let parts = iter::once(Bytes::from_static(START)).chain(padding).chain([Bytes::from(end)]);
    Body::from_stream(stream::iter(parts.map(Ok::<_, Infallible>)))
}

/// So many bytes of a text, in pieces that take no memory.
fn padding(size: u64) -> impl Iterator<Item = Bytes> + Send {
    let mut left = size;
    iter::from_fn(move || {
        let length = PADDING.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        left -= length as u64;
        (length > 0).then(|| Bytes::from_static(&PADDING[..length]))
    })
}

/// The JSON with so many bytes more in the response body of each entry that it lists, which are streamed, never held.
fn with_large_bodies(body: &[u8], size: u64) -> Body {
    const FIELD: &str = "\"responseBody\":\"";
    let text = String::from_utf8_lossy(body);
    let mut entries = text.split(FIELD).map(|part| Bytes::from(part.to_owned()));
    let first = entries.next();
    let entries: Vec<_> = entries.collect();
    let large = entries.into_iter().flat_map(move |rest| {
        iter::once(Bytes::from_static(FIELD.as_bytes())).chain(padding(size)).chain([rest])
    });
    Body::from_stream(stream::iter(first.into_iter().chain(large).map(Ok::<_, Infallible>)))
}

fn dripping(body: Vec<u8>, bytes: u64) -> Body {
    let drop_size = usize::try_from(bytes).unwrap_or(usize::MAX).max(1);
    Body::from_stream(stream::unfold(Bytes::from(body), move |mut left| async move {
        if left.is_empty() {
            return None;
        }
        tokio::time::sleep(DRIP_INTERVAL).await;
        let next = left.split_to(drop_size.min(left.len()));
        Some((Ok::<_, Infallible>(next), left))
    }))
}

/// Fields that no documentation names, at the top and in the members of lists.
fn with_extra_fields(body: &[u8]) -> Vec<u8> {
    let mut value = serde_json::from_slice(body).unwrap_or_else(|_| json!({}));
    add_extra_field(&mut value);
    if let Value::Object(fields) = &mut value {
        fields.values_mut().filter_map(Value::as_array_mut).flatten().for_each(add_extra_field);
    }
    value.to_string().into_bytes()
}

fn add_extra_field(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.insert("notInTheDocs".into(), json!({ "nested": [1, null, "text"] }));
    }
}

fn status_instead(fault: StatusFault) -> Response<Body> {
    let status = StatusCode::from_u16(fault.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = fault.body.map_or_else(
        || Content::Error { error: format!("simulated {status}") }.to_json(),
        String::into_bytes,
    );
    let mut response = response(status, JSON, body);
    let headers = fault.content_type.map(|value| (header::CONTENT_TYPE.to_string(), value));
    for (name, value) in fault.headers.into_iter().chain(headers) {
        if let (Ok(name), Ok(value)) = (header::HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn rate_limited(limit: RateLimit, now: Millis) -> Response<Body> {
    let error = Content::Error { error: "rate limit exceeded".into() };
    let mut response = response(StatusCode::TOO_MANY_REQUESTS, JSON, error.to_json());
    let headers = response.headers_mut();
    let reset = now.div_euclid(1000).saturating_add(limit.reset_in_seconds.into());
    match limit.headers {
        RateLimitHeaders::Burst => {
            headers.insert("burst-ratelimit-limit", HeaderValue::from_static("100"));
            headers.insert("burst-ratelimit-remaining", HeaderValue::from_static("0"));
            headers.insert("burst-ratelimit-reset", reset.into());
        }
        RateLimitHeaders::Daily => {
            headers.insert("ratelimit-limit", HeaderValue::from_static("1000"));
            headers.insert("ratelimit-remaining", HeaderValue::from_static("0"));
            headers.insert("ratelimit-reset", reset.into());
        }
        RateLimitHeaders::RetryAfter => {
            headers.insert(header::RETRY_AFTER, limit.reset_in_seconds.into());
        }
        RateLimitHeaders::None => {}
    }
    response
}
