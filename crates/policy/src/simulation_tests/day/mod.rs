//! A day of a crowd: every scheduled time of 24 hours passes for each policy, through the machine that ships. Each policy has
//! a world of its own, in which calls fail, writes are lost, processes die and clocks jump. Time goes from one moment of
//! interest to the next.
//!
//! A dozen policies in every test run; `make soak` asks for two thousand.

mod account;
mod course;
mod kind;
mod wall_clock;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use self::account::Sums;
use self::course::Course;

const DOZEN: u64 = 12;

/// What the day of a dozen must meet.
const HAPPENS: [&str; 10] = [
    "a look",
    "a run taken over",
    "because: LimitReached",
    "because: RunSucceeded",
    "cancelled: Replaced",
    "held",
    "interrupted",
    "missed",
    "started: Manual",
    "uncertain",
];

/// What a soak asks for in the environment.
fn asked(name: &str, otherwise: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
    let value = std::env::var(name).ok();
    value.map_or(otherwise, |value| value.parse().expect("a number"))
}

/// Says how to repeat one policy's day when it fails.
struct Failing {
    policy: u64,
    seed: u64,
}

impl Drop for Failing {
    #[expect(clippy::print_stdout, reason = "people repeat a failure with it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { policy, seed } = self;
            println!("SOAK_SEED={seed} SOAK_FIRST={policy} SOAK_POLICIES={}", *policy + 1);
        }
    }
}

#[test]
fn every_scheduled_time_of_a_day_is_run_once_or_skipped_for_a_reason_or_told_as_missed() {
    let (policies, seed) = (asked("SOAK_POLICIES", DOZEN), asked("SOAK_SEED", 20_261_120));
    let began = Instant::now();
    let next = AtomicU64::new(asked("SOAK_FIRST", 0));
    let all = Mutex::new((Sums::default(), BTreeSet::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let policy = next.fetch_add(1, Ordering::Relaxed);
                    if policy >= policies {
                        return;
                    }
                    let failing = Failing { policy, seed };
                    let (sums, met) = Course::of(policy, seed).live();
                    drop(failing);
                    let mut all = all.lock().unwrap();
                    all.0.add(&sums);
                    all.1.extend(met);
                }
            });
        }
    });
    let (sums, met) = all.into_inner().unwrap();
    #[expect(clippy::print_stdout, reason = "the figures of a soak")]
    {
        println!("a day of {policies} policies in {:.1} s: {sums:?}", began.elapsed().as_secs_f64());
    }
    if policies < DOZEN || asked("SOAK_FIRST", 0) > 0 {
        return;
    }
    let never: Vec<_> = HAPPENS.iter().filter(|what| !met.contains(**what)).collect();
    assert!(never.is_empty(), "never met: {never:#?}");
    assert!(sums.missed > 0 && sums.held > 0 && sums.kept > 0, "a dull day: {sums:?}");
    assert!(sums.ran > sums.scheduled / 2, "hardly any scheduled time ran: {sums:?}");
}
