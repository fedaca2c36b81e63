//! From a call to what goes over the wire. Pure: no address, no token, no IO.

use http::{HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::form_urlencoded;

use super::types::{Action, Call, Criteria, Cursor, DlqId, Overrides, Selection};

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
        Call::List { criteria, cursor, count } => Request {
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
    Ok(request)
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
    // Written out in full so that a new criterion cannot be forgotten here.
    let Criteria {
        labels,
        workflow_urls,
        workflow_run_id,
        workflow_created_at,
        failure_function_states,
        caller_ips,
        flow_control_keys,
        from_date,
        to_date,
    } = criteria;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("count", &count.to_string());
    query.extend_pairs(cursor.map(|cursor| ("cursor", cursor.0.as_str())));
    query.extend_pairs(from_date.map(|ms| ("fromDate", ms.to_string())));
    query.extend_pairs(to_date.map(|ms| ("toDate", ms.to_string())));
    query.extend_pairs(workflow_urls.iter().map(|url| ("workflowUrl", url)));
    query.extend_pairs(workflow_run_id.iter().map(|id| ("workflowRunId", id)));
    query.extend_pairs(workflow_created_at.map(|ms| ("workflowCreatedAt", ms.to_string())));
    query.extend_pairs(labels.iter().map(|label| ("label", label)));
    query.extend_pairs(failure_function_states.iter().map(|state| ("failureFunctionState", state)));
    query.extend_pairs(caller_ips.iter().map(|ip| ("callerIp", ip)));
    query.extend_pairs(flow_control_keys.iter().map(|key| ("flowControlKey", key)));
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
        Ok(value) => Ok((name, value)),
        Err(_) => Err(RequestError::Header(name)),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> DlqId {
        DlqId(text.to_owned())
    }

    fn single(action: Action, text: &str) -> Result<Request, RequestError> {
        build(&Call::Single { action, id: id(text), overrides: Overrides::default() })
    }

    fn bulk(action: Action, selection: Selection) -> Request {
        build(&Call::Bulk { action, selection, overrides: Overrides::default() }).unwrap()
    }

    fn matching(criteria: Criteria) -> Selection {
        Selection::Matching { criteria, cursor: None, count: 50 }
    }

    #[test]
    fn each_action_has_its_method_and_path() {
        let table = [
            (Action::Resume, "POST", "/v2/workflows/dlq/resume"),
            (Action::Restart, "POST", "/v2/workflows/dlq/restart"),
            (Action::Delete, "DELETE", "/v2/workflows/dlq"),
        ];
        for (action, method, path) in table {
            let request = bulk(action, matching(Criteria::default()));
            assert_eq!((request.method.as_str(), request.path.as_str()), (method, path));
            assert_eq!(request.query, "count=50");
            let request = single(action, "dlq-1").unwrap();
            assert_eq!((request.method.as_str(), request.path), (method, format!("{path}/dlq-1")));
            assert_eq!(request.query, "");
        }
        let get = build(&Call::Get { id: id("dlq-1") }).unwrap();
        assert_eq!((get.method.as_str(), get.path.as_str()), ("GET", "/v2/workflows/dlq/dlq-1"));
    }

    #[test]
    fn every_criterion_has_its_parameter_and_lists_repeat_it() {
        let criteria = Criteria {
            labels: vec!["a".into(), "b".into()],
            workflow_urls: vec!["https://x.example/y".into()],
            workflow_run_id: Some("wfr_8f".into()),
            workflow_created_at: Some(1),
            failure_function_states: vec!["CALLBACK_FAIL"],
            caller_ips: vec!["203.0.113.7".into(), "::1".into()],
            flow_control_keys: vec!["k".into()],
            from_date: Some(2),
            to_date: Some(3),
        };
        let request =
            build(&Call::List { criteria, cursor: Some(Cursor("c=1&d".into())), count: 100 }).unwrap();
        assert_eq!(
            request.query,
            "count=100&cursor=c%3D1%26d&fromDate=2&toDate=3&workflowUrl=https%3A%2F%2Fx.example%2Fy\
             &workflowRunId=wfr_8f&workflowCreatedAt=1&label=a&label=b&failureFunctionState=CALLBACK_FAIL\
             &callerIp=203.0.113.7&callerIp=%3A%3A1&flowControlKey=k"
        );
    }

    #[test]
    fn values_survive_the_query_whatever_they_hold() {
        for value in ["a&b=c", "100%", "a+b", "a b", "größe", "日本", "#?/;", "\"'"] {
            let criteria = Criteria { labels: vec![value.into()], ..Criteria::default() };
            let request = bulk(Action::Resume, matching(criteria));
            let read: Vec<_> = form_urlencoded::parse(request.query.as_bytes()).into_owned().collect();
            assert_eq!(read, [("count".into(), "50".into()), ("label".to_owned(), value.to_owned())]);
        }
    }

    #[test]
    fn ids_are_repeated_and_never_none() {
        let request = bulk(Action::Delete, Selection::Ids(vec![id("dlq-1"), id("a+b")]));
        assert_eq!(request.query, "dlqIds=dlq-1&dlqIds=a%2Bb");
        for ids in [vec![], vec![id("")]] {
            let call = Call::Bulk {
                action: Action::Delete,
                selection: Selection::Ids(ids),
                overrides: Overrides::default(),
            };
            assert_eq!(build(&call), Err(RequestError::NoIds));
        }
    }

    #[test]
    fn no_id_turns_a_single_call_into_a_bulk_one() {
        let hostile = [
            "",
            ".",
            "..",
            "/",
            "//",
            "../",
            "./",
            "a/..",
            "../..",
            "%2e",
            "%2e%2e",
            "%2E%2E",
            ".%2e",
            "%2e%2e%2f",
            "..\\",
            "\\..",
            "a%2f..",
            "a\u{0}",
            "..%5c",
        ];
        for text in hostile {
            for action in [Action::Resume, Action::Restart, Action::Delete] {
                assert_eq!(single(action, text), Err(RequestError::Id(text.to_owned())), "{text:?}");
            }
            assert!(build(&Call::Get { id: id(text) }).is_err(), "{text:?}");
        }
        for text in
            ["a/b", "a?b", "a#b", "a%2fb", "...", "a b", "ä", "dlq-1?dlqIds=x", ";", "a..b", "%252e%252e"]
        {
            let request = single(Action::Delete, text).unwrap();
            let sent = url::Url::parse(&format!("http://h{}?{}", request.path, request.query)).unwrap();
            let segments: Vec<_> = sent.path_segments().unwrap().collect();
            assert_eq!(segments.len(), 4, "{text:?} -> {sent}");
            let read = percent_encoding::percent_decode_str(segments[3]).decode_utf8().unwrap();
            assert_eq!(read, text);
        }
    }

    fn headers(overrides: Overrides) -> Vec<String> {
        let call =
            Call::Bulk { action: Action::Restart, selection: matching(Criteria::default()), overrides };
        let request = build(&call).unwrap();
        request.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn every_override_has_its_header() {
        let overrides = Overrides {
            retries: Some(3),
            delay: Some("10s".into()),
            retry_delay: Some("(1 + retried) * 1000".into()),
            flow_control_key: Some("k".into()),
            parallelism: Some(5),
            rate: Some(10),
            period: Some("1m".into()),
            labels: vec!["a".into(), "b c".into()],
            failure_callback: Some("https://x.example/f".into()),
        };
        assert_eq!(
            headers(overrides),
            [
                "upstash-retries: 3",
                "upstash-delay: 10s",
                "upstash-retry-delay: (1 + retried) * 1000",
                "upstash-flow-control-key: k",
                "upstash-flow-control-value: parallelism=5, rate=10, period=1m",
                "upstash-label: a,b c",
                "upstash-failure-callback: https://x.example/f",
            ]
        );
    }

    #[test]
    fn an_override_that_is_not_given_sends_no_header() {
        assert_eq!(headers(Overrides::default()), Vec::<String>::new());
        let rate_only = Overrides { rate: Some(1), ..Overrides::default() };
        assert_eq!(headers(rate_only), ["upstash-flow-control-value: rate=1"]);
    }

    #[test]
    fn a_delete_carries_no_overrides() {
        let overrides = Overrides { retries: Some(3), ..Overrides::default() };
        let call = Call::Bulk { action: Action::Delete, selection: matching(Criteria::default()), overrides };
        assert_eq!(build(&call).unwrap().headers, []);
    }

    #[test]
    fn a_value_that_no_header_can_carry_is_refused() {
        let overrides = Overrides { delay: Some("1s\r\nx: y".into()), ..Overrides::default() };
        let call = Call::Bulk { action: Action::Resume, selection: matching(Criteria::default()), overrides };
        assert_eq!(build(&call), Err(RequestError::Header(HeaderName::from_static("upstash-delay"))));
    }
}
