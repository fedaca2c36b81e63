//! `spec.backlog` and `status.backlog`: what waits in the DLQ between runs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::summary::ValueCount;
use super::text::AgeText;
use super::time::MilliTime;

/// How often and how far to count what waits.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!self.interval.matches('^([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?([0-9]{1,6}ms)?$') || timestamp(int('0' + self.interval.find('^[0-9]+d').replace('d', '')) * 86400) + duration('0' + self.interval.find('[^d]*$')) >= timestamp(60)")
        .message("the interval must be at least a minute, as every look is a call to Upstash or more")
        .field_path(".interval"),
)]
pub struct Backlog {
    /// How often to look, such as `15m`: at least a minute. Policies with equal filters and one account share a look.
    pub interval: AgeText,

    /// The most entries to count, from 100 to 10,000; a look makes one call for each 100. Where there are more, the count
    /// is a lower bound. Default: 1,000.
    #[serde(default = "default_count_up_to")]
    #[schemars(range(min = 100, max = 10_000))]
    pub count_up_to: i32,

    /// How long Upstash keeps an entry: 3 days on the free plan, 7 days pay as you go, 30 days or 3 months on fixed plans.
    /// With it a look also counts the entries that expire within a day. Default: not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<AgeText>,
}

fn default_count_up_to() -> i32 {
    1000
}

/// What the last look found.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BacklogStatus {
    /// When it was.
    pub observed_time: Time,

    /// How many entries match `filters`.
    #[serde(default)]
    pub entries: i64,

    /// There are more than were counted.
    #[serde(default)]
    pub at_least: bool,

    /// When the first of those that were counted failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_time: Option<MilliTime>,

    /// How many of them expire within a day; with `retention` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiring_within_day: Option<i64>,

    /// The HTTP statuses that their last calls were answered with, the five most frequent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub response_statuses: Vec<ValueCount>,

    /// The hash of what was counted: filters, connection, `countUpTo` and `retention`. Where it differs from what `spec` asks
    /// for, the next look is due at once.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub spec_hash: String,
}
