//! What becomes of the annotation `requestedAt`.

use jiff::{SignedDuration, Timestamp};

use super::new_request;
use crate::spec::policy::{Mode, Policy, Request};
use dlq_crd::{DlqPolicyStatus, SpecTrigger};

/// How long before its creation a policy may have been asked for a run: clocks differ, and a manifest is written before it
/// is applied.
const BEFORE_CREATION: SignedDuration = SignedDuration::from_mins(10);

/// How long after its creation a bare number may ask a policy that nobody has seen yet.
const FIRST_DAY: SignedDuration = SignedDuration::from_hours(24);

/// What becomes of the annotation `requestedAt`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Asked<'a> {
    /// Nobody asks for anything new.
    Nothing,
    /// It never leads to a run.
    Ignored(Ignored<'a>),
    /// It starts a run as soon as one can start.
    Run(&'a Request),
}

/// Why a request leads to no run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ignored<'a> {
    /// The value of `requestedMode` is not known.
    Mode(&'a str),
    /// It is older than the policy, as in a manifest that was restored from a backup.
    Restored,
    /// It was there when a policy with `trigger: Manual` was first seen, and says no time.
    FirstSight,
}

/// Reads the request of a policy whose status is this.
pub(crate) fn asked<'a>(policy: &'a Policy, status: &DlqPolicyStatus) -> Asked<'a> {
    let requests = &policy.requests;
    if policy.spec_hash.is_empty() {
        // What cannot be read says nothing of what was handled.
        return Asked::Nothing;
    }
    let Some(request) = new_request(requests.run.as_ref(), status.last_handled_requested_at.as_ref()) else {
        return Asked::Nothing;
    };
    if let Mode::Unknown(mode) = &requests.mode {
        return Asked::Ignored(Ignored::Mode(mode));
    }
    let is_restored =
        |at: Timestamp| policy.created.is_some_and(|created| created.duration_since(at) > BEFORE_CREATION);
    let is_first_sight = status.observed_generation.is_none_or(|generation| generation < 1);
    match time(&request.value, policy.created) {
        Some(at) if is_restored(at) => Asked::Ignored(Ignored::Restored),
        None if policy.trigger == SpecTrigger::Manual && is_first_sight => {
            Asked::Ignored(Ignored::FirstSight)
        }
        _ => Asked::Run(request),
    }
}

/// Whether new work starts no run, because a request came with it that was to make a dry run of it and cannot be understood.
pub(crate) fn spoils_first_run(policy: &Policy, status: &DlqPolicyStatus) -> bool {
    let requests = &policy.requests;
    let new =
        requests.run.as_ref().filter(|run| Some(&run.value) != status.last_handled_requested_at.as_ref());
    new.is_some_and(|request| match requests.mode {
        Mode::AsSpecified => false,
        Mode::DryRun => request.too_long,
        Mode::Unknown(_) => true,
    })
}

/// The time that a value names, for a policy of this age: RFC 3339, also without the colon in its offset, or Unix seconds or
/// milliseconds. Small numbers are counters, and those that would be later than the policy's first day are dates without marks.
fn time(value: &str, created: Option<Timestamp>) -> Option<Timestamp> {
    const FIRST_SECOND: i64 = 1_000_000_000;
    const FIRST_MILLISECOND: i64 = 1_000 * FIRST_SECOND;
    let value = value.trim();
    let number = match value.parse::<i64>() {
        Ok(number) if number >= FIRST_MILLISECOND => Timestamp::from_millisecond(number).ok(),
        Ok(number) if number >= FIRST_SECOND => Timestamp::from_second(number).ok(),
        Ok(_) => None,
        Err(_) => return value.parse().ok(),
    };
    let is_near = |at: Timestamp| created.is_none_or(|created| at.duration_since(created) < FIRST_DAY);
    number.filter(|at| is_near(*at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_reads_as_a_time_in_every_form_that_people_and_tools_write() {
        let at: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        for text in [
            "2026-11-20T12:00:00Z",
            "2026-11-20T13:00:00+01:00",
            "2026-11-20T13:00:00+0100",
            "2026-11-20t12:00:00z",
            "2026-11-20T12:00:00.000Z",
            " 2026-11-20T12:00:00Z ",
            "1795176000",
            "1795176000000",
        ] {
            assert_eq!(time(text, Some(at)), Some(at), "{text}");
        }
        for text in ["", "now", "1", "42", "-1795176000", "2026-11-20", "2026-11-20T12:00:00", "12:00"] {
            assert_eq!(time(text, Some(at)), None, "{text}");
        }
        for text in ["20261120120000", "2026112012", "20201120120000", "9999999999999"] {
            assert_eq!(time(text, Some(at)), None, "a date without marks: {text}");
        }
    }
}
