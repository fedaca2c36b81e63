//! The Kubernetes glue: watches policies, and for each one observes, validates, plans, executes and persists.
//!
//! ```text
//! watch ──▶ reconcile ──▶ observe ──▶ validate ──▶ plan ──▶ execute ──▶ persist
//!  heads                  fresh read     policy::*           drain       status patch
//! ```

mod connections;
mod context;
mod error;
mod events;
mod execute;
mod found;
mod glance;
mod halt;
mod head;
mod look;
mod memory;
pub mod metrics;
mod observe;
mod persist;
mod reconcile;
mod report;
mod secrets;
mod series;
mod session;
mod slots;
mod tell;
mod unknown;
mod watch;

pub use context::Clock;
pub use watch::{Process, run};
