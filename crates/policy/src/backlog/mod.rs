//! What waits in the DLQ between runs: when to look, and what a look finds.

mod look;

use jiff::{SignedDuration, Timestamp};

pub use self::look::{Look, LookStep};
use crate::spec::Policy;
use dlq_crd::DlqPolicyStatus;

/// How soon a look that a run ended is begun again: where a schedule leaves no time for one, its calls are made in vain.
const AFTER_A_RUN: SignedDuration = SignedDuration::from_mins(1);

/// A look that found nothing out: there is no other before its interval has passed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Tried {
    /// What was to be counted.
    spec_hash: String,
    /// When it began.
    at: Timestamp,
}

impl Tried {
    /// A look that was begun for this policy.
    pub(crate) fn of(policy: &Policy, at: Timestamp) -> Option<Self> {
        policy.backlog.as_ref().map(|backlog| Self { spec_hash: backlog.spec_hash.clone(), at })
    }

    /// A look that made way for a run: as if it had been tried so long ago that the next one is due soon.
    pub(crate) fn in_vain(policy: &Policy, now: Timestamp) -> Option<Self> {
        let earlier = policy.backlog.as_ref()?.interval.saturating_sub(AFTER_A_RUN);
        Self::of(policy, now.saturating_sub(earlier).unwrap_or(now))
    }
}

/// When the look after one at `at` is due. `at` may be by a clock that was set back since, or by another process': that
/// makes no wait longer than two intervals.
pub fn due_after(at: Timestamp, interval: SignedDuration, now: Timestamp) -> Timestamp {
    let later = |time: Timestamp| time.saturating_add(interval).unwrap_or(Timestamp::MAX);
    if at > later(now) { now } else { later(at) }
}

/// When somebody is to look; none where the policy does not ask for it.
pub(crate) fn next_look(
    policy: &Policy,
    status: &DlqPolicyStatus,
    tried: Option<&Tried>,
    now: Timestamp,
) -> Option<Timestamp> {
    let backlog = policy.backlog.as_ref()?;
    let observed = status.backlog.as_ref().filter(|seen| seen.spec_hash == backlog.spec_hash);
    let tried = tried.filter(|tried| tried.spec_hash == backlog.spec_hash);
    let looks = observed.map(|seen| seen.observed_time.0).into_iter().chain(tried.map(|tried| tried.at));
    Some(looks.map(|at| due_after(at, backlog.interval, now)).max().unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::sample;
    use dlq_crd::BacklogStatus;

    fn time(clock: &str) -> Timestamp {
        format!("2026-11-20T{clock}Z").parse().unwrap()
    }

    fn policy(fields: &Value) -> Policy {
        sample::policy(fields, &[], &sample::permissions())
    }

    fn watching(interval: &str) -> Policy {
        policy(&json!({ "backlog": { "interval": interval } }))
    }

    fn observed(policy: &Policy, at: &str) -> DlqPolicyStatus {
        let backlog = BacklogStatus {
            observed_time: crate::status::conditions::seconds(time(at)),
            entries: 7,
            at_least: false,
            oldest_time: None,
            expiring_within_day: None,
            response_statuses: Vec::new(),
            spec_hash: policy.backlog.as_ref().unwrap().spec_hash.clone(),
        };
        DlqPolicyStatus { backlog: Some(Box::new(backlog)), ..DlqPolicyStatus::default() }
    }

    #[test]
    fn the_first_look_is_due_at_once_and_each_other_an_interval_after_the_one_before() {
        let policy = watching("15m");
        let now = time("12:00:00");
        assert_eq!(next_look(&policy, &DlqPolicyStatus::default(), None, now), Some(now));
        assert_eq!(next_look(&policy, &observed(&policy, "11:50:00"), None, now), Some(time("12:05:00")));
        assert_eq!(next_look(&policy, &observed(&policy, "11:00:00"), None, now), Some(time("11:15:00")));
        let unwatched = self::policy(&json!({}));
        assert_eq!(next_look(&unwatched, &observed(&policy, "11:00:00"), None, now), None);
    }

    #[test]
    fn a_look_that_failed_is_followed_by_none_for_an_interval_unless_another_thing_is_to_be_counted() {
        let policy = watching("15m");
        let tried = Tried::of(&policy, time("11:59:00"));
        let next = |policy: &Policy| {
            next_look(policy, &observed(&watching("15m"), "11:44:00"), tried.as_ref(), time("12:00:00"))
        };
        assert_eq!(next(&policy), Some(time("12:14:00")));
        assert_eq!(next(&watching("2m")), Some(time("12:01:00")), "a shorter interval counts at once");
        let of_others = json!({ "filters": { "labels": ["orders"] }, "backlog": { "interval": "15m" } });
        assert_eq!(next(&self::policy(&of_others)), Some(time("12:00:00")));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_wait_longer_than_two_intervals() {
        let interval = SignedDuration::from_mins(15);
        let due = |at| due_after(time(at), interval, time("12:00:00"));
        assert_eq!(due("12:10:00"), time("12:25:00"));
        assert_eq!(due("12:15:01"), time("12:00:00"));
        assert_eq!(due_after(Timestamp::MAX, interval, Timestamp::MAX), Timestamp::MAX);
    }
}
