//! Every loop ends, and every entry is accounted for: whatever fails again, in whatever order a list shows it, and whatever
//! arrives, expires or is taken by others while pages are in hand.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::bisection::NOBODYS;
use super::past::Past;
use super::progress::{Progress, Step};
use crate::plan::Start;
use crate::sample::{self, Known};
use crate::{Plan, status};
use dlq_crd::{DlqPolicyStatus, PolicyRun, RunResult};
use dlq_upstash::error::{ApiError, ErrorClass};
use dlq_upstash::types::{Call, Criteria, Cursor, DlqId, ListedEntry, Page, Selection};

/// What happens between two calls, or to one.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Nothing,
    /// Workflow runs fail for the first time.
    Arrive(u8),
    /// The oldest entries expire.
    Expire(u8),
    /// Another client deletes entries.
    Taken(u8),
    /// The call acts or not, and its answer is lost.
    AnswerLost {
        acts: bool,
    },
    /// The process is killed: another one takes the run over.
    Killed,
}

#[derive(Clone, Debug)]
struct Entry {
    /// The workflow run that failed first.
    lineage: usize,
    run_id: String,
    labels: Vec<String>,
    status: u16,
    is_stuck: bool,
}

/// Upstash's DLQ: entries by when they failed, and books of what was done with each.
#[derive(Debug, Default)]
struct Dlq {
    now: i64,
    newest_first: bool,
    entries: BTreeMap<i64, Entry>,
    lineages: usize,
    /// How often each lineage was acted on.
    acted: BTreeMap<usize, u32>,
    /// What lists showed since the pass began, and what of it was acted on.
    shown: BTreeSet<i64>,
    fate: Option<Happens>,
    has_lost_an_answer: bool,
}

const START: i64 = 1_763_640_000_000;

impl Dlq {
    fn time(&self) -> Timestamp {
        Timestamp::from_millisecond(START + self.now).unwrap()
    }

    fn arrive(&mut self, count: u8) {
        for _ in 0..count {
            self.now += 1;
            let lineage = self.lineages;
            self.lineages += 1;
            let own = ["a", "b", "c"][lineage % 3];
            let labels = if lineage.is_multiple_of(7) { Vec::new() } else { vec![own.to_owned()] };
            let entry = Entry {
                lineage,
                run_id: format!("wfr_{lineage}"),
                labels,
                status: [500, 503, 404][lineage % 5 % 3],
                is_stuck: lineage % 23 == 5,
            };
            self.entries.insert(START + self.now, entry);
        }
    }

    fn happen(&mut self, what: Happens) {
        match what {
            Happens::Arrive(count) => self.arrive(count),
            Happens::Expire(count) => (0..count).for_each(|_| drop(self.entries.pop_first())),
            Happens::Taken(every) => {
                let mut index = 0;
                self.entries.retain(|_, _| {
                    index += 1;
                    index % (usize::from(every) + 2) != 0
                });
            }
            Happens::AnswerLost { .. } => self.fate = Some(what),
            Happens::Nothing | Happens::Killed => {}
        }
    }

    fn selects(entry: &Entry) -> bool {
        entry.status / 100 == 5
    }

    fn list(&mut self, criteria: &Criteria, cursor: Option<&Cursor>, count: u32) -> Page {
        let after = cursor.map(|cursor| cursor.0.parse::<i64>().unwrap());
        let is_in = |at: &i64| criteria.to_date.is_none_or(|to| *at <= to);
        let mut keys: Vec<i64> = self.entries.keys().copied().filter(is_in).collect();
        if self.newest_first {
            keys.reverse();
        }
        let is_after =
            |at: &i64| after.is_none_or(|after| if self.newest_first { *at < after } else { *at > after });
        let mut rest = keys.into_iter().filter(is_after);
        let page: Vec<i64> = rest.by_ref().take(usize::try_from(count).unwrap()).collect();
        let cursor = rest.next().and(page.last()).map(|last| Cursor(last.to_string()));
        self.shown.extend(&page);
        let listed = page.iter().map(|at| {
            let entry = &self.entries[at];
            ListedEntry {
                workflow_run_id: Some(entry.run_id.clone()),
                workflow_created_at: Some(at - 1),
                labels: Some(entry.labels.clone()),
                response_status: Some(entry.status),
                ..ListedEntry::bare(DlqId(format!("{at}-0")))
            }
        });
        Page { entries: page.len() as u64, listed: listed.collect(), cursor, ..Page::default() }
    }

    /// Acts on entries, whose workflow runs all fail again at once.
    fn act(&mut self, ids: &[DlqId], labels: &[String]) -> Result<Page, ErrorClass> {
        let keys: Vec<i64> = ids.iter().map(|id| id.0.trim_end_matches("-0").parse().unwrap()).collect();
        if keys.iter().any(|key| !self.entries.contains_key(key)) {
            return Err(ErrorClass::NotFound);
        }
        if keys.iter().any(|key| self.entries[key].is_stuck) {
            return Err(ErrorClass::Refused);
        }
        let mut made = Vec::new();
        for key in &keys {
            let entry = self.entries.remove(key).unwrap();
            assert!(Self::selects(&entry), "acts on what match does not select: {entry:?}");
            let own: Vec<_> =
                entry.labels.iter().filter(|label| !label.starts_with("dlq-attempt-")).collect();
            let others: Vec<_> = labels.iter().filter(|label| !label.starts_with("dlq-attempt-")).collect();
            assert_eq!(own, others, "its own labels stay");
            *self.acted.entry(entry.lineage).or_default() += 1;
            self.now += 1;
            let run_id = format!("wfr_{}_{}", entry.lineage, self.now);
            made.push(run_id.clone());
            self.entries.insert(START + self.now, Entry { run_id, labels: labels.to_vec(), ..entry });
        }
        Ok(Page { entries: keys.len() as u64, workflow_run_ids: made, ..Page::default() })
    }

    fn serve(&mut self, call: &Call) -> Result<Page, ApiError> {
        let refused = |class, may_have_acted| ApiError { class, ..ApiError::transport("no", may_have_acted) };
        match call {
            Call::List { criteria, cursor, count, .. } => Ok(self.list(criteria, cursor.as_ref(), *count)),
            Call::Bulk { selection: Selection::Ids(ids), .. } if ids[0].0 == NOBODYS => {
                Err(refused(ErrorClass::NotFound, false))
            }
            Call::Bulk { selection: Selection::Ids(ids), overrides, .. } => {
                assert!((1..=50).contains(&ids.len()));
                match self.fate.take() {
                    Some(Happens::AnswerLost { acts }) => {
                        self.has_lost_an_answer = true;
                        if acts {
                            let _ = self.act(ids, &overrides.labels);
                        }
                        Err(refused(ErrorClass::Unavailable, true))
                    }
                    _ => self.act(ids, &overrides.labels).map_err(|class| refused(class, false)),
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

fn spec(max_attempts: u32) -> Value {
    json!({
        "filters": { "all": true }, "trigger": "Manual",
        "match": { "responseStatuses": ["5xx"] }, "loopProtection": { "maxAttempts": max_attempts },
    })
}

/// What became of one run, and whether anything kept its counts from being exact.
struct Ended {
    run: PolicyRun,
    is_exact: bool,
    result: RunResult,
}

/// One run from its start to its end.
fn one_run(
    dlq: &mut Dlq,
    max_attempts: u32,
    status: &mut DlqPolicyStatus,
    happens: &[Happens],
    number: usize,
) -> Ended {
    dlq.now += 1;
    let request = number.to_string();
    let policy = sample::policy(&spec(max_attempts), &[("requestedAt", &*request)], &sample::permissions());
    let mut now = dlq.time();
    let plan = Known::from(policy.clone()).plan(status, now);
    let Plan::Start(Start { run, .. }) = plan else { panic!("{plan:?}") };
    let work = policy.work.clone().unwrap();
    let past = Past::of(status, SignedDuration::ZERO, now);
    let mut progress = Progress::new(work.clone(), run, 1000).looking_for(past);
    let mut happens = happens.iter().copied();
    let (mut is_exact, mut calls) = (true, 0);
    dlq.shown.clear();
    (dlq.fate, dlq.has_lost_an_answer) = (None, false);
    let outcome = loop {
        calls += 1;
        assert!(calls < 5000, "a run that does not end");
        match progress.next(now) {
            Step::Await => unreachable!("no call is under way"),
            Step::Reserve(_) => unreachable!("no budget is shared"),
            Step::Ask => unreachable!("there is no threshold"),
            Step::Wait(until) => now = until,
            Step::End(outcome) => break outcome,
            Step::Call(call) => {
                let what = happens.next().unwrap_or(Happens::Nothing);
                dlq.happen(what);
                if matches!(call, Call::List { cursor: None, .. }) {
                    dlq.shown.clear();
                }
                match dlq.serve(&call) {
                    Ok(page) => progress.answer(&call, &page, now),
                    Err(error) => drop(progress.fail(&call, &error, now, 0.0)),
                }
                is_exact &= !matches!(what, Happens::Killed);
                if matches!(what, Happens::Killed) {
                    let noted = progress.past().unwrap().noted(status);
                    let run = status::taken_over(progress.run(), "pod-2/1");
                    progress = Progress::new(work.clone(), run, 1000).looking_for(Past::of(
                        &noted,
                        SignedDuration::ZERO,
                        now,
                    ));
                }
            }
        }
    };
    dlq.now = dlq.now.max(now.as_millisecond() - START);
    is_exact &= !dlq.has_lost_an_answer;
    let run = progress.ended_run();
    let noted = progress.past().unwrap().noted(status);
    *status = status::finished(&policy, &noted, &run, &outcome, dlq.time());
    status.last_handled_requested_at = Some(request);
    status.last_handled_spec_hash = Some(policy.spec_hash);
    Ended { run, is_exact, result: outcome.result }
}

fn happening() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => Just(Happens::Nothing),
        2 => (0_u8..120).prop_map(Happens::Arrive),
        1 => (0_u8..20).prop_map(Happens::Expire),
        1 => (0_u8..9).prop_map(Happens::Taken),
        1 => any::<bool>().prop_map(|acts| Happens::AnswerLost { acts }),
        1 => Just(Happens::Killed),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn every_loop_ends_and_every_listed_entry_is_accounted_for(
        max_attempts in 1_u32..5,
        newest_first in any::<bool>(),
        first in prop_oneof![0_u8..30, 100..=255_u8],
        times in 1_u8..5,
        happens in vec(vec(happening(), 0..40), 0..6),
    ) {
        let mut dlq = Dlq { newest_first, ..Dlq::default() };
        (0..times).for_each(|_| dlq.arrive(first));
        let mut status: DlqPolicyStatus = serde_json::from_value(json!({ "observedGeneration": 3 })).unwrap();
        let quiet = [const { [].as_slice() }; 6];
        let rounds = happens.iter().map(Vec::as_slice).chain(quiet);
        let mut last = None;
        for (number, happens) in rounds.enumerate() {
            let ended = one_run(&mut dlq, max_attempts, &mut status, happens, number);
            prop_assert_eq!(ended.result, RunResult::Succeeded, "{:?}", ended.run.message);
            let run = &ended.run;
            if ended.is_exact {
                let told = run.processed + run.skipped.total() + run.exhausted + run.rejected + run.not_found + run.left_alone;
                prop_assert_eq!(told, i64::try_from(dlq.shown.len()).unwrap(), "{:?}", run);
            }
            last = Some(ended.run);
        }
        for (lineage, acted) in &dlq.acted {
            prop_assert!(*acted <= max_attempts, "lineage {} was acted on {} times", lineage, acted);
        }
        // Six quiet runs are more than any lineage has attempts: nothing is left to do.
        prop_assert_eq!(last.unwrap().processed, 0);
        for entry in dlq.entries.values().filter(|entry| Dlq::selects(entry) && !entry.is_stuck) {
            prop_assert_eq!(dlq.acted.get(&entry.lineage), Some(&max_attempts), "{:?}", entry);
        }
    }
}
