//! What can go wrong in a reconcile, and when it is tried again.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use thiserror::Error;
use tracing::warn;

use super::context::Context;
use super::head::PolicyHead;
use super::persist::PersistError;
use super::report::Named;
use dlq_policy::run::backoff;
use dlq_upstash::error::with_causes;

/// The shortest wait after an error.
const SHORTEST: Duration = Duration::from_millis(500);

/// A step of a reconcile that failed. None is the user's: those are conditions.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The fresh read.
    #[error("cannot read the policy")]
    Observe(#[source] Box<kube::Error>),
    /// The Secret.
    #[error("cannot read the Secret")]
    Secret(#[source] Box<kube::Error>),
    /// No answer from the API server in time.
    #[error("no answer from the API server in time, while {0}")]
    Timeout(&'static str),
    /// The status.
    #[error("cannot write the status")]
    Persist(#[source] PersistError),
    /// The run's state could not be written for too long.
    #[error("cannot write the run's checkpoint: {0}")]
    Checkpoint(String),
    /// A bug: caught, so that one policy does not stop all.
    #[error("the reconcile panicked; please report this as a bug")]
    Panicked,
}

impl Error {
    /// Whether the API server has no answer for anybody, as far as one can tell: the next policy would fare no better.
    pub(crate) fn is_of_everybody(&self) -> bool {
        match self {
            Self::Timeout(_) => true,
            Self::Observe(error) | Self::Secret(error) => match &**error {
                kube::Error::Api(status) => status.code == 429 || status.code >= 500,
                _ => true,
            },
            Self::Persist(_) | Self::Checkpoint(_) | Self::Panicked => false,
        }
    }

    /// What [`Error::reason`] can be.
    pub(crate) const REASONS: [&'static str; 6] =
        ["read_policy", "read_secret", "timeout", "write_status", "checkpoint", "panic"];

    /// The step that failed, in a word, for metrics.
    pub(crate) fn reason(&self) -> &'static str {
        let [read_policy, read_secret, timeout, write_status, checkpoint, panic] = Self::REASONS;
        match self {
            Self::Observe(_) => read_policy,
            Self::Secret(_) => read_secret,
            Self::Timeout(_) => timeout,
            Self::Persist(_) => write_status,
            Self::Checkpoint(_) => checkpoint,
            Self::Panicked => panic,
        }
    }
}

/// Tries again later and later, each policy by itself.
#[expect(clippy::needless_pass_by_value, reason = "the controller's signature")]
pub(crate) fn error_policy(head: Arc<PolicyHead>, error: &Error, context: Arc<Context>) -> Action {
    let policy = ObjectRef::from_obj(&*head);
    let problem = with_causes(error);
    let failures = context.memory.failed(policy.clone());
    let wait = SHORTEST + backoff::delay(failures, fastrand::f64());
    warn!(policy = %Named(&policy), problem, failures, "reconcile failed");
    Action::requeue(wait)
}
