//! A policy, and the turns that a process takes with it: the machine that ships, driven through the day.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use kube::api::ObjectMeta;
use serde_json::{Value, json};

use super::clock;
use super::connection::DayConnection;
use super::process::Process;
use super::upstash::answer;
use crate::controller::error::{Error, WriteError};
use crate::controller::metrics::RunWaits;
use crate::controller::names::PolicyRef;
use dlq_crd::{DlqPolicySpec, DlqPolicyStatus, annotations};
use dlq_policy::attempt::{
    Action, Answer, Effect, Event, Found, Interrupt, Kept, Looked, Next, Notice, Seen, Settings, StatusWrite,
    Stored, Told, WriteOutcome,
};
use dlq_policy::backlog::{Look, LookStep};
use dlq_policy::spec::validate::Source;
use dlq_policy::{Attempt, Permissions, Policy, validate};
use dlq_upstash::client::Observer as _;
use dlq_upstash::types::Call;

pub(super) struct Object {
    namespace: &'static str,
    name: &'static str,
    spec: Value,
    annotations: BTreeMap<String, String>,
    status: DlqPolicyStatus,
    kept: Kept,
    waits: Option<RunWaits>,
    /// Whether its next turn is for a look at what waits.
    looks: bool,
    /// When it is looked at next.
    pub(super) wake: Timestamp,
    /// How many of its entries fail in an hour.
    failing: u64,
    backlog: u64,
    filled: Timestamp,
    /// The connection that it names, if it names one.
    connection: Option<Arc<DayConnection>>,
}

pub(super) fn permissions() -> Permissions {
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
            kept: Kept::default(),
            waits: None,
            looks: false,
            wake: now,
            failing,
            backlog: 0,
            filled: now - SignedDuration::from_hours(1),
            connection: None,
        }
    }

    /// The same that shares a connection.
    pub(super) fn with(self, connection: Arc<DayConnection>) -> Self {
        Self { connection: Some(connection), ..self }
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
    pub(super) fn hand_back(&mut self, process: &Process, dice: &mut Rng) {
        self.turn(process, dice, Some(Interrupt::Stop));
        self.waits = None;
    }

    fn reference(&self) -> PolicyRef {
        PolicyRef::new(self.name).within(self.namespace)
    }

    fn policy(&self) -> Policy {
        let spec: DlqPolicySpec = serde_json::from_value(self.spec.clone()).unwrap();
        let (namespace, name, annotations) = (self.namespace, self.name, &self.annotations);
        let shared = self.connection.as_ref().map(|connection| connection.shared());
        let source = Source {
            namespace,
            name,
            generation: 1,
            created: None,
            annotations,
            spec: Ok(&spec),
            shared: shared.as_deref().map(Ok),
        };
        validate(&source, &permissions())
    }

    /// Takes a turn with it.
    pub(super) fn look(&mut self, process: &Process, dice: &mut Rng) {
        let since = self.wake;
        clock::set(since);
        let next = self.turn(process, dice, None);
        let now = clock::now();
        let mut outcome = Ok(());
        self.wake = match next {
            Next::Now => now + SignedDuration::from_millis(1),
            Next::At(time) => {
                // The controller is a little late, and now and then there is a queue.
                let is_idle = !self.kept.holds_run();
                let queue = if is_idle && dice.u8(0..12) == 0 { dice.i64(0..4_000) } else { 0 };
                time.max(now) + SignedDuration::from_millis(100 + dice.i64(0..100) + queue)
            }
            Next::Look { at, due } => {
                self.looks = true;
                due.unwrap_or(Timestamp::MAX).min(at.max(now) + SignedDuration::from_millis(100))
            }
            Next::OnChange => Timestamp::MAX,
            Next::Retry(trouble) => {
                outcome = Err(Error::Trouble(trouble));
                now + SignedDuration::from_secs(2)
            }
            next @ (Next::OnPermit(_) | Next::Forget) => panic!("nothing in the day leads to {next:?}"),
        };
        let took = Duration::try_from(now.duration_since(since)).unwrap();
        process.metrics.looked(&outcome, took + Duration::from_micros(dice.u64(500..30_000)));
    }

    fn turn(&mut self, process: &Process, dice: &mut Rng, interrupt: Option<Interrupt>) -> Next {
        let settings = Settings {
            holder: process.holder(),
            retry_limit: 10,
            checkpoint_interval: SignedDuration::from_secs(1),
        };
        let kept = std::mem::take(&mut self.kept);
        let mut attempt = Attempt::begin(Arc::new(settings), kept, true, clock::now());
        if let Some(interrupt) = interrupt {
            attempt.on(Event::Interrupted(interrupt), clock::now());
        }
        if std::mem::take(&mut self.looks) {
            attempt = attempt.for_a_look();
        }
        // A call's answer, and what becomes of a write beside it.
        let mut events = VecDeque::new();
        loop {
            match attempt.next(clock::now()) {
                Action::Do(effect) => events.push_back(self.perform(effect, &attempt, process, dice)),
                Action::Tell(told) => match *told {
                    Told::Changes { changes, .. } => process.metrics.tell(&self.reference(), &changes),
                    Told::Notice(Notice::Starts { .. }) => self.fill(dice),
                    Told::Notice(_) => {}
                },
                Action::Wait(until) => {
                    let event = events.pop_front().unwrap_or_else(|| {
                        clock::set(until);
                        Event::Woken
                    });
                    let is_answer = matches!(event, Event::Answered(..));
                    attempt.on(event, clock::now());
                    if is_answer {
                        self.works(&attempt, process);
                    }
                }
                Action::GiveUp(_) => panic!("nothing in the day interrupts a call"),
                Action::Done(next) => {
                    if let Some(((_, unused), connection)) =
                        attempt.take_unused().zip(self.connection.as_ref())
                    {
                        connection.give_back(unused);
                    }
                    self.kept = attempt.keep();
                    return next;
                }
            }
        }
    }

    fn works(&mut self, attempt: &Attempt, process: &Process) {
        let waits = self.waits.get_or_insert_with(|| process.metrics.run_waits());
        waits.follow(attempt.run().unwrap());
    }

    fn perform(&mut self, effect: Effect, attempt: &Attempt, process: &Process, dice: &mut Rng) -> Event {
        match effect {
            Effect::Read => Event::Read(Ok(Some(self.seen()))),
            Effect::Resolve { .. } => {
                Event::Resolved(Ok(Ok(Found { version: "secret/1".to_owned(), account: Some(1) })))
            }
            Effect::Write(write) => Event::Written(self.write(process, *write, dice)),
            Effect::ApprovalId => Event::ApprovalId("1".to_owned()),
            Effect::Permit(_) | Effect::FurtherPermit(_) => Event::Permitted(true),
            Effect::Reserve { entries, .. } => {
                let connection = self.connection.as_ref().expect("no other shares a budget");
                Event::Reserved(Ok(connection.reserve(entries)))
            }
            Effect::Call { id, call, .. } => {
                self.works(attempt, process);
                Event::Answered(id, self.call(process, &call, dice))
            }
            Effect::Look { look, .. } => Event::Looked(self.count(process, *look, dice)),
        }
    }

    fn seen(&self) -> Arc<Seen> {
        Arc::new(Seen {
            uid: self.name.to_owned(),
            policy: Arc::new(self.policy()),
            status: self.status.clone(),
            is_status_readable: true,
            stored: Stored::default(),
            clock_offset: SignedDuration::ZERO,
        })
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

    /// Writes, unless somebody wrote in between or there is no answer.
    fn write(&mut self, process: &Process, write: StatusWrite, dice: &mut Rng) -> WriteOutcome {
        let StatusWrite { seen, next, .. } = write;
        if next == seen.status {
            return WriteOutcome::Same;
        }
        let is_slow = (clock::at(18, 0)..clock::at(18, 40)).contains(&clock::now());
        let fate = match dice.u8(0..100) {
            0..2 => Err(WriteError::Conflict),
            2..32 if is_slow => Err(WriteError::Timeout),
            _ => Ok(()),
        };
        process.metrics.wrote(&fate);
        if let Err(problem) = fate {
            return problem.outcome();
        }
        self.status = next;
        WriteOutcome::Done(self.seen())
    }

    /// A look at what waits.
    fn count(&mut self, process: &Process, mut look: Look, dice: &mut Rng) -> Looked {
        self.fill(dice);
        let at = look.at();
        loop {
            let call = match look.next() {
                LookStep::List(call) => call,
                LookStep::Done(counted) => return Looked::Counted(counted),
            };
            match self.call(process, &call, dice) {
                Answer::Page(page) => look.answered(&page),
                Answer::Error { error, .. } if look.failed(&call, &error) => {}
                _ => return Looked::Failed { at },
            }
        }
    }

    fn call(&mut self, process: &Process, call: &Call, dice: &mut Rng) -> Answer {
        let answer = answer(call, &mut self.backlog, dice);
        clock::pass(answer.took);
        process.metrics.called(call.operation(), answer.status(), answer.took);
        match answer.result {
            Ok(page) => Answer::Page(page),
            Err(error) => Answer::Error { error, jitter: dice.f64() },
        }
    }
}
