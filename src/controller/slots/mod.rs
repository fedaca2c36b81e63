//! How many runs may be at work, and whose turn it is when more want to.
//!
//! [`Turns`] decides, and waits for nothing. [`Slots`] lets runs wait for what it decides.

pub(crate) mod rights;
mod rotation;
mod turns;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use self::turns::{Ticket, Turns};
use crate::controller::names::lock;
use dlq_policy::ConnectionName;

/// Slots of runs at work, at all and with one connection. Held per slice, so that a run that waits for Upstash holds
/// none, and a run that comes back for its next slice stands behind those who wait.
#[derive(Clone)]
pub(crate) struct Slots(Arc<Mutex<Queue>>);

struct Queue {
    turns: Turns,
    /// Who waits, to be woken.
    waiting: HashMap<Ticket, Arc<Notify>>,
}

/// How many slots a connection may have, beside the limit of all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Limit {
    /// As many as it says itself; none: no limit of its own.
    Runs(Option<u16>),
    /// As was last said of it: it is gone or cannot be read, which lifts no limit.
    AsBefore,
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

/// The connection that policies share, as slots are counted by.
pub(crate) fn slots_of(name: &ConnectionName) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

impl Slots {
    pub(crate) fn new(all: u16, per_connection: u16) -> Self {
        let turns = Turns::new(all.into(), per_connection.into());
        Self(Arc::new(Mutex::new(Queue { turns, waiting: HashMap::new() })))
    }

    /// A slot, or the last place in the line of this namespace and connection.
    pub(crate) fn ask(&self, namespace: &str, connection: u64) -> Asked {
        self.ask_within(namespace, connection, Limit::AsBefore)
    }

    /// The same of a connection with a limit of its own.
    pub(crate) fn ask_within(&self, namespace: &str, connection: u64, limit: Limit) -> Asked {
        let granted = Arc::new(Notify::new());
        let ticket = self.change(|queue| {
            let ticket = queue.turns.ask(namespace, connection);
            if let Limit::Runs(most) = limit {
                queue.turns.limit(connection, most.map(usize::from));
            }
            queue.waiting.insert(ticket, Arc::clone(&granted));
            ticket
        });
        let slot = Slot { slots: self.clone(), ticket };
        let is_waiting = lock(&self.0).waiting.contains_key(&ticket);
        if is_waiting { Asked::Queued(Place { slot, granted }) } else { Asked::Granted(slot) }
    }

    /// A slot, if one is free that nobody waits for.
    pub(crate) fn ask_if_free(&self, namespace: &str, connection: u64, limit: Limit) -> Option<Slot> {
        if self.has_line() {
            return None;
        }
        match self.ask_within(namespace, connection, limit) {
            Asked::Granted(slot) => Some(slot),
            Asked::Queued(_) => None,
        }
    }

    /// Whether anybody is in line.
    pub(crate) fn has_line(&self) -> bool {
        !lock(&self.0).waiting.is_empty()
    }

    /// Holds a connection to another limit from now on: slots that are held already are kept.
    pub(crate) fn limit(&self, connection: u64, limit: Limit) {
        if let Limit::Runs(most) = limit {
            self.change(|queue| queue.turns.limit(connection, most.map(usize::from)));
        }
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

#[cfg(test)]
mod tests;
