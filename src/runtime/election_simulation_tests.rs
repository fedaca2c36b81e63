//! Many candidates, one API server, and everything that goes wrong between them: at no time do two lead.

use std::ops::Range;
use std::sync::Arc;

use fastrand::Rng;
use proptest::prelude::*;

use super::super::clock::Clock as _;
use super::super::clock::tests::SetClock;
use super::super::leadership::{Leadership, Sent, Terms};
use super::super::unanswered::Unanswered;
use super::*;

/// Time passes in these steps.
const TICK: f64 = 0.1;

/// The API server: one object, and optimistic locking.
#[derive(Default)]
struct Server {
    lease: Option<Lease>,
    version: u64,
}

impl Server {
    /// What the answer says; `Err` for a conflict.
    fn handle(&mut self, request: &Step) -> Result<Option<Lease>, ()> {
        match request {
            Step::Read | Step::Wait => Ok(self.lease.clone()),
            Step::Create(lease) if self.lease.is_none() => Ok(Some(self.store(lease))),
            Step::Replace(lease) if self.is_newest(lease) => Ok(Some(self.store(lease))),
            Step::Create(_) | Step::Replace(_) => Err(()),
        }
    }

    fn is_newest(&self, lease: &Lease) -> bool {
        let newest = self.lease.as_ref().and_then(|newest| newest.metadata.resource_version.as_ref());
        newest.is_some() && newest == lease.metadata.resource_version.as_ref()
    }

    fn store(&mut self, lease: &Lease) -> Lease {
        self.version += 1;
        let mut lease = lease.clone();
        lease.metadata.uid.get_or_insert_with(|| format!("u{}", self.version));
        lease.metadata.resource_version = Some(self.version.to_string());
        self.lease = Some(lease.clone());
        lease
    }
}

/// A request on its way. Who sent it may have given it up.
struct Flight {
    from: usize,
    number: u64,
    request: Step,
    arrives: f64,
    answered: f64,
    is_answer_lost: bool,
    answer: Option<Result<Option<Lease>, ()>>,
}

struct Node {
    clock: Arc<SetClock>,
    rate: f64,
    election: Election,
    terms: Arc<Terms>,
    leadership: Leadership,
    /// When it tries next, by its clock.
    next_try: Duration,
    began: Duration,
    /// The number of its request under way, when it was sent, and whether it gives the lease back.
    waits_for: Option<(u64, Moment, Sent)>,
    /// How long it waits for it.
    timeout: Duration,
    is_releasing: bool,
    unanswered: Unanswered,
    led: bool,
    /// True times: nothing is done before and nothing is noticed.
    frozen_until: f64,
    suspended_until: f64,
    cut_off_until: f64,
    /// When its last call will have ended.
    calls_end: f64,
}

#[derive(Clone, Copy, Debug)]
enum Trouble {
    Freeze,
    /// The monotonic clock stands still with it.
    Suspend,
    CutOff,
    Release,
    ClockForward,
    ClockBack,
}

fn troubles() -> impl Strategy<Value = Vec<(f64, usize, Trouble, f64)>> {
    let kind = prop_oneof![
        Just(Trouble::Freeze),
        Just(Trouble::Suspend),
        Just(Trouble::CutOff),
        Just(Trouble::Release),
        Just(Trouble::ClockForward),
        Just(Trouble::ClockBack),
    ];
    prop::collection::vec((0.0..150.0, 0..4_usize, kind, 0.1..40.0), 0..12)
}

struct World {
    now: f64,
    rng: Rng,
    server: Server,
    nodes: Vec<Node>,
    flights: Vec<Flight>,
    sent: u64,
    /// Of 100 requests, so many are lost on their way, and so many answers.
    losses: u8,
    slowest: f64,
    /// What a write takes beyond that, by most of which it has arrived.
    write_takes: f64,
}

impl World {
    /// Candidates with leases of these durations, in seconds, one of which each takes.
    fn new(seed: u64, nodes: usize, durations: Range<u64>, losses: u8, slowest: f64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let nodes = (0..nodes)
            .map(|index| {
                let clock = Arc::new(SetClock::start());
                clock.turn(Duration::from_secs(rng.u64(..9999)), rng.i64(-9_000_000_000..9_000_000_000));
                let timing = Timing::new(Duration::from_secs(rng.u64(durations.clone())));
                let terms = Arc::new(Terms::new(Arc::<SetClock>::clone(&clock), timing));
                Node {
                    rate: 0.99 + 0.02 * rng.f64(),
                    election: Election::new("l".to_owned(), format!("n{index}"), timing),
                    leadership: Leadership::of(Arc::clone(&terms)),
                    next_try: clock.moment().monotonic + Duration::from_millis(rng.u64(..2000)),
                    began: Duration::ZERO,
                    terms,
                    clock,
                    waits_for: None,
                    timeout: Duration::ZERO,
                    is_releasing: false,
                    unanswered: Unanswered::default(),
                    led: false,
                    frozen_until: 0.0,
                    suspended_until: 0.0,
                    cut_off_until: 0.0,
                    calls_end: 0.0,
                }
            })
            .collect();
        Self {
            now: 0.0,
            rng,
            server: Server::default(),
            nodes,
            flights: Vec::new(),
            sent: 0,
            losses,
            slowest,
            write_takes: 0.0,
        }
    }

    fn trouble(&mut self, index: usize, kind: Trouble, length: f64) {
        let now = self.now;
        let index = index % self.nodes.len();
        let node = &mut self.nodes[index];
        match kind {
            Trouble::Freeze => node.frozen_until = node.frozen_until.max(now + length),
            Trouble::Suspend => {
                node.frozen_until = node.frozen_until.max(now + length);
                node.suspended_until = node.frozen_until;
            }
            Trouble::CutOff => node.cut_off_until = node.cut_off_until.max(now + length),
            Trouble::ClockForward => node.clock.turn(Duration::ZERO, to_micros(length * 100.0)),
            // Nothing can set the clock of a machine that is suspended; on both clocks no time would have passed.
            Trouble::ClockBack if node.suspended_until > now => {}
            Trouble::ClockBack => node.clock.turn(Duration::ZERO, -to_micros(length * 100.0)),
            Trouble::Release => {
                if node.frozen_until <= now {
                    node.terms.end();
                    node.calls_end = 0.0;
                    node.is_releasing = true;
                    node.waits_for = None;
                    self.go_on(index);
                }
            }
        }
    }

    /// Sends what comes next in a node's try, or ends the try.
    fn go_on(&mut self, index: usize) {
        let (now, slowest) = (self.now, self.slowest);
        let node = &mut self.nodes[index];
        let (sent, moment) = (node.terms.sending(), node.clock.moment());
        let step = if node.is_releasing {
            node.election.next_to_release(moment)
        } else {
            node.election.next(moment)
        };
        if step == Step::Wait {
            self.rest(index);
            return;
        }
        self.sent += 1;
        node.waits_for = Some((self.sent, moment, sent));
        node.timeout = node.election.timing.request_timeout(node.terms.left());
        if let Step::Create(lease) | Step::Replace(lease) = &step {
            node.unanswered.sending(lease, sent);
        }
        let mut delay = || self.rng.f64() * self.rng.f64() * slowest;
        let writing = if step == Step::Read { 0.0 } else { self.write_takes };
        let arrives = now + delay() + writing * 0.9;
        let answered = arrives + delay() + writing * 0.1;
        let is_lost = node.cut_off_until > now || self.rng.u8(..100) < self.losses;
        if !is_lost {
            self.flights.push(Flight {
                from: index,
                number: self.sent,
                request: step,
                arrives,
                answered,
                is_answer_lost: node.cut_off_until > answered || self.rng.u8(..100) < self.losses,
                answer: None,
            });
        }
    }

    fn rest(&mut self, index: usize) {
        let pause = 0.8 + 0.2 * self.rng.f64();
        let node = &mut self.nodes[index];
        let now = node.clock.moment().monotonic;
        node.waits_for = None;
        let timing = node.election.timing;
        let leads = node.leadership.term().is_some();
        let period = if leads { timing.retry_period() } else { timing.look_period() };
        node.next_try = (node.began + period.mul_f64(pause)).max(now);
        if node.is_releasing {
            // It stays away for a while, as a pod that ends, and comes back.
            node.next_try = now + Duration::from_secs(5);
        }
        node.is_releasing = false;
    }

    fn receive(&mut self, flight: &Flight) {
        let node = &mut self.nodes[flight.from];
        let Some((_, _, sent)) = node.waits_for.filter(|(number, ..)| *number == flight.number) else {
            return;
        };
        let now = node.clock.moment();
        match (&flight.request, flight.answer.clone().unwrap()) {
            (Step::Read, Ok(found)) => {
                node.election.observed(found, now);
                if !node.election.may_lead() {
                    node.terms.end();
                }
                let found = node.election.ours().and_then(|lease| node.unanswered.found(lease));
                if let Some(sent) = found.filter(|_| !node.is_releasing) {
                    node.terms.renewed(sent);
                }
            }
            (_, Err(())) => {}
            (_, Ok(stored)) => {
                node.unanswered.answered();
                if !node.is_releasing && node.election.written(stored.unwrap(), now) {
                    node.terms.renewed(sent);
                }
                self.rest(flight.from);
                return;
            }
        }
        self.go_on(flight.from);
    }

    fn tick(&mut self) {
        self.now += TICK;
        let now = self.now;
        for node in &self.nodes {
            if node.suspended_until > now {
                node.clock.turn(Duration::ZERO, to_micros(TICK * node.rate));
            } else {
                node.clock.pass(Duration::from_secs_f64(TICK * node.rate));
            }
        }
        for flight in self.flights.iter_mut().filter(|f| f.answer.is_none() && f.arrives <= now) {
            flight.answer = Some(self.server.handle(&flight.request));
        }
        let frozen: Vec<_> = self.nodes.iter().map(|node| node.frozen_until > now).collect();
        let is_due =
            |flight: &mut Flight| flight.answer.is_some() && flight.answered <= now && !frozen[flight.from];
        for flight in self.flights.extract_if(.., is_due).collect::<Vec<_>>() {
            if !flight.is_answer_lost {
                self.receive(&flight);
            }
        }
        for index in (0..self.nodes.len()).filter(|index| !frozen[*index]) {
            let node = &mut self.nodes[index];
            let moment = node.clock.moment();
            let is_late = |sent: &Moment| moment.at_least_since(sent) >= node.timeout;
            match node.waits_for {
                Some((_, sent, _)) if is_late(&sent) => self.rest(index),
                None if moment.monotonic >= node.next_try => {
                    node.began = moment.monotonic;
                    self.go_on(index);
                }
                _ => {}
            }
        }
    }

    fn leaders(&self) -> usize {
        self.nodes.iter().filter(|node| node.leadership.term().is_some()).count()
    }

    /// Nobody leads beside another, nor while a call that another began in its term may still go on.
    fn check(&mut self) -> Result<(), TestCaseError> {
        prop_assert!(self.leaders() <= 1, "two leaders at {}", self.now);
        let now = self.now;
        for index in 0..self.nodes.len() {
            let term = self.nodes[index].leadership.term();
            if term.is_some() && !self.nodes[index].led {
                for other in (0..self.nodes.len()).filter(|other| *other != index) {
                    prop_assert!(self.nodes[other].calls_end <= now, "a call of {other} continues at {now}");
                }
            }
            let node = &mut self.nodes[index];
            node.led = term.is_some();
            if let Some(term) = term {
                node.calls_end = now + term.time_for_a_call().as_secs_f64() / node.rate;
            }
        }
        Ok(())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "seconds of a test")]
fn to_micros(seconds: f64) -> i64 {
    (seconds * 1e6) as i64
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn at_no_time_do_two_lead(
        seed: u64,
        nodes in 2..5_usize,
        losses in 0..40_u8,
        slowest in 0.01..8.0,
        durations in prop_oneof![Just(15..16_u64), Just(10..21)],
        troubles in troubles(),
    ) {
        let mut world = World::new(seed, nodes, durations, losses, slowest);
        let mut troubles = troubles;
        while world.now < 180.0 {
            for (_, index, kind, length) in troubles.extract_if(.., |(at, ..)| *at <= world.now).collect::<Vec<_>>() {
                world.trouble(index, kind, length);
            }
            world.tick();
            world.check()?;
        }
        // Once the network is well again, somebody leads soon, and continues.
        world.losses = 0;
        world.slowest = 0.1;
        for tick in 0..1000 {
            world.tick();
            world.check()?;
            prop_assert!(tick < 600 || world.leaders() == 1, "nobody leads at {}", world.now);
        }
    }

    #[test]
    fn somebody_leads_while_every_write_takes_long(seed: u64, nodes in 2..5_usize, write_takes in 0.1..4.0) {
        // One write can only follow on another, so that two must arrive within the renew deadline.
        let mut world = World::new(seed, nodes, 15..16, 0, 0.1);
        world.write_takes = write_takes;
        let (mut ticks, mut led) = (0, 0);
        while world.now < 400.0 {
            world.tick();
            world.check()?;
            if world.now > 60.0 {
                (ticks, led) = (ticks + 1, led + world.leaders());
            }
        }
        prop_assert!(led * 100 > ticks * 95, "{led} of {ticks}");
    }

    #[test]
    fn a_lease_that_is_given_back_is_taken_within_a_second(seed: u64, nodes in 2..5_usize) {
        let mut world = World::new(seed, nodes, 15..16, 0, 0.04);
        for _ in 0..200 {
            world.tick();
            world.check()?;
        }
        let leader = world.nodes.iter().position(|node| node.leadership.term().is_some()).unwrap();
        world.trouble(leader, Trouble::Release, 0.0);
        let released = world.now;
        while world.leaders() == 0 {
            world.tick();
            world.check()?;
            // The requests and the clock's error take a little more.
            prop_assert!(world.now - released < 1.0 + 0.5, "free for too long");
        }
    }
}
