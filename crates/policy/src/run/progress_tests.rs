use serde_json::{Value, json};

#[path = "progress_approval_tests.rs"]
mod approvals;
#[path = "progress_failures_tests.rs"]
mod failures;
#[path = "progress_ids_tests.rs"]
mod ids;
#[path = "progress_refusals_tests.rs"]
mod refusals;

use std::time::Duration;

use super::*;
use crate::spec::ConnectionRef;
use dlq_crd::{Reason, RunResult};
use dlq_upstash::error::ErrorClass;
use dlq_upstash::types::{Action, Criteria, Cursor, DlqId, ListedEntry, Overrides, Page, Selection};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_763_640_000 + seconds).unwrap()
}

/// A run that started at second 0, with other fields.
fn run(fields: &Value) -> PolicyRun {
    let mut run = json!({
        "id": "1-spec",
        "trigger": "Spec",
        "action": "resume",
        "startTime": at(0).to_string(),
        "window": {"toDate": at(0).to_string()},
    });
    for (name, value) in fields.as_object().unwrap() {
        run[name] = value.clone();
    }
    serde_json::from_value(run).unwrap()
}

fn progress(selected: Selected, run: PolicyRun) -> Progress {
    let overrides = Overrides { retries: Some(3), ..Overrides::default() };
    let work = Work {
        action: run.action,
        dry_run: run.dry_run,
        selected,
        by_listing: None,
        overrides,
        connection: ConnectionRef::Default,
    };
    Progress::new(work, run, 10)
}

/// A run over all that carries a label.
fn matching(fields: &Value) -> Progress {
    let criteria = Criteria { labels: vec!["payments".into()], ..Criteria::default() };
    progress(Selected::Matching { criteria, from: None, to: None }, run(fields))
}

/// A run over `count` IDs, `id-0` and so on.
fn listed(count: usize, fields: &Value) -> Progress {
    let ids = (0..count).map(|index| DlqId(format!("id-{index}"))).collect();
    progress(Selected::Ids(ids), run(fields))
}

fn page(entries: u64, cursor: &str) -> Page {
    Page {
        entries,
        workflow_run_ids: (0..entries).map(|index| format!("wfr_{index}")).collect(),
        cursor: (!cursor.is_empty()).then(|| Cursor(cursor.into())),
        ..Page::default()
    }
}

fn error(class: ErrorClass) -> ApiError {
    let status = match class {
        ErrorClass::TooLarge => 200,
        ErrorClass::RateLimited => 429,
        ErrorClass::Unavailable => 503,
        ErrorClass::Unauthorized => 401,
        ErrorClass::Forbidden => 403,
        ErrorClass::NotFound => 404,
        ErrorClass::QuotaExceeded => 412,
        ErrorClass::Refused => 400,
        ErrorClass::Unexpected => 422,
    };
    ApiError { class, status: Some(status), message: "no".into(), retry_after: None, may_have_acted: false }
}

/// A list of these entries: the milliseconds and the label of each.
fn shown(entries: &[(i64, &str)], cursor: &str) -> Page {
    let entry = |(failed, label): &(i64, &str)| ListedEntry {
        labels: Some(vec![(*label).to_owned()]),
        response_status: Some(503),
        ..ListedEntry::bare(DlqId(format!("{}-0", 1_763_640_000_000 + failed)))
    };
    Page { listed: entries.iter().map(entry).collect(), ..page(entries.len() as u64, cursor) }
}

/// A 502: the call may have acted.
fn lost() -> ApiError {
    ApiError { status: Some(502), may_have_acted: true, ..error(ErrorClass::Unavailable) }
}

fn call(progress: &mut Progress) -> Call {
    match progress.next(at(0)) {
        Step::Call(call) => call,
        step => panic!("{step:?}"),
    }
}

fn answer(progress: &mut Progress, page: &Page) -> Call {
    let call = call(progress);
    progress.answer(&call, page, at(0));
    call
}

/// Fails the next call; no jitter, so that it is repeated at once unless the answer asks for more.
fn fail(progress: &mut Progress, error: &ApiError) -> Failure {
    let call = call(progress);
    progress.fail(&call, error, at(0), 0.0)
}

fn end(progress: &mut Progress) -> Outcome {
    match progress.next(at(0)) {
        Step::End(outcome) => outcome,
        step => panic!("{step:?}"),
    }
}

fn ended(progress: &mut Progress) -> (RunResult, Reason) {
    let outcome = end(progress);
    (outcome.result, outcome.reason)
}

fn asked(call: &Call) -> (Option<&str>, u32) {
    match call {
        Call::Bulk { selection: Selection::Matching { cursor, count, .. }, .. }
        | Call::List { cursor, count, .. } => (cursor.as_ref().map(|cursor| cursor.0.as_str()), *count),
        call => panic!("{call:?}"),
    }
}

fn sent(call: &Call) -> usize {
    match call {
        Call::Bulk { selection: Selection::Ids(ids), .. } => ids.len(),
        call => panic!("{call:?}"),
    }
}

const SUCCEEDED: (RunResult, Reason) = (RunResult::Succeeded, Reason::RunSucceeded);
const NOTHING: (RunResult, Reason) = (RunResult::Succeeded, Reason::NothingMatched);
const LIMIT: (RunResult, Reason) = (RunResult::LimitReached, Reason::LimitReached);

fn failed(reason: Reason) -> (RunResult, Reason) {
    (RunResult::Failed, reason)
}

#[test]
fn pages_are_followed_and_counted_until_there_is_no_cursor() {
    let mut progress = matching(&json!({"limits": {"pageSize": 20}}));
    let first = answer(&mut progress, &page(20, "a"));
    let Call::Bulk { action, selection: Selection::Matching { criteria, .. }, overrides } = &first else {
        panic!("{first:?}")
    };
    assert_eq!((*action, overrides.retries), (Action::Resume, Some(3)));
    assert_eq!((criteria.from_date, criteria.to_date), (None, Some(at(0).as_millisecond())));
    assert_eq!(criteria.labels, ["payments"]);
    assert_eq!(asked(&first), (None, 20));
    assert_eq!(asked(&answer(&mut progress, &page(0, "b"))), (Some("a"), 20));
    assert_eq!(asked(&answer(&mut progress, &page(3, ""))), (Some("b"), 20));
    assert_eq!(ended(&mut progress), SUCCEEDED);
    assert_eq!(end(&mut progress).message, "resumed 23 entries in 3 calls, 0 refused");
    let run = progress.run();
    assert_eq!((run.processed, run.pages, run.cursor.as_deref()), (23, 3, Some("b")));
    assert_eq!(run.sample_workflow_run_ids.len(), 10);
}

#[test]
fn a_run_is_taken_up_at_its_last_cursor() {
    let mut progress = matching(&json!({"cursor": "c", "processed": 7, "pages": 2}));
    assert_eq!(asked(&answer(&mut progress, &page(1, ""))), (Some("c"), 50));
    assert_eq!(ended(&mut progress), SUCCEEDED);
    assert_eq!((progress.run().processed, progress.run().pages), (8, 3));
}

#[test]
fn a_run_that_finds_nothing_says_so() {
    let mut progress = matching(&json!({}));
    answer(&mut progress, &page(0, ""));
    assert_eq!(ended(&mut progress), NOTHING);
    let mut empty =
        matching(&json!({"window": {"fromDate": at(1).to_string(), "toDate": at(0).to_string()}}));
    assert_eq!(ended(&mut empty), NOTHING);
    assert_eq!(empty.run().pages, 0);
    let mut edited = matching(&json!({"window": null}));
    assert_eq!(ended(&mut edited), failed(Reason::BadRequest));
}

#[test]
fn a_dry_run_lists_and_counts() {
    let mut progress = matching(&json!({"dryRun": true}));
    assert!(matches!(answer(&mut progress, &page(50, "a")), Call::List { .. }));
    answer(&mut progress, &page(1, ""));
    assert_eq!(ended(&mut progress), (RunResult::Succeeded, Reason::DryRunSucceeded));
    assert_eq!(end(&mut progress).message, "dry run: 51 entries match, nothing was done");
}

#[test]
fn a_cursor_that_comes_again_without_progress_is_a_loop() {
    for pages in [&["a", "a"][..], &["a", "b", "a"], &["a", "b", "c", "b"]] {
        let mut progress = matching(&json!({}));
        for cursor in pages {
            answer(&mut progress, &page(0, cursor));
        }
        assert_eq!(ended(&mut progress), failed(Reason::CursorLoop), "{pages:?}");
    }
}

#[test]
fn a_cursor_may_come_again_with_progress() {
    let mut progress = matching(&json!({}));
    for entries in [5, 0, 5, 5, 0, 1] {
        // The same word each time would be a loop after an empty page only when nothing happened in between.
        let cursor = if entries == 0 { "b" } else { "a" };
        answer(&mut progress, &page(entries, cursor));
    }
    answer(&mut progress, &page(0, ""));
    assert_eq!(ended(&mut progress), SUCCEEDED);
}

#[test]
fn an_empty_page_with_the_cursor_that_was_sent_is_a_loop_even_after_progress() {
    let mut progress = matching(&json!({}));
    answer(&mut progress, &page(5, "a"));
    answer(&mut progress, &page(5, "a"));
    answer(&mut progress, &page(0, "a"));
    assert_eq!(ended(&mut progress), failed(Reason::CursorLoop));
}

#[test]
fn a_hundred_empty_pages_in_a_row_are_a_loop() {
    let mut progress = matching(&json!({}));
    answer(&mut progress, &page(1, "start"));
    for index in 0..99 {
        answer(&mut progress, &page(0, &format!("{index}")));
    }
    let mut at_the_end = matching(&json!({}));
    for index in 0..99 {
        answer(&mut at_the_end, &page(0, &format!("{index}")));
    }
    answer(&mut at_the_end, &page(0, ""));
    assert_eq!(ended(&mut at_the_end), NOTHING);
    answer(&mut progress, &page(0, "99"));
    assert_eq!(ended(&mut progress), failed(Reason::CursorLoop));
}

#[test]
fn a_dry_run_allows_no_cursor_twice() {
    let mut progress = matching(&json!({"dryRun": true}));
    answer(&mut progress, &page(5, "a"));
    answer(&mut progress, &page(5, "b"));
    answer(&mut progress, &page(5, "a"));
    assert_eq!(ended(&mut progress), failed(Reason::CursorLoop));
}

#[test]
fn a_run_never_asks_for_more_than_is_left_of_its_limit() {
    let mut progress = matching(&json!({"limits": {"pageSize": 40, "maxEntriesPerRun": 100}}));
    assert_eq!(asked(&answer(&mut progress, &page(40, "a"))).1, 40);
    assert_eq!(asked(&answer(&mut progress, &page(30, "b"))).1, 40);
    assert_eq!(asked(&answer(&mut progress, &page(30, "c"))).1, 30);
    assert_eq!(ended(&mut progress), LIMIT);
    assert_eq!(progress.run().processed, 100);
}

#[test]
fn what_a_lost_or_abandoned_call_may_have_done_counts_against_the_limit() {
    let limits = json!({"pageSize": 40, "maxEntriesPerRun": 100});
    let mut progress = matching(&json!({ "limits": limits }));
    answer(&mut progress, &page(40, "a"));
    fail(&mut progress, &lost());
    let last = call(&mut progress);
    assert_eq!(asked(&last).1, 20);
    progress.give_up(&last, at(0));
    assert_eq!(ended(&mut progress), LIMIT);
    assert_eq!((progress.run().processed, progress.run().uncertain_pages), (40, 2));
    // Another process knows only how many calls there were.
    let mut taken = matching(&json!({"limits": limits, "processed": 40, "uncertainPages": 1}));
    assert_eq!(asked(&call(&mut taken)).1, 20);
    let mut spent = matching(&json!({"limits": limits, "processed": 40, "uncertainPages": 2}));
    assert_eq!(ended(&mut spent), LIMIT);
}

#[test]
fn a_page_may_bring_more_than_was_asked_for() {
    let mut progress = matching(&json!({"limits": {"pageSize": 10, "maxEntriesPerRun": 15}}));
    answer(&mut progress, &page(40, "a"));
    assert_eq!(ended(&mut progress), LIMIT);
    assert_eq!(progress.run().processed, 40);
    let mut absurd = matching(&json!({}));
    answer(&mut absurd, &Page { entries: u64::MAX, ..page(0, "a") });
    answer(&mut absurd, &page(1, ""));
    assert_eq!(absurd.run().processed, i64::MAX);
}

#[test]
fn a_limit_that_is_met_exactly_at_the_end_is_a_success() {
    let mut progress = matching(&json!({"limits": {"pageSize": 50, "maxEntriesPerRun": 60}}));
    answer(&mut progress, &page(50, "a"));
    answer(&mut progress, &page(10, ""));
    assert_eq!(ended(&mut progress), SUCCEEDED);
    let mut ids = listed(60, &json!({"limits": {"pageSize": 100, "maxEntriesPerRun": 60}}));
    assert_eq!(sent(&answer(&mut ids, &page(50, ""))), 50);
    assert_eq!(sent(&answer(&mut ids, &page(10, ""))), 10);
    assert_eq!(ended(&mut ids), SUCCEEDED);
    let mut more = listed(61, &json!({"limits": {"pageSize": 100, "maxEntriesPerRun": 60}}));
    answer(&mut more, &page(50, ""));
    answer(&mut more, &page(10, ""));
    assert_eq!(ended(&mut more), LIMIT);
    assert_eq!(more.run().position, 60);
}

#[test]
fn a_run_takes_at_most_a_seconds_worth_at_once_and_then_waits() {
    let mut progress = matching(&json!({"limits": {"pageSize": 50, "entriesPerSecond": 20}}));
    assert_eq!(asked(&answer(&mut progress, &page(20, "a"))).1, 20);
    assert_eq!(progress.next(at(0)), Step::Wait(at(1)));
    let Step::Call(call) = progress.next(at(1)) else { panic!("still waiting") };
    progress.answer(&call, &page(5, "b"), at(1));
    let quarter = SignedDuration::from_millis(250);
    assert_eq!(progress.next(at(1)), Step::Wait(at(1) + quarter));
    // Time that was not used is not saved up.
    let Step::Call(call) = progress.next(at(60)) else { panic!("still waiting") };
    progress.answer(&call, &page(20, "c"), at(60));
    assert_eq!(progress.next(at(60)), Step::Wait(at(61)));
    let mut unpaced = matching(&json!({}));
    answer(&mut unpaced, &page(50, "a"));
    call_is_sent(&mut unpaced);
}

fn call_is_sent(progress: &mut Progress) {
    assert!(matches!(progress.next(at(0)), Step::Call(_)));
}

#[test]
fn a_run_that_is_taken_up_while_it_waits_says_why_until_it_goes_on() {
    let waiting = json!({"waitingUntil": at(60).to_string(), "waitingReason": "Retrying"});
    let mut progress = matching(&waiting).seen_as(Activity::Throttled);
    assert!(matches!(progress.next(at(0)), Step::Wait(_)));
    assert_eq!(progress.activity(), Activity::Throttled);
    assert!(matches!(progress.next(at(61)), Step::Call(_)));
    assert_eq!((progress.activity(), progress.run().waiting_reason), (Activity::Working, None));
}

#[test]
fn a_run_ends_at_its_deadline_and_waits_no_longer() {
    let mut progress = matching(&json!({"limits": {"pageSize": 50, "activeDeadlineSeconds": 60}}));
    answer(&mut progress, &page(1, "a"));
    let throttled =
        ApiError { retry_after: Some(Duration::from_secs(3600)), ..error(ErrorClass::RateLimited) };
    fail(&mut progress, &throttled);
    assert_eq!(progress.next(at(59)), Step::Wait(at(60)));
    let Step::End(outcome) = progress.next(at(60)) else { panic!("continues") };
    assert_eq!((outcome.result, outcome.reason), (RunResult::DeadlineExceeded, Reason::DeadlineExceeded));
    assert!(outcome.message.contains("activeDeadlineSeconds (60)"));
}

#[test]
fn sample_ids_are_ten_and_none_is_overlong() {
    let mut progress = matching(&json!({}));
    let long = Page { workflow_run_ids: vec!["x".repeat(257), "wfr_a".into()], ..page(2, "a") };
    answer(&mut progress, &long);
    answer(&mut progress, &page(20, ""));
    let samples = &progress.run().sample_workflow_run_ids;
    assert_eq!((samples.len(), samples[0].as_str()), (10, "wfr_a"));
}

#[test]
fn a_dry_run_tells_what_it_saw_and_goes_on_with_it_after_a_take_over() {
    let mut dry = matching(&json!({"dryRun": true}));
    answer(&mut dry, &shown(&[(5, "payments"), (9, "payments")], "a"));
    let mut taken_over = progress(dry.work.selected.clone(), dry.run().clone());
    answer(&mut taken_over, &shown(&[(2, "checkout")], ""));
    end(&mut taken_over);
    let summary = serde_json::to_value(taken_over.ended_run().summary).unwrap();
    let expected = json!({
        "oldestTime": "2025-11-20T12:00:00.002Z", "newestTime": "2025-11-20T12:00:00.009Z",
        "responseStatuses": [{"value": "503", "count": 3}],
        "labels": [{"value": "payments", "count": 2}, {"value": "checkout", "count": 1}],
    });
    assert_eq!(summary, expected);

    let mut again = matching(&json!({"dryRun": true, "cursor": "stale"}));
    answer(&mut again, &shown(&[(5, "payments")], "b"));
    fail(&mut again, &error(ErrorClass::Refused));
    assert_eq!(again.run().summary, None, "it begins again without its cursor");

    let mut acting = matching(&json!({}));
    answer(&mut acting, &shown(&[(5, "payments")], ""));
    assert_eq!(acting.run().summary, None, "only a dry run tells");
}

#[test]
fn a_list_that_is_too_large_is_asked_for_again_with_half_the_count_and_given_up_at_one() {
    let counts = |progress: &mut Progress| match call(progress) {
        Call::List { count, .. } => count,
        call => panic!("{call:?}"),
    };
    let mut dry = matching(&json!({"dryRun": true}));
    let mut asked = Vec::new();
    for _ in 0..6 {
        asked.push(counts(&mut dry));
        fail(&mut dry, &error(ErrorClass::TooLarge));
    }
    assert_eq!((asked, dry.run().retries), (vec![50, 25, 12, 6, 3, 1], 6));
    let mut dry = matching(&json!({"dryRun": true}));
    fail(&mut dry, &error(ErrorClass::TooLarge));
    answer(&mut dry, &shown(&[(1, "a")], "next"));
    assert_eq!(counts(&mut dry), 25, "the next ones are as large");
    for _ in 0..5 {
        fail(&mut dry, &error(ErrorClass::TooLarge));
    }
    assert!(dry.run().waiting_until.is_some(), "one alone is tried again later");
}
