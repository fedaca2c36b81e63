//! What was meant by a misspelt word.

/// The most letters that may differ.
const MOST_EDITS: usize = 2;

/// The known word that is nearest to one that is not known, if any is near.
pub(super) fn suggestion<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |word: &str| word.to_lowercase().replace(['_', '-'], "");
    let unknown = plain(unknown);
    known
        .map(|word| (strsim::osa_distance(&plain(word), &unknown), word))
        .filter(|(edits, word)| *edits <= MOST_EDITS.min(word.len() / 3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_and_only_a_near_one() {
        let known = ["olderThan", "newerThan", "labels", "all", "dlqIds"];
        let table = [
            ("olderThen", Some("olderThan")),
            ("older_than", Some("olderThan")),
            ("OLDERTHAN", Some("olderThan")),
            ("label", Some("labels")),
            ("dlqids", Some("dlqIds")),
            ("al", Some("all")),
            ("ids", None),
            ("retries", None),
            ("", None),
        ];
        for (unknown, expected) in table {
            assert_eq!(suggestion(unknown, known.into_iter()), expected, "{unknown}");
        }
    }
}
