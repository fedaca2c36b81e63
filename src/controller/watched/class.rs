//! How soon a policy's turn is to come, as far as the watch can tell.

use jiff::Timestamp;

use super::summary::PolicySummary;

/// How soon a policy's turn is to come. The later one comes first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Class {
    /// Nothing but a look at what waits in the DLQ.
    Look,
    /// Nothing is due, as far as its status tells: somebody has to look all the same.
    Housekeeping,
    /// It is due, or somebody edited it.
    Due,
}

impl Class {
    /// Of a policy of this generation that nobody edited just now, when a process begins to lead. `is_requested`: a run was
    /// asked for that no status names.
    pub(crate) fn of(
        summary: &PolicySummary,
        generation: Option<i64>,
        is_requested: bool,
        now: Timestamp,
    ) -> Self {
        let is_new = summary.observed_generation != generation;
        let begins_at_once = is_new && summary.starts_when_new;
        let is_due = summary.next_run.is_some_and(|next| next <= now);
        if summary.is_running || is_due || begins_at_once || is_requested {
            Self::Due
        } else {
            Self::Housekeeping
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_begin_or_continue_comes_before_what_only_rests() {
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let rests = PolicySummary {
            schedule: "@hourly".into(),
            observed_generation: Some(2),
            next_run: Some("2026-11-20T13:00:00Z".parse().unwrap()),
            ..PolicySummary::default()
        };
        let one_shot =
            PolicySummary { schedule: "".into(), next_run: None, starts_when_new: true, ..rests.clone() };
        for (row, summary, is_requested, expected) in [
            ("nothing is due", rests.clone(), false, Class::Housekeeping),
            (
                "never seen, on a schedule",
                PolicySummary { observed_generation: None, ..rests.clone() },
                false,
                Class::Housekeeping,
            ),
            ("its time has come", PolicySummary { next_run: Some(now), ..rests.clone() }, false, Class::Due),
            ("a run is in progress", PolicySummary { is_running: true, ..rests.clone() }, false, Class::Due),
            ("somebody asked for a run", rests, true, Class::Due),
            ("done, without a schedule", one_shot.clone(), false, Class::Housekeeping),
            (
                "never seen, without a schedule",
                PolicySummary { observed_generation: None, ..one_shot.clone() },
                false,
                Class::Due,
            ),
            (
                "never seen, and suspended",
                PolicySummary { observed_generation: None, starts_when_new: false, ..one_shot },
                false,
                Class::Housekeeping,
            ),
        ] {
            assert_eq!(Class::of(&summary, Some(2), is_requested, now), expected, "{row}");
        }
    }
}
