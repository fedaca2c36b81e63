//! Where a turn stands: what is done, and what is under way.

use jiff::{SignedDuration, Timestamp};

use super::effect::{CallId, Next};
use super::held::after;
use super::purpose::Purpose;
use crate::run::Activity;
use dlq_crd::DlqPolicyStatus;
use dlq_upstash::types::Call;

/// What is done.
#[derive(Debug)]
pub(super) enum Stage {
    Observe,
    Decide,
    Write(Box<Write>),
    /// The decision that is written once it is known whether calls can be made.
    Permit(Option<Box<DlqPolicyStatus>>),
    Work,
    /// A look, and when the next turn is but for looks.
    Look(Next),
    /// The token was refused, with these words.
    Refused(String),
    Done(Next),
}

/// A write to be done.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) what: What,
    pub(super) then: Then,
    pub(super) sent: Option<DlqPolicyStatus>,
    /// The fence did not hold, as far as the API server says.
    pub(super) is_refused: bool,
}

/// What is written.
#[derive(Debug)]
pub(super) enum What {
    /// A decision on what was seen.
    Decision { next: Box<DlqPolicyStatus>, purpose: Purpose },
    /// What the run did so far, and what it does now.
    Checkpoint(Activity),
    /// The run without a holder, until somebody approves it.
    Ask,
    /// Its end.
    Finish,
    /// The run without a holder, so that another process can take it up.
    Release,
}

/// What comes after a write.
#[derive(Clone, Debug)]
pub(super) enum Then {
    Decide,
    Permit,
    Work,
    /// A look, and then as in [`Stage::Look`].
    Look(Next),
    HandBack(Next),
}

impl What {
    pub(super) fn decision(next: DlqPolicyStatus, purpose: Purpose) -> Self {
        Self::Decision { next: Box::new(next), purpose }
    }

    pub(super) fn purpose(&self) -> Purpose {
        match self {
            Self::Decision { purpose, .. } => *purpose,
            Self::Checkpoint(_) => Purpose::Checkpoint,
            Self::Ask => Purpose::Ask,
            Self::Finish => Purpose::Finish,
            Self::Release => Purpose::Release,
        }
    }
}

impl Write {
    /// Whether it is the last one of a turn that is to stop.
    pub(super) fn ends_turn(&self) -> bool {
        self.what.purpose().ends_work()
    }

    /// Whether calls may be made while it fails.
    pub(super) fn is_beside_work(&self) -> bool {
        matches!((&self.what, &self.then), (What::Checkpoint(_), Then::Work))
    }
}

impl Stage {
    pub(super) fn write(what: What, then: Then) -> Self {
        Self::Write(Box::new(Write { what, then, sent: None, is_refused: false }))
    }

    pub(super) fn after(then: Then) -> Self {
        match then {
            Then::Decide => Self::Decide,
            Then::Permit => Self::Permit(None),
            Then::Work => Self::Work,
            Then::Look(again) => Self::Look(again),
            Then::HandBack(next) => Self::Done(next),
        }
    }
}

/// A call without an answer yet.
#[derive(Debug)]
pub(super) struct CallUnderWay {
    pub(super) id: CallId,
    pub(super) call: Call,
    /// When something ends the run: since when, and until when an answer is waited for.
    pub(super) ends: Option<(Timestamp, Timestamp)>,
}

impl CallUnderWay {
    pub(super) fn new(id: CallId, call: Call) -> Self {
        Self { id, call, ends: None }
    }

    pub(super) fn end_within(&mut self, grace: SignedDuration, now: Timestamp) {
        let until = after(now, grace);
        let until = self.ends.map_or(until, |(_, earlier)| earlier.min(until));
        self.ends = Some((now, until));
    }

    /// A clock that was set back ends it.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.ends.is_some_and(|(since, until)| now < since || until <= now)
    }
}
