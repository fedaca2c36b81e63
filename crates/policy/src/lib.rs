//! The pure core: what a policy means, what to do now, how a run goes on, what the status says.
//!
//! Nothing here waits, reads a clock, an address or the environment: facts come in as arguments and decisions go out as
//! values, so that every rule has a table test.
//!
//! ```text
//! spec, annotations ──validate──▶ Policy ──plan(status, now)──▶ Plan ──▶ status
//!                                            run ──progress──▶ next call, wait or end
//! ```

mod activity;
pub mod backoff;
mod cancel;
pub mod changes;
mod chunks;
mod conditions;
mod cursors;
mod duration;
mod ending;
mod hash;
pub mod instants;
mod judge;
mod pace;
pub mod permissions;
pub mod plan;
pub mod progress;
#[cfg(test)]
mod progress_properties;
mod readiness;
#[cfg(test)]
mod sample;
pub mod schedule;
mod selection;
mod sifting;
#[cfg(test)]
mod simulation_tests;
mod size;
pub mod status;
pub mod validate;
mod window;

pub use activity::Activity;
pub use cancel::CancelCause;
pub use changes::{Changes, EventReason, InDoubt, PolicyEvent, Settled, changes};
pub use conditions::Truth;
pub use ending::Ending;
pub use permissions::Permissions;
pub use plan::{Connectivity, Facts, Plan, Question, Start, plan};
pub use progress::{Progress, Step};
pub use schedule::Schedule;
pub use selection::Selected;
pub use validate::{ConnectionRef, Invalid, Policy, Requests, Work, validate};
