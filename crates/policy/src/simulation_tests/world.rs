//! The world: a clock, an Upstash, an API server, a Secret, and a process that looks at one policy.

use std::collections::BTreeSet;

use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};
use serde_json::Value;

use super::api_server::{ApiServer, Fault, Precondition, Written};
use super::approvals::awaits_approval;
use super::ledger::{At, Ledger, asked, check_call};
use super::operations::{Operation, Secret, Slice};
use super::process::Process;
use super::shared::Counted;
use super::side_by_side::check_beside;
use super::told::Told;
use super::upstash::Upstash;
use crate::attempt::Purpose;
use crate::{Connectivity, Facts, Plan, Policy, Selected, plan};
use dlq_crd::{DlqPolicyStatus, MilliTime, PolicyRun};
use dlq_upstash::types::{Call, Criteria, Selection};

/// After so many looks in a calm world every run has ended.
const LOOKS_TO_AN_END: usize = 200;

pub(super) struct World {
    pub(super) api: ApiServer,
    pub(super) upstash: Upstash,
    pub(super) secret: Secret,
    pub(super) process: Process,
    /// Another that takes itself for the one in charge.
    rival: Process,
    pub(super) ledger: Ledger,
    pub(super) told: Told,
    /// The true time, which Upstash knows.
    pub(super) time: Timestamp,
    /// How far the process' clock is ahead.
    skew: SignedDuration,
    /// What happens to the writes to come, the next one last.
    pub(super) faults: Vec<Fault>,
    /// Writes that are held up on their way.
    late: Vec<Write>,
    /// How many IDs were made.
    ids: u32,
    pub(super) counted: Counted,
}

/// A write on its way.
struct Write {
    policy: Policy,
    next: DlqPolicyStatus,
    precondition: Precondition,
    plan: Option<Plan>,
    purpose: Purpose,
    /// When it was sent, as its process read it.
    now: Timestamp,
    /// What its process took for the way to Upstash's clock.
    clock_offset: SignedDuration,
}

impl World {
    pub(super) fn new(spec: Value) -> Self {
        Self::beginning(spec, "2026-11-20T12:00:00.3Z".parse().unwrap())
    }

    pub(super) fn beginning(spec: Value, time: Timestamp) -> Self {
        let mut upstash = Upstash::default();
        upstash.fail(60, time);
        Self {
            api: ApiServer::new(spec),
            upstash,
            secret: Secret::default(),
            process: Process::new(0),
            rival: Process::new(1000),
            ledger: Ledger::default(),
            told: Told::default(),
            time,
            skew: SignedDuration::ZERO,
            faults: Vec::new(),
            late: Vec::new(),
            ids: 0,
            counted: Counted::default(),
        }
    }

    /// The time as the process reads it.
    pub(super) fn now(&self) -> Timestamp {
        self.time + self.skew
    }

    /// What to add to the process' time to get Upstash's.
    pub(super) fn offset(&self) -> SignedDuration {
        -self.skew
    }

    pub(super) fn pass(&mut self, millis: i64) {
        self.time += SignedDuration::from_millis(millis);
    }

    pub(super) fn happen(&mut self, operation: Operation) {
        match operation {
            Operation::Pass(millis) => self.pass(millis),
            Operation::Jump(millis) => self.skew += SignedDuration::from_millis(millis),
            Operation::Turn(slice) => self.turn(slice),
            Operation::Crash => self.crash(),
            Operation::Rival => {
                // No two processes read the same millisecond: a claim is known by its start.
                self.pass(1);
                std::mem::swap(&mut self.process, &mut self.rival);
                self.told.rival();
            }
            Operation::Stop => self.stop(),
            Operation::Restart { force_dry_run, pause_all } => {
                self.stop();
                self.process.permissions.force_dry_run = force_dry_run;
                self.process.permissions.pause_all = pause_all;
            }
            Operation::Edit(fields) => self.api.edit(&fields),
            Operation::Annotate(key, value) => self.api.annotate(key, value.as_ref()),
            Operation::Approve => self.approve(),
            Operation::Secret(secret) => self.secret = secret,
            Operation::Arrive => self.arrive_late(),
            Operation::Fail(count) => self.upstash.fail(count, self.time),
        }
    }

    /// Somebody approves what the status shows.
    fn approve(&mut self) {
        let status = self.api.status();
        let id = |run: &Option<PolicyRun>| run.as_ref().and_then(|run| run.approval_id.clone());
        let (waits, waited) = (id(&status.current_run), id(&status.last_run));
        self.ledger.approve(waits.as_deref(), waited.as_deref());
        if let Some(id) = waits.or(waited) {
            self.api.annotate("approvedRun", Some(&id));
        }
    }

    /// An ID that there was not yet.
    pub(super) fn new_id(&mut self) -> String {
        self.ids += 1;
        format!("id-{}", self.ids)
    }

    /// Writes, and puts it into the books when it arrives. `plan`: it comes from this one.
    pub(super) fn write(
        &mut self,
        policy: Policy,
        next: DlqPolicyStatus,
        precondition: Precondition,
        plan: Option<Plan>,
        purpose: Purpose,
    ) -> Written {
        let fault = self.faults.pop().unwrap_or(Fault::None);
        let is_unchanged = matches!(precondition, Precondition::Unchanged(_) | Precondition::Version(_));
        self.api.check(&next);
        let write = self.on_its_way(policy, next, precondition, plan, purpose);
        match fault {
            Fault::Lost => return Written::Unknown,
            Fault::Late => {
                self.late.push(write);
                return Written::Unknown;
            }
            Fault::Conflict if is_unchanged => return Written::Conflict,
            Fault::None | Fault::Conflict | Fault::AnswerLost => {}
        }
        match self.arrive(write) {
            _ if fault == Fault::AnswerLost => Written::Unknown,
            true => Written::Yes,
            false => Written::Conflict,
        }
    }

    /// Nothing is sent, as nothing differs; what was decided counts.
    pub(super) fn write_same(
        &mut self,
        policy: Policy,
        next: DlqPolicyStatus,
        precondition: Precondition,
        plan: Option<Plan>,
    ) {
        if plan.is_some() {
            let write = self.on_its_way(policy, next, precondition, plan, Purpose::Settle);
            self.arrive(write);
        }
    }

    fn on_its_way(
        &self,
        policy: Policy,
        next: DlqPolicyStatus,
        precondition: Precondition,
        plan: Option<Plan>,
        purpose: Purpose,
    ) -> Write {
        let (now, clock_offset) = (self.now(), self.process.clock_offset);
        Write { policy, next, precondition, plan, purpose, now, clock_offset }
    }

    /// What was held up on its way arrives now.
    pub(super) fn arrive_late(&mut self) {
        for write in std::mem::take(&mut self.late) {
            let was = if self.arrive(write) { "a late write counts" } else { "a late write undoes nothing" };
            self.ledger.meet(was);
        }
    }

    fn arrive(&mut self, write: Write) -> bool {
        let before = self.api.status();
        let Write { policy, next, precondition, plan, purpose, now, clock_offset } = write;
        if !self.api.write(&next, &precondition) {
            return false;
        }
        let after = self.api.status();
        assert_eq!(after, next, "what is read is not what was written");
        if let Some(plan) = &plan {
            self.ledger.looked(&policy, &before, plan, now);
        }
        // A process that gives its run back says nothing of the schedule.
        if purpose != Purpose::Release {
            self.ledger.keep(&policy, &before, &after, now);
        }
        self.ledger.written(&policy, &before, &after, At { now, clock_offset });
        self.told.happened(&before, &after);
        true
    }

    /// From now on calls lead to the same every time, writes arrive, and time passes: every run ends, and what is due
    /// then begins.
    pub(super) fn calm(&mut self, slice: &Slice, secret: Secret, approves: bool) {
        self.secret = secret;
        self.faults.clear();
        self.arrive_late();
        if self.api.status().current_run.is_none() {
            // So that there is one to end.
            self.upstash.fail(20, self.time);
            self.api.annotate("requestedAt", Some(&"at last".to_owned()));
        }
        self.turn(slice.clone());
        self.end_run(slice, approves);
        let policy = self.policy();
        let status = self.api.status();
        if policy.suspend || policy.paused.is_some() {
            assert!(status.current_run.is_none());
            return;
        }
        self.check_due(&policy, &status, slice);
    }

    fn end_run(&mut self, slice: &Slice, approves: bool) {
        let run = |world: &Self| world.api.status().current_run.as_ref().map(super::ledger::key);
        let Some(current) = run(self) else { return };
        for _ in 0..LOOKS_TO_AN_END {
            if approves && self.api.status().current_run.as_ref().is_some_and(awaits_approval) {
                self.approve();
            }
            let wait = self.process.wake.map_or(SignedDuration::ZERO, |wake| wake.duration_since(self.now()));
            self.time += wait.max(SignedDuration::from_millis(1));
            self.turn(slice.clone());
            if run(self).as_ref() != Some(&current) {
                return;
            }
        }
        panic!("the run does not end: {:#?}", self.api.status().current_run);
    }

    /// An idle policy with a schedule runs at its next scheduled time; one without has begun all work that it was given.
    fn check_due(&mut self, policy: &Policy, status: &DlqPolicyStatus, slice: &Slice) {
        let facts = Facts { connection: Some(Connectivity::Usable), ..Facts::default() };
        let Ok(plan) = plan(policy, status, &facts, self.now()) else { panic!("asks again") };
        match plan {
            Plan::Idle { next: Some(next) } => {
                self.turn(slice.clone());
                let up = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Ceil);
                let told = self.api.status().next_schedule_time.map(|told| told.0);
                assert_eq!(told, Some(next.round(up).unwrap()), "nextScheduleTime");
                self.time += next.duration_since(self.now()).max(SignedDuration::ZERO);
                let before = self.api.status();
                self.turn(slice.clone());
                let after = self.api.status();
                let begun = before.last_schedule_time != after.last_schedule_time;
                let missed = before.missed_schedules < after.missed_schedules;
                assert!(begun || missed, "nothing happens at {next}: {before:#?}");
                self.ledger.meet("an idle policy runs at its scheduled time");
            }
            Plan::Idle { next: None } => {
                assert!(matches!(policy.schedule, Ok(None)), "the schedule is forgotten");
                assert!(self.ledger.knows_work(policy), "the work is forgotten");
                self.ledger.meet("an idle policy has begun its work");
            }
            _ => {}
        }
    }

    /// A process is about to call: by the policy as it knows it. The watch may be behind, and a write's answer ahead of it.
    pub(super) fn check_call(&mut self, run: &PolicyRun, call: &Call, beside: &[&Call], being_asked: i64) {
        let policy = self.api.version(self.process.knows).policy(&self.process.permissions);
        check_call(&policy, run, call, self.now(), being_asked);
        self.ledger.check_approval(&policy, run, call, being_asked);
        check_beside(run, call, beside);
        // What is acted on by IDs that nobody named is what the run selects.
        if let Call::Bulk { selection: Selection::Ids(ids), .. } = call
            && let (Ok(Selected::Matching { criteria, .. }), Some(window)) =
                (policy.work.as_ref().map(|work| &work.selected), &run.window)
        {
            let criteria = Criteria {
                from_date: window.from_date.map(MilliTime::as_millisecond),
                to_date: Some(window.to_date.as_millisecond()),
                ..criteria.clone()
            };
            let spec = self.api.version(self.process.knows).spec();
            let limit = |path: &str| spec.pointer(path).and_then(Value::as_u64);
            let below =
                [limit("/loopProtection/maxAttempts"), limit("/match/attempts/max").map(|max| max + 1)];
            let below = below.into_iter().flatten().min().unwrap_or(u64::MAX);
            assert!(
                self.upstash.have(ids, spec["match"].is_object(), below),
                "acts on what match or loopProtection leaves alone: {ids:?}"
            );
            assert!(
                self.upstash.are_selected(ids, &criteria),
                "acts on what the run does not select: {ids:?}"
            );
        }
    }

    /// Whether a call is held to `entriesPerSecond`: not where it lists what is decided on afterwards.
    pub(super) fn is_paced(&self, run: &PolicyRun, call: &Call) -> bool {
        // What is only counted before an approval is not.
        if matches!(call, Call::Get { .. }) && !run.dry_run {
            return false;
        }
        let policy = self.api.version(self.process.knows).policy(&self.process.permissions);
        let is_by_listing = policy.work.is_ok_and(|work| work.by_listing.is_some());
        asked(call, run.dry_run && !is_by_listing).is_some()
    }

    pub(super) fn policy(&self) -> Policy {
        self.api.policy(&self.process.permissions)
    }

    pub(super) fn met(mut self) -> BTreeSet<String> {
        if self.rival.is_in_doubt() {
            self.told.lost();
        }
        if self.told.at_last() {
            self.ledger.meet("everything was told, and once");
        }
        self.ledger.met
    }
}
