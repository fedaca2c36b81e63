//! `spec`: what a policy declares.
#![expect(
    clippy::duplicated_attributes,
    reason = "each column has a type of its own, and some have the same"
)]

use std::fmt;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::filters::Filters;
use super::overrides::Overrides;
use super::status::DlqPolicyStatus;
use super::text::{ConnectionUrlText, JitterText, ScheduleText, SecretKeyText, SecretNameText, TimeZoneText};

/// What to do with which failed workflow runs of an Upstash Workflow dead letter queue, when, and how carefully.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "dlq-operator.dev",
    version = "v1alpha1",
    kind = "DlqPolicy",
    plural = "dlqpolicies",
    singular = "dlqpolicy",
    shortname = "dlqp",
    category = "upstash",
    namespaced,
    status = "DlqPolicyStatus",
    derive = "PartialEq",
    selectable = ".spec.action",
    selectable = ".spec.suspend",
    selectable = ".status.phase",
    doc = "A DlqPolicy resumes, restarts or deletes failed workflow runs of an Upstash Workflow dead letter queue (DLQ), once or on a schedule, page by page.",
    printcolumn(
        name = "Action",
        type_ = "string",
        json_path = ".spec.action",
        description = "What the policy does with the entries that match"
    ),
    printcolumn(
        name = "Schedule",
        type_ = "string",
        json_path = ".spec.schedule",
        description = "When it runs; empty: once"
    ),
    printcolumn(
        name = "Suspend",
        type_ = "boolean",
        json_path = ".spec.suspend",
        description = "Whether it is suspended"
    ),
    printcolumn(
        name = "Phase",
        type_ = "string",
        json_path = ".status.phase",
        description = "Where the policy stands"
    ),
    printcolumn(
        name = "Result",
        type_ = "string",
        json_path = ".status.lastRun.result",
        description = "How the last run ended"
    ),
    printcolumn(
        name = "Dry Run",
        type_ = "boolean",
        json_path = ".status.lastRun.dryRun",
        description = "Whether the last run only listed and counted"
    ),
    printcolumn(
        name = "Processed",
        type_ = "integer",
        json_path = ".status.processed",
        description = "Entries of the current run, else of the last one"
    ),
    printcolumn(
        name = "Last Run",
        type_ = "date",
        json_path = ".status.lastRun.startTime",
        description = "When the last run that ended had started"
    ),
    printcolumn(
        name = "Next Run",
        type_ = "string",
        json_path = ".status.nextScheduleTime",
        description = "When the next run starts",
        priority = 1
    ),
    printcolumn(
        name = "Total",
        type_ = "integer",
        json_path = ".status.totals.processed",
        description = "Entries of all runs",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.message",
        description = "How the policy fares, in one sentence",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.action != 'delete' || !has(self.overrides)")
        .message("overrides must not be set with a delete; remove overrides, or use resume or restart")
        .field_path(".overrides").reason(Reason::FieldValueForbidden),
    validation = Rule::new("has(self.schedule) || !has(self.timeZone)")
        .message("timeZone must come with a schedule; add schedule, or remove timeZone")
        .field_path(".timeZone").reason(Reason::FieldValueForbidden),
    validation = Rule::new("has(self.schedule) || !has(self.jitter)")
        .message("jitter must come with a schedule; add schedule, or remove jitter")
        .field_path(".jitter").reason(Reason::FieldValueForbidden),
    validation = Rule::new("has(self.schedule) || !has(self.startingDeadlineSeconds)")
        .message("startingDeadlineSeconds must come with a schedule; add schedule, or remove startingDeadlineSeconds")
        .field_path(".startingDeadlineSeconds").reason(Reason::FieldValueForbidden),
    validation = Rule::new("has(self.schedule) || !has(self.concurrencyPolicy)")
        .message("concurrencyPolicy must come with a schedule; add schedule, or remove concurrencyPolicy")
        .field_path(".concurrencyPolicy").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.schedule) || !has(self.trigger)")
        .message("trigger must not be set with a schedule; remove trigger, or remove schedule")
        .field_path(".trigger").reason(Reason::FieldValueForbidden),
)]
pub struct DlqPolicySpec {
    /// What to do with each entry that matches. `resume` continues at the step that failed, `restart` begins anew;
    /// both make a new workflow run with an ID of its own and take the entry out of the DLQ. `delete` drops the entry
    /// for good.
    pub action: Action,

    /// Which entries to act on: `all`, `dlqIds`, or at least one criterion. Criteria combine with AND; the values of one
    /// list combine with OR. More than one value in a list needs the newer Upstash API, except for `labels` with
    /// `delete`. All criteria together may take 7,900 bytes in a URL, where a character other than letters, digits, `-`,
    /// `_` and `.` takes three or more: a policy with longer ones is `InvalidSpec`.
    pub filters: Filters,

    /// What the new workflow runs get instead of their original settings, at least one of them; each that is left out
    /// stays as it was. Not with `delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overrides: Option<Overrides>,

    /// What starts a run where there is no schedule. `OnChange`: each new combination of action, filters, overrides,
    /// connection and dryRun starts one. `Manual`: only the annotation `dlq-operator.dev/requestedAt` does, and neither
    /// creation, an edit, a new token nor a restore from a backup. Default: `OnChange`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<SpecTrigger>,

    /// When to run, as a CronJob's schedule: five fields, a macro such as `@hourly`, or `@every 15m`. Without it
    /// `trigger` decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleText>,

    /// The IANA name of the zone that `schedule` is read in, such as `Europe/Berlin`. Default: UTC, whatever zone the
    /// operator's pod has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<TimeZoneText>,

    /// Delays every scheduled time by up to this long (`30s`), by the same offset every time, made from the
    /// policy's namespace and name, so that many policies with one schedule do not start at once. The offset is
    /// always shorter than the time between two scheduled times. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<JitterText>,

    /// How many seconds late a run may still start; later the scheduled time counts as missed. With 0 all are, as with a
    /// CronJob. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub starting_deadline_seconds: Option<i64>,

    /// What a scheduled time does while the run before is still in progress: `Forbid` lets it pass, `Replace`
    /// cancels that run and starts anew. Default: `Forbid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_policy: Option<ConcurrencyPolicy>,

    /// `true` starts no run and cancels one that is in progress. Scheduled times that pass meanwhile are not caught up.
    #[serde(default)]
    pub suspend: bool,

    /// `true` lists and counts what matches and acts on nothing; a read-only token is enough.
    #[serde(default)]
    pub dry_run: bool,

    /// How much and how fast one run may act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,

    /// What repeated failures lead to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_policy: Option<FailurePolicy>,

    /// How many ended runs `status.history` keeps. Default: 10.
    #[serde(default = "default_history_limit")]
    #[schemars(range(min = 0, max = 50))]
    pub history_limit: i32,

    /// Which Upstash account to talk to. Default: the operator's own connection, where this namespace may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
}

fn default_history_limit() -> i32 {
    10
}

/// What to do with an entry.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Continue at the step that failed.
    Resume,
    /// Begin anew.
    Restart,
    /// Drop the entry.
    Delete,
}

impl Action {
    /// The word used in manifests, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resume => "resume",
            Self::Restart => "restart",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What starts a run where there is no schedule. `OnChange`: each new combination of action, filters, overrides,
/// connection and dryRun starts one. `Manual`: only the annotation `dlq-operator.dev/requestedAt` does, and neither
/// creation, an edit, a new token nor a restore from a backup. Default: `OnChange`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum SpecTrigger {
    /// Each new combination starts one run.
    #[default]
    OnChange,
    /// Only a request starts a run.
    Manual,
}

/// What a scheduled time does while the run before is still in progress: `Forbid` lets it pass, `Replace` cancels
/// that run and starts anew. Default: `Forbid`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ConcurrencyPolicy {
    /// The scheduled time passes.
    #[default]
    Forbid,
    /// The run is cancelled and a new one starts.
    Replace,
}

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

/// An Upstash account.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.tokenSecretRef)")
        .message("tokenSecretRef must be set, as the operator's own token never goes to a URL that a policy chose; without connection the operator's default is used")
        .field_path(".tokenSecretRef").reason(Reason::FieldValueRequired),
)]
pub struct Connection {
    /// The base URL of the region. It must be one that the operator allows. Default: the operator's `QSTASH_URL`,
    /// else `https://qstash.upstash.io`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<ConnectionUrlText>,

    /// Where the token is: a Secret in the policy's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_secret_ref: Option<SecretKeyRef>,
}

/// One key of a Secret in the policy's own namespace.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The Secret's name.
    pub name: SecretNameText,

    /// The key that holds the token; one newline at its end is dropped. Default: `token`.
    #[serde(default = "default_secret_key")]
    pub key: SecretKeyText,
}

fn default_secret_key() -> SecretKeyText {
    "token".into()
}
