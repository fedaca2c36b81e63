//! `/metrics` and the other paths of the admin server, while a real operator works.

mod admin;
mod counts;
mod formats;
mod policies;
pub(crate) mod reference;
pub(crate) mod scrape;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testbed::{Entry, Operator};

use crate::scene::{DLQ, Scene};

/// What people may build on: name, type and labels of each metric, as alerts and dashboards know them.
const METRICS: &str = "
    dlq_operator_build_info                         gauge      version revision
    dlq_operator_policy_info                        gauge      namespace name action schedule
    dlq_operator_policy_condition                   gauge      namespace name type status
    dlq_operator_runs_total                         counter    namespace name action trigger result
    dlq_operator_run_duration_seconds               histogram  action result
    dlq_operator_run_active                         gauge      namespace name
    dlq_operator_run_awaiting_approval              gauge      namespace name
    dlq_operator_last_run_timestamp_seconds         gauge      namespace name
    dlq_operator_last_success_timestamp_seconds     gauge      namespace name
    dlq_operator_next_run_timestamp_seconds         gauge      namespace name
    dlq_operator_entries_processed_total            counter    namespace name action
    dlq_operator_uncertain_pages_total              counter    namespace name
    dlq_operator_missed_schedules_total             counter    namespace name
    dlq_operator_entries_skipped                    gauge      namespace name reason
    dlq_operator_entries_returned_total             counter    namespace name
    dlq_operator_schedule_lateness_seconds          histogram
    dlq_operator_circuit_open                       gauge      namespace name
    dlq_operator_consecutive_failures               gauge      namespace name
    dlq_operator_backlog_entries                    gauge      namespace name
    dlq_operator_backlog_oldest_timestamp_seconds   gauge      namespace name
    dlq_operator_backlog_expiring_entries           gauge      namespace name
    dlq_operator_connection_ready                   gauge      kind namespace name
    dlq_operator_connection_entries_today           gauge      kind namespace name
    dlq_operator_connection_entries_limit           gauge      kind namespace name
    dlq_operator_upstash_requests_total             counter    operation code
    dlq_operator_upstash_request_duration_seconds   histogram  operation
    dlq_operator_rate_limited_seconds_total         counter
    dlq_operator_reconcile_total                    counter    result
    dlq_operator_reconcile_errors_total             counter    reason
    dlq_operator_reconcile_duration_seconds         histogram
    dlq_operator_status_writes_total                counter    result
    dlq_operator_leader                             gauge
    dlq_operator_clock_offset_seconds               gauge
    process_cpu_seconds_total                       counter
    process_open_fds                                gauge
    process_max_fds                                 gauge
    process_virtual_memory_bytes                    gauge
    process_resident_memory_bytes                   gauge
    process_start_time_seconds                      gauge
";

/// Name, type and labels.
fn metrics() -> impl Iterator<Item = (&'static str, &'static str, BTreeSet<&'static str>)> {
    METRICS.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.next().unwrap(), words.collect()))
    })
}

fn resume() -> Value {
    json!({ "action": "resume", "filters": { "all": true }, "limits": { "pageSize": 50 } })
}

fn with(mut spec: Value, more: Value) -> Value {
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

/// A scene in which one policy has run and one waits for a far day.
async fn scene(name: &str, args: &[&str]) -> Scene {
    let scene = Scene::start_with(name, args).await;
    scene.simulator.generate(DLQ, 120, &Entry::default()).await.unwrap();
    scene.apply("once", resume()).await;
    scene.ran("once", 1).await;
    scene.apply("yearly", with(resume(), json!({ "schedule": "0 0 1 1 *" }))).await;
    scene.condition("yearly", "Ready", "True", "Scheduled").await;
    scene
}

fn url(operator: &Operator, path: &str) -> String {
    format!("{}{path}", operator.admin_url())
}
