//! A run that selects by listing, call by call.

use serde_json::{Value, json};

use super::progress::{Failure, Progress, Step};
use crate::run::past::Past;
use crate::sample;
use dlq_crd::{DlqPolicyStatus, PolicyRun, Reason, RunResult};
use dlq_upstash::error::{ApiError, ErrorClass};
use dlq_upstash::types::{Action, Call, Cursor, Detail, DlqId, ListedEntry, Page, Selection};

use jiff::{SignedDuration, Timestamp};

fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

fn run(fields: &Value) -> PolicyRun {
    let mut run = json!({
        "id": "1-schedule", "trigger": "Schedule", "action": "resume", "startTime": "2026-11-20T12:00:00.000Z",
        "window": { "toDate": "2026-11-20T12:00:00.000Z" },
    });
    run.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(run).unwrap()
}

fn progress(spec: &Value, fields: &Value) -> Progress {
    let policy = sample::policy(spec, &[], &sample::permissions());
    Progress::new(policy.work.unwrap(), run(fields), 10)
}

fn protected() -> Value {
    json!({ "filters": { "all": true }, "loopProtection": { "maxAttempts": 3 } })
}

fn id(number: usize) -> DlqId {
    DlqId(format!("{}-0", 1_763_600_000_000 + number))
}

fn entry(number: usize, labels: &[&str]) -> ListedEntry {
    ListedEntry {
        workflow_run_id: Some(format!("wfr_{number}")),
        labels: Some(labels.iter().map(ToString::to_string).collect()),
        response_status: Some(500),
        ..ListedEntry::bare(id(number))
    }
}

/// A page of these entries.
fn page(listed: Vec<ListedEntry>, cursor: Option<&str>) -> Page {
    Page {
        entries: listed.len() as u64,
        listed,
        cursor: cursor.map(|cursor| Cursor(cursor.to_owned())),
        ..Page::default()
    }
}

fn whole_page(first: usize, labels: &[&str], cursor: Option<&str>) -> Page {
    page((first..first + 100).map(|number| entry(number, labels)).collect(), cursor)
}

fn call(progress: &mut Progress) -> Call {
    match progress.next(now()) {
        Step::Call(call) => call,
        other => panic!("{other:?}"),
    }
}

/// What a call names, with the labels of the new workflow runs.
fn named(call: &Call) -> (Vec<DlqId>, Vec<String>) {
    match call {
        Call::Bulk { selection: Selection::Ids(ids), overrides, .. } => {
            (ids.clone(), overrides.labels.clone())
        }
        other => panic!("{other:?}"),
    }
}

fn acted(ids: &[DlqId]) -> Page {
    let made = ids.iter().map(|id| format!("wfr_of_{}", id.0));
    Page { entries: ids.len() as u64, workflow_run_ids: made.collect(), ..Page::default() }
}

/// Acts on all that is in hand; how many entries each call named, and with which labels.
fn act(progress: &mut Progress) -> Vec<(usize, Vec<String>)> {
    let mut calls = Vec::new();
    while let Step::Call(call @ Call::Bulk { .. }) = progress.next(now()) {
        let (ids, labels) = named(&call);
        progress.answer(&call, &acted(&ids), now());
        calls.push((ids.len(), labels));
    }
    calls
}

fn list(progress: &mut Progress, page: &Page) -> Call {
    let call = call(progress);
    assert!(matches!(call, Call::List { .. }), "{call:?}");
    progress.answer(&call, page, now());
    call
}

fn end(progress: &mut Progress) -> (RunResult, String) {
    match progress.next(now()) {
        Step::End(outcome) => (outcome.result, outcome.message),
        other => panic!("{other:?}"),
    }
}

fn refused(class: ErrorClass, status: u16) -> ApiError {
    ApiError { class, status: Some(status), ..ApiError::transport("no", false) }
}

#[test]
fn ten_pages_are_listed_ahead_and_uniform_entries_fill_every_call() {
    let mut progress = progress(&protected(), &json!({}));
    for number in 0..10 {
        let call = list(&mut progress, &whole_page(number * 100, &["a"], Some(&format!("c{number}"))));
        let Call::List { count, detail, .. } = call else { unreachable!() };
        assert_eq!((count, detail), (100, Detail::Brief));
    }
    let calls: Vec<_> = (0..2)
        .map(|_| {
            let call = call(&mut progress);
            let (ids, labels) = named(&call);
            progress.answer(&call, &acted(&ids), now());
            (ids.len(), labels)
        })
        .collect();
    assert_eq!(calls, vec![(50, vec!["a".to_owned(), "dlq-attempt-1".to_owned()]); 2]);
    list(&mut progress, &whole_page(1000, &["a"], None));
    assert!(act(&mut progress).iter().all(|(size, _)| *size == 50));
    assert_eq!(end(&mut progress).0, RunResult::Succeeded);
    assert_eq!((progress.run().processed, progress.run().pages), (1100, 11 + 22));
}

#[test]
fn entries_of_several_pages_share_calls_by_labels_and_attempt() {
    let mut progress = progress(&protected(), &json!({}));
    let labels: [&[&str]; 4] = [&["a"], &["a", "dlq-attempt-1"], &["b"], &["a", "dlq-attempt-3"]];
    for first in [0, 100] {
        let entries = (first..first + 100).map(|number| entry(number, labels[number % 4])).collect();
        list(&mut progress, &page(entries, (first == 0).then_some("next")));
    }
    let mut calls = act(&mut progress);
    calls.sort();
    let labels = |labels: &[&str]| labels.iter().map(ToString::to_string).collect::<Vec<_>>();
    let expected = [&["a", "dlq-attempt-1"], &["a", "dlq-attempt-2"], &["b", "dlq-attempt-1"]];
    assert_eq!(calls, expected.map(|own| (50, labels(own))));
    assert_eq!((progress.run().processed, progress.run().exhausted), (150, 50));
    assert_eq!(end(&mut progress).1, "resumed 150 entries in 5 calls, 0 refused, 50 exhausted");
}

#[test]
fn an_entry_that_has_left_or_is_refused_is_found_among_those_of_its_call() {
    let mut progress = progress(&protected(), &json!({}));
    list(&mut progress, &whole_page(0, &[], None));
    let (gone, stuck) = (id(7), id(60));
    while let Step::Call(call) = progress.next(now()) {
        let (ids, _) = named(&call);
        let asks_for_nobody = ids == [DlqId("1000000000000-0".to_owned())];
        if asks_for_nobody || ids.contains(&gone) {
            progress.fail(&call, &refused(ErrorClass::NotFound, 404), now(), 0.0);
        } else if ids.contains(&stuck) {
            progress.fail(&call, &refused(ErrorClass::Refused, 400), now(), 0.0);
        } else {
            progress.answer(&call, &acted(&ids), now());
        }
    }
    let run = progress.ended_run();
    assert_eq!((run.processed, run.not_found, run.rejected), (98, 1, 1));
}

#[test]
fn what_a_lost_answer_may_have_taken_is_no_entry_that_had_left() {
    let mut progress = progress(&protected(), &json!({}));
    list(&mut progress, &page(vec![entry(1, &[]), entry(2, &[])], None));
    let first = call(&mut progress);
    let lost = ApiError::transport("lost", true);
    assert_eq!(progress.fail(&first, &lost, now(), 0.0), Failure::GoOn);
    let later = now() + SignedDuration::from_secs(60);
    while let Step::Call(call @ Call::Bulk { .. }) = progress.next(later) {
        progress.fail(&call, &refused(ErrorClass::NotFound, 404), later, 0.0);
    }
    let run = progress.run();
    assert_eq!((run.uncertain_pages, run.not_found, run.processed), (1, 0, 0));
    list(&mut progress, &page(Vec::new(), None));
    assert_eq!(end(&mut progress).0, RunResult::Succeeded, "after one more pass");
}

#[test]
fn a_limit_and_a_rate_hold_for_what_is_acted_on_and_not_for_what_is_listed() {
    let limits = json!({ "limits": { "maxEntriesPerRun": 30, "entriesPerSecond": 20, "pageSize": 50 } });
    let mut progress = progress(&protected(), &limits);
    list(&mut progress, &whole_page(0, &[], Some("more")));
    let first = call(&mut progress);
    assert_eq!(named(&first).0.len(), 20);
    progress.answer(&first, &acted(&named(&first).0), now());
    assert!(matches!(progress.next(now()), Step::Wait(_)));
    let second = match progress.next(now() + SignedDuration::from_secs(1)) {
        Step::Call(call) => call,
        other => panic!("{other:?}"),
    };
    assert_eq!(named(&second).0.len(), 10);
    progress.answer(&second, &acted(&named(&second).0), now());
    let outcome = progress.next(now() + SignedDuration::from_secs(9));
    assert!(matches!(&outcome, Step::End(end) if end.result == RunResult::LimitReached), "{outcome:?}");
}

#[test]
fn a_dry_run_counts_what_would_be_acted_on_and_acts_on_nothing() {
    let spec = json!({
        "filters": { "all": true }, "dryRun": true, "loopProtection": { "maxAttempts": 1 },
        "match": { "excludeResponseStatuses": ["404"] },
    });
    let mut dry = progress(&spec, &json!({ "dryRun": true, "processed": 77, "exhausted": 5 }));
    let not_found = ListedEntry { response_status: Some(404), ..entry(2, &[]) };
    let call =
        list(&mut dry, &page(vec![entry(1, &["a"]), not_found, entry(3, &["dlq-attempt-1"])], Some("next")));
    assert!(matches!(call, Call::List { detail: Detail::Headers, .. }), "skipNonRetryable reads headers");
    list(&mut dry, &page(vec![entry(4, &["a"])], None));
    assert_eq!(
        end(&mut dry).1,
        "dry run: 2 entries match, nothing was done, 1 skipped (1 status), 1 exhausted"
    );
    assert_eq!(dry.run().summary.as_ref().unwrap().labels[0].count, 2);

    let mut limited =
        progress(&spec, &json!({ "dryRun": true, "limits": { "maxEntriesPerRun": 1, "pageSize": 50 } }));
    list(&mut limited, &page(vec![entry(1, &[]), entry(2, &[])], None));
    assert_eq!((end(&mut limited).0, limited.run().processed), (RunResult::LimitReached, 1));
}

#[test]
fn a_run_that_is_taken_over_begins_its_pass_anew() {
    let fields = json!({
        "processed": 50, "rejected": 2, "notFound": 3, "exhausted": 4, "skipped": { "status": 9 }, "leftAlone": 1,
        "cursor": "far", "interruptions": 1, "pages": 3,
    });
    let mut progress = progress(&protected(), &fields);
    let Call::List { cursor, .. } = list(&mut progress, &page(vec![entry(1, &["dlq-attempt-3"])], None))
    else {
        unreachable!()
    };
    assert_eq!(cursor, None);
    list(&mut progress, &page(vec![entry(1, &["dlq-attempt-3"])], None));
    assert_eq!(end(&mut progress).0, RunResult::Succeeded, "after one more pass");
    let run = progress.ended_run();
    assert_eq!((run.processed, run.not_found, run.rejected, run.left_alone), (50, 3, 0, 0));
    assert_eq!((run.exhausted, run.skipped.total()), (1, 0));
}

#[test]
fn a_cursor_that_comes_again_without_progress_ends_the_run() {
    let mut progress = progress(&protected(), &json!({}));
    let seen = |number| page(vec![entry(number, &["dlq-attempt-3"])], Some("round"));
    list(&mut progress, &seen(1));
    list(&mut progress, &seen(2));
    let (result, message) = end(&mut progress);
    assert_eq!(result, RunResult::Failed, "{message}");
}

#[test]
fn an_entry_whose_labels_upstash_would_refuse_is_rejected_and_told_of_without_a_call() {
    let mut progress = progress(&protected(), &json!({}));
    list(&mut progress, &page(vec![entry(1, &["order 66"])], None));
    let (result, message) = end(&mut progress);
    assert_eq!((result, progress.run().rejected), (RunResult::Succeeded, 1));
    assert!(message.contains("order 66"), "{message}");
}

#[test]
fn a_workflow_run_that_is_back_without_its_label_ends_the_run_before_anything_is_done() {
    let status = |attempt: i64| -> DlqPolicyStatus {
        let probe =
            json!({ "workflowRunId": "wfr_1", "attempt": attempt, "startTime": "2026-11-20T11:00:00.000Z" });
        serde_json::from_value(json!({ "labelProbes": [probe] })).unwrap()
    };
    let past = |attempt| Past::of(&status(attempt), SignedDuration::ZERO, now());
    let mut lost = progress(&protected(), &json!({})).looking_for(past(2));
    list(&mut lost, &page(vec![entry(0, &["a"]), entry(1, &["a", "dlq-attempt-1"])], Some("next")));
    let Step::End(outcome) = lost.next(now()) else { panic!("it continues") };
    assert_eq!((outcome.result, outcome.reason), (RunResult::Failed, Reason::LabelsNotCarried));
    assert!(outcome.message.contains("dlq-operator.dev/resetAt"), "{}", outcome.message);
    assert!(lost.past().unwrap().noted(&status(2)).label_probes[0].lost_label);

    let mut carried = progress(&protected(), &json!({})).looking_for(past(1));
    list(&mut carried, &page(vec![entry(1, &["a", "dlq-attempt-1"])], None));
    act(&mut carried);
    let probes = carried.past().unwrap().noted(&status(1)).label_probes;
    let known: Vec<_> = probes.iter().map(|probe| (probe.workflow_run_id.as_str(), probe.attempt)).collect();
    assert_eq!(known, [(&*format!("wfr_of_{}", id(1).0), 2)], "the new one is looked for in its place");
}

#[test]
fn a_delete_with_match_names_what_it_deletes_and_counts_what_was_gone() {
    let spec =
        json!({ "action": "delete", "filters": { "all": true }, "match": { "responseStatuses": ["5xx"] } });
    let mut progress = progress(&spec, &json!({ "action": "delete" }));
    let ok = ListedEntry { response_status: Some(200), ..entry(9, &[]) };
    list(&mut progress, &page(vec![entry(1, &["dlq-attempt-4"]), entry(2, &["b"]), ok], None));
    let call = call(&mut progress);
    assert!(matches!(&call, Call::Bulk { action: Action::Delete, .. }));
    assert_eq!(named(&call), (vec![id(1), id(2)], Vec::new()), "labels do not part them");
    progress.answer(&call, &Page { entries: 1, ..Page::default() }, now());
    assert_eq!(end(&mut progress).0, RunResult::Succeeded);
    let run = progress.run();
    assert_eq!((run.processed, run.not_found, run.skipped.status), (1, 1, 1));
}

#[test]
fn a_run_that_counts_first_counts_what_match_selects_and_acts_on_no_more() {
    let mut spec = protected();
    spec["match"] = json!({ "responseStatuses": ["5xx"], "excludeResponseStatuses": ["503"] });
    let fields = json!({ "limits": { "pageSize": 50, "approvalAbove": 3 } });
    let busy = |number| ListedEntry { response_status: Some(503), ..entry(number, &[]) };
    let mut progress = progress(&spec, &fields);
    for (page, calls) in [
        (page(vec![entry(0, &[]), busy(1), entry(2, &["dlq-attempt-3"])], Some("c")), None),
        (page((3..6).map(|number| entry(number, &[])).collect(), None), Some("c")),
    ] {
        let list = call(&mut progress);
        let Call::List { cursor, .. } = &list else { panic!("acts before it has counted: {list:?}") };
        assert_eq!(cursor.as_ref().map(|cursor| cursor.0.as_str()), calls);
        progress.answer(&list, &page, now());
    }
    assert_eq!(progress.next(now()), Step::Ask);
    let run = progress.run();
    assert_eq!((run.matched, run.processed, run.skipped.total(), run.exhausted), (Some(4), 0, 1, 1));
    assert_eq!(run.summary.as_ref().unwrap().response_statuses[0].count, 4, "of what it would act on");
    progress.await_approval("id".to_owned(), now());
    let run = PolicyRun { approved_time: Some(now().into()), ..progress.waiting().unwrap() };
    let policy = sample::policy(&spec, &[], &sample::permissions());
    let mut progress = Progress::new(policy.work.unwrap(), run, 10);
    let list = call(&mut progress);
    // More match by now.
    progress.answer(&list, &whole_page(0, &[], Some("c")), now());
    assert_eq!(act(&mut progress), [(4, vec!["dlq-attempt-1".to_owned()])]);
    assert!(matches!(progress.next(now()), Step::End(outcome) if outcome.reason == Reason::RunSucceeded));
}
