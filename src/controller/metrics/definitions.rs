//! Every metric of the operator: what it is called, how it is labelled, what it says.

use crate::runtime::metrics::{Definition, Kind, process};

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Definition {
    Definition { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Definition {
    Definition { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Definition {
    Definition { name, kind: Kind::Histogram, labels, help }
}

pub(super) const BUILD_INFO: Definition =
    gauge("dlq_operator_build_info", &["version", "revision"], "1; the labels say what was built from what.");
pub(super) const POLICY_INFO: Definition = gauge(
    "dlq_operator_policy_info",
    &["namespace", "name", "action", "schedule"],
    "1 for each policy; the labels say what it does and when.",
);
pub(super) const POLICY_CONDITION: Definition = gauge(
    "dlq_operator_policy_condition",
    &["namespace", "name", "type", "status"],
    "1 for the status that a condition of a policy has, 0 for the others.",
);
pub(super) const RUNS: Definition = counter(
    "dlq_operator_runs_total",
    &["namespace", "name", "action", "trigger", "result"],
    "Runs that ended.",
);
pub(super) const RUN_DURATION: Definition = histogram(
    "dlq_operator_run_duration_seconds",
    &["action", "result"],
    "How long runs took, from their start to their end, waits included but for that for an approval.",
);
pub(super) const RUN_ACTIVE: Definition = gauge(
    "dlq_operator_run_active",
    &["namespace", "name"],
    "1 while a run of the policy is in progress, else 0.",
);
pub(super) const RUN_AWAITING_APPROVAL: Definition = gauge(
    "dlq_operator_run_awaiting_approval",
    &["namespace", "name"],
    "1 while a run of the policy waits for an approval, else 0.",
);
pub(super) const LAST_RUN: Definition = gauge(
    "dlq_operator_last_run_timestamp_seconds",
    &["namespace", "name"],
    "When the last run that ended started, as Unix time.",
);
pub(super) const LAST_SUCCESS: Definition = gauge(
    "dlq_operator_last_success_timestamp_seconds",
    &["namespace", "name"],
    "When a run last ended well, as Unix time.",
);
pub(super) const NEXT_RUN: Definition = gauge(
    "dlq_operator_next_run_timestamp_seconds",
    &["namespace", "name"],
    "When the next run of the schedule starts, jitter included, as Unix time.",
);
pub(super) const ENTRIES: Definition = counter(
    "dlq_operator_entries_processed_total",
    &["namespace", "name", "action"],
    "Entries that were acted on, as Upstash acknowledged them; dry runs are not in it.",
);
pub(super) const UNCERTAIN_PAGES: Definition = counter(
    "dlq_operator_uncertain_pages_total",
    &["namespace", "name"],
    "Acting calls whose outcome is unknown.",
);
pub(super) const MISSED: Definition = counter(
    "dlq_operator_missed_schedules_total",
    &["namespace", "name"],
    "Scheduled times that were missed.",
);
pub(super) const SKIPPED: Definition = gauge(
    "dlq_operator_entries_skipped",
    &["namespace", "name", "reason"],
    "Entries that match or loopProtection left alone in the last pass of the last run; of policies with either.",
);
pub(super) const RETURNED: Definition = counter(
    "dlq_operator_entries_returned_total",
    &["namespace", "name"],
    "Workflow runs of earlier runs that were seen back in the DLQ; of policies with match or loopProtection.",
);
pub(super) const LATENESS: Definition = histogram(
    "dlq_operator_schedule_lateness_seconds",
    &[],
    "How much later than due, jitter included, scheduled runs started.",
);
pub(super) const CIRCUIT_OPEN: Definition = gauge(
    "dlq_operator_circuit_open",
    &["namespace", "name"],
    "1 while too many runs failed in a row, else 0.",
);
pub(super) const CONSECUTIVE_FAILURES: Definition = gauge(
    "dlq_operator_consecutive_failures",
    &["namespace", "name"],
    "How many runs failed since the last one that did not.",
);
pub(super) const BACKLOG_ENTRIES: Definition = gauge(
    "dlq_operator_backlog_entries",
    &["namespace", "name"],
    "How many entries match the filters of a policy with backlog, as its last look counted: at most its countUpTo.",
);
pub(super) const BACKLOG_OLDEST: Definition = gauge(
    "dlq_operator_backlog_oldest_timestamp_seconds",
    &["namespace", "name"],
    "When the first of the entries that the last look counted failed, as Unix time.",
);
pub(super) const BACKLOG_EXPIRING: Definition = gauge(
    "dlq_operator_backlog_expiring_entries",
    &["namespace", "name"],
    "How many of the entries that the last look counted expire within a day, for policies with backlog.retention.",
);
pub(super) const CONNECTION_READY: Definition = gauge(
    "dlq_operator_connection_ready",
    &["kind", "namespace", "name"],
    "1 while the token of a shared connection works, else 0; the namespace of a ClusterDlqConnection is empty.",
);
pub(super) const CONNECTION_ENTRIES: Definition = gauge(
    "dlq_operator_connection_entries_today",
    &["kind", "namespace", "name"],
    "The most entries that the policies of a shared connection with maxEntriesPerDay have acted on today.",
);
pub(super) const CONNECTION_LIMIT: Definition = gauge(
    "dlq_operator_connection_entries_limit",
    &["kind", "namespace", "name"],
    "The maxEntriesPerDay of a shared connection that has one.",
);
pub(super) const REQUESTS: Definition = counter(
    "dlq_operator_upstash_requests_total",
    &["operation", "code"],
    "Calls of Upstash's API by the answer's status; error where no whole answer came.",
);
pub(super) const REQUEST_DURATION: Definition = histogram(
    "dlq_operator_upstash_request_duration_seconds",
    &["operation"],
    "How long calls of Upstash's API took, to the last byte of the answer.",
);
pub(super) const RATE_LIMITED: Definition = counter(
    "dlq_operator_rate_limited_seconds_total",
    &[],
    "Time that runs waited because Upstash answered 429; the waits of several runs add up.",
);
pub(super) const RECONCILES: Definition = counter(
    "dlq_operator_reconcile_total",
    &["result"],
    "Turns with a policy, each with a part of its run's work.",
);
pub(super) const RECONCILE_ERRORS: Definition = counter(
    "dlq_operator_reconcile_errors_total",
    &["reason"],
    "Turns with a policy that failed, by what failed.",
);
pub(super) const RECONCILE_DURATION: Definition = histogram(
    "dlq_operator_reconcile_duration_seconds",
    &[],
    "How long turns with a policy took, each with a part of its run's work.",
);
pub(super) const STATUS_WRITES: Definition =
    counter("dlq_operator_status_writes_total", &["result"], "Writes of a policy's status.");
pub(super) const LEADER: Definition = gauge(
    "dlq_operator_leader",
    &[],
    "1 while this process leads, else 0; always 1 without leader election.",
);
pub(super) const CLOCK_OFFSET: Definition = gauge(
    "dlq_operator_clock_offset_seconds",
    &[],
    "How far Upstash's clock is ahead of ours; of several servers the one that is furthest away.",
);

const OWN: [Definition; 33] = [
    BUILD_INFO,
    POLICY_INFO,
    POLICY_CONDITION,
    RUNS,
    RUN_DURATION,
    RUN_ACTIVE,
    RUN_AWAITING_APPROVAL,
    LAST_RUN,
    LAST_SUCCESS,
    NEXT_RUN,
    ENTRIES,
    UNCERTAIN_PAGES,
    MISSED,
    SKIPPED,
    RETURNED,
    LATENESS,
    CIRCUIT_OPEN,
    CONSECUTIVE_FAILURES,
    BACKLOG_ENTRIES,
    BACKLOG_OLDEST,
    BACKLOG_EXPIRING,
    CONNECTION_READY,
    CONNECTION_ENTRIES,
    CONNECTION_LIMIT,
    REQUESTS,
    REQUEST_DURATION,
    RATE_LIMITED,
    RECONCILES,
    RECONCILE_ERRORS,
    RECONCILE_DURATION,
    STATUS_WRITES,
    LEADER,
    CLOCK_OFFSET,
];

/// The series of a policy with a schedule that has run, if its runs end as `Succeeded` or `Failed`. A condition that comes
/// up adds three, a backlog three, each other trigger and result one, and `match` or `loopProtection` eight.
pub const SERIES_PER_POLICY: usize = 22;

/// The series that are not of policies, when every result, action and operation has occurred; without those of the next.
pub const SERIES_OF_PROCESS: usize = 375;

/// The series of `dlq_operator_upstash_requests_total` for one code, when every operation was answered with it.
pub const SERIES_PER_CODE: usize = 8;

/// Every metric, as a reference lists them.
pub fn definitions() -> Vec<Definition> {
    OWN.into_iter().chain(process::DEFINITIONS).collect()
}
