//! What stops a slice of a run's work: the process stops, or the policy is not what the slice began with.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::reflector::Store;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::context::{Memory, PolicyRef};
use super::head::{HeadKey, PolicyHead};
use crate::drain::Halt;

/// How long a call under way may still take when the policy changes, and when the process stops.
const GRACE_AT_CHANGE: Duration = Duration::from_millis(2500);
const GRACE_AT_STOP: Duration = Duration::from_millis(1500);

/// Compares the watch's newest head with what the slice knows. The watch may be behind the fresh read or catch up with
/// it while the slice goes on, so both are known.
pub(crate) struct RunHalt<'a> {
    memory: &'a Memory,
    stop: CancellationToken,
    heads: Store<PolicyHead>,
    policy: PolicyRef,
    known: [Option<HeadKey>; 2],
    changed: Arc<Notify>,
}

impl<'a> RunHalt<'a> {
    /// `read`: the key of the object that the slice works on.
    pub(crate) fn new(
        memory: &'a Memory,
        stop: CancellationToken,
        heads: Store<PolicyHead>,
        policy: PolicyRef,
        read: HeadKey,
    ) -> Self {
        let changed = memory.begin_work(&policy);
        let watched = heads.get(&policy).map(|head| head.key());
        Self { memory, stop, known: [watched, Some(read)], heads, policy, changed }
    }
}

impl Drop for RunHalt<'_> {
    fn drop(&mut self) {
        self.memory.end_work(&self.policy);
    }
}

impl Halt for RunHalt<'_> {
    fn is_set(&self) -> bool {
        self.stop.is_cancelled() || !self.known.contains(&self.heads.get(&self.policy).map(|head| head.key()))
    }

    async fn raised(&self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.changed.notified() => {}
        }
    }

    fn grace(&self) -> Duration {
        if self.stop.is_cancelled() { GRACE_AT_STOP } else { GRACE_AT_CHANGE }
    }
}
