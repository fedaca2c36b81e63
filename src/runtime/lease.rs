//! Takes part in the election of a leader through a Lease (`coordination.k8s.io/v1`): the requests, and when they are
//! sent. What they are is decided in [`election`](super::election).

mod failure;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::PostParams;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::failure::{Error, Failure, Trouble, code, within};
use super::clock::{Clock, Moment};
use super::election::{Election, Step, Timing};
use super::leadership::{Leadership, Renewal, Sent, Terms};
use super::unanswered::Unanswered;

/// How long giving the lease back may take.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);
/// The time between two tries of it.
const RELEASE_PAUSE: Duration = Duration::from_millis(100);
/// How often a trouble that lasts is told of.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// How many requests one try may take. Each round after the first means that somebody wrote in between.
const ROUNDS: u32 = 6;

/// The lease, and who asks for it.
#[derive(Clone, Debug)]
pub struct LeaseOptions {
    /// Where the lease is.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// This process, and no other: neither another pod, nor what ran in this pod before a restart.
    pub identity: String,
    /// For how long it is held: whole seconds.
    pub duration: Duration,
}

/// A candidate for the leadership.
pub struct Elector {
    api: Api<Lease>,
    options: LeaseOptions,
    /// Namespace and name, for log lines.
    lease: String,
    clock: Arc<dyn Clock>,
    timing: Timing,
    election: Election,
    terms: Arc<Terms>,
    unanswered: Unanswered,
    is_leader: bool,
    /// The other holder that was told of last.
    told_holder: Option<String>,
    /// The trouble that was told of last, and when.
    told_trouble: Option<(Trouble, Moment)>,
}

impl Elector {
    /// A candidate, who does nothing before [`run`](Self::run). The client must not repeat requests by itself.
    pub fn new(client: kube::Client, options: LeaseOptions, clock: Arc<dyn Clock>) -> Self {
        let timing = Timing::new(options.duration);
        Self {
            api: Api::namespaced(client, &options.namespace),
            lease: format!("{}/{}", options.namespace, options.name),
            timing,
            election: Election::new(options.name.clone(), options.identity.clone(), timing),
            terms: Arc::new(Terms::new(Arc::clone(&clock), timing)),
            clock,
            options,
            unanswered: Unanswered::default(),
            is_leader: false,
            told_holder: None,
            told_trouble: None,
        }
    }

    /// Tells when this candidate leads.
    pub fn leadership(&self) -> Leadership {
        Leadership::of(Arc::clone(&self.terms))
    }

    /// Asks for the lease, keeps it, asks again when it is lost. Once `stop_leading` is cancelled, the term ends and the
    /// lease is given back: whoever cancels it has ended its work before.
    pub async fn run(mut self, stop_leading: CancellationToken) {
        info!(lease = self.lease, identity = self.options.identity, "taking part in the leader election");
        loop {
            let began = self.clock.moment();
            tokio::select! {
                () = stop_leading.cancelled() => break,
                () = self.attempt() => {}
            }
            let pause = self.pause(self.clock.moment().at_least_since(&began));
            tokio::select! {
                () = stop_leading.cancelled() => break,
                () = sleep(pause) => {}
            }
        }
        self.terms.end();
        if timeout(RELEASE_TIMEOUT, self.release()).await.is_err() {
            warn!(lease = self.lease, "the lease was not released in time; it will expire");
        }
    }

    /// The time until the next try. Candidates that began together drift apart.
    fn pause(&self, tried_for: Duration) -> Duration {
        let leads = self.terms.current().is_some();
        let period = if leads { self.timing.retry_period() } else { self.timing.look_period() };
        let shortest = period / 10;
        period.mul_f64(0.8 + 0.2 * fastrand::f64()).saturating_sub(tried_for).max(shortest)
    }

    /// Tries once to take or to keep the lease.
    async fn attempt(&mut self) {
        let mut outcome = Ok(());
        for _ in 0..ROUNDS {
            match self.step().await {
                Ok(true) => break,
                Ok(false) | Err(Failure::Outdated) => {}
                Err(Failure::Trouble(trouble, error)) => {
                    outcome = Err((trouble, error));
                    break;
                }
            }
        }
        self.tell(outcome);
    }

    /// Does what is to be done next. `true` when nothing more is, until the next try.
    async fn step(&mut self) -> Result<bool, Failure> {
        let sent = self.terms.sending();
        let stored = match self.election.next(self.clock.moment()) {
            Step::Wait => return Ok(true),
            Step::Read => {
                let found = self.read().await?;
                self.election.observed(found, self.clock.moment());
                if !self.election.may_lead() {
                    self.terms.end();
                }
                if let Some(sent) = self.election.ours().and_then(|lease| self.unanswered.found(lease)) {
                    self.renewed(sent);
                }
                return Ok(false);
            }
            Step::Create(lease) => {
                self.unanswered.sending(&lease, sent);
                let how = PostParams::default();
                let created = self.api.create(&how, &lease);
                match within(self.request_timeout(), created).await {
                    Err(error) if code(&error) == Some(404) => {
                        return Err(Failure::Trouble(Trouble::NoNamespace, error));
                    }
                    created => created?,
                }
            }
            Step::Replace(lease) => {
                self.unanswered.sending(&lease, sent);
                self.replace(&lease).await?
            }
        };
        self.unanswered.answered();
        if self.election.written(stored, self.clock.moment()) {
            self.renewed(sent);
        } else {
            self.terms.end();
        }
        Ok(true)
    }

    /// Gives the lease back if it is ours. Tries as long as it may take.
    async fn release(&mut self) {
        loop {
            match self.step_of_release().await {
                Ok(true) => {
                    info!(lease = self.lease, holder = self.options.identity, "released the lease");
                    return;
                }
                Ok(false) => return,
                Err(Failure::Outdated) => {}
                Err(Failure::Trouble(_, error)) => {
                    debug!(lease = self.lease, %error, "cannot release the lease yet");
                    sleep(RELEASE_PAUSE).await;
                }
            }
        }
    }

    async fn step_of_release(&mut self) -> Result<bool, Failure> {
        let mut step = self.election.next_to_release(self.clock.moment());
        if step == Step::Read {
            let found = self.read().await?;
            self.election.observed(found, self.clock.moment());
            step = self.election.next_to_release(self.clock.moment());
        }
        match step {
            Step::Replace(lease) => self.replace(&lease).await.map(|_| true),
            Step::Read | Step::Create(_) | Step::Wait => Ok(false),
        }
    }

    fn request_timeout(&self) -> Duration {
        self.timing.request_timeout(self.terms.left())
    }

    async fn read(&self) -> Result<Option<Lease>, Failure> {
        Ok(within(self.request_timeout(), self.api.get_opt(&self.options.name)).await?)
    }

    /// The resource version in the lease makes it the answer to what was read, or nothing.
    async fn replace(&self, lease: &Lease) -> Result<Lease, Failure> {
        let how = PostParams::default();
        let replaced = self.api.replace(&self.options.name, &how, lease);
        match within(self.request_timeout(), replaced).await {
            Err(error) if code(&error) == Some(404) => Err(Failure::Outdated),
            replaced => Ok(replaced?),
        }
    }

    fn renewed(&mut self, sent: Sent) {
        match self.terms.renewed(sent) {
            Renewal::Prolonged => {}
            Renewal::Begun => {
                self.tell_if_lost();
                self.is_leader = true;
                info!(lease = self.lease, holder = self.options.identity, "became leader");
            }
            Renewal::TooLate => debug!(lease = self.lease, "the answer to a renewal came too late"),
        }
    }

    fn tell_if_lost(&mut self) {
        if std::mem::take(&mut self.is_leader) {
            warn!(lease = self.lease, holder = self.election.holder(), "lost the lease");
        }
    }

    /// Logs what has changed with a try.
    fn tell(&mut self, outcome: Result<(), (Trouble, Error)>) {
        if self.terms.current().is_none() {
            self.tell_if_lost();
        }
        match outcome {
            Ok(()) => {
                if self.told_trouble.take().is_some() {
                    info!(lease = self.lease, "the lease can be used again");
                }
                let holder = self.election.holder().filter(|holder| *holder != self.options.identity);
                if holder != self.told_holder.as_deref() {
                    self.told_holder = holder.map(str::to_owned);
                    if holder.is_some() {
                        info!(lease = self.lease, holder, "another holds the lease");
                    }
                }
            }
            Err((trouble, error)) => {
                let now = self.clock.moment();
                let is_told = self
                    .told_trouble
                    .is_some_and(|(told, at)| told == trouble && now.at_least_since(&at) < TELL_AGAIN);
                if !is_told {
                    let way_out = trouble.way_out();
                    warn!(lease = self.lease, %error, way_out, "cannot use the lease; trying again");
                    self.told_trouble = Some((trouble, now));
                }
            }
        }
    }
}

impl fmt::Debug for Elector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Elector").field("options", &self.options).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
