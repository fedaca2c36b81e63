//! The resource: its types, their documentation and rules, and the names of conditions, reasons and annotations.
//!
//! There is no behaviour here beyond reading and writing YAML, and nothing of the rest of the operator, so that other
//! programs can use the types. `dlq-operator crd` prints the definition made from them.

#![expect(unreachable_pub, reason = "KubeSchema makes a private twin of each type it is derived for")]

pub mod annotations;
mod conditions;
#[cfg(test)]
mod described;
mod filters;
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

pub use conditions::{ConditionType, Reason, ReasonClass};
pub use filters::{FailureFunctionState, Filters};
pub use overrides::{FlowControl, Overrides};
pub use run::{PolicyRun, RequestedMode, RunResult, RunSummary, Trigger, WaitingReason, Window};
pub use spec::{
    Action, ConcurrencyPolicy, Connection, DlqPolicy, DlqPolicySpec, FailurePolicy, Limits, SecretKeyRef,
    SpecTrigger,
};
pub use status::{DlqPolicyStatus, Phase, TokenRefusal, Totals};
pub use summary::{EntrySummary, ValueCount};
pub use text::{
    AgeText, CallbackUrlText, CallerIpText, ConnectionUrlText, DateTimeText, DelayText, DlqIdText,
    FilterText, FlowControlKeyText, JitterText, OverrideLabelText, PeriodText, RetryDelayText, ScheduleText,
    SecretKeyText, SecretNameText, TimeZoneText, WorkflowRunIdText, WorkflowUrlText,
};
pub use time::MilliTime;
