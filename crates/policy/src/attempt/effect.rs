//! What a turn asks of its driver, and what the driver tells it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::purpose::Purpose;
use super::told::{Told, Trouble};
use crate::backlog::Look;
use crate::budget::Reserved;
use crate::plan::Freshness;
use crate::spec::{ConnectionRef, Invalid, Policy};
use dlq_crd::{BacklogStatus, DlqPolicyStatus};
use dlq_upstash::error::ApiError;
use dlq_upstash::types::{Call, Page};

/// What to do now.
#[derive(Debug)]
pub enum Action {
    /// Perform this. Exactly one event comes of it, unless the turn is done before. Beside calls there is one at a time.
    Do(Effect),
    /// Drop this call: no event comes of it any more.
    GiveUp(CallId),
    /// Tell this in events, metrics and the log.
    Tell(Box<Told>),
    /// Wait for the next event, until this time at most.
    Wait(Timestamp),
    /// The turn is done.
    Done(Next),
}

/// One piece of IO.
#[derive(Debug)]
pub enum Effect {
    /// Read the policy.
    Read,
    /// Find the token of a connection.
    Resolve {
        /// As whom the policy acts.
        connection: Box<ConnectionRef>,
        /// How old the answer may be.
        freshness: Freshness,
    },
    /// Write the status.
    Write(Box<StatusWrite>),
    /// Ask for an allowance of so many entries of the budget that the connection's policies share.
    Reserve {
        /// Whose.
        account: AccountId,
        /// How many entries at most.
        entries: u64,
    },
    /// Make a random ID, by which a run is approved.
    ApprovalId,
    /// Ask for the right to have a call under way with this account. Once granted it lasts until the turn is done.
    Permit(AccountId),
    /// Ask for the right to have one more call under way beside the others, if it is free and nobody waits for it.
    FurtherPermit(AccountId),
    /// Send one request to Upstash. Several may be under way.
    Call {
        /// What tells it apart.
        id: CallId,
        /// The request.
        call: Box<Call>,
        /// With whose token.
        account: AccountId,
    },
    /// Count what waits, or take what an equal look of the same account found within its interval. Of several such looks at
    /// once one is made. It takes no permit, and as long as it takes.
    Look {
        /// The look, which begins now.
        look: Box<Look>,
        /// With whose token.
        account: AccountId,
    },
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The policy as it stands; none if it is gone.
    Read(Result<Option<Arc<Seen>>, Trouble>),
    /// The token that was found, or what is missing.
    Resolved(Result<Result<Found, Invalid>, Trouble>),
    /// What became of a write.
    Written(WriteOutcome),
    /// Whether a call may be made now, or one more. If none may, the place in line is kept for the next turn.
    Permitted(bool),
    /// What was granted, or why nothing could be reserved.
    Reserved(Result<Reserved, Trouble>),
    /// The ID that was made.
    ApprovalId(String),
    /// What a look found.
    Looked(Looked),
    /// What became of a call.
    Answered(CallId, Answer),
    /// Something else happened that the turn may have to heed.
    Interrupted(Interrupt),
    /// The time that was waited for has come.
    Woken,
}

/// A policy as it stood in the API server.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `metadata.uid`: a policy of the same name may come later.
    pub uid: String,
    /// What its spec and annotations mean.
    pub policy: Arc<Policy>,
    /// Its status, as far as it can be read.
    pub status: DlqPolicyStatus,
    /// Whether `status` says what is stored.
    pub is_status_readable: bool,
    /// What is stored, for the preconditions of writes.
    pub stored: Stored,
    /// What to add to our time to get that of the policy's Upstash, as far as answers told.
    pub clock_offset: SignedDuration,
}

/// What the API server stores.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// `metadata.resourceVersion`.
    pub version: String,
    /// `status`, word for word; null where there is none.
    pub status: Value,
}

/// A write of a status. The port writes what differs from what was seen.
#[derive(Clone, Debug)]
pub struct StatusWrite {
    /// What it was decided on.
    pub seen: Arc<Seen>,
    /// The status to be.
    pub next: DlqPolicyStatus,
    /// What must hold.
    pub fence: Fence,
    /// What it is for.
    pub purpose: Purpose,
}

/// The precondition of a write: one that is out of date fails. Each also tests `metadata.uid`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fence {
    /// Nothing of the object was written since: for one that is older than the turn.
    Version,
    /// The status is the one that was seen. Edits of labels, annotations or the spec since then do not break it: they are
    /// treated as coming just after, and the watch tells of them.
    Status,
    /// The run in the status is this process', in the revision that was seen. Edits by others do not hold it up.
    Run,
}

/// What became of a write.
#[derive(Clone, Debug)]
pub enum WriteOutcome {
    /// It was done: the policy as it stands now.
    Done(Arc<Seen>),
    /// Nothing differs from what was seen: nothing was sent.
    Same,
    /// The fence did not hold.
    Refused,
    /// It was not done.
    Failed(Trouble),
    /// Nobody knows.
    InDoubt(Trouble),
}

/// What tells the calls of a turn apart.
pub type CallId = u32;

/// What tells accounts apart, and tells nothing of the token.
pub type AccountId = u64;

/// A token that was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// Which Secret it is in, in which version.
    pub version: String,
    /// Whose it is. None where others looked: the token was not kept.
    pub account: Option<AccountId>,
}

/// What became of a call.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It was answered.
    Page(Page),
    /// It failed.
    Error {
        /// How.
        error: ApiError,
        /// Spreads retries: between 0 and 1.
        jitter: f64,
    },
    /// It cannot be expressed as a request.
    Unsendable(String),
    /// There was no answer while this process could rely on one.
    TimedOut,
    /// It was not sent, as no time is left for an answer.
    NotSent,
}

/// What became of a look.
#[derive(Clone, Debug)]
pub enum Looked {
    /// It counted what waits.
    Counted(Box<BacklogStatus>),
    /// It found nothing out. Another one is due an interval after this one began.
    Failed {
        /// When it began.
        at: Timestamp,
    },
}

/// What a turn may have to heed. The last one is the strongest.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Interrupt {
    /// Somebody edited the policy.
    Changed,
    /// The policy was deleted, or is no longer this process' to manage.
    Gone,
    /// The process is to stop.
    Stop,
    /// The process no longer leads.
    TermOver,
}

/// When the next turn is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Next {
    /// At once, after others had theirs. A place in line is kept.
    Now,
    /// Then.
    At(Timestamp),
    /// To count what waits in the DLQ, after everything else.
    Look {
        /// When.
        at: Timestamp,
        /// When something else is due, if the turn has not begun by then.
        due: Option<Timestamp>,
    },
    /// When the permit is granted, or then.
    OnPermit(Timestamp),
    /// When the policy changes.
    OnChange,
    /// After a while, longer each time.
    Retry(Trouble),
    /// Never: the policy is gone.
    Forget,
}
