//! What the status says of what waits.

use super::size;
use crate::spec::Policy;
use dlq_crd::{BacklogStatus, DlqPolicyStatus};

/// The status after a look, which another policy may have made.
pub(crate) fn looked(policy: &Policy, before: &DlqPolicyStatus, counted: BacklogStatus) -> DlqPolicyStatus {
    let spec_hash = policy.backlog.as_ref().map(|backlog| backlog.spec_hash.clone());
    let backlog = spec_hash.map(|spec_hash| Box::new(BacklogStatus { spec_hash, ..counted }));
    let mut status = DlqPolicyStatus { backlog, ..before.clone() };
    size::fit(&mut status);
    status
}

/// Removes what a look found, if it is not what the policy asks for now. Of a spec that cannot be understood nobody knows.
pub(super) fn forget_others(policy: &Policy, status: &mut DlqPolicyStatus) {
    if policy.work.is_ok() {
        let asked = policy.backlog.as_ref().map(|backlog| &backlog.spec_hash);
        status.backlog.take_if(|seen| Some(&seen.spec_hash) != asked);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::sample;

    fn policy(fields: &Value) -> Policy {
        sample::policy(fields, &[], &sample::permissions())
    }

    fn seen(policy: &Policy) -> DlqPolicyStatus {
        let counted =
            json!({ "observedTime": "2026-11-20T12:00:00Z", "entries": 7, "specHash": "of another" });
        looked(policy, &DlqPolicyStatus::default(), serde_json::from_value(counted).unwrap())
    }

    #[test]
    fn what_was_counted_is_kept_while_it_is_what_the_policy_asks_for() {
        let seen = seen(&policy(&json!({ "backlog": { "interval": "15m" } })));
        let is_kept = |fields: Value| {
            let mut status = seen.clone();
            forget_others(&policy(&fields), &mut status);
            status.backlog.is_some()
        };
        let backlog = json!({ "interval": "15m" });
        assert!(is_kept(json!({ "backlog": backlog })));
        assert!(is_kept(json!({ "backlog": { "interval": "1h" }, "suspend": true, "schedule": "@hourly" })));
        assert!(
            is_kept(json!({ "backlog": { "interval": "1s" } })),
            "what cannot be understood says nothing"
        );
        assert!(!is_kept(json!({})));
        assert!(!is_kept(json!({ "backlog": { "interval": "15m", "countUpTo": 100 } })));
        assert!(!is_kept(json!({ "backlog": backlog, "filters": { "labels": ["orders"] } })));
    }

    #[test]
    fn what_another_policy_counted_is_told_as_what_this_one_asks_for() {
        let backlog = seen(&policy(&json!({ "backlog": { "interval": "15m" } }))).backlog.unwrap();
        assert_eq!(backlog.entries, 7);
        assert_ne!(backlog.spec_hash, "of another");
    }
}
