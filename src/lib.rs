//! dlq-operator: a Kubernetes operator for the dead letter queue (DLQ) of Upstash Workflow.
//!
//! The layers, each using only what stands to its right; those in brackets are crates of their own, under `crates/`:
//!
//! ```text
//! main ▶ cli ▶ controller ▶ [drain] ▶ [policy] ▶ [crd]
//!           ╲      ╲             ╲        ╲──▶ [upstash]
//!            config  runtime      upstash's client
//! ```
//!
//! * [`dlq_crd`]: the resource: types, documentation, rules. No behaviour.
//! * [`dlq_upstash`]: the API: calls, requests, answers, and the one HTTP client.
//! * [`dlq_policy`]: the pure core: what a policy means, what to do now, how a run continues, what the status says.
//! * [`dlq_drain`]: one run's page loop, without Kubernetes.
//! * [`controller`]: the Kubernetes glue.
//! * [`runtime`]: clock, leader lease, admin server, shutdown, logs, traces. Knows nothing of policies.

pub mod cli;
pub mod config;
pub mod controller;
pub mod runtime;
