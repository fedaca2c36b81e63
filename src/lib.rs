//! dlq-operator: a Kubernetes operator for the dead letter queue (DLQ) of Upstash Workflow.
//!
//! The layers, each using only what stands to its right:
//!
//! ```text
//! main ▶ cli ▶ controller ▶ drain ▶ policy ▶ crd
//!           ╲      ╲          ╲        ╲──▶ upstash::{types, error}
//!            config  runtime    upstash::client
//! ```
//!
//! * [`crd`]: the resource: types, documentation, rules. No behaviour.
//! * [`upstash`]: the API: calls, requests, answers, and the one HTTP client.
//! * [`policy`]: the pure core: what a policy means, what to do now, how a run goes on, what the status says.
//! * [`drain`]: one run's page loop, without Kubernetes.
//! * [`controller`]: the Kubernetes glue.
//! * [`runtime`]: clock, leader lease, admin server, shutdown, logs, traces. Knows nothing of policies.

pub mod cli;
pub mod config;
pub mod controller;
pub mod crd;
pub mod drain;
pub mod policy;
pub mod runtime;
pub mod upstash;
