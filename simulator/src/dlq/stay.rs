//! How an entry's stay in a DLQ begins and ends.

use std::sync::Arc;

use crate::{
    clock::Millis,
    cursor::Position,
    entry::{Entry, NewEntry},
    ledger::Fate,
};

use super::{Dlq, Lag, new_run_id};

impl Dlq {
    /// Lets happen what is due: workflow runs fail again, entries expire, and what has left is seen to have left.
    pub fn settle(&mut self, now: Millis) {
        while let Some(due) = self.comebacks.first_entry().filter(|due| due.key().0 <= now) {
            let (at, from, _) = *due.key();
            let entry = due.remove();
            self.insert(entry, at, Some(from));
        }
        while let Some((_, position)) = self.expiries.first().copied().filter(|(at, _)| *at <= now) {
            self.remove(position, Fate::Expired, None);
        }
        while let Some((at, position)) = self.lingering.first().copied().filter(|(at, _)| *at <= now) {
            self.lingering.remove(&(at, position));
            self.entries.remove(&position);
        }
    }

    /// Lets the oldest entries expire now.
    pub fn expire_oldest(&mut self, count: usize) {
        let oldest: Vec<Position> = self.entries().map(Entry::position).take(count).collect();
        for position in oldest {
            self.remove(position, Fate::Expired, None);
        }
    }

    /// Lets made-up entries arrive now.
    pub fn arrive_anew(&mut self, count: usize, now: Millis) {
        for _ in 0..count {
            self.arrive(NewEntry::default(), now);
        }
    }

    pub(super) fn arrive(&mut self, new: NewEntry, now: Millis) -> Arc<str> {
        let random = &mut self.random;
        let entry = new.into_entry(now, || new_run_id(random));
        self.insert(Box::new(entry), now, None)
    }

    /// Puts an entry in its place. It gets a sequence and, where it has none, a DLQ ID.
    pub(super) fn insert(
        &mut self,
        mut entry: Box<Entry>,
        now: Millis,
        refailed_from: Option<u64>,
    ) -> Arc<str> {
        entry.sequence = self.ledger.next_sequence();
        if entry.dlq_id.is_empty() {
            entry.dlq_id = self.unused_id(entry.failed_at, entry.sequence);
        }
        let dlq_id = Arc::clone(&entry.dlq_id);
        self.ledger.enter(&entry, now, refailed_from);
        if self.sequence(&dlq_id).is_none() {
            self.given.insert(Arc::clone(&dlq_id), entry.sequence);
        }
        if let Some(expires_at) = entry.expires_at {
            self.expiries.insert((expires_at, entry.position()));
        }
        self.entries.insert(entry.position(), entry);
        dlq_id
    }

    /// A DLQ ID in the form of the service's own, which begins with the time of failure. One that was seeded by hand can
    /// stand in the way.
    fn unused_id(&self, failed_at: Millis, sequence: u64) -> Arc<str> {
        let mut dlq_id: Arc<str> = format!("{failed_at}-{sequence}").into();
        while self.sequence(&dlq_id).is_some() {
            dlq_id = format!("{dlq_id}-0").into();
        }
        dlq_id
    }

    pub(super) fn remove(&mut self, position: Position, fate: Fate, call_seq: Option<u64>) -> Option<Entry> {
        let entry = self.entries.remove(&position)?;
        if let Some(expires_at) = entry.expires_at {
            self.expiries.remove(&(expires_at, position));
        }
        self.ledger.leave(position.sequence, fate, call_seq);
        Some(*entry)
    }

    /// Lets an entry leave that can be selected a while longer. When it lingers already, that while is not prolonged.
    pub(super) fn leave_lingering(
        &mut self,
        position: Position,
        fate: Fate,
        call_seq: u64,
        now: Millis,
        lag: Lag,
    ) -> Option<Entry> {
        let entry = self.entries.get(&position)?.as_ref().clone();
        if !self.has_left(position.sequence) {
            if let Some(expires_at) = entry.expires_at {
                self.expiries.remove(&(expires_at, position));
            }
            self.lingering.insert((now.saturating_add(lag.ms.into()), position));
        }
        self.ledger.leave(position.sequence, fate, Some(call_seq));
        Some(entry)
    }

    /// Whether an entry is no longer in the DLQ, although it may still be selected.
    pub(super) fn has_left(&self, sequence: u64) -> bool {
        self.ledger.record(sequence).is_none_or(|record| record.fate != Fate::InDlq)
    }
}
