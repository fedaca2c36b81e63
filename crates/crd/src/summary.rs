//! What a run saw of the entries that match, as the status tells it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::time::MilliTime;

/// What a dry run saw of the entries that match.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntrySummary {
    /// When the first of them failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_time: Option<MilliTime>,

    /// When the last of them failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_time: Option<MilliTime>,

    /// The URLs of their workflows, the most frequent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub workflow_urls: Vec<ValueCount>,

    /// The HTTP statuses that their last calls were answered with, the most frequent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub response_statuses: Vec<ValueCount>,

    /// Their labels, the most frequent first. An entry with several counts for each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub labels: Vec<ValueCount>,
}

/// A value and its count.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ValueCount {
    /// The value; a long one is cut.
    #[schemars(length(max = 256))]
    pub value: String,

    /// How many entries have it.
    pub count: i64,
}
