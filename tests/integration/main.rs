//! What can only be seen from outside: the generated files, the layers, and the resource on a real API server.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::needless_pass_by_value, reason = "what `json!` makes is given away")]

mod api_server_trouble;
mod cases;
mod changes;
mod chart;
mod cluster;
mod columns;
mod compatibility;
mod concurrency;
mod conditions;
mod conformance;
mod crash_points;
mod crd_rules;
mod dashboard;
mod definition_changes;
mod deployment;
mod documents;
mod events;
mod examples;
mod failover;
mod fairness;
mod filters;
mod generated_files;
mod gitops;
mod history;
mod hostile;
mod ids;
mod image;
mod interruption;
mod kills;
mod layers;
mod leader_election;
mod limits;
mod logs;
mod main_job;
mod memory;
mod metrics;
mod monitoring;
mod overrides;
mod poison;
mod problems;
mod queue;
mod reference;
mod replicas;
mod run_control;
mod runbooks;
mod scene;
mod scheduling;
mod sdk_requests;
mod soak;
mod stored;
mod traces;
mod triggers;
mod upstash_trouble;
