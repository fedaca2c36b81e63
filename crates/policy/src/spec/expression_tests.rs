use std::time::Instant;

use proptest::prelude::*;

use super::*;
use dlq_upstash::types::DlqId;

const NOW: &str = "2026-11-20T12:00:00Z";

fn listed() -> ListedEntry {
    ListedEntry {
        workflow_url: Some("https://app.example.com/api/pay".to_owned()),
        workflow_run_id: Some("wfr_1".to_owned()),
        workflow_created_at: Some(1_763_633_000_000),
        response_status: Some(503),
        response_headers: [("retry-after".to_owned(), vec!["120".to_owned()])].into(),
        response_body: Some("upstream timeout after 30s".to_owned()),
        failure_function_state: Some("CALLBACK_FAIL".to_owned()),
        ..ListedEntry::bare(DlqId("1763640000000-7".to_owned()))
    }
}

fn judge(source: &str, entry: &ListedEntry) -> Result<bool, Fault> {
    let judged = Judged { entry, labels: &["payments", "eu"], attempts: 2 };
    Expression::compile(source).unwrap().is_true(judged, NOW.parse().unwrap())
}

#[test]
fn an_expression_is_true_or_false_of_an_entry() {
    for (source, expected) in [
        ("true", true),
        ("entry.dlqId == '1763640000000-7'", true),
        ("entry.workflowUrl.startsWith('https://app.example.com/') && entry.attempts < 2", false),
        ("entry.workflowRunId == 'wfr_1'", true),
        ("entry.labels.exists(label, label == 'eu')", true),
        ("'us' in entry.labels", false),
        ("entry.labels.size() == 2", true),
        ("entry.responseStatus >= 500", true),
        ("entry.responseHeaders['retry-after'][0] == '120'", true),
        ("'x-missing' in entry.responseHeaders", false),
        ("entry.responseHeaders.exists(name, entry.responseHeaders[name].exists(v, v == '120'))", true),
        ("entry.responseBody.contains('timeout')", true),
        ("entry.responseBody.matches('after [0-9]+s$')", true),
        ("entry.failureFunctionState == 'CALLBACK_FAIL'", true),
        ("entry.callerIp == '' && entry.flowControlKey == ''", true),
        ("entry.failedAt == timestamp('2025-11-20T12:00:00Z')", true),
        ("now - entry.failedAt > duration('24h')", true),
        ("entry.workflowCreatedAt < entry.failedAt", true),
        ("entry.failedAt.getFullYear() == 2025 ? true : false", true),
    ] {
        assert_eq!(judge(source, &listed()), Ok(expected), "{source}");
    }
}

#[test]
fn what_a_list_does_not_show_is_empty_but_for_a_time_that_is_read() {
    let bare = ListedEntry::bare(DlqId("dlq-1".to_owned()));
    assert_eq!(
        judge("entry.responseStatus == 0 && entry.responseBody == '' && entry.workflowUrl == ''", &bare),
        Ok(true)
    );
    assert_eq!(judge("entry.failedAt == now", &bare), Ok(true));
    assert_eq!(judge("entry.workflowCreatedAt < now", &bare), Err(Fault::MissingField));
    assert_eq!(judge("has(entry.workflowCreatedAt)", &bare), Err(Fault::MissingField));
}

#[test]
fn an_evaluation_that_fails_has_no_verdict() {
    for source in [
        "entry.responseStatus",
        "'text'",
        "entry.responseHeaders['x-missing'][0] == 'a'",
        "entry.responseBody > 5",
        "1 / (entry.attempts - 2) > 0",
        "int(entry.responseBody) > 0",
        "entry.responseBody.matches(entry.workflowRunId + '(')",
        "timestamp(entry.responseBody) < now",
        "now + duration('nothing') > now",
    ] {
        assert_eq!(judge(source, &listed()), Err(Fault::Failed), "{source}");
    }
}

#[test]
fn a_wrong_expression_is_refused_with_the_place_and_the_way_out() {
    for (source, problem) in [
        ("entry.attempts <", "line 1, column 17: mismatched input '<EOF>'"),
        ("true &&\n bar baz", "line 2, column 6: extraneous input 'baz'"),
        ("", "line 1, column 1: mismatched input '<EOF>'"),
        ("entry.responsestatus == 500", "entry.responsestatus is not known; entry has dlqId, workflowUrl"),
        ("entri.attempts == 1", "entri is not known; there are entry and now"),
        ("entry.labels.exists(label, lable == 'a')", "lable is not known"),
        ("entry.responseBody.include('a')", "include is not a known function; there are bytes, contains"),
        ("entry.responseBody.matches('(')", "matches(\"(\"): error: unclosed group"),
        ("entry.responseBody.matches('(a{1,900}){1,900}')", "matches("),
        ("Message{ field: 1 } == null", "messages cannot be made"),
    ] {
        let error = Expression::compile(source).unwrap_err();
        assert!(error.starts_with(problem), "{source}: {error}");
        assert!(!error.contains('\n'), "{error:?}");
    }
}

#[test]
fn only_expressions_that_read_the_response_have_it_listed() {
    for (source, detail) in [
        ("entry.responseStatus == 500", Detail::Brief),
        ("entry.labels.exists(l, l == 'responseBody')", Detail::Brief),
        ("entry.responseBody == ''", Detail::Response),
        ("'a' in entry.responseHeaders", Detail::Headers),
        ("entry['responseBody'] == ''", Detail::Response),
        ("[entry].exists(e, e.responseBody == '')", Detail::Response),
    ] {
        assert_eq!(Expression::compile(source).unwrap().detail(), detail, "{source}");
    }
}

/// As long as the API server lets an expression be.
fn of_most_characters(part: &str, before: &str, after: &str) -> String {
    let count = (1024 - before.len() - after.len()) / part.len();
    format!("{before}{}{after}", part.repeat(count))
}

#[test]
fn however_deep_an_expression_is_it_is_read_or_refused_and_the_process_lives() {
    for source in [
        of_most_characters("(", "", ""),
        of_most_characters("[", "", ""),
        of_most_characters("{1:", "", ""),
        of_most_characters("!", "", "true"),
        of_most_characters("-", "", "1"),
        of_most_characters(".b", "entry", ""),
        of_most_characters("[0]", "entry", ""),
        of_most_characters("+1", "1", "==1"),
        of_most_characters("&&true", "true", ""),
        of_most_characters(".size()", "entry", ""),
        of_most_characters("true?true:", "", "true"),
        format!("{}true{}", "(".repeat(500), ")".repeat(500)),
        format!("{}1{}", "[1].exists(x,".repeat(73), ")".repeat(73)),
    ] {
        if let Ok(expression) = Expression::compile(&source) {
            let judged = Judged { entry: &listed(), labels: &[], attempts: 0 };
            let _ = expression.is_true(judged, NOW.parse().unwrap());
        }
    }
}

#[test]
fn an_evaluation_that_would_take_long_is_not_begun() {
    let many: Vec<String> = (0..500).map(|number| format!("label-{number}")).collect();
    let labels: Vec<&str> = many.iter().map(String::as_str).collect();
    let judge = |source: &str, entry: &ListedEntry| {
        let expression = Expression::compile(source).unwrap();
        expression.is_true(Judged { entry, labels: &labels, attempts: 0 }, NOW.parse().unwrap())
    };
    let large = ListedEntry { response_body: Some("x".repeat(16 * 1024)), ..listed() };
    let nested = "entry.labels.all(a, entry.labels.all(b, entry.labels.all(c, a + b + c != '')))";
    let doubled = format!("size({}) > 0", vec!["entry.responseBody"; 25].join("+"));
    let before = Instant::now();
    assert_eq!(judge(nested, &large), Err(Fault::Failed));
    assert_eq!(judge(&format!("entry.labels.all(a, {doubled})"), &large), Err(Fault::Failed));
    for made in [
        format!("size(['{}']{}[0]) > 0", "x".repeat(100), ".map(a, a + a)".repeat(12)),
        format!("[[1]]{}.size() > 0", ".map(a, a + a)".repeat(24)),
        format!("[1]{}.size() > 0", ".map(a, [a, a] + [a]).map(a, a[0] + a[1])".repeat(11)),
        format!("[1]{}.size() > 0", ".map(a, [a, a])".repeat(24)),
        format!("[1]{}.size() > 0", ".map(a, {'a': a, 'b': a})".repeat(24)),
        format!("[[1, 2]]{}.size() > 0", ".map(a, a.map(b, a))".repeat(16)),
        "[1, 2, 3, 4, 5, 6, 7, 8, 9].all(x, entry.responseBody.matches(string(x)))".to_owned(),
    ] {
        assert_eq!(judge(&made, &large), Err(Fault::Failed), "{made}");
    }
    assert!(before.elapsed().as_secs() < 2, "{:?}", before.elapsed());
    assert_eq!(judge("entry.labels.all(a, a.startsWith('label-'))", &large), Ok(true), "one round of them");
}

fn token() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "entry",
        "now",
        "entry.labels",
        "entry.attempts",
        "entry.responseBody",
        "entry.responseHeaders",
        ".size()",
        ".exists(x, ",
        ".map(x, ",
        ".filter(x, ",
        "x",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ":",
        ",",
        "+",
        "-",
        "*",
        "/",
        "%",
        "<",
        "==",
        "!=",
        "in",
        "!",
        "&&",
        "||",
        "?",
        "1",
        "2.5",
        "3u",
        "-9223372036854775808",
        "'a'",
        "b'a'",
        "true",
        "null",
        "has(",
        "duration('1h')",
        "timestamp(",
        "string(",
        "matches(",
        ".matches('a')",
        "'",
        "\\",
        "é",
        "\n",
        " ",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn whatever_is_written_is_refused_or_judges_every_entry(tokens in prop::collection::vec(token(), 0..25)) {
        if let Ok(expression) = Expression::compile(&tokens.concat()) {
            let judged = Judged { entry: &listed(), labels: &["a"], attempts: 1 };
            let _ = expression.is_true(judged, NOW.parse().unwrap());
        }
    }
}
