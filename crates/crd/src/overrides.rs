//! `spec.overrides`: what resumed and restarted workflow runs get instead of their original settings.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::text::{
    CallbackUrlText, DelayText, FlowControlKeyText, OverrideLabelText, PeriodText, RetryDelayText,
};

/// Settings for the new workflow runs.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.retries), has(self.delay), has(self.retryDelay), has(self.flowControl), has(self.labels), has(self.failureCallback)].exists(x, x)")
        .message("overrides must have at least one field; add one, or remove overrides"),
)]
pub struct Overrides {
    /// How often a step is retried before the workflow run fails. Sent as `Upstash-Retries`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub retries: Option<i32>,

    /// How long to wait before the first step, or with `resume` the next one: one number and one of `s`, `m`, `h`, `d` (`10s`). Sent as
    /// `Upstash-Delay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<DelayText>,

    /// The wait between retries in milliseconds, as an expression over `retried`, such as `(1 + retried) * 1000`.
    /// Sent as `Upstash-Retry-Delay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_delay: Option<RetryDelayText>,

    /// How fast and how many at once the new workflow runs' steps are called: Upstash flow control, at least one part.
    /// `key` is sent as `Upstash-Flow-Control-Key`; `parallelism`, `rate` and `period` as `Upstash-Flow-Control-Value`.
    /// Without `key` the original key stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_control: Option<FlowControl>,

    /// Labels of the new workflow runs: letters, digits, `-`, `_` and `.`. Sent as `Upstash-Label`, separated by commas;
    /// more than one needs the newer Upstash API. Together they may be 8,000 characters long: a policy with longer ones is
    /// `InvalidSpec`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub labels: Option<Vec<OverrideLabelText>>,

    /// The URL that is called when a new workflow run fails for good. Sent as `Upstash-Failure-Callback`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_callback: Option<CallbackUrlText>,
}

/// Upstash flow control.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.key) || has(self.parallelism) || has(self.rate) || has(self.period)")
        .message("flowControl must have at least one of key, parallelism, rate and period"),
)]
pub struct FlowControl {
    /// The key that shares the limits below: letters, digits, `-`, `_` and `.`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<FlowControlKeyText>,

    /// How many steps with this key may run at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub parallelism: Option<i32>,

    /// How many steps with this key may start in each `period`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub rate: Option<i32>,

    /// The span that `rate` counts over: one number above 0 and one of `s`, `m`, `h`, `d` (`1m`), at most seven days.
    /// The API takes one second when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<PeriodText>,
}
