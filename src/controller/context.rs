//! What all reconciles share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::connections::Connections;
use super::events::Events;
use super::head::PolicyHead;
use super::metrics::Metrics;
use super::persist::StatusWriter;
use super::session::Session;
use super::slots::{Slot, Slots};
use super::tell::PolicyInDoubt;
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

/// What this process remembers of single policies. An entry goes when its run ends or its policy goes.
#[derive(Default)]
pub(crate) struct Memory {
    sessions: Mutex<HashMap<PolicyRef, Session>>,
    places: Mutex<HashMap<PolicyRef, (u64, BoxFuture<'static, Slot>)>>,
    errors: Mutex<HashMap<PolicyRef, u32>>,
    in_doubt: Mutex<HashMap<PolicyRef, PolicyInDoubt>>,
    /// The Secret that a policy waits for, where Secrets are watched.
    awaited: Mutex<HashMap<PolicyRef, String>>,
    working: Mutex<HashMap<PolicyRef, Arc<Notify>>>,
}

/// A lock is never held while somebody waits, and what it guards is whole at any time.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    /// Takes the run that this process was working on.
    pub(crate) fn take_session(&self, policy: &PolicyRef) -> Option<Session> {
        lock(&self.sessions).remove(policy)
    }

    /// Keeps a run until the next slice.
    pub(crate) fn keep_session(&self, policy: PolicyRef, session: Session) {
        lock(&self.sessions).insert(policy, session);
    }

    /// Takes the policy's last writes, if they got no answer.
    pub(crate) fn take_in_doubt(&self, policy: &PolicyRef) -> Option<PolicyInDoubt> {
        lock(&self.in_doubt).remove(policy)
    }

    /// Keeps writes without an answer, until a read tells what became of them.
    pub(crate) fn keep_in_doubt(&self, policy: PolicyRef, in_doubt: PolicyInDoubt) {
        lock(&self.in_doubt).insert(policy, in_doubt);
    }

    /// Whether the policy's last writes got no answer.
    pub(crate) fn is_in_doubt(&self, policy: &PolicyRef) -> bool {
        lock(&self.in_doubt).contains_key(policy)
    }

    /// Remembers which Secret of its namespace a policy waits for.
    pub(crate) fn await_secret(&self, policy: PolicyRef, name: String) {
        lock(&self.awaited).insert(policy, name);
    }

    /// The policy waits for none any more.
    pub(crate) fn await_no_secret(&self, policy: &PolicyRef) {
        lock(&self.awaited).remove(policy);
    }

    /// Takes the policies that wait for this Secret.
    pub(crate) fn secret_changed(&self, namespace: &str, name: &str) -> Vec<PolicyRef> {
        let is_of = |policy: &PolicyRef, awaited: &mut String| {
            policy.namespace.as_deref() == Some(namespace) && awaited == name
        };
        lock(&self.awaited).extract_if(is_of).map(|(policy, _)| policy).collect()
    }

    /// Takes a policy's place in line for a slot of this connection.
    pub(crate) fn take_place(&self, policy: &PolicyRef, connection: u64) -> Option<BoxFuture<'static, Slot>> {
        let (of, place) = lock(&self.places).remove(policy)?;
        (of == connection).then_some(place)
    }

    /// Keeps a policy's place in line: neither an edit that changes nothing of its run nor a run that takes the run's
    /// place costs it.
    pub(crate) fn keep_place(&self, policy: PolicyRef, connection: u64, place: BoxFuture<'static, Slot>) {
        lock(&self.places).insert(policy, (connection, place));
    }

    /// Leaves the line.
    pub(crate) fn leave_line(&self, policy: &PolicyRef) {
        // Dropped after the lock: it may wake others.
        let place = lock(&self.places).remove(policy);
        drop(place);
    }

    /// Whether this process was working on a run of the policy.
    pub(crate) fn has_session(&self, policy: &PolicyRef) -> bool {
        lock(&self.sessions).contains_key(policy)
    }

    /// The policies of which anything is kept between two looks.
    pub(crate) fn remembered(&self) -> Vec<PolicyRef> {
        let mut policies: Vec<_> = lock(&self.sessions).keys().cloned().collect();
        policies.extend(lock(&self.errors).keys().cloned());
        policies.extend(lock(&self.places).keys().cloned());
        policies.extend(lock(&self.in_doubt).keys().cloned());
        policies.extend(lock(&self.awaited).keys().cloned());
        policies
    }

    /// Takes all runs.
    pub(crate) fn drain_sessions(&self) -> Vec<(PolicyRef, Session)> {
        lock(&self.sessions).drain().collect()
    }

    /// Forgets a policy that is gone. Gives its run.
    pub(crate) fn forget(&self, policy: &PolicyRef) -> Option<Session> {
        drop(self.take_in_doubt(policy));
        self.await_no_secret(policy);
        self.leave_line(policy);
        self.recovered(policy);
        self.take_session(policy)
    }

    /// Counts an error; how many there were in a row. A slot is not for who waits for something else.
    pub(crate) fn failed(&self, policy: PolicyRef) -> u32 {
        self.leave_line(&policy);
        let mut errors = lock(&self.errors);
        let count = errors.entry(policy).or_default();
        *count = count.saturating_add(1);
        *count
    }

    /// Ends a row of errors.
    pub(crate) fn recovered(&self, policy: &PolicyRef) {
        lock(&self.errors).remove(policy);
    }

    /// Begins a slice of work: what the watch sees is told to it.
    pub(crate) fn begin_work(&self, policy: &PolicyRef) -> Arc<Notify> {
        Arc::clone(lock(&self.working).entry(policy.clone()).or_default())
    }

    /// Ends a slice of work.
    pub(crate) fn end_work(&self, policy: &PolicyRef) {
        lock(&self.working).remove(policy);
    }

    /// Wakes the work on a policy, if there is any.
    pub(crate) fn wake(&self, policy: &PolicyRef) {
        if let Some(work) = lock(&self.working).get(policy) {
            work.notify_one();
        }
    }
}
