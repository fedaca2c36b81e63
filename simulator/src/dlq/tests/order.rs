//! The oldest or the newest failure first.

use super::*;

#[test]
fn the_newest_failure_comes_first_where_the_service_has_it_so() {
    let mut dlq = dlq_of([
        NewEntry { failed_at: Some(NOW), ..named("late") },
        NewEntry { failed_at: Some(NOW - 5), ..named("early") },
        NewEntry { failed_at: Some(NOW), ..named("late too") },
    ]);
    newest_first(&mut dlq);
    assert_eq!(matching(&dlq, ""), ["late too", "late", "early"]);
    let acted = act(&mut dlq, Action::Resume, "count=2").expect("well-formed");
    assert_eq!(ids(&acted), ["late too", "late"]);
    let runs: Vec<_> = dlq.ledger.workflow_runs().iter().map(|run| &*run.from_dlq_id).collect();
    assert_eq!(runs, ["late too", "late"]);
}

#[test]
fn a_drain_from_the_newest_on_acts_once_on_everything_that_was_there() {
    let mut dlq = numbered(9);
    newest_first(&mut dlq);
    let mut acted = act(&mut dlq, Action::Delete, "count=4").expect("well-formed");
    let mut deleted = vec![ids(&acted).join(" ")];
    while acted.cursor.is_some() {
        dlq.arrive_anew(1, NOW + 100);
        let query = format!("count=4&cursor={}", next_page(&acted));
        acted = act(&mut dlq, Action::Delete, &query).expect("a good cursor");
        deleted.push(ids(&acted).join(" "));
    }
    assert_eq!(deleted, ["e8 e7 e6 e5", "e4 e3 e2 e1", "e0"]);
    assert_eq!(dlq.entries().count(), 2, "what came meanwhile is newer than the cursor");
}

#[test]
fn a_cursor_leads_on_in_the_order_of_the_next_call() {
    let mut dlq = numbered(5);
    let first = act(&mut dlq, Action::Delete, "count=3").expect("well-formed");
    newest_first(&mut dlq);
    assert!(matching(&dlq, &format!("cursor={}", next_page(&first))).is_empty(), "e0 to e2 are gone");
    assert_eq!(matching(&dlq, ""), ["e4", "e3"]);
}

#[test]
fn the_order_says_nothing_about_what_a_filter_selects() {
    let mut dlq = numbered(4);
    newest_first(&mut dlq);
    let span = format!("fromDate={}&toDate={}", NOW + 1, NOW + 2);
    assert_eq!(matching(&dlq, &span), ["e2", "e1"]);
    let first = dlq.list(&selection(&format!("count=1&{span}"))).1.expect("a cursor");
    let cursor = percent_encoding::utf8_percent_encode(&first, percent_encoding::NON_ALPHANUMERIC);
    assert_eq!(matching(&dlq, &format!("{span}&cursor={cursor}")), ["e1"]);
}
