//! `status`: what the operator writes back.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::backlog::BacklogStatus;
use super::history::RunSummary;
use super::matching::LabelProbe;
use super::run::PolicyRun;
use super::words::{known, undescribed};

/// What the operator knows of a policy. Only the operator writes here.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
// What a policy says before the operator has seen it: kstatus would take one without status for finished.
// One owner, and so one entry in managedFields: the API server spends a fifth less on each write.
#[schemars(extend("default" = { "observedGeneration": -1 }, "x-kubernetes-map-type" = "atomic"))]
pub struct DlqPolicyStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Where the policy stands, for people; machines read the conditions.
    #[serde(default, deserialize_with = "known", skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,

    /// How the policy fares, for people, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,

    /// Entries acted on by the current run, else by the last one (dry run: entries that matched).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processed: Option<i64>,

    /// Entries that `match` or `loopProtection` left alone in the current run, else in the last one. Absent without them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<i64>,

    /// `Ready`, `Running` and `LastRunSucceeded`; `Reconciling` and `Stalled` when true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The schedule and zone that `scheduleSince` speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub observed_schedule: Option<String>,

    /// Since when this schedule counts: when it was first seen, or when the policy was last suspended, paused, not
    /// ready or its circuit open. No scheduled time up to this one is ever due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_since: Option<Time>,

    /// The latest scheduled time that a run was started for: the scheduled time that was due (without jitter), not
    /// when the run started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Time>,

    /// When the next run starts, with jitter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Time>,

    /// When a run last ended well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_successful_time: Option<Time>,

    /// The hash of action, filters, overrides, match, loopProtection, connection and dryRun that was last handled. Without a schedule it
    /// decides whether to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub last_handled_spec_hash: Option<String>,

    /// The value of the annotation `requestedAt` that was last handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_requested_at: Option<String>,

    /// The value of the annotation `cancelAt` that was last handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_cancel_at: Option<String>,

    /// The value of the annotation `resetAt` that was last handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reset_at: Option<String>,

    /// The value of the annotation `approvedRun` that was last handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_approved_run: Option<String>,

    /// Why Upstash refused the token: it is not known (`Unauthorized`), may neither list nor act (`Forbidden`), or may only
    /// list (`ReadOnlyToken`). Absent once a run got through or the work changed.
    #[serde(default, deserialize_with = "known", skip_serializing_if = "Option::is_none")]
    pub refused_reason: Option<TokenRefusal>,

    /// Without a schedule: which Secret, in which version, held the token that Upstash refused. Another version starts
    /// the work again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub refused_secret: Option<String>,

    /// The latest scheduled time that was missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_missed_time: Option<Time>,

    /// The latest scheduled time that was skipped, because a run was in progress when it came. It is never caught up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_skipped_time: Option<Time>,

    /// The scheduled time that was due when a run by hand started. The run for it starts when the run by hand has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_schedule_time: Option<Time>,

    /// Since when no run starts by itself: the policy is suspended, paused or cannot run as it stands, its Secret is missing,
    /// or its circuit is open. Absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_since: Option<Time>,

    /// How many scheduled times were missed.
    #[serde(default)]
    pub missed_schedules: i64,

    /// How many runs failed since the last one that did not, or since `resetAt` or a new spec. Cancelled runs do not
    /// count.
    #[serde(default)]
    pub consecutive_failures: i64,

    /// The run in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_run: Option<PolicyRun>,

    /// The last run that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<PolicyRun>,

    /// The runs that ended, newest first, at most `spec.historyLimit`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub history: Vec<RunSummary>,

    /// New workflow runs whose label is looked for when they are back in the DLQ, up to 50 of the last seven days. Whether
    /// Upstash carries labels is not documented, and `loopProtection` rests on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub label_probes: Vec<LabelProbe>,

    /// The policy may resume or restart the same failing workflow run for ever: it has a schedule and no `loopProtection`,
    /// and its filters select what it brings back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub loop_possible: bool,

    /// What the last look between runs found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<Box<BacklogStatus>>,

    /// What all runs did together.
    #[serde(default)]
    pub totals: Totals,
}

/// What all ended runs of a policy did together.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Every run that ended, however it ended.
    #[serde(default)]
    pub runs: i64,

    /// The runs that ended as `Failed` or `DeadlineExceeded`.
    #[serde(default)]
    pub failed_runs: i64,

    /// The entries that were acted on. Dry runs are not in it.
    #[serde(default)]
    pub processed: i64,
}

/// Why Upstash refused a token.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = undescribed)]
pub enum TokenRefusal {
    /// The token is not known.
    Unauthorized,
    /// The token may neither list nor act.
    Forbidden,
    /// The token may list, and not act.
    ReadOnlyToken,
}

/// Where a policy stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = undescribed)]
pub enum Phase {
    /// It waits for something that may come by itself, such as a Secret, or has not run yet.
    Pending,
    /// It waits for the next scheduled time.
    Scheduled,
    /// A run is in progress.
    Running,
    /// A run has counted what it would act on, and waits for an approval.
    AwaitingApproval,
    /// Without a schedule: the last run went well.
    Succeeded,
    /// The last run did not go well: without a schedule, or because the token was refused.
    Failed,
    /// `spec.suspend` is true.
    Suspended,
    /// An annotation or a flag holds it.
    Paused,
    /// Too many runs failed in a row.
    CircuitOpen,
    /// Somebody has to fix the policy or what it refers to.
    Invalid,
}
