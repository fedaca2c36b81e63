//! Writes of a status without an answer: each may have been done, or be done yet.

use std::collections::VecDeque;

use super::{Changes, changes, ended, is_same};
use crate::Policy;
use crate::status::is_next_revision;
use dlq_crd::{DlqPolicyStatus, PolicyRun, Skipped};

/// So many are known again, the newest.
const MOST_SENT: usize = 4;

/// What was written since the status that was last told of, as far as anybody knows. At most one of the writes is ever
/// done: each has the same precondition.
#[derive(Clone, Debug)]
pub struct InDoubt {
    told: DlqPolicyStatus,
    sent: VecDeque<DlqPolicyStatus>,
}

/// What a read says of writes in doubt.
#[derive(Clone, Debug)]
pub enum Settled {
    /// One was done: this is to be told.
    Done(Box<Changes>),
    /// None was done so far.
    Open(Box<InDoubt>),
    /// None was done, and none will be: another process wrote.
    Overtaken,
}

impl InDoubt {
    /// A write of `sent`, in place of a status that was told of.
    pub fn new(told: &DlqPolicyStatus, sent: DlqPolicyStatus) -> Self {
        Self { told: told.clone(), sent: VecDeque::new() }.and(sent)
    }

    /// Another write in place of the same status.
    #[must_use]
    pub fn and(mut self, sent: DlqPolicyStatus) -> Self {
        // A run's state is known by its revision, whatever was sent: there may be many runs, and a checkpoint is large.
        let is_checkpoint = is_next_revision(self.told.current_run.as_ref(), sent.current_run.as_ref());
        if !is_checkpoint && !self.sent.contains(&sent) {
            self.sent.truncate(MOST_SENT - 1);
            self.sent.push_front(sent);
        }
        self
    }

    /// What became of it, now that `read` was read.
    pub fn settle(self, policy: &Policy, read: &DlqPolicyStatus) -> Settled {
        let told = self.told.current_run.as_ref();
        if is_next_revision(told, read.current_run.as_ref()) {
            // Nobody else writes in its holder's name.
            return Settled::Done(Box::new(changes(policy, &self.told, read)));
        }
        if let Some(sent) = self.sent.iter().find(|sent| is_done(&self.told, sent, read)) {
            return Settled::Done(Box::new(changes(policy, &self.told, sent)));
        }
        let fence = |run: &PolicyRun| (run.id.clone(), run.start_time, run.holder.clone(), run.revision);
        let is_unchanged = match told {
            Some(run) => read.current_run.as_ref().map(fence) == Some(fence(run)),
            None => *read == self.told,
        };
        if is_unchanged { Settled::Open(Box::new(self)) } else { Settled::Overtaken }
    }
}

/// Whether what was sent is what was read, or was before others wrote: that a run began or ended stays to be seen.
fn is_done(told: &DlqPolicyStatus, sent: &DlqPolicyStatus, read: &DlqPolicyStatus) -> bool {
    let began = sent.current_run.as_ref().filter(|run| !is_same(told.current_run.as_ref(), run));
    let end_sent = ended(told, sent);
    let has_begun =
        |run: &PolicyRun| read.current_run.iter().chain(&read.last_run).any(|read| is_same(Some(read), run));
    // Another process may have ended the run within the same millisecond. A cursor may be left away later on, what came
    // back is counted later on, and an older definition lacks some counts.
    let end = |run: &PolicyRun| PolicyRun {
        cursor: None,
        left_alone: 0,
        skipped: Skipped::default(),
        exhausted: 0,
        returned: 0,
        ..run.clone()
    };
    let has_ended = |run: &PolicyRun| read.last_run.as_ref().map(end) == Some(end(run));
    began.is_some_and(has_begun) || end_sent.is_some_and(has_ended) || sent == read
}
