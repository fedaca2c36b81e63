//! How far a run is, how fast it is, and how long it may take.

use std::collections::VecDeque;
use std::time::Duration;

use dlq_crd::{PolicyRun, WaitingReason};
use jiff::Timestamp;

use super::words::{age, ahead, doing, entries, number, span};
use crate::cluster::Stored;
use crate::terminal::{Look, Paint, bar, fit, width_of};

/// Over how long a rate is measured.
const MEMORY: i64 = 30;

/// How fast a run is, as it was seen over the last half minute.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    run: String,
    seen: VecDeque<(Timestamp, i64)>,
}

/// A run's progress at one moment.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// The run.
    pub run: &'a PolicyRun,
    /// How many entries it acts on in all, where that is known.
    pub total: Option<i64>,
    /// Entries a second, where that is known.
    pub rate: Option<f64>,
}

impl Pace {
    /// Notes how far the run is.
    pub fn note(&mut self, run: &PolicyRun, now: Timestamp) {
        if self.run != run.id {
            *self = Self { run: run.id.clone(), seen: VecDeque::new() };
        }
        if self.seen.back().is_none_or(|(_, processed)| *processed <= run.processed) {
            self.seen.push_back((now, run.processed));
        }
        while self.seen.len() > 2
            && self.seen.front().is_some_and(|(at, _)| now.duration_since(*at).as_secs() > MEMORY)
        {
            self.seen.pop_front();
        }
    }

    /// Entries a second, once there is something to measure.
    pub fn rate(&self) -> Option<f64> {
        let (first, last) = self.seen.front().zip(self.seen.back())?;
        let passed = last.0.duration_since(first.0).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate is shown in whole numbers")]
        let moved = last.1.saturating_sub(first.1) as f64;
        (passed >= 1.0 && moved > 0.0).then(|| moved / passed)
    }
}

/// How many entries the run acts on in all: what it counted, or the IDs that it is given, and no more than it may.
pub fn total(policy: &Stored, run: &PolicyRun) -> Option<i64> {
    let ids = policy.spec().and_then(|spec| spec.filters.dlq_ids.as_ref());
    let ids = ids.map(|ids| i64::try_from(ids.len()).unwrap_or(i64::MAX));
    let most = run.limits.as_ref().and_then(|limits| limits.max_entries_per_run);
    let total = run.matched.or(ids)?;
    Some(most.map_or(total, |most| total.min(most)))
}

/// The average since the run's start, for one look alone.
pub fn average(run: &PolicyRun, now: Timestamp) -> Option<f64> {
    let begun = run.approved_time.unwrap_or(run.start_time).timestamp();
    let passed = now.duration_since(begun).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate is shown in whole numbers")]
    let processed = run.processed as f64;
    (passed >= 1.0 && processed > 0.0).then(|| processed / passed)
}

impl Progress<'_> {
    /// How many are done, as `resuming: 250 of 600 entries`.
    pub fn words(&self) -> String {
        let run = self.run;
        if self.awaits_approval() {
            let matched = run.matched.map_or_else(|| "what matches".to_owned(), entries);
            return format!("waits for an approval of {matched}");
        }
        let is_counting = !run.dry_run && run.matched.is_none() && run.summary.is_some();
        if is_counting {
            return "counting what matches before it acts".to_owned();
        }
        let doing = if run.dry_run { "dry run, counting" } else { doing(run.action) };
        let done = self.done();
        match self.total {
            Some(total) => format!("{doing}: {} of {}", number(done), entries(total)),
            None if run.dry_run => format!("{doing}: {} so far", entries(run.processed)),
            None => format!("{doing}: {} so far", entries(done)),
        }
    }

    fn awaits_approval(&self) -> bool {
        self.run.approval_id.is_some() && self.run.approved_time.is_none()
    }

    /// Of those that are done each counts, however it ended.
    fn done(&self) -> i64 {
        self.run.processed.saturating_add(self.run.not_found).saturating_add(self.run.rejected)
    }

    /// Rate and estimate, or why it waits: `12/s, about 30s left`.
    pub fn speed(&self, now: Timestamp) -> Option<String> {
        let run = self.run;
        if self.awaits_approval() {
            let since = run.approval_requested_time.unwrap_or(run.start_time).timestamp();
            return Some(format!("for {}", age(since, now)));
        }
        let until = run.waiting_until.map(|until| format!(", continues {}", ahead(until.timestamp(), now)));
        let until = until.unwrap_or_default();
        match run.waiting_reason {
            Some(WaitingReason::Throttled) => return Some(format!("throttled by Upstash{until}")),
            Some(WaitingReason::Retrying) => return Some(format!("repeats a call that failed{until}")),
            Some(WaitingReason::Queued) => return Some("waits for a free slot".to_owned()),
            None => {}
        }
        let rate = self.rate?;
        let shown = if rate >= 10.0 { format!("{rate:.0}/s") } else { format!("{rate:.1}/s") };
        let left = self.total.map(|total| total.saturating_sub(self.done())).filter(|left| *left > 0);
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let left = left.map(|left| left as f64 / rate).filter(|seconds| *seconds < 86_400.0 * 100.0);
        Some(match left {
            Some(seconds) => format!("{shown}, about {} left", span(Duration::from_secs_f64(seconds.ceil()))),
            None => shown,
        })
    }

    /// The bar, where the total is known.
    pub fn bar(&self, columns: usize) -> Option<String> {
        if self.awaits_approval() {
            return None;
        }
        let total = self.total.filter(|total| *total > 0)?;
        let done = self.done().clamp(0, total);
        let percent = i128::from(done) * 100 / i128::from(total);
        let full = bar(done, total, columns);
        let empty = "░".repeat(columns.saturating_sub(width_of(&full)));
        Some(format!("{full}{empty} {percent:>3}%"))
    }

    /// All of it in one line of at most so many columns: without colour, and with it.
    pub fn line(&self, now: Timestamp, look: Look) -> (String, String) {
        let columns = look.width.unwrap_or(80).saturating_sub(1);
        let mut words = self.words();
        if let Some(speed) = self.speed(now) {
            words = format!("{words}, {speed}");
        }
        let room = columns.saturating_sub(width_of(&words) + 8).min(30);
        if let Some(bar) = self.bar(room).filter(|_| room >= 6) {
            (format!("{bar}  {words}"), format!("{}  {words}", look.paint(Paint::Busy, &bar)))
        } else {
            let plain = fit(&words, columns);
            (plain.clone(), plain)
        }
    }
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
