//! Words in a status that a newer operator may have written.

use schemars::Schema;
use serde::{Deserialize, Deserializer};

#[derive(Deserialize)]
#[serde(untagged)]
enum Word<T> {
    Known(T),
    Unknown(#[expect(dead_code, reason = "it is read to see that it is a word")] String),
}

/// Reads a word that is not known as none: the rest of the status still counts, so that the operator before can continue
/// when a newer one is taken back.
pub(super) fn known<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(match Option::<Word<T>>::deserialize(deserializer)? {
        Some(Word::Known(word)) => Some(word),
        Some(Word::Unknown(_)) | None => None,
    })
}

/// Takes a type's description out of its schema: in the CRD that of an optional word would hide its field's.
pub(super) fn undescribed(schema: &mut Schema) {
    schema.remove("description");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{DlqPolicyStatus, Phase, RunResult, RunSummary};

    #[test]
    fn a_word_that_is_not_known_is_none_and_the_rest_is_read() {
        let status: DlqPolicyStatus =
            serde_json::from_value(json!({ "phase": "Hibernating", "consecutiveFailures": 3 })).unwrap();
        assert_eq!((status.phase, status.consecutive_failures), (None, 3));
        let run = json!({
            "id": "1-spec", "trigger": "Spec", "action": "resume", "startTime": "2026-11-01T12:00:00.123Z",
            "result": "Postponed", "reason": "UpstreamAsleep",
        });
        let run: RunSummary = serde_json::from_value(run).unwrap();
        assert_eq!((run.result, run.reason, run.id.as_str()), (None, None, "1-spec"));
    }

    #[test]
    fn a_word_that_is_known_is_read_and_what_is_no_word_is_refused() {
        let read = |phase| serde_json::from_value::<DlqPolicyStatus>(json!({ "phase": phase }));
        assert_eq!(read(json!("Running")).unwrap().phase, Some(Phase::Running));
        assert_eq!(read(json!(null)).unwrap().phase, None);
        assert!(read(json!(7)).is_err());
        assert_eq!(serde_json::from_value::<RunResult>(json!("Failed")).unwrap(), RunResult::Failed);
    }
}
