//! A run that this process works on, between two turns and during one.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::effect::{AccountId, Seen};
use crate::Progress;
use crate::backlog::Tried;
use crate::changes::InDoubt;
use crate::run::Outcome;
use crate::spec::Policy;
use dlq_crd::{DlqPolicyStatus, PolicyRun};

/// How long to wait before a write that failed is tried again.
pub(super) const WRITE_RETRY: SignedDuration = SignedDuration::from_millis(250);
/// How long a write of the run may fail: no call is made after that.
pub(super) const LONGEST_UNSAVED: SignedDuration = SignedDuration::from_secs(5);

/// What a process knows of a policy from one turn to the next.
#[derive(Debug, Default)]
pub struct Kept {
    pub(super) held: Option<HeldRun>,
    pub(super) doubt: Option<Doubt>,
    pub(super) tried: Option<Tried>,
}

impl Kept {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        let Self { held, doubt, tried } = self;
        held.is_none() && doubt.is_none() && tried.is_none()
    }

    /// Whether there is a run that this process works on.
    pub fn holds_run(&self) -> bool {
        self.held.is_some()
    }

    /// That run.
    pub fn run(&self) -> Option<&PolicyRun> {
        self.held.as_ref().map(|held| held.progress.run())
    }

    /// The account with which it does.
    pub fn account(&self) -> Option<AccountId> {
        self.held.as_ref().map(|held| held.account)
    }

    /// Whether a write got no answer.
    pub fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }
}

/// A run that this process works on.
#[derive(Debug)]
pub(super) struct HeldRun {
    pub(super) progress: Progress,
    pub(super) account: AccountId,
    /// The version of its Secret.
    pub(super) version: String,
    /// After how many pages the Secret was read again, as the token was refused. Once for each token that worked.
    pub(super) looked_again_at: Option<i64>,
    /// How it ended, until that is written.
    pub(super) outcome: Option<Outcome>,
    /// Since when it waits for a permit.
    pub(super) queued_since: Option<Timestamp>,
    /// What it was last seen as, and the policy that was acted on: to give it back without a read.
    pub(super) seen: Arc<Seen>,
    pub(super) policy: Arc<Policy>,
}

impl HeldRun {
    /// Whether it is the run in this status, in this process' hands.
    pub(super) fn is_in(&self, seen: &Seen, holder: &str) -> bool {
        let ours = self.progress.run();
        seen.uid == self.seen.uid
            && seen.status.current_run.as_ref().is_some_and(|run| {
                (&run.id, run.start_time, run.holder.as_deref()) == (&ours.id, ours.start_time, Some(holder))
            })
    }
}

/// Writes of a policy's status without an answer.
#[derive(Debug)]
pub(super) struct Doubt {
    /// A policy of the same name may have another one by now.
    pub(super) uid: String,
    pub(super) writes: InDoubt,
}

impl Doubt {
    /// One more write, in place of what was seen.
    pub(super) fn and(known: Option<Self>, seen: &Seen, sent: DlqPolicyStatus) -> Self {
        // Of an unreadable status only the conditions can be compared.
        let sent = if seen.is_status_readable {
            sent
        } else {
            DlqPolicyStatus { conditions: sent.conditions, ..DlqPolicyStatus::default() }
        };
        let writes = match known.filter(|known| known.uid == seen.uid) {
            Some(known) => known.writes.and(sent),
            None => InDoubt::new(&seen.status, sent),
        };
        Self { uid: seen.uid.clone(), writes }
    }
}

/// What of the run is not written yet, and for how long that has failed.
#[derive(Debug)]
pub(super) struct Saving {
    saved: Timestamp,
    has_landed: bool,
    failing_since: Option<Timestamp>,
    tried: Option<Timestamp>,
}

impl Saving {
    pub(super) fn since(now: Timestamp) -> Self {
        Self { saved: now, has_landed: false, failing_since: None, tried: None }
    }

    /// A call changed the run.
    pub(super) fn landed(&mut self) {
        self.has_landed = true;
    }

    /// Whether to write beside further calls.
    pub(super) fn is_due(&self, interval: SignedDuration, now: Timestamp) -> bool {
        self.has_landed && has_passed(self.saved, interval, now) && self.retry_at(now).is_none()
    }

    /// A write is sent: should it fail, it has failed since now. What calls change from now on is for the next one.
    pub(super) fn sent(&mut self, now: Timestamp) {
        self.failing_since.get_or_insert(now);
        self.has_landed = false;
    }

    /// The write was done.
    pub(super) fn done(&mut self, now: Timestamp) {
        *self = Self { has_landed: self.has_landed, ..Self::since(now) };
    }

    pub(super) fn failed(&mut self, now: Timestamp) {
        self.sent(now);
        self.has_landed = true;
        self.tried = Some(now);
    }

    /// When to try again, if that is to come. After a failure not for every page: a server in trouble must not be asked as
    /// often as Upstash answers.
    pub(super) fn retry_at(&self, now: Timestamp) -> Option<Timestamp> {
        let tried = self.tried?;
        (!has_passed(tried, WRITE_RETRY, now)).then(|| after(tried, WRITE_RETRY))
    }

    /// Whether it has failed for as long as it may.
    pub(super) fn is_stuck(&self, now: Timestamp) -> bool {
        self.failing_since.is_some_and(|since| has_passed(since, LONGEST_UNSAVED, now))
    }
}

/// Whether so much time has passed. A clock that was set back makes no wait longer.
pub(super) fn has_passed(since: Timestamp, time: SignedDuration, now: Timestamp) -> bool {
    let passed = now.duration_since(since);
    passed.is_negative() || passed >= time
}

/// So much later.
pub(super) fn after(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}
