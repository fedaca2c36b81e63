//! A policy, and the looks at it: the core's functions, put together and counted as the controller does.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use kube::api::ObjectMeta;
use serde_json::{Value, json};

use super::clock;
use super::process::Process;
use super::upstash::answer;
use crate::controller::context::PolicyRef;
use crate::controller::error::Error;
use crate::controller::metrics::RunWaits;
use crate::controller::persist::PersistError;
use dlq_crd::{DlqPolicySpec, DlqPolicyStatus, annotations};
use dlq_drain::Meter as _;
use dlq_policy::spec::validate::Source;
use dlq_policy::{
    Connectivity, Facts, Permissions, Plan, Policy, Progress, Step, changes, plan, status, validate,
};
use dlq_upstash::client::Observer as _;
use dlq_upstash::error::ErrorClass;
use dlq_upstash::types::Call;

const RETRY_LIMIT: u32 = 10;
const SLICE: SignedDuration = SignedDuration::from_secs(10);
/// As `--checkpoint-interval`.
const CHECKPOINT_INTERVAL: SignedDuration = SignedDuration::from_secs(1);
const LONGEST_OWN_WAIT: SignedDuration = SignedDuration::from_secs(1);

/// A run, as the process that works on it knows it.
struct Session {
    progress: Progress,
    waits: RunWaits,
}

pub(super) struct Object {
    namespace: &'static str,
    name: &'static str,
    spec: Value,
    annotations: BTreeMap<String, String>,
    status: DlqPolicyStatus,
    session: Option<Session>,
    /// When it is looked at next.
    pub(super) wake: Timestamp,
    /// How many of its entries fail in an hour.
    failing: u64,
    backlog: u64,
    filled: Timestamp,
}

fn permissions() -> Permissions {
    Permissions {
        urls: vec!["https://qstash.upstash.io".parse().unwrap()],
        actions: Vec::new(),
        callback_urls: Vec::new(),
        default_url: "https://qstash.upstash.io".parse().unwrap(),
        default_connection_namespaces: ["payments", "shop", "ops"].map(str::to_owned).into(),
        pause_all: false,
        force_dry_run: false,
    }
}

impl Object {
    /// One that is there from now on.
    pub(super) fn new(namespace: &'static str, name: &'static str, failing: u64, mut spec: Value) -> Self {
        spec["filters"] = json!({ "labels": [namespace] });
        // The longer a status is, the longer a write of it takes here.
        spec["historyLimit"] = json!(1);
        let now = clock::now();
        Self {
            namespace,
            name,
            spec,
            annotations: BTreeMap::new(),
            status: DlqPolicyStatus::default(),
            session: None,
            wake: now,
            failing,
            backlog: 0,
            filled: now - SignedDuration::from_hours(1),
        }
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// What the watch tells of it.
    pub(super) fn json(&self) -> Value {
        let metadata = ObjectMeta {
            uid: Some(self.name.to_owned()),
            name: Some(self.name.to_owned()),
            ..Default::default()
        };
        let metadata = ObjectMeta { namespace: Some(self.namespace.to_owned()), ..metadata };
        json!({ "metadata": metadata, "spec": self.spec, "status": self.status })
    }

    /// Somebody asks for a run.
    pub(super) fn request(&mut self, value: &str) {
        self.annotations.insert(annotations::REQUESTED_AT.to_owned(), value.to_owned());
        self.wake = clock::now();
    }

    /// The process that works on it stops.
    pub(super) fn hand_back(&mut self) {
        if let Some(session) = self.session.take() {
            self.status.current_run = Some(session.progress.handed_back());
        }
    }

    fn reference(&self) -> PolicyRef {
        PolicyRef::new(self.name).within(self.namespace)
    }

    fn policy(&self) -> Policy {
        let spec: DlqPolicySpec = serde_json::from_value(self.spec.clone()).unwrap();
        let (namespace, name, annotations) = (self.namespace, self.name, &self.annotations);
        let source = Source { namespace, name, generation: 1, annotations, spec: Ok(&spec) };
        validate(&source, &permissions())
    }

    /// Looks at it, and works for a slice where a run is in progress.
    pub(super) fn look(&mut self, process: &Process, dice: &mut Rng) {
        let since = self.wake;
        clock::set(since);
        let fate = self.reconcile(process, dice);
        if fate.is_err() {
            self.wake = clock::now() + SignedDuration::from_secs(2);
        }
        let took = Duration::try_from(clock::now().duration_since(since)).unwrap();
        process.metrics.looked(&fate, took + Duration::from_micros(dice.u64(500..30_000)));
    }

    fn reconcile(&mut self, process: &Process, dice: &mut Rng) -> Result<(), Error> {
        let (policy, now) = (self.policy(), clock::now());
        let facts = Facts { connection: Some(Connectivity::Usable), ..Facts::default() };
        let plan = plan(&policy, &self.status, &facts, now).unwrap();
        let next = status::observed(&policy, &self.status, &plan, now);
        let (run, next) = match plan {
            Plan::Start(start) => {
                self.fill(dice);
                let next = status::claimed(&policy, &next, start, &process.holder(), now);
                (next.current_run.clone(), next)
            }
            Plan::Continue { run } => {
                let run = match &self.session {
                    Some(session) => session.progress.run().clone(),
                    None => status::taken_over(&run, &process.holder()),
                };
                (Some(run.clone()), DlqPolicyStatus { current_run: Some(run), ..next })
            }
            Plan::Idle { next: wake } | Plan::Missed { next: wake, .. } => {
                // The controller is a little late, and now and then there is a queue.
                let late = 100 + dice.i64(0..100) + if dice.u8(0..12) == 0 { dice.i64(0..4_000) } else { 0 };
                self.wake = wake.map_or(Timestamp::MAX, |wake| wake + SignedDuration::from_millis(late));
                (None, next)
            }
            Plan::CircuitOpen => {
                self.wake = Timestamp::MAX;
                (None, next)
            }
            plan => panic!("nothing in the day leads to {plan:?}"),
        };
        if !self.decide(process, &policy, next, dice)? {
            self.wake = now + SignedDuration::from_millis(100);
            return Ok(());
        }
        let Some(run) = run else { return Ok(()) };
        let session = self.session.take().unwrap_or_else(|| {
            let activity = status::activity(&self.status, &run, now);
            let progress = Progress::new(policy.work.clone().unwrap(), run, RETRY_LIMIT).seen_as(activity);
            Session { progress, waits: process.metrics.run_waits() }
        });
        self.work(process, &policy, session, dice);
        Ok(())
    }

    /// What failed since the last run; much more does while Upstash is in trouble.
    fn fill(&mut self, dice: &mut Rng) {
        let now = clock::now();
        let seconds = u64::try_from(now.duration_since(self.filled).as_secs()).unwrap();
        let is_after_trouble = (clock::at(9, 20)..clock::at(11, 0)).contains(&now);
        let times = if is_after_trouble { 3 } else { 1 };
        self.backlog += times * self.failing * seconds * dice.u64(20..120) / 360_000;
        self.filled = now;
    }

    /// Writes what a look decided, unless somebody wrote in between or there is no answer.
    fn decide(
        &mut self,
        process: &Process,
        policy: &Policy,
        next: DlqPolicyStatus,
        dice: &mut Rng,
    ) -> Result<bool, Error> {
        if next == self.status {
            return Ok(true);
        }
        let is_slow = (clock::at(18, 0)..clock::at(18, 40)).contains(&clock::now());
        let fate = match dice.u8(0..100) {
            0..2 => Err(PersistError::Conflict),
            2..32 if is_slow => Err(PersistError::Timeout),
            _ => {
                self.write(process, policy, next);
                return Ok(true);
            }
        };
        process.metrics.wrote::<()>(&fate);
        match fate {
            Err(PersistError::Conflict) => Ok(false),
            fate => fate.map(|()| true).map_err(Error::Persist),
        }
    }

    fn write(&mut self, process: &Process, policy: &Policy, next: DlqPolicyStatus) {
        process.metrics.wrote(&Ok::<_, PersistError>(()));
        process.metrics.tell(&self.reference(), &changes(policy, &self.status, &next));
        self.status = next;
    }

    fn save(&mut self, process: &Process, policy: &Policy, progress: &Progress) {
        let (run, activity) = (progress.run(), progress.activity());
        let next = status::running(policy, &self.status, run, activity, clock::now());
        self.write(process, policy, next);
    }

    fn work(&mut self, process: &Process, policy: &Policy, mut session: Session, dice: &mut Rng) {
        let until = clock::now() + SLICE;
        let mut saved = clock::now();
        while clock::now() < until {
            let now = clock::now();
            match session.progress.next(now) {
                Step::End(outcome) => {
                    let next =
                        status::finished(policy, &self.status, &session.progress.ended_run(), &outcome, now);
                    self.write(process, policy, next);
                    self.wake = now + SignedDuration::from_millis(1);
                    return;
                }
                Step::Wait(time) if time.duration_since(now) > LONGEST_OWN_WAIT => {
                    self.save(process, policy, &session.progress);
                    (self.wake, self.session) = (time, Some(session));
                    return;
                }
                Step::Wait(time) => clock::set(time),
                Step::Call(call) => self.call(process, &mut session, &call, dice),
            }
            if clock::now().duration_since(saved) >= CHECKPOINT_INTERVAL {
                self.save(process, policy, &session.progress);
                saved = clock::now();
            }
        }
        (self.wake, self.session) = (clock::now(), Some(session));
    }

    fn call(&mut self, process: &Process, session: &mut Session, call: &Call, dice: &mut Rng) {
        let Session { progress, waits } = session;
        waits.calls();
        let answer = answer(call, &mut self.backlog, dice);
        clock::pass(answer.took);
        process.metrics.called(call.operation(), answer.status(), answer.took);
        match answer.result {
            Ok(page) => progress.answered(call, &page, clock::now()),
            Err(error) => {
                progress.failed(call, &error, clock::now(), dice.f64());
                let until = progress.run().waiting_until.filter(|_| error.class == ErrorClass::RateLimited);
                if let Some(until) = until {
                    waits.rate_limited(until.timestamp());
                }
            }
        }
    }
}
