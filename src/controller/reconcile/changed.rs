//! How a turn hears of what the watch sees.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::controller::context::Context;
use crate::controller::names::PolicyRef;

/// Is told when the watch sees the policy, until it is dropped.
pub(super) struct Changed<'a> {
    pub(super) context: &'a Context,
    pub(super) policy: &'a PolicyRef,
    pub(super) notify: Arc<Notify>,
}

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        self.context.memory.end_work(self.policy, &self.notify);
    }
}
