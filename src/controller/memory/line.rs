//! A policy's place in line for a permit, from one turn to the next.

use std::sync::{Arc, Mutex};

use tokio_util::task::AbortOnDropHandle;

use crate::controller::names::lock;
use crate::controller::slots::{Place, Slot};
use dlq_policy::attempt::AccountId;

/// A place in line for a permit, or the permit that was granted since. Given up when it is dropped.
pub(crate) struct Line {
    account: AccountId,
    granted: Arc<Mutex<Option<Slot>>>,
    /// Waits for the grant.
    _wait: AbortOnDropHandle<()>,
}

impl Line {
    /// Keeps a place. `wake` is called once the permit is granted.
    pub(crate) fn join(account: AccountId, place: Place, wake: impl FnOnce() + Send + 'static) -> Self {
        let granted = Arc::<Mutex<Option<Slot>>>::default();
        let here = Arc::clone(&granted);
        let wait = tokio::spawn(async move {
            *lock(&here) = Some(place.granted().await);
            wake();
        });
        Self { account, granted, _wait: AbortOnDropHandle::new(wait) }
    }

    pub(crate) fn is_for(&self, account: AccountId) -> bool {
        self.account == account
    }

    pub(crate) fn is_granted(&self) -> bool {
        lock(&self.granted).is_some()
    }

    /// The permit, if it was granted.
    pub(crate) fn permit(self) -> Result<Slot, Self> {
        let slot = lock(&self.granted).take();
        slot.ok_or(self)
    }
}
