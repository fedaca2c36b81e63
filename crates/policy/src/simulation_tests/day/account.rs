//! What became of each scheduled time. It is told by what the API server was seen to keep, by what happened from outside,
//! and by a clock on the wall; neither by the shipped schedules nor by its plans.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::kind::Kind;
use crate::simulation_tests::world::World;
use dlq_crd::{DlqPolicyStatus, MilliTime, PolicyRun, Trigger};

/// Clocks jump by so much, and turns come so late, at most.
const NEARLY: SignedDuration = SignedDuration::from_secs(5);
/// Within so long every schedule here has another scheduled time.
const NEXT: SignedDuration = SignedDuration::from_hours(49);

/// How many scheduled times there were, and what became of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) scheduled: i64,
    /// Each once.
    pub(super) ran: i64,
    pub(super) missed: i64,
    /// Passed while the policy was held, or a process had not seen yet that it was not any more.
    pub(super) held: i64,
    /// Came while a run was in progress.
    pub(super) kept: i64,
    /// Runs of all kinds.
    pub(super) runs: i64,
    /// Entries acted on, by the statuses' totals.
    pub(super) entries: i64,
    pub(super) turns: i64,
}

impl Sums {
    pub(super) fn add(&mut self, more: &Self) {
        let Self { scheduled, ran, missed, held, kept, runs, entries, turns } = more;
        self.scheduled += scheduled;
        self.ran += ran;
        self.missed += missed;
        self.held += held;
        self.kept += kept;
        self.runs += runs;
        self.entries += entries;
        self.turns += turns;
    }
}

/// From when to when something lasted.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: Timestamp,
    until: Timestamp,
}

impl Span {
    fn meets(self, other: Self) -> bool {
        self.from <= other.until && other.from <= self.until
    }

    fn surely_holds(self, time: Timestamp) -> bool {
        self.from + NEARLY < time && time + NEARLY < self.until
    }
}

/// A run as the API server was seen to keep it.
#[derive(Clone, Copy, Debug)]
struct Run {
    scheduled: Option<Timestamp>,
    seen: Span,
    start: Timestamp,
}

/// So many scheduled times were told as missed, the last of them this one; before it, this one was dealt with.
#[derive(Clone, Copy, Debug)]
struct Missed {
    after: Timestamp,
    last: Timestamp,
    count: i64,
}

impl Missed {
    fn covers(self, at: Timestamp) -> bool {
        self.after < at && at <= self.last
    }
}

/// What keeps runs from starting, beside the circuit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Withheld {
    No,
    /// Suspended or paused.
    Held,
    /// It shows only when a run is due.
    WithoutToken,
}

#[derive(Debug)]
pub(super) struct Account {
    opens_circuit_after: Option<i64>,
    pub(super) withheld: Withheld,
    status: DlqPolicyStatus,
    version: usize,
    /// Since when a schedule counts, each time it was seen anew.
    since: Vec<Timestamp>,
    runs: BTreeMap<(String, MilliTime), Run>,
    missed: Vec<Missed>,
    /// The latest scheduled time that was run or told as missed.
    told: Option<Timestamp>,
    /// While the policy may have been held, and while every process knew that it was.
    may_be_held: Vec<Span>,
    is_held: Vec<Span>,
    /// Since when it is held, and is known to be.
    held_since: Option<Timestamp>,
    known_since: Option<Timestamp>,
    /// When a turn without trouble last began.
    settled: Timestamp,
    turns: i64,
}

impl Account {
    pub(super) fn new(kind: &Kind) -> Self {
        Self {
            opens_circuit_after: kind.opens_circuit_after,
            withheld: Withheld::No,
            status: DlqPolicyStatus::default(),
            version: 0,
            since: Vec::new(),
            runs: BTreeMap::new(),
            missed: Vec::new(),
            told: None,
            may_be_held: Vec::new(),
            is_held: Vec::new(),
            held_since: None,
            known_since: None,
            settled: kind.begin,
            turns: 0,
        }
    }

    /// A turn was taken. When it began, if it met no trouble.
    pub(super) fn turned(&mut self, world: &World, settled: Option<Timestamp>) {
        self.turns += 1;
        self.see(world);
        let Some(began) = settled else { return };
        if self.held_since.is_some() && self.holds() {
            if self.withheld != Withheld::WithoutToken {
                self.known_since.get_or_insert(world.now());
            }
        } else if let Some(from) = self.held_since.take() {
            self.may_be_held.push(Span { from, until: world.now() });
        }
        self.settled = began;
    }

    /// Looks at what there is now.
    pub(super) fn see(&mut self, world: &World) {
        let now = world.now();
        if world.api.object(0).version != self.version {
            self.version = world.api.object(0).version;
            self.see_status(world.api.status(), now);
        }
        if self.holds() {
            self.held_since.get_or_insert(self.settled);
        } else if let Some(from) = self.known_since.take() {
            self.is_held.push(Span { from, until: now });
        }
    }

    pub(super) fn has_run(&self) -> bool {
        self.status.current_run.is_some()
    }

    /// Whether something holds the policy, whether or not a process knows of it.
    fn holds(&self) -> bool {
        self.withheld != Withheld::No
            || self.opens_circuit_after.is_some_and(|most| self.status.consecutive_failures >= most)
    }

    fn see_status(&mut self, status: DlqPolicyStatus, now: Timestamp) {
        let before = std::mem::replace(&mut self.status, status);
        let status = &self.status;
        if let Some(since) = &status.schedule_since
            && self.since.last() != Some(&since.0)
        {
            self.since.push(since.0);
        }
        let count = status.missed_schedules - before.missed_schedules;
        if count > 0 {
            let last = status.last_missed_time.as_ref().expect("when it was").0;
            let after = self.told.unwrap_or(self.since[0]);
            self.missed.push(Missed { after, last, count });
            self.told = self.told.max(Some(last));
        }
        let of_run = |run: &PolicyRun| (run.id.clone(), run.start_time);
        for run in status.current_run.iter().chain(&status.last_run) {
            let start = run.start_time.timestamp();
            let scheduled = run.scheduled_time.as_ref().map(|time| time.timestamp());
            assert_eq!(scheduled.is_some(), run.trigger == Trigger::Schedule);
            let known = self.runs.entry(of_run(run)).or_insert_with(|| {
                self.told = self.told.max(scheduled);
                Run { scheduled, seen: Span { from: now, until: now }, start }
            });
            if run.completion_time.is_none() || before.current_run.as_ref().map(of_run) == Some(of_run(run)) {
                known.seen.until = now;
            }
        }
    }

    /// The day ends: each scheduled time was run once, was told as missed, or had a reason to pass.
    pub(super) fn close(&self, kind: &Kind) -> Sums {
        let starts = self.starts(kind);
        let end = self.settled - NEARLY;
        let ran = self.ran(kind, &starts);
        let runs = i64::try_from(self.runs.len()).unwrap() - i64::from(self.status.current_run.is_some());
        assert_eq!(runs, self.status.totals.runs, "a run was not seen");
        let entries = self.status.totals.processed;
        let mut sums = Sums { runs, turns: self.turns, entries, ..Sums::default() };
        let mut left: BTreeSet<_> = starts
            .iter()
            .filter(|(at, start)| **start < end && !ran.contains(at))
            .map(|(at, _)| *at)
            .collect();
        for missed in &self.missed {
            let passed = self.check_missed(kind, &starts, &ran, *missed);
            left.retain(|at| passed.contains(at) || !missed.covers(*at));
            sums.missed += missed.count;
        }
        assert_eq!(sums.missed, self.status.missed_schedules);
        assert!(!kind.is_calm || sums.missed == 0, "missed on a calm day: {kind:#?} {:#?}", self.missed);
        for at in left {
            match self.why_it_may_pass(kind, at, starts[&at]) {
                Some(Why::Held) => sums.held += 1,
                Some(Why::Kept) => sums.kept += 1,
                None => panic!("{at} was lost: {kind:#?} {self:#?}"),
            }
        }
        sums.ran = i64::try_from(ran.len()).unwrap();
        sums.scheduled = sums.ran + sums.missed + sums.held + sums.kept;
        let there = starts.iter().filter(|(at, start)| **start < end || Some(**at) <= self.told).count();
        assert_eq!(Ok(sums.scheduled), i64::try_from(there), "not every scheduled time is in the account");
        sums
    }

    /// The scheduled times that ran, each once.
    fn ran(&self, kind: &Kind, starts: &Starts) -> BTreeSet<Timestamp> {
        let mut ran = BTreeSet::new();
        for run in self.runs.values() {
            let Some(at) = run.scheduled else { continue };
            assert!(ran.insert(at), "{at} ran twice: {kind:#?}");
            let start = starts.get(&at);
            let start = start.unwrap_or_else(|| panic!("{at} is no scheduled time: {kind:#?} {self:#?}"));
            assert!(run.start >= *start, "{at} ran before {start}: {kind:#?}");
            assert!(!kind.is_calm || run.start < *start + NEARLY, "{at} ran late on a calm day: {kind:#?}");
            assert!(!self.was_held(*start), "{at} ran while held: {kind:#?} {:#?}", self.is_held);
        }
        ran
    }

    /// As many were missed as are told. Those that were not, and had a reason to pass.
    fn check_missed(
        &self,
        kind: &Kind,
        starts: &Starts,
        ran: &BTreeSet<Timestamp>,
        missed: Missed,
    ) -> BTreeSet<Timestamp> {
        let among: Vec<_> = starts.iter().filter(|(at, _)| missed.covers(**at)).collect();
        assert!(
            among.iter().all(|(at, _)| !ran.contains(at)),
            "ran, and told as missed: {missed:?} {kind:#?}"
        );
        let (mut passed, lost): (Vec<_>, Vec<_>) =
            among.iter().partition(|(at, start)| self.why_it_may_pass(kind, **at, **start).is_some());
        let most = among.iter().filter(|(_, start)| !self.was_held(**start) && !self.was_kept(kind, **start));
        let (least, most) = (lost.len(), most.count());
        let count = usize::try_from(missed.count).unwrap();
        assert!((least..=most).contains(&count), "{missed:?}, not {least} to {most}: {kind:#?} {self:#?}");
        // Some that had a reason to pass were told as missed anyway.
        passed.truncate(passed.len() - (count - least));
        passed.into_iter().map(|(at, _)| *at).collect()
    }

    /// What the schedule means, and when a run for it starts. Each time the policy is not held any more, `@every` counts
    /// anew.
    fn starts(&self, kind: &Kind) -> Starts {
        let until = self.settled + NEARLY;
        let mut starts = Starts::new();
        let ends = self.since.iter().skip(1).copied().chain([until]);
        for (since, until) in self.since.iter().zip(ends) {
            let times = kind.times.between(*since, until + NEXT);
            let of_this = times.iter().zip(&times[1..]).take_while(|(at, _)| **at <= until);
            starts.extend(of_this.map(|(at, next)| {
                let most = next.duration_since(*at) - SignedDuration::from_secs(1);
                (*at, *at + kind.offset.min(most))
            }));
        }
        starts
    }

    fn why_it_may_pass(&self, kind: &Kind, at: Timestamp, start: Timestamp) -> Option<Why> {
        let near = |from: Timestamp, until: Timestamp| Span { from: from - NEARLY, until: until + NEARLY };
        let still = self.held_since.map(|from| Span { from, until: self.settled + NEXT });
        let its = near(at, self.postponed_until(kind, start).map_or(start, |until| until.max(start)));
        if self.may_be_held.iter().copied().chain(still).any(|held| held.meets(its)) {
            return Some(Why::Held);
        }
        let its = near(start, start);
        let is_kept = !kind.replaces
            && self.runs.values().any(|run| {
                let from = run.start.min(run.seen.from);
                run.scheduled != Some(at) && Span { from, ..run.seen }.meets(its)
            });
        is_kept.then_some(Why::Kept)
    }

    /// Until when a run postpones what is due: the next run of all, if somebody asked for it, or one in progress that it is
    /// too late to replace. If the policy is held before that run has ended, what it postpones passes.
    fn postponed_until(&self, kind: &Kind, start: Timestamp) -> Option<Timestamp> {
        let next = self.runs.values().filter(|run| run.start + NEARLY >= start).min_by_key(|run| run.start);
        let by_hand = next.filter(|run| run.scheduled.is_none());
        let in_progress = self
            .runs
            .values()
            .filter(|run| kind.replaces && run.start <= start + NEARLY && run.seen.until + NEARLY >= start);
        by_hand.into_iter().chain(in_progress).map(|run| run.seen.until).max()
    }

    /// Its start passed while every process knew that the policy was held.
    fn was_held(&self, start: Timestamp) -> bool {
        let still = self.known_since.map(|from| Span { from, until: self.settled + NEXT });
        self.is_held.iter().copied().chain(still).any(|held| held.surely_holds(start))
    }

    /// Its start passed while a run was in progress.
    fn was_kept(&self, kind: &Kind, start: Timestamp) -> bool {
        !kind.replaces && self.runs.values().any(|run| run.seen.surely_holds(start))
    }
}

/// Scheduled times, and when their runs start.
type Starts = BTreeMap<Timestamp, Timestamp>;

#[derive(Clone, Copy, Debug)]
enum Why {
    Held,
    Kept,
}
