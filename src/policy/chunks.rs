//! How many of a policy's `dlqIds` go into one call.

/// The most that one call takes.
const MAX_CHUNK: usize = 50;

/// Which of the IDs to come may have been acted on by calls that this process knows nothing of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Doubt {
    /// None.
    None,
    /// Those of one call.
    FirstChunk,
    /// Any.
    All,
}

/// The chunks to come. A chunk with a missing ID is refused as a whole; it is halved until the missing ones stand
/// alone.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    /// Sizes, the next one last.
    pending: Vec<usize>,
    /// How many IDs from the next one on may have been acted on without our knowing.
    uncertain: usize,
}

impl Chunks {
    /// Chunks of a run that begins or is taken up again.
    pub(crate) fn new(doubt: Doubt) -> Self {
        let uncertain = match doubt {
            Doubt::None => 0,
            Doubt::FirstChunk => MAX_CHUNK,
            Doubt::All => usize::MAX,
        };
        Self { pending: Vec::new(), uncertain }
    }

    /// The size of the next chunk, of `rest` IDs that are left and at most `most`.
    pub(crate) fn next(&mut self, rest: usize, most: usize) -> usize {
        let size = match self.pending.pop() {
            Some(size) => {
                let now = size.min(most).min(rest);
                if size > now {
                    self.pending.push(size - now);
                }
                now
            }
            None => MAX_CHUNK.min(most).min(rest),
        };
        self.pending.push(size);
        size
    }

    /// The chunk of `size` holds a missing ID.
    pub(crate) fn halve(&mut self, size: usize) {
        self.pending.pop();
        let first = size / 2;
        self.pending.push(size - first);
        self.pending.push(first);
    }

    /// The chunk's outcome is unknown.
    pub(crate) fn doubt(&mut self) {
        self.uncertain = self.uncertain.max(self.pending.last().copied().unwrap_or(1));
    }

    /// Whether the next chunk may have been acted on before.
    pub(crate) fn is_uncertain(&self) -> bool {
        self.uncertain > 0
    }

    /// The chunk is done.
    pub(crate) fn done(&mut self) {
        let size = self.pending.pop().unwrap_or(1);
        self.uncertain = self.uncertain.saturating_sub(size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `ids` (true: in the DLQ) in chunks; how many calls it took, and the missing ones found.
    fn calls(ids: &[bool]) -> (usize, usize) {
        let (mut chunks, mut position, mut calls, mut missing) = (Chunks::default(), 0, 0, 0);
        while position < ids.len() {
            let size = chunks.next(ids.len() - position, MAX_CHUNK);
            calls += 1;
            if ids[position..position + size].iter().all(|there| *there) {
                chunks.done();
                position += size;
            } else if size == 1 {
                chunks.done();
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
    fn a_missing_id_costs_about_two_calls_per_halving() {
        let mut ids = [true; 50];
        ids[17] = false;
        let (calls, missing) = calls(&ids);
        assert_eq!(missing, 1);
        assert!(calls <= 13, "{calls} calls");
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
        chunks.done();
        assert!(chunks.is_uncertain());
        assert_eq!(chunks.next(75, 50), 25);
        chunks.done();
        assert!(!chunks.is_uncertain());
    }
}
