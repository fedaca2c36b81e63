//! kubectl-dlq: see, try, run and drain dead letter queues of Upstash Workflow from a terminal, in a cluster or without one.
//!
//! ```text
//! main ▶ cli ─▶ see, act ──────────▶ cluster
//!            ╲▶ preview, explain ──▶ cluster or manifest, account ──▶ [upstash], [policy]
//!            ╲▶ lint ──────────────▶ manifest ──▶ [policy]
//!            ╲▶ drain ─────────────▶ manifest, account ──▶ [drain] ──▶ [policy]
//! ```
//!
//! What a policy means, what is due and how a run continues is decided by the operator's own libraries, never here.

pub mod cli;
pub mod lint;
pub mod manifest;
pub mod outcome;
