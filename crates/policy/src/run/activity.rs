//! What a run does now.

use super::approval;
use super::outcome::{above_threshold, with_advice};
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
    /// Somebody has to approve the run.
    AwaitingApproval,
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
            Self::AwaitingApproval => Reason::AwaitingApproval,
        }
    }

    /// Why the run waits, if it does.
    pub(crate) fn waiting_reason(self) -> Option<WaitingReason> {
        match self {
            Self::Working | Self::AwaitingApproval => None,
            Self::Throttled => Some(WaitingReason::Throttled),
            Self::Retrying => Some(WaitingReason::Retrying),
            Self::Queued => Some(WaitingReason::Queued),
        }
    }

    /// What is said of it.
    pub(crate) fn message(self, run: Option<&PolicyRun>) -> String {
        match (self, run) {
            (Self::Working, Some(run)) if approval::is_counting(run) => {
                "a run counts what it would act on, as limits.approvalAbove is set".to_owned()
            }
            (Self::Working, _) => "a run is in progress".to_owned(),
            (Self::Throttled, _) => "a run waits because Upstash asked for it".to_owned(),
            (Self::Retrying, _) => "a run waits to repeat a call that failed".to_owned(),
            (Self::Queued, _) => "a run waits for a free slot".to_owned(),
            (Self::AwaitingApproval, run) => {
                let why = run.map_or_else(|| "a run waits for an approval".to_owned(), above_threshold);
                let id = run.and_then(approval::awaited).unwrap_or_default();
                with_advice(&why, &format!("to start the run, set dlq-operator.dev/approvedRun to {id}"))
            }
        }
    }
}
