//! How runs are given back: the last turn with a policy.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::ports::PolicyPorts;
use crate::controller::context::Context;
use crate::controller::memory::session::Session;
use crate::controller::names::PolicyRef;
use dlq_drain::drive;
use dlq_policy::Attempt;
use dlq_policy::attempt::{Event, Interrupt};

/// How long after the signal runs may still be given back. The lease is held meanwhile, and a pod has 30 s.
pub(crate) const RELEASE_TIMEOUT: Duration = Duration::from_secs(20);
/// How many are given back at once: more would be slower, each on a connection of its own.
const RELEASES: usize = 16;

/// Gives back all runs that wait for their next turn, for a clean stop. A run that is not given back by then counts an
/// interruption when it is taken over.
pub(crate) async fn release_all(context: &Context, until: Instant) {
    let sessions = context.memory.take_runs();
    let left = AtomicUsize::new(sessions.len());
    let releases = stream::iter(sessions).for_each_concurrent(RELEASES, |(policy, session)| {
        let left = &left;
        async move {
            release(context, &policy, session, Interrupt::Stop).await;
            left.fetch_sub(1, Ordering::Relaxed);
        }
    });
    if timeout_at(until, releases).await.is_err() {
        let runs = left.load(Ordering::Relaxed);
        warn!(
            runs,
            "not every run could be given back in time; those that were not will say that they were interrupted"
        );
    }
}

/// Gives a run back, so that the process that takes it over knows that its counts are whole: the last turn with a policy.
pub(crate) async fn release(context: &Context, policy: &PolicyRef, mut session: Session, why: Interrupt) {
    let (kept, now) = (std::mem::take(&mut session.kept), (context.clock)());
    let mut attempt = Attempt::begin(context.settings.clone(), kept, true, now);
    attempt.on(Event::Interrupted(why), now);
    drive(&mut attempt, &PolicyPorts::of_a_policy_that_goes(context, policy, session)).await;
}
