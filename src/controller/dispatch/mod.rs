//! Which policy has its turn when. Nothing exists for a policy that waits but its name in a line: turns are bounded before
//! they begin, and what is due comes before housekeeping.

mod agenda;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered};
use futures::{FutureExt, StreamExt};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue::Key;
use tracing::error;

use self::agenda::{Agenda, Ask};
use crate::controller::context::Context;
use crate::controller::names::PolicyRef;
use crate::controller::reconcile::{Rest, reconcile};
use crate::controller::slots::{Asked, Slot};
use crate::controller::watched::Watched;
use crate::controller::watched::class::Class;

/// How soon a policy has its next turn if one was lost.
const AFTER_LOSS: Duration = Duration::from_secs(1);

/// A policy that is to have a turn.
pub(crate) type Trigger = (PolicyRef, Class);

/// Gives policies their turns until the process is to stop, and lets those under way end.
pub(crate) async fn dispatch(
    mut triggers: BoxStream<'_, Vec<Trigger>>,
    context: Arc<Context>,
    watched: Watched,
) {
    let mut dispatcher = Dispatcher {
        context: Arc::clone(&context),
        watched,
        agenda: Agenda::default(),
        timers: DelayQueue::new(),
        asked: FuturesUnordered::new(),
        turns: JoinSet::new(),
        tasks: HashMap::new(),
    };
    loop {
        tokio::select! {
            biased;
            () = context.stop.cancelled() => break,
            Some(ended) = dispatcher.turns.join_next_with_id() => dispatcher.joined(ended),
            Some((policy, ask, right)) = dispatcher.asked.next() => dispatcher.begin(policy, ask, Some(right)),
            Some(policies) = triggers.next() => {
                for (policy, class) in policies {
                    dispatcher.trigger(policy, class);
                }
            }
            Some(rested) = dispatcher.timers.next() => dispatcher.rested(rested.into_inner()),
        }
    }
    dispatcher.asked.clear();
    while dispatcher.turns.join_next().await.is_some() {}
}

struct Dispatcher {
    context: Arc<Context>,
    watched: Watched,
    agenda: Agenda<PolicyRef, Key>,
    timers: DelayQueue<Timer>,
    /// The lines for a right to a turn.
    asked: FuturesUnordered<BoxFuture<'static, (PolicyRef, Ask, Slot)>>,
    /// Each yields what comes before the policy's next turn; none: until something happens.
    turns: JoinSet<Option<Rest>>,
    /// Whose turn it is.
    tasks: HashMap<Id, PolicyRef>,
}

/// What happens when a policy has rested.
struct Timer {
    policy: PolicyRef,
    /// How much longer until it is due, if it is not due yet.
    due_after: Option<Duration>,
}

impl Dispatcher {
    fn trigger(&mut self, policy: PolicyRef, class: Class) {
        let (ask, timer) = self.agenda.trigger(&policy, class);
        if let Some(timer) = timer {
            self.timers.remove(&timer);
        }
        self.ask(policy, ask);
    }

    /// A timer has fired.
    fn rested(&mut self, Timer { policy, due_after }: Timer) {
        let ask = self.agenda.rested(&policy);
        if let (Some(_), Some(wait)) = (ask, due_after) {
            let timer = self.timers.insert(Timer { policy: policy.clone(), due_after: None }, wait);
            self.agenda.due_when(&policy, timer);
        }
        self.ask(policy, ask);
    }

    /// Asks for the right to a turn. Namespaces take turns, and the accounts within one.
    fn ask(&mut self, policy: PolicyRef, ask: Option<Ask>) {
        let Some(ask) = ask else { return };
        if self.context.memory.has_permit(&policy) {
            // A permit is scarcer than the right to a turn.
            return self.begin(policy, ask, None);
        }
        let account = self.watched.store.get(&policy).map_or(0, |watched| watched.summary().account);
        let namespace = policy.namespace.as_deref().unwrap_or_default();
        match self.context.rights.of(ask.class).ask(namespace, account) {
            Asked::Granted(right) => self.begin(policy, ask, Some(right)),
            Asked::Queued(place) => {
                self.asked.push(place.granted().map(move |right| (policy, ask, right)).boxed());
            }
        }
    }

    fn begin(&mut self, policy: PolicyRef, ask: Ask, right: Option<Slot>) {
        let (begins, timer) = self.agenda.granted(&policy, ask);
        if let Some(timer) = timer {
            self.timers.remove(&timer);
        }
        if begins {
            let (context, watched) = (Arc::clone(&self.context), self.watched.clone());
            let of = policy.clone();
            let turn =
                self.turns.spawn(async move { reconcile(&of, &context, &watched, ask.class, right).await });
            self.tasks.insert(turn.id(), policy);
        }
    }

    /// A task ended: with its turn, or with a panic outside of what the turn catches.
    fn joined(&mut self, ended: Result<(Id, Option<Rest>), JoinError>) {
        let (id, next) = ended.unwrap_or_else(|problem| {
            error!(%problem, "a turn was lost; please report this as a bug");
            (problem.id(), Some(Rest::until_due(AFTER_LOSS)))
        });
        if let Some(policy) = self.tasks.remove(&id) {
            self.ended(policy, next);
        }
    }

    fn ended(&mut self, policy: PolicyRef, next: Option<Rest>) {
        let ask = self.agenda.ended(&policy);
        if let (None, Some(Rest { wait, class, due_after })) = (ask, next) {
            let timer = self.timers.insert(Timer { policy: policy.clone(), due_after }, wait);
            self.agenda.rest(policy, timer, class);
        } else {
            self.ask(policy, ask);
        }
    }
}
