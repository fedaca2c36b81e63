//! When a run needs somebody's approval before it acts, and what its status says of that.

use jiff::{SignedDuration, Timestamp};

use crate::spec::policy::Work;
use crate::spec::selection::Selected;
use dlq_crd::{Limits, PolicyRun};

/// How long a run waits for its approval.
pub(crate) const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(24);

/// Of several thresholds the lowest counts.
pub(crate) fn lowest<const N: usize>(thresholds: [Option<i64>; N]) -> Option<i64> {
    thresholds.into_iter().flatten().min()
}

/// Above so many entries a run that began with these limits needs an approval.
pub(crate) fn threshold(limits: &Limits) -> Option<i64> {
    limits.approval_above
}

/// What a run that counts knows so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) entries: i64,
    /// It has seen all.
    pub(crate) is_complete: bool,
}

/// Whether a run that is taken up counts before it acts. One that cannot act on more than the threshold has no need to.
pub(crate) fn counts_first(work: &Work, run: &PolicyRun) -> bool {
    let Some(limits) = run.limits.as_ref().filter(|_| is_gated(run) && run.matched.is_none()) else {
        return false;
    };
    let named = match &work.selected {
        Selected::Ids(ids) => i64::try_from(ids.len()).unwrap_or(i64::MAX),
        Selected::Matching { .. } => i64::MAX,
    };
    let most = limits.max_entries_per_run.unwrap_or(i64::MAX).min(named);
    threshold(limits).is_some_and(|threshold| most > threshold)
}

/// Whether the run acts, and has a threshold.
pub(crate) fn is_gated(run: &PolicyRun) -> bool {
    !run.dry_run && run.limits.as_ref().and_then(threshold).is_some()
}

/// Whether the run is known to count: of what it acts on it sees no entry before.
pub(crate) fn is_counting(run: &PolicyRun) -> bool {
    !run.dry_run && run.matched.is_none() && run.summary.is_some()
}

/// Whether the run has counted more than it may act on without an approval, and has none.
pub(crate) fn is_needed(run: &PolicyRun) -> bool {
    let threshold = run.limits.as_ref().and_then(threshold);
    !run.dry_run && run.approved_time.is_none() && threshold.is_some_and(|most| run.matched > Some(most))
}

/// The ID under which the run waits for an approval, if it does.
pub(crate) fn awaited(run: &PolicyRun) -> Option<&str> {
    run.approval_id.as_deref().filter(|_| run.approved_time.is_none())
}

/// When the wait for an approval ends the run.
pub(crate) fn expiry(run: &PolicyRun) -> Timestamp {
    let since = run.approval_requested_time.unwrap_or(run.start_time).timestamp();
    since.saturating_add(LONGEST_WAIT).unwrap_or(Timestamp::MAX)
}

/// How long the run waited for its approval, once it has ended. Clocks can be set back meanwhile.
pub(crate) fn waited(run: &PolicyRun) -> SignedDuration {
    let wait = run.approval_requested_time.zip(run.approved_time.or(run.completion_time));
    wait.map_or(SignedDuration::ZERO, |(since, until)| {
        until.timestamp().duration_since(since.timestamp()).max(SignedDuration::ZERO)
    })
}

/// How many entries the run may act on: no more than its limit, nor than it counted.
pub(crate) fn most(limits: &Limits, run: &PolicyRun) -> Option<i64> {
    [limits.max_entries_per_run, run.matched].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::sample;

    fn run(fields: &Value) -> PolicyRun {
        let mut run = json!({
            "id": "1-spec", "trigger": "Spec", "action": "resume", "startTime": "2026-11-20T12:00:00.000Z",
            "limits": { "pageSize": 50, "approvalAbove": 10 },
        });
        run.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(run).unwrap()
    }

    #[test]
    fn a_run_counts_first_if_it_may_act_on_more_than_the_threshold() {
        let ids = |count: usize| {
            let ids: Vec<_> = (0..count).map(|number| format!("dlq-{number}")).collect();
            json!({ "filters": { "dlqIds": ids } })
        };
        let limits =
            |most| json!({ "limits": { "pageSize": 50, "approvalAbove": 10, "maxEntriesPerRun": most } });
        for (row, spec, fields, expected) in [
            ("whatever matches", json!({}), json!({}), true),
            ("a limit above it", json!({}), limits(11), true),
            ("a limit at it", json!({}), limits(10), false),
            ("more IDs", ids(11), json!({}), true),
            ("as many IDs", ids(10), json!({}), false),
            ("a dry run", json!({}), json!({ "dryRun": true }), false),
            ("no threshold", json!({}), json!({ "limits": { "pageSize": 50 } }), false),
            (
                "a threshold of 0",
                json!({}),
                json!({ "limits": { "pageSize": 50, "approvalAbove": 0 } }),
                true,
            ),
            ("all is counted", json!({}), json!({ "matched": 5 }), false),
        ] {
            let work = sample::policy(&spec, &[], &sample::permissions()).work.unwrap();
            assert_eq!(counts_first(&work, &run(&fields)), expected, "{row}");
        }
    }

    #[test]
    fn an_approval_is_needed_above_the_threshold_until_it_is_given() {
        let at = "2026-11-20T13:00:00.000Z";
        for (row, fields, expected) in [
            ("nothing is counted yet", json!({}), false),
            ("as many as may be", json!({ "matched": 10 }), false),
            ("one more", json!({ "matched": 11 }), true),
            ("it was given", json!({ "matched": 11, "approvalId": "a", "approvedTime": at }), false),
            ("a dry run", json!({ "matched": 11, "dryRun": true }), false),
        ] {
            assert_eq!(is_needed(&run(&fields)), expected, "{row}");
        }
    }

    #[test]
    fn the_wait_counts_from_the_question_to_the_approval_or_the_end() {
        let asked = "2026-11-20T12:30:00.000Z";
        let waited = |fields: Value| waited(&run(&fields)).as_mins();
        assert_eq!(waited(json!({})), 0);
        assert_eq!(waited(json!({ "approvalRequestedTime": asked })), 0, "it still waits");
        let approved = json!({ "approvalRequestedTime": asked, "approvedTime": "2026-11-20T13:30:00.000Z",
            "completionTime": "2026-11-20T14:00:00.000Z" });
        assert_eq!(waited(approved), 60);
        let ended = json!({ "approvalRequestedTime": asked, "completionTime": "2026-11-20T14:30:00.000Z" });
        assert_eq!(waited(ended), 120);
        let set_back = json!({ "approvalRequestedTime": asked, "approvedTime": "2026-11-20T12:00:00.000Z" });
        assert_eq!(waited(set_back), 0);
    }
}
