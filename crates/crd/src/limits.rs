//! `spec.limits` and `spec.failurePolicy`: how much one run may act, and what failures lead to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much and how fast one run may act.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// How many entries one call asks for (the API's `count`), 1 to 100; of `dlqIds`, how many go into one call, at
    /// most 50. The API may answer with fewer or more.
    /// Default: 50.
    #[serde(default = "default_page_size")]
    #[schemars(range(min = 1, max = 100))]
    pub page_size: i32,

    /// The most entries that a run acts on. What a call whose answer was lost asked for counts, as it may have been
    /// acted on. After an unclean stop of the operator it may be exceeded by what was done since the last checkpoint.
    /// Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub max_entries_per_run: Option<i64>,

    /// The most entries per second. Default: as fast as the API answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub entries_per_second: Option<i32>,

    /// How many seconds a run may take before it ends as `DeadlineExceeded`. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub active_deadline_seconds: Option<i64>,

    /// How many calls of a run may be under way at once, 1 to 16. With more than one, the span of failure times is divided
    /// into windows that have a cursor each, once a page shows that there is more. With `dlqIds`, `match` or `loopProtection`,
    /// several calls that name entries are made at once. A 429 or another error that may pass halves the number for a while.
    /// Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub parallelism: Option<i32>,

    /// A run that matches more entries than this counts them first, and waits for an approval before it acts: the annotation
    /// `dlq-operator.dev/approvedRun` with the run's `approvalId`. It then acts on no more than it counted. A run that
    /// matches no more acts without one, and a dry run never needs one. With 0, every run that matches anything waits.
    /// Default: no approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub approval_above: Option<i64>,
}

fn default_page_size() -> i32 {
    50
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            page_size: default_page_size(),
            max_entries_per_run: None,
            entries_per_second: None,
            active_deadline_seconds: None,
            parallelism: None,
            approval_above: None,
        }
    }
}

/// What repeated failures lead to.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailurePolicy {
    /// After this many failed runs in a row the circuit opens: no run starts until the annotation
    /// `dlq-operator.dev/resetAt` or a new spec closes it, or a requested run succeeds. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub open_circuit_after: Option<i32>,
}
