//! How many runs may be at work, and whose turn it is when more want to.
//!
//! [`Turns`] decides, and waits for nothing. [`Slots`] lets runs wait for what it decides.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::context::lock;

/// Slots of runs at work, at all and with one connection. Held per slice, so that a run that waits for Upstash holds
/// none, and a run that comes back for its next slice stands behind those who wait.
#[derive(Clone)]
pub(crate) struct Slots(Arc<Mutex<Queue>>);

struct Queue {
    turns: Turns,
    /// Who waits, to be woken.
    waiting: HashMap<Ticket, Arc<Notify>>,
}

/// What one who asks for a slot gets.
pub(crate) enum Asked {
    /// A slot was free.
    Granted(Slot),
    /// All are taken.
    Queued(Place),
}

/// A run's right to be at work, until it is dropped.
pub(crate) struct Slot {
    slots: Slots,
    ticket: Ticket,
}

/// A place in line, until it is dropped.
pub(crate) struct Place {
    /// Gives back whatever the ticket stands for: the place, or the slot that nobody has come for yet.
    slot: Slot,
    granted: Arc<Notify>,
}

impl Slots {
    pub(crate) fn new(all: u16, per_connection: u16) -> Self {
        let turns = Turns::new(all.into(), per_connection.into());
        Self(Arc::new(Mutex::new(Queue { turns, waiting: HashMap::new() })))
    }

    /// A slot, or the last place in the line of this namespace and connection.
    pub(crate) fn ask(&self, namespace: &str, connection: u64) -> Asked {
        let granted = Arc::new(Notify::new());
        let ticket = self.change(|queue| {
            let ticket = queue.turns.ask(namespace, connection);
            queue.waiting.insert(ticket, Arc::clone(&granted));
            ticket
        });
        let slot = Slot { slots: self.clone(), ticket };
        let is_waiting = lock(&self.0).waiting.contains_key(&ticket);
        if is_waiting { Asked::Queued(Place { slot, granted }) } else { Asked::Granted(slot) }
    }

    /// Changes who holds and who waits, and hands out what is free then.
    fn change<T>(&self, change: impl FnOnce(&mut Queue) -> T) -> T {
        let mut woken = Vec::new();
        let outcome = {
            let mut queue = lock(&self.0);
            let outcome = change(&mut queue);
            while let Some(next) = queue.turns.grant() {
                woken.extend(queue.waiting.remove(&next));
            }
            outcome
        };
        // Waking may run code of others, which may ask or give back.
        for granted in woken {
            granted.notify_one();
        }
        outcome
    }
}

impl Place {
    /// The slot, when its turn has come.
    pub(crate) async fn granted(self) -> Slot {
        let Self { slot, granted } = self;
        granted.notified().await;
        slot
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.change(|queue| {
            queue.turns.leave(self.ticket);
            queue.waiting.remove(&self.ticket);
        });
    }
}

/// Who asked, and in which order.
type Ticket = u64;
/// Where something stands: what has a lower number has its turn earlier.
type Turn = u64;
/// A connection's fingerprint.
type Connection = u64;

/// Decides whose turn it is. Namespaces take turns; within a namespace its connections take turns; within both it is
/// first come, first served. Who cannot have a slot, as its connection has no more, is passed over and keeps its turn.
///
/// What nobody holds or waits for is forgotten. A grant costs a few steps for each connection that has no slot left,
/// of which there are only as many as the slots suffice for, whatever the number of those who wait.
struct Turns {
    all: usize,
    per_connection: usize,
    held: usize,
    last_number: u64,
    tickets: HashMap<Ticket, Standing>,
    connections: HashMap<Connection, Usage>,
    /// The namespaces that wait.
    namespaces: Rotation<Arc<str>, Lines>,
    /// Where to look for who is next, by turn of the namespace. `None`: a namespace that was not found blocked.
    /// `Some`: of the namespaces blocked by this connection, which has a slot again, the one whose turn is first.
    candidates: BTreeSet<(Turn, Option<Connection>)>,
}

/// What waits in one namespace, by connection.
type Lines = Rotation<Connection, BTreeSet<Ticket>>;

enum Standing {
    Waiting { namespace: Arc<str>, connection: Connection },
    Holding { connection: Connection },
}

#[derive(Default)]
struct Usage {
    held: usize,
    waiting: usize,
    /// The namespaces that were found to wait for nothing but connections without a slot, this one among them. Their
    /// turns do not change before they get a slot.
    blocked: BTreeSet<Turn>,
    /// Which of them is a candidate.
    candidate: Option<Turn>,
}

impl Turns {
    fn new(all: usize, per_connection: usize) -> Self {
        Self {
            all,
            per_connection,
            held: 0,
            last_number: 0,
            tickets: HashMap::new(),
            connections: HashMap::new(),
            namespaces: Rotation::default(),
            candidates: BTreeSet::new(),
        }
    }

    /// Gets in line.
    fn ask(&mut self, namespace: &str, connection: Connection) -> Ticket {
        let ticket = self.number();
        let (turn, namespace) = self.join(namespace);
        if self.namespaces.at(turn).is_some_and(|lines| lines.turn(&connection).is_none()) {
            // Who is blocked waits for nothing but connections without a slot.
            self.unblock(turn);
            let number = self.number();
            if let Some(lines) = self.namespaces.at_mut(turn) {
                lines.push(number, connection, BTreeSet::new());
            }
        }
        if let Some(line) = self.namespaces.at_mut(turn).and_then(|lines| lines.get_mut(&connection)) {
            line.insert(ticket);
        }
        self.usage(connection).waiting += 1;
        self.tickets.insert(ticket, Standing::Waiting { namespace, connection });
        ticket
    }

    /// The turn of a namespace that waits, or begins to.
    fn join(&mut self, namespace: &str) -> (Turn, Arc<str>) {
        if let Some((turn, name)) = self.namespaces.entry(namespace) {
            return (turn, Arc::clone(name));
        }
        let (turn, name) = (self.number(), Arc::from(namespace));
        self.namespaces.push(turn, Arc::clone(&name), Lines::default());
        self.candidates.insert((turn, None));
        (turn, name)
    }

    /// Gives a slot to whoever's turn it is. `None`: nobody who waits can have one.
    fn grant(&mut self) -> Option<Ticket> {
        while self.held < self.all {
            let candidate = *self.candidates.first()?;
            let (turn, _) = candidate;
            if let Some(connection) = self.connection_with_slot(turn) {
                return self.grant_to(turn, connection);
            }
            self.candidates.remove(&candidate);
            self.block(turn);
        }
        None
    }

    /// Leaves the line, or gives the slot back.
    fn leave(&mut self, ticket: Ticket) {
        let connection = match self.tickets.remove(&ticket) {
            None => return,
            Some(Standing::Holding { connection }) => {
                self.held -= 1;
                self.usage(connection).held -= 1;
                connection
            }
            Some(Standing::Waiting { namespace, connection }) => {
                self.usage(connection).waiting -= 1;
                self.leave_line(&namespace, connection, ticket);
                connection
            }
        };
        self.settle(connection);
    }

    fn leave_line(&mut self, namespace: &str, connection: Connection, ticket: Ticket) {
        let Some(turn) = self.namespaces.turn(namespace) else { return };
        let Some(lines) = self.namespaces.at_mut(turn) else { return };
        let is_empty = lines.get_mut(&connection).is_some_and(|line| line.remove(&ticket) && line.is_empty());
        if is_empty {
            lines.remove(&connection);
            let is_gone = lines.is_empty();
            self.usage(connection).blocked.remove(&turn);
            if is_gone {
                self.namespaces.remove_at(turn);
                self.candidates.remove(&(turn, None));
            }
        }
    }

    /// Takes the first of a line out, and puts line and namespace behind all others.
    fn grant_to(&mut self, turn: Turn, connection: Connection) -> Option<Ticket> {
        self.unblock(turn);
        self.candidates.remove(&(turn, None));
        let (name, mut lines) = self.namespaces.remove_at(turn)?;
        let mut line = lines.remove(&connection)?;
        let ticket = line.pop_first()?;
        if !line.is_empty() {
            lines.push(self.number(), connection, line);
        }
        if !lines.is_empty() {
            let turn = self.number();
            self.namespaces.push(turn, name, lines);
            self.candidates.insert((turn, None));
        }
        self.held += 1;
        let usage = self.usage(connection);
        usage.held += 1;
        usage.waiting -= 1;
        self.tickets.insert(ticket, Standing::Holding { connection });
        self.settle(connection);
        Some(ticket)
    }

    /// Looks at a namespace no more until one of its connections, none of which has a slot, has one again.
    fn block(&mut self, turn: Turn) {
        for connection in self.connections_of(turn) {
            self.usage(connection).blocked.insert(turn);
        }
    }

    fn unblock(&mut self, turn: Turn) {
        if self.candidates.insert((turn, None)) {
            for connection in self.connections_of(turn) {
                self.usage(connection).blocked.remove(&turn);
                self.settle(connection);
            }
        }
    }

    /// Draws what follows from a change of a connection's usage.
    fn settle(&mut self, connection: Connection) {
        let has_slot = self.has_slot(connection);
        let usage = self.usage(connection);
        let candidate = usage.blocked.first().copied().filter(|_| has_slot);
        let before = std::mem::replace(&mut usage.candidate, candidate);
        if usage.held == 0 && usage.waiting == 0 {
            self.connections.remove(&connection);
        }
        if before != candidate {
            self.candidates.extend(candidate.map(|turn| (turn, Some(connection))));
            if let Some(turn) = before {
                self.candidates.remove(&(turn, Some(connection)));
            }
        }
    }

    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn usage(&mut self, connection: Connection) -> &mut Usage {
        self.connections.entry(connection).or_default()
    }

    fn has_slot(&self, connection: Connection) -> bool {
        self.connections.get(&connection).is_none_or(|usage| usage.held < self.per_connection)
    }

    /// Of the connections that a namespace waits for and that have a slot, the one whose turn it is.
    fn connection_with_slot(&self, turn: Turn) -> Option<Connection> {
        self.namespaces.at(turn)?.keys().copied().find(|connection| self.has_slot(*connection))
    }

    fn connections_of(&self, turn: Turn) -> Vec<Connection> {
        self.namespaces.at(turn).map(|lines| lines.keys().copied().collect()).unwrap_or_default()
    }
}

/// Values by key and in the order of their turns.
struct Rotation<K, V> {
    turns: HashMap<K, Turn>,
    values: BTreeMap<Turn, (K, V)>,
}

impl<K, V> Default for Rotation<K, V> {
    fn default() -> Self {
        Self { turns: HashMap::new(), values: BTreeMap::new() }
    }
}

impl<K: Clone + Eq + Hash, V> Rotation<K, V> {
    fn push(&mut self, turn: Turn, key: K, value: V) {
        self.turns.insert(key.clone(), turn);
        self.values.insert(turn, (key, value));
    }

    fn keys(&self) -> impl Iterator<Item = &K> {
        self.values.values().map(|(key, _)| key)
    }

    fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn at(&self, turn: Turn) -> Option<&V> {
        self.values.get(&turn).map(|(_, value)| value)
    }

    fn at_mut(&mut self, turn: Turn) -> Option<&mut V> {
        self.values.get_mut(&turn).map(|(_, value)| value)
    }

    fn remove_at(&mut self, turn: Turn) -> Option<(K, V)> {
        let (key, value) = self.values.remove(&turn)?;
        self.turns.remove(&key);
        Some((key, value))
    }

    fn entry<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<(Turn, &K)>
    where
        K: Borrow<Q>,
    {
        self.turns.get_key_value(key).map(|(key, turn)| (*turn, key))
    }

    fn turn<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<Turn>
    where
        K: Borrow<Q>,
    {
        self.turns.get(key).copied()
    }

    fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.at_mut(self.turn(key)?)
    }

    fn remove(&mut self, key: &K) -> Option<V> {
        self.remove_at(self.turn(key)?).map(|(_, value)| value)
    }
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
