//! What a preview saw: each entry once, and what a run would do with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use dlq_crd::{MilliTime, PolicyRun};
use dlq_policy::Work;
use dlq_policy::attempt::Answer;
use dlq_policy::run::{Attempts, NewLabels, Verdict, verdict};
use dlq_upstash::types::{Call, DlqId, ListedEntry};
use jiff::Timestamp;
use serde::Serialize;

use crate::drain::ports::Watcher;

/// How often each value was seen.
pub(super) type Counts = BTreeMap<String, u64>;

/// Sees what a dry run lists.
pub(super) struct Collector<'a> {
    work: &'a Work,
    keeps_entries: bool,
    seen: Mutex<Seen>,
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    ids: BTreeSet<DlqId>,
    /// How many calls were made.
    pub(super) calls: u64,
    /// How many entries would be acted on.
    pub(super) entries: u64,
    /// More match than `limits.maxEntriesPerRun` lets a run act on.
    pub(super) is_limited: bool,
    /// When the first and the last of them failed, where their IDs tell.
    pub(super) span: Option<(i64, i64)>,
    /// By workflow URL, and so on.
    pub(super) workflow_urls: Counts,
    /// An entry with several counts for each.
    pub(super) labels: Counts,
    /// By the state of the failure function.
    pub(super) failure_function_states: Counts,
    /// By the status that the call which failed was answered with.
    pub(super) response_statuses: Counts,
    /// By how often `loopProtection` acted on the workflow run before.
    pub(super) attempts: Counts,
    /// What is left alone, by the reason.
    pub(super) skipped: Counts,
    /// How many entries share calls, by the labels that their workflow runs would get.
    pub(super) groups: BTreeMap<NewLabels, u64>,
    /// When the entries that would be acted on failed, in Unix milliseconds; of the others it is not known.
    pub(super) failed_at: Vec<i64>,
    /// Each of them, where they are asked for.
    pub(super) listed: Vec<Listed>,
}

/// One entry, and what a run would do with it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed {
    /// Its ID.
    pub(super) dlq_id: String,
    /// `act`, or the reason why it is left alone.
    pub(super) verdict: String,
    /// When it failed.
    pub(super) failed_at: Option<String>,
    /// The workflow.
    pub(super) workflow_url: Option<String>,
    /// The workflow run.
    pub(super) workflow_run_id: Option<String>,
    /// Its labels.
    pub(super) labels: Vec<String>,
    /// What the call that failed was answered with.
    pub(super) response_status: Option<u16>,
    /// How far the failure function came.
    pub(super) failure_function_state: Option<String>,
}

impl<'a> Collector<'a> {
    /// Of the entries of a run that does this work.
    pub(super) fn new(work: &'a Work, keeps_entries: bool) -> Self {
        Self { work, keeps_entries, seen: Mutex::default() }
    }

    /// All that was seen.
    pub(super) fn into_seen(self) -> Seen {
        self.seen.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher for Collector<'_> {
    fn answered(&self, run: &PolicyRun, _: &Call, answer: &Answer) {
        // What it guards is whole at any time.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.calls += 1;
        let Answer::Page(page) = answer else { return };
        let most = run.limits.as_ref().and_then(|limits| limits.max_entries_per_run);
        for entry in &page.listed {
            seen.add(entry, self.work, run, most, self.keeps_entries);
        }
    }

    fn works(&self, _: &PolicyRun) {}
}

impl Seen {
    fn add(&mut self, entry: &ListedEntry, work: &Work, run: &PolicyRun, most: Option<i64>, keeps: bool) {
        if self.ids.contains(&entry.id) {
            return;
        }
        let (labels, why) = match verdict(work, run, entry) {
            None => (Some(NewLabels::Unchanged), None),
            Some(Verdict::Act(labels)) => (Some(labels), None),
            Some(Verdict::NotSelected) => (None, Some("notSelected")),
            Some(Verdict::Skipped(why)) => (None, Some(why.as_str())),
            Some(Verdict::Exhausted) => (None, Some("exhausted")),
            Some(Verdict::Rejected(_)) => (None, Some("rejected")),
        };
        if labels.is_some()
            && most.is_some_and(|most| self.entries >= u64::try_from(most).unwrap_or_default())
        {
            self.is_limited = true;
            return;
        }
        self.ids.insert(entry.id.clone());
        if let Some(labels) = labels {
            *self.groups.entry(labels).or_default() += 1;
            self.count(entry);
        }
        if let Some(why) = why {
            add(&mut self.skipped, why);
        }
        if keeps {
            self.listed.push(Listed::new(entry, why));
        }
    }

    fn count(&mut self, entry: &ListedEntry) {
        self.entries += 1;
        if let Some(at) = entry.failed_at() {
            let (oldest, newest) = self.span.unwrap_or((at, at));
            self.span = Some((oldest.min(at), newest.max(at)));
            self.failed_at.push(at);
        }
        let own = entry.labels.as_deref().unwrap_or_default();
        add(&mut self.workflow_urls, entry.workflow_url.as_deref().unwrap_or("unknown"));
        for label in own {
            add(&mut self.labels, label);
        }
        add(&mut self.failure_function_states, entry.failure_function_state.as_deref().unwrap_or("none"));
        let status = entry.response_status.map_or_else(|| "unknown".to_owned(), |status| status.to_string());
        add(&mut self.response_statuses, &status);
        let attempts = match Attempts::of(own) {
            Attempts::Known(attempts) => attempts.to_string(),
            Attempts::Unreadable => "unreadable".to_owned(),
        };
        add(&mut self.attempts, &attempts);
    }
}

impl Listed {
    fn new(entry: &ListedEntry, why: Option<&str>) -> Self {
        let at = entry.failed_at().and_then(|at| Timestamp::from_millisecond(at).ok());
        Self {
            dlq_id: entry.id.0.clone(),
            verdict: why.unwrap_or("act").to_owned(),
            failed_at: at.map(|at| MilliTime::new(at).to_string()),
            workflow_url: entry.workflow_url.clone(),
            workflow_run_id: entry.workflow_run_id.clone(),
            labels: entry.labels.clone().unwrap_or_default(),
            response_status: entry.response_status,
            failure_function_state: entry.failure_function_state.clone(),
        }
    }
}

fn add(counts: &mut Counts, value: &str) {
    if let Some(count) = counts.get_mut(value) {
        *count += 1;
    } else {
        counts.insert(value.to_owned(), 1);
    }
}
