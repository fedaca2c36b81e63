//! What IO found out, and what a plan still has to know.

use jiff::SignedDuration;

use crate::spec::invalid::Invalid;
use crate::spec::{ConnectionRef, Policy};
use dlq_crd::DlqPolicyStatus;

/// What IO found out about a policy, beside what the API server says of it.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What was found when somebody looked for the token; none before.
    pub connection: Option<Connectivity>,
    /// What to add to our time to get Upstash's.
    pub clock_offset: SignedDuration,
    /// This process works on the run in the status, and has its token.
    pub holds_run: bool,
}

impl Facts {
    /// Whether the run under way has a token of its own, whatever became of the Secret since.
    pub fn keeps_token(&self, status: &DlqPolicyStatus) -> bool {
        self.holds_run && status.current_run.is_some()
    }

    /// The same, where the policy names a shared connection that is not there: then there is no token to look for.
    pub(super) fn with_what_is_missing(&self, policy: &Policy, status: &DlqPolicyStatus) -> Self {
        let connection = policy.work.as_ref().map(|work| &work.connection);
        let Ok(ConnectionRef::Missing(missing)) = connection else { return self.clone() };
        let connection = if self.keeps_token(status) {
            Connectivity::Lost
        } else {
            Connectivity::Missing(missing.clone())
        };
        Self { connection: Some(connection), ..self.clone() }
    }
}

/// What is known of a policy's connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Connectivity {
    /// There is a token.
    Usable,
    /// There is a token, and Upstash refused it before.
    Refused,
    /// There is none any more, and the run under way keeps the one that it has.
    Lost,
    /// There is none: why, and what to do.
    Missing(Invalid),
}

/// What a plan depends on, and nobody found out yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Question {
    /// Is there a token?
    Connection {
        /// How old the answer may be.
        freshness: Freshness,
    },
}

/// How soon a policy that waits for its Secret is looked at again. What is found is known for as long.
pub const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// How old the answer to a look for a token may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Freshness {
    /// What anybody found within [`LOOK_AGAIN`], without the token: for a policy that waits for it.
    Known,
    /// What was found just now for another policy.
    Shared,
    /// Of this moment: the policy was edited, maybe together with its Secret, or the token that is known was refused.
    New,
}
