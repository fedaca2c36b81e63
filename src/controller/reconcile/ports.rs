//! All IO of a turn with one policy. What is decided on it is decided elsewhere.

mod see;
mod state;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::pending;
use jiff::Timestamp;
use tokio::sync::Notify;
use tracing::Span;

use self::state::State;
use super::changed::Changed;
use crate::controller::api::observe::{decode, observe};
use crate::controller::api::persist::Written;
use crate::controller::context::Context;
use crate::controller::memory::line::Line;
use crate::controller::memory::session::Session;
use crate::controller::names::{Named, PolicyRef, lock};
use crate::controller::slots::{Asked, Limit, Slot};
use crate::controller::tell::report;
use crate::controller::watched::Watched;
use crate::controller::watched::policy::ChangeKey;
use crate::runtime::leadership::Term;
use dlq_crd::PolicyRun;
use dlq_drain::Ports;
use dlq_policy::attempt::{
    AccountId, Found, Interrupt, Kept, Looked, Seen, StatusWrite, Told, Trouble, WriteOutcome,
};
use dlq_policy::backlog::Look;
use dlq_policy::budget::{Grant, Reserved, Unused};
use dlq_policy::plan::Freshness;
use dlq_policy::{ConnectionRef, Invalid};
use dlq_upstash::Client;

/// All IO for one policy, for one turn.
pub(crate) struct PolicyPorts<'a> {
    context: &'a Context,
    policy: &'a PolicyRef,
    name: String,
    /// The time in which this process leads. None for a policy that goes, and for a standby.
    term: Option<Term>,
    /// Where the policy is among those that are watched; nowhere, if it goes.
    watched: Option<&'a Watched>,
    changed: Changed<'a>,
    state: Mutex<State>,
}

impl<'a> PolicyPorts<'a> {
    /// For a turn of a process that leads in this `term`, or of a standby. `turn` is the right to it.
    pub(crate) fn new(
        context: &'a Context,
        policy: &'a PolicyRef,
        watched: &'a Watched,
        session: Session,
        term: Option<Term>,
        turn: Option<Slot>,
    ) -> Self {
        // Before it is looked up: what comes after that is then not missed.
        let notify = context.memory.begin_work(policy);
        let known = watched.key(policy).into_iter().collect();
        Self { term, watched: Some(watched), ..Self::build(context, policy, session, turn, notify, known) }
    }

    /// For the last turn with a policy.
    pub(crate) fn of_a_policy_that_goes(
        context: &'a Context,
        policy: &'a PolicyRef,
        session: Session,
    ) -> Self {
        Self::build(context, policy, session, None, Arc::default(), Vec::new())
    }

    fn build(
        context: &'a Context,
        policy: &'a PolicyRef,
        session: Session,
        turn: Option<Slot>,
        notify: Arc<Notify>,
        known: Vec<ChangeKey>,
    ) -> Self {
        let Session { connected, waits, .. } = session;
        let accounts = [connected, None];
        let state =
            State { turn, slots: None, accounts, waits, known, told: None, seen: None, written: None };
        Self {
            context,
            policy,
            name: Named(policy).to_string(),
            term: None,
            watched: None,
            changed: Changed { context, policy, notify },
            state: Mutex::new(state),
        }
    }

    /// What is known for the turn to come, and the right to this one, if it was not given back.
    pub(crate) fn end(self, kept: Kept) -> (Session, Option<Slot>) {
        let State { turn, accounts, waits, .. } =
            self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let account = kept.account();
        let waits = kept.run().map(|run| {
            // Also of a wait that began in another process.
            let waits = waits.unwrap_or_else(|| self.context.metrics.run_waits());
            waits.follow(run);
            waits
        });
        let connected =
            accounts.into_iter().flatten().find(|connected| Some(connected.fingerprint) == account);
        (Session { kept, connected, waits }, turn)
    }

    /// Keeps the object after the last write for the next turn.
    pub(crate) fn keep_in_hand(&self) {
        let written = lock(&self.state).written.take();
        written.inspect(|object| self.context.in_hand.put(self.policy.clone(), object));
    }

    /// How many runs may be at work with an account.
    fn limit_of_runs(&self, state: &State, account: AccountId) -> Limit {
        let shared = state.shared(account);
        shared.map_or(Limit::AsBefore, |name| self.context.shared.limit_of_runs(&name))
    }

    fn namespace(&self) -> &str {
        self.policy.namespace.as_deref().unwrap_or_default()
    }

    /// What has happened and was not told of yet.
    fn news(&self) -> Option<Interrupt> {
        let mut state = lock(&self.state);
        let why = if self.term.as_ref().is_some_and(Term::is_over) {
            Interrupt::TermOver
        } else if self.context.stop.is_cancelled() {
            Interrupt::Stop
        } else {
            match self.watched?.key(self.policy) {
                None => Interrupt::Gone,
                Some(key) if state.known.contains(&key) => return None,
                Some(key) => {
                    state.known.push(key);
                    return Some(Interrupt::Changed);
                }
            }
        };
        (state.told < Some(why)).then(|| {
            state.told = Some(why);
            why
        })
    }
}

impl Ports for PolicyPorts<'_> {
    fn now(&self) -> Timestamp {
        (self.context.clock)()
    }

    async fn read(&self) -> Result<Option<Arc<Seen>>, Trouble> {
        // The watch may be behind what is read.
        let watched = self.watched.and_then(|watched| watched.key(self.policy));
        let read = observe(&self.context.client, self.namespace(), &self.policy.name).await?;
        lock(&self.state).known = watched.into_iter().collect();
        Ok(read.map(|observed| self.see(observed)))
    }

    async fn resolve(
        &self,
        connection: ConnectionRef,
        freshness: Freshness,
    ) -> Result<Result<Found, Invalid>, Trouble> {
        let connections = &self.context.connections;
        if let ConnectionRef::Secret { namespace, secret, .. } = &connection
            && self.context.watch_secrets
        {
            // Before the look: what comes after it is then not missed.
            let secret = (namespace.clone(), secret.name.to_string());
            self.context.memory.await_secret(self.policy.clone(), secret);
        }
        if freshness == Freshness::Known
            && let Some(found) = connections.known(&connection)
        {
            return Ok(found.map(|version| Found { version, account: None }));
        }
        let found = connections.look(&connection, freshness).await?;
        Ok(found.map(|connected| {
            let found = Found { version: connected.secret.clone(), account: Some(connected.fingerprint) };
            let mut state = lock(&self.state);
            // The run may still use the one that was found before.
            let before = state.accounts[1].replace(connected);
            if state.accounts[0].is_none() {
                state.accounts[0] = before;
            }
            found
        }))
    }

    async fn write(&self, write: StatusWrite) -> WriteOutcome {
        if write.purpose.ends_work() {
            // The run makes no call any more.
            lock(&self.state).slots = None;
        }
        match self.context.status.write(self.policy, &write).await {
            Ok(Some(Written { object, text })) => {
                let version = object.metadata.resource_version.clone().unwrap_or_default();
                // In this order, as the watch may show it in between.
                self.context.in_hand.wrote(self.policy.clone(), version.clone());
                if self.watched.is_some_and(|watched| watched.has_shown(self.policy, &version)) {
                    self.context.in_hand.is_shown(self.policy, Some(&version));
                }
                lock(&self.state).written = Some(text);
                WriteOutcome::Done(self.see(decode(object)))
            }
            Ok(None) => WriteOutcome::Same,
            Err(error) => error.outcome(),
        }
    }

    async fn reserve(&self, account: AccountId, entries: u64) -> Result<Reserved, Trouble> {
        let shared = lock(&self.state).shared(account);
        match shared {
            Some(name) => self.context.budgets.reserve(&name, entries, self.now()).await,
            None => Ok(Reserved::Granted(Grant::unlimited(entries))),
        }
    }

    async fn give_back(&self, account: AccountId, unused: Unused) {
        let shared = lock(&self.state).shared(account);
        if let Some(name) = shared {
            self.context.budgets.give_back(&name, unused, self.now()).await;
        }
    }

    fn permit(&self, account: AccountId) -> bool {
        let mut state = lock(&self.state);
        if state.slots.as_ref().is_some_and(|(of, _)| *of == account) {
            return true;
        }
        let limit = self.limit_of_runs(&state, account);
        let line = match self.context.memory.take_line(self.policy, account) {
            Some(line) => line,
            None => match self.context.slots.ask_within(self.namespace(), state.slots_of(account), limit) {
                Asked::Granted(slot) => {
                    state.slots = Some((account, vec![slot]));
                    return true;
                }
                Asked::Queued(place) => match self.watched {
                    Some(watched) => Line::join(account, place, watched.wake(self.policy)),
                    None => return false,
                },
            },
        };
        // Others take their turns meanwhile.
        state.turn = None;
        match line.permit() {
            Ok(slot) => {
                state.slots = Some((account, vec![slot]));
                true
            }
            Err(line) => {
                self.context.memory.keep_line(self.policy.clone(), line);
                false
            }
        }
    }

    fn further_permit(&self, account: AccountId) -> bool {
        let mut state = lock(&self.state);
        let limit = self.limit_of_runs(&state, account);
        let of = state.slots_of(account);
        let Some((_, slots)) = state.slots.as_mut().filter(|(of, _)| *of == account) else { return false };
        let further = self.context.slots.ask_if_free(self.namespace(), of, limit);
        let is_granted = further.is_some();
        slots.extend(further);
        is_granted
    }

    fn client(&self, account: AccountId) -> Option<Client> {
        let mut state = lock(&self.state);
        state.turn = None;
        state.client(account)
    }

    async fn look(&self, look: Look, account: AccountId) -> Looked {
        let client = lock(&self.state).client(account);
        let (Some(client), Some(term)) = (client, self.term.clone()) else {
            return Looked::Failed { at: look.at() };
        };
        let (policy, clock) = (self.name.clone(), self.context.clock);
        let begin = |look| {
            async move { dlq_drain::look(look, &policy, &client, clock, || term.time_for_a_call()).await }
                .boxed()
        };
        self.context.looks.share(look, account, begin).await
    }

    fn time_for_a_call(&self) -> Duration {
        self.term.as_ref().map_or(Duration::ZERO, Term::time_for_a_call)
    }

    async fn interrupted(&self) -> Interrupt {
        let term_over = async {
            match &self.term {
                Some(term) if lock(&self.state).told < Some(Interrupt::TermOver) => term.over().await,
                _ => pending().await,
            }
        };
        let stopped = async {
            if lock(&self.state).told >= Some(Interrupt::Stop) {
                pending::<()>().await;
            }
            self.context.stop.cancelled().await;
        };
        tokio::pin!(term_over, stopped);
        loop {
            if let Some(why) = self.news() {
                return why;
            }
            tokio::select! {
                () = &mut term_over => {}
                () = &mut stopped => {}
                () = self.changed.notify.notified() => {}
            }
        }
    }

    fn tell(&self, told: Told) {
        self.context.tell(self.policy, told);
    }

    fn works(&self, run: &PolicyRun) {
        let waits = &mut lock(&self.state).waits;
        waits.get_or_insert_with(|| self.context.metrics.run_waits()).follow(run);
    }

    fn span(&self, uid: &str, run: &PolicyRun) -> Span {
        report::slice(self.policy, uid, run, &self.context.settings.holder)
    }

    fn policy(&self) -> &str {
        &self.name
    }

    fn audits(&self) -> bool {
        self.context.audit
    }
}
