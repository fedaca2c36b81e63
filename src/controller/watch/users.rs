//! Has policies looked at again when the connection that they share changes.

use std::sync::Arc;

use kube::runtime::reflector::ObjectRef;
use tokio::sync::broadcast::error::RecvError;

use crate::controller::context::Context;
use crate::controller::shared::Affected;
use crate::controller::slots::slots_of;
use crate::controller::watched::Watched;
use crate::controller::watched::class::Class;

/// More policies than that are looked at page by page instead of one by one, but for those that are due.
const MOST_AT_ONCE: usize = 100;

/// Follows the changes until this is dropped.
pub(super) async fn wake_users(context: Arc<Context>, watched: Watched) {
    let mut changes = context.shared.affected();
    loop {
        let affected = match changes.recv().await {
            Ok(affected) => Some(affected),
            // So many that some were not kept.
            Err(RecvError::Lagged(_)) => None,
            Err(RecvError::Closed) => return,
        };
        let edited = match &affected {
            Some(Affected::Connection(name)) => vec![name.clone()],
            Some(Affected::Namespace(_)) => Vec::new(),
            Some(Affected::Kind(_)) | None => context.shared.names(),
        };
        // A limit that was raised starts those in line at once.
        for name in &edited {
            context.slots.limit(slots_of(name), context.shared.limit_of_runs(name));
        }
        let now = (context.clock)();
        let users = watched.store.state().into_iter().filter(|policy| {
            let is_user = |name| affected.as_ref().is_none_or(|it| it.is(&name, policy.namespace()));
            policy.connection().is_some_and(is_user)
        });
        let (due, others): (Vec<_>, Vec<_>) = users.partition(|policy| policy.class(now) == Class::Due);
        let is_many = others.len() > MOST_AT_ONCE;
        if is_many {
            watched.round.notify_one();
        }
        for policy in due.into_iter().chain(others.into_iter().filter(|_| !is_many)) {
            let policy = ObjectRef::from_obj(&*policy);
            context.memory.wake(&policy);
            watched.wake(&policy)();
        }
    }
}
