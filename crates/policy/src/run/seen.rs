//! What a dry run saw of the entries that match, in bounded room.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::json_bytes::json_bytes;
use dlq_crd::{EntrySummary, MilliTime, ValueCount};
use dlq_upstash::types::ListedEntry;

/// So many values of each kind are told.
const MOST_TOLD: usize = 5;
/// So many different values of each kind are counted exactly. With more of them, counts are lower bounds.
const MOST_COUNTED: usize = 256;
/// The longest value, in characters, and the most that a summary takes in the API server's JSON, in bytes.
const MAX_VALUE_CHARS: usize = 256;
const MAX_BYTES: usize = 2048;

/// What was seen of some entries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// When the first and the last of them failed.
    span: Option<(MilliTime, MilliTime)>,
    workflow_urls: Counts,
    response_statuses: Counts,
    labels: Counts,
}

impl From<Option<&EntrySummary>> for Seen {
    /// What an earlier process told: of what it did not tell, nothing is known.
    fn from(summary: Option<&EntrySummary>) -> Self {
        let Some(summary) = summary else { return Self::default() };
        let EntrySummary { oldest_time, newest_time, workflow_urls, response_statuses, labels } = summary;
        Self {
            span: oldest_time.zip(*newest_time),
            workflow_urls: Counts::from(workflow_urls),
            response_statuses: Counts::from(response_statuses),
            labels: Counts::from(labels),
        }
    }
}

impl Seen {
    pub(crate) fn add(&mut self, entry: &ListedEntry) {
        let at = entry.failed_at().and_then(|at| Timestamp::from_millisecond(at).ok());
        if let Some(at) = at.map(MilliTime::new) {
            let (oldest, newest) = self.span.unwrap_or((at, at));
            self.span = Some((oldest.min(at), newest.max(at)));
        }
        entry.workflow_url.iter().for_each(|url| self.workflow_urls.add(url));
        entry.response_status.iter().for_each(|status| self.response_statuses.add(&status.to_string()));
        entry.labels.iter().flatten().for_each(|label| self.labels.add(label));
    }

    /// The most frequent values, in the room that a summary has. `None`, if nothing was seen.
    pub(crate) fn summary(&self) -> Option<EntrySummary> {
        let mut summary = EntrySummary {
            oldest_time: self.span.map(|(oldest, _)| oldest),
            newest_time: self.span.map(|(_, newest)| newest),
            workflow_urls: self.workflow_urls.most_frequent(),
            response_statuses: self.response_statuses.most_frequent(),
            labels: self.labels.most_frequent(),
        };
        // What is told last is missed least.
        while json_bytes(&summary) > MAX_BYTES {
            let EntrySummary { workflow_urls, response_statuses, labels, .. } = &mut summary;
            let lists = [workflow_urls, response_statuses, labels];
            lists.into_iter().max_by_key(|list| json_bytes(&**list))?.pop()?;
        }
        (summary != EntrySummary::default()).then_some(summary)
    }
}

/// How often each value was seen. Of many different ones those that are frequent stay (Misra and Gries, 1982).
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts(BTreeMap<String, i64>);

impl From<&Vec<ValueCount>> for Counts {
    fn from(told: &Vec<ValueCount>) -> Self {
        Self(told.iter().map(|told| (told.value.clone(), told.count)).collect())
    }
}

impl Counts {
    pub(crate) fn add(&mut self, value: &str) {
        let value: String = value.chars().take(MAX_VALUE_CHARS).collect();
        if self.0.len() < MOST_COUNTED || self.0.contains_key(&value) {
            let count = self.0.entry(value).or_default();
            *count = count.saturating_add(1);
        } else {
            self.0.retain(|_, count| {
                *count = count.saturating_sub(1);
                *count > 0
            });
        }
    }

    /// The five most frequent ones, the most frequent first.
    pub(crate) fn most_frequent(&self) -> Vec<ValueCount> {
        let mut counts: Vec<_> = self.0.iter().collect();
        // Equally frequent ones in the order of their letters: a status that says the same is not written again.
        counts.sort_by(|(_, one), (_, other)| other.cmp(one));
        let told = counts.into_iter().take(MOST_TOLD);
        told.map(|(value, count)| ValueCount { value: value.clone(), count: *count }).collect()
    }
}

#[cfg(test)]
mod tests {
    use dlq_upstash::types::DlqId;

    use super::*;

    fn entry(number: u64, url: &str, status: u16, labels: &[&str]) -> ListedEntry {
        ListedEntry {
            workflow_url: Some(url.to_owned()),
            response_status: Some(status),
            labels: Some(labels.iter().map(ToString::to_string).collect()),
            ..ListedEntry::bare(DlqId(format!("{}-0", 1_763_640_000_000 + number)))
        }
    }

    fn told(counts: &[ValueCount]) -> Vec<(&str, i64)> {
        counts.iter().map(|told| (told.value.as_str(), told.count)).collect()
    }

    #[test]
    fn a_summary_has_the_span_and_the_five_most_frequent_values_of_each_kind() {
        let mut seen = Seen::default();
        assert_eq!(seen.summary(), None);
        for number in 0..21_u64 {
            // 6 of a, 5 of b, down to 1 of f.
            let kind = ["a", "b", "c", "d", "e", "f"]
                [[6, 11, 15, 18, 20, 21].iter().position(|end| number < *end).unwrap()];
            seen.add(&entry(
                20 - number,
                &format!("https://{kind}.example"),
                500 + u16::try_from(number % 2).unwrap(),
                &[kind, "all"],
            ));
        }
        let summary = seen.summary().unwrap();
        assert_eq!(summary.oldest_time.unwrap().as_millisecond(), 1_763_640_000_000);
        assert_eq!(summary.newest_time.unwrap().as_millisecond(), 1_763_640_000_020);
        assert_eq!(told(&summary.labels), [("all", 21), ("a", 6), ("b", 5), ("c", 4), ("d", 3)]);
        assert_eq!(told(&summary.workflow_urls)[4], ("https://e.example", 2));
        assert_eq!(told(&summary.response_statuses), [("500", 11), ("501", 10)]);
        let mut taken_over = Seen::from(Some(&summary));
        taken_over.add(&entry(30, "https://a.example", 500, &["a"]));
        let summary = taken_over.summary().unwrap();
        assert_eq!((told(&summary.labels)[1], told(&summary.response_statuses)[0]), (("a", 7), ("500", 12)));
    }

    #[test]
    fn an_entry_whose_fields_are_missing_counts_for_none_of_them() {
        let mut seen = Seen::default();
        seen.add(&ListedEntry::bare(DlqId("dlq-1".to_owned())));
        assert_eq!(seen.summary(), None);
    }

    #[test]
    fn a_frequent_value_is_told_however_many_others_there_are_and_room_stays_bounded() {
        let mut seen = Seen::default();
        for number in 0..20_000_u64 {
            let own = format!("order-{number}");
            seen.add(&entry(
                number,
                &own,
                500,
                &[own.as_str(), if number > 10_000 { "payments" } else { &own }],
            ));
        }
        let summary = seen.summary().unwrap();
        assert_eq!(summary.labels[0].value, "payments");
        assert!(summary.labels[0].count > 9_000, "{}", summary.labels[0].count);
        assert!(seen.labels.0.len() <= MOST_COUNTED && seen.workflow_urls.0.len() <= MOST_COUNTED);
    }

    #[test]
    fn a_summary_that_somebody_wrote_by_hand_is_cut_too() {
        let long = |number| ValueCount { value: format!("{number}{}", "<".repeat(255)), count: i64::MIN };
        let written =
            EntrySummary { response_statuses: (0..5).map(long).collect(), ..EntrySummary::default() };
        let mut seen = Seen::from(Some(&written));
        (0..300_u64).for_each(|number| seen.add(&entry(number, &number.to_string(), 500, &[])));
        assert!(json_bytes(&seen.summary().unwrap()) <= MAX_BYTES);
    }

    #[test]
    fn the_longest_values_are_cut_and_the_rarest_left_out() {
        let mut seen = Seen::default();
        for number in 0..5_u64 {
            let long = format!("https://{number}.example/{}", "<".repeat(4000));
            seen.add(&entry(number, &long, 500, &[&long]));
        }
        let summary = seen.summary().unwrap();
        assert!(json_bytes(&summary) <= MAX_BYTES);
        assert!(!summary.response_statuses.is_empty() && summary.oldest_time.is_some());
    }
}
