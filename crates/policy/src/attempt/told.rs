//! What a turn tells: what failed, what is new in a status, and what no status says.

use jiff::SignedDuration;

use super::purpose::Purpose;
use crate::Plan;
use crate::changes::Changes;
use dlq_crd::PolicyRun;
use dlq_upstash::types::Operation;

/// A piece of IO that failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{problem}")]
pub struct Trouble {
    /// What was tried.
    pub step: FailedStep,
    /// What went wrong, with its causes.
    pub problem: String,
    /// Whether the API server has no answer for anybody, as far as one can tell.
    pub is_of_everybody: bool,
}

/// What was tried when something went wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FailedStep {
    /// Reading the policy.
    ReadPolicy,
    /// Reading the Secret.
    ReadSecret,
    /// Writing a decision.
    WriteStatus,
    /// Writing a state of the run, for too long.
    Checkpoint,
    /// Any of them, without an answer in time.
    Timeout,
}

/// Something to tell.
#[derive(Clone, Debug)]
pub enum Told {
    /// What a status that was written says.
    Changes {
        /// Of which object.
        uid: String,
        /// What is new.
        changes: Box<Changes>,
    },
    /// What no status says.
    Notice(Notice),
}

/// What a turn did or met that no status says, for the log.
#[derive(Clone, Debug)]
pub enum Notice {
    /// What is to be done.
    Planned(Box<Plan>),
    /// A run is about to be claimed.
    Starts {
        /// The run.
        run: Box<PolicyRun>,
        /// As in [`Seen`](super::Seen).
        clock_offset: SignedDuration,
    },
    /// A run of another process is about to be taken over.
    TakesOver(Box<PolicyRun>),
    /// A run was approved, and is about to act.
    Approved(Box<PolicyRun>),
    /// The token was refused, and the Secret has a newer one.
    TokenChanged,
    /// The answer to a call is not waited for any more.
    Abandoned {
        /// Of which run.
        run_id: String,
        /// The call.
        operation: Operation,
    },
    /// A state of the run was not written.
    NotWritten {
        /// Of which run.
        run_id: String,
        /// What it was for.
        purpose: Purpose,
        /// What went wrong.
        problem: String,
    },
    /// The run is another process', or its policy is gone.
    Lost {
        /// Which run.
        run_id: String,
        /// What was to be written.
        purpose: Purpose,
    },
    /// Others wrote before or after a write that got no answer: what became of it is not known.
    Overtaken,
    /// What waits was not counted, as something else was to be done.
    LookGivenUp,
    /// The run is left, as its policy is gone or another's to manage.
    Left(Box<PolicyRun>),
}
