//! `spec.match` and `spec.loopProtection`: which of the listed entries a run acts on, and how often.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{ExpressionText, StatusText};

/// A selection by what entries show when they are listed.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.responseStatuses), has(self.excludeResponseStatuses), has(self.skipNonRetryable), has(self.attempts), has(self.expression)].exists(x, x)")
        .message("match must have at least one field; add one, or remove match"),
)]
pub struct Match {
    /// Entries whose last call was answered with any of these HTTP statuses: codes from 100 to 599, or classes such as
    /// `5xx`. An entry without a status matches none. At most 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub response_statuses: Option<Vec<StatusText>>,

    /// Excludes entries whose last call was answered with any of these HTTP statuses, in the same notation. At most 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub exclude_response_statuses: Option<Vec<StatusText>>,

    /// `true` skips entries whose workflow reported that a retry cannot succeed: status 489, or the header
    /// `Upstash-NonRetryable-Error: true`. Default: `true` with `resume` and `restart`, `false` with `delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_non_retryable: Option<bool>,

    /// How often the workflow run or those before it were acted on, as its `dlq-attempt` label says; 0 without one. Requires
    /// `loopProtection`, except with `delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Attempts>,

    /// A CEL expression over `entry` and `now` that says whether to act on the entry, such as
    /// `entry.responseBody.contains('timeout') && now - entry.failedAt > duration('1h')`. At most 1,024 characters. An
    /// entry on which it fails is left alone and counted. See the guide for the fields of `entry`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expression: Option<ExpressionText>,
}

/// A range of attempts.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.min) || has(self.max)")
        .message("attempts must have min or max; add one, or remove attempts"),
    validation = Rule::new("!has(self.min) || !has(self.max) || self.min <= self.max")
        .message("min must not be above max")
        .field_path(".min"),
)]
pub struct Attempts {
    /// At least so many, inclusive. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub min: Option<i32>,

    /// At most so many, inclusive. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub max: Option<i32>,
}

/// How often a failing workflow run may be acted on.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoopProtection {
    /// How often a workflow run that keeps failing is acted on, by all policies with `loopProtection` together, from 1 to
    /// 100.
    #[schemars(range(min = 1, max = 100))]
    pub max_attempts: i32,
}

/// Entries left alone because of `match`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Skipped {
    /// `responseStatuses` or `excludeResponseStatuses`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub status: i64,

    /// `skipNonRetryable`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub non_retryable: i64,

    /// `attempts`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: i64,

    /// `expression` is false.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub expression: i64,

    /// `expression` fails on the entry, or is neither true nor false.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub expression_error: i64,

    /// The entry lacks a field that the decision needs.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unjudged: i64,
}

impl Skipped {
    /// How many there are of each reason, in the word used for it.
    pub fn by_reason(self) -> [(&'static str, i64); 6] {
        // Written out in full so that a new reason cannot be forgotten here.
        let Self { status, non_retryable, attempts, expression, expression_error, unjudged } = self;
        [
            ("status", status),
            ("nonRetryable", non_retryable),
            ("attempts", attempts),
            ("expression", expression),
            ("expressionError", expression_error),
            ("unjudged", unjudged),
        ]
    }

    /// How many there are.
    pub fn total(self) -> i64 {
        self.by_reason().iter().fold(0, |total, (_, count)| total.saturating_add(*count))
    }

    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A workflow run whose label is looked for.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelProbe {
    /// Its ID.
    #[schemars(length(max = 256))]
    pub workflow_run_id: String,

    /// The number that its label has.
    #[serde(default)]
    pub attempt: i64,

    /// When it was made. It is forgotten seven days later.
    pub start_time: super::time::MilliTime,

    /// It was back in the DLQ without its label: Upstash does not carry labels.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost_label: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(super) fn is_zero(count: &i64) -> bool {
    *count == 0
}
