//! Watches that calls of one run do not get in each other's way.

use dlq_crd::{PolicyRun, RunWindow, Window};
use dlq_upstash::types::{Call, Criteria, Selection};

/// The most windows that a status may hold.
const MOST_WINDOWS: usize = 32;

/// What a call acts on.
enum Target<'a> {
    /// Failure times, both ends inclusive.
    Times(i64, i64),
    /// Entries by name.
    Named(Vec<&'a str>),
}

fn target(call: &Call) -> Option<Target<'_>> {
    match call {
        Call::Bulk { selection: Selection::Matching { criteria, .. }, .. } => Some(times(criteria)),
        Call::Bulk { selection: Selection::Ids(ids), .. } => {
            Some(Target::Named(ids.iter().map(|id| id.0.as_str()).collect()))
        }
        Call::Single { id, .. } => Some(Target::Named(vec![&id.0])),
        Call::List { .. } | Call::Get { .. } => None,
    }
}

fn times(criteria: &Criteria) -> Target<'_> {
    Target::Times(criteria.from_date.unwrap_or(i64::MIN), criteria.to_date.expect("a window ends"))
}

/// A call is made beside others: no more than the run may have, and none acts on what another acts on.
pub(super) fn check_beside(run: &PolicyRun, call: &Call, beside: &[&Call]) {
    let most = run.limits.as_ref().and_then(|limits| limits.parallelism).unwrap_or(1);
    assert!(beside.len() < usize::try_from(most).unwrap(), "more than {most} calls at once");
    for other in beside {
        match (target(call), target(other)) {
            (Some(Target::Times(from, to)), Some(Target::Times(other_from, other_to))) => {
                assert!(
                    to < other_from || other_to < from,
                    "two calls act on one window: {call:?} {other:?}"
                );
            }
            (Some(Target::Named(ids)), Some(Target::Named(others))) => {
                assert!(ids.iter().all(|id| !others.contains(id)), "two calls act on one entry: {ids:?}");
            }
            _ => {}
        }
    }
}

/// The parts of a run's window lie within it, and share no time.
pub(super) fn check_windows(run: &PolicyRun) {
    assert!(run.windows.len() <= MOST_WINDOWS && (run.windows.is_empty() || run.cursor.is_none()));
    let Some(Window { from_date, to_date }) = &run.window else { return };
    let mut parts: Vec<&RunWindow> = run.windows.iter().collect();
    parts.sort_by_key(|part| part.from_date);
    let mut begin = *from_date;
    for part in parts {
        assert!(part.from_date >= begin && part.to_date <= *to_date, "a part beside the window: {run:#?}");
        assert!(part.from_date.is_none_or(|from| from <= part.to_date), "a part without a time: {run:#?}");
        let next = part.to_date.timestamp() + jiff::SignedDuration::from_millis(1);
        begin = Some(next.into());
    }
}
