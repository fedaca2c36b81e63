//! One look at one policy: observe, validate, plan, execute, persist.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::time::{Instant, sleep};
use tracing::{Instrument, debug};

use super::connections::LOOK_AGAIN;
use super::context::{Context, PolicyRef};
use super::error::Error;
use super::found::Found;
use super::head::PolicyHead;
use super::look::{AFTER_CONFLICT, Look};
use super::observe::observe;
use super::report::Named;
use super::slots::{Asked, Slot};
use crate::runtime::leadership::Term;
use dlq_crd::{DlqPolicyStatus, Reason};
use dlq_policy::plan::awaits_token;
use dlq_policy::run::progress::deadline;
use dlq_policy::{Plan, Policy, plan, status, validate};

/// Instants are waited for a little longer, so that a clock that reads early does not find them not yet due.
const PADDING: Duration = Duration::from_millis(100);
/// The longest wait: clocks can be set, and the timer does not see that.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// How long a turn is kept from others after the API server had no answer.
const TURN_AFTER_TROUBLE: Duration = Duration::from_secs(1);

/// Looks at a policy; a panic ends this look and no other.
pub(crate) async fn reconcile(
    head: Arc<PolicyHead>,
    context: Arc<Context>,
    heads: Store<PolicyHead>,
) -> Result<Action, Error> {
    let policy = ObjectRef::from_obj(&*head);
    let since = Instant::now();
    // A standby looks at nothing, but for what it wrote last when it led; when it leads it looks at all.
    let Some(term) = context.leadership.term() else {
        let outcome = Box::pin(caught(stand_by(&policy, &context))).await;
        if outcome.is_ok() {
            context.memory.recovered(&policy);
        }
        return outcome;
    };
    // Namespaces take turns, and the accounts within one. Before the look is begun: thousands may wait here at once.
    let account = heads.get(&policy).map_or(0, |head| head.glance().account);
    let turn = match context.looks.ask(policy.namespace.as_deref().unwrap_or_default(), account) {
        Asked::Granted(turn) => turn,
        Asked::Queued(place) => place.granted().await,
    };
    let outcome = Box::pin(caught(look_at(&policy, &context, heads, term, turn))).await;
    context.metrics.looked(&outcome, since.elapsed());
    if outcome.is_ok() {
        context.memory.recovered(&policy);
    }
    outcome
}

/// What comes of it; a panic ends this look and no other.
async fn caught(look: impl Future<Output = Result<Action, Error>>) -> Result<Action, Error> {
    AssertUnwindSafe(look).catch_unwind().await.unwrap_or(Err(Error::Panicked))
}

/// Tells what became of the last writes, which got no answer.
async fn stand_by(policy: &PolicyRef, context: &Context) -> Result<Action, Error> {
    if context.memory.is_in_doubt(policy) {
        let namespace = policy.namespace.as_deref().unwrap_or_default();
        if let Some(observed) = observe(&context.client, namespace, &policy.name).await? {
            let seen = validate(&observed.source(&BTreeMap::new()), &context.permissions);
            context.settle(policy, &seen, &observed);
        }
        drop(context.memory.take_in_doubt(policy));
    }
    Ok(Action::await_change())
}

async fn look_at(
    reference: &PolicyRef,
    context: &Context,
    heads: Store<PolicyHead>,
    term: Term,
    turn: Slot,
) -> Result<Action, Error> {
    let namespace = reference.namespace.as_deref().unwrap_or_default();
    if context.stop.is_cancelled() || term.is_over() {
        return Ok(Action::await_change());
    }
    let watched = heads.get(reference).map(|head| head.key());
    let observed = match observe(&context.client, namespace, &reference.name).await {
        Ok(observed) => observed,
        Err(error) => {
            if error.is_of_everybody() {
                // So many a second at most, however many policies there are and however fast they are refused.
                tokio::spawn(async move {
                    sleep(TURN_AFTER_TROUBLE).await;
                    drop(turn);
                });
            }
            return Err(error);
        }
    };
    let Some(observed) = observed else {
        drop(context.memory.forget(reference));
        return Ok(Action::await_change());
    };
    let policy = validate(&observed.source(&BTreeMap::new()), &context.permissions);
    context.settle(reference, &policy, &observed);
    let now = (context.clock)();
    let mut found = Found::before_any_question(context, reference, &policy);
    let plan = loop {
        match plan(&policy, &observed.status, &found.facts, now) {
            Ok(plan) => break plan,
            Err(question) => found.answer(question, context, reference, &policy, &observed).await?,
        }
    };
    debug!(policy = %Named(reference), ?plan, "planned");

    let next = status::observed(&policy, &observed.status, &plan, now);
    let look =
        Look { context, reference, policy, observed, found, heads, watched, now, term, turn: Some(turn) };
    // Boxed: most looks find nothing to run, and there may be thousands at once.
    match plan {
        Plan::Start(start) => {
            let span = look.span(&start.run);
            Box::pin(look.start(&next, start)).instrument(span).await
        }
        Plan::Continue { run } => {
            let span = look.span(&run);
            Box::pin(look.go_on(next, &run)).instrument(span).await
        }
        Plan::Cancel { run, why } => {
            let span = look.span(&run);
            Box::pin(look.cancel(&next, &run, &why)).instrument(span).await
        }
        Plan::Invalid(_)
        | Plan::Suspended
        | Plan::Paused
        | Plan::CircuitOpen
        | Plan::Waiting { .. }
        | Plan::Idle { .. }
        | Plan::Missed { .. } => settle(look, &next, &plan).await,
    }
}

/// Writes what the status says of a policy that has nothing to run, and tells when to look again.
async fn settle(mut look: Look<'_>, next: &DlqPolicyStatus, plan: &Plan) -> Result<Action, Error> {
    if look.observed.is_status_readable {
        // No run is in progress: one that is remembered ended, with a write that got no answer or by another process.
        drop(look.context.memory.take_session(look.reference));
        look.context.memory.leave_line(look.reference);
    }
    if look.write_unchanged(next).await? {
        if !look.observed.is_status_readable {
            // Fixing a status wakes nobody.
            return Ok(Action::requeue(LOOK_AGAIN));
        }
        Ok(look_again(plan, &look.policy, next, look.now))
    } else {
        Ok(Action::requeue(AFTER_CONFLICT))
    }
}

fn look_again(plan: &Plan, policy: &Policy, status: &DlqPolicyStatus, now: Timestamp) -> Action {
    match plan {
        Plan::Waiting { on } => {
            let deadline = status.current_run.as_ref().and_then(deadline).map(|deadline| wait(deadline, now));
            // Only an edit or another process brings a connection.
            let secret = (on.reason != Reason::NoConnection).then_some(LOOK_AGAIN);
            deadline.into_iter().chain(secret).min().map_or_else(Action::await_change, Action::requeue)
        }
        Plan::Idle { next: Some(next) } | Plan::Missed { next: Some(next), .. } => {
            Action::requeue(wait(*next, now))
        }
        Plan::Idle { next: None } if awaits_token(policy, status) => Action::requeue(LOOK_AGAIN),
        _ => Action::await_change(),
    }
}

/// How long to wait for an instant.
pub(crate) fn wait(until: Timestamp, now: Timestamp) -> Duration {
    let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
    left.saturating_add(PADDING).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, C, F>(_: fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_look_that_waits_for_its_turn_takes_little_memory() {
        let size = size(reconcile);
        assert!(size < 1024, "{size} bytes, and thousands may wait at once");
    }
}
