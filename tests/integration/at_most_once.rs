//! That no run acts on an entry twice, as the simulator wrote it down and not as the operator tells it.
//!
//! An ID is never used again, so counting IDs proves little. Where workflow runs fail again, what a run acted on is back
//! while the run is still at work, under another ID: an operator that selects by anything but its frozen window, or whose
//! last pass looks further than the first, takes it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use serde_json::{Value, json};
use testbed::{Ledger, LedgerCall, LedgerEntry, Simulator};

/// A span of failure times, in Unix milliseconds, as a call asks for it.
type Span = (Option<i64>, Option<i64>);

/// What is frozen at a run's start.
#[derive(Clone, Debug)]
struct Frozen {
    start: i64,
    /// Nothing where only the history told of the run, which keeps no windows.
    window: Option<Span>,
}

impl Frozen {
    fn of(run: &Value) -> Self {
        let millis =
            |time: &Value| time.as_str().map(|time| time.parse::<Timestamp>().unwrap().as_millisecond());
        let window = run.get("window");
        Self {
            start: millis(&run["startTime"]).unwrap_or_else(|| panic!("it has not started: {run:#}")),
            window: window.map(|window| (millis(&window["fromDate"]), millis(&window["toDate"]))),
        }
    }

    fn holds(&self, failed_at: i64) -> bool {
        let (from, to) = self.window.unwrap_or_default();
        from.is_none_or(|from| from <= failed_at) && to.is_none_or(|to| failed_at <= to)
    }
}

/// The runs of one policy, each with what was frozen when it was first seen. That it stays so is checked each time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs(BTreeMap<String, Frozen>);

/// What [`Runs::check`] found, for tests to see that it could have failed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Temptation {
    /// How many entries came back from a run's own actions while it had calls to make yet.
    pub(crate) comebacks: usize,
}

/// Lets what is resumed or restarted in this DLQ fail again at once, so that it is back before the next call.
pub(crate) async fn tempt(simulator: &Simulator, dlq: &str) {
    // After a millisecond: in the very one in which a run starts, an entry may fail before the start or after it.
    simulator.refail(dlq, &json!({ "delayMs": 1 })).await.unwrap();
}

impl Runs {
    /// The runs that a status tells of.
    pub(crate) fn of(status: &Value) -> Self {
        let mut runs = Self::default();
        runs.see(status);
        runs
    }

    /// One run.
    pub(crate) fn of_one(run: &Value) -> Self {
        let mut runs = Self::default();
        runs.see_run(run);
        runs
    }

    /// Takes over what is new in a status.
    pub(crate) fn see(&mut self, status: &Value) {
        let history = status["history"].as_array().into_iter().flatten();
        for run in history.chain(status.get("lastRun")).chain(status.get("currentRun")) {
            if run.is_object() {
                self.see_run(run);
            }
        }
    }

    fn see_run(&mut self, run: &Value) {
        let (id, frozen) = (run["id"].as_str().unwrap().to_owned(), Frozen::of(run));
        let first = self.0.entry(id).or_insert_with(|| frozen.clone());
        assert_eq!(first.start, frozen.start, "a run's start changed: {run:#}");
        if let Some(window) = frozen.window {
            assert_eq!(*first.window.get_or_insert(window), window, "a run's window changed: {run:#}");
        }
    }

    /// Checks the calls of these runs, which are all that their policy ever had. The DLQ must not lag.
    ///
    /// * No entry was acted on twice, and all calls of a run ask for one window, or for parts of it: the one that was first
    ///   seen, if it was, and which its first call asks for.
    /// * Each entry that a run acted on failed within that window, and before the run's first call came in. The latter needs no
    ///   word of the operator where a policy had one run; where it had several, their starts say whose call it was.
    /// * So no run acted on what came back from its own actions, which is checked by itself as well.
    /// * Calls follow each other, but for those over parts of a window that share no time: none comes in before the one before
    ///   it took place and was answered. That holds whichever process makes them, so processes need not be told apart. Of a call whose caller hung up, or whose answer a
    ///   fault took, the end is not known: it may still take place while a later one does, so nothing is said of the two.
    pub(crate) fn check<'a>(
        &self,
        ledger: &'a Ledger,
        is_theirs: impl Fn(&LedgerCall) -> bool,
    ) -> Temptation {
        let mut starts: Vec<&Frozen> = self.0.values().collect();
        starts.sort_by_key(|run| run.start);
        let mut calls: Vec<&LedgerCall> = ledger.calls.iter().filter(|call| is_theirs(call)).collect();
        calls.sort_by_key(|call| (call.arrived_at, call.seq));
        assert_one_at_a_time(&calls);

        let entries: HashMap<&str, &LedgerEntry> =
            ledger.entries.iter().map(|entry| (entry.dlq_id.as_str(), entry)).collect();
        let mut work: Vec<Work<'a>> = Vec::new();
        work.resize_with(starts.len(), Work::default);
        for call in calls {
            let index = starts.partition_point(|run| run.start <= call.arrived_at).checked_sub(1);
            let index = index.unwrap_or_else(|| panic!("a call before any run: {call:?}"));
            work[index].add(call);
        }
        let mut seen = BTreeSet::new();
        let mut temptation = Temptation::default();
        for (run, work) in starts.into_iter().zip(&work) {
            temptation.comebacks += work.check(run, &entries, &mut seen);
        }
        temptation
    }

    /// The same for a DLQ with one policy.
    pub(crate) fn check_all(&self, ledger: &Ledger) -> Temptation {
        self.check(ledger, |_| true)
    }
}

/// The calls of one run.
#[derive(Debug, Default)]
struct Work<'a> {
    first_arrived_at: Option<i64>,
    last_arrived_at: i64,
    acting: Vec<&'a LedgerCall>,
}

impl<'a> Work<'a> {
    fn add(&mut self, call: &'a LedgerCall) {
        self.first_arrived_at.get_or_insert(call.arrived_at);
        self.last_arrived_at = call.arrived_at;
        if acts(call) {
            self.acting.push(call);
        }
    }

    /// How many comebacks the run had before it.
    fn check<'e>(
        &self,
        run: &Frozen,
        entries: &HashMap<&'e str, &'e LedgerEntry>,
        seen: &mut BTreeSet<&'e str>,
    ) -> usize {
        let (mut own, mut comebacks, mut window) = (BTreeSet::new(), Vec::new(), run.window);
        for call in &self.acting {
            for dlq_id in &call.dlq_ids {
                let entry = entries[dlq_id.as_str()];
                assert!(seen.insert(&entry.dlq_id), "acted on again by {call:?}: {entry:?}");
                assert_eq!(entry.actions, 1, "acted on again: {entry:?}");
                assert!(run.holds(entry.failed_at), "{entry:?} is not in the window of {run:?}: {call:?}");
                let first = self.first_arrived_at.unwrap();
                assert!(
                    entry.failed_at <= first,
                    "{entry:?} failed after the first call of {run:?}, at {first}: {call:?}"
                );
                own.insert(entry.dlq_id.as_str());
                comebacks.extend(entry.refailed_as.as_deref());
            }
            if let Some(span) = span(call) {
                let window = *window.get_or_insert(span);
                assert!(is_within(span, window), "not the window of its run {run:?}: {call:?}");
            }
        }
        let taken: Vec<_> = comebacks.iter().filter(|comeback| own.contains(**comeback)).collect();
        assert!(taken.is_empty(), "{run:?} acted on what came back from its own actions: {taken:?}");
        comebacks.iter().filter(|comeback| entries[**comeback].failed_at < self.last_arrived_at).count()
    }
}

fn assert_one_at_a_time(calls: &[&LedgerCall]) {
    let mut under_way: Vec<&LedgerCall> = Vec::new();
    for call in calls.iter().filter(|call| acts(call)) {
        under_way.retain(|earlier| call.arrived_at < earlier.at);
        for earlier in &under_way {
            assert!(share_no_time(call, earlier), "two calls at once: {earlier:#?} {call:#?}");
        }
        if call.delivered {
            under_way.push(call);
        }
    }
}

/// Whether the calls cover parts of a window that share no millisecond.
fn share_no_time(one: &LedgerCall, other: &LedgerCall) -> bool {
    let ends_before = |one: Span, other: Span| one.1.zip(other.0).is_some_and(|(to, from)| to < from);
    span(one).zip(span(other)).is_some_and(|(one, other)| ends_before(one, other) || ends_before(other, one))
}

fn is_within(part: Span, whole: Span) -> bool {
    whole.0.is_none_or(|from| part.0.is_some_and(|part| from <= part))
        && whole.1.is_none_or(|to| part.1.is_some_and(|part| part <= to))
}

fn acts(call: &LedgerCall) -> bool {
    let operation = call.operation.strip_suffix("One").unwrap_or(&call.operation);
    ["resume", "restart", "delete"].contains(&operation)
}

/// The span of time that a call asks for; nothing where it names its entries.
fn span(call: &LedgerCall) -> Option<Span> {
    let pairs = || call.query.split('&').filter_map(|pair| pair.split_once('='));
    let time = |name| pairs().find(|(key, _)| *key == name).map(|(_, value)| value.parse().unwrap());
    let names_entries = call.operation.ends_with("One") || pairs().any(|(key, _)| key == "dlqIds");
    (!names_entries).then(|| (time("fromDate"), time("toDate")))
}
