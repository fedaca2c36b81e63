//! What can only be seen from outside: the generated files, the layers, and the resource on a real API server.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::needless_pass_by_value, reason = "what `json!` makes is given away")]

mod cases;
mod changes;
mod cluster;
mod conformance;
mod crd_rules;
mod documents;
mod examples;
mod fairness;
mod filters;
mod generated_files;
mod ids;
mod interruption;
mod layers;
mod main_job;
mod overrides;
mod problems;
mod reference;
mod run_control;
mod scene;
mod scheduling;
mod sdk_requests;
