//! A process that takes turns with the policy: the machine that ships, driven through a world of a few lines.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::api_server::{Object, Precondition, Written};
use super::books::Books;
use super::ledger::asked;
use super::looks::{LastLook, Looking};
use super::operations::{Operation, Secret, Slice};
use super::upstash::{self, Fate};
use super::world::World;
use crate::attempt::{
    Action, Answer, Attempt, CallId, Effect, Event, FailedStep, Fence, Found, Interrupt, Kept, Next, Notice,
    Purpose, Seen, Settings, StatusWrite, Stored, Told, Trouble, WriteOutcome,
};
use crate::budget::Budget;
use crate::plan::Freshness;
use crate::spec::{ConnectionRef, Invalid};
use crate::{CancelCause, Connectivity, Facts, Permissions, Plan, Policy, plan, sample};
use dlq_crd::{MilliTime, Reason, Trigger};
use dlq_upstash::types::Call;

const RETRY_LIMIT: u32 = 3;
/// From this many calls in one turn on, each call takes longer than a turn may, which keeps cases short.
const MOST_CALLS: i64 = 30;
const LONG: i64 = 11_000;
/// A turn that takes more steps goes around in a circle.
const MOST_STEPS: usize = 2000;

/// What a process knows beyond the API server.
#[derive(Debug)]
pub(super) struct Process {
    number: u32,
    kept: Kept,
    pub(super) clock_offset: SignedDuration,
    pub(super) permissions: Permissions,
    /// When it looks again by itself.
    pub(super) wake: Option<Timestamp>,
    /// Of the run that it works on.
    books: Books,
    /// What it last decided.
    planned: Option<Plan>,
    /// Which version of the policy it wrote last.
    wrote: usize,
    /// Which version it has been shown or told of.
    pub(super) knows: usize,
    /// After how many steps the watch tells it of an edit.
    behind: Option<u8>,
    /// What its last look found.
    pub(super) looked: Option<LastLook>,
    pub(super) budget: Budget,
}

/// A call under way: what comes of it, and when.
struct Flight {
    id: CallId,
    call: Call,
    answer: Answer,
    lands: Timestamp,
    /// How many entries it counts for until it lands, and how many it acted on.
    asked: i64,
    acted: i64,
}

/// What a turn waits for.
#[derive(Default)]
struct UnderWay {
    calls: Vec<Flight>,
    look: Option<Looking>,
}

/// The Secret in the version that holds this token.
fn version(token: u8) -> String {
    format!("secret/{token}")
}

fn version_of(seen: &Seen) -> usize {
    seen.stored.version.parse().unwrap()
}

fn name(next: &Next) -> &'static str {
    match next {
        Next::Now => "now",
        Next::At(_) => "at a time",
        Next::OnPermit(_) => "on a permit",
        Next::Look { .. } => "for a look",
        Next::OnChange => "on a change",
        Next::Retry(_) => "again",
        Next::Forget => "never",
    }
}

pub(super) fn trouble(step: FailedStep) -> Trouble {
    Trouble { step, problem: "no answer".to_owned(), is_of_everybody: true }
}

impl Process {
    pub(super) fn new(number: u32) -> Self {
        Self {
            number,
            kept: Kept::default(),
            clock_offset: SignedDuration::ZERO,
            permissions: sample::permissions(),
            wake: None,
            books: Books::default(),
            planned: None,
            wrote: 0,
            knows: 0,
            behind: None,
            looked: None,
            budget: Budget::default(),
        }
    }

    /// Whether it does not know what became of its last writes.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.kept.is_in_doubt()
    }

    fn knows(&mut self, seen: &Seen) {
        self.knows = self.knows.max(version_of(seen));
    }

    fn settings(&self, slice: &Slice) -> Arc<Settings> {
        Arc::new(Settings {
            holder: format!("pod/{}", self.number),
            retry_limit: RETRY_LIMIT,
            checkpoint_interval: SignedDuration::from_secs(i64::from(!slice.every_page)),
        })
    }
}

impl World {
    /// The process dies, and another comes with the same flags.
    pub(super) fn crash(&mut self) {
        self.told.lost();
        let permissions = self.process.permissions.clone();
        let wrote = self.api.object(0).version;
        self.process = Process { permissions, wrote, knows: wrote, ..Process::new(self.process.number + 1) };
    }

    /// The process gives its run back before it goes.
    pub(super) fn stop(&mut self) {
        self.turn(Slice { interrupt: Some((0, Interrupt::Stop)), ..Slice::default() });
        self.settle();
        self.crash();
    }

    /// One turn with the policy.
    pub(super) fn turn(&mut self, mut slice: Slice) {
        self.faults.append(&mut slice.faults);
        self.process.wake = None;
        let (settings, now) = (self.process.settings(&slice), self.now());
        let kept = std::mem::take(&mut self.process.kept);
        let in_hand = slice.in_hand.map(|(changes_ago, _)| self.api.object(changes_ago));
        let in_hand = in_hand.filter(|object| object.version >= self.process.wrote);
        let in_hand = in_hand.map(|object| self.seen_as(object));
        if let Some(seen) = &in_hand {
            self.process.knows(seen);
        }
        let attempt = Attempt::begin(settings, kept, true, now);
        let mut attempt = match slice.in_hand {
            Some((0, true)) => attempt.with_listed(in_hand),
            _ => attempt.with_in_hand(in_hand),
        };
        if slice.looks {
            attempt = attempt.for_a_look();
        }
        let mut under_way = UnderWay::default();
        let mut event = None;
        let mut calls = 0;
        for _ in 0..MOST_STEPS {
            if slice.crashes() {
                self.faults.clear();
                return self.crash();
            }
            if let Some(interrupt) = slice.interrupts() {
                attempt.on(Event::Interrupted(interrupt), self.now());
            }
            self.catch_up(&mut attempt);
            match attempt.next(self.now()) {
                Action::Tell(told) => self.is_told(*told, &attempt),
                Action::GiveUp(id) => {
                    let index = under_way.calls.iter().position(|flight| flight.id == id);
                    under_way.calls.remove(index.expect("gives up on nothing"));
                    self.ledger.meet("a call that was given up");
                    self.knows(&attempt, &under_way);
                }
                Action::Do(Effect::Call { id, call, account }) => {
                    calls += 1;
                    // Answers overtake each other.
                    let latency = if calls > MOST_CALLS { LONG } else { slice.latency + calls * 7 % 5 };
                    let lands = self.time + SignedDuration::from_millis(latency);
                    let flight = self.send(&attempt, id, *call, account, &under_way, &mut slice);
                    under_way.calls.push(Flight { lands, ..flight });
                }
                Action::Do(Effect::Look { look, account }) => {
                    assert!(under_way.look.is_none() && event.is_none(), "two effects at once");
                    under_way.look = Some(self.begin_look(&attempt, *look, account, &mut slice));
                }
                Action::Do(effect) => {
                    assert!(event.is_none(), "two effects at once");
                    event = Some(self.perform(effect, &attempt, &mut slice));
                }
                Action::Wait(until) => match event.take() {
                    Some(event) => attempt.on(event, self.now()),
                    None => self.wait(until, &mut attempt, &mut under_way, &mut slice),
                },
                Action::Done(next) => {
                    self.end_turn(attempt, &next);
                    // Also in the middle of a process' life.
                    self.settle();
                    return self.faults.clear();
                }
            }
        }
        panic!("the turn does not end: {attempt:#?}");
    }

    /// Something comes first: an edit, the answer to the call under way, or the time that is waited for.
    fn wait(&mut self, until: Timestamp, attempt: &mut Attempt, under_way: &mut UnderWay, slice: &mut Slice) {
        if under_way.look.is_some() {
            self.check_nothing_is_due();
        }
        if let Some(operation) = slice.meanwhile.pop() {
            let is_edit = matches!(operation, Operation::Edit(_) | Operation::Annotate(..));
            self.happen(operation);
            if is_edit {
                self.ledger.meet("an edit during a turn");
                self.process.behind = Some(slice.lag.unwrap_or_default());
            }
            return;
        }
        let left = until.duration_since(self.now()).max(SignedDuration::ZERO);
        let next = under_way.calls.iter().enumerate().min_by_key(|(_, flight)| flight.lands);
        let next = next.filter(|(_, flight)| flight.lands.duration_since(self.time) <= left);
        if let Some(index) = next.map(|(index, _)| index) {
            let Flight { id, answer, lands, .. } = under_way.calls.remove(index);
            self.time = self.time.max(lands);
            if matches!(answer, Answer::Page(_)) {
                self.process.clock_offset = self.offset();
            }
            attempt.on(Event::Answered(id, answer), self.now());
            self.knows(attempt, under_way);
        } else if let Some(Looking { looked, lands }) =
            under_way.look.take_if(|look| look.lands.duration_since(self.time) <= left)
        {
            self.time = self.time.max(lands);
            attempt.on(Event::Looked(looked), self.now());
        } else {
            assert!(until < Timestamp::MAX && left.is_positive(), "waits for nothing: {attempt:#?}");
            self.time += left;
            attempt.on(Event::Woken, self.now());
        }
    }

    /// The watch tells of an edit, sooner or later.
    fn catch_up(&mut self, attempt: &mut Attempt) {
        let behind = self.process.behind;
        self.process.behind = behind.and_then(|steps| steps.checked_sub(1));
        if behind == Some(0) {
            self.process.knows = self.api.object(0).version;
            attempt.on(Event::Interrupted(Interrupt::Changed), self.now());
        }
    }

    fn end_turn(&mut self, mut attempt: Attempt, next: &Next) {
        if let Some((_, unused)) = attempt.take_unused() {
            self.give_back(unused);
        }
        // A status is not kept up to date while its run waits: a case would never be over.
        let waits = attempt.run().and_then(|run| run.waiting_until).map(MilliTime::timestamp);
        self.process.wake = match next {
            Next::At(time) => Some(waits.map_or(*time, |until| until.max(*time))),
            Next::Look { at, due } => {
                assert!(due.is_none_or(|due| *at < due), "a look before something that is due sooner");
                *due
            }
            Next::OnPermit(_) | Next::Now | Next::OnChange | Next::Retry(_) | Next::Forget => None,
        };
        self.process.kept = attempt.keep();
        if self.process.is_in_doubt() {
            self.ledger.meet(format!("in doubt at the end of a turn, and then: {}", name(next)));
        }
    }

    fn is_told(&mut self, told: Told, attempt: &Attempt) {
        match told {
            Told::Changes { changes, .. } => self.told.told(&changes),
            Told::Notice(Notice::Overtaken) => {
                self.ledger.meet("a write that was overtaken");
                self.told.overtaken();
            }
            Told::Notice(Notice::Planned(plan)) => {
                let has_token = matches!(self.secret, Secret::Token { .. });
                assert!(
                    !matches!(*plan, Plan::Cancel { why: CancelCause::Replaced, .. })
                        || has_token
                        || attempt.has_usable_token(),
                    "ends a run, and none can start in its place"
                );
                self.process.planned = Some(*plan);
            }
            Told::Notice(Notice::Left(_)) => self.ledger.meet("a run left as its policy was gone"),
            Told::Notice(Notice::Lost { .. }) => self.ledger.meet("a run lost to another process"),
            Told::Notice(Notice::Approved(_)) => self.ledger.meet("a run is approved"),
            Told::Notice(Notice::TakesOver(_)) => self.ledger.meet("a run taken over"),
            Told::Notice(Notice::TokenChanged) => self.ledger.meet("a newer token in the middle of a run"),
            Told::Notice(Notice::NotWritten { purpose, .. }) => {
                self.ledger.meet(format!("a write of the run that failed: {purpose:?}"));
            }
            Told::Notice(Notice::LookGivenUp) => self.ledger.meet("a look that was given up"),
            Told::Notice(Notice::Starts { .. } | Notice::Abandoned { .. }) => {}
        }
    }

    /// Everything but a call happens at once.
    fn perform(&mut self, effect: Effect, attempt: &Attempt, slice: &mut Slice) -> Event {
        match effect {
            Effect::Read if slice.unread.pop() == Some(true) => {
                Event::Read(Err(trouble(FailedStep::ReadPolicy)))
            }
            Effect::Read => Event::Read(Ok(Some(self.show()))),
            Effect::Resolve { .. } if slice.unread.pop() == Some(true) => {
                Event::Resolved(Err(trouble(FailedStep::ReadSecret)))
            }
            Effect::Resolve { freshness, .. } => Event::Resolved(Ok(match self.secret {
                Secret::Gone => Err(Invalid::new(Reason::SecretNotFound, "no Secret")),
                Secret::Empty => Err(Invalid::new(Reason::SecretInvalid, "no token")),
                Secret::Token { number, .. } => Ok(Found {
                    version: version(number),
                    account: (freshness != Freshness::Known).then_some(number.into()),
                }),
            })),
            Effect::Write(write) => Event::Written(self.try_write(*write, attempt)),
            Effect::Reserve { entries, .. } => Event::Reserved(self.reserve(entries)),
            Effect::ApprovalId => Event::ApprovalId(self.new_id()),
            Effect::Permit(_) => Event::Permitted(!std::mem::take(&mut slice.queued)),
            Effect::FurtherPermit(_) => {
                let is_free = slice.further_permits > 0;
                slice.further_permits = slice.further_permits.saturating_sub(1);
                Event::Permitted(is_free)
            }
            Effect::Call { .. } | Effect::Look { .. } => unreachable!("these take their time"),
        }
    }

    /// The process is shown the policy as it stands.
    fn show(&mut self) -> Arc<Seen> {
        let seen = self.seen_as(self.api.object(0));
        self.process.knows(&seen);
        seen
    }

    fn seen_as(&self, object: &Object) -> Arc<Seen> {
        Arc::new(Seen {
            uid: "uid".to_owned(),
            policy: Arc::new(object.policy(&self.process.permissions)),
            status: object.status(),
            is_status_readable: true,
            stored: Stored { version: object.version.to_string(), ..Stored::default() },
            clock_offset: self.process.clock_offset,
        })
    }

    fn try_write(&mut self, write: StatusWrite, attempt: &Attempt) -> WriteOutcome {
        let StatusWrite { seen, next, fence, purpose } = write;
        let policy = attempt.policy().expect("a plan").clone();
        let policy = if purpose == Purpose::Release {
            // It says nothing of the spec: what an earlier write said of it stays.
            let generation = seen.status.observed_generation.unwrap_or(policy.generation);
            Policy { generation, history_limit: usize::MAX, ..policy }
        } else {
            policy
        };
        let plan = self.process.planned.clone().filter(|_| fence != Fence::Run);
        let precondition = match fence {
            Fence::Version => Precondition::Version(version_of(&seen)),
            Fence::Status => Precondition::Unchanged(Box::new(seen.status.clone())),
            Fence::Run => Precondition::OurRun(Box::new(seen.status.current_run.clone().expect("a run"))),
        };
        match purpose {
            Purpose::Claim => {
                let is_by_listing = seen.policy.work.as_ref().is_ok_and(|work| work.by_listing.is_some());
                self.process.books = Books::of_a_run_that_starts(&self.upstash, is_by_listing);
            }
            Purpose::TakeOver => self.process.books = Books::default(),
            Purpose::Finish => {
                let run = next.last_run.as_ref().expect("the run that ends");
                if run.left_alone > 0 {
                    self.ledger.meet("entries that a list showed were left alone");
                }
                if self.process.books.check(run, &self.upstash) {
                    self.ledger.meet("refused entries, all known");
                }
            }
            Purpose::Settle | Purpose::Checkpoint | Purpose::Ask | Purpose::Release => {}
        }
        if next == seen.status {
            self.write_same(policy, next, precondition, plan);
            return WriteOutcome::Same;
        }
        let is_replaced = matches!(plan, Some(Plan::Cancel { why: CancelCause::Replaced, .. }))
            && purpose == Purpose::Finish;
        let version = self.api.object(0).version;
        let is_out_of_date = matches!(precondition, Precondition::Version(known) if known != version);
        match self.write(policy.clone(), next, precondition, plan, purpose) {
            Written::Yes => {
                self.process.wrote = self.api.object(0).version;
                if is_replaced {
                    self.check_replaced(&policy);
                }
                WriteOutcome::Done(self.show())
            }
            Written::Conflict => {
                if is_out_of_date {
                    self.ledger.meet("a decision on an object that was out of date");
                }
                WriteOutcome::Refused
            }
            Written::Unknown => {
                if is_out_of_date {
                    self.told.out_of_date();
                }
                WriteOutcome::InDoubt(trouble(FailedStep::Timeout))
            }
        }
    }

    /// A run that was replaced makes way for the next one at once.
    fn check_replaced(&self, policy: &Policy) {
        let status = self.api.status();
        let facts = Facts { connection: Some(Connectivity::Usable), ..Facts::default() };
        let next = plan(policy, &status, &facts, self.now());
        assert!(
            matches!(&next, Ok(Plan::Start(start)) if start.run.trigger == Trigger::Schedule),
            "a run is replaced by nothing: {next:?}"
        );
    }

    /// A call reaches Upstash, and is done there. What comes of it arrives later.
    fn send(
        &mut self,
        attempt: &Attempt,
        id: CallId,
        call: Call,
        account: u64,
        under_way: &UnderWay,
        slice: &mut Slice,
    ) -> Flight {
        let run = attempt.run().expect("a run").clone();
        let beside: Vec<_> = under_way.calls.iter().map(|flight| &flight.call).collect();
        if !beside.is_empty() {
            self.ledger.meet("calls side by side");
        }
        let being_asked = under_way.calls.iter().map(|flight| flight.asked).sum();
        self.check_call(&run, &call, &beside, being_asked);
        let fate = slice.fates.pop().unwrap_or_else(|| slice.otherwise.clone());
        // Entries that fail again do so within the window only until the process' clock is Upstash's.
        let is_over = run.window.as_ref().is_none_or(|window| window.to_date.timestamp() < self.time);
        let fate = if fate == Fate::Refail && !is_over { Fate::Served } else { fate };
        let right = self.secret.right_of(u8::try_from(account).unwrap());
        let is_counted = matches!(call, Call::Get { .. }) && !run.dry_run;
        let asked = asked(&call, run.dry_run).filter(|_| !is_counted);
        let is_paced = self.is_paced(&run, &call);
        let times = (self.now(), self.time);
        self.process.books.asks((&run, &call, is_paced), &fate, times);
        let served = self.upstash.serve(&call, &fate, right, self.time);
        let shown = match &served.answer {
            upstash::Answer::Page(page) if asked.is_some() => page.entries,
            _ => 0,
        };
        let connection =
            attempt.policy().and_then(|policy| policy.work.as_ref().ok()).map(|work| &work.connection);
        if matches!(connection, Some(ConnectionRef::Secret { shared: Some(_), .. })) {
            self.acted(served.acted.saturating_sub(served.beyond));
        }
        // What is listed before it is decided on is held to no limit.
        let counts = run.dry_run || call.operation().acts();
        self.ledger.done(&run, served.acted, shown, if counts { served.beyond } else { 0 });
        // What may have been done counts as done.
        let may_have_acted = match &served.answer {
            upstash::Answer::Page(_) => false,
            upstash::Answer::Error(error) => error.may_have_acted,
            upstash::Answer::Abandoned => call.operation().acts(),
        };
        let doubted = asked.filter(|_| may_have_acted).unwrap_or_default();
        let brought = u64::try_from(doubted).unwrap().max(shown).max(served.acted.into());
        self.process.books.brought(u32::try_from(brought).unwrap());
        let answer = match served.answer {
            upstash::Answer::Page(page) => Answer::Page(page),
            upstash::Answer::Error(error) => Answer::Error { error, jitter: slice.jitter },
            upstash::Answer::Abandoned => Answer::TimedOut,
        };
        let asked = asked.unwrap_or_default();
        Flight { id, call, answer, lands: self.time, asked, acted: served.acted.into() }
    }

    /// The process knows of its own calls as soon as they land.
    fn knows(&self, attempt: &Attempt, under_way: &UnderWay) {
        let not_heard_of = under_way.calls.iter().map(|flight| flight.acted).sum();
        self.ledger.knows(attempt.run().unwrap(), not_heard_of);
    }
}
