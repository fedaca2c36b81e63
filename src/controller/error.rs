//! What can go wrong in a reconcile, and with a write.

use thiserror::Error;

use dlq_policy::attempt::{FailedStep, Trouble, WriteOutcome};
use dlq_upstash::error::with_causes;

/// A step of a reconcile that failed. None is the user's: those are conditions.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// Some IO.
    #[error(transparent)]
    Trouble(#[from] Trouble),
    /// A bug: caught, so that one policy does not stop all.
    #[error("the reconcile panicked; please report this as a bug")]
    Panicked,
}

impl Error {
    /// Whether the API server has no answer for anybody: the next policy would fare no better.
    pub(crate) fn is_of_everybody(&self) -> bool {
        matches!(self, Self::Trouble(Trouble { is_of_everybody: true, .. }))
    }

    /// What [`Error::reason`] can be.
    pub(crate) const REASONS: [&'static str; 6] =
        ["read_policy", "read_secret", "timeout", "write_status", "checkpoint", "panic"];

    /// The step that failed, in a word, for metrics.
    pub(crate) fn reason(&self) -> &'static str {
        let [read_policy, read_secret, timeout, write_status, checkpoint, panic] = Self::REASONS;
        let Self::Trouble(trouble) = self else { return panic };
        match trouble.step {
            FailedStep::ReadPolicy => read_policy,
            FailedStep::ReadSecret => read_secret,
            FailedStep::Timeout => timeout,
            FailedStep::WriteStatus => write_status,
            FailedStep::Checkpoint => checkpoint,
        }
    }
}

/// A request to the API server that failed.
pub(crate) fn of(step: FailedStep, what: &str, error: &kube::Error) -> Trouble {
    let is_read = matches!(step, FailedStep::ReadPolicy | FailedStep::ReadSecret);
    let is_of_everybody = match error {
        kube::Error::Api(status) => status.code == 429 || status.code >= 500,
        _ => true,
    };
    let problem = format!("{what}: {}", with_causes(error));
    Trouble { step, problem, is_of_everybody: is_read && is_of_everybody }
}

/// A request to the API server without an answer in time.
pub(crate) fn no_answer(while_doing: &str) -> Trouble {
    Trouble {
        step: FailedStep::Timeout,
        problem: format!("no answer from the API server in time, while {while_doing}"),
        is_of_everybody: true,
    }
}

/// Why a status was not written, as far as anybody knows.
#[derive(Debug, Error)]
pub(crate) enum WriteError {
    /// The fence does not hold, or the policy is gone.
    #[error("the policy changed meanwhile")]
    Conflict,
    /// No answer in time: nobody knows whether it was written.
    #[error("no answer in time")]
    Timeout,
    /// No whole answer, or one that leaves it open.
    #[error(transparent)]
    Unknown(Box<kube::Error>),
    /// The API server does not take it.
    #[error(transparent)]
    Refused(Box<kube::Error>),
    /// The status has no JSON form.
    #[error("the status cannot be expressed")]
    Encode(#[from] serde_json::Error),
}

impl WriteError {
    /// What the turn makes of it.
    pub(crate) fn outcome(&self) -> WriteOutcome {
        let trouble = || {
            let problem = format!("cannot write the status: {}", with_causes(self));
            Trouble { step: FailedStep::WriteStatus, problem, is_of_everybody: false }
        };
        match self {
            Self::Conflict => WriteOutcome::Refused,
            Self::Timeout | Self::Unknown(_) => WriteOutcome::InDoubt(trouble()),
            Self::Refused(_) | Self::Encode(_) => WriteOutcome::Failed(trouble()),
        }
    }
}
