//! What a preview tells.

use dlq_crd::{MilliTime, PolicyRun, RunResult};
use dlq_policy::{Selected, Work};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::seen::{Counts, Listed, Seen};
use crate::rehearsal::{calls, plain};
use crate::see::selected;
use crate::subject::Subject;

/// So many entries go into one call by their IDs.
const ONE_CALL: u64 = 50;

/// By when entries are counted that expire, counted from now.
const TERMS: [(&str, i64); 5] = [("1h", 1), ("6h", 6), ("1d", 24), ("3d", 72), ("7d", 168)];

/// What a preview tells. Times are RFC 3339.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// `metadata.namespace`.
    pub(super) namespace: String,
    /// `metadata.name`.
    pub(super) name: String,
    /// `resume`, `restart` or `delete`.
    pub(super) action: String,
    /// The base URL of the account.
    pub(super) url: String,
    /// Which entries, in words.
    pub(super) selection: String,
    /// When it was looked at.
    pub(super) time: String,
    /// How many entries a run would act on.
    pub(super) entries: u64,
    /// More match than `limits.maxEntriesPerRun`.
    pub(super) is_limited: bool,
    /// When the first of them failed.
    pub(super) oldest_time: Option<String>,
    /// When the last of them failed.
    pub(super) newest_time: Option<String>,
    /// How many of them there are of each kind, the most frequent first.
    pub(super) workflow_urls: Vec<Count>,
    /// An entry with several counts for each.
    pub(super) labels: Vec<Count>,
    /// By the state of the failure function.
    pub(super) failure_function_states: Vec<Count>,
    /// By what the call that failed was answered with.
    pub(super) response_statuses: Vec<Count>,
    /// By how often `loopProtection` acted on the workflow run before.
    pub(super) attempts: Vec<Count>,
    /// What `match` and `loopProtection` leave alone, by the reason.
    pub(super) skipped: Vec<Count>,
    /// Of `dlqIds`: how many are not in the DLQ.
    pub(super) not_found: i64,
    /// What a run costs.
    pub(super) calls: Calls,
    /// With a retention: when they expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expiry: Option<Expiry>,
    /// What of the policy makes no difference here.
    pub(super) notes: Vec<String>,
    /// Each entry, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) listed: Option<Vec<Listed>>,
}

/// A value and its count.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Count {
    /// The value.
    pub(super) value: String,
    /// How many entries have it.
    pub(super) count: u64,
}

/// How many calls a run makes.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Calls {
    /// To list entries.
    pub(super) list: u64,
    /// To act on them, if each page is full.
    pub(super) act: u64,
    /// How long that takes at least, in seconds, with `limits.entriesPerSecond`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seconds: Option<u64>,
}

/// When entries expire.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Expiry {
    /// How long the plan keeps an entry.
    pub(super) retention: String,
    /// When the first one expires.
    pub(super) first_time: Option<String>,
    /// How many expire from now on within a time, those within a shorter one included.
    pub(super) within: Vec<Count>,
    /// How many have an ID that does not tell when they failed.
    pub(super) unknown: u64,
}

impl Report {
    /// Of a dry run that ended. `retention`: as it was given, and how long that is.
    pub(super) fn new(
        subject: &Subject,
        work: &Work,
        url: String,
        (run, seen): (&PolicyRun, Seen),
        retention: Option<&(String, SignedDuration)>,
        keeps_entries: bool,
    ) -> Self {
        let time = run.start_time.timestamp();
        let shown = |at: i64| Timestamp::from_millisecond(at).ok().map(|at| MilliTime::new(at).to_string());
        let calls = cost(work, run, &seen);
        Self {
            namespace: subject.namespace.clone(),
            name: subject.name.clone(),
            action: work.action.as_str().to_owned(),
            url,
            selection: selected(&subject.spec),
            time: run.start_time.to_string(),
            entries: seen.entries,
            is_limited: seen.is_limited || run.result == Some(RunResult::LimitReached),
            oldest_time: seen.span.and_then(|(oldest, _)| shown(oldest)),
            newest_time: seen.span.and_then(|(_, newest)| shown(newest)),
            workflow_urls: frequent_first(&seen.workflow_urls),
            labels: frequent_first(&seen.labels),
            failure_function_states: frequent_first(&seen.failure_function_states),
            response_statuses: frequent_first(&seen.response_statuses),
            attempts: frequent_first(&seen.attempts),
            skipped: frequent_first(&seen.skipped),
            not_found: run.not_found,
            calls,
            expiry: retention.map(|retention| expiry(&seen, retention, time)),
            notes: subject.notes.clone(),
            listed: keeps_entries.then_some(seen.listed),
        }
    }
}

fn frequent_first(counts: &Counts) -> Vec<Count> {
    let mut counts: Vec<_> =
        counts.iter().map(|(value, count)| Count { value: value.clone(), count: *count }).collect();
    counts.sort_by(|one, other| other.count.cmp(&one.count).then_with(|| one.value.cmp(&other.value)));
    counts
}

/// Found out by the run's own machine, but for calls by IDs of listed entries: those with equal labels share one.
fn cost(work: &Work, run: &PolicyRun, seen: &Seen) -> Calls {
    let rate = run.limits.as_ref().and_then(|limits| limits.entries_per_second);
    let rate = rate.and_then(|rate| u64::try_from(rate).ok()).filter(|rate| *rate > 0);
    let seconds = rate.map(|rate| seen.entries / rate);
    if work.by_listing.is_some() {
        let act = seen.groups.values().map(|entries| entries.div_ceil(ONE_CALL)).sum();
        return Calls { list: seen.calls, act, seconds };
    }
    let work = Work { dry_run: false, ..work.clone() };
    let entries = if matches!(work.selected, Selected::Ids(_)) { u64::MAX } else { seen.entries };
    let act = calls(&work, anew(run), entries, run.start_time.timestamp()).len() as u64;
    // A run that needs an approval counts first.
    let counts_first = run.limits.as_ref().is_some_and(|limits| limits.approval_above.is_some());
    Calls { list: if counts_first { seen.calls } else { 0 }, act, seconds }
}

/// The run as it would begin to act.
fn anew(run: &PolicyRun) -> PolicyRun {
    plain(PolicyRun {
        dry_run: false,
        cursor: None,
        windows: Vec::new(),
        position: 0,
        pages: 0,
        processed: 0,
        not_found: 0,
        rejected: 0,
        retries: 0,
        uncertain_pages: 0,
        interruptions: 0,
        completion_time: None,
        result: None,
        reason: None,
        message: None,
        ..run.clone()
    })
}

fn expiry(seen: &Seen, (retention, kept): &(String, SignedDuration), now: Timestamp) -> Expiry {
    let (now, kept) = (i128::from(now.as_millisecond()), kept.as_millis());
    let first = seen.failed_at.iter().min().map(|at| i128::from(*at) + kept);
    let first =
        first.and_then(|at| i64::try_from(at).ok()).and_then(|at| Timestamp::from_millisecond(at).ok());
    let within = TERMS.iter().map(|(term, hours)| {
        let until = now + i128::from(*hours) * 3_600_000;
        let count = seen.failed_at.iter().filter(|at| i128::from(**at) + kept <= until).count() as u64;
        Count { value: (*term).to_owned(), count }
    });
    Expiry {
        retention: retention.clone(),
        first_time: first.map(|at| MilliTime::new(at).to_string()),
        within: within.collect(),
        unknown: seen.entries - seen.failed_at.len() as u64,
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
