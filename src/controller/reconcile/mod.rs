//! One turn with one policy: everything between a watch event and the next time that the policy is of interest.

mod changed;
mod ports;
pub(crate) mod release;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep};
use tracing::warn;

use self::ports::PolicyPorts;
use self::release::release;
use crate::controller::context::Context;
use crate::controller::error::Error;
use crate::controller::memory::session::Session;
use crate::controller::names::{Named, PolicyRef};
use crate::controller::slots::Slot;
use crate::controller::watched::Watched;
use crate::controller::watched::class::Class;
use crate::controller::watched::in_hand::Taken;
use crate::runtime::leadership::Term;
use dlq_drain::drive;
use dlq_policy::Attempt;
use dlq_policy::attempt::{Interrupt, Next};
use dlq_policy::run::backoff;
use dlq_upstash::error::with_causes;

/// Scheduled times are waited for a little longer, so that a clock that reads early does not find them not yet due.
const PADDING: Duration = Duration::from_millis(100);
/// The longest wait: clocks can be set, and the timer does not see that.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// How soon the next turn begins where there is more to do: others come first.
const AT_ONCE: Duration = Duration::from_millis(1);
/// A turn that comes within this time finds its object in hand.
const SOON: SignedDuration = SignedDuration::from_mins(2);
/// The shortest wait after an error.
const SHORTEST: Duration = Duration::from_millis(500);
/// How long the right to a turn is kept from others after the API server had no answer.
const TURN_AFTER_TROUBLE: Duration = Duration::from_secs(1);

/// What comes between two turns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Rest {
    pub(crate) wait: Duration,
    /// What the next turn is there for.
    pub(crate) class: Class,
    /// How much later the policy is due, if not at once.
    pub(crate) due_after: Option<Duration>,
}

impl Rest {
    pub(crate) fn until_due(wait: Duration) -> Self {
        Self { wait, class: Class::Due, due_after: None }
    }
}

/// Takes a turn with a policy. What comes before the next one; none until something happens. A panic ends this turn and no
/// other.
pub(crate) async fn reconcile(
    policy: &PolicyRef,
    context: &Context,
    watched: &Watched,
    class: Class,
    right: Option<Slot>,
) -> Option<Rest> {
    let since = Instant::now();
    let term = context.leadership.term();
    // A standby takes no turn, but for what it wrote last when it led; when it leads it takes one with each policy.
    if context.stop.is_cancelled() || (term.is_none() && !context.memory.is_in_doubt(policy)) {
        // Out of date by the next turn.
        drop(context.in_hand.take(policy));
        return None;
    }
    let leads = term.is_some();
    let turn = Box::pin(turn(policy, context, watched, class, term, right));
    let outcome = AssertUnwindSafe(turn).catch_unwind().await.unwrap_or(Err(Error::Panicked));
    if leads {
        context.metrics.looked(&outcome, since.elapsed());
    }
    match outcome {
        Ok(next) => {
            context.memory.recovered(policy);
            next
        }
        Err(error) => Some(Rest::until_due(after_error(policy, context, &error))),
    }
}

/// The turn itself: what is known goes in, the machine is driven, and what it knows then is kept.
async fn turn(
    policy: &PolicyRef,
    context: &Context,
    watched: &Watched,
    class: Class,
    term: Option<Term>,
    right: Option<Slot>,
) -> Result<Option<Rest>, Error> {
    if watched.names_connection(policy) {
        context.shared.listed().await;
    }
    let mut session = context.memory.take_session(policy);
    let (settings, kept) = (Arc::clone(&context.settings), std::mem::take(&mut session.kept));
    let leads = term.is_some();
    let ports = PolicyPorts::new(context, policy, watched, session, term, right);
    let attempt = Attempt::begin(settings, kept, leads, (context.clock)());
    // Taken once the turn is registered as under way, so that nothing older is put in hand afterwards.
    let mut attempt = match context.in_hand.take(policy) {
        Some(Taken { object, is_listed: true }) => attempt.with_listed(ports.show_listed(object)),
        Some(Taken { object, is_listed: false }) => attempt.with_in_hand(ports.show(object)),
        None => attempt,
    };
    if class == Class::Look {
        attempt = attempt.for_a_look();
    }
    let next = drive(&mut attempt, &ports).await;
    if attempt.has_usable_token() {
        context.memory.await_no_secret(policy);
    }
    if is_soon(&next, (context.clock)()) {
        ports.keep_in_hand();
    }
    let (session, right) = ports.end(attempt.keep());
    keep(policy, context, watched, session).await;
    let outcome = next_turn(policy, context, next);
    if let (Err(error), Some(right)) = (&outcome, right)
        && error.is_of_everybody()
    {
        // So many a second at most, however many policies there are and however fast they are refused.
        tokio::spawn(async move {
            sleep(TURN_AFTER_TROUBLE).await;
            drop(right);
        });
    }
    outcome
}

/// Keeps what is known for the next turn, or gives the run back if the policy is gone.
async fn keep(policy: &PolicyRef, context: &Context, watched: &Watched, session: Session) {
    context.memory.keep_session(policy.clone(), session);
    // Looked up afterwards: the watch tells of a deletion once, and may have told before this.
    if watched.key(policy).is_none()
        && !context.stop.is_cancelled()
        && let Some(session) = context.memory.forget(policy)
    {
        Box::pin(release(context, policy, session, Interrupt::Gone)).await;
    }
}

/// What comes before the next turn.
fn next_turn(policy: &PolicyRef, context: &Context, next: Next) -> Result<Option<Rest>, Error> {
    if !matches!(next, Next::Now | Next::OnPermit(_)) {
        context.memory.leave_line(policy);
    }
    Ok(match next {
        Next::Now => Some(Rest::until_due(AT_ONCE)),
        Next::At(time) | Next::OnPermit(time) => Some(Rest::until_due(wait(time, (context.clock)()))),
        Next::Look { at, due } => {
            let now = (context.clock)();
            let first = wait(at, now);
            let due_after = due.map(|due| wait(due, now).saturating_sub(first));
            Some(Rest { wait: first, class: Class::Look, due_after })
        }
        Next::OnChange => None,
        Next::Forget => {
            drop(context.memory.forget(policy));
            None
        }
        Next::Retry(trouble) => return Err(trouble.into()),
    })
}

/// Tries again later and later, each policy by itself.
fn after_error(policy: &PolicyRef, context: &Context, error: &Error) -> Duration {
    let problem = with_causes(error);
    let failures = context.memory.failed(policy.clone());
    warn!(policy = %Named(policy), problem, failures, "reconcile failed");
    SHORTEST + backoff::delay(failures, fastrand::f64())
}

/// Whether the next turn comes so soon that what is known of the object is worth its memory until then.
fn is_soon(next: &Next, now: Timestamp) -> bool {
    matches!(next, Next::At(time) | Next::Look { at: time, .. } if time.duration_since(now) <= SOON)
}

/// How long to wait for a time.
fn wait(until: Timestamp, now: Timestamp) -> Duration {
    let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
    left.saturating_add(PADDING).min(LONGEST_WAIT)
}
