//! How many of the workflow runs that earlier runs made are back in the DLQ.

use jiff::SignedDuration;

use super::attempts::Attempts;
use dlq_crd::{DlqPolicyStatus, MilliTime, RunSummary};
use dlq_upstash::types::ListedEntry;

/// What one pass sees come back, by the run that made it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Returns(Vec<Earlier>);

/// A run of the history.
#[derive(Clone, Debug)]
struct Earlier {
    id: String,
    start_time: MilliTime,
    /// When it began and ended, in Unix milliseconds of Upstash's clock.
    during: (i64, i64),
    /// What this pass saw so far, and the most that a complete one saw.
    seen: i64,
    most: i64,
}

impl Returns {
    /// Looks for what the runs of a history made. `clock_offset`: what to add to our time to get Upstash's.
    pub(crate) fn of(history: &[RunSummary], clock_offset: SignedDuration) -> Self {
        let millis = |time: MilliTime| {
            time.timestamp()
                .saturating_add(clock_offset)
                .unwrap_or_else(|_| time.timestamp())
                .as_millisecond()
        };
        let acted = history.iter().filter(|run| !run.dry_run && run.processed > 0);
        let earlier = acted.filter_map(|run| {
            Some(Earlier {
                id: run.id.clone(),
                start_time: run.start_time,
                during: (millis(run.start_time), millis(run.completion_time?)),
                seen: 0,
                most: run.returned,
            })
        });
        Self(earlier.collect())
    }

    /// Looks at an entry that a list shows.
    pub(crate) fn look_at(&mut self, entry: &ListedEntry) {
        let Some(created) = entry.workflow_created_at else { return };
        if Attempts::of(entry.labels.as_deref().unwrap_or_default()) == Attempts::Known(0) {
            return;
        }
        // Runs of one policy do not overlap.
        let made = self.0.iter_mut().find(|run| run.during.0 <= created && created <= run.during.1);
        if let Some(run) = made {
            run.seen = run.seen.saturating_add(1);
        }
    }

    /// A pass begins anew.
    pub(crate) fn begin_again(&mut self) {
        self.0.iter_mut().for_each(|run| run.seen = 0);
    }

    /// A pass has seen all.
    pub(crate) fn complete(&mut self) {
        self.0.iter_mut().for_each(|run| run.most = run.most.max(run.seen));
    }

    /// Writes what is known into the history.
    pub(crate) fn note(&self, status: &mut DlqPolicyStatus) {
        for run in &mut status.history {
            let known = self.0.iter().find(|known| known.id == run.id && known.start_time == run.start_time);
            run.returned = known.map_or(0, |known| known.most).max(run.returned);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use dlq_upstash::types::DlqId;

    fn history(runs: &[(&str, &str, &str)]) -> DlqPolicyStatus {
        let run = |(id, start, end): &(&str, &str, &str)| {
            json!({
                "id": id, "trigger": "Schedule", "action": "resume", "processed": 5,
                "startTime": format!("2026-11-20T{start}.000Z"), "completionTime": format!("2026-11-20T{end}.000Z"),
            })
        };
        serde_json::from_value(json!({ "history": runs.iter().map(run).collect::<Vec<_>>() })).unwrap()
    }

    fn entry(created: &str, labels: &[&str]) -> ListedEntry {
        let created: jiff::Timestamp = format!("2026-11-20T{created}Z").parse().unwrap();
        ListedEntry {
            workflow_created_at: Some(created.as_millisecond()),
            labels: Some(labels.iter().map(ToString::to_string).collect()),
            ..ListedEntry::bare(DlqId("1763640000000-1".to_owned()))
        }
    }

    #[test]
    fn a_run_is_told_the_most_that_one_complete_pass_saw_of_what_it_made() {
        let mut status =
            history(&[("2-schedule", "12:10:00", "12:10:05"), ("1-schedule", "12:00:00", "12:00:05")]);
        let ahead = SignedDuration::from_secs(60);
        let mut returns = Returns::of(&status.history, ahead);
        let told = |returns: &Returns, status: &mut DlqPolicyStatus| {
            returns.note(status);
            status.history.iter().map(|run| run.returned).collect::<Vec<_>>()
        };
        for (created, labels) in [
            ("12:01:00", &["dlq-attempt-1"][..]),
            ("12:01:05", &["dlq-attempt-x"]),
            ("12:11:03", &["a", "dlq-attempt-2"]),
            ("12:01:03", &["a"]),
            ("12:00:59.999", &["dlq-attempt-1"]),
            ("12:05:00", &["dlq-attempt-1"]),
        ] {
            returns.look_at(&entry(created, labels));
        }
        assert_eq!(told(&returns, &mut status), [0, 0], "the pass is not complete");
        returns.complete();
        assert_eq!(told(&returns, &mut status), [1, 2]);
        returns.begin_again();
        returns.look_at(&entry("12:11:03", &["dlq-attempt-2"]));
        returns.look_at(&entry("12:11:04", &["dlq-attempt-2"]));
        returns.complete();
        assert_eq!(told(&returns, &mut status), [2, 2], "the most of any pass");
        assert_eq!(told(&Returns::of(&status.history, ahead), &mut status), [2, 2], "a later run sees none");
    }
}
