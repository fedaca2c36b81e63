//! A run: which call comes next, what an answer changes, when it ends.
//!
//! [`Progress`] is the machine. A refused page is taken apart by `bisection`, refused IDs by `chunks`; `cursors` knows where the
//! next page begins, `pace` when it may be asked for, and `outcome` what is said at the end.

mod activity;
pub mod backoff;
pub(crate) mod bisection;
pub(crate) mod chunks;
pub(crate) mod cursors;
pub(crate) mod judge;
pub(crate) mod outcome;
pub(crate) mod pace;
pub mod progress;
#[cfg(test)]
mod progress_properties;
mod seen;
pub(crate) mod window;

pub use activity::Activity;
pub use outcome::{Outcome, with_advice};
pub use progress::{Progress, Step};
