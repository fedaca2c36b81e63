//! What any service needs, and nothing of policies: the clock, the leader lease, the admin server, shutdown, logs, metrics,
//! traces.

pub mod admin;
pub mod clock;
pub mod election;
pub mod leadership;
pub mod lease;
pub mod metrics;
pub mod readiness;
pub mod shutdown;
pub mod telemetry;
mod unanswered;
