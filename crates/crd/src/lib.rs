//! The resources: their types, their documentation and rules, and the names of conditions, reasons and annotations.
//!
//! There is no behaviour here beyond reading and writing YAML, and nothing of the rest of the operator, so that other
//! programs can use the types. `dlq-operator crd` prints the definitions made from them.

#![expect(unreachable_pub, reason = "KubeSchema makes a private twin of each type it is derived for")]

pub mod annotations;
mod backlog;
mod conditions;
mod connection;
#[cfg(test)]
mod described;
mod dlq_connection;
mod filters;
mod history;
mod limits;
mod matching;
mod overrides;
#[cfg(test)]
mod round_trips;
mod run;
mod spec;
mod status;
mod summary;
mod text;
mod time;
mod words;

pub use backlog::{Backlog, BacklogStatus};
pub use conditions::{ConditionType, Reason, ReasonClass};
pub use connection::{Connection, ConnectionKind, SecretKeyRef};
pub use dlq_connection::{
    ClusterDlqConnection, ClusterDlqConnectionSpec, ConnectionLimits, ConnectionStatus, DlqConnection,
    DlqConnectionSpec, Guardrails, NamespacedSecretKeyRef,
};
pub use filters::{FailureFunctionState, Filters};
pub use history::RunSummary;
pub use limits::{FailurePolicy, Limits};
pub use matching::{Attempts, LabelProbe, LoopProtection, Match, Skipped};
pub use overrides::{FlowControl, Overrides};
pub use run::{PolicyRun, RequestedMode, RunResult, RunWindow, Trigger, WaitingReason, Window};
pub use spec::{Action, ConcurrencyPolicy, DlqPolicy, DlqPolicySpec, SpecTrigger};
pub use status::{DlqPolicyStatus, Phase, TokenRefusal, Totals};
pub use summary::{EntrySummary, ValueCount};
pub use text::{
    AgeText, CallbackUrlText, CallerIpText, ConnectionNameText, ConnectionUrlText, DateTimeText, DelayText,
    DlqIdText, ExpressionText, FilterText, FlowControlKeyText, JitterText, NamespaceText, OverrideLabelText,
    PeriodText, RetryDelayText, ScheduleText, SecretKeyText, SecretNameText, StatusText, TimeZoneText,
    UrlPatternText, WorkflowRunIdText, WorkflowUrlText,
};
pub use time::MilliTime;
