//! The calls that are under way.

use jiff::Timestamp;

use dlq_upstash::types::Call;

/// What a call is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Owner {
    /// A page of this window.
    Window(u32),
    /// To see where the entries of this window are.
    Look(u32),
    /// The entries of this batch.
    Batch(u32),
    /// The question that is open.
    Question,
}

/// A call without an answer yet.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) call: Call,
    pub(crate) of: Owner,
    pub(crate) sent: Timestamp,
    /// See [`Workers::round`](super::workers::Workers::round).
    pub(crate) round: u64,
    /// How many entries it may act on, or list in a dry run: they count until the answer says how many there were.
    pub(crate) reserved: i64,
    /// So many of them count for `entriesPerSecond` already.
    pub(crate) paid: i64,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    under_way: Vec<Flight>,
    /// What the call that was asked for last is for.
    offered: Option<Owner>,
}

impl Flights {
    /// A call may be sent next.
    pub(crate) fn offer(&mut self, of: Owner) {
        self.offered = Some(of);
    }

    /// What that call is for.
    pub(crate) fn offered(&self) -> Option<Owner> {
        self.offered
    }

    pub(crate) fn send(&mut self, flight: Flight) {
        self.offered = None;
        self.under_way.push(flight);
    }

    /// Takes a call out. Two equal ones are for the same: it does not matter which it was.
    pub(crate) fn land(&mut self, call: &Call) -> Option<Flight> {
        let index = self.under_way.iter().position(|flight| flight.call == *call)?;
        Some(self.under_way.remove(index))
    }

    pub(crate) fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Whether a call is under way for this.
    pub(crate) fn has(&self, of: Owner) -> bool {
        self.under_way.iter().any(|flight| flight.of == of)
    }

    /// How many calls are under way for pages of windows.
    pub(crate) fn of_windows(&self) -> usize {
        self.under_way.iter().filter(|flight| matches!(flight.of, Owner::Window(_))).count()
    }

    /// How many entries they may act on, or list in a dry run.
    pub(crate) fn reserved(&self) -> i64 {
        self.under_way.iter().map(|flight| flight.reserved).sum()
    }
}
