//! What a look asks for, and what it makes of the answers.

use serde_json::{Value, json};

use super::*;
use crate::sample;
use dlq_upstash::types::{Cursor, DlqId, ListedEntry};

const HOUR: i64 = 3_600_000;

fn now() -> Timestamp {
    "2026-11-20T12:00:00.500Z".parse().unwrap()
}

fn look_of(fields: &Value) -> Look {
    let policy = sample::policy(fields, &[], &sample::permissions());
    Look::new(&policy.backlog.expect("valid"), SignedDuration::ZERO, now())
}

fn look(count_up_to: u32) -> Look {
    look_of(&json!({ "backlog": { "interval": "15m", "countUpTo": count_up_to } }))
}

/// So many entries, and whether a page follows.
fn page(entries: u64, cursor: Option<&str>) -> Page {
    Page { entries, cursor: cursor.map(|cursor| Cursor(cursor.to_owned())), ..Page::default() }
}

fn call(look: &Look) -> Call {
    match look.next() {
        LookStep::List(call) => call,
        LookStep::Done(found) => panic!("ended: {found:?}"),
    }
}

fn asked(look: &Look) -> (u32, Option<String>) {
    let Call::List { cursor, count, .. } = call(look) else { panic!("acts") };
    (count, cursor.map(|cursor| cursor.0))
}

fn found(look: &Look) -> BacklogStatus {
    match look.next() {
        LookStep::Done(found) => *found,
        LookStep::List(call) => panic!("continues: {call:?}"),
    }
}

fn counted(look: &Look) -> (i64, bool) {
    let found = found(look);
    (found.entries, found.at_least)
}

fn error(class: ErrorClass) -> ApiError {
    ApiError { class, ..ApiError::transport("trouble", false) }
}

/// An entry that failed so many hours ago.
fn entry(hours_ago: i64, status: Option<u16>) -> ListedEntry {
    let id = format!("{}-0", now().as_millisecond() - hours_ago * HOUR);
    ListedEntry { response_status: status, ..ListedEntry::bare(DlqId(id)) }
}

#[test]
fn all_is_counted_page_by_page_up_to_the_last_one() {
    let mut look = look(1000);
    assert_eq!(asked(&look), (100, None));
    look.answered(&page(100, Some("a")));
    assert_eq!(asked(&look), (100, Some("a".to_owned())));
    look.answered(&page(23, None));
    assert_eq!(counted(&look), (123, false));
    assert_eq!(found(&look).observed_time.0, "2026-11-20T12:00:00Z".parse().unwrap());
}

#[test]
fn as_many_as_are_counted_are_exact_if_there_is_no_other_and_a_lower_bound_otherwise() {
    let full = || {
        let mut look = look(150);
        look.answered(&page(100, Some("a")));
        assert_eq!(asked(&look).0, 50);
        look.answered(&page(50, Some("b")));
        assert_eq!(asked(&look), (1, Some("b".to_owned())), "is there another?");
        look
    };
    let mut exact = full();
    exact.answered(&page(0, None));
    assert_eq!(counted(&exact), (150, false));
    let mut more = full();
    more.answered(&page(1, Some("c")));
    assert_eq!(counted(&more), (150, true));
    let mut whole = look(100);
    whole.answered(&page(100, None));
    assert_eq!(counted(&whole), (100, false));
    let mut larger_than_asked_for = look(100);
    larger_than_asked_for.answered(&page(130, None));
    assert_eq!(counted(&larger_than_asked_for), (100, true));
}

#[test]
fn pages_that_lead_nowhere_end_a_look_with_what_it_counted() {
    let mut circle = look(1000);
    circle.answered(&page(100, Some("a")));
    circle.answered(&page(100, Some("a")));
    assert_eq!(counted(&circle), (200, true));
    let mut empty = look(1000);
    empty.answered(&page(3, Some("a")));
    for number in 0..100 {
        empty.answered(&page(0, Some(&number.to_string())));
    }
    assert_eq!(counted(&empty), (3, true));
}

#[test]
fn a_look_makes_a_bounded_number_of_calls_whatever_is_answered() {
    let mut look = look(1000);
    let mut calls = 0;
    while let LookStep::List(_) = look.next() {
        look.answered(&page(1, Some(&calls.to_string())));
        calls += 1;
    }
    assert_eq!((calls, counted(&look)), (110, (110, true)));
}

#[test]
fn a_page_that_is_too_large_is_asked_for_with_half_as_many_and_nothing_else_is_repeated() {
    let mut look = look(1000);
    for expected in [50, 25, 12, 6, 3, 1] {
        let call = call(&look);
        assert!(look.failed(&call, &error(ErrorClass::TooLarge)));
        assert_eq!(asked(&look).0, expected);
    }
    let call = call(&look);
    assert!(!look.failed(&call, &error(ErrorClass::TooLarge)), "one entry alone is too large");
    for class in [
        ErrorClass::RateLimited,
        ErrorClass::Unavailable,
        ErrorClass::Unauthorized,
        ErrorClass::Forbidden,
        ErrorClass::NotFound,
        ErrorClass::QuotaExceeded,
        ErrorClass::Refused,
        ErrorClass::Unexpected,
    ] {
        let mut look = self::look(1000);
        let call = self::call(&look);
        assert!(!look.failed(&call, &error(class)), "{class:?}");
    }
}

#[test]
fn the_window_ends_when_the_look_begins_by_upstashs_clock() {
    let of = |filters: Value| {
        let fields = json!({ "filters": filters, "backlog": { "interval": "15m" } });
        let policy = sample::policy(&fields, &[], &sample::permissions());
        Look::new(&policy.backlog.expect("valid"), SignedDuration::from_secs(-30), now())
    };
    let Call::List { criteria, detail, .. } = call(&of(json!({ "labels": ["a"], "newerThan": "1h" }))) else {
        panic!("acts")
    };
    let at_upstash = now().as_millisecond() - 30_000;
    assert_eq!((criteria.from_date, criteria.to_date), (Some(at_upstash - HOUR), Some(at_upstash)));
    assert_eq!((criteria.labels, detail), (vec!["a".to_owned()], Detail::Brief));
    let empty = of(json!({ "fromDate": "2027-01-01T00:00:00Z" }));
    assert_eq!(counted(&empty), (0, false), "an empty window takes no call");
}

#[test]
fn the_oldest_the_most_frequent_statuses_and_what_expires_within_a_day_are_told() {
    let mut look = look_of(&json!({ "backlog": { "interval": "15m", "retention": "3d" } }));
    let listed = [
        entry(1, Some(500)),
        entry(47, Some(503)),
        // 48 hours old: it expires in exactly a day.
        entry(48, Some(503)),
        entry(80, None),
        ListedEntry::bare(DlqId("of-no-time".to_owned())),
    ];
    look.answered(&Page { listed: listed.to_vec(), ..page(5, Some("a")) });
    let more = (0..5).map(|status| entry(2, Some(400 + status))).collect();
    look.answered(&Page { listed: more, ..page(5, None) });
    let found = found(&look);
    assert_eq!((found.entries, found.expiring_within_day), (10, Some(2)));
    assert_eq!(found.oldest_time.unwrap().as_millisecond(), now().as_millisecond() - 80 * HOUR);
    let told: Vec<_> = found.response_statuses.iter().map(|told| (told.value.as_str(), told.count)).collect();
    assert_eq!(told, [("503", 2), ("400", 1), ("401", 1), ("402", 1), ("403", 1)]);
}

#[test]
fn without_retention_nothing_is_said_of_what_expires() {
    let mut look = look(1000);
    look.answered(&Page { listed: vec![entry(5000, None)], ..page(1, None) });
    assert_eq!(found(&look).expiring_within_day, None);
}
