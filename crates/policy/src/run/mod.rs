//! A run: which call comes next, what an answer changes, when it ends.
//!
//! [`Progress`] is the machine. A refused page is taken apart by `bisection`, refused IDs by `chunks`; `cursors` knows where the
//! next page begins, `pace` when it may be asked for, `approval` whether somebody has to approve it first, and `outcome` what is said at
//! the end. Where a run selects by listing,
//! `verdict` decides on each entry by `judge` and `attempts`, `in_hand` has what is to be acted on, and `label_probes` and `returns`
//! look at what came back.

mod activity;
pub(crate) mod approval;
pub(crate) mod attempts;
pub mod backoff;
pub(crate) mod batch;
pub(crate) mod bisection;
pub(crate) mod budgeted;
pub(crate) mod chunks;
pub(crate) mod cursors;
pub(crate) mod flights;
pub(crate) mod in_hand;
pub(crate) mod judge;
pub(crate) mod label_probes;
pub(crate) mod listing;
#[cfg(test)]
mod one_by_one;
pub(crate) mod outcome;
pub(crate) mod pace;
pub(crate) mod pages;
#[cfg(test)]
mod parallel_tests;
pub(crate) mod past;
pub mod progress;
#[cfg(test)]
mod progress_listing_properties;
#[cfg(test)]
mod progress_listing_tests;
#[cfg(test)]
mod progress_properties;
pub(crate) mod returns;
pub(crate) mod seen;
pub(crate) mod split;
pub(crate) mod verdict;
pub(crate) mod window;
pub(crate) mod workers;

pub use activity::Activity;
pub use attempts::{Attempts, NewLabels, next_labels};
pub use outcome::{Outcome, figures, with_advice};
pub use progress::{Progress, Step};
pub use verdict::{Verdict, Why, verdict};
pub use window::Bound;
