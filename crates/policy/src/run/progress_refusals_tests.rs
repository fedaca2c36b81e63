//! Pages and chunks that the API refuses.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

type Refuses = fn(&Call) -> bool;

/// An entry that the sample run selects.
fn entry(place: u32) -> ListedEntry {
    ListedEntry {
        workflow_created_at: Some(at(-60).as_millisecond()),
        labels: Some(vec!["payments".to_owned()]),
        ..ListedEntry::bare(DlqId(format!("id-{place}")))
    }
}

/// A DLQ: each entry by its place, and whether the API refuses to act on it.
struct Dlq {
    entries: BTreeMap<u32, bool>,
    acted_on: BTreeSet<u32>,
    calls: usize,
    /// What is refused whatever the entry.
    refuses: Refuses,
}

impl Dlq {
    fn of(good: u32, bad: impl IntoIterator<Item = u32>) -> Self {
        let bad: BTreeSet<_> = bad.into_iter().collect();
        let entries =
            (0..good + u32::try_from(bad.len()).unwrap()).map(|place| (place, bad.contains(&place)));
        Self { entries: entries.collect(), acted_on: BTreeSet::new(), calls: 0, refuses: |_| false }
    }

    fn after(&self, cursor: Option<&Cursor>, count: u32) -> (Vec<u32>, Option<Cursor>) {
        let from = cursor.map_or(0, |cursor| cursor.0.parse().unwrap());
        let shown: Vec<_> =
            self.entries.range(from..).map(|(place, _)| *place).take(count.try_into().unwrap()).collect();
        let next =
            shown.last().map(|last| last + 1).filter(|next| self.entries.range(next..).next().is_some());
        (shown, next.map(|next| Cursor(next.to_string())))
    }

    fn act(&mut self, places: &[u32], cursor: Option<Cursor>) -> Result<Page, ApiError> {
        if places.iter().any(|place| self.entries[place]) {
            return Err(error(ErrorClass::Refused));
        }
        for place in places {
            self.entries.remove(place);
            assert!(self.acted_on.insert(*place), "acted on twice: {place}");
        }
        Ok(Page { entries: places.len() as u64, cursor, ..Page::default() })
    }

    fn answer(&mut self, call: &Call) -> Result<Page, ApiError> {
        self.calls += 1;
        if (self.refuses)(call) {
            return Err(error(ErrorClass::Refused));
        }
        match call {
            Call::Bulk { selection: Selection::Matching { cursor, count, .. }, .. } => {
                let (places, next) = self.after(cursor.as_ref(), *count);
                self.act(&places, next)
            }
            Call::Bulk { selection: Selection::Ids(ids), .. } => {
                let places =
                    ids.iter().map(|id| id.0.strip_prefix("id-").and_then(|place| place.parse().ok()));
                let there = places.map(|place| place.filter(|place| self.entries.contains_key(place)));
                match there.collect::<Option<Vec<u32>>>() {
                    Some(places) => self.act(&places, None),
                    None => Err(error(ErrorClass::NotFound)),
                }
            }
            Call::List { cursor, count, .. } => {
                let (places, cursor) = self.after(cursor.as_ref(), *count);
                let listed: Vec<_> = places.iter().copied().map(entry).collect();
                Ok(Page { entries: listed.len() as u64, listed, cursor, ..Page::default() })
            }
            call => panic!("{call:?}"),
        }
    }

    /// Makes so many calls of a run, or all until it ends.
    fn work(&mut self, progress: &mut Progress, calls: usize) -> Option<Outcome> {
        for _ in 0..calls {
            let call = match progress.next(at(0)) {
                Step::Call(call) => call,
                Step::End(outcome) => return Some(outcome),
                Step::Await => unreachable!("no call is under way"),
                Step::Reserve(_) => unreachable!("no budget is shared"),
                Step::Ask => unreachable!("there is no threshold"),
                Step::Wait(until) => panic!("waits until {until}"),
            };
            match self.answer(&call) {
                Ok(page) => progress.answer(&call, &page, at(0)),
                Err(error) => assert_eq!(progress.fail(&call, &error, at(0), 0.0), Failure::GoOn),
            }
        }
        None
    }

    fn drain(&mut self, progress: &mut Progress) -> Outcome {
        self.work(progress, 50_000).expect("the run ends")
    }
}

#[test]
fn the_good_are_acted_on_and_the_refused_counted_in_few_calls() {
    let scattered = (0..25).map(|index| index * 200 + 7);
    let tables: [(&str, Vec<u32>, usize); 5] = [
        ("none", Vec::new(), 100),
        ("the first", vec![0], 115),
        ("the last", vec![5000], 115),
        ("a page full at the front", (0..50).collect(), 210),
        ("scattered", scattered.collect(), 100 + 25 * 13),
    ];
    for (row, bad, most_calls) in tables {
        let rejected = i64::try_from(bad.len()).unwrap();
        let mut dlq = Dlq::of(5000, bad);
        let mut progress = matching(&json!({}));
        let outcome = dlq.drain(&mut progress);
        assert_eq!((outcome.result, outcome.reason), SUCCEEDED, "{row}");
        assert_eq!((progress.run().processed, progress.ended_run().rejected), (5000, rejected), "{row}");
        assert_eq!(dlq.acted_on.len(), 5000, "{row}");
        assert!(dlq.calls <= most_calls, "{row}: {} calls", dlq.calls);
    }
}

#[test]
fn what_is_left_of_a_queue_does_not_fail_a_run_for_ever() {
    let mut dlq = Dlq::of(0, 0..3);
    let mut progress = matching(&json!({}));
    let outcome = dlq.drain(&mut progress);
    assert_eq!((outcome.result, outcome.reason), SUCCEEDED);
    assert_eq!(outcome.message, "resumed 0 entries, 3 refused, the last: Upstash answered 400: no");
    assert_eq!((progress.run().processed, progress.ended_run().rejected), (0, 3));
}

#[test]
fn a_request_that_is_refused_whatever_the_entry_ends_the_run_after_a_few_calls() {
    let tables: [(_, Refuses, _); 2] =
        [("listing too", |_| true, 2), ("acting alone", |call| call.operation().acts(), 9)];
    for (row, refuses, most_calls) in tables {
        let mut dlq = Dlq { refuses, ..Dlq::of(5000, []) };
        let mut progress = matching(&json!({}));
        let outcome = dlq.drain(&mut progress);
        assert_eq!((outcome.result, outcome.reason), failed(Reason::BadRequest), "{row}");
        assert!(outcome.message.contains("check spec.filters"), "{row}: {}", outcome.message);
        assert!(dlq.calls <= most_calls, "{row}: {} calls", dlq.calls);
    }
    let mut nothing = Dlq { refuses: |call| call.operation().acts(), ..Dlq::of(0, []) };
    let outcome = nothing.drain(&mut matching(&json!({})));
    assert_eq!((outcome.result, outcome.reason), failed(Reason::BadRequest));
}

#[test]
fn a_request_that_is_refused_is_one_however_many_entries_match() {
    for count in [0, 1, 2, 50, 51] {
        let refused = || Dlq { refuses: |call| call.operation().acts(), ..Dlq::of(count, []) };
        for action in ["resume", "restart", "delete"] {
            let by_filter = refused().drain(&mut matching(&json!({"action": action})));
            assert_eq!((by_filter.result, by_filter.reason), failed(Reason::BadRequest), "{action} {count}");
            let ids = usize::try_from(count.max(1)).unwrap();
            let by_ids = refused().drain(&mut listed(ids, &json!({"action": action, "window": null})));
            assert_eq!((by_ids.result, by_ids.reason), failed(Reason::BadRequest), "{action} {count} by ID");
        }
    }
    // The only entry that matches is refused for itself: the policy is fine.
    let mut dlq = Dlq::of(0, [0]);
    let mut progress = matching(&json!({}));
    let outcome = dlq.drain(&mut progress);
    assert_eq!(
        (outcome.result, outcome.reason, progress.ended_run().rejected),
        (SUCCEEDED.0, SUCCEEDED.1, 1)
    );
}

#[test]
fn the_question_about_ids_survives_a_crash() {
    for count in [1, 2, 50] {
        for calls in 1..8 {
            let mut dlq = Dlq { refuses: |call| call.operation().acts(), ..Dlq::of(count, []) };
            let ids = usize::try_from(count).unwrap();
            let mut progress = listed(ids, &json!({"action": "restart", "window": null}));
            let outcome = dlq.work(&mut progress, calls).unwrap_or_else(|| {
                let checkpoint = crate::status::taken_over(progress.run(), "pod/2");
                dlq.drain(&mut listed(ids, &serde_json::to_value(checkpoint).unwrap()))
            });
            assert_eq!(
                (outcome.result, outcome.reason),
                failed(Reason::BadRequest),
                "{count} IDs, {calls} calls"
            );
        }
    }
}

#[test]
fn the_question_is_asked_also_where_a_lost_answer_leaves_something_open() {
    let mut dlq = Dlq::of(1, []);
    let mut progress = listed(1, &json!({"action": "restart", "window": null}));
    let first = call(&mut progress);
    progress.fail(&first, &lost(), at(0), 0.0);
    dlq.refuses = |call| call.operation().acts();
    let outcome = dlq.drain(&mut progress);
    assert_eq!((outcome.result, outcome.reason), failed(Reason::BadRequest));
}

#[test]
fn what_the_list_shows_beyond_the_selection_is_left_alone() {
    let foreign = |place| ListedEntry { labels: Some(vec!["other".to_owned()]), ..entry(place) };
    let mut progress = matching(&json!({}));
    fail(&mut progress, &error(ErrorClass::Refused));
    let page = Page { listed: vec![foreign(0), entry(1), foreign(2), entry(3)], ..page(4, "") };
    answer(&mut progress, &page);
    let Call::Bulk { selection: Selection::Ids(ids), .. } = call(&mut progress) else { panic!("no IDs") };
    assert_eq!(ids, [entry(1).id]);
    let mut dlq = Dlq::of(4, []);
    let outcome = dlq.drain(&mut progress);
    assert_eq!(dlq.acted_on, BTreeSet::from([1, 3]));
    assert_eq!(
        (outcome.result, outcome.reason, progress.ended_run().left_alone),
        (SUCCEEDED.0, SUCCEEDED.1, 2)
    );
    assert!(outcome.message.starts_with("left 2 listed entries alone"), "{}", outcome.message);
    assert_eq!((progress.run().processed, progress.ended_run().rejected), (2, 0));

    // A list of nothing else: the request is looked into, and is fine.
    let mut progress = matching(&json!({}));
    fail(&mut progress, &error(ErrorClass::Refused));
    answer(&mut progress, &Page { listed: vec![foreign(0)], ..super::page(1, "") });
    fail(&mut progress, &error(ErrorClass::NotFound));
    let Step::End(outcome) = progress.next(at(0)) else { panic!("it continues") };
    assert_eq!((outcome.reason, progress.ended_run().left_alone), (Reason::NothingMatched, 1));
}

#[test]
fn a_refused_entry_that_leaves_before_it_is_found_fails_no_run() {
    let mut known = matching(&json!({"processed": 50, "pages": 1}));
    fail(&mut known, &error(ErrorClass::Refused));
    answer(&mut known, &page(0, ""));
    assert_eq!(ended(&mut known), SUCCEEDED);
    let mut unknown = matching(&json!({}));
    fail(&mut unknown, &error(ErrorClass::Refused));
    answer(&mut unknown, &page(0, ""));
    fail(&mut unknown, &error(ErrorClass::NotFound));
    assert_eq!(ended(&mut unknown), NOTHING);
    // Another answer says nothing of the request.
    let mut unclear = matching(&json!({}));
    fail(&mut unclear, &error(ErrorClass::Refused));
    answer(&mut unclear, &page(0, ""));
    fail(&mut unclear, &error(ErrorClass::Unexpected));
    assert_eq!(ended(&mut unclear), failed(Reason::BadRequest));
}

#[test]
fn a_page_that_was_acted_on_shows_that_the_request_is_fine_and_an_empty_one_does_not() {
    for (entries, is_asked) in [(1, false), (0, true)] {
        let mut progress = matching(&json!({}));
        answer(&mut progress, &page(entries, "a"));
        answer(&mut progress, &page(entries, "b"));
        // The cursor is dropped first.
        fail(&mut progress, &error(ErrorClass::Refused));
        fail(&mut progress, &error(ErrorClass::Refused));
        answer(&mut progress, &page(0, ""));
        let is_call = matches!(progress.next(at(0)), Step::Call(_));
        assert_eq!(is_call, is_asked, "after pages of {entries}");
    }
}

#[test]
fn a_refused_page_without_anything_to_act_on_may_not_lead_back() {
    for (label, leads_on) in [("payments", true), ("other", false)] {
        let mut progress = matching(&json!({"processed": 1}));
        let list = |progress: &mut Progress, label: &str| {
            fail(progress, &error(ErrorClass::Refused));
            let listed = ListedEntry { labels: Some(vec![label.to_owned()]), ..entry(0) };
            answer(progress, &Page { listed: vec![listed], ..page(1, "a") });
        };
        list(&mut progress, "other");
        // The cursor is dropped, once.
        fail(&mut progress, &error(ErrorClass::Refused));
        list(&mut progress, "other");
        list(&mut progress, label);
        if leads_on {
            answer(&mut progress, &page(1, ""));
            call(&mut progress);
        } else {
            assert_eq!(ended(&mut progress), failed(Reason::CursorLoop));
        }
    }
}

#[test]
fn an_entry_of_a_refused_page_that_has_left_counts_for_nothing() {
    let mut progress = matching(&json!({"processed": 1}));
    fail(&mut progress, &error(ErrorClass::Refused));
    answer(&mut progress, &Page { listed: vec![entry(0)], ..page(1, "") });
    fail(&mut progress, &error(ErrorClass::NotFound));
    assert_eq!(ended(&mut progress), SUCCEEDED);
    let run = progress.ended_run();
    assert_eq!((run.not_found, run.position, run.pages, run.rejected), (0, 0, 0, 0));
}

#[test]
fn ids_that_are_refused_are_counted_and_the_others_acted_on() {
    let mut dlq = Dlq::of(195, [3, 60, 61, 120, 199]);
    let mut progress = listed(210, &json!({"window": null}));
    let outcome = dlq.drain(&mut progress);
    assert_eq!((outcome.result, outcome.reason), SUCCEEDED);
    let run = progress.run();
    assert_eq!((run.processed, run.rejected, run.not_found, run.position), (195, 5, 10, 210));
    assert!(dlq.calls < 110, "{} calls", dlq.calls);
}

#[test]
fn a_run_over_ids_of_which_all_are_refused_says_so() {
    for ids in [1, 2, 60] {
        let refused = || Dlq::of(0, 0..u32::try_from(ids).unwrap());
        let mut progress = listed(ids, &json!({"action": "restart", "window": null}));
        let outcome = refused().drain(&mut progress);
        assert_eq!((outcome.result, outcome.reason), failed(Reason::BadRequest), "{ids}");
        assert_eq!(progress.ended_run().rejected, i64::try_from(ids).unwrap(), "{ids}");
    }
    let mut single = listed(1, &json!({"window": null}));
    fail(&mut single, &error(ErrorClass::Refused));
    assert_eq!(ended(&mut single), failed(Reason::BadRequest));
}

#[test]
fn refused_ids_end_alike_whether_or_not_the_run_is_handed_over() {
    for calls in 1..5 {
        let mut dlq = Dlq::of(0, [0]);
        let mut progress = listed(2, &json!({"window": null}));
        let outcome = dlq.work(&mut progress, calls);
        let mut taken = listed(2, &serde_json::to_value(progress.handed_back()).unwrap());
        let outcome = outcome.unwrap_or_else(|| dlq.drain(&mut taken));
        assert_eq!((outcome.result, outcome.reason), failed(Reason::BadRequest), "{calls}");
    }
}

#[test]
fn a_refused_id_fails_no_run_that_may_have_acted_on_others() {
    let mut dlq = Dlq::of(50, [50]);
    let mut progress = listed(51, &json!({"window": null}));
    let first = call(&mut progress);
    dlq.answer(&first).unwrap();
    progress.fail(&first, &lost(), at(0), 0.0);
    let outcome = dlq.drain(&mut progress);
    assert_eq!((outcome.result, outcome.reason), SUCCEEDED);
    assert_eq!(dlq.acted_on.len(), 50);
}

#[test]
fn a_refusal_is_an_answer() {
    let mut dlq = Dlq::of(0, [0, 1]);
    let mut asked = matching(&json!({}));
    assert_eq!(dlq.work(&mut asked, 3), None);
    let table = [
        ("the question", asked, ErrorClass::NotFound),
        ("a cursor that is dropped", matching(&json!({"cursor": "stale"})), ErrorClass::Refused),
        ("a page that is taken apart", matching(&json!({})), ErrorClass::Refused),
    ];
    for (row, mut progress, class) in table {
        for _ in 0..9 {
            fail(&mut progress, &error(ErrorClass::Unavailable));
        }
        fail(&mut progress, &error(class));
        fail(&mut progress, &error(ErrorClass::Unavailable));
        assert!(matches!(progress.next(at(0)), Step::Call(_)), "{row}");
    }
}

#[test]
fn a_page_that_another_drains_is_listed_again() {
    let mut dlq = Dlq::of(100, [0]);
    let mut progress = matching(&json!({}));
    assert_eq!(dlq.work(&mut progress, 2), None);
    dlq.entries.retain(|place, _| *place >= 50);
    let before = dlq.calls;
    let outcome = dlq.drain(&mut progress);
    assert_eq!((outcome.result, outcome.reason), SUCCEEDED);
    assert_eq!(progress.ended_run().processed, 51);
    assert!(dlq.calls - before <= 10, "{} calls", dlq.calls - before);
    // Not for ever.
    let four = Page { listed: (0..4).map(entry).collect(), ..page(4, "") };
    let mut ever = matching(&json!({"processed": 1}));
    fail(&mut ever, &error(ErrorClass::Refused));
    for _ in 0..3 {
        answer(&mut ever, &four);
        fail(&mut ever, &error(ErrorClass::NotFound));
    }
    assert_eq!(sent(&call(&mut ever)), 2);
}

#[test]
fn a_lost_question_leaves_nothing_uncertain() {
    let mut dlq = Dlq::of(0, [0, 1]);
    let mut progress = matching(&json!({}));
    assert_eq!(dlq.work(&mut progress, 3), None);
    let question = call(&mut progress);
    assert_eq!(sent(&question), 1);
    progress.fail(&question, &lost(), at(0), 0.0);
    progress.give_up(&question, at(0));
    let outcome = dlq.drain(&mut progress);
    assert_eq!((outcome.result, outcome.reason), SUCCEEDED);
    assert_eq!((progress.run().uncertain_pages, progress.ended_run().rejected), (0, 2));
}

#[test]
fn the_limit_of_a_run_holds_while_a_page_is_taken_apart() {
    let mut dlq = Dlq::of(500, [5]);
    let mut progress = matching(&json!({"limits": {"maxEntriesPerRun": 30}}));
    let outcome = dlq.drain(&mut progress);
    assert_eq!((outcome.result, outcome.reason), LIMIT);
    let run = progress.ended_run();
    assert_eq!((run.processed, run.rejected, dlq.acted_on.len()), (30, 1, 30));
}

#[test]
fn what_is_refused_is_counted_once_wherever_a_process_dies() {
    let limits = json!({"limits": {"pageSize": 20, "maxEntriesPerRun": 60}});
    for calls in 1..20 {
        let mut dlq = Dlq::of(100, [0, 7]);
        let mut progress = matching(&limits);
        let mut outcome = dlq.work(&mut progress, calls);
        if outcome.is_none() {
            let checkpoint = crate::status::taken_over(progress.run(), "pod/2");
            progress = matching(&serde_json::to_value(checkpoint).unwrap());
            outcome = Some(dlq.drain(&mut progress));
        }
        assert_eq!(outcome.unwrap().result, RunResult::LimitReached, "{calls}");
        assert_eq!(progress.ended_run().rejected, 2, "{calls}");
    }
}

#[test]
fn a_run_that_is_ended_in_the_middle_of_a_page_counts_what_was_refused_of_it() {
    let mut dlq = Dlq::of(100, [0]);
    let mut progress = matching(&json!({}));
    while progress.ended_run().rejected == 0 {
        assert_eq!(dlq.work(&mut progress, 1), None);
    }
    assert_eq!((progress.run().rejected, progress.ended_run().rejected), (0, 1));
}

#[test]
fn a_stale_cursor_is_told_from_refused_entries() {
    // Refused entries are known: a cursor that is refused then is looked at before it is dropped.
    let mut progress = matching(&json!({"cursor": "stale", "rejected": 2}));
    fail(&mut progress, &error(ErrorClass::Refused));
    assert!(matches!(call(&mut progress), Call::List { cursor: Some(_), .. }));
    fail(&mut progress, &error(ErrorClass::Refused));
    assert_eq!(asked(&call(&mut progress)).0, None);
    assert_eq!(progress.ended_run().rejected, 0, "they come by again");
    fail(&mut progress, &error(ErrorClass::Refused));
    fail(&mut progress, &error(ErrorClass::Refused));
    assert_eq!(ended(&mut progress), failed(Reason::BadRequest));
}

#[test]
fn an_entry_without_an_id_that_can_be_sent_counts_as_refused() {
    let mut progress = matching(&json!({}));
    fail(&mut progress, &error(ErrorClass::Refused));
    let one_of_two = Page { entries: 2, listed: vec![entry(0)], ..Page::default() };
    answer(&mut progress, &one_of_two);
    assert_eq!(sent(&answer(&mut progress, &page(1, ""))), 1);
    assert_eq!(ended(&mut progress), SUCCEEDED);
    assert_eq!((progress.run().processed, progress.ended_run().rejected), (1, 1));
}

proptest! {
    /// Whatever entries are refused and wherever the run is handed over, the good are acted on once and the others
    /// counted once.
    #[test]
    fn the_counts_are_exact_over_clean_hand_overs(
        are_bad in proptest::collection::vec(proptest::bool::weighted(0.1), 0..300),
        page_size in 1_i64..=100,
        slices in proptest::collection::vec(1_usize..40, 0..12),
    ) {
        let bad: Vec<u32> = (0..).zip(&are_bad).filter(|(_, is_bad)| **is_bad).map(|(place, _)| place).collect();
        let rejected = bad.len();
        let good = are_bad.len() - rejected;
        let mut dlq = Dlq::of(u32::try_from(good).unwrap(), bad);
        let mut progress = matching(&json!({"limits": {"pageSize": page_size}}));
        let mut outcome = None;
        for calls in slices {
            outcome = dlq.work(&mut progress, calls);
            if outcome.is_some() { break; }
            progress = matching(&serde_json::to_value(progress.handed_back()).unwrap());
        }
        let outcome = outcome.unwrap_or_else(|| dlq.drain(&mut progress));
        prop_assert_eq!(outcome.result, RunResult::Succeeded);
        prop_assert_eq!(dlq.acted_on.len(), good);
        prop_assert_eq!(usize::try_from(progress.run().processed).unwrap(), good);
        prop_assert_eq!(usize::try_from(progress.ended_run().rejected).unwrap(), rejected);
    }
}
