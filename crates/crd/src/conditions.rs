//! The condition types and the one list of reasons, shared by conditions, runs and events.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words::undescribed;

/// The types of `status.conditions`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ConditionType {
    /// Whether the policy is accepted and able to run.
    Ready,
    /// Whether a run is in progress.
    Running,
    /// How the last run that ended went.
    LastRunSucceeded,
    /// kstatus: not ready yet, but that may come by itself. Absent when not so.
    Reconciling,
    /// kstatus: not ready, and somebody has to act. Absent when not so.
    Stalled,
}

impl ConditionType {
    /// The type as it stands in the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Running => "Running",
            Self::LastRunSucceeded => "LastRunSucceeded",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
        }
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a condition is as it is or a run ended as it did.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = undescribed)]
pub enum Reason {
    /// The policy waits for the next scheduled time.
    Scheduled,
    /// The policy has no schedule and has done its work; or no run is in progress.
    Idle,
    /// `spec.suspend` is true.
    Suspended,
    /// The annotation `paused` or the flag `--pause-all` holds the policy.
    Paused,
    /// The object cannot be read, or a rule beyond the API server's does not hold.
    InvalidSpec,
    /// The schedule cannot be read or never fires.
    InvalidSchedule,
    /// The time zone is not known.
    InvalidTimeZone,
    /// No connection is given, and the operator's default is not for this namespace.
    NoConnection,
    /// The Secret with the token does not exist.
    SecretNotFound,
    /// The Secret has no such key.
    SecretKeyNotFound,
    /// The Secret's value cannot be a token.
    SecretInvalid,
    /// Upstash refused the token.
    Unauthorized,
    /// The token may list but not act.
    ReadOnlyToken,
    /// The token of a shared connection works.
    Connected,
    /// There is no connection of this name, or not for this namespace.
    ConnectionNotFound,
    /// The connection does not allow what the policy does.
    GuardrailViolated,
    /// The operator does not allow this URL.
    UrlNotAllowed,
    /// The operator does not allow this action.
    ActionNotAllowed,
    /// Upstash does not carry the labels that `loopProtection` counts with.
    LabelsNotCarried,
    /// Too many runs failed in a row.
    CircuitOpen,
    /// A run is in progress.
    RunInProgress,
    /// A run waits because Upstash asked for it.
    Throttled,
    /// A run waits to repeat a call that failed.
    Retrying,
    /// A run waits for a free slot.
    Queued,
    /// A run has counted what it would act on, and waits for an approval.
    AwaitingApproval,
    /// The run did its work.
    RunSucceeded,
    /// The run found nothing to act on.
    NothingMatched,
    /// The run stopped at `maxEntriesPerRun`.
    LimitReached,
    /// The connection's `maxEntriesPerDay` is used up.
    BudgetSpent,
    /// The dry run counted what matches.
    DryRunSucceeded,
    /// Upstash refused the request.
    BadRequest,
    /// Upstash refused the action.
    Forbidden,
    /// A quota of the Upstash plan is used up.
    QuotaExceeded,
    /// Upstash did not answer, or with errors.
    UpstreamUnavailable,
    /// Upstash kept answering "too many requests".
    RateLimited,
    /// The API's cursors went in a circle.
    CursorLoop,
    /// The run took longer than `activeDeadlineSeconds`.
    DeadlineExceeded,
    /// Somebody ended the run.
    Cancelled,
    /// The run was not approved within a day.
    Expired,
    /// No run has ended yet.
    NeverRun,
}

/// What a reason speaks of: those of `Ready` come first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReasonClass {
    /// Runs may start.
    Able,
    /// Somebody holds the policy back.
    Held,
    /// The policy cannot run as it stands.
    Invalid,
    /// The token is missing.
    NoToken,
    /// Upstash refused the token. The schedule tries it again.
    Refused,
    /// Too many runs failed in a row.
    CircuitOpen,
    /// What a run does (`Running`). `Idle` also says that there is none.
    Running,
    /// How a run ended (`LastRunSucceeded`). `Unauthorized` is also such an end.
    Ended,
}

impl Reason {
    /// Reads a reason of a status; `None` for one that is not ours.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_value(text.into()).ok()
    }

    /// What kind of reason it is. One place for all, so that a new reason does not compile until it has a class.
    pub fn class(self) -> ReasonClass {
        match self {
            Self::Scheduled | Self::Idle | Self::Connected => ReasonClass::Able,
            Self::Suspended | Self::Paused => ReasonClass::Held,
            Self::InvalidSpec
            | Self::InvalidSchedule
            | Self::InvalidTimeZone
            | Self::NoConnection
            | Self::GuardrailViolated
            | Self::UrlNotAllowed
            | Self::ActionNotAllowed
            | Self::LabelsNotCarried => ReasonClass::Invalid,
            Self::ConnectionNotFound
            | Self::SecretNotFound
            | Self::SecretKeyNotFound
            | Self::SecretInvalid => ReasonClass::NoToken,
            Self::Unauthorized | Self::ReadOnlyToken => ReasonClass::Refused,
            Self::CircuitOpen => ReasonClass::CircuitOpen,
            Self::RunInProgress
            | Self::Throttled
            | Self::Retrying
            | Self::Queued
            | Self::AwaitingApproval => ReasonClass::Running,
            Self::RunSucceeded
            | Self::NothingMatched
            | Self::LimitReached
            | Self::BudgetSpent
            | Self::DryRunSucceeded
            | Self::BadRequest
            | Self::Forbidden
            | Self::QuotaExceeded
            | Self::UpstreamUnavailable
            | Self::RateLimited
            | Self::CursorLoop
            | Self::DeadlineExceeded
            | Self::Cancelled
            | Self::Expired
            | Self::NeverRun => ReasonClass::Ended,
        }
    }

    /// The reason as it stands in conditions, events and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "Scheduled",
            Self::Idle => "Idle",
            Self::Suspended => "Suspended",
            Self::Paused => "Paused",
            Self::InvalidSpec => "InvalidSpec",
            Self::InvalidSchedule => "InvalidSchedule",
            Self::InvalidTimeZone => "InvalidTimeZone",
            Self::NoConnection => "NoConnection",
            Self::SecretNotFound => "SecretNotFound",
            Self::SecretKeyNotFound => "SecretKeyNotFound",
            Self::SecretInvalid => "SecretInvalid",
            Self::Unauthorized => "Unauthorized",
            Self::ReadOnlyToken => "ReadOnlyToken",
            Self::Connected => "Connected",
            Self::ConnectionNotFound => "ConnectionNotFound",
            Self::GuardrailViolated => "GuardrailViolated",
            Self::UrlNotAllowed => "UrlNotAllowed",
            Self::ActionNotAllowed => "ActionNotAllowed",
            Self::LabelsNotCarried => "LabelsNotCarried",
            Self::CircuitOpen => "CircuitOpen",
            Self::RunInProgress => "RunInProgress",
            Self::Throttled => "Throttled",
            Self::Retrying => "Retrying",
            Self::Queued => "Queued",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::RunSucceeded => "RunSucceeded",
            Self::NothingMatched => "NothingMatched",
            Self::LimitReached => "LimitReached",
            Self::BudgetSpent => "BudgetSpent",
            Self::DryRunSucceeded => "DryRunSucceeded",
            Self::BadRequest => "BadRequest",
            Self::Forbidden => "Forbidden",
            Self::QuotaExceeded => "QuotaExceeded",
            Self::UpstreamUnavailable => "UpstreamUnavailable",
            Self::RateLimited => "RateLimited",
            Self::CursorLoop => "CursorLoop",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::Cancelled => "Cancelled",
            Self::Expired => "Expired",
            Self::NeverRun => "NeverRun",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
