//! The IO of a run without a cluster: the status is in a [`Store`], the annotations are what the person says meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dlq_crd::{DlqPolicyStatus, PolicyRun, annotations};
use dlq_drain::Ports;
use dlq_policy::attempt::{
    AccountId, Answer, FailedStep, Found, Interrupt, Looked, Seen, StatusWrite, Stored, Told, Trouble,
    WriteOutcome,
};
use dlq_policy::backlog::Look;
use dlq_policy::budget::{Grant, Reserved, Unused};
use dlq_policy::plan::Freshness;
use dlq_policy::{ConnectionRef, Invalid, Permissions, Policy};
use dlq_upstash::client::Transport;
use dlq_upstash::error::with_causes;
use dlq_upstash::types::Call;
use dlq_upstash::{Client, ClientOptions, Token};
use jiff::Timestamp;
use tokio::sync::Notify;
use tracing::Span;
use url::Url;

use super::store::Store;
use crate::clock;
use crate::outcome::Problem;
use crate::subject::Subject;

/// How long one call may take, as the operator's own default.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A call ends by itself before this.
const TIME_FOR_A_CALL: Duration = Duration::from_secs(30);
/// There is one account.
const ACCOUNT: AccountId = 1;

/// Sees what a run does.
pub trait Watcher: Send + Sync {
    /// A call was answered, or will not be.
    fn answered(&self, run: &PolicyRun, call: &Call, answer: &Answer);
    /// The run made a call, or took in its answer.
    fn works(&self, run: &PolicyRun);
}

/// All IO of one run.
pub struct LocalPorts<'a> {
    subject: &'a Subject,
    permissions: &'a Permissions,
    transport: Transport,
    url: Url,
    client: Client,
    watcher: &'a dyn Watcher,
    name: String,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    store: Store,
    annotations: BTreeMap<String, String>,
    policy: Arc<Policy>,
}

impl<'a> LocalPorts<'a> {
    /// With the account behind `token` at `url`.
    ///
    /// # Errors
    /// The HTTP library cannot be set up.
    pub fn new(
        subject: &'a Subject,
        permissions: &'a Permissions,
        url: Url,
        token: Token,
        store: Store,
        watcher: &'a dyn Watcher,
    ) -> Result<Self, Problem> {
        let transport = Transport::new(ClientOptions::new(REQUEST_TIMEOUT));
        let transport = transport.map_err(|error| Problem::Failed(with_causes(&error)))?;
        let client = Client::new(transport.clone(), url.clone(), token);
        let annotations = BTreeMap::new();
        let policy = Arc::new(subject.policy(&annotations, permissions));
        let state = Mutex::new(State { store, annotations, policy });
        let name = format!("{}/{}", subject.namespace, subject.name);
        Ok(Self {
            subject,
            permissions,
            transport,
            url,
            client,
            watcher,
            name,
            state,
            changed: Notify::new(),
        })
    }

    /// Says something to the run, as `kubectl annotate` would to one in a cluster.
    pub fn annotate(&self, annotation: &str, value: String) {
        let mut state = self.state();
        state.annotations.insert(annotation.to_owned(), value);
        state.policy = Arc::new(self.subject.policy(&state.annotations, self.permissions));
        drop(state);
        self.changed.notify_one();
    }

    /// Waits until something was said.
    pub async fn change(&self) {
        self.changed.notified().await;
    }

    /// The status as it is stored.
    pub fn status(&self) -> DlqPolicyStatus {
        self.state().store.status().clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What it guards is whole at any time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self, state: &State) -> Arc<Seen> {
        let status = state.store.status().clone();
        Arc::new(Seen {
            uid: state.store.uid.clone(),
            policy: Arc::clone(&state.policy),
            stored: Stored {
                version: state.store.version(),
                status: serde_json::to_value(&status).unwrap_or_default(),
            },
            status,
            is_status_readable: true,
            clock_offset: self.transport.clock_offset(&self.url),
        })
    }
}

impl Ports for LocalPorts<'_> {
    fn now(&self) -> Timestamp {
        clock::now()
    }

    async fn read(&self) -> Result<Option<Arc<Seen>>, Trouble> {
        Ok(Some(self.see(&self.state())))
    }

    async fn resolve(
        &self,
        connection: ConnectionRef,
        _: Freshness,
    ) -> Result<Result<Found, Invalid>, Trouble> {
        Ok(match connection {
            ConnectionRef::Missing(missing) => Err(missing),
            ConnectionRef::Default | ConnectionRef::Secret { .. } => {
                Ok(Found { version: "local".to_owned(), account: Some(ACCOUNT) })
            }
        })
    }

    async fn write(&self, write: StatusWrite) -> WriteOutcome {
        let mut state = self.state();
        // Nobody else writes: the state file is locked.
        if write.seen.stored.version != state.store.version() {
            return WriteOutcome::Refused;
        }
        if write.next == *state.store.status() {
            return WriteOutcome::Same;
        }
        match state.store.write(write.next) {
            Ok(()) => WriteOutcome::Done(self.see(&state)),
            Err(error) => {
                drop(state);
                // Nothing is begun any more that could not be written down.
                self.annotate(annotations::CANCEL_AT, clock::now().to_string());
                WriteOutcome::Failed(Trouble {
                    step: FailedStep::WriteStatus,
                    problem: format!("the state file cannot be written: {error}"),
                    is_of_everybody: false,
                })
            }
        }
    }

    async fn reserve(&self, _: AccountId, entries: u64) -> Result<Reserved, Trouble> {
        Ok(Reserved::Granted(Grant::unlimited(entries)))
    }

    async fn give_back(&self, _: AccountId, _: Unused) {}

    fn permit(&self, _: AccountId) -> bool {
        true
    }

    fn further_permit(&self, _: AccountId) -> bool {
        true
    }

    fn client(&self, _: AccountId) -> Option<Client> {
        Some(self.client.clone())
    }

    async fn look(&self, look: Look, _: AccountId) -> Looked {
        // A policy here has no backlog to look at.
        Looked::Failed { at: look.at() }
    }

    fn time_for_a_call(&self) -> Duration {
        TIME_FOR_A_CALL
    }

    async fn interrupted(&self) -> Interrupt {
        self.changed.notified().await;
        Interrupt::Changed
    }

    fn tell(&self, _: Told) {}

    fn answered(&self, call: &Call, answer: &Answer) {
        let run = self.state().store.run().cloned();
        if let Some(run) = run {
            self.watcher.answered(&run, call, answer);
        }
    }

    fn works(&self, run: &PolicyRun) {
        self.watcher.works(run);
    }

    fn span(&self, _: &str, _: &PolicyRun) -> Span {
        Span::none()
    }

    fn policy(&self) -> &str {
        &self.name
    }

    fn audits(&self) -> bool {
        false
    }
}
