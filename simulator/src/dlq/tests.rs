mod comebacks;
mod failure_function;
mod order;

use std::collections::HashSet;

use super::*;
use crate::{
    entry::{FailureFunctionState, Generate},
    ledger::Fate,
    operation::Endpoint,
    query::Pairs,
};

const NOW: Millis = 1_763_647_200_000;

fn dlq_of(entries: impl IntoIterator<Item = NewEntry>) -> Dlq {
    let mut dlq = Dlq::new("a", 1);
    dlq.seed(Seed { entries: entries.into_iter().collect(), generate: None }, NOW).expect("fresh IDs");
    dlq
}

/// Entries `e0`, `e1`, ..., each failed a millisecond after the one before.
fn numbered(count: i64) -> Dlq {
    dlq_of((0..count).map(|n| NewEntry { failed_at: Some(NOW + n), ..named(&format!("e{n}")) }))
}

fn newest_first(dlq: &mut Dlq) {
    dlq.set_service(Service { order: Order::NewestFirst, ..Service::default() });
}

fn named(dlq_id: &str) -> NewEntry {
    NewEntry { dlq_id: Some(dlq_id.into()), ..NewEntry::default() }
}

fn labelled(dlq_id: &str, labels: &[&str]) -> NewEntry {
    NewEntry { labels: Some(labels.iter().map(|label| Arc::from(*label)).collect()), ..named(dlq_id) }
}

fn selection(query: &str) -> Selection {
    Selection::of_bulk_call(&Pairs::parse(query).expect("well-formed"), Endpoint::Workflows, "a", 50)
        .expect("well-formed")
}

fn act(dlq: &mut Dlq, action: Action, query: &str) -> Result<Acted, Refusal> {
    dlq.act(action, &selection(query), &Overrides::default(), 1, NOW)
}

fn matching(dlq: &Dlq, query: &str) -> Vec<String> {
    dlq.list(&selection(query)).0.iter().map(|entry| entry.dlq_id.to_string()).collect()
}

fn ids(acted: &Acted) -> Vec<&str> {
    acted.dlq_ids.iter().map(AsRef::as_ref).collect()
}

fn next_page(acted: &Acted) -> String {
    let cursor = acted.cursor.as_deref().expect("a cursor");
    percent_encoding::utf8_percent_encode(cursor, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[test]
fn the_oldest_failure_comes_first() {
    let dlq = dlq_of([
        NewEntry { failed_at: Some(NOW), ..named("late") },
        NewEntry { failed_at: Some(NOW - 5), ..named("early") },
        NewEntry { failed_at: Some(NOW), ..named("late too") },
    ]);
    assert_eq!(matching(&dlq, ""), ["early", "late", "late too"]);
}

#[test]
fn date_bounds_are_inclusive() {
    let dlq = numbered(4);
    assert_eq!(matching(&dlq, &format!("fromDate={}&toDate={}", NOW + 1, NOW + 2)), ["e1", "e2"]);
    assert_eq!(matching(&dlq, &format!("fromDate={}", NOW + 3)), ["e3"]);
    assert_eq!(matching(&dlq, &format!("toDate={NOW}")), ["e0"]);
    assert!(matching(&dlq, &format!("fromDate={}&toDate={NOW}", NOW + 1)).is_empty());
}

#[test]
fn a_workflow_url_must_be_equal() {
    let with_url = |id, url: &str| NewEntry { workflow_url: Some(url.into()), ..named(id) };
    let dlq = dlq_of([with_url("pay", "https://x/pay"), with_url("payouts", "https://x/payouts")]);
    assert_eq!(matching(&dlq, "workflowUrl=https://x/pay"), ["pay"]);
    assert_eq!(matching(&dlq, "workflowUrl=https%3A%2F%2Fx%2Fpayouts"), ["payouts"]);
}

#[test]
fn a_workflow_run_id_can_be_a_prefix() {
    let with_run = |id, run: &str| NewEntry { workflow_run_id: Some(run.into()), ..named(id) };
    let dlq = dlq_of([with_run("one", "wfr_8f1"), with_run("two", "wfr_8f2"), with_run("three", "wfr_9")]);
    assert_eq!(matching(&dlq, "workflowRunId=wfr_8f"), ["one", "two"]);
    assert_eq!(matching(&dlq, "workflowRunId=wfr_8f2"), ["two"]);
}

#[test]
fn a_time_of_creation_must_be_equal() {
    let created = |id, at| NewEntry { workflow_created_at: Some(at), ..named(id) };
    let dlq = dlq_of([created("one", 1), created("two", 2)]);
    assert_eq!(matching(&dlq, "workflowCreatedAt=2"), ["two"]);
}

#[test]
fn labels_match_when_any_is_equal() {
    let dlq = dlq_of([labelled("ab", &["a", "b"]), labelled("c", &["c"]), labelled("none", &[])]);
    assert_eq!(matching(&dlq, "label=b"), ["ab"]);
    assert_eq!(matching(&dlq, "label=a&label=c"), ["ab", "c"]);
    assert_eq!(matching(&dlq, "label=b,c"), ["ab", "c"]);
    assert!(matching(&dlq, "label=A").is_empty());
}

#[test]
fn failure_function_states_match_by_any() {
    let with_state = |id, state| NewEntry { failure_function_state: Some(state), ..named(id) };
    let dlq = dlq_of([
        with_state("failed", FailureFunctionState::CallbackFail),
        with_state("canceled", FailureFunctionState::CallbackCanceled),
        named("none"),
    ]);
    assert_eq!(matching(&dlq, "failureFunctionState=CALLBACK_FAIL"), ["failed"]);
    assert_eq!(
        matching(&dlq, "failureFunctionState=CALLBACK_FAIL,CALLBACK_CANCELED"),
        ["failed", "canceled"]
    );
}

#[test]
fn caller_ips_and_flow_control_keys_match_by_any() {
    let dlq = dlq_of([
        NewEntry { caller_ip: Some("192.0.2.1".into()), ..named("ip") },
        NewEntry { flow_control_key: Some("pay".into()), ..named("key") },
    ]);
    assert_eq!(matching(&dlq, "callerIp=192.0.2.1&callerIp=192.0.2.2"), ["ip"]);
    assert_eq!(matching(&dlq, "flowControlKey=pay"), ["key"]);
}

#[test]
fn different_fields_must_all_match() {
    let dlq = dlq_of([
        NewEntry { flow_control_key: Some("pay".into()), ..labelled("both", &["a"]) },
        labelled("label only", &["a"]),
        NewEntry { flow_control_key: Some("pay".into()), ..named("key only") },
    ]);
    assert_eq!(matching(&dlq, "label=a&flowControlKey=pay"), ["both"]);
}

#[test]
fn a_page_holds_at_most_fifty_and_says_where_to_go_on() {
    let mut dlq = numbered(120);
    let first = act(&mut dlq, Action::Resume, "count=100").expect("well-formed");
    assert_eq!(first.runs.len(), 50);
    let second =
        act(&mut dlq, Action::Resume, &format!("cursor={}", next_page(&first))).expect("a good cursor");
    assert_eq!(second.dlq_ids.first().map(AsRef::as_ref), Some("e50"));
    let third =
        act(&mut dlq, Action::Resume, &format!("cursor={}", next_page(&second))).expect("a good cursor");
    assert_eq!((third.runs.len(), third.cursor), (20, None));
    assert_eq!(dlq.entries().count(), 0);
}

#[test]
fn there_is_no_cursor_when_a_page_is_exactly_full() {
    let mut dlq = numbered(50);
    assert_eq!(act(&mut dlq, Action::Delete, "").expect("well-formed").cursor, None);
}

#[test]
fn a_cursor_stays_right_while_entries_leave_and_arrive() {
    let mut dlq = numbered(9);
    let first = act(&mut dlq, Action::Delete, "count=3").expect("well-formed");
    act(&mut dlq, Action::Delete, "dlqIds=e3,e5").expect("well-formed");
    dlq.seed(
        Seed { entries: vec![NewEntry { failed_at: Some(NOW), ..named("behind") }], generate: None },
        NOW,
    )
    .expect("a fresh ID");
    let second =
        act(&mut dlq, Action::Delete, &format!("count=3&cursor={}", next_page(&first))).expect("good");
    assert_eq!(ids(&second), ["e4", "e6", "e7"]);
    assert_eq!(matching(&dlq, ""), ["behind", "e8"]);
}

#[test]
fn an_unknown_id_refuses_the_whole_resume() {
    let mut dlq = numbered(2);
    for action in [Action::Resume, Action::Restart] {
        let refusal = act(&mut dlq, action, "dlqIds=e0,gone").expect_err("one is unknown");
        assert_eq!(refusal.status, http::StatusCode::NOT_FOUND);
    }
    assert_eq!(dlq.entries().count(), 2);
    assert!(dlq.ledger.workflow_runs().is_empty());
}

#[test]
fn a_delete_counts_what_it_deleted() {
    let mut dlq = numbered(2);
    assert_eq!(ids(&act(&mut dlq, Action::Delete, "dlqIds=e0,gone").expect("counts")), ["e0"]);
}

#[test]
fn ids_override_filters() {
    let mut dlq = numbered(2);
    assert_eq!(ids(&act(&mut dlq, Action::Resume, "dlqIds=e1&label=other&toDate=1").expect("found")), ["e1"]);
}

#[test]
fn one_entry_that_cannot_be_resumed_refuses_the_whole_page() {
    let mut dlq = dlq_of([named("fine"), NewEntry { unresumable: Some(true), ..named("stuck") }]);
    let refusal = act(&mut dlq, Action::Resume, "").expect_err("one is stuck");
    assert_eq!((refusal.status, dlq.entries().count()), (http::StatusCode::BAD_REQUEST, 2));
    assert_eq!(ids(&act(&mut dlq, Action::Resume, "dlqIds=fine").expect("alone it is fine")), ["fine"]);
    assert_eq!(ids(&act(&mut dlq, Action::Restart, "").expect("a restart starts afresh")), ["stuck"]);
}

#[test]
fn single_calls_know_only_what_is_in_the_dlq() {
    let mut dlq = numbered(1);
    let mut delete = |id| dlq.act_on_one(Action::Delete, id, &Overrides::default(), 1, NOW);
    assert_eq!(delete("gone").map_err(|refusal| refusal.status.as_u16()), Err(404));
    assert!(delete("e0").is_ok());
    assert_eq!(delete("e0").map_err(|refusal| refusal.status.as_u16()), Err(404));
}

#[test]
fn overrides_replace_only_what_they_name() {
    let original = NewEntry {
        delay: Some("5s".into()),
        flow_control_key: Some("old".into()),
        failure_callback: Some("https://x/old".into()),
        ..labelled("e", &["old"])
    };
    let mut dlq = dlq_of([original]);
    let mut headers = http::HeaderMap::new();
    headers.insert("upstash-retries", http::HeaderValue::from_static("7"));
    headers.insert("upstash-label", http::HeaderValue::from_static("new, newer"));
    headers.insert("upstash-flow-control-value", http::HeaderValue::from_static("rate=2"));
    let overrides = Overrides::read(&headers).expect("plausible");
    dlq.act_on_one(Action::Restart, "e", &overrides, 1, NOW).expect("found");
    let run = &dlq.ledger.workflow_runs()[0];
    assert_eq!((run.settings.retries, run.settings.label().as_deref()), (7, Some("new,newer")));
    assert_eq!(run.settings.delay.as_deref(), Some("5s"));
    assert_eq!(run.settings.flow_control_key.as_deref(), Some("old"));
    assert_eq!(run.settings.flow_control_value.as_deref(), Some("rate=2"));
    assert_eq!(run.settings.failure_callback.as_deref(), Some("https://x/old"));
}

#[test]
fn a_workflow_run_comes_back_as_a_new_entry_as_often_as_told() {
    let mut dlq = dlq_of([labelled("e", &["a"])]);
    dlq.set_refail(Some(Refail { delay_ms: 100, times: Some(1) }));
    let run = act(&mut dlq, Action::Resume, "").expect("well-formed").runs.remove(0);
    dlq.settle(NOW + 99);
    assert_eq!(dlq.entries().count(), 0);
    dlq.settle(NOW + 5000);
    let back = dlq.entries().next().expect("it came back").clone();
    assert_eq!((back.failed_at, &back.workflow_run_id), (NOW + 100, &run.workflow_run_id));
    assert_eq!((back.workflow_created_at, back.created_at), (NOW, NOW + 50));
    assert_eq!(back.settings.label().as_deref(), Some("a"));
    assert_eq!(*back.dlq_id, format!("{}-1", NOW + 100), "the time of its own failure");
    assert_eq!(dlq.ledger.entries()[0].refailed_as.as_ref(), Some(&back.dlq_id));

    act(&mut dlq, Action::Resume, "").expect("well-formed");
    dlq.settle(NOW + 9000);
    assert_eq!(dlq.entries().count(), 0, "once was enough");
}

#[test]
fn what_was_acted_on_can_be_selected_again_while_the_dlq_lags() {
    let mut dlq = numbered(2);
    dlq.set_lag(Some(Lag { ms: 50 }));
    assert_eq!(ids(&act(&mut dlq, Action::Resume, "count=1").expect("well-formed")), ["e0"]);
    dlq.settle(NOW + 49);
    assert_eq!(matching(&dlq, ""), ["e0", "e1"], "listed as before");
    assert!(dlq.get("e0").is_ok());
    assert_eq!(dlq.entries().map(|entry| &*entry.dlq_id).collect::<Vec<_>>(), ["e1"], "and yet gone");
    let again = dlq.act(Action::Restart, &selection("count=1"), &Overrides::default(), 2, NOW + 49);
    let again = again.expect("well-formed");
    assert_eq!(ids(&again), ["e0"]);
    dlq.settle(NOW + 50);
    assert_eq!(matching(&dlq, ""), ["e1"], "so long after the first action, not the second");
    assert_eq!(dlq.get("e0").map_err(|refusal| refusal.status.as_u16()), Err(404));

    let runs: Vec<_> = dlq.ledger.workflow_runs().iter().map(|run| (&*run.from_dlq_id, run.action)).collect();
    assert_eq!(runs, [("e0", Action::Resume), ("e0", Action::Restart)]);
    let record = &dlq.ledger.entries()[0];
    assert_eq!((record.actions, record.fate), (2, Fate::Resumed), "{record:?}");
    assert_eq!(record.call_seq.map(std::num::NonZeroU64::get), Some(1));
    assert_ne!(record.new_workflow_run_id.as_ref(), Some(&again.runs[0].workflow_run_id));
    let totals = dlq.ledger.totals();
    assert_eq!((totals.arrived, totals.in_dlq, totals.resumed, totals.restarted), (2, 1, 1, 0));
}

#[test]
fn what_was_acted_on_twice_comes_back_twice() {
    let mut dlq = numbered(1);
    dlq.set_lag(Some(Lag { ms: 50 }));
    dlq.set_refail(Some(Refail { delay_ms: 10, times: None }));
    for _ in 0..2 {
        act(&mut dlq, Action::Resume, "toDate=1763647200000").expect("well-formed");
    }
    dlq.settle(NOW + 50);
    let back: Vec<_> = dlq.entries().map(|entry| Arc::clone(&entry.dlq_id)).collect();
    assert_eq!(back.len(), 2);
    assert_eq!(dlq.ledger.entries()[0].refailed_as.as_ref(), Some(&back[0]));
}

#[test]
fn what_lingers_neither_expires_nor_makes_room_for_what_could() {
    let mut dlq = dlq_of([NewEntry { expires_at: Some(NOW + 10), ..named("e") }, named("next")]);
    dlq.set_lag(Some(Lag { ms: 50 }));
    act(&mut dlq, Action::Delete, "dlqIds=e").expect("well-formed");
    dlq.settle(NOW + 10);
    dlq.expire_oldest(1);
    let fates: Vec<_> = dlq.ledger.entries().iter().map(|record| record.fate).collect();
    assert_eq!(fates, [Fate::Deleted, Fate::Expired]);
    dlq.set_lag(None);
    assert_eq!(ids(&act(&mut dlq, Action::Delete, "").expect("well-formed")), ["e"]);
    assert!(matching(&dlq, "").is_empty(), "without lag it is gone with the next action");
    dlq.settle(NOW + 50);
    assert_eq!(dlq.ledger.entries()[0].actions, 2);
}

#[test]
fn entries_expire_when_their_time_comes() {
    let mut dlq = dlq_of([NewEntry { expires_at: Some(NOW + 10), ..named("e") }, named("stays")]);
    dlq.settle(NOW + 9);
    assert_eq!(dlq.entries().count(), 2);
    dlq.settle(NOW + 10);
    assert_eq!(matching(&dlq, ""), ["stays"]);
    assert_eq!(dlq.ledger.entries()[0].fate, Fate::Expired);
}

#[test]
fn a_dlq_id_cannot_be_used_twice() {
    let mut dlq = numbered(1);
    act(&mut dlq, Action::Delete, "").expect("well-formed");
    let again = dlq.seed(Seed { entries: vec![named("new"), named("e0")], generate: None }, NOW);
    assert_eq!(again.map_err(|refusal| refusal.status.as_u16()), Err(409));
    assert_eq!(dlq.entries().count(), 0);
}

#[test]
fn a_made_up_dlq_id_begins_with_the_time_of_failure() {
    let failed = |ago| NewEntry { failed_at: Some(NOW - ago), ..NewEntry::default() };
    let mut dlq = dlq_of([failed(5000), NewEntry { failed_at: Some(NOW - 7), ..named("given") }]);
    let generate = Generate { count: 2, entry: failed(9000), spread_ms: 0 };
    dlq.seed(Seed { entries: Vec::new(), generate: Some(generate) }, NOW).expect("fresh IDs");
    dlq.arrive_anew(1, NOW);
    let expected = [
        format!("{}-2", NOW - 9000),
        format!("{}-3", NOW - 9000),
        format!("{}-0", NOW - 5000),
        "given".to_owned(),
        format!("{NOW}-4"),
    ];
    assert_eq!(matching(&dlq, ""), expected);
    for id in &expected {
        assert_eq!(dlq.get(id).map(|entry| &*entry.dlq_id), Ok(id.as_str()));
    }
}

#[test]
fn a_made_up_dlq_id_evades_one_that_was_given() {
    let failed = NewEntry { failed_at: Some(NOW - 5000), ..NewEntry::default() };
    let in_the_way = format!("{}-1", NOW - 5000);
    let dlq = dlq_of([named(&in_the_way), failed]);
    assert_eq!(matching(&dlq, ""), [format!("{in_the_way}-0"), in_the_way.clone()]);
    assert_eq!(dlq.get(&in_the_way).map(|entry| entry.failed_at), Ok(NOW));
}

#[test]
fn generated_entries_have_ids_of_their_own() {
    let mut dlq = Dlq::new("a", 1);
    let generate = Generate { count: 1000, entry: labelled_template(), spread_ms: 0 };
    let made = dlq.seed(Seed { entries: Vec::new(), generate: Some(generate) }, NOW).expect("fresh IDs");
    let distinct: HashSet<_> = made.iter().collect();
    let runs: HashSet<_> = dlq.entries().map(|entry| &entry.workflow_run_id).collect();
    assert_eq!((distinct.len(), runs.len()), (1000, 1000));
}

#[test]
fn generated_entries_fail_evenly_over_the_time_that_is_asked_for() {
    let mut dlq = Dlq::new("a", 1);
    let generate = Generate {
        count: 4,
        entry: NewEntry { failed_at: Some(9000), ..labelled_template() },
        spread_ms: 8000,
    };
    dlq.seed(Seed { entries: Vec::new(), generate: Some(generate) }, NOW).expect("fresh IDs");
    let times: Vec<_> = dlq.entries().map(|entry| entry.failed_at).collect();
    assert_eq!(times, [3000, 5000, 7000, 9000]);
}

fn labelled_template() -> NewEntry {
    NewEntry { dlq_id: None, ..labelled("", &["a"]) }
}

proptest::proptest! {
    #[test]
    fn every_entry_is_in_the_dlq_or_has_left_it_in_one_way(
        steps in proptest::collection::vec((0_u8..8, 1_usize..9), 0..60)
    ) {
        let mut dlq = Dlq::new("a", 1);
        dlq.set_refail(Some(Refail { delay_ms: 3, times: Some(2) }));
        let mut now = NOW;
        for (seq, (step, size)) in (1..).zip(steps) {
            now += 1;
            dlq.settle(now);
            let action = [Action::Resume, Action::Restart, Action::Delete][size % 3];
            match step {
                0 | 1 => dlq.arrive_anew(size, now),
                2 => dlq.expire_oldest(size),
                7 => {
                    let order = if size % 2 == 0 { Order::NewestFirst } else { Order::OldestFirst };
                    dlq.set_service(Service { order, ..Service::default() });
                }
                3 => {
                    let entry = NewEntry { expires_at: Some(now + 2), ..NewEntry::default() };
                    dlq.seed(Seed { entries: vec![entry], generate: None }, now).expect("fresh IDs");
                }
                _ => {
                    let page = selection(&format!("count={size}"));
                    dlq.act(action, &page, &Overrides::default(), seq, now).expect("well-formed");
                }
            }
        }
        let present: HashSet<_> = dlq.entries().map(|entry| Arc::clone(&entry.dlq_id)).collect();
        proptest::prop_assert_eq!(present.len(), dlq.entries().count());
        for record in dlq.ledger.entries() {
            let acted_on = matches!(record.fate, Fate::Resumed | Fate::Restarted | Fate::Deleted);
            proptest::prop_assert_eq!(present.contains(&record.dlq_id), record.fate == Fate::InDlq);
            proptest::prop_assert_eq!(acted_on, record.call_seq.is_some());
            proptest::prop_assert_eq!(
                matches!(record.fate, Fate::Resumed | Fate::Restarted),
                record.new_workflow_run_id.is_some()
            );
        }
        let runs: HashSet<_> = dlq.ledger.workflow_runs().iter().map(|run| &run.workflow_run_id).collect();
        proptest::prop_assert_eq!(runs.len(), dlq.ledger.workflow_runs().len());
    }
}
