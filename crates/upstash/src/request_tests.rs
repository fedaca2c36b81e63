use super::super::response::MAX_CURSOR_BYTES;
use super::super::types::{Detail, MAX_FILTER_BYTES};
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

fn list(criteria: Criteria, cursor: Option<Cursor>) -> Call {
    Call::List { criteria, cursor, count: 100, detail: Detail::Brief }
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
    let request = build(&list(criteria, Some(Cursor("c=1&d".into())))).unwrap();
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
    for text in ["a/b", "a?b", "a#b", "a%2fb", "...", "a b", "ä", "dlq-1?dlqIds=x", ";", "a..b", "%252e%252e"]
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
    let call = Call::Bulk { action: Action::Restart, selection: matching(Criteria::default()), overrides };
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
fn the_lengths_that_are_reckoned_are_those_that_are_sent() {
    for value in ["a", "a b", "größe&=+%", "\u{1}日本"] {
        let ids = vec![id(value), id("b")];
        let bytes: usize = ids.iter().map(DlqId::query_bytes).sum();
        assert_eq!(bulk(Action::Delete, Selection::Ids(ids)).query.len() + 1, bytes, "{value}");
        let criteria = Criteria {
            labels: vec![value.into(), value.into()],
            workflow_run_id: Some(value.into()),
            failure_function_states: vec!["CALLBACK_FAIL"],
            ..Criteria::default()
        };
        let bytes: usize = criteria.query_bytes().values().sum();
        assert_eq!(bulk(Action::Delete, matching(criteria)).query.len(), bytes + "count=50".len());
    }
}

#[test]
fn what_is_reserved_for_the_rest_of_the_target_is_enough() {
    let farthest = Some("9999-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond());
    let mut criteria = Criteria { labels: vec![String::new()], ..Criteria::default() };
    let room = MAX_FILTER_BYTES - criteria.query_bytes()["label"];
    criteria.labels = vec!["x".repeat(room)];
    assert_eq!(criteria.query_bytes()["label"], MAX_FILTER_BYTES);
    let criteria = Criteria { from_date: farthest, to_date: farthest, ..criteria };
    for action in [Action::Resume, Action::Restart, Action::Delete] {
        let selection = Selection::Matching { criteria: criteria.clone(), cursor: None, count: 100 };
        bulk(action, selection);
    }
    build(&list(criteria, None)).unwrap();
}

#[test]
fn a_target_that_servers_may_refuse_or_cut_is_not_sent() {
    let labels = vec!["x".repeat(MAX_TARGET_BYTES)];
    let call = list(Criteria { labels, ..Criteria::default() }, None);
    assert!(matches!(build(&call), Err(RequestError::LongTarget(bytes)) if bytes > MAX_TARGET_BYTES));
    let ids = vec![id(&"x".repeat(256)); 50];
    let selection = Selection::Ids(ids);
    let call = Call::Bulk { action: Action::Delete, selection, overrides: Overrides::default() };
    assert!(matches!(build(&call), Err(RequestError::LongTarget(_))));
    // Who gave the cursor takes it back; and the whole still is a URL to every library.
    let criteria = Criteria { labels: vec!["x".repeat(7000)], ..Criteria::default() };
    let cursor = Some(Cursor("\u{e4}".repeat(MAX_CURSOR_BYTES / 2)));
    let request = build(&list(criteria, cursor)).unwrap();
    let target = format!("{}?{}", request.path, request.query);
    assert!(target.len() > 50_000 && target.parse::<http::Uri>().is_ok());
}

#[test]
fn a_value_that_no_header_can_carry_is_refused() {
    let labels = vec!["x".repeat(256); 50];
    let overrides = Overrides { labels, ..Overrides::default() };
    let call = Call::Bulk { action: Action::Resume, selection: matching(Criteria::default()), overrides };
    assert_eq!(build(&call), Err(RequestError::LongHeader(HeaderName::from_static("upstash-label"))));
    let overrides = Overrides { delay: Some("1s\r\nx: y".into()), ..Overrides::default() };
    let call = Call::Bulk { action: Action::Resume, selection: matching(Criteria::default()), overrides };
    assert_eq!(build(&call), Err(RequestError::Header(HeaderName::from_static("upstash-delay"))));
}
