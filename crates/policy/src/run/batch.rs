//! Entries that are named in calls, one call after another until all of them are done.

use super::attempts::NewLabels;
use super::chunks::Chunks;
use dlq_upstash::types::DlqId;

/// At most as many entries as one call takes. What is refused is taken apart.
#[derive(Debug)]
pub(crate) struct Batch {
    /// What tells it apart from the run's others.
    pub(crate) number: u32,
    ids: Vec<DlqId>,
    done: usize,
    pub(crate) chunks: Chunks,
    /// The labels of the new workflow runs.
    pub(crate) labels: NewLabels,
    /// Of `dlqIds`: what is counted once everything before it is done.
    pub(crate) not_found: i64,
    pub(crate) rejected: i64,
}

impl Batch {
    pub(crate) fn new(number: u32, ids: Vec<DlqId>, labels: NewLabels, chunks: Chunks) -> Self {
        Self { number, ids, done: 0, chunks, labels, not_found: 0, rejected: 0 }
    }

    /// What is left.
    pub(crate) fn rest(&self) -> &[DlqId] {
        self.ids.get(self.done..).unwrap_or_default()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.rest().is_empty()
    }

    /// The entries of the next call, at most so many.
    pub(crate) fn next(&mut self, most: usize) -> Vec<DlqId> {
        let left = self.ids.len() - self.done.min(self.ids.len());
        let size = self.chunks.next(left, most);
        self.rest().iter().take(size).cloned().collect()
    }

    /// So many entries are done, however it went. Which they were.
    pub(crate) fn pass(&mut self, sent: usize, is_whole: bool) -> Vec<DlqId> {
        let passed = self.rest().iter().take(sent).cloned().collect();
        self.done += sent;
        self.chunks.done(is_whole);
        passed
    }

    /// Takes what is done since the last time: how many entries, and of them those not found and those refused.
    pub(crate) fn take_done(&mut self) -> (i64, i64, i64) {
        let done = self.done.min(self.ids.len());
        self.ids.drain(..done);
        self.done = 0;
        let done = i64::try_from(done).unwrap_or(i64::MAX);
        (done, std::mem::take(&mut self.not_found), std::mem::take(&mut self.rejected))
    }
}
