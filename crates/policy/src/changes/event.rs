//! An event, and what there is to tell.

use jiff::Timestamp;

use dlq_crd::Reason;

/// One event about a policy or a shared connection. The publisher joins events with the same text into one series.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ObjectEvent {
    /// What happened.
    pub reason: EventReason,
    /// One sentence.
    pub text: String,
    /// Not published before this time, and never if the run has ended by then: of a short run only the end is told.
    pub held_until: Option<Timestamp>,
}

impl ObjectEvent {
    /// An event of this text.
    pub fn new(reason: EventReason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into(), held_until: None }
    }
}

/// What happened to a policy or a shared connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum EventReason {
    /// A run started.
    RunStarted,
    /// A run did its work.
    RunSucceeded,
    /// A dry run counted what matches.
    DryRunSucceeded,
    /// A run stopped at its limit.
    LimitReached,
    /// Somebody ended a run.
    RunCancelled,
    /// The policy was suspended or paused.
    PolicySuspended,
    /// It is so no more.
    PolicyUnsuspended,
    /// The circuit closed.
    CircuitClosed,
    /// A request or a scheduled time came during a run.
    RunAlreadyActive,
    /// A run failed.
    RunFailed,
    /// A scheduled time was missed.
    MissedSchedule,
    /// The policy cannot run as it stands, or the connection cannot be used: the reason of its `Ready` condition.
    NotReady(Reason),
    /// The circuit opened.
    CircuitOpened,
    /// A request came while the policy was suspended or paused, or cannot be read.
    RunRequestIgnored,
    /// The outcome of a call is unknown.
    UncertainPage,
    /// The policy may act on the same workflow runs for ever.
    LoopPossible,
    /// A run waits for an approval.
    AwaitingApproval,
    /// A list showed entries that the policy does not select.
    FilterMismatch,
    /// Entries that wait expire within a day.
    EntriesExpiring,
    /// The token of a shared connection works.
    Connected,
    /// What a shared connection allows in a day is spent.
    BudgetSpent,
}

impl EventReason {
    /// The event's reason.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RunStarted => "RunStarted",
            Self::RunSucceeded => "RunSucceeded",
            Self::DryRunSucceeded => "DryRunSucceeded",
            Self::LimitReached => "LimitReached",
            Self::RunCancelled => "RunCancelled",
            Self::PolicySuspended => "PolicySuspended",
            Self::PolicyUnsuspended => "PolicyUnsuspended",
            Self::CircuitClosed => "CircuitClosed",
            Self::RunAlreadyActive => "RunAlreadyActive",
            Self::RunFailed => "RunFailed",
            Self::MissedSchedule => "MissedSchedule",
            Self::NotReady(reason) => reason.as_str(),
            Self::CircuitOpened => "CircuitOpened",
            Self::RunRequestIgnored => "RunRequestIgnored",
            Self::UncertainPage => "UncertainPage",
            Self::LoopPossible => "LoopPossible",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::FilterMismatch => "FilterMismatch",
            Self::EntriesExpiring => "EntriesExpiring",
            Self::Connected => "Connected",
            Self::BudgetSpent => "BudgetSpent",
        }
    }

    /// Whether it tells of a run's start or end.
    pub fn is_of_a_run(self) -> bool {
        matches!(
            self,
            Self::RunStarted
                | Self::RunSucceeded
                | Self::DryRunSucceeded
                | Self::LimitReached
                | Self::RunCancelled
                | Self::RunFailed
                | Self::NotReady(Reason::Unauthorized | Reason::ReadOnlyToken)
                | Self::UncertainPage
                | Self::FilterMismatch
        )
    }

    /// Whether it tells of a run's end.
    pub fn ends_a_run(self) -> bool {
        matches!(
            self,
            Self::RunSucceeded
                | Self::DryRunSucceeded
                | Self::LimitReached
                | Self::RunCancelled
                | Self::RunFailed
                | Self::NotReady(Reason::Unauthorized | Reason::ReadOnlyToken)
        )
    }

    /// Whether somebody should look.
    pub fn is_warning(self) -> bool {
        match self {
            Self::RunStarted
            | Self::RunSucceeded
            | Self::DryRunSucceeded
            | Self::LimitReached
            | Self::RunCancelled
            | Self::PolicySuspended
            | Self::PolicyUnsuspended
            | Self::CircuitClosed
            | Self::RunAlreadyActive
            | Self::Connected => false,
            Self::RunFailed
            | Self::MissedSchedule
            | Self::NotReady(_)
            | Self::CircuitOpened
            | Self::RunRequestIgnored
            | Self::UncertainPage
            | Self::LoopPossible
            | Self::AwaitingApproval
            | Self::FilterMismatch
            | Self::EntriesExpiring
            | Self::BudgetSpent => true,
        }
    }
}
