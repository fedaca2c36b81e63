//! kubectl-dlq: see, try, run and drain dead letter queues of Upstash Workflow from a terminal, in a cluster or without one.
//!
//! ```text
//! main ▶ cli ─▶ see, act ──────────▶ cluster
//!            ╲▶ preview ───────────▶ subject, account, drain
//!            ╲▶ explain ───────────▶ subject, account, rehearsal ──▶ [upstash], [policy]
//!            ╲▶ lint ──────────────▶ manifest ──▶ [policy]
//!            ╲▶ drain ─────────────▶ subject, account ──▶ [drain] ──▶ [policy]
//! ```
//!
//! A [`subject`] is a policy of the [`cluster`] or of a [`manifest`], as one run of it.
//!
//! What a policy means, what is due and how a run continues is decided by the operator's own libraries, never here.

pub mod account;
pub mod act;
pub mod cli;
mod clock;
pub mod cluster;
pub mod completion;
pub mod drain;
pub mod explain;
pub mod lint;
pub mod manifest;
pub mod outcome;
pub mod preview;
pub mod rehearsal;
#[cfg(test)]
mod sample;
pub mod see;
pub mod subject;
pub mod terminal;
