//! The series of single policies, or their sums. What a policy is and how it stands comes from the watch, so that standbys
//! show it too and a restart loses nothing; the counts are those of this process.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use kube::runtime::reflector::{ObjectRef, Store};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};

use super::definitions::{
    BACKLOG_ENTRIES, BACKLOG_EXPIRING, BACKLOG_OLDEST, CIRCUIT_OPEN, CONSECUTIVE_FAILURES, ENTRIES, LAST_RUN,
    LAST_SUCCESS, MISSED, NEXT_RUN, POLICY_CONDITION, POLICY_INFO, RETURNED, RUN_ACTIVE,
    RUN_AWAITING_APPROVAL, RUNS, SKIPPED, UNCERTAIN_PAGES,
};
use super::{ACTIONS, LIKELY_RESULTS};
use crate::controller::names::{PolicyRef, lock};
use crate::controller::watched::policy::WatchedPolicy;
use crate::controller::watched::summary::{PolicySummary, SKIP_REASONS};
use crate::runtime::metrics::{Definition, Labels, encode_counter, encode_gauge};
use dlq_crd::{Action, Trigger};
use dlq_policy::Truth;

/// What this process did with a policy, or with all.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) entries: BTreeMap<&'static str, u64>,
    /// By action, trigger and result.
    pub(super) runs: BTreeMap<[&'static str; 3], u64>,
    pub(super) uncertain_pages: u64,
    pub(super) returned: u64,
    pub(super) missed: u64,
}

impl Counts {
    /// The counts with a zero for what is likely to be counted next: an increase is seen only by who saw the zero.
    fn with_zeros(mut self, summary: &PolicySummary) -> Self {
        let Some(action) = ACTIONS.into_iter().map(Action::as_str).find(|name| *name == &*summary.action)
        else {
            return self;
        };
        self.entries.entry(action).or_default();
        let trigger = if summary.schedule.is_empty() { Trigger::Spec } else { Trigger::Schedule };
        for result in LIKELY_RESULTS {
            self.runs.entry([action, trigger.as_str(), result.as_str()]).or_default();
        }
        self
    }

    fn add(&mut self, other: &Self) {
        for (action, count) in &other.entries {
            *self.entries.entry(action).or_default() += count;
        }
        for (run, count) in &other.runs {
            *self.runs.entry(*run).or_default() += count;
        }
        self.uncertain_pages += other.uncertain_pages;
        self.returned += other.returned;
        self.missed += other.missed;
    }
}

/// The policies that the watches know, and what this process did with them.
#[derive(Default)]
pub(super) struct Policies {
    /// Whether there is a series for each policy.
    pub(super) is_each: bool,
    stores: Mutex<Vec<Store<WatchedPolicy>>>,
    counts: Mutex<HashMap<PolicyRef, Counts>>,
    /// Of all policies, where they are not told apart.
    sum: Mutex<Counts>,
}

impl fmt::Debug for Policies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Policies").field("is_each", &self.is_each).finish_non_exhaustive()
    }
}

impl Policies {
    pub(super) fn new(is_each: bool) -> Self {
        Self { is_each, ..Self::default() }
    }

    /// Shows the policies of a watch.
    pub(super) fn watch(&self, store: Store<WatchedPolicy>) {
        lock(&self.stores).push(store);
    }

    /// Counts something of a policy.
    pub(super) fn count(&self, policy: &PolicyRef, count: impl FnOnce(&mut Counts)) {
        if self.is_each {
            count(lock(&self.counts).entry(policy.clone()).or_default());
        } else {
            count(&mut lock(&self.sum));
        }
    }

    /// Forgets what was counted of a policy that is gone.
    pub(super) fn forget(&self, policy: &PolicyRef) {
        lock(&self.counts).remove(policy);
    }

    fn watched(&self) -> Vec<Arc<WatchedPolicy>> {
        lock(&self.stores).iter().flat_map(Store::state).collect()
    }

    /// A row for each policy that the watches know. What was counted of others goes with them.
    fn rows(&self) -> Vec<Row> {
        let watched: HashMap<PolicyRef, Arc<WatchedPolicy>> =
            self.watched().into_iter().map(|policy| (ObjectRef::from_obj(&*policy), policy)).collect();
        let mut known = {
            let mut counts = lock(&self.counts);
            counts.retain(|policy, _| watched.contains_key(policy));
            counts.clone()
        };
        let row = |(policy, seen): (PolicyRef, Arc<WatchedPolicy>)| {
            Row::of(&policy, seen.summary().clone(), known.remove(&policy).unwrap_or_default())
        };
        watched.into_iter().map(row).collect()
    }

    /// One row of sums.
    fn sums(&self) -> (Vec<PolicySummary>, Counts) {
        let summaries: Vec<_> = self.watched().iter().map(|policy| policy.summary().clone()).collect();
        let mut counts = lock(&self.sum).clone();
        for summary in &summaries {
            counts.add(&Counts::default().with_zeros(summary));
        }
        (summaries, counts)
    }
}

/// One policy, as it is shown.
struct Row {
    namespace: String,
    name: String,
    summary: PolicySummary,
    counts: Counts,
}

impl Row {
    fn of(policy: &PolicyRef, summary: PolicySummary, counts: Counts) -> Self {
        let counts = counts.with_zeros(&summary);
        let namespace = policy.namespace.clone().unwrap_or_default();
        Self { namespace, name: policy.name.clone(), summary, counts }
    }

    /// The labels of a series of this policy; `more`: what comes after namespace and name.
    fn series(&self, definition: &Definition, more: &[&str]) -> Labels {
        let values: Vec<_> =
            [&*self.namespace, &*self.name].into_iter().chain(more.iter().copied()).collect();
        definition.series(&values)
    }
}

/// Without namespace and name.
fn summed(definition: &Definition, values: &[&str]) -> Labels {
    definition.labels[2..].iter().zip(values).map(|(name, value)| (*name, (*value).to_owned())).collect()
}

type Written = Result<(), fmt::Error>;

fn bit(is_set: bool) -> f64 {
    if is_set { 1.0 } else { 0.0 }
}

fn unix(time: Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floating point numbers")]
fn number(count: i64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floating point numbers")]
fn amount(items: impl Iterator) -> f64 {
    items.count() as f64
}

/// A gauge that each policy has at most one series of.
type Read = fn(&PolicySummary) -> Option<f64>;

const GAUGES: [(Definition, Read); 10] = [
    (RUN_ACTIVE, |summary| Some(bit(summary.is_running))),
    (RUN_AWAITING_APPROVAL, |summary| Some(bit(summary.awaits_approval))),
    (LAST_RUN, |summary| summary.last_run.map(unix)),
    (LAST_SUCCESS, |summary| summary.last_success.map(unix)),
    (NEXT_RUN, |summary| summary.next_run.map(unix)),
    (CIRCUIT_OPEN, |summary| Some(bit(summary.is_circuit_open))),
    (CONSECUTIVE_FAILURES, |summary| Some(number(summary.consecutive_failures))),
    (BACKLOG_ENTRIES, |summary| summary.backlog.entries.map(number)),
    (BACKLOG_OLDEST, |summary| summary.backlog.oldest.map(unix)),
    (BACKLOG_EXPIRING, |summary| summary.backlog.expiring.map(number)),
];

fn encode_rows(encoder: &mut DescriptorEncoder<'_>, rows: &[Row]) -> Written {
    let mut write = |definition: &Definition,
                     series: &dyn Fn(&mut MetricEncoder<'_>, &Row) -> Written|
     -> Written {
        definition.encode(encoder, |mut encoder| rows.iter().try_for_each(|row| series(&mut encoder, row)))
    };
    write(&POLICY_INFO, &|encoder, row| {
        let labels = row.series(&POLICY_INFO, &[&row.summary.action, &row.summary.schedule]);
        encode_gauge(encoder, &labels, 1.0)
    })?;
    write(&POLICY_CONDITION, &|encoder, row| {
        for (kind, truth) in &row.summary.conditions {
            for status in Truth::ALL {
                let labels = row.series(&POLICY_CONDITION, &[kind.as_str(), status.as_str()]);
                encode_gauge(encoder, &labels, bit(status == *truth))?;
            }
        }
        Ok(())
    })?;
    for (definition, read) in &GAUGES {
        write(definition, &|encoder, row| {
            let labels = || row.series(definition, &[]);
            read(&row.summary).map_or(Ok(()), |value| encode_gauge(encoder, &labels(), value))
        })?;
    }
    write(&RUNS, &|encoder, row| {
        let mut runs = row.counts.runs.iter();
        runs.try_for_each(|(run, count)| encode_counter(encoder, &row.series(&RUNS, run), *count))
    })?;
    write(&ENTRIES, &|encoder, row| {
        let mut entries = row.counts.entries.iter();
        entries
            .try_for_each(|(action, count)| encode_counter(encoder, &row.series(&ENTRIES, &[action]), *count))
    })?;
    write(&UNCERTAIN_PAGES, &|encoder, row| {
        encode_counter(encoder, &row.series(&UNCERTAIN_PAGES, &[]), row.counts.uncertain_pages)
    })?;
    let skipped = |row: &Row| row.summary.skipped.clone();
    write(&SKIPPED, &|encoder, row| {
        let mut counts = skipped(row).into_iter().flat_map(|counts| SKIP_REASONS.into_iter().zip(*counts));
        counts.try_for_each(|(reason, count)| {
            encode_gauge(encoder, &row.series(&SKIPPED, &[reason]), number(count))
        })
    })?;
    write(&RETURNED, &|encoder, row| {
        let labels = || row.series(&RETURNED, &[]);
        skipped(row).map_or(Ok(()), |_| encode_counter(encoder, &labels(), row.counts.returned))
    })?;
    write(&MISSED, &|encoder, row| encode_counter(encoder, &row.series(&MISSED, &[]), row.counts.missed))
}

/// Gauges whose sum says nothing are left out.
fn encode_sums(encoder: &mut DescriptorEncoder<'_>, summaries: &[PolicySummary], counts: &Counts) -> Written {
    let mut conditions: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for (kind, truth) in summaries.iter().flat_map(|summary| &summary.conditions) {
        for status in Truth::ALL {
            *conditions.entry((kind.as_str(), status.as_str())).or_default() += bit(status == *truth);
        }
    }
    POLICY_CONDITION.encode(encoder, |mut encoder| {
        conditions.iter().try_for_each(|((kind, status), count)| {
            encode_gauge(&mut encoder, &summed(&POLICY_CONDITION, &[kind, status]), *count)
        })
    })?;
    let running = amount(summaries.iter().filter(|summary| summary.is_running));
    let waiting = amount(summaries.iter().filter(|summary| summary.awaits_approval));
    let open = amount(summaries.iter().filter(|summary| summary.is_circuit_open));
    for (definition, value) in [(RUN_ACTIVE, running), (RUN_AWAITING_APPROVAL, waiting), (CIRCUIT_OPEN, open)]
    {
        definition.encode(encoder, |mut encoder| encode_gauge(&mut encoder, &Labels::new(), value))?;
    }
    RUNS.encode(encoder, |mut encoder| {
        let mut runs = counts.runs.iter();
        runs.try_for_each(|(run, count)| encode_counter(&mut encoder, &summed(&RUNS, run), *count))
    })?;
    ENTRIES.encode(encoder, |mut encoder| {
        let mut entries = counts.entries.iter();
        entries.try_for_each(|(action, count)| {
            encode_counter(&mut encoder, &summed(&ENTRIES, &[action]), *count)
        })
    })?;
    for (definition, count) in
        [(UNCERTAIN_PAGES, counts.uncertain_pages), (RETURNED, counts.returned), (MISSED, counts.missed)]
    {
        definition.encode(encoder, |mut encoder| encode_counter(&mut encoder, &Labels::new(), count))?;
    }
    Ok(())
}

/// Writes what the policies say.
#[derive(Debug)]
pub(super) struct PolicyCollector(pub(super) Arc<Policies>);

impl Collector for PolicyCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if self.0.is_each {
            encode_rows(&mut encoder, &self.0.rows())
        } else {
            let (summaries, counts) = self.0.sums();
            encode_sums(&mut encoder, &summaries, &counts)
        }
    }
}

#[cfg(test)]
#[path = "policies_tests.rs"]
mod tests;
