//! Several cursors at once, by a clock of the test's own: how much faster they are, what they cost, and that they lose nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::outcome::Outcome;
use super::progress::{Progress, Step};
use crate::spec::ConnectionRef;
use crate::spec::by_listing::ByListing;
use crate::spec::policy::Work;
use crate::spec::selection::Selected;
use dlq_crd::{PolicyRun, Reason, RunResult};
use dlq_upstash::error::{ApiError, ErrorClass};
use dlq_upstash::types::{Call, Criteria, Cursor, DlqId, ListedEntry, Overrides, Page, Selection};

const START: i64 = 1_763_640_000_000;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(START + millis).unwrap()
}

/// How failures are spread over time: how long before the run's start each came.
#[derive(Clone, Copy, Debug)]
enum Spread {
    /// As many in each part of this time.
    Evenly(i64),
    /// Many recent ones, few that are old.
    HeavyTail,
    /// All within a second, this long ago.
    OneSecond(i64),
    /// Half of them in each of two minutes.
    TwoBursts,
}

/// A number from 0 to 1 that looks random.
fn noise(number: u64) -> f64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    #[expect(clippy::cast_precision_loss, reason = "to the last bit is not needed")]
    let share = ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
    share
}

impl Spread {
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "milliseconds")]
    fn age(self, number: u64) -> i64 {
        let share = noise(number);
        match self {
            Self::Evenly(time) => (share * time as f64) as i64,
            Self::HeavyTail => (60_000.0 / (1.0 - share)).min(90.0 * DAY as f64) as i64,
            Self::OneSecond(ago) => ago + (share * 1000.0) as i64,
            Self::TwoBursts => {
                HOUR * [1, 50][usize::from(number.is_multiple_of(2))] + (share * 60_000.0) as i64
            }
        }
    }
}

/// What an account takes.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    newest_first: bool,
    /// So many calls a second; more get a 429.
    calls_a_second: Option<usize>,
    /// Every so many calls one fails, in a way that the number decides.
    fails_every: Option<u64>,
}

/// A DLQ, and books of what was done.
struct Dlq {
    account: Account,
    /// When each entry failed, and how many failed in that millisecond before it.
    entries: BTreeMap<(i64, u64), u64>,
    acted: BTreeMap<u64, u32>,
    second: (i64, usize),
    sent: u64,
}

impl Dlq {
    fn new(count: u64, spread: Spread, account: Account) -> Self {
        let entries = (0..count).map(|number| ((START - spread.age(number), number), number)).collect();
        Self { account, entries, acted: BTreeMap::new(), second: (0, 0), sent: 0 }
    }

    /// What becomes of a call that lands now.
    fn serve(&mut self, call: &Call, now: i64) -> Result<Page, ApiError> {
        self.sent += 1;
        if let Some(most) = self.account.calls_a_second {
            if self.second.0 != now / 1000 {
                self.second = (now / 1000, 0);
            }
            self.second.1 += 1;
            if self.second.1 > most {
                return Err(refused(ErrorClass::RateLimited, 429, false));
            }
        }
        let fails = self.account.fails_every.is_some_and(|every| self.sent.is_multiple_of(every));
        match self.sent / self.account.fails_every.unwrap_or(1) % 4 {
            0 if fails => return Err(refused(ErrorClass::Unavailable, 503, false)),
            1 if fails => return Err(refused(ErrorClass::Unavailable, 502, call.operation().acts())),
            2 if fails => return Err(refused(ErrorClass::RateLimited, 429, false)),
            _ => {}
        }
        let page = self.page(call);
        // The answer is lost.
        if fails && call.operation().acts() {
            return Err(refused(ErrorClass::Unavailable, 502, true));
        }
        Ok(page)
    }

    fn page(&mut self, call: &Call) -> Page {
        match call {
            Call::Bulk { selection: Selection::Matching { criteria, cursor, count }, .. } => {
                let (keys, cursor) = self.matching(criteria, cursor.as_ref(), *count);
                for key in &keys {
                    let number = self.entries.remove(key).unwrap();
                    *self.acted.entry(number).or_default() += 1;
                }
                Page { entries: keys.len() as u64, cursor, ..Page::default() }
            }
            Call::List { criteria, cursor, count, .. } => {
                let (keys, cursor) = self.matching(criteria, cursor.as_ref(), *count);
                let listed = keys.iter().map(|(time, number)| ListedEntry::bare(id(*time, *number)));
                Page { entries: keys.len() as u64, listed: listed.collect(), cursor, ..Page::default() }
            }
            call => panic!("{call:?}"),
        }
    }

    /// The entries of a page, and the cursor behind it: the key of the last entry, which need not be there any more.
    fn matching(
        &self,
        criteria: &Criteria,
        cursor: Option<&Cursor>,
        count: u32,
    ) -> (Vec<(i64, u64)>, Option<Cursor>) {
        let from = (criteria.from_date.unwrap_or_default(), 0);
        let to = (criteria.to_date.unwrap(), u64::MAX);
        let last = cursor.map(|cursor| {
            let (time, number) = cursor.0.split_once('-').unwrap();
            (time.parse::<i64>().unwrap(), number.parse::<u64>().unwrap())
        });
        let matching = self.entries.range(from..=to).map(|(key, _)| *key);
        let mut keys: Vec<_> = if self.account.newest_first {
            matching
                .rev()
                .filter(|key| last.is_none_or(|last| *key < last))
                .take(count as usize + 1)
                .collect()
        } else {
            matching.filter(|key| last.is_none_or(|last| *key > last)).take(count as usize + 1).collect()
        };
        let has_more = keys.len() > count as usize;
        keys.truncate(count as usize);
        let cursor =
            keys.last().filter(|_| has_more).map(|(time, number)| Cursor(format!("{time}-{number}")));
        (keys, cursor)
    }
}

fn id(time: i64, number: u64) -> DlqId {
    DlqId(format!("{time}-{number}"))
}

fn refused(class: ErrorClass, status: u16, may_have_acted: bool) -> ApiError {
    ApiError { class, status: Some(status), message: "no".to_owned(), retry_after: None, may_have_acted }
}

fn run(fields: &Value) -> PolicyRun {
    let mut run = json!({
        "id": "1-spec", "trigger": "Spec", "action": "resume", "startTime": at(0).to_string(),
        "window": { "toDate": at(0).to_string() },
    });
    run.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(run).unwrap()
}

fn work(run: &PolicyRun) -> Work {
    Work {
        action: run.action,
        dry_run: run.dry_run,
        selected: Selected::Matching { criteria: Criteria::default(), from: None, to: None },
        by_listing: None,
        overrides: Overrides::default(),
        connection: ConnectionRef::Default,
    }
}

/// A call under way.
struct Flight {
    lands: i64,
    call: Call,
}

/// Drives a run over a DLQ, each call of which takes about a tenth of a second, until it ends or so many answers came: how
/// long that took, in milliseconds.
struct Driver {
    progress: Progress,
    flights: Vec<Flight>,
    now: i64,
    permits: usize,
    most_windows: usize,
    most_at_once: usize,
    /// The run as it was approved, if it asked: that is written before it acts.
    approved: Option<PolicyRun>,
}

impl Driver {
    fn new(run: PolicyRun) -> Self {
        Self {
            progress: Progress::new(work(&run), run, 10),
            flights: Vec::new(),
            now: 0,
            permits: 1,
            most_windows: 0,
            most_at_once: 0,
            approved: None,
        }
    }

    /// The run asks, and somebody approves it at once.
    fn approve(&mut self, dlq: &Dlq) {
        assert!(dlq.acted.is_empty(), "acts before its approval");
        self.progress.await_approval("id".to_owned(), at(self.now));
        let run = PolicyRun { approved_time: Some(at(self.now).into()), ..self.progress.waiting().unwrap() };
        self.progress = Progress::new(work(&run), run.clone(), 10);
        self.permits = 1;
        self.approved = Some(run);
    }

    fn work(&mut self, dlq: &mut Dlq, most: usize) -> Option<Outcome> {
        let mut landed = 0;
        for _ in 0..200_000 {
            let wait = match self.progress.next(at(self.now)) {
                Step::End(outcome) => return Some(outcome),
                Step::Reserve(_) => unreachable!("no budget is shared"),
                Step::Ask => {
                    self.approve(dlq);
                    continue;
                }
                // There are as many permits as it wants, once it says so.
                Step::Call(_) | Step::Await if self.permits < self.progress.wants() => {
                    self.permits = self.progress.wants();
                    self.progress.permit(self.permits);
                    continue;
                }
                Step::Call(call) => {
                    self.progress.sent(&call, at(self.now));
                    let number = u32::try_from(dlq.sent + self.flights.len() as u64).unwrap();
                    self.flights.push(Flight { lands: self.now + 100 + i64::from(number * 7 % 3), call });
                    self.most_at_once = self.most_at_once.max(self.flights.len());
                    continue;
                }
                Step::Wait(until) => Some(until),
                Step::Await => None,
            };
            let next = self.flights.iter().map(|flight| flight.lands).min();
            let until = wait.map(|until| until.duration_since(at(0)).as_millis());
            let until = until.map(|until| i64::try_from(until).unwrap() + 1);
            self.now = next.into_iter().chain(until).min().expect("waits for nothing").max(self.now);
            let Some(index) = self.flights.iter().position(|flight| flight.lands <= self.now) else {
                continue;
            };
            let Flight { call, .. } = self.flights.swap_remove(index);
            match dlq.serve(&call, self.now) {
                Ok(page) => self.progress.answered(&call, &page, at(self.now)),
                Err(error) => drop(self.progress.failed(&call, &error, at(self.now), noise(dlq.sent))),
            }
            self.most_windows = self.most_windows.max(self.progress.run().windows.len());
            landed += 1;
            if landed == most {
                return None;
            }
        }
        panic!("the run does not end");
    }
}

fn drained(count: u64, spread: Spread, account: Account, parallelism: i32) -> (i64, usize) {
    let mut dlq = Dlq::new(count, spread, account);
    let mut driver = Driver::new(run(&json!({ "limits": { "pageSize": 50, "parallelism": parallelism } })));
    let outcome = driver.work(&mut dlq, usize::MAX).unwrap();
    let run = driver.progress.ended_run();
    assert_eq!(u64::try_from(run.processed).unwrap(), count, "{outcome:?}");
    assert!(dlq.entries.is_empty() && run.windows.is_empty(), "nothing is left");
    assert!(driver.most_windows <= 32 && driver.most_at_once <= usize::try_from(parallelism).unwrap());
    (driver.now, usize::try_from(dlq.sent).unwrap())
}

const SPREADS: [Spread; 8] = [
    Spread::Evenly(HOUR),
    Spread::Evenly(DAY),
    Spread::Evenly(60 * DAY),
    Spread::HeavyTail,
    Spread::OneSecond(5 * 60_000),
    Spread::OneSecond(DAY),
    Spread::OneSecond(200 * DAY),
    Spread::TwoBursts,
];

/// How many times as fast eight cursors are as one, and how many times as many calls they make.
fn compared(count: u64, spread: Spread, newest_first: bool) -> (f64, f64) {
    let account = Account { newest_first, ..Account::default() };
    let (one, calls) = drained(count, spread, account, 1);
    let (eight, more) = drained(count, spread, account, 8);
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    let ratios = (one as f64 / eight as f64, more as f64 / calls as f64);
    ratios
}

#[test]
fn eight_cursors_drain_fifty_thousand_entries_seven_times_as_fast_with_a_tenth_more_calls() {
    for spread in SPREADS {
        for newest_first in [false, true] {
            let (faster, calls) = compared(50_000, spread, newest_first);
            assert!(
                faster >= 7.0 && calls <= 1.1,
                "{spread:?} {newest_first}: {faster} times, {calls} calls"
            );
        }
    }
}

#[test]
fn eight_cursors_drain_three_thousand_entries_about_four_times_as_fast() {
    for spread in SPREADS {
        let is_even = matches!(spread, Spread::Evenly(_));
        let (least, most) = if is_even { (3.9, 1.5) } else { (3.0, 1.9) };
        for newest_first in [false, true] {
            let (faster, calls) = compared(3000, spread, newest_first);
            assert!(
                faster >= least && calls <= most,
                "{spread:?} {newest_first}: {faster} times, {calls} calls"
            );
        }
    }
}

#[test]
fn a_dry_run_is_several_times_as_fast_too() {
    for spread in [Spread::Evenly(DAY), Spread::HeavyTail, Spread::OneSecond(HOUR)] {
        let times: Vec<_> = [1, 8]
            .into_iter()
            .map(|parallelism| {
                let mut dlq = Dlq::new(10_000, spread, Account::default());
                let limits = json!({ "pageSize": 100, "parallelism": parallelism });
                let mut driver = Driver::new(run(&json!({ "dryRun": true, "limits": limits })));
                let outcome = driver.work(&mut dlq, usize::MAX).unwrap();
                assert_eq!(
                    (outcome.reason, driver.progress.ended_run().processed),
                    (Reason::DryRunSucceeded, 10_000)
                );
                driver.now
            })
            .collect();
        assert!(5 * times[1] < 2 * times[0], "{spread:?}: {times:?}");
    }
}

#[test]
fn a_run_that_selects_by_listing_begins_its_pass_anew_when_it_is_taken_up_and_leaves_no_window_out() {
    let part = json!({ "fromDate": at(-1000).to_string(), "toDate": at(0).to_string() });
    let run = run(&json!({
        "dryRun": true, "processed": 700, "limits": { "parallelism": 8 }, "windows": [part],
    }));
    let mut work = work(&run);
    work.by_listing = Some(ByListing {
        response_statuses: Vec::new(),
        exclude_response_statuses: Vec::new(),
        skip_non_retryable: true,
        attempts: None,
        expression: None,
        max_attempts: Some(3),
    });
    let mut taken_up = Progress::new(work, run, 10);
    let Step::Call(Call::List { criteria, .. }) = taken_up.next(at(0)) else { panic!("it lists") };
    assert_eq!((criteria.from_date, taken_up.run().processed), (None, 0));
    assert!(taken_up.run().windows.is_empty());
}

#[test]
fn what_fits_into_few_calls_takes_hardly_more_of_them() {
    for (count, more) in [(0, 0), (20, 0), (60, 1), (140, 1)] {
        let (_, one) = drained(count, Spread::Evenly(HOUR), Account::default(), 1);
        let (_, eight) = drained(count, Spread::Evenly(HOUR), Account::default(), 8);
        assert!(eight <= one + more, "{count} entries: {eight} calls in place of {one}");
    }
}

#[test]
fn an_account_that_limits_calls_is_drained_about_as_fast_as_by_the_best_number_of_cursors() {
    let account = Account { calls_a_second: Some(50), ..Account::default() };
    let times: Vec<_> =
        (1..=16).map(|parallelism| drained(20_000, Spread::Evenly(DAY), account, parallelism).0).collect();
    let best = *times.iter().min().unwrap();
    for time in &times[4..] {
        assert!(*time <= best * 115 / 100, "{times:?}");
    }
}

/// What happens to a run.
#[derive(Clone, Debug)]
struct Setup {
    count: u64,
    spread: Spread,
    account: Account,
    parallelism: i32,
    page_size: i32,
    dry_run: bool,
    most: Option<i64>,
    approval_above: Option<i64>,
    per_second: Option<i32>,
    /// After so many answers each the process dies: the status is as many answers older.
    crashes: Vec<(usize, usize)>,
}

fn setup() -> impl Strategy<Value = Setup> {
    let spread = prop_oneof![
        (1_i64..100 * DAY).prop_map(Spread::Evenly),
        Just(Spread::HeavyTail),
        (1_i64..300 * DAY).prop_map(Spread::OneSecond),
        Just(Spread::TwoBursts),
    ];
    let account =
        (any::<bool>(), proptest::option::weighted(0.3, 5_usize..60), proptest::option::of(3_u64..40))
            .prop_map(|(newest_first, calls_a_second, fails_every)| Account {
                newest_first,
                calls_a_second,
                fails_every,
            });
    let limits = (
        1_i32..=16,
        3_i32..=100,
        proptest::option::weighted(0.3, 1_i64..700),
        proptest::option::weighted(0.3, 0_i64..500),
        proptest::option::weighted(0.3, 20_i32..2000),
    );
    let crashes = proptest::collection::vec((1_usize..40, 0_usize..12), 0..4);
    (0_u64..700, spread, account, limits, prop::bool::weighted(0.2), crashes).prop_map(
        |(count, spread, account, limits, dry_run, crashes)| {
            let (parallelism, page_size, most, approval_above, per_second) = limits;
            Setup {
                count,
                spread,
                account,
                parallelism,
                page_size,
                dry_run,
                most,
                approval_above,
                per_second,
                crashes,
            }
        },
    )
}

/// Lives through the crashes, up to the end.
fn live(setup: &Setup, dlq: &mut Dlq) -> (PolicyRun, Outcome) {
    let mut run = run(&json!({
        "dryRun": setup.dry_run,
        "limits": {
            "pageSize": setup.page_size, "parallelism": setup.parallelism,
            "maxEntriesPerRun": setup.most, "entriesPerSecond": setup.per_second,
            "approvalAbove": setup.approval_above,
        },
    }));
    let mut now = 0;
    for (answers, older) in &setup.crashes {
        let mut driver = Driver { now, ..Driver::new(run.clone()) };
        if let Some(outcome) = driver.work(dlq, answers.saturating_sub(*older).max(1)) {
            return (driver.progress.ended_run(), outcome);
        }
        // What was written, as the API server gives it back.
        driver.approved = None;
        let written = driver.progress.run().clone();
        if let Some(outcome) = driver.work(dlq, *older + 1) {
            return (driver.progress.ended_run(), outcome);
        }
        // Some of what was under way is done, and its answer arrives nowhere.
        for (index, flight) in driver.flights.iter().enumerate() {
            if index % 2 == 0 {
                drop(dlq.serve(&flight.call, driver.now));
            }
        }
        now = driver.now + 1000;
        let written = driver.approved.take().unwrap_or(written);
        run = serde_json::from_value(serde_json::to_value(written).unwrap()).unwrap();
        run.interruptions += 1;
    }
    let mut driver = Driver { now, ..Driver::new(run) };
    let outcome = driver.work(dlq, usize::MAX).unwrap();
    (driver.progress.ended_run(), outcome)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_or_counted_twice_whatever_fails_and_whenever_the_process_dies(setup in setup()) {
        let mut dlq = Dlq::new(setup.count, setup.spread, setup.account);
        let (run, outcome) = live(&setup, &mut dlq);
        let acted = i64::try_from(dlq.acted.len()).unwrap();
        let is_exact = run.uncertain_pages == 0 && run.interruptions == 0;
        prop_assert!(dlq.acted.values().all(|times| *times == 1));
        if setup.dry_run {
            prop_assert_eq!(acted, 0);
            let all = setup.most.unwrap_or(i64::MAX).min(i64::try_from(setup.count).unwrap());
            prop_assert!(outcome.reason != Reason::DryRunSucceeded || run.processed == all, "{run:?}");
            return Ok(());
        }
        prop_assert!(run.processed == acted || (!is_exact && run.processed <= acted), "{acted} {run:?}");
        match outcome.result {
            RunResult::Succeeded => prop_assert!(dlq.entries.is_empty(), "{} left: {run:?}", dlq.entries.len()),
            RunResult::LimitReached => {
                prop_assert!(setup.most.is_some() || (run.matched.is_some() && run.uncertain_pages > 0));
            }
            _ => prop_assert!(matches!(outcome.reason, Reason::RateLimited | Reason::UpstreamUnavailable)),
        }
        if let Some(most) = setup.most.filter(|_| run.interruptions == 0) {
            prop_assert!(acted <= most, "{acted} of at most {most}");
        }
        if let Some(above) = setup.approval_above {
            // What was done since the last checkpoint is not known, and so not held to a limit of entries.
            let is_allowed = run.approved_time.is_some() || (run.interruptions > 0 && setup.most.is_some());
            prop_assert!(acted <= above || is_allowed, "{acted} without an approval, {above} may be");
            let is_over = !matches!(outcome.result, RunResult::Failed);
            prop_assert!(!is_over || run.interruptions > 0 || run.matched.is_none_or(|matched| acted <= matched));
        }
    }
}
