//! The course of one policy's day.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::RngExt as _;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;

use super::account::{Account, Sums, Withheld};
use super::kind::Kind;
use crate::simulation_tests::operations::{Operation, Secret, Slice, slice};
use crate::simulation_tests::upstash::{Fate, Right};
use crate::simulation_tests::world::World;
use dlq_upstash::error::ErrorClass;

const DAY: SignedDuration = SignedDuration::from_hours(24);
/// At the end nothing new happens for so long, until all is at rest.
const REST: SignedDuration = SignedDuration::from_mins(90);
/// A turn that asks for no other and leaves a run or a doubt is followed by one after so long.
const SOON: SignedDuration = SignedDuration::from_secs(2);

/// What happens from outside.
#[derive(Clone, Debug)]
enum Happening {
    World(Operation),
    /// The same, and what that makes of the policy.
    Withhold(Withheld, Operation),
    /// No process is there for so long.
    Away(SignedDuration),
    /// Calls lead to this from now on.
    Calls(Fate),
}

pub(super) struct Course {
    kind: Kind,
    world: World,
    account: Account,
    runner: TestRunner,
    /// What is to come, the next one last.
    happenings: Vec<(Timestamp, Happening)>,
    end: Timestamp,
    /// Until when no process is there.
    away: Option<Timestamp>,
    calls: Fate,
    /// How many turns without trouble in a row asked for no other.
    rests: usize,
}

impl Course {
    pub(super) fn of(policy: u64, seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&policy.to_le_bytes());
        let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let kind = Kind::of(policy, &mut random);
        let end = kind.begin + DAY;
        let mut happenings = happenings(&kind, end - REST, &mut random);
        happenings.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
        Self {
            world: World::beginning(kind.spec.clone(), kind.begin),
            account: Account::new(&kind),
            runner: TestRunner::new_with_rng(Config::default(), random),
            happenings,
            end,
            away: None,
            calls: Fate::Served,
            rests: 0,
            kind,
        }
    }

    /// Lets the day pass. What became of its scheduled times, and what was met on the way.
    pub(super) fn live(mut self) -> (Sums, BTreeSet<String>) {
        while self.world.time < self.end {
            let next = self.happen();
            let wait = self.away.map(|until| until.duration_since(self.world.time));
            if let Some(wait) = wait.filter(SignedDuration::is_positive) {
                self.pass(wait, next);
                continue;
            }
            self.away = None;
            let wait = self.turn();
            self.pass(wait, next);
        }
        let sums = self.account.close(&self.kind);
        let calm = Slice { latency: 20, every_page: true, ..Slice::default() };
        self.world.calm(&calm, Secret::Token { number: 9, right: Right::All }, false);
        (sums, self.world.met())
    }

    /// What is due from outside happens. When the next is.
    fn happen(&mut self) -> Timestamp {
        while let Some((_, happening)) = self.happenings.pop_if(|(time, _)| *time <= self.world.time) {
            match happening {
                Happening::World(operation) => self.world.happen(operation),
                Happening::Withhold(withheld, operation) => {
                    self.account.withheld = withheld;
                    self.world.happen(operation);
                }
                Happening::Away(time) => self.away = Some(self.world.time + time),
                Happening::Calls(fate) => self.calls = fate,
            }
            self.account.see(&self.world);
            self.rests = 0;
        }
        self.happenings.last().map_or(self.end, |(time, _)| *time)
    }

    fn pass(&mut self, wait: SignedDuration, next: Timestamp) {
        let until = self.world.time.saturating_add(wait).unwrap_or(Timestamp::MAX);
        self.world.time = until.min(next).max(self.world.time + SignedDuration::from_millis(1));
    }

    /// One turn, and how long until the next.
    fn turn(&mut self) -> SignedDuration {
        let is_rough =
            !self.kind.is_calm && self.world.time < self.end - REST && self.runner.rng().random_bool(0.2);
        let slice = if is_rough {
            let drawn = slice().new_tree(&mut self.runner).unwrap().current();
            // The spec is edited between turns only, so that it is known when.
            Slice { meanwhile: Vec::new(), otherwise: self.calls.clone(), ..drawn }
        } else {
            let random = self.runner.rng();
            let (latency, looks) = (random.random_range(1..400), random.random_bool(0.1));
            Slice { latency, looks, jitter: 0.5, otherwise: self.calls.clone(), ..Slice::default() }
        };
        let began = self.world.now();
        self.world.turn(slice);
        let is_settled = !is_rough && !self.world.process.is_in_doubt();
        self.account.turned(&self.world, is_settled.then_some(began));
        let asks_for_none = self.world.process.wake.is_none() && !self.account.has_run();
        self.rests = if is_settled && asks_for_none { self.rests + 1 } else { 0 };
        match self.world.process.wake {
            Some(wake) => {
                let late = self.runner.rng().random_range(0..300);
                wake.duration_since(self.world.now()) + SignedDuration::from_millis(late)
            }
            // Nothing is left of the turn before either.
            None if self.rests > 1 => SignedDuration::MAX,
            None => SOON,
        }
    }
}

/// What happens on a day, until then.
fn happenings(kind: &Kind, end: Timestamp, random: &mut TestRng) -> Vec<(Timestamp, Happening)> {
    use Happening::{Away, Calls, Withhold, World};
    let length = end.duration_since(kind.begin).as_secs();
    let mut happenings = Vec::new();
    let mut at = |seconds: i64, happening| {
        happenings.push((kind.begin + SignedDuration::from_secs(seconds.min(length)), happening));
    };
    // Workflow runs fail all day.
    let mut time = 0;
    while time < length {
        at(time, World(Operation::Fail(random.random_range(1..25))));
        time += random.random_range(60..5400);
    }
    // For some hours it is held, in one way or another.
    let (from, until) = (random.random_range(600..length / 2), random.random_range(600..4 * 3600));
    let suspend = |suspend: bool| Operation::Edit(json!({ "suspend": suspend }));
    let pause = |paused: Option<&str>| Operation::Annotate("paused", paused.map(str::to_owned));
    let withheld = [
        (Withheld::Held, [suspend(true), suspend(false)]),
        (Withheld::Held, [pause(Some("yes")), pause(None)]),
        (Withheld::WithoutToken, [Secret::Gone, Secret::default()].map(Operation::Secret)),
    ];
    if let Some((withheld, [begin, end])) = withheld.into_iter().nth(random.random_range(0..4)) {
        at(from, Withhold(withheld, begin));
        at(from + until, Withhold(Withheld::No, end));
    }
    // A circuit that opens is closed after some hours at most.
    let mut time = 0;
    while kind.opens_circuit_after.is_some() && time < length {
        at(time, World(Operation::Annotate("resetAt", Some(time.to_string()))));
        time += random.random_range(1800..4 * 3600);
    }
    at(length, World(Operation::Annotate("resetAt", Some("last".to_owned()))));
    if kind.is_calm {
        return happenings;
    }
    for _ in 0..random.random_range(1..5) {
        let time = random.random_range(0..length);
        let (class, retry_after) = [
            (ErrorClass::Unavailable, None),
            (ErrorClass::Unauthorized, None),
            // Runs wait for longer than some schedules' intervals.
            (ErrorClass::RateLimited, Some(900)),
            (ErrorClass::RateLimited, Some(1800)),
        ][random.random_range(0..4)];
        at(time, Calls(Fate::Refused { class, retry_after }));
        at(time + random.random_range(60..5400), Calls(Fate::Served));
    }
    at(length, Calls(Fate::Served));
    for number in 0..random.random_range(0..4) {
        let time = random.random_range(0..length);
        at(time, World(Operation::Annotate("requestedAt", Some(number.to_string()))));
    }
    for _ in 0..random.random_range(6..18) {
        let time = random.random_range(0..length);
        let away = SignedDuration::from_millis(random.random_range(200..90_000));
        let long = SignedDuration::from_secs(random.random_range(60..7200));
        match random.random_range(0..6) {
            0 => {
                at(time, World(Operation::Crash));
                at(time, Away(away));
            }
            1 => {
                at(time, World(Operation::Stop));
                at(time, Away(away));
            }
            2 => {
                at(time, World(Operation::Crash));
                at(time, Away(long));
            }
            // Another process leads, and for a while neither knows better.
            3 => {
                let step = random.random_range(1..15);
                (0..4).for_each(|swaps| at(time + swaps * step, World(Operation::Rival)));
            }
            4 => at(time, World(Operation::Jump(random.random_range(-2000..2000)))),
            _ => {}
        }
        at(time + random.random_range(0..600), World(Operation::Arrive));
    }
    at(length, World(Operation::Arrive));
    happenings
}
