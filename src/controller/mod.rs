//! The Kubernetes glue: watches policies, and for each one observes, validates, plans, executes and persists.
//!
//! ```text
//! watch ──▶ reconcile ──▶ observe ──▶ validate ──▶ plan ──▶ execute ──▶ persist
//!  heads                  fresh read     policy::*           drain       status patch
//! ```

mod api;
mod connections;
mod context;
mod dispatch;
mod error;
mod memory;
pub mod metrics;
mod names;
mod reconcile;
mod slots;
mod tell;
mod watch;
mod watched;

pub use names::Clock;
pub use watch::{Process, run};
