//! Which write of a run came before which.

use dlq_crd::{DlqPolicyStatus, PolicyRun};

/// The status as it is written in place of `before`: where anything differs, its run gets the next revision.
pub fn revised(before: &DlqPolicyStatus, mut next: DlqPolicyStatus) -> DlqPolicyStatus {
    let is_same = |run: &&PolicyRun| {
        next.current_run.as_ref().is_some_and(|next| (&next.id, next.start_time) == (&run.id, run.start_time))
    };
    let revision = before.current_run.as_ref().filter(is_same).and_then(|run| run.revision);
    if let Some(run) = &mut next.current_run {
        run.revision = revision;
    }
    if next != *before
        && let Some(run) = &mut next.current_run
    {
        run.revision = Some(revision.unwrap_or_default() + 1);
    }
    next
}

/// Whether `read` is what one write of the run's holder made of `known`.
pub fn is_next_revision(known: Option<&PolicyRun>, read: Option<&PolicyRun>) -> bool {
    let (Some(known), Some(read)) = (known, read) else { return false };
    (&known.id, known.start_time, &known.holder) == (&read.id, read.start_time, &read.holder)
        && known.revision.is_some_and(|revision| read.revision == Some(revision + 1))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn run(fields: &Value) -> PolicyRun {
        let mut run = json!({
            "id": "1-spec", "trigger": "Spec", "action": "resume", "startTime": "2026-11-20T12:00:00.000Z",
            "holder": "pod-1/1", "revision": 3,
        });
        run.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(run).unwrap()
    }

    fn status(run: Option<PolicyRun>) -> DlqPolicyStatus {
        DlqPolicyStatus { current_run: run, ..DlqPolicyStatus::default() }
    }

    #[test]
    fn the_next_revision_is_the_same_run_one_write_of_its_holder_later() {
        for (row, read, expected) in [
            ("one write later", json!({ "revision": 4, "processed": 50 }), true),
            ("the same", json!({}), false),
            ("two later", json!({ "revision": 5 }), false),
            ("one before", json!({ "revision": 2 }), false),
            ("another holder", json!({ "revision": 4, "holder": "pod-2/1" }), false),
            ("another run", json!({ "revision": 4, "id": "2-spec" }), false),
            ("again later", json!({ "revision": 4, "startTime": "2026-11-20T12:00:00.001Z" }), false),
        ] {
            assert_eq!(is_next_revision(Some(&run(&json!({}))), Some(&run(&read))), expected, "{row}");
        }
        let before = run(&json!({ "revision": null }));
        assert!(!is_next_revision(Some(&before), Some(&before)), "nobody counted");
        assert!(!is_next_revision(None, Some(&before)) && !is_next_revision(Some(&before), None));
    }

    #[test]
    fn each_write_that_may_differ_has_its_own_revision() {
        let before = status(Some(run(&json!({}))));
        let of = |next: DlqPolicyStatus| revised(&before, next).current_run.and_then(|run| run.revision);
        assert_eq!(of(before.clone()), Some(3), "nothing differs");
        assert_eq!(of(status(Some(run(&json!({ "processed": 1 }))))), Some(4));
        assert_eq!(of(status(Some(run(&json!({ "id": "2-spec" }))))), Some(1), "a new run");
        assert_eq!(of(status(None)), None);
    }
}
