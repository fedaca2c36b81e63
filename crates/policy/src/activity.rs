//! What a run does while it goes on.

use dlq_crd::Reason;

/// What a run does while it goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Activity {
    /// Calls are made.
    Working,
    /// Upstash asked to wait.
    Throttled,
    /// A call that failed is repeated later.
    Retrying,
    /// All slots are taken.
    Queued,
}

impl Activity {
    pub(crate) fn reason(self) -> Reason {
        match self {
            Self::Working => Reason::RunInProgress,
            Self::Throttled => Reason::Throttled,
            Self::Retrying => Reason::Retrying,
            Self::Queued => Reason::Queued,
        }
    }

    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::Working => "a run goes on",
            Self::Throttled => "a run waits because Upstash asked for it",
            Self::Retrying => "a run waits to repeat a call that failed",
            Self::Queued => "a run waits for a free slot",
        }
    }
}
