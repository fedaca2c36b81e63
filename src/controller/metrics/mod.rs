//! What is counted of the operator's work, and how the policies stand, for `/metrics`.

mod connections;
#[cfg(test)]
mod day_tests;
mod definitions;
mod policies;
mod waits;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kube::runtime::reflector::Store;
use prometheus_client::collector::Collector;

use self::connections::{ConnectionCollector, Connections};
pub use self::definitions::{SERIES_OF_PROCESS, SERIES_PER_CODE, SERIES_PER_POLICY, definitions};
use self::policies::{Policies, PolicyCollector};
pub(crate) use self::waits::RunWaits;
use self::waits::Waits;
use crate::controller::error::{Error, WriteError};
use crate::controller::names::{Clock, PolicyRef};
use crate::controller::shared::SharedConnections;
use crate::controller::watched::policy::WatchedPolicy;
use crate::runtime::leadership::Leadership;
use crate::runtime::metrics::exposition::Exposition;
use crate::runtime::metrics::process::ProcessCollector;
use crate::runtime::metrics::{Counters, Histograms, Info, Reading};
use dlq_crd::{Action, PolicyRun, RunResult};
use dlq_policy::Changes;
use dlq_policy::changes::duration;
use dlq_upstash::client::{Observer, Transport};
use dlq_upstash::types::Operation;

/// Of a call of Upstash's, which takes at most as long as `--request-timeout` says.
const CALLS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Of a look, which may be a slice of a run.
const LOOKS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Of a run: from one page to hours of waiting.
const RUNS: &[f64] = &[0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0];
const LATENESSES: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

const ACTIONS: [Action; 3] = [Action::Resume, Action::Restart, Action::Delete];
/// The results of runs that are shown before there is one.
const LIKELY_RESULTS: [RunResult; 2] = [RunResult::Succeeded, RunResult::Failed];

/// The `code` of a call without a whole answer.
const NO_ANSWER: &str = "error";

/// What was built from what.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// The version.
    pub version: &'static str,
    /// The commit.
    pub revision: &'static str,
}

/// The counts of this process.
pub struct Metrics {
    policies: Arc<Policies>,
    connections: Arc<Connections>,
    run_duration: Histograms,
    lateness: Histograms,
    requests: Counters,
    request_duration: Histograms,
    waits: Arc<Waits>,
    reconciles: Counters,
    reconcile_errors: Counters,
    reconcile_duration: Histograms,
    status_writes: Counters,
    clock: Clock,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Nothing is counted yet. `per_policy`: whether policies are told apart.
    pub fn new(per_policy: bool, clock: Clock) -> Self {
        use definitions as d;
        let words = |words: &'static [&'static str]| words.iter().map(std::slice::from_ref);
        let likely_runs =
            ACTIONS.map(|action| LIKELY_RESULTS.map(|result| [action.as_str(), result.as_str()]));
        let likely_runs = likely_runs.as_flattened();
        Self {
            policies: Arc::new(Policies::new(per_policy)),
            connections: Arc::default(),
            run_duration: Histograms::new(d::RUN_DURATION, RUNS)
                .with_zeros(likely_runs.iter().map(|run| &run[..])),
            lateness: Histograms::new(d::LATENESS, LATENESSES),
            requests: Counters::new(d::REQUESTS),
            request_duration: Histograms::new(d::REQUEST_DURATION, CALLS),
            waits: Arc::default(),
            reconciles: Counters::new(d::RECONCILES).with_zeros(words(&["success", "error"])),
            reconcile_errors: Counters::new(d::RECONCILE_ERRORS).with_zeros(words(&Error::REASONS)),
            reconcile_duration: Histograms::new(d::RECONCILE_DURATION, LOOKS),
            status_writes: Counters::new(d::STATUS_WRITES)
                .with_zeros(words(&["success", "conflict", "timeout", "error"])),
            clock,
        }
    }

    /// All of it, for `/metrics`.
    pub fn exposition(&self, build: Build, leadership: Leadership, transport: Transport) -> Exposition {
        let (waits, clock, leads) = (Arc::clone(&self.waits), self.clock, leadership.clone());
        let build = [build.version, build.revision];
        let collectors: Vec<Box<dyn Collector>> = vec![
            Box::new(Info::new(definitions::BUILD_INFO, &build)),
            Box::new(PolicyCollector(Arc::clone(&self.policies))),
            Box::new(ConnectionCollector { connections: Arc::clone(&self.connections), clock: self.clock }),
            Box::new(self.run_duration.clone()),
            Box::new(self.lateness.clone()),
            Box::new(self.requests.clone()),
            Box::new(self.request_duration.clone()),
            Box::new(Reading::new(definitions::RATE_LIMITED, move || {
                let total = if leads.term().is_some() { Waits::total } else { Waits::total_and_end };
                total(&waits, clock()).as_secs_f64()
            })),
            Box::new(self.reconciles.clone()),
            Box::new(self.reconcile_errors.clone()),
            Box::new(self.reconcile_duration.clone()),
            Box::new(self.status_writes.clone()),
            Box::new(Reading::new(definitions::LEADER, move || {
                f64::from(u8::from(leadership.term().is_some()))
            })),
            Box::new(Reading::new(definitions::CLOCK_OFFSET, move || {
                transport.farthest_clock_offset().as_secs_f64()
            })),
            Box::new(ProcessCollector),
        ];
        Exposition::of(collectors)
    }

    /// Shows the policies of a watch.
    pub(crate) fn watch(&self, store: Store<WatchedPolicy>) {
        self.policies.watch(store);
    }

    /// Shows the shared connections.
    pub(crate) fn watch_connections(&self, shared: Arc<SharedConnections>) {
        self.connections.watch(shared);
    }

    /// Forgets a policy that is gone.
    pub(crate) fn forget(&self, policy: &PolicyRef) {
        self.policies.forget(policy);
    }

    /// A look at a policy ended.
    pub(crate) fn looked<T>(&self, outcome: &Result<T, Error>, took: Duration) {
        self.reconcile_duration.observe(&[], took.as_secs_f64());
        self.reconciles.add(&[if outcome.is_ok() { "success" } else { "error" }], 1);
        if let Err(error) = outcome {
            self.reconcile_errors.add(&[error.reason()], 1);
        }
    }

    /// A status was written, or not.
    pub(crate) fn wrote<T>(&self, outcome: &Result<T, WriteError>) {
        let result = match outcome {
            Ok(_) => "success",
            Err(WriteError::Conflict) => "conflict",
            Err(WriteError::Timeout) => "timeout",
            Err(WriteError::Unknown(_) | WriteError::Refused(_) | WriteError::Encode(_)) => "error",
        };
        self.status_writes.add(&[result], 1);
    }

    /// A status was written that says this for the first time.
    pub(crate) fn tell(&self, policy: &PolicyRef, changes: &Changes) {
        let Changes { lateness, ended, processed, uncertain_pages, returned, missed, events: _ } = changes;
        if let Some((action, entries)) = processed {
            let count = |counts: &mut policies::Counts| {
                *counts.entries.entry(action.as_str()).or_default() += entries;
            };
            self.policies.count(policy, count);
        }
        if *uncertain_pages > 0 {
            self.policies.count(policy, |counts| counts.uncertain_pages += uncertain_pages);
        }
        if *returned > 0 {
            self.policies.count(policy, |counts| counts.returned += returned);
        }
        if *missed > 0 {
            self.policies.count(policy, |counts| counts.missed += missed);
        }
        if let Some(lateness) = lateness {
            self.lateness.observe(&[], lateness.as_secs_f64());
        }
        if let Some(run) = ended {
            self.ended(policy, run);
        }
    }

    /// A run ended.
    fn ended(&self, policy: &PolicyRef, run: &PolicyRun) {
        let (action, Some(result)) = (run.action.as_str(), run.result.map(RunResult::as_str)) else { return };
        self.run_duration.observe(&[action, result], duration(run).as_secs_f64());
        let run = [action, run.trigger.as_str(), result];
        self.policies.count(policy, |counts| *counts.runs.entry(run).or_default() += 1);
    }

    /// How long a run of this process' waits.
    pub(crate) fn run_waits(&self) -> RunWaits {
        self.waits.of_a_run(self.clock)
    }
}

impl Observer for Metrics {
    fn called(&self, operation: Operation, status: Option<u16>, took: Duration) {
        let operation = operation.as_str();
        let code = status.map_or_else(|| NO_ANSWER.to_owned(), |status| status.to_string());
        self.requests.add(&[operation, &code], 1);
        self.request_duration.observe(&[operation], took.as_secs_f64());
    }
}

#[cfg(test)]
#[path = "series_tests.rs"]
mod series_tests;
