//! Whose turn it is: the decision, which waits for nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::rotation::{Rotation, Turn};

/// Who asked, and in which order.
pub(super) type Ticket = u64;
/// A connection's fingerprint.
type Connection = u64;

/// Decides whose turn it is. Namespaces take turns; within a namespace its connections take turns; within both it is
/// first come, first served. Who cannot have a slot, as its connection has no more, is passed over and keeps its turn.
///
/// What nobody holds or waits for is forgotten. A grant costs a few steps for each connection that has no slot left,
/// of which there are only as many as the slots suffice for, whatever the number of those who wait.
pub(super) struct Turns {
    all: usize,
    per_connection: usize,
    pub(super) held: usize,
    last_number: u64,
    pub(super) tickets: HashMap<Ticket, Standing>,
    pub(super) connections: HashMap<Connection, Usage>,
    /// The namespaces that wait.
    pub(super) namespaces: Rotation<Arc<str>, Lines>,
    /// Where to look for who is next, by turn of the namespace. `None`: a namespace that was not found blocked.
    /// `Some`: of the namespaces blocked by this connection, which has a slot again, the one whose turn is first.
    pub(super) candidates: BTreeSet<(Turn, Option<Connection>)>,
}

/// What waits in one namespace, by connection.
type Lines = Rotation<Connection, BTreeSet<Ticket>>;

pub(super) enum Standing {
    Waiting { namespace: Arc<str>, connection: Connection },
    Holding { connection: Connection },
}

#[derive(Default)]
pub(super) struct Usage {
    held: usize,
    waiting: usize,
    /// A limit of the connection's own, beside the one of all.
    most: Option<usize>,
    /// The namespaces that were found to wait for nothing but connections without a slot, this one among them. Their
    /// turns do not change before they get a slot.
    blocked: BTreeSet<Turn>,
    /// Which of them is a candidate.
    candidate: Option<Turn>,
}

impl Turns {
    pub(super) fn new(all: usize, per_connection: usize) -> Self {
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
    pub(super) fn ask(&mut self, namespace: &str, connection: Connection) -> Ticket {
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

    /// Holds a connection to a limit of its own, from now on: slots that are held already are kept.
    pub(super) fn limit(&mut self, connection: Connection, most: Option<usize>) {
        self.usage(connection).most = most;
        self.settle(connection);
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

    /// Gives a slot to the one whose turn it is. `None`: nothing that waits can have one.
    pub(super) fn grant(&mut self) -> Option<Ticket> {
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
    pub(super) fn leave(&mut self, ticket: Ticket) {
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
        self.connections
            .get(&connection)
            .is_none_or(|usage| usage.held < self.per_connection.min(usage.most.unwrap_or(usize::MAX)))
    }

    /// Of the connections that a namespace waits for and that have a slot, the one whose turn it is.
    fn connection_with_slot(&self, turn: Turn) -> Option<Connection> {
        self.namespaces.at(turn)?.keys().copied().find(|connection| self.has_slot(*connection))
    }

    fn connections_of(&self, turn: Turn) -> Vec<Connection> {
        self.namespaces.at(turn).map(|lines| lines.keys().copied().collect()).unwrap_or_default()
    }
}
