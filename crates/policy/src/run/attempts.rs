//! How often a failing workflow run was acted on: a number that travels in its labels.

use dlq_upstash::types::MAX_HEADER_BYTES;

/// What a label that counts begins with.
const PREFIX: &str = "dlq-attempt-";
/// The longest label, in bytes.
const MAX_LABEL_BYTES: usize = 256;

/// How often a workflow run and those before it were acted on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Attempts {
    /// So often.
    Known(u32),
    /// A label that counts holds no number.
    Unreadable,
}

impl Attempts {
    /// Reads the labels of an entry. Of several that count, the highest does.
    pub fn of(labels: &[String]) -> Self {
        let mut highest = 0;
        for number in labels.iter().filter_map(|label| label.strip_prefix(PREFIX)) {
            if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
                return Self::Unreadable;
            }
            // One that is too long to read is more than any limit.
            highest = highest.max(number.parse().unwrap_or(u32::MAX));
        }
        Self::Known(highest)
    }
}

/// The labels of a new workflow run.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum NewLabels {
    /// Those that it gets anyway.
    Unchanged,
    /// These.
    These(Vec<String>),
}

/// Whether a label counts attempts.
pub(crate) fn counts(label: &str) -> bool {
    label.starts_with(PREFIX)
}

/// The labels without those that count.
pub(crate) fn uncounted(labels: &[String]) -> Vec<&str> {
    labels.iter().map(String::as_str).filter(|label| !counts(label)).collect()
}

/// The labels of the workflow run that is made of one with these attempts: those that it would have had anyway, and its own
/// number.
///
/// # Errors
/// Upstash would not take them: what is wrong, and what to do.
pub fn next_labels(labels: &[String], attempts: u32) -> Result<Vec<String>, String> {
    let mut next: Vec<String> = uncounted(labels).into_iter().map(str::to_owned).collect();
    if let Some(label) = next.iter().find(|label| !is_sendable(label)) {
        let shown: String = label.chars().take(40).collect();
        return Err(format!(
            "Upstash takes no label such as {shown:?}, which the workflow run has; set overrides.labels to replace it"
        ));
    }
    next.push(format!("{PREFIX}{}", attempts.saturating_add(1)));
    let bytes = next.iter().map(|label| label.len() + 1).sum::<usize>().saturating_sub(1);
    if bytes > MAX_HEADER_BYTES {
        return Err(format!(
            "its labels and its number make a header of {bytes} bytes, and Upstash may refuse more than \
             {MAX_HEADER_BYTES}; set overrides.labels to replace them"
        ));
    }
    Ok(next)
}

/// Whether a label is one that Upstash takes.
fn is_sendable(label: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !label.is_empty() && label.len() <= MAX_LABEL_BYTES && label.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(labels: &[&str]) -> Vec<String> {
        labels.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn attempts_are_read_from_labels_and_the_highest_counts() {
        for (own, expected) in [
            (&[][..], Attempts::Known(0)),
            (&["payments", "attempt-3", "dlq-attempts"], Attempts::Known(0)),
            (&["payments", "dlq-attempt-2"], Attempts::Known(2)),
            (&["dlq-attempt-2", "dlq-attempt-10", "dlq-attempt-007"], Attempts::Known(10)),
            (&["dlq-attempt-99999999999999999999"], Attempts::Known(u32::MAX)),
            (&["dlq-attempt-", "dlq-attempt-1"], Attempts::Unreadable),
            (&["dlq-attempt-2", "dlq-attempt-x"], Attempts::Unreadable),
            (&["dlq-attempt-+1"], Attempts::Unreadable),
            (&["dlq-attempt--1"], Attempts::Unreadable),
        ] {
            assert_eq!(Attempts::of(&labels(own)), expected, "{own:?}");
        }
    }

    #[test]
    fn a_new_workflow_run_has_the_labels_and_its_own_number() {
        for (own, attempts, expected) in [
            (&[][..], 0, &["dlq-attempt-1"][..]),
            (&["b", "a"], 2, &["b", "a", "dlq-attempt-3"]),
            (&["a", "dlq-attempt-1", "dlq-attempt-2"], 2, &["a", "dlq-attempt-3"]),
        ] {
            assert_eq!(next_labels(&labels(own), attempts), Ok(labels(expected)), "{own:?}");
        }
    }

    #[test]
    fn labels_that_cannot_be_sent_are_told_of() {
        for own in ["order 66", "a,b", "größe", "", &"x".repeat(257)] {
            let problem = next_labels(&labels(&["fine", own]), 0).unwrap_err();
            assert!(problem.contains("overrides.labels"), "{problem}");
        }
        let many: Vec<String> = (0..40).map(|number| format!("{number:0>200}")).collect();
        assert!(next_labels(&many, 0).unwrap_err().contains("8000"), "{:?}", next_labels(&many, 0));
        assert!(next_labels(&many[..39], 0).is_ok());
    }
}
