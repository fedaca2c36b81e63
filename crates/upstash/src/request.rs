//! From a call to what goes over the wire. Pure: no address, no token, no IO.

use http::{HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::form_urlencoded;

use super::types::{
    Action, Call, Criteria, Cursor, DlqId, MAX_HEADER_BYTES, MAX_TARGET_BYTES, Overrides, Selection,
};

const DLQ: &str = "/v2/workflows/dlq";

/// Everything but letters, digits, `-`, `_` and `~`. The dot is encoded too, so that an ID of `.` or `..` never is a
/// step in the path; [`path_segment`] does what encoding alone cannot.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// A request without host and credentials.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path, encoded.
    pub path: String,
    /// The query, encoded, without `?`; empty for none.
    pub query: String,
    /// The override headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why a call cannot be sent. The API server's rules and `policy::validate` refuse these before.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// The ID cannot stand in a path.
    #[error("the ID {0:?} cannot stand in a URL's path")]
    Id(String),
    /// The header cannot carry the value.
    #[error("the header {0} cannot carry its value")]
    Header(HeaderName),
    /// The header's value is longer than servers take.
    #[error("the header {0} is longer than {MAX_HEADER_BYTES} bytes")]
    LongHeader(HeaderName),
    /// Path and query are longer than servers take. Never cut: a filter less selects more.
    #[error("path and query are {0} bytes long, and at most {MAX_TARGET_BYTES} are sent")]
    LongTarget(usize),
    /// No IDs: the API would take that for "everything".
    #[error("a call by IDs needs at least one ID")]
    NoIds,
}

/// What to send for a call.
pub fn build(call: &Call) -> Result<Request, RequestError> {
    let request = match call {
        Call::Bulk { action, selection, overrides } => Request {
            method: method(*action),
            path: action_path(*action),
            query: selection_query(selection)?,
            headers: action_headers(*action, overrides)?,
        },
        Call::Single { action, id, overrides } => Request {
            method: method(*action),
            path: format!("{}/{}", action_path(*action), path_segment(id)?),
            query: String::new(),
            headers: action_headers(*action, overrides)?,
        },
        Call::List { criteria, cursor, count, detail: _ } => Request {
            method: Method::GET,
            path: DLQ.to_owned(),
            query: page_query(criteria, cursor.as_ref(), *count),
            headers: Vec::new(),
        },
        Call::Get { id } => Request {
            method: Method::GET,
            path: format!("{DLQ}/{}", path_segment(id)?),
            query: String::new(),
            headers: Vec::new(),
        },
    };
    let bytes = request.path.len() + 1 + request.query.len() - cursor_bytes(call);
    if bytes > MAX_TARGET_BYTES { Err(RequestError::LongTarget(bytes)) } else { Ok(request) }
}

/// What of the query is the API's own.
fn cursor_bytes(call: &Call) -> usize {
    match call {
        Call::Bulk { selection: Selection::Matching { cursor: Some(cursor), .. }, .. }
        | Call::List { cursor: Some(cursor), .. } => {
            "&cursor=".len()
                + form_urlencoded::byte_serialize(cursor.0.as_bytes()).map(str::len).sum::<usize>()
        }
        _ => 0,
    }
}

fn method(action: Action) -> Method {
    match action {
        Action::Resume | Action::Restart => Method::POST,
        Action::Delete => Method::DELETE,
    }
}

fn action_path(action: Action) -> String {
    match action {
        Action::Resume => format!("{DLQ}/resume"),
        Action::Restart => format!("{DLQ}/restart"),
        Action::Delete => DLQ.to_owned(),
    }
}

/// An ID as one segment of a path. URL libraries and proxies drop `.` and `..` even when their dots are encoded, and
/// `DELETE /v2/workflows/dlq/..` without its last segment deletes everything: such IDs are refused here as well.
fn path_segment(id: &DlqId) -> Result<String, RequestError> {
    let id = id.0.as_str();
    let steps = |text: &str| {
        let text = text.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "\\");
        text.is_empty() || text.split(['/', '\\']).any(|part| part.is_empty() || part == "." || part == "..")
    };
    if steps(id) || id.chars().any(char::is_control) {
        return Err(RequestError::Id(id.to_owned()));
    }
    Ok(utf8_percent_encode(id, SEGMENT).to_string())
}

fn selection_query(selection: &Selection) -> Result<String, RequestError> {
    match selection {
        Selection::Matching { criteria, cursor, count } => Ok(page_query(criteria, cursor.as_ref(), *count)),
        Selection::Ids(ids) if ids.is_empty() || ids.iter().any(|id| id.0.is_empty()) => {
            Err(RequestError::NoIds)
        }
        Selection::Ids(ids) => {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.extend_pairs(ids.iter().map(|id| ("dlqIds", id.0.as_str())));
            Ok(query.finish())
        }
    }
}

fn page_query(criteria: &Criteria, cursor: Option<&Cursor>, count: u32) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("count", &count.to_string());
    query.extend_pairs(cursor.map(|cursor| ("cursor", cursor.0.as_str())));
    query.extend_pairs(criteria.parameters());
    query.finish()
}

fn action_headers(
    action: Action,
    overrides: &Overrides,
) -> Result<Vec<(HeaderName, HeaderValue)>, RequestError> {
    if action == Action::Delete {
        return Ok(Vec::new());
    }
    let Overrides {
        retries,
        delay,
        retry_delay,
        flow_control_key,
        parallelism,
        rate,
        period,
        labels,
        failure_callback,
    } = overrides;
    let flow_control_value = [
        parallelism.map(|n| format!("parallelism={n}")),
        rate.map(|n| format!("rate={n}")),
        period.as_ref().map(|span| format!("period={span}")),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(", ");
    [
        ("upstash-retries", retries.map(|n| n.to_string())),
        ("upstash-delay", delay.clone()),
        ("upstash-retry-delay", retry_delay.clone()),
        ("upstash-flow-control-key", flow_control_key.clone()),
        ("upstash-flow-control-value", Some(flow_control_value).filter(|value| !value.is_empty())),
        ("upstash-label", Some(labels.join(",")).filter(|value| !value.is_empty())),
        ("upstash-failure-callback", failure_callback.clone()),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((HeaderName::from_static(name), value?)))
    .map(|(name, value)| match HeaderValue::from_str(&value) {
        Ok(_) if value.len() > MAX_HEADER_BYTES => Err(RequestError::LongHeader(name)),
        Ok(value) => Ok((name, value)),
        Err(_) => Err(RequestError::Header(name)),
    })
    .collect()
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
