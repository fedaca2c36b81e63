//! How much of a shared connection's limits is left: the decision, which waits for nothing.
//!
//! What may be acted on in a day is counted in the connection's status, block by block: a block is written down as spent
//! before the first entry of it is acted on. So the count is never too low, whatever stops a process.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use dlq_crd::ConnectionStatus;

/// A day's limit is reserved in so many blocks, if it is large enough.
const BLOCKS_OF_A_DAY: u64 = 50;
/// The most that a process may leave unused when it is killed.
const LARGEST_BLOCK: u64 = 1000;

/// What all policies of a connection may do together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BudgetLimits {
    /// `limits.entriesPerSecond`.
    pub entries_per_second: Option<u32>,
    /// `limits.maxEntriesPerDay`.
    pub max_entries_per_day: Option<u64>,
    /// Whose days these are; UTC where there is none.
    pub zone: Option<TimeZone>,
}

impl BudgetLimits {
    /// The day that it is.
    fn day(&self, now: Timestamp) -> Date {
        now.to_zoned(self.zone.clone().unwrap_or(TimeZone::UTC)).date()
    }

    /// The day that counts: that of the status, where its writer's clock is ahead or the zone was edited. A day that begins
    /// anew would have a budget of its own.
    pub fn counted_day(&self, spent: Option<Spent>, now: Timestamp) -> Date {
        let today = self.day(now);
        let tomorrow = today.tomorrow().unwrap_or(today);
        spent.map(|spent| spent.day).filter(|day| *day == tomorrow).unwrap_or(today)
    }

    /// When a day ends.
    fn end_of(&self, day: Date) -> Timestamp {
        let zone = self.zone.clone().unwrap_or(TimeZone::UTC);
        let end = day.tomorrow().and_then(|next| next.to_zoned(zone));
        end.map_or(Timestamp::MAX, |end| end.timestamp())
    }
}

/// What a connection's status says of a day: `day` and `entriesToday`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Spent {
    /// The day.
    pub day: Date,
    /// How many entries were acted on, or may yet be.
    pub entries: u64,
}

/// A status whose count cannot be read. Nothing is granted under it: it may stand for any number of entries.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error(
    "status.day and status.entriesToday cannot be read; remove both, or set day to a date and entriesToday to a count"
)]
pub struct UnreadableCount;

impl Spent {
    /// As a status has it; none where it counts nothing yet.
    ///
    /// # Errors
    /// One of the two is missing, or is no date and no count.
    pub fn of(status: &ConnectionStatus) -> Result<Option<Self>, UnreadableCount> {
        match (&status.day, status.entries_today) {
            (None, None) => Ok(None),
            (Some(day), Some(entries)) => {
                let day = day.parse().map_err(|_| UnreadableCount)?;
                let entries = u64::try_from(entries).map_err(|_| UnreadableCount)?;
                Ok(Some(Self { day, entries }))
            }
            (Some(_), None) | (None, Some(_)) => Err(UnreadableCount),
        }
    }
}

/// What this process may still do with a connection.
#[derive(Debug, Default)]
pub struct Budget {
    block: Option<Block>,
    /// Acted on beyond what was asked for, and not written down yet.
    overdrawn: u64,
    /// No entry is acted on earlier, as `entriesPerSecond` has it.
    paced_until: Option<Timestamp>,
    /// When something was last taken.
    taken_at: Option<Timestamp>,
}

/// What is left of a block that was written down as spent.
#[derive(Debug)]
struct Block {
    day: Date,
    left: u64,
}

/// Entries that may be acted on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Grant {
    /// How many.
    pub entries: u64,
    /// The day that they count for; none where no day is counted.
    pub day: Option<Date>,
    /// When that day ends, and with it the grant.
    pub until: Timestamp,
}

impl Grant {
    /// Where nothing is limited.
    pub fn unlimited(entries: u64) -> Self {
        Self { entries, day: None, until: Timestamp::MAX }
    }
}

/// What was granted and not used; below 0: what was acted on beyond it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Unused {
    /// How many entries.
    pub entries: i64,
    /// The day that they count for.
    pub day: Option<Date>,
}

impl Unused {
    /// Both. What is left of another day than the later one's is lost.
    pub(crate) fn and(self, later: Self) -> Self {
        let kept = if self.day == later.day || later == Self::default() {
            self.entries
        } else {
            self.entries.min(0)
        };
        let day = if later == Self::default() { self.day } else { later.day };
        Self { entries: kept.saturating_add(later.entries), day }
    }
}

/// What [`Budget::settle`] took out of a budget, to be written down.
#[derive(Debug)]
pub struct Settlement {
    /// What the status is to say.
    pub next: Spent,
    block: Option<Block>,
    overdrawn: u64,
}

/// Whether entries may be acted on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Allowance {
    /// Some of those that were asked for.
    Granted(Grant),
    /// None before then.
    Later(Timestamp),
    /// Once this is written down as spent. Then ask again.
    Reserve(Spent),
    /// None today.
    Spent,
}

/// What became of asking for entries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reserved {
    /// At least one, and at most as many as were asked for.
    Granted(Grant),
    /// None before then.
    Later(Timestamp),
    /// None today.
    Spent,
}

impl Budget {
    /// Takes up to so many entries. `spent`: what the status says.
    pub fn take(
        &mut self,
        limits: &BudgetLimits,
        spent: Option<Spent>,
        wanted: u64,
        now: Timestamp,
    ) -> Allowance {
        if let Some(until) = self.paced_until.filter(|until| *until > now) {
            // A clock that was set back makes no wait longer than a second's worth.
            return Allowance::Later(until.min(after(now, SignedDuration::from_secs(1))));
        }
        let mut granted = limits.entries_per_second.map_or(wanted, |rate| wanted.min(rate.max(1).into()));
        let mut grant = Grant::unlimited(granted);
        if let Some(limit) = limits.max_entries_per_day {
            let day = limits.counted_day(spent, now);
            self.block.take_if(|block| block.day != day || block.left == 0);
            match &mut self.block {
                Some(block) => {
                    granted = granted.min(block.left);
                    block.left -= granted;
                    grant = Grant { entries: granted, day: Some(day), until: limits.end_of(day) };
                }
                None => return self.reserve(limit, spent, day, wanted),
            }
        }
        self.taken_at = Some(now);
        self.paced_until = limits.entries_per_second.map(|rate| after(now, time_of(granted, rate)));
        Allowance::Granted(grant)
    }

    fn reserve(&self, limit: u64, spent: Option<Spent>, day: Date, wanted: u64) -> Allowance {
        let entries = spent.filter(|spent| spent.day == day).map_or(0, |spent| spent.entries);
        let entries = entries.saturating_add(self.overdrawn);
        let room = limit.saturating_sub(entries);
        if room == 0 {
            return Allowance::Spent;
        }
        let block = (limit / BLOCKS_OF_A_DAY).clamp(1, LARGEST_BLOCK).max(wanted).min(room);
        Allowance::Reserve(Spent { day, entries: entries + block })
    }

    /// Takes in that a reservation was written down; `spent`: what the status said before.
    pub fn reserved(&mut self, spent: Option<Spent>, written: Spent) {
        let before = spent.filter(|spent| spent.day == written.day).map_or(0, |spent| spent.entries);
        let left = written.entries.saturating_sub(before).saturating_sub(self.overdrawn);
        self.overdrawn = 0;
        self.block = Some(Block { day: written.day, left });
    }

    /// Gives back what was granted of a day and not acted on; negative: what was acted on beyond that. What is left of
    /// another day is lost.
    pub fn give_back(&mut self, unused: Unused, limits: &BudgetLimits, now: Timestamp) {
        let Unused { entries, day: of } = unused;
        if let (Ok(unused), Some(rate)) = (u64::try_from(entries), limits.entries_per_second) {
            let earlier = self.paced_until.and_then(|until| until.checked_sub(time_of(unused, rate)).ok());
            self.paced_until = earlier.map(|until| until.max(now));
        }
        let block = self.block.as_mut().filter(|block| Some(block.day) == of);
        match (u64::try_from(entries), block) {
            (Ok(unused), Some(block)) => block.left += unused,
            (Ok(_), None) => {}
            (Err(_), block) => {
                let extra = entries.unsigned_abs();
                let of_block = block.map_or(0, |block| {
                    let taken = block.left.min(extra);
                    block.left -= taken;
                    taken
                });
                if limits.max_entries_per_day.is_some() {
                    self.overdrawn += extra - of_block;
                }
            }
        }
    }

    /// Takes out what nobody took `for_so_long`. It counts for nothing here until it is known not to be written: what was
    /// written may be granted to others already. What was acted on beyond what the status says is kept until it is known
    /// to be [`settled`](Self::settled).
    pub fn settle(
        &mut self,
        limits: &BudgetLimits,
        spent: Option<Spent>,
        for_so_long: SignedDuration,
        now: Timestamp,
    ) -> Option<Settlement> {
        let day = limits.counted_day(spent, now);
        let is_idle = self.taken_at.is_none_or(|at| now.duration_since(at) >= for_so_long);
        let spent = spent.filter(|spent| spent.day == day)?;
        let left = self.block.as_ref().filter(|block| block.day == day).map_or(0, |block| block.left);
        let entries = spent.entries.saturating_sub(left).saturating_add(self.overdrawn);
        if !is_idle || (left == 0 && self.overdrawn == 0) {
            return None;
        }
        Some(Settlement { next: Spent { day, entries }, block: self.block.take(), overdrawn: self.overdrawn })
    }

    /// A settlement was written down. A settlement whose outcome is unknown is dropped: what it would have given back stays
    /// spent, and what was overdrawn may count twice.
    pub fn settled(&mut self, settlement: &Settlement) {
        self.overdrawn = self.overdrawn.saturating_sub(settlement.overdrawn);
    }

    /// A settlement was not written down.
    pub fn not_settled(&mut self, settlement: Settlement) {
        self.block = settlement.block;
    }
}

/// How long so many entries take.
fn time_of(entries: u64, rate: u32) -> SignedDuration {
    let nanos = u128::from(entries) * 1_000_000_000 / u128::from(rate.max(1));
    SignedDuration::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

fn after(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
