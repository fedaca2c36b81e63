//! The pure core: what a policy means, what to do now, how a run continues, what the status says.
//!
//! Nothing here waits, reads a clock, an address or the environment: facts come in as arguments and decisions go out as
//! values, so that every rule has a table test.
//!
//! ```text
//! spec, annotations ──validate──▶ Policy ──plan(status, facts, now)──▶ Plan ──▶ status ──changes──▶ events, counts
//!                                                                       run ──▶ next call, wait or end
//! ```

pub mod attempt;
pub mod backlog;
pub mod budget;
pub mod changes;
mod json_bytes;
pub mod plan;
pub mod run;
#[cfg(test)]
mod sample;
pub mod schedule;
#[cfg(test)]
mod simulation_tests;
pub mod spec;
pub mod status;

pub use attempt::Attempt;
pub use changes::{Changes, EventReason, InDoubt, ObjectEvent, Settled, changes};
pub use plan::{CancelCause, Connectivity, Facts, Plan, Question, Start, plan};
pub use run::{Activity, Outcome, Progress, Step, with_advice};
pub use schedule::Schedule;
pub use spec::{
    ConnectionName, ConnectionRef, Invalid, Permissions, Policy, Requests, Selected, SharedConnection, Work,
    validate,
};
pub use status::Truth;
