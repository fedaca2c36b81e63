//! What stops a slice of a run's work: the process stops or no longer leads, the policy is not what the slice began with,
//! or the instant has come that replaces the run.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::reflector::Store;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::context::{Context, PolicyRef};
use super::head::{HeadKey, PolicyHead};
use super::observe::observe;
use super::reconcile::wait;
use crate::runtime::leadership::Term;
use dlq_drain::Halt;
use dlq_policy::{Facts, Plan, plan, validate};

/// How long a call under way may still take when the policy changes, and when the process stops.
const GRACE_AT_CHANGE: Duration = Duration::from_millis(2500);
const GRACE_AT_STOP: Duration = Duration::from_millis(1500);

/// Compares the watch's newest head with what the slice knows. The watch may be behind the fresh read or catch up with
/// it while the slice continues, so both are known. What has changed stops the slice before its next call; a call under way
/// is cut short only by what ends the run.
pub(crate) struct RunHalt<'a> {
    context: &'a Context,
    heads: Store<PolicyHead>,
    policy: PolicyRef,
    known: Vec<HeadKey>,
    changed: Arc<Notify>,
    term: Term,
    replaced_at: Option<Timestamp>,
}

impl<'a> RunHalt<'a> {
    /// `known`: the key of the object that the slice works on, and what the watch had before that was read.
    /// `replaced_at`: when another run takes the place of this.
    pub(crate) fn new(
        context: &'a Context,
        heads: Store<PolicyHead>,
        policy: PolicyRef,
        known: Vec<HeadKey>,
        term: Term,
        replaced_at: Option<Timestamp>,
    ) -> Self {
        let changed = context.memory.begin_work(&policy);
        Self { context, heads, policy, known, changed, term, replaced_at }
    }

    fn is_replaced(&self) -> bool {
        self.replaced_at.is_some_and(|at| at <= (self.context.clock)())
    }

    fn is_changed(&self) -> bool {
        self.heads.get(&self.policy).is_none_or(|head| !self.known.contains(&head.key()))
    }

    /// Whether what has changed ends the run. Where nobody can tell, it does.
    async fn is_over(&self) -> bool {
        if self.heads.get(&self.policy).is_none() {
            return true;
        }
        let namespace = self.policy.namespace.as_deref().unwrap_or_default();
        let Ok(Some(observed)) = observe(&self.context.client, namespace, &self.policy.name).await else {
            return true;
        };
        let policy = validate(&observed.source(&BTreeMap::new()), &self.context.permissions);
        let facts = Facts { holds_run: true, ..Facts::default() };
        !matches!(plan(&policy, &observed.status, &facts, (self.context.clock)()), Ok(Plan::Continue { .. }))
    }
}

impl Drop for RunHalt<'_> {
    fn drop(&mut self) {
        self.context.memory.end_work(&self.policy);
    }
}

impl Halt for RunHalt<'_> {
    fn is_set(&self) -> bool {
        self.context.stop.is_cancelled() || self.is_lost() || self.is_changed() || self.is_replaced()
    }

    async fn raised(&self) {
        let replaced = async {
            match self.replaced_at {
                Some(at) if !self.is_replaced() => sleep(wait(at, (self.context.clock)())).await,
                _ => pending().await,
            }
        };
        tokio::select! {
            () = self.context.stop.cancelled() => {}
            () = self.term.over() => {}
            () = self.changed.notified() => {}
            () = replaced => {}
        }
    }

    async fn grace(&self) -> Option<Duration> {
        if self.is_lost() {
            Some(Duration::ZERO)
        } else if self.context.stop.is_cancelled() {
            Some(GRACE_AT_STOP)
        } else if self.is_replaced() {
            Some(GRACE_AT_CHANGE)
        } else {
            let since = Instant::now();
            let looked = timeout(GRACE_AT_CHANGE, self.is_over()).await;
            let is_over = looked.unwrap_or(true);
            is_over.then(|| GRACE_AT_CHANGE.saturating_sub(since.elapsed()))
        }
    }

    fn longest_call(&self) -> Duration {
        self.term.time_for_a_call()
    }

    fn is_lost(&self) -> bool {
        self.term.is_over()
    }
}
