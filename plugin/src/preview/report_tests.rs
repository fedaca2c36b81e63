use std::collections::BTreeMap;

use dlq_policy::run::NewLabels;

use super::*;

fn counts(counts: &[(&str, u64)]) -> Counts {
    counts.iter().map(|(value, count)| ((*value).to_owned(), *count)).collect()
}

#[test]
fn the_most_frequent_value_comes_first_and_equals_in_the_order_of_their_letters() {
    let told: Vec<_> = frequent_first(&counts(&[("c", 1), ("b", 3), ("a", 1)]))
        .into_iter()
        .map(|count| count.value)
        .collect();
    assert_eq!(told, ["b", "a", "c"]);
}

#[test]
fn entries_expire_a_retention_after_they_failed() {
    let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
    let hour = 3_600_000;
    let failed = |hours_ago: i64| now.as_millisecond() - hours_ago * hour;
    let mut seen = Seen::default();
    (seen.entries, seen.failed_at) = (5, [71, 70, 50, 1].map(failed).to_vec());
    let told = expiry(&seen, &("3d".to_owned(), SignedDuration::from_hours(72)), now);
    assert_eq!(told.first_time.as_deref(), Some("2026-11-20T13:00:00.000Z"));
    let within: Vec<_> = told.within.iter().map(|count| (count.value.as_str(), count.count)).collect();
    assert_eq!(within, [("1h", 1), ("6h", 2), ("1d", 3), ("3d", 4), ("7d", 4)]);
    assert_eq!(told.unknown, 1);
}

#[test]
fn entries_with_equal_labels_share_calls() {
    let groups = BTreeMap::from([(NewLabels::Unchanged, 51), (NewLabels::These(vec!["a".to_owned()]), 50)]);
    let act: u64 = groups.values().map(|entries: &u64| entries.div_ceil(ONE_CALL)).sum();
    assert_eq!(act, 3);
}
