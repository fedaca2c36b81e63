//! What all reconciles share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use tokio_util::sync::CancellationToken;

use super::connections::Connections;
use super::events::Events;
use super::head::PolicyHead;
use super::memory::Memory;
use super::metrics::Metrics;
use super::persist::StatusWriter;
use super::slots::Slots;
use crate::runtime::leadership::Leadership;
use dlq_policy::Permissions;

/// Tells what time it is.
pub type Clock = fn() -> Timestamp;

pub(crate) type PolicyRef = ObjectRef<PolicyHead>;

/// What all reconciles share.
pub(crate) struct Context {
    pub(crate) client: kube::Client,
    pub(crate) status: StatusWriter,
    pub(crate) events: Events,
    pub(crate) connections: Connections,
    pub(crate) permissions: Permissions,
    pub(crate) clock: Clock,
    pub(crate) leadership: Leadership,
    /// This process, as the holder of its runs.
    pub(crate) holder: String,
    pub(crate) retry_limit: u32,
    pub(crate) checkpoint_interval: Duration,
    /// Whether the metadata of Secrets is watched.
    pub(crate) watch_secrets: bool,
    pub(crate) audit: bool,
    pub(crate) stop: CancellationToken,
    pub(crate) slots: Slots,
    /// Policies looked at at once, from the read to the first write.
    pub(crate) looks: Slots,
    pub(crate) memory: Memory,
    pub(crate) metrics: Arc<Metrics>,
}

/// A lock is never held while somebody waits, and what it guards is whole at any time.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
