//! The Kubernetes side: watches policies, gives each its turn, and does the IO of a turn. What is decided in a turn is in
//! [`dlq_policy::attempt`].
//!
//! ```text
//! watch ──▶ dispatch ──▶ reconcile ──▶ drive ◀──▶ attempt (pure)
//! watched   in line      one turn       │
//!                                        ▼
//!                    ports: api · connections · slots · tell · Upstash
//! ```

mod api;
mod budgets;
mod checks;
mod connections;
mod context;
mod dispatch;
mod error;
mod looks;
mod memory;
pub mod metrics;
mod names;
mod reconcile;
mod shared;
mod slots;
mod tell;
mod watch;
mod watched;

pub use names::Clock;
pub use watch::{Process, run};
