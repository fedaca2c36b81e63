//! What any service needs, and nothing of policies: the clock, the admin server, shutdown, logs.

pub mod admin;
pub mod clock;
pub mod readiness;
pub mod shutdown;
pub mod telemetry;
