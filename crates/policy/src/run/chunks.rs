//! How many IDs go into one call.

use dlq_upstash::types::{DlqId, MAX_FILTER_BYTES};

/// The most that one call takes.
pub(crate) const MAX_CHUNK: usize = 50;

/// How many of these IDs, from the first one on, fit into one call's query; at least one.
pub(crate) fn fitting(ids: &[DlqId]) -> usize {
    let mut room = MAX_FILTER_BYTES;
    let fits = |id: &&DlqId| match room.checked_sub(id.query_bytes()) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    };
    ids.iter().take(MAX_CHUNK).take_while(fits).count().max(1)
}

/// The chunks to come. A chunk with a bad ID, which is missing or cannot be acted on, is refused as a whole; it is halved
/// until the bad ones stand alone.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    /// The next one last.
    pending: Vec<Chunk>,
    /// How many IDs from the next one on may have been acted on without our knowing.
    uncertain: usize,
}

#[derive(Clone, Copy, Debug)]
struct Chunk {
    size: usize,
    holds_bad: HoldsBad,
}

/// Whether a chunk holds a bad ID.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum HoldsBad {
    Unknown,
    /// If the chunk before it, the other part of one that was refused, holds none.
    Instead,
    /// It would be refused: it is halved without asking.
    Yes,
}

impl Chunks {
    /// Chunks of IDs, any of which may have been acted on by calls that this process knows nothing of.
    pub(crate) fn in_doubt() -> Self {
        Self { pending: Vec::new(), uncertain: usize::MAX }
    }

    /// Chunks of so many IDs, at least one of which is refused.
    pub(crate) fn of_refused(size: usize) -> Self {
        let chunk = Chunk { size, holds_bad: HoldsBad::Yes };
        Self { pending: if size > 0 { vec![chunk] } else { Vec::new() }, uncertain: 0 }
    }

    /// The size of the next chunk, of `rest` IDs that are left and at most `most`.
    pub(crate) fn next(&mut self, rest: usize, most: usize) -> usize {
        let most = most.min(rest).clamp(1, MAX_CHUNK);
        loop {
            match self.pending.last().copied() {
                None => self.push(most, HoldsBad::Unknown),
                Some(Chunk { size, holds_bad: HoldsBad::Yes }) if size > 1 => {
                    self.split(size, (size / 2).min(most), HoldsBad::Instead);
                }
                Some(Chunk { size, holds_bad }) if size > most => self.split(size, most, holds_bad),
                Some(Chunk { size, .. }) => return size,
            }
        }
    }

    /// The chunk of `size` holds a bad ID.
    pub(crate) fn halve(&mut self, size: usize) {
        self.split(size, size / 2, HoldsBad::Instead);
        // One is found: what else there is to find nobody knows.
        let before = self.pending.len().checked_sub(3).and_then(|index| self.pending.get_mut(index));
        if let Some(chunk) = before.filter(|chunk| chunk.holds_bad == HoldsBad::Instead) {
            chunk.holds_bad = HoldsBad::Unknown;
        }
    }

    /// The chunk's outcome is unknown.
    pub(crate) fn doubt(&mut self) {
        self.uncertain = self.uncertain.max(self.pending.last().map_or(1, |chunk| chunk.size));
    }

    /// Whether the next chunk may have been acted on before.
    pub(crate) fn is_uncertain(&self) -> bool {
        self.uncertain > 0
    }

    /// The chunk is done, with or without a bad ID.
    pub(crate) fn done(&mut self, is_whole: bool) {
        let size = self.pending.pop().map_or(1, |chunk| chunk.size);
        self.uncertain = self.uncertain.saturating_sub(size);
        if let Some(next) = self.pending.last_mut().filter(|next| next.holds_bad == HoldsBad::Instead) {
            next.holds_bad = if is_whole { HoldsBad::Yes } else { HoldsBad::Unknown };
        }
    }

    /// Puts two chunks in the place of the next one.
    fn split(&mut self, size: usize, first: usize, second_holds_bad: HoldsBad) {
        self.pending.pop();
        self.push(size - first, second_holds_bad);
        self.push(first, HoldsBad::Unknown);
    }

    fn push(&mut self, size: usize, holds_bad: HoldsBad) {
        self.pending.push(Chunk { size, holds_bad });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_chunk_is_larger_than_what_may_be_sent_now_and_none_is_empty() {
        let mut chunks = Chunks::default();
        assert_eq!(chunks.next(10, 10), 10);
        assert_eq!(chunks.next(10, 4), 4, "fewer may be sent by now");
        chunks.done(true);
        assert_eq!(chunks.next(6, 10), 6);
        assert_eq!(Chunks::of_refused(0).next(3, 50), 3);
    }

    /// Sends `ids` (true: in the DLQ) in chunks; how many calls it took, and the missing ones found.
    fn calls(ids: &[bool]) -> (usize, usize) {
        let (mut chunks, mut position, mut calls, mut missing) = (Chunks::default(), 0, 0, 0);
        while position < ids.len() {
            let size = chunks.next(ids.len() - position, MAX_CHUNK);
            calls += 1;
            if ids[position..position + size].iter().all(|there| *there) {
                chunks.done(true);
                position += size;
            } else if size == 1 {
                chunks.done(false);
                position += 1;
                missing += 1;
            } else {
                chunks.halve(size);
            }
        }
        (calls, missing)
    }

    #[test]
    fn ids_go_in_chunks_of_fifty() {
        assert_eq!(calls(&[true; 120]), (3, 0));
        assert_eq!(calls(&[true; 50]), (1, 0));
        assert_eq!(calls(&[true; 51]), (2, 0));
    }

    #[test]
    fn long_ids_go_in_smaller_chunks() {
        let ids = |text: &str| vec![DlqId(text.to_owned()); 1000];
        // `:` takes three bytes in a query.
        let table =
            [("dlq-1", 50), (&*"x".repeat(256), 29), (&*":".repeat(256), 10), (&*"x".repeat(9000), 1)];
        for (id, fit) in table {
            assert_eq!(fitting(&ids(id)), fit, "{id}");
            assert_eq!(fitting(&ids(id)[..3]), fit.min(3), "{id}");
        }
        assert_eq!(fitting(&[]), 1);
    }

    #[test]
    fn a_half_that_must_hold_the_missing_id_is_not_asked_as_a_whole() {
        let costs: Vec<_> = (0..64)
            .map(|place| {
                let mut ids = [true; 64];
                ids[place] = false;
                // Two chunks, of 50 and 14, one of which is refused.
                let (calls, missing) = calls(&ids);
                assert_eq!(missing, 1);
                calls
            })
            .collect();
        assert!(costs.iter().all(|calls| (6..=14).contains(calls)), "{costs:?}");
        assert!(costs.iter().sum::<usize>() <= 64 * 11, "{costs:?}");
    }

    #[test]
    fn every_missing_id_is_found() {
        for step in [1, 2, 3, 7, 49] {
            let ids: Vec<_> = (0..100).map(|index| index % step != 0).collect();
            assert_eq!(calls(&ids).1, ids.iter().filter(|there| !**there).count());
        }
    }

    #[test]
    fn doubt_lasts_for_the_chunk_it_fell_on() {
        let mut chunks = Chunks::default();
        assert_eq!(chunks.next(100, 50), 50);
        chunks.doubt();
        chunks.halve(50);
        assert_eq!(chunks.next(100, 50), 25);
        chunks.done(false);
        assert!(chunks.is_uncertain());
        assert_eq!(chunks.next(75, 50), 25);
        chunks.done(true);
        assert!(!chunks.is_uncertain());
    }
}
