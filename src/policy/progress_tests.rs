use serde_json::{Value, json};

use super::*;
use crate::policy::validate::ConnectionRef;
use crate::upstash::types::Overrides;

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
    }
}

fn error(class: ErrorClass) -> ApiError {
    let status = match class {
        ErrorClass::RateLimited => 429,
        ErrorClass::Unavailable => 503,
        ErrorClass::Unauthorized => 401,
        ErrorClass::Forbidden => 403,
        ErrorClass::NotFound => 404,
        ErrorClass::Refused => 400,
        ErrorClass::Unexpected => 422,
    };
    ApiError { class, status: Some(status), message: "no".into(), retry_after: None, may_have_acted: false }
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
    progress.answered(&call, page, at(0));
    call
}

/// Fails the next call; no jitter, so that it is repeated at once unless the answer asks for more.
fn fail(progress: &mut Progress, error: &ApiError) -> Failure {
    let call = call(progress);
    progress.failed(&call, error, at(0), 0.0)
}

fn end(progress: &mut Progress) -> Ending {
    match progress.next(at(0)) {
        Step::End(ending) => ending,
        step => panic!("{step:?}"),
    }
}

fn ended(progress: &mut Progress) -> (RunResult, Reason) {
    let ending = end(progress);
    (ending.result, ending.reason)
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
    assert_eq!(end(&mut progress).message, "resumed 23 entries");
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
    progress.answered(&call, &page(5, "b"), at(1));
    let quarter = SignedDuration::from_millis(250);
    assert_eq!(progress.next(at(1)), Step::Wait(at(1) + quarter));
    // Time that was not used is not saved up.
    let Step::Call(call) = progress.next(at(60)) else { panic!("still waiting") };
    progress.answered(&call, &page(20, "c"), at(60));
    assert_eq!(progress.next(at(60)), Step::Wait(at(61)));
    let mut unpaced = matching(&json!({}));
    answer(&mut unpaced, &page(50, "a"));
    call_is_sent(&mut unpaced);
}

fn call_is_sent(progress: &mut Progress) {
    assert!(matches!(progress.next(at(0)), Step::Call(_)));
}

#[test]
fn a_run_ends_at_its_deadline_and_waits_no_longer() {
    let mut progress = matching(&json!({"limits": {"pageSize": 50, "activeDeadlineSeconds": 60}}));
    answer(&mut progress, &page(1, "a"));
    let throttled =
        ApiError { retry_after: Some(Duration::from_secs(3600)), ..error(ErrorClass::RateLimited) };
    fail(&mut progress, &throttled);
    assert_eq!(progress.next(at(59)), Step::Wait(at(60)));
    let Step::End(ending) = progress.next(at(60)) else { panic!("goes on") };
    assert_eq!((ending.result, ending.reason), (RunResult::DeadlineExceeded, Reason::DeadlineExceeded));
    assert!(ending.message.contains("activeDeadlineSeconds (60)"));
}

#[test]
fn ids_go_in_chunks_of_at_most_fifty() {
    let mut progress = listed(120, &json!({"action": "delete", "limits": {"pageSize": 100}, "window": null}));
    for (expected, deleted) in [(50, 50), (50, 47), (20, 20)] {
        assert_eq!(sent(&answer(&mut progress, &page(deleted, ""))), expected);
    }
    assert_eq!(ended(&mut progress), SUCCEEDED);
    assert_eq!(end(&mut progress).message, "deleted 117 entries");
    let run = progress.run();
    assert_eq!((run.processed, run.not_found, run.position), (117, 3, 120));
}

#[test]
fn exactly_one_id_is_resumed_by_the_single_call() {
    let mut progress = listed(1, &json!({}));
    assert!(matches!(answer(&mut progress, &page(1, "")), Call::Single { action: Action::Resume, .. }));
    assert_eq!(ended(&mut progress), SUCCEEDED);
    let mut gone = listed(1, &json!({}));
    fail(&mut gone, &error(ErrorClass::NotFound));
    assert_eq!(ended(&mut gone), NOTHING);
    assert_eq!(gone.run().not_found, 1);
    for (count, action) in [(1, "restart"), (1, "delete"), (2, "resume")] {
        let mut bulk = listed(count, &json!({ "action": action }));
        assert_eq!(sent(&answer(&mut bulk, &page(1, ""))), count, "{action}");
    }
}

/// Answers as a DLQ that holds every ID but those in `gone`; returns how many calls it took.
fn drain(progress: &mut Progress, gone: &[usize]) -> usize {
    let gone: Vec<_> = gone.iter().map(|index| DlqId(format!("id-{index}"))).collect();
    for calls in 0..1000 {
        let Step::Call(call) = progress.next(at(0)) else { return calls };
        let ids = match &call {
            Call::Bulk { selection: Selection::Ids(ids), .. } => ids.clone(),
            Call::Get { id } => vec![id.clone()],
            call => panic!("{call:?}"),
        };
        if ids.iter().any(|id| gone.contains(id)) {
            progress.failed(&call, &error(ErrorClass::NotFound), at(0), 0.0);
        } else {
            progress.answered(&call, &page(ids.len() as u64, ""), at(0));
        }
    }
    panic!("does not end");
}

#[test]
fn a_chunk_with_missing_ids_is_halved_until_they_stand_alone() {
    for gone in [&[0][..], &[49], &[50], &[0, 1, 2], &[10, 60, 119]] {
        let mut progress = listed(120, &json!({}));
        let calls = drain(&mut progress, gone);
        let (run, missing) = (progress.run(), i64::try_from(gone.len()).unwrap());
        assert_eq!((run.processed, run.not_found), (120 - missing, missing), "{gone:?}");
        assert!(calls < 3 + 13 * gone.len(), "{gone:?}: {calls} calls");
    }
}

#[test]
fn a_dry_run_gets_each_id() {
    let mut progress = listed(3, &json!({"dryRun": true}));
    assert!(matches!(call(&mut progress), Call::Get { id } if id.0 == "id-0"));
    assert_eq!(drain(&mut progress, &[1]), 3);
    assert_eq!((progress.run().processed, progress.run().not_found), (2, 1));
    assert_eq!(end(&mut progress).reason, Reason::DryRunSucceeded);
}

#[test]
fn ids_of_a_call_whose_answer_was_lost_are_not_called_missing() {
    let mut progress = listed(4, &json!({"limits": {"pageSize": 2}}));
    fail(&mut progress, &lost());
    drain(&mut progress, &[0, 1, 3]);
    let run = progress.run();
    assert_eq!((run.processed, run.not_found, run.uncertain_pages), (1, 1, 1));
    assert_eq!(end(&mut progress).message, "resumed at least 1 entry");
    let mut deleted = listed(4, &json!({"action": "delete"}));
    let first = call(&mut deleted);
    deleted.abandoned(&first);
    answer(&mut deleted, &page(1, ""));
    assert_eq!((deleted.run().not_found, deleted.run().uncertain_pages), (0, 1));
}

#[test]
fn a_run_that_is_taken_up_remembers_what_it_does_not_know() {
    let gone: Vec<_> = (0..120).collect();
    let table = [
        ("a clean stop", json!({"position": 10}), 110),
        ("an answer was lost before a clean stop", json!({"position": 10, "uncertainPages": 1}), 60),
        ("an unclean stop", json!({"position": 10, "interruptions": 1}), 0),
        ("a dry run", json!({"position": 10, "interruptions": 1, "dryRun": true}), 110),
    ];
    for (row, fields, not_found) in table {
        let mut progress = listed(120, &fields);
        drain(&mut progress, &gone);
        assert_eq!((progress.run().not_found, progress.run().position), (not_found, 120), "{row}");
    }
}

#[test]
fn a_call_that_failed_is_repeated_after_the_longer_of_backoff_and_what_the_answer_asks() {
    let table = [
        (error(ErrorClass::Unavailable), 0, 500, Activity::Retrying),
        (error(ErrorClass::RateLimited), 0, 500, Activity::Throttled),
        (error(ErrorClass::RateLimited), 90, 90_000, Activity::Throttled),
        (error(ErrorClass::Unavailable), 7, 7_000, Activity::Retrying),
    ];
    for (error, retry_after, millis, activity) in table {
        let error = ApiError { retry_after: Some(Duration::from_secs(retry_after)), ..error };
        let mut progress = matching(&json!({}));
        let first = call(&mut progress);
        assert_eq!(progress.failed(&first, &error, at(0), 1.0), Failure::GoOn);
        let until = at(0) + SignedDuration::from_millis(millis);
        assert_eq!(progress.next(at(0)), Step::Wait(until), "{error}");
        assert_eq!(progress.activity(), activity);
        assert_eq!(progress.run().waiting_until, Some(until.into()));
        // Another process waits as long.
        let mut taken = matching(&json!({"waitingUntil": until.to_string()}));
        assert_eq!(taken.next(at(0)), Step::Wait(until));
        assert_eq!(progress.next(until), Step::Call(first));
        assert_eq!((progress.activity(), progress.run().waiting_until), (Activity::Working, None));
        assert_eq!(progress.run().retries, 1);
    }
}

#[test]
fn a_run_gives_up_after_the_retry_limit_and_not_before() {
    let table = [
        (ErrorClass::Unavailable, Reason::UpstreamUnavailable),
        (ErrorClass::RateLimited, Reason::RateLimited),
    ];
    for (class, reason) in table {
        let mut progress = matching(&json!({}));
        for _ in 0..10 {
            fail(&mut progress, &error(class));
        }
        answer(&mut progress, &page(1, "a"));
        for _ in 0..11 {
            fail(&mut progress, &error(class));
        }
        assert_eq!(ended(&mut progress), failed(reason));
        assert_eq!((progress.run().retries, progress.run().processed), (20, 1));
    }
}

#[test]
fn an_answer_that_ids_are_missing_is_an_answer() {
    let mut progress = listed(50, &json!({}));
    for _ in 0..10 {
        fail(&mut progress, &error(ErrorClass::Unavailable));
    }
    fail(&mut progress, &error(ErrorClass::NotFound));
    fail(&mut progress, &error(ErrorClass::Unavailable));
    assert_eq!(sent(&call(&mut progress)), 25);
}

#[test]
fn only_a_call_that_may_have_acted_is_uncertain() {
    let mut progress = matching(&json!({}));
    fail(&mut progress, &error(ErrorClass::Unavailable));
    fail(&mut progress, &error(ErrorClass::RateLimited));
    assert_eq!(progress.run().uncertain_pages, 0);
    fail(&mut progress, &lost());
    assert_eq!(progress.run().uncertain_pages, 1);
    let given_up = call(&mut progress);
    progress.abandoned(&given_up);
    assert_eq!(progress.run().uncertain_pages, 2);
    let mut dry = matching(&json!({"dryRun": true}));
    let given_up = call(&mut dry);
    dry.abandoned(&given_up);
    assert_eq!(dry.run().uncertain_pages, 0);
}

#[test]
fn a_run_that_does_not_know_all_it_did_ends_with_one_more_pass() {
    let mut progress = matching(&json!({}));
    answer(&mut progress, &page(5, "a"));
    fail(&mut progress, &lost());
    assert_eq!(asked(&answer(&mut progress, &page(0, ""))).0, Some("a"));
    assert_eq!(asked(&answer(&mut progress, &page(0, "b"))).0, None);
    // Once is enough, whatever happens in that pass.
    fail(&mut progress, &lost());
    assert_eq!(asked(&answer(&mut progress, &page(0, ""))).0, Some("b"));
    assert_eq!(ended(&mut progress), SUCCEEDED);
    assert_eq!(end(&mut progress).message, "resumed at least 5 entries");
    let mut interrupted = matching(&json!({"interruptions": 1, "cursor": "c"}));
    assert_eq!(asked(&answer(&mut interrupted, &page(0, ""))).0, Some("c"));
    assert_eq!(asked(&answer(&mut interrupted, &page(0, ""))).0, None);
    assert_eq!(ended(&mut interrupted), SUCCEEDED, "what the process before did is not known");
    let mut dry = matching(&json!({"interruptions": 1, "cursor": "c", "dryRun": true}));
    answer(&mut dry, &page(1, ""));
    assert_eq!(end(&mut dry).reason, Reason::DryRunSucceeded);
}

#[test]
fn the_last_pass_counts_its_empty_pages_afresh() {
    let mut progress = matching(&json!({"interruptions": 1}));
    for cursor in 0..60 {
        answer(&mut progress, &page(0, &cursor.to_string()));
    }
    answer(&mut progress, &page(0, ""));
    for cursor in 0..60 {
        answer(&mut progress, &page(0, &cursor.to_string()));
    }
    answer(&mut progress, &page(0, ""));
    assert_eq!(ended(&mut progress), SUCCEEDED);
}

#[test]
fn a_cursor_that_was_refused_is_dropped_once() {
    let mut progress = matching(&json!({}));
    answer(&mut progress, &page(5, "a"));
    fail(&mut progress, &error(ErrorClass::Refused));
    assert_eq!(asked(&answer(&mut progress, &page(5, "a"))).0, None);
    assert_eq!(progress.run().processed, 10);
    fail(&mut progress, &error(ErrorClass::Refused));
    assert_eq!(ended(&mut progress), failed(Reason::BadRequest));
    let mut dry = matching(&json!({"dryRun": true}));
    answer(&mut dry, &page(5, "a"));
    fail(&mut dry, &error(ErrorClass::Refused));
    answer(&mut dry, &page(7, ""));
    assert_eq!(end(&mut dry).message, "dry run: 7 entries match, nothing was done");
}

#[test]
fn what_the_api_refuses_ends_the_run_with_the_way_out() {
    let table = [ErrorClass::Refused, ErrorClass::Unexpected, ErrorClass::NotFound];
    for class in table {
        let mut progress = matching(&json!({}));
        assert_eq!(fail(&mut progress, &error(class)), Failure::GoOn);
        assert_eq!(ended(&mut progress), failed(Reason::BadRequest), "{class:?}");
        assert!(end(&mut progress).message.contains("check spec.filters"), "{class:?}");
    }
    let mut unsendable = listed(1, &json!({}));
    unsendable.unsendable("the ID \"..\" cannot stand in a URL's path");
    assert_eq!(ended(&mut unsendable), failed(Reason::BadRequest));
}

#[test]
fn a_refused_token_is_somebody_elses_to_mend_and_the_same_call_goes_on() {
    let mut progress = matching(&json!({}));
    answer(&mut progress, &page(5, "a"));
    assert_eq!(fail(&mut progress, &error(ErrorClass::Unauthorized)), Failure::TokenRefused);
    assert_eq!(asked(&answer(&mut progress, &page(5, ""))).0, Some("a"));
    assert_eq!(ended(&mut progress), SUCCEEDED);
    assert_eq!(Ending::unauthorized("no").not_ready, Some(Reason::Unauthorized));
}

#[test]
fn a_token_that_may_list_but_not_act_is_told_from_one_that_may_do_nothing() {
    let started = [
        ("matching", matching(&json!({})), matching(&json!({}))),
        ("with a cursor", matching(&json!({"cursor": "c"})), matching(&json!({"cursor": "c"}))),
        ("one ID", listed(1, &json!({})), listed(1, &json!({}))),
        ("IDs", listed(60, &json!({})), listed(60, &json!({}))),
    ];
    for (row, mut listing, mut nothing) in started {
        fail(&mut listing, &error(ErrorClass::Forbidden));
        assert!(matches!(call(&mut listing), Call::List { cursor: None, count: 1, .. }), "{row}");
        fail(&mut listing, &error(ErrorClass::Unavailable));
        answer(&mut listing, &page(1, "x"));
        assert_eq!(ended(&mut listing), failed(Reason::Forbidden), "{row}");
        assert_eq!(end(&mut listing).not_ready, Some(Reason::ReadOnlyToken), "{row}");
        assert_eq!((listing.run().processed, listing.run().pages), (0, 0), "{row}");

        fail(&mut nothing, &error(ErrorClass::Forbidden));
        fail(&mut nothing, &error(ErrorClass::Refused));
        assert_eq!(ended(&mut nothing), failed(Reason::Forbidden), "{row}");
        assert_eq!(end(&mut nothing).not_ready, None, "{row}");
    }
    let mut dry = matching(&json!({"dryRun": true}));
    fail(&mut dry, &error(ErrorClass::Forbidden));
    assert_eq!(ended(&mut dry), failed(Reason::Forbidden));
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
