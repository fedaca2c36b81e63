//! What this process knows of a policy from one turn to the next.

use crate::controller::connections::Connected;
use crate::controller::metrics::RunWaits;
use dlq_policy::attempt::Kept;

/// What is known of a policy from one turn to the next.
#[derive(Default)]
pub(crate) struct Session {
    pub(crate) kept: Kept,
    /// The account of its run.
    pub(crate) connected: Option<Connected>,
    /// How long its run waits because Upstash asked for it.
    pub(crate) waits: Option<RunWaits>,
}

impl Session {
    /// Whether nothing is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}
