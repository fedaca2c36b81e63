//! Whatever the API answers, a run keeps its promises.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::bisection::NOBODYS;
use super::progress::{Progress, Step};
use crate::spec::ConnectionRef;
use crate::spec::policy::Work;
use crate::spec::selection::Selected;
use dlq_crd::{PolicyRun, RunResult};
use dlq_upstash::error::{ApiError, ErrorClass};
use dlq_upstash::types::{Call, Criteria, Cursor, DlqId, Overrides, Page, Selection};

const RETRY_LIMIT: u32 = 3;

/// What happens to a call.
#[derive(Clone, Debug)]
enum Fate {
    Page { entries: u64, cursor: Option<u8> },
    Error { class: ErrorClass, may_have_acted: bool, retry_after: Option<u64> },
    Abandoned,
}

/// How a run is set up.
#[derive(Clone, Debug)]
struct Setup {
    ids: usize,
    action: &'static str,
    dry_run: bool,
    interruptions: i64,
    page_size: i32,
    most: Option<i64>,
    per_second: Option<i32>,
}

fn fate() -> impl Strategy<Value = Fate> {
    let class = prop_oneof![
        4 => Just(ErrorClass::Unavailable),
        2 => Just(ErrorClass::RateLimited),
        3 => Just(ErrorClass::NotFound),
        1 => Just(ErrorClass::Refused),
        1 => Just(ErrorClass::Unauthorized),
        1 => Just(ErrorClass::Forbidden),
        1 => Just(ErrorClass::Unexpected),
    ];
    prop_oneof![
        6 => (0_u64..120, proptest::option::weighted(0.9, 0_u8..20))
            .prop_map(|(entries, cursor)| Fate::Page { entries, cursor }),
        3 => (class, any::<bool>(), proptest::option::of(0_u64..4000))
            .prop_map(|(class, may_have_acted, retry_after)| Fate::Error { class, may_have_acted, retry_after }),
        1 => Just(Fate::Abandoned),
    ]
}

fn setup() -> impl Strategy<Value = Setup> {
    let action = prop_oneof![Just("resume"), Just("restart"), Just("delete")];
    let ids = prop_oneof![Just(0_usize), Just(1), 2_usize..200];
    let limit = proptest::option::of(1_i64..300);
    let pace = proptest::option::of(1_i32..100);
    (ids, action, any::<bool>(), 0_i64..2, 1_i32..=100, limit, pace).prop_map(
        |(ids, action, dry_run, interruptions, page_size, most, per_second)| Setup {
            ids,
            action,
            dry_run,
            interruptions,
            page_size,
            most,
            per_second,
        },
    )
}

fn begin(setup: &Setup, start: Timestamp) -> Progress {
    let run: PolicyRun = serde_json::from_value(json!({
        "id": "1-spec", "trigger": "Spec", "action": setup.action, "dryRun": setup.dry_run,
        "startTime": start.to_string(), "window": {"toDate": start.to_string()},
        "interruptions": setup.interruptions,
        "limits": {
            "pageSize": setup.page_size, "maxEntriesPerRun": setup.most, "entriesPerSecond": setup.per_second,
        },
    }))
    .unwrap();
    let selected = match setup.ids {
        0 => Selected::Matching { criteria: Criteria::default(), from: None, to: None },
        count => Selected::Ids((0..count).map(|index| DlqId(format!("id-{index}"))).collect()),
    };
    let overrides = Overrides::default();
    let work = Work {
        action: run.action,
        dry_run: run.dry_run,
        selected,
        by_listing: None,
        overrides,
        connection: ConnectionRef::Default,
    };
    Progress::new(work, run, RETRY_LIMIT)
}

/// How many entries a call asks for; `None` for the look that only tells what the token may do.
fn asked(call: &Call, dry_run: bool) -> Option<i64> {
    match call {
        Call::List { .. } if !dry_run => None,
        // A question, not work.
        Call::Bulk { selection: Selection::Ids(ids), .. } if ids[0].0 == NOBODYS => None,
        Call::Bulk { selection: Selection::Matching { count, .. }, .. } | Call::List { count, .. } => {
            Some(i64::from(*count))
        }
        Call::Bulk { selection: Selection::Ids(ids), .. } => i64::try_from(ids.len()).ok(),
        Call::Single { .. } | Call::Get { .. } => Some(1),
    }
}

/// What never becomes less.
fn counters(run: &PolicyRun) -> [i64; 6] {
    [run.pages, run.position, run.not_found, run.retries, run.uncertain_pages, run.interruptions]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_run_ends_asks_for_no_more_than_is_left_and_counts_what_was_acknowledged(
        setup in setup(),
        fates in vec(fate(), 0..150),
        jitter in 0.0..=1.0,
    ) {
        let mut now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let mut progress = begin(&setup, now);
        let mut fates = fates.into_iter();
        let (mut acknowledged, mut doubted, mut steps, mut calls) = (0_i64, 0_i64, 0, 0);
        let outcome = loop {
            steps += 1;
            prop_assert!(steps < 2000, "the run does not end");
            let before = progress.run().clone();
            match progress.next(now) {
                Step::End(outcome) => break outcome,
                Step::Await => unreachable!("no call is under way"),
                Step::Reserve(_) => unreachable!("no budget is shared"),
                Step::Ask => unreachable!("there is no threshold"),
                Step::Wait(until) => {
                    prop_assert!(until > now);
                    prop_assert!(until.duration_since(now) <= SignedDuration::from_secs(4000));
                    now = until;
                }
                Step::Call(call) => {
                    calls += 1;
                    let counts = asked(&call, setup.dry_run);
                    if let Some(count) = counts {
                        let left = setup.most.map_or(i64::MAX, |most| most - acknowledged - doubted);
                        let second = setup.per_second.map_or(i64::MAX, i64::from);
                        prop_assert!(count >= 1 && count <= left.min(second), "asks for {count}, {left} are left");
                    }
                    prop_assert!(!setup.dry_run || !call.operation().acts(), "a dry run acts: {call:?}");
                    // Answers end: once the script is over, every page is the last and every entry is found.
                    let last = Fate::Page { entries: counts.unwrap_or(1).unsigned_abs(), cursor: None };
                    match fates.next().unwrap_or(last) {
                        Fate::Page { entries, cursor } => {
                            let cursor = cursor.map(|cursor| Cursor(cursor.to_string()));
                            let page = Page { entries, workflow_run_ids: vec!["wfr_1".into(); 3], cursor, ..Page::default() };
                            acknowledged += counts.map_or(0, |_| i64::try_from(entries).unwrap());
                            progress.answer(&call, &page, now);
                        }
                        Fate::Error { class, may_have_acted, retry_after } => {
                            let error = ApiError {
                                class,
                                status: None,
                                message: "no".into(),
                                retry_after: retry_after.map(Duration::from_secs),
                                may_have_acted: may_have_acted && call.operation().acts(),
                            };
                            progress.fail(&call, &error, now, jitter);
                            if progress.run().processed < acknowledged {
                                // Only a list that begins again counts again.
                                prop_assert!(setup.dry_run && class == ErrorClass::Refused);
                                acknowledged = 0;
                            }
                        }
                        Fate::Abandoned => progress.give_up(&call, now),
                    }
                    let run = progress.run();
                    if run.uncertain_pages > before.uncertain_pages {
                        doubted += counts.unwrap_or_default();
                    }
                    prop_assert_eq!(run.processed, acknowledged);
                    for (before, after) in counters(&before).iter().zip(counters(run)) {
                        prop_assert!(after >= *before, "a counter fell: {:?}", run);
                    }
                    prop_assert!(run.sample_workflow_run_ids.len() <= 10);
                    prop_assert!(!setup.dry_run || run.uncertain_pages == 0);
                    now += SignedDuration::from_millis(1);
                }
            }
        };
        let run = progress.run();
        prop_assert_eq!(progress.run().processed, acknowledged);
        if outcome.result == RunResult::Succeeded && setup.ids > 0 {
            prop_assert_eq!(run.position, i64::try_from(setup.ids).unwrap());
        }
        prop_assert!(outcome.result != RunResult::LimitReached || setup.most.is_some_and(|most| run.processed + doubted >= most));
        // An outcome is final.
        prop_assert_eq!(progress.next(now), Step::End(outcome));
        prop_assert!(calls > 0);
    }
}
