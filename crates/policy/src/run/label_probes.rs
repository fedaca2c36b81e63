//! Whether Upstash carries labels: new workflow runs whose label is looked for when they are back in the DLQ.

use jiff::{SignedDuration, Timestamp};

use super::attempts::Attempts;
use crate::spec::hash::spread;
use dlq_crd::{LabelProbe, MilliTime};
use dlq_upstash::types::ListedEntry;

/// So many are kept, and for so long: failures may come back hours and many runs later.
const MOST: usize = 50;
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 7);
/// The longest ID that is kept, in bytes.
const MAX_ID_BYTES: usize = 256;

/// Workflow runs whose label is looked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LabelProbes(Vec<LabelProbe>);

impl LabelProbes {
    /// Those of a status, but for those that are too old.
    pub(crate) fn new(known: &[LabelProbe], now: Timestamp) -> Self {
        let is_young = |probe: &&LabelProbe| {
            probe.lost_label || now.duration_since(probe.start_time.timestamp()) < LONGEST
        };
        Self(known.iter().filter(is_young).cloned().collect())
    }

    /// Takes in new workflow runs. Those that stay are an even sample of all that were made within seven days: each has its
    /// place in an order that has nothing to do with time.
    pub(crate) fn add(&mut self, ids: &[String], attempt: u32, now: Timestamp) {
        let attempt = i64::from(attempt);
        let fitting = ids.iter().filter(|id| id.len() <= MAX_ID_BYTES);
        let probe = |id: &String| LabelProbe {
            workflow_run_id: id.clone(),
            attempt,
            start_time: MilliTime::new(now),
            lost_label: false,
        };
        self.0.extend(fitting.map(probe));
        self.0.sort_by_cached_key(|probe| (!probe.lost_label, spread(&probe.workflow_run_id)));
        self.0.dedup_by(|one, other| one.workflow_run_id == other.workflow_run_id);
        self.0.truncate(MOST);
    }

    /// Looks at an entry that a list shows. Whether it is one of them, and came back without its label.
    pub(crate) fn look_at(&mut self, entry: &ListedEntry) -> bool {
        let Some(id) = &entry.workflow_run_id else { return false };
        let Some(index) = self.0.iter().position(|probe| probe.workflow_run_id == *id) else { return false };
        let expected = self.0[index].attempt;
        let has_label = match Attempts::of(entry.labels.as_deref().unwrap_or_default()) {
            Attempts::Known(attempts) => i64::from(attempts) >= expected,
            Attempts::Unreadable => true,
        };
        if has_label {
            self.0.remove(index);
        } else {
            self.0[index].lost_label = true;
        }
        !has_label
    }

    /// As the status keeps them.
    pub(crate) fn kept(&self) -> &[LabelProbe] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dlq_upstash::types::DlqId;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_763_640_000 + hours * 3600).unwrap()
    }

    fn ids(run: i64, count: i64) -> Vec<String> {
        (0..count).map(|number| format!("wfr_{run}_{number}")).collect()
    }

    fn entry(id: &str, labels: &[&str]) -> ListedEntry {
        ListedEntry {
            workflow_run_id: Some(id.to_owned()),
            labels: Some(labels.iter().map(ToString::to_string).collect()),
            ..ListedEntry::bare(DlqId("1763640000000-1".to_owned()))
        }
    }

    #[test]
    fn what_is_kept_is_a_sample_of_all_runs_of_seven_days() {
        let mut probes = LabelProbes::default();
        for hour in 0..24 * 8 {
            probes = LabelProbes::new(probes.kept(), at(hour));
            probes.add(&ids(hour, 100), 1, at(hour));
        }
        assert_eq!(probes.kept().len(), 50);
        let oldest = probes.kept().iter().map(|probe| probe.start_time.timestamp()).min().unwrap();
        assert!(oldest > at(24 * 8 - 1) - LONGEST && oldest < at(24 * 4), "{oldest}");
        let recent = probes.kept().iter().filter(|probe| probe.start_time.timestamp() >= at(24 * 7));
        assert!((1..25).contains(&recent.count()));
    }

    #[test]
    fn one_that_is_seen_with_its_label_is_looked_for_no_more() {
        let mut probes = LabelProbes::default();
        probes.add(&ids(1, 2), 2, at(0));
        probes.add(&["x".repeat(257)], 2, at(0));
        assert!(!probes.look_at(&entry("wfr_9_9", &[])), "another's");
        assert!(!probes.look_at(&entry("wfr_1_0", &["dlq-attempt-2"])));
        assert_eq!(probes.kept().len(), 1);
    }

    #[test]
    fn one_that_is_back_without_its_label_is_told_of_and_kept() {
        for labels in [&[][..], &["payments"], &["dlq-attempt-1"]] {
            let mut probes = LabelProbes::default();
            probes.add(&ids(1, 1), 2, at(0));
            assert!(probes.look_at(&entry("wfr_1_0", labels)), "{labels:?}");
            let later = LabelProbes::new(probes.kept(), at(24 * 30));
            assert!(later.kept()[0].lost_label);
        }
    }
}
