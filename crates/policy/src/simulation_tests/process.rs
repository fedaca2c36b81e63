//! A process that looks at the policy: puts the core's functions together as the controller does.

use jiff::{SignedDuration, Timestamp};

use super::api_server::{Change, Precondition, Written};
use super::ledger::{asked, check_call};
use super::operations::{Secret, Slice};
use super::pace::{At, Pace};
use super::refusals::Refusals;
use super::upstash::{Answer, Fate};
use super::world::World;
use crate::plan::due;
use crate::run::progress::Failure;
use crate::spec::validate::Invalid;
use crate::{
    Activity, CancelCause, Connectivity, Facts, InDoubt, Outcome, Permissions, Plan, Policy, Progress,
    Question, Selected, Settled, Step, changes, plan, sample, status,
};
use dlq_crd::{DlqPolicyStatus, MilliTime, PolicyRun, Reason, Trigger};
use dlq_upstash::types::{Call, Criteria, Selection};

const RETRY_LIMIT: u32 = 3;
const LONGEST_SLICE: SignedDuration = SignedDuration::from_secs(10);
const LONGEST_OWN_WAIT: SignedDuration = SignedDuration::from_secs(1);
/// No more calls in one slice, so that a case is over soon.
const MOST_CALLS: usize = 30;
/// How often a write is tried in one look.
const TRIES: usize = 3;

/// What a process knows beyond the API server.
#[derive(Debug)]
pub(super) struct Process {
    number: u32,
    session: Option<Session>,
    pub(super) clock_offset: SignedDuration,
    pub(super) permissions: Permissions,
    /// Its writes without an answer.
    doubt: Option<InDoubt>,
    /// When it looks again by itself.
    pub(super) wake: Option<Timestamp>,
}

#[derive(Debug)]
struct Session {
    run_id: String,
    progress: Progress,
    /// The status as this process knows it, and whether a write got no answer since.
    known: DlqPolicyStatus,
    is_stale: bool,
    token: u8,
    looked_again: bool,
    pace: Pace,
    refusals: Option<Refusals>,
}

/// The Secret in the version that holds this token.
fn version(token: u8) -> String {
    format!("secret/{token}")
}

/// How a slice ended.
enum End {
    Finished(Outcome),
    Waiting(Timestamp),
    HandedBack,
    TokenRefused(String),
    Lost,
    Stuck,
    Crashed,
}

impl Process {
    pub(super) fn new(number: u32) -> Self {
        Self {
            number,
            session: None,
            clock_offset: SignedDuration::ZERO,
            permissions: sample::permissions(),
            doubt: None,
            wake: None,
        }
    }

    /// Whether it does not know what became of its last writes.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    fn holder(&self) -> String {
        format!("pod/{}", self.number)
    }

    fn connectivity(secret: Secret, status: &DlqPolicyStatus) -> Connectivity {
        match secret {
            Secret::Gone => Connectivity::Missing(Invalid::new(Reason::SecretNotFound, "no Secret")),
            Secret::Empty => Connectivity::Missing(Invalid::new(Reason::SecretInvalid, "no token")),
            Secret::Token { number, .. } if status.refused_secret == Some(version(number)) => {
                Connectivity::Refused
            }
            Secret::Token { .. } => Connectivity::Usable,
        }
    }

    /// The run as this process knows it, if it is still this process'.
    fn session(&mut self, run: &PolicyRun) -> Option<Session> {
        let holder = self.holder();
        let is_ours = |session: &Session| {
            session.progress.run().start_time == run.start_time
                && session.run_id == run.id
                && run.holder.as_ref() == Some(&holder)
        };
        self.session.take().filter(is_ours)
    }
}

impl World {
    /// The process dies, and another comes with the same flags.
    pub(super) fn crash(&mut self) {
        self.told.lost();
        let permissions = self.process.permissions.clone();
        self.process = Process { permissions, ..Process::new(self.process.number + 1) };
    }

    /// The process gives its run back before it goes.
    pub(super) fn stop(&mut self) {
        if let Some(session) = self.process.session.take()
            && let Some(known) = session.known.current_run
        {
            let revision = known.revision.map(|revision| revision + 1);
            let run = PolicyRun { revision, ..session.progress.handed_back() };
            let policy = self.policy();
            // Nobody looks at the spec any more: what was read before counts.
            let read = self.api.status().observed_generation.unwrap_or(policy.generation);
            let policy = Policy { generation: read, history_limit: 50, ..policy };
            self.write(&policy, Change::Run(Box::new(run)), Precondition::OurRun(Box::new(known)), None);
        }
        self.crash();
    }

    /// One look at the policy, and a slice of work where a run is in progress.
    pub(super) fn look(&mut self, mut slice: Slice) {
        self.faults.append(&mut slice.faults);
        self.process.wake = None;
        let before = self.api.status();
        let policy = self.policy();
        self.settle_doubt(&policy, &before);
        let now = self.now();
        let mut facts = Facts {
            connection: None,
            clock_offset: self.process.clock_offset,
            holds_run: self.process.session.is_some(),
        };
        let plan = loop {
            match plan(&policy, &before, &facts, now) {
                Ok(plan) => break plan,
                Err(Question::Connection { .. }) => {
                    assert!(facts.connection.is_none(), "the same question again");
                    let found = Process::connectivity(self.secret, &before);
                    facts.connection = Some(match found {
                        Connectivity::Missing(_) if facts.keeps_token(&before) => Connectivity::Lost,
                        found => found,
                    });
                }
            }
        };
        let next = status::observed(&policy, &before, &plan, now);
        match &plan {
            Plan::Start(start) => {
                self.process.session = None;
                let holder = self.process.holder();
                let next = status::claimed(&policy, &next, start.clone(), &holder, now);
                self.take(&policy, &before, &next, &plan, slice);
            }
            Plan::Continue { run } => self.go_on(&policy, &before, next, run, &plan, slice),
            Plan::Cancel { run, why } => {
                let has_token = matches!(self.secret, Secret::Token { .. });
                assert!(
                    *why != CancelCause::Replaced || has_token,
                    "ends a run, and none can start in its place"
                );
                let session = self.process.session(run);
                let run = session.as_ref().map_or_else(
                    || status::taken_over(run, &self.process.holder()),
                    |session| session.progress.ended_run(),
                );
                let outcome = why.outcome(&run);
                let next = status::finished(&policy, &next, &run, &outcome, now);
                match self.write_unchanged(&policy, &before, next, &plan).0 {
                    Written::Yes if *why == CancelCause::Replaced => self.check_replaced(&policy),
                    Written::Yes => {}
                    Written::Conflict | Written::Unknown => self.process.session = session,
                }
            }
            _ => {
                self.process.session = None;
                self.write_unchanged(&policy, &before, next, &plan);
            }
        }
        self.faults.clear();
    }

    fn go_on(
        &mut self,
        policy: &Policy,
        before: &DlqPolicyStatus,
        next: DlqPolicyStatus,
        run: &PolicyRun,
        plan: &Plan,
        slice: Slice,
    ) {
        let Some(mut session) = self.process.session(run) else {
            let taken = status::taken_over(run, &self.process.holder());
            let next = DlqPolicyStatus { current_run: Some(taken), ..next };
            self.take(policy, before, &next, plan, slice);
            return;
        };
        let next = DlqPolicyStatus { current_run: Some(session.progress.run().clone()), ..next };
        match self.write_unchanged(policy, before, next, plan) {
            (Written::Yes, known) => {
                (session.known, session.is_stale) = (known, false);
                self.work(policy, session, slice);
            }
            (Written::Conflict | Written::Unknown, _) => self.process.session = Some(session),
        }
    }

    /// Writes a decision on what was read; what was written, if it was.
    fn write_unchanged(
        &mut self,
        policy: &Policy,
        before: &DlqPolicyStatus,
        next: DlqPolicyStatus,
        plan: &Plan,
    ) -> (Written, DlqPolicyStatus) {
        let next = status::revised(before, next, false);
        let unchanged = Precondition::Unchanged(Box::new(before.clone()));
        let written = self.write(policy, Change::Status(Box::new(next.clone())), unchanged, Some(plan));
        self.tell(policy, before, &next, written);
        (written, next)
    }

    /// Tells what was written, or remembers that nobody knows whether it was.
    fn tell(&mut self, policy: &Policy, before: &DlqPolicyStatus, next: &DlqPolicyStatus, written: Written) {
        match written {
            Written::Yes => {
                self.process.doubt = None;
                self.told.told(&changes(policy, before, next));
            }
            Written::Unknown => {
                let doubt = self.process.doubt.take();
                let new = || InDoubt::new(before, next.clone());
                self.process.doubt = Some(doubt.map_or_else(new, |doubt| doubt.and(next.clone())));
            }
            Written::Conflict => {}
        }
    }

    fn settle_doubt(&mut self, policy: &Policy, read: &DlqPolicyStatus) {
        match self.process.doubt.take().map(|doubt| doubt.settle(policy, read)) {
            Some(Settled::Done(changes)) => self.told.told(&changes),
            Some(Settled::Open(doubt)) => self.process.doubt = Some(*doubt),
            Some(Settled::Overtaken) => self.told.overtaken(),
            None => {}
        }
    }

    /// Makes the run in `next` this process', and works on it.
    fn take(
        &mut self,
        policy: &Policy,
        before: &DlqPolicyStatus,
        next: &DlqPolicyStatus,
        plan: &Plan,
        slice: Slice,
    ) {
        let (Some(run), Ok(work)) = (next.current_run.clone(), policy.work.clone()) else { return };
        let Secret::Token { number, .. } = self.secret else { return };
        let activity = status::activity(before, &run, self.now());
        let session = Session {
            run_id: run.id.clone(),
            progress: Progress::new(work, run, RETRY_LIMIT).seen_as(activity),
            known: status::revised(before, next.clone(), false),
            is_stale: false,
            token: number,
            looked_again: false,
            pace: Pace::default(),
            refusals: before.current_run.is_none().then(|| Refusals::since_now(&self.upstash)),
        };
        match self.write_unchanged(policy, before, next.clone(), plan).0 {
            Written::Yes => self.work(policy, session, slice),
            Written::Conflict => {}
            Written::Unknown => self.process.session = Some(session),
        }
    }

    fn work(&mut self, policy: &Policy, mut session: Session, mut slice: Slice) {
        if slice.queued && !self.save(policy, &mut session, Activity::Queued) {
            self.process.session = Some(session);
            return;
        }
        let end = self.slice(policy, &mut session, &mut slice);
        self.conclude(policy, session, end);
    }

    fn slice(&mut self, policy: &Policy, session: &mut Session, slice: &mut Slice) -> End {
        let replaced_at = session.known.next_schedule_time.as_ref().map(|next| next.0);
        let replaced_at = replaced_at.filter(|_| due::replaces(policy, &session.known));
        let until = self.now() + LONGEST_SLICE;
        let until = replaced_at.map_or(until, |at| at.min(until));
        let mut saved = self.now();
        for _ in 0..MOST_CALLS {
            if slice.crashes() {
                return End::Crashed;
            }
            if self.now() >= until {
                break;
            }
            match session.progress.next(self.now()) {
                Step::End(outcome) => return End::Finished(outcome),
                Step::Wait(time) => {
                    let wait = time.duration_since(self.now());
                    assert!(wait.is_positive(), "waits for nothing");
                    if wait > LONGEST_OWN_WAIT {
                        return self.settle(policy, session, End::Waiting(time));
                    }
                    self.time += wait;
                }
                Step::Call(call) => {
                    if let Some(end) = self.call(policy, session, &call, slice) {
                        return match end {
                            End::Crashed => end,
                            end => self.settle(policy, session, end),
                        };
                    }
                    if slice.crashes() {
                        return End::Crashed;
                    }
                    if slice.every_page || self.now().duration_since(saved) > SignedDuration::from_secs(1) {
                        saved = self.now();
                        match self.try_save(policy, session, session.progress.activity()) {
                            Written::Conflict => return End::Lost,
                            Written::Yes | Written::Unknown => {}
                        }
                    }
                }
            }
        }
        self.settle(policy, session, End::HandedBack)
    }

    fn call(
        &mut self,
        policy: &Policy,
        session: &mut Session,
        call: &Call,
        slice: &mut Slice,
    ) -> Option<End> {
        let (before, now) = (session.progress.run().clone(), self.now());
        check_call(policy, &before, call, now);
        let rate = before.limits.as_ref().and_then(|limits| limits.entries_per_second);
        let asked = asked(call, before.dry_run);
        if let (Some(rate), Some(_)) = (rate, asked) {
            session.pace.asks(rate, At { process: now, truth: self.time });
        }
        let fate = slice.fates.pop().unwrap_or_else(|| slice.otherwise.clone());
        let right = self.secret.right_of(session.token);
        // Entries that fail again do so within the window only until the process' clock is Upstash's.
        let is_over = before.window.as_ref().is_none_or(|window| window.to_date.timestamp() < self.time);
        let fate = if fate == Fate::Refail && !is_over { Fate::Served } else { fate };
        session.refusals.iter_mut().for_each(|refusals| refusals.asks(call, &fate));
        self.check_selected(policy, &before, call);
        let served = self.upstash.serve(call, &fate, right, self.time);
        let shown = match &served.answer {
            Answer::Page(page) if asked.is_some() => page.entries,
            _ => 0,
        };
        self.ledger.done(&before, served.acted, shown, served.beyond);
        // What may have been done counts as done.
        let may_have_acted = match &served.answer {
            Answer::Page(_) => false,
            Answer::Error(error) => error.may_have_acted,
            Answer::Abandoned => call.operation().acts(),
        };
        let doubted = asked.filter(|_| may_have_acted).unwrap_or_default();
        let shown_or_doubted = u64::try_from(doubted).unwrap().max(shown);
        session.pace.brought(served.acted.max(u32::try_from(shown_or_doubted).unwrap()));
        self.pass(slice.latency);
        if slice.crashes() {
            return Some(End::Crashed);
        }
        let now = self.now();
        let end = match served.answer {
            Answer::Page(page) => {
                self.process.clock_offset = self.offset();
                session.progress.answered(call, &page, now);
                None
            }
            Answer::Abandoned => {
                session.progress.abandoned(call, now);
                Some(End::HandedBack)
            }
            Answer::Error(error) => match session.progress.failed(call, &error, now, slice.jitter) {
                Failure::GoOn => None,
                Failure::TokenRefused => Some(End::TokenRefused(error.to_string())),
            },
        };
        self.ledger.knows(session.progress.run());
        end
    }

    /// A run that was replaced makes way for the next one at once.
    fn check_replaced(&self, policy: &Policy) {
        let status = self.api.status();
        let connectivity = Process::connectivity(self.secret, &status);
        let facts = Facts { connection: Some(connectivity), ..Facts::default() };
        let next = plan(policy, &status, &facts, self.now());
        assert!(
            matches!(&next, Ok(Plan::Start(start)) if start.run.trigger == Trigger::Schedule),
            "a run is replaced by nothing: {next:?}"
        );
    }

    /// What is acted on by IDs that nobody named is what the run selects.
    fn check_selected(&mut self, policy: &Policy, run: &PolicyRun, call: &Call) {
        if let Call::Bulk { selection: Selection::Ids(ids), .. } = call
            && let (Ok(Selected::Matching { criteria, .. }), Some(window)) =
                (policy.work.as_ref().map(|work| &work.selected), &run.window)
        {
            let criteria = Criteria {
                from_date: window.from_date.map(MilliTime::as_millisecond),
                to_date: Some(window.to_date.as_millisecond()),
                ..criteria.clone()
            };
            assert!(
                self.upstash.are_selected(ids, &criteria),
                "acts on what the run does not select: {ids:?}"
            );
        }
    }

    fn conclude(&mut self, policy: &Policy, mut session: Session, end: End) {
        match end {
            End::Crashed => self.crash(),
            End::Lost => {}
            End::HandedBack | End::Stuck => self.process.session = Some(session),
            End::Waiting(until) => {
                self.process.wake = Some(until);
                self.process.session = Some(session);
            }
            End::Finished(outcome) => {
                if session.progress.ended_run().left_alone > 0 {
                    self.ledger.meet("entries that a list showed were left alone");
                }
                let refused_secret = outcome.refusal().map(|_| version(session.token));
                self.finish(policy, session, &Outcome { refused_secret, ..outcome });
            }
            End::TokenRefused(error) => {
                if !session.looked_again {
                    session.looked_again = true;
                    if let Secret::Token { number, .. } = self.secret
                        && number != session.token
                    {
                        session.token = number;
                        self.process.session = Some(session);
                        return;
                    }
                }
                let refused_secret = Some(version(session.token));
                self.finish(policy, session, &Outcome { refused_secret, ..Outcome::unauthorized(&error) });
            }
        }
    }

    fn finish(&mut self, policy: &Policy, mut session: Session, outcome: &Outcome) {
        let run = session.progress.ended_run();
        if session.refusals.as_ref().is_some_and(|refusals| refusals.check(&run, outcome, &self.upstash)) {
            self.ledger.meet("refused entries, all known");
        }
        let next = status::finished(policy, &session.known, &run, outcome, self.now());
        for _ in 0..TRIES {
            match self.write_ours(policy, &mut session, &next) {
                Written::Yes | Written::Conflict => return,
                Written::Unknown => {}
            }
        }
        self.process.session = Some(session);
    }

    fn try_save(&mut self, policy: &Policy, session: &mut Session, activity: Activity) -> Written {
        let next = status::running(policy, &session.known, session.progress.run(), activity, self.now());
        self.write_ours(policy, session, &next)
    }

    /// Writes a state of the run. A conflict may be with the write before, which got no answer.
    fn write_ours(&mut self, policy: &Policy, session: &mut Session, next: &DlqPolicyStatus) -> Written {
        let written = self.try_ours(policy, session, next);
        if written != Written::Conflict {
            return written;
        }
        let read = self.api.status();
        let (known, found) = (&session.known.current_run, &read.current_run);
        if !status::is_next_revision(known.as_ref(), found.as_ref()) {
            return Written::Conflict;
        }
        self.settle_doubt(policy, &read);
        (session.known, session.is_stale) = (read, false);
        self.try_ours(policy, session, next)
    }

    fn try_ours(&mut self, policy: &Policy, session: &mut Session, next: &DlqPolicyStatus) -> Written {
        let Some(known) = session.known.current_run.clone().map(Box::new) else { return Written::Conflict };
        let next = status::revised(&session.known, next.clone(), session.is_stale);
        let written =
            self.write(policy, Change::Status(Box::new(next.clone())), Precondition::OurRun(known), None);
        self.tell(policy, &session.known, &next, written);
        match written {
            Written::Yes => (session.known, session.is_stale) = (next, false),
            Written::Unknown => session.is_stale = true,
            Written::Conflict => {}
        }
        written
    }

    fn save(&mut self, policy: &Policy, session: &mut Session, activity: Activity) -> bool {
        (0..TRIES).any(|_| self.try_save(policy, session, activity) == Written::Yes)
    }

    /// Writes the state before the slice is handed back.
    fn settle(&mut self, policy: &Policy, session: &mut Session, end: End) -> End {
        let activity = session.progress.activity();
        for _ in 0..TRIES {
            match self.try_save(policy, session, activity) {
                Written::Yes => return end,
                Written::Conflict => return End::Lost,
                Written::Unknown => {}
            }
        }
        End::Stuck
    }
}
