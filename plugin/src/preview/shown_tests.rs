use super::super::report::Calls;
use super::*;

fn count(value: &str, count: u64) -> Count {
    Count { value: value.to_owned(), count }
}

fn report() -> Report {
    Report {
        namespace: "payments".to_owned(),
        name: "one".to_owned(),
        action: "resume".to_owned(),
        url: "https://qstash.upstash.io".to_owned(),
        selection: "entries with label=payments".to_owned(),
        time: "2026-11-20T12:00:00.000Z".to_owned(),
        entries: 3,
        is_limited: false,
        oldest_time: Some("2026-11-20T10:00:00.000Z".to_owned()),
        newest_time: Some("2026-11-20T11:00:00.000Z".to_owned()),
        workflow_urls: vec![count("https://a.example", 2), count("https://b.example", 1)],
        labels: Vec::new(),
        failure_function_states: vec![count("none", 3)],
        response_statuses: vec![count("500", 3)],
        attempts: vec![count("0", 3)],
        skipped: vec![count("status", 1)],
        not_found: 0,
        calls: Calls { list: 1, act: 1, seconds: None },
        expiry: None,
        notes: Vec::new(),
        listed: None,
    }
}

#[test]
fn a_table_says_how_many_entries_there_are_of_each_kind() {
    assert_eq!(
        table(&report()),
        "\
payments/one at https://qstash.upstash.io
selects entries with label=payments
resume: 3 entries would be acted on now.
They failed from 2026-11-20T10:00:00.000Z to 2026-11-20T11:00:00.000Z.
A run makes about 1 call to act and 1 to list.

 ENTRIES  WORKFLOW URL
       2  https://a.example
       1  https://b.example

 ENTRIES  FAILURE FUNCTION
       3  none

 ENTRIES  RESPONSE STATUS
       3  500

 ENTRIES  LEFT ALONE BECAUSE OF
       1  status
"
    );
}

#[test]
fn markdown_is_made_of_tables() {
    let text = markdown(&report());
    assert!(text.starts_with("### `one` resume: 3 entries\n"), "{text}");
    assert!(
        text.contains("\n| workflow URL | entries |\n| --- | ---: |\n| `https://a.example` | 2 |\n"),
        "{text}"
    );
}

#[test]
fn what_a_dlq_holds_can_neither_leave_its_cell_nor_mention_anybody() {
    let hostile = "`a` | @team\n# heading <b>\u{1b}[31m";
    let mut report = report();
    report.workflow_urls = vec![count(hostile, 1)];
    report.notes = vec![hostile.to_owned()];
    let text = markdown(&report);
    assert!(text.contains(r"| `'a' \| @team # heading <b> [31m` | 1 |"), "{text}");
    let note = "* Note: \\`a\\` \\| \\@\u{200b}team \\#\u{200b} heading \\<b\\> \\[31m.";
    assert!(text.contains(note), "{text}");
    assert!(!table(&report).contains('\u{1b}'));
}

#[test]
fn many_values_are_cut() {
    let mut report = report();
    report.workflow_urls = (0..15).map(|number| count(&format!("https://{number}.example"), 1)).collect();
    for text in [table(&report), markdown(&report)] {
        assert!(text.contains("and 5 more; see all with -o json"), "{text}");
    }
}

#[test]
fn each_entry_is_a_row_whose_cells_are_as_wide_as_their_column() {
    let listed = |id: &str, verdict: &str| Listed {
        dlq_id: id.to_owned(),
        verdict: verdict.to_owned(),
        failed_at: None,
        workflow_url: Some("https://a.example".to_owned()),
        workflow_run_id: None,
        labels: vec!["a".to_owned(), "b".to_owned()],
        response_status: Some(500),
        failure_function_state: None,
    };
    let mut report = report();
    report.listed = Some(vec![listed("1-0", "act"), listed("1795176000000-12", "nonRetryable")]);
    let text = table(&report);
    let rows: Vec<_> = text.lines().skip_while(|line| !line.starts_with("DLQID")).collect();
    assert_eq!(rows[0], "DLQID             VERDICT       FAILED AT  STATUS  LABELS  WORKFLOW URL");
    assert_eq!(rows[1], "1-0               act           -          500     a,b     https://a.example");
    assert_eq!(rows[2], "1795176000000-12  nonRetryable  -          500     a,b     https://a.example");
}

#[test]
fn a_text_from_outside_is_no_mention_and_ends_no_cell() {
    assert_eq!(code("a || b"), "`a || b`");
    assert_eq!(cell("a | b"), r"`a \| b`");
    assert_eq!(escaped("@team #1"), "\\@\u{200b}team \\#\u{200b}1");
}
