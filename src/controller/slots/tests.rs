//! Whose turn it is, and that no slot is ever lost.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use futures::FutureExt;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Gives out all that is free.
fn grants(turns: &mut Turns) -> Vec<Ticket> {
    std::iter::from_fn(|| turns.grant()).collect()
}

/// The namespaces of those who wait, in the order in which one slot goes round.
fn order(turns: &mut Turns, asked: &BTreeMap<Ticket, &'static str>) -> Vec<&'static str> {
    let mut order = Vec::new();
    while let Some(ticket) = turns.grant() {
        order.push(asked[&ticket]);
        turns.leave(ticket);
    }
    order
}

#[test]
fn a_connection_may_have_a_limit_of_its_own_which_can_be_changed() {
    let mut turns = Turns::new(8, 4);
    let asked: Vec<_> = (0..6)
        .map(|_| {
            let ticket = turns.ask("a", 1);
            turns.limit(1, Some(2));
            ticket
        })
        .collect();
    let other = turns.ask("a", 2);
    assert_eq!(grants(&mut turns), [asked[0], other, asked[1]], "the others wait for none of them");
    turns.limit(1, Some(3));
    assert_eq!(grants(&mut turns), [asked[2]]);
    turns.limit(1, Some(1));
    turns.leave(asked[0]);
    turns.leave(asked[1]);
    assert!(grants(&mut turns).is_empty(), "slots that are held already are kept");
    turns.limit(1, None);
    assert_eq!(grants(&mut turns), asked[3..6], "as many as of any other");
}

#[test]
fn one_policy_does_not_wait_for_the_crowd_of_another_namespace() {
    let mut turns = Turns::new(4, 16);
    let crowd: Vec<_> = (0..500).map(|_| turns.ask("crowd", 1)).collect();
    assert_eq!(grants(&mut turns), crowd[..4]);
    let lone = turns.ask("lone", 1);
    turns.leave(crowd[2]);
    assert_eq!(grants(&mut turns), [crowd[4]], "whoever was in line before it comes first, once");
    turns.leave(crowd[0]);
    assert_eq!(grants(&mut turns), [lone]);
}

#[test]
fn namespaces_take_turns_however_many_wait_in_each() {
    let mut turns = Turns::new(1, 1);
    let asked = ["a", "a", "a", "b", "b", "c"].map(|namespace| (turns.ask(namespace, 1), namespace));
    assert_eq!(order(&mut turns, &asked.into()), ["a", "b", "c", "a", "b", "a"]);
}

#[test]
fn the_connections_of_a_namespace_take_turns() {
    let mut turns = Turns::new(1, 1);
    let asked = [1, 1, 1, 2, 2, 3].map(|connection| (turns.ask("a", connection), connection));
    let asked: BTreeMap<_, _> = asked.into();
    let mut order = Vec::new();
    while let Some(ticket) = turns.grant() {
        order.push(asked[&ticket]);
        turns.leave(ticket);
    }
    assert_eq!(order, [1, 2, 3, 1, 2, 1]);
}

#[test]
fn who_comes_back_after_a_slice_stands_behind_those_who_wait() {
    let mut turns = Turns::new(1, 1);
    let first = turns.ask("a", 1);
    assert_eq!(turns.grant(), Some(first));
    let second = turns.ask("a", 1);
    turns.leave(first);
    let again = turns.ask("a", 1);
    assert_eq!(grants(&mut turns), [second]);
    turns.leave(second);
    assert_eq!(grants(&mut turns), [again]);
}

#[test]
fn a_connection_without_a_slot_holds_up_no_other() {
    let mut turns = Turns::new(10, 1);
    let full = [turns.ask("a", 1), turns.ask("a", 1), turns.ask("b", 1)];
    let others = [turns.ask("a", 2), turns.ask("b", 3)];
    let granted: BTreeSet<_> = grants(&mut turns).into_iter().collect();
    assert_eq!(granted, BTreeSet::from([full[0], others[0], others[1]]));
    turns.leave(full[0]);
    assert_eq!(grants(&mut turns).len(), 1, "one of those who wait for it, as soon as it has a slot");
}

#[test]
fn who_was_passed_over_keeps_its_turn() {
    let mut turns = Turns::new(2, 1);
    let holder = turns.ask("a", 1);
    assert_eq!(turns.grant(), Some(holder));
    let blocked = turns.ask("b", 1);
    let passing = [turns.ask("c", 2), turns.ask("c", 2), turns.ask("c", 2)];
    assert_eq!(grants(&mut turns), passing[..1], "b waits for a connection that has no slot");
    turns.leave(holder);
    assert_eq!(turns.grant(), Some(blocked));
    turns.leave(passing[0]);
    assert_eq!(turns.grant(), Some(passing[1]));
}

#[test]
fn a_grant_is_cheap_with_ten_thousand_waiters_whatever_they_wait_for() {
    const WAITERS: u64 = 10_000;
    type Asks = fn(u64) -> (u64, u64);
    let shapes: [(&str, Asks); 5] = [
        ("one namespace, one connection", |_| (0, 0)),
        ("a namespace each, one connection", |n| (n, 0)),
        ("one namespace, a connection each", |n| (0, n)),
        ("a namespace and a connection each", |n| (n, n)),
        ("hundred namespaces with hundred connections", |n| (n / 100, n % 100)),
    ];
    for (shape, asks) in shapes {
        let mut turns = Turns::new(64, 16);
        let names: Vec<_> = (0..WAITERS).map(|n| format!("namespace-{}", asks(n).0)).collect();
        let began = Instant::now();
        for n in 0..WAITERS {
            turns.ask(&names[usize::try_from(n).unwrap()], asks(n).1);
        }
        let mut held: std::collections::VecDeque<_> = grants(&mut turns).into();
        let mut count = held.len();
        while let Some(ticket) = held.pop_front() {
            turns.leave(ticket);
            let granted = grants(&mut turns);
            count += granted.len();
            held.extend(granted);
        }
        assert_eq!(count, 10_000, "{shape}");
        // Far above what it takes, and far below what it takes to look at all who wait for each grant.
        assert!(began.elapsed() < Duration::from_secs(10), "{shape}: {:?}", began.elapsed());
        assert_nothing_is_kept(&turns);
    }
}

fn assert_nothing_is_kept(turns: &Turns) {
    assert_eq!(turns.held, 0);
    assert!(turns.tickets.is_empty() && turns.connections.is_empty() && turns.candidates.is_empty());
    assert!(turns.namespaces.turns.is_empty() && turns.namespaces.values.is_empty());
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    Ask {
        namespace: u8,
        connection: u8,
    },
    Grant,
    /// Some holder gives its slot back.
    Release(prop::sample::Index),
    /// Some waiter leaves the line.
    Cancel(prop::sample::Index),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        5 => (0_u8..4, 0_u8..4).prop_map(|(namespace, connection)| Happening::Ask { namespace, connection }),
        4 => Just(Happening::Grant),
        3 => any::<prop::sample::Index>().prop_map(Happening::Release),
        1 => any::<prop::sample::Index>().prop_map(Happening::Cancel),
    ]
}

/// What is known without any of the structure: who waits and who holds, and who was passed over by whom.
struct Witness {
    all: usize,
    per_connection: usize,
    waiting: BTreeMap<Ticket, (u8, u8)>,
    held: BTreeMap<Ticket, (u8, u8)>,
    /// How often the first namespace got a slot while the second could have had one and got none.
    namespaces_passed: BTreeMap<(u8, u8), u32>,
    /// The same of the connections of a namespace.
    connections_passed: BTreeMap<(u8, u8, u8), u32>,
}

impl Witness {
    fn new(all: usize, per_connection: usize) -> Self {
        Self {
            all,
            per_connection,
            waiting: BTreeMap::new(),
            held: BTreeMap::new(),
            namespaces_passed: BTreeMap::new(),
            connections_passed: BTreeMap::new(),
        }
    }

    fn is_full(&self, connection: u8) -> bool {
        self.held.values().filter(|held| held.1 == connection).count() >= self.per_connection
    }

    /// The lines whose first could have a slot now.
    fn eligible(&self) -> BTreeSet<(u8, u8)> {
        let is_full = self.held.len() >= self.all;
        self.waiting.values().filter(|line| !is_full && !self.is_full(line.1)).copied().collect()
    }

    fn granted(&mut self, ticket: Ticket) -> Result<(), TestCaseError> {
        let eligible = self.eligible();
        let Some(line) = self.waiting.remove(&ticket) else {
            return Err(TestCaseError::fail("granted to one who does not wait"));
        };
        prop_assert!(eligible.contains(&line), "granted beyond a limit");
        let ahead = self.waiting.iter().find(|(other, of)| **of == line && **other < ticket);
        prop_assert!(ahead.is_none(), "first come, first served within namespace and connection");
        let (namespace, connection) = line;
        self.namespaces_passed.retain(|(_, passed), _| *passed != namespace);
        self.connections_passed.retain(|(of, _, passed), _| (*of, *passed) != line);
        for other in eligible.iter().map(|line| line.0).collect::<BTreeSet<_>>() {
            if other != namespace {
                let times = self.namespaces_passed.entry((namespace, other)).or_default();
                *times += 1;
                prop_assert!(*times == 1, "{namespace} got two while {other} could have had one");
            }
        }
        for other in eligible.iter().filter(|other| other.0 == namespace && other.1 != connection) {
            let times = self.connections_passed.entry((namespace, connection, other.1)).or_default();
            *times += 1;
            prop_assert!(*times == 1, "{connection} got two while {} could have had one", other.1);
        }
        self.held.insert(ticket, line);
        Ok(())
    }

    /// Who leaves the line has no turn to lose.
    fn cancelled(&mut self, ticket: Ticket) {
        let Some(line) = self.waiting.remove(&ticket) else { return };
        if self.waiting.values().all(|other| other.0 != line.0) {
            self.namespaces_passed.retain(|(_, passed), _| *passed != line.0);
        }
        if self.waiting.values().all(|other| *other != line) {
            self.connections_passed.retain(|(of, _, passed), _| (*of, *passed) != line);
        }
    }
}

fn picked(index: prop::sample::Index, tickets: &BTreeMap<Ticket, (u8, u8)>) -> Option<Ticket> {
    let tickets: Vec<_> = tickets.keys().copied().collect();
    (!tickets.is_empty()).then(|| *index.get(&tickets))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn slots_are_handed_out_within_the_limits_without_idling_and_in_turn(
        all in 1_usize..6,
        per_connection in 1_usize..4,
        happenings in vec(happening(), 0..150),
    ) {
        let mut turns = Turns::new(all, per_connection);
        let mut witness = Witness::new(all, per_connection);
        for happening in happenings {
            match happening {
                Happening::Ask { namespace, connection } => {
                    let ticket = turns.ask(&namespace.to_string(), connection.into());
                    witness.waiting.insert(ticket, (namespace, connection));
                }
                Happening::Grant => match turns.grant() {
                    Some(ticket) => witness.granted(ticket)?,
                    None => prop_assert!(witness.eligible().is_empty(), "a slot idles"),
                },
                Happening::Release(index) => {
                    if let Some(ticket) = picked(index, &witness.held) {
                        turns.leave(ticket);
                        witness.held.remove(&ticket);
                    }
                }
                Happening::Cancel(index) => {
                    if let Some(ticket) = picked(index, &witness.waiting) {
                        turns.leave(ticket);
                        witness.cancelled(ticket);
                    }
                }
            }
            let used: BTreeSet<_> =
                witness.waiting.values().chain(witness.held.values()).map(|line| line.1).collect();
            let waiting: BTreeSet<_> = witness.waiting.values().map(|line| line.0).collect();
            prop_assert_eq!(turns.tickets.len(), witness.waiting.len() + witness.held.len());
            prop_assert_eq!(turns.connections.len(), used.len(), "a connection of no use is forgotten");
            prop_assert_eq!(turns.namespaces.values.len(), waiting.len(), "so is a namespace that does not wait");
        }
        for ticket in witness.waiting.keys().chain(witness.held.keys()) {
            turns.leave(*ticket);
        }
        assert_nothing_is_kept(&turns);
    }
}

fn granted(asked: Asked) -> Slot {
    match asked {
        Asked::Granted(slot) => slot,
        Asked::Queued(_) => panic!("no slot is free"),
    }
}

fn queued(asked: Asked) -> Place {
    match asked {
        Asked::Granted(_) => panic!("a slot is free"),
        Asked::Queued(place) => place,
    }
}

/// What comes at once, or never.
async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("it comes soon")
}

fn is_unused(slots: &Slots) -> bool {
    let queue = lock(&slots.0);
    assert_nothing_is_kept(&queue.turns);
    queue.waiting.is_empty()
}

#[tokio::test]
async fn a_slot_that_is_given_back_goes_to_whoever_waits() {
    let slots = Slots::new(1, 1);
    let first = granted(slots.ask("a", 1));
    let mut second = Box::pin(queued(slots.ask("a", 1)).granted());
    assert!((&mut second).now_or_never().is_none());
    drop(first);
    let third = queued(slots.ask("a", 1));
    drop(soon(second).await);
    drop(soon(third.granted()).await);
    assert!(is_unused(&slots));
}

#[tokio::test]
async fn a_waiter_that_is_dropped_loses_no_slot() {
    let slots = Slots::new(1, 1);
    let holder = granted(slots.ask("a", 1));
    let before_its_turn = queued(slots.ask("a", 1));
    let mut polled = Box::pin(queued(slots.ask("a", 1)).granted());
    assert!((&mut polled).now_or_never().is_none());
    let after_its_turn = Box::pin(queued(slots.ask("a", 1)).granted());
    let last = queued(slots.ask("a", 1));
    drop((before_its_turn, polled));
    drop(holder);
    // It has got the slot and does not know yet.
    drop(after_its_turn);
    drop(soon(last.granted()).await);
    assert!(is_unused(&slots));
}

#[tokio::test]
async fn a_panic_gives_the_slot_back() {
    let slots = Slots::new(1, 1);
    let slot = granted(slots.ask("a", 1));
    let next = queued(slots.ask("b", 1));
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let _slot = slot;
        panic!("a bug");
    }));
    assert!(panicked.is_err());
    drop(soon(next.granted()).await);
    assert!(is_unused(&slots));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_never_hold_more_than_the_limits_and_all_get_their_slot() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let slots = Slots::new(3, 2);
    let at_work = Arc::new(AtomicUsize::new(0));
    let tasks = (0..300_u64).map(|n| {
        let (slots, at_work) = (slots.clone(), Arc::clone(&at_work));
        tokio::spawn(async move {
            let place = match slots.ask(&format!("n{}", n % 7), n % 5) {
                Asked::Granted(slot) => Ok(slot),
                Asked::Queued(place) => Err(place),
            };
            let slot = match place {
                Ok(slot) => slot,
                // Some lose patience.
                Err(place) if n % 3 == 0 => {
                    let granted = place.granted();
                    match granted.now_or_never() {
                        Some(slot) => slot,
                        None => return,
                    }
                }
                Err(place) => place.granted().await,
            };
            assert!(at_work.fetch_add(1, Ordering::SeqCst) < 3);
            tokio::task::yield_now().await;
            at_work.fetch_sub(1, Ordering::SeqCst);
            drop(slot);
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        soon(task).await.unwrap();
    }
    assert!(is_unused(&slots));
}
