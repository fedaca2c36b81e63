//! Runs that count before they act, and what they may act on then.

use super::*;

fn gated(above: i64, limits: &Value) -> Value {
    let mut limits = limits.clone();
    limits["approvalAbove"] = above.into();
    limits["pageSize"] = limits.get("pageSize").cloned().unwrap_or_else(|| 50.into());
    json!({ "limits": limits })
}

/// A list of so many entries.
fn list(count: i64, cursor: &str) -> Page {
    let entries: Vec<_> = (0..count).map(|number| (number, "payments")).collect();
    shown(&entries, cursor)
}

fn lists(progress: &mut Progress, page: &Page) -> Call {
    let call = answer(progress, page);
    assert!(matches!(call, Call::List { .. }), "acts before it has counted: {call:?}");
    call
}

fn asks(progress: &mut Progress) -> i64 {
    assert_eq!(progress.next(at(0)), Step::Ask, "it has counted all");
    progress.run().matched.unwrap()
}

/// Another process takes the run up, once it is approved.
fn approved(mut progress: Progress) -> Progress {
    asks(&mut progress);
    progress.await_approval("id".to_owned(), at(60));
    let run = PolicyRun { approved_time: Some(at(3660).into()), ..progress.waiting().unwrap() };
    taken_up(&progress, run)
}

fn taken_up(progress: &Progress, run: PolicyRun) -> Progress {
    Progress::new((*progress.work).clone(), run, 10)
}

#[test]
fn a_run_that_matches_as_many_as_it_may_acts_on_what_it_counted_without_a_wait() {
    let mut progress = matching(&gated(3, &json!({})));
    lists(&mut progress, &list(2, "c"));
    assert_eq!(progress.run().matched, None, "it has not counted all");
    lists(&mut progress, &list(1, ""));
    let call = call(&mut progress);
    assert_eq!(asked(&call), (None, 3), "no cursor, and no more than were counted");
    assert!(matches!(call, Call::Bulk { .. }));
    let run = progress.run();
    assert_eq!((run.matched, run.processed, &run.cursor, &run.approval_id), (Some(3), 0, &None, &None));
    assert_eq!(run.summary.as_ref().unwrap().labels[0].count, 3);
    answer(&mut progress, &page(3, ""));
    assert_eq!(ended(&mut progress), SUCCEEDED);
    assert_eq!(progress.run().summary.as_ref().unwrap().labels[0].count, 3, "what it counted stays");
}

#[test]
fn a_run_that_matches_more_asks_and_acts_on_no_more_than_it_counted_once_it_is_approved() {
    let mut progress = matching(&gated(3, &json!({})));
    lists(&mut progress, &list(4, ""));
    assert_eq!(asks(&mut progress), 4);
    progress.await_approval("id".to_owned(), at(1));
    assert_eq!(progress.next(at(2)), Step::Ask, "until it is approved");
    let waits = progress.waiting().unwrap();
    assert_eq!(progress.run().approval_id, None, "no process holds a run that waits");
    assert_eq!(
        (waits.approval_id.as_deref(), waits.approval_requested_time),
        (Some("id"), Some(at(1).into()))
    );
    let mut progress = taken_up(&progress, PolicyRun { approved_time: Some(at(9).into()), ..waits });
    assert_eq!(asked(&answer(&mut progress, &page(4, "more"))), (None, 4));
    assert_eq!(ended(&mut progress), SUCCEEDED, "all that was approved is done");
    assert_eq!(progress.run().processed, 4);
}

#[test]
fn with_a_threshold_of_0_one_entry_waits_and_none_ends_the_run_without_a_call_that_acts() {
    let mut progress = matching(&gated(0, &json!({})));
    lists(&mut progress, &list(1, ""));
    assert_eq!(asks(&mut progress), 1);
    let mut progress = matching(&gated(0, &json!({})));
    lists(&mut progress, &list(0, ""));
    assert_eq!(ended(&mut progress), NOTHING);
    assert_eq!(progress.run().matched, Some(0));
}

#[test]
fn the_limit_of_entries_caps_the_count_and_ends_the_run_as_ever() {
    let limits = json!({ "maxEntriesPerRun": 5 });
    let mut progress = matching(&gated(3, &limits));
    assert_eq!(asked(&lists(&mut progress, &list(5, "c"))).1, 5);
    assert_eq!(asks(&mut progress), 5);
    let mut progress = approved(progress);
    answer(&mut progress, &page(5, "c"));
    assert_eq!(ended(&mut progress), (RunResult::LimitReached, Reason::LimitReached));
    let mut more = matching(&gated(3, &limits));
    lists(&mut more, &list(9, ""));
    assert_eq!(asks(&mut more), 5, "a page that brings more than was asked for");
    assert!(matches!(call(&mut matching(&gated(5, &limits))), Call::Bulk { .. }), "it never needs to count");
}

#[test]
fn a_count_asks_for_whole_pages_and_is_held_to_no_rate() {
    let mut progress = matching(&gated(500, &json!({ "pageSize": 7, "entriesPerSecond": 1 })));
    for page in ["a", "b", ""] {
        assert_eq!(asked(&lists(&mut progress, &list(100, page))).1, 100);
    }
    assert_eq!(asked(&answer(&mut progress, &page(1, "c"))).1, 1);
    assert!(matches!(progress.next(at(0)), Step::Wait(_)), "what acts is");
}

#[test]
fn a_count_that_is_begun_again_counts_nothing_twice() {
    let mut progress = matching(&gated(3, &json!({})));
    lists(&mut progress, &list(3, "stale"));
    fail(&mut progress, &error(ErrorClass::Refused));
    assert_eq!(asked(&lists(&mut progress, &list(2, ""))).0, None);
    assert!(matches!(call(&mut progress), Call::Bulk { .. }));
    assert_eq!(progress.run().matched, Some(2));
}

#[test]
fn a_count_that_another_process_takes_up_begins_anew_and_a_question_that_was_not_written_is_asked_again() {
    let mut progress = matching(&gated(3, &json!({})));
    lists(&mut progress, &list(3, "c"));
    let run = PolicyRun { interruptions: 1, ..progress.run().clone() };
    let mut progress = taken_up(&progress, run);
    assert_eq!(progress.run().summary, None);
    assert_eq!(asked(&lists(&mut progress, &list(4, ""))).0, None, "from the first entry on");
    assert_eq!(asks(&mut progress), 4);
    let mut progress = taken_up(&progress, progress.run().clone());
    assert_eq!(asks(&mut progress), 4);
}

#[test]
fn what_may_have_been_acted_on_counts_as_approved_and_done() {
    let mut progress = matching(&gated(3, &json!({})));
    lists(&mut progress, &list(4, ""));
    let mut progress = approved(progress);
    fail(&mut progress, &lost());
    let outcome = end(&mut progress);
    assert_eq!((outcome.result, progress.run().processed), (RunResult::LimitReached, 0));
    assert!(outcome.message.contains("the outcome of some calls is unknown"), "{}", outcome.message);
}

#[test]
fn the_wait_does_not_count_for_the_deadline() {
    let fields = gated(3, &json!({ "activeDeadlineSeconds": 100 }));
    let mut counts = matching(&fields);
    assert!(
        matches!(counts.next(at(100)), Step::End(outcome) if outcome.result == RunResult::DeadlineExceeded)
    );
    let mut progress = matching(&fields);
    lists(&mut progress, &list(4, ""));
    // It asks a minute after its start, and waits for an hour.
    let mut progress = approved(progress);
    assert!(matches!(progress.next(at(3699)), Step::Call(_)));
    assert!(
        matches!(progress.next(at(3700)), Step::End(outcome) if outcome.result == RunResult::DeadlineExceeded)
    );
}

#[test]
fn ids_are_counted_one_by_one_and_those_that_are_missing_are_told_once_it_acted() {
    let ids = json!({ "window": null, "limits": { "pageSize": 50, "approvalAbove": 10 } });
    let has = |progress: &mut Progress, missing: &[&str]| {
        while let Step::Call(call) = progress.next(at(0)) {
            let Call::Get { id } = &call else { panic!("acts: {call:?}") };
            if missing.contains(&id.0.as_str()) {
                progress.fail(&call, &error(ErrorClass::NotFound), at(0), 0.0);
            } else {
                progress.answer(&call, &page(1, ""), at(0));
            }
        }
    };
    let mut progress = listed(15, &ids);
    has(&mut progress, &["id-0", "id-14"]);
    assert_eq!(asks(&mut progress), 13);
    let run = progress.run();
    assert_eq!((run.position, run.not_found, run.processed), (0, 0, 0), "nothing is done yet");
    let mut progress = approved(progress);
    for (named, there) in [(13, 12), (1, 1)] {
        assert_eq!(sent(&answer(&mut progress, &page(there, ""))), named);
    }
    assert_eq!(ended(&mut progress), SUCCEEDED);
    let run = progress.run();
    assert_eq!((run.processed, run.not_found, run.position), (13, 2, 15));

    let mut none = listed(11, &ids);
    let all: Vec<_> = (0..11).map(|index| format!("id-{index}")).collect();
    has(&mut none, &all.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(ended(&mut none), NOTHING);
    assert_eq!((none.run().not_found, none.run().position), (11, 11));
    assert!(!matches!(call(&mut listed(10, &ids)), Call::Get { .. }), "so few need no count");
}
