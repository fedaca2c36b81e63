//! What a run does now.

use dlq_crd::{PolicyRun, Reason, WaitingReason};

/// What a run does now.
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
    /// What the run says that it does. A wait for a slot is not kept: the next request for one starts over.
    pub(crate) fn of(run: &PolicyRun) -> Self {
        match run.waiting_reason {
            Some(WaitingReason::Throttled) => Self::Throttled,
            Some(WaitingReason::Retrying) => Self::Retrying,
            Some(WaitingReason::Queued) | None => Self::Working,
        }
    }

    pub(crate) fn reason(self) -> Reason {
        match self {
            Self::Working => Reason::RunInProgress,
            Self::Throttled => Reason::Throttled,
            Self::Retrying => Reason::Retrying,
            Self::Queued => Reason::Queued,
        }
    }

    /// Why the run waits, if it does.
    pub(crate) fn waiting_reason(self) -> Option<WaitingReason> {
        match self {
            Self::Working => None,
            Self::Throttled => Some(WaitingReason::Throttled),
            Self::Retrying => Some(WaitingReason::Retrying),
            Self::Queued => Some(WaitingReason::Queued),
        }
    }

    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::Working => "a run is in progress",
            Self::Throttled => "a run waits because Upstash asked for it",
            Self::Retrying => "a run waits to repeat a call that failed",
            Self::Queued => "a run waits for a free slot",
        }
    }
}
