//! What a run would send, found out by its own machine without sending anything.

use jiff::Timestamp;

use crate::outcome::Problem;
use dlq_crd::{Limits, PolicyRun};
use dlq_policy::budget::{Grant, Reserved};
use dlq_policy::{Connectivity, Facts, Plan, Policy, Progress, Start, Step, Work, plan};
use dlq_upstash::types::{Call, Cursor, Page, Selection};

/// What stands for the cursor of the answer before.
pub const CURSOR: &str = "CURSOR";

/// So many calls are tried at most: the most that `dlqIds` need, and more than tell how pages follow each other.
const MOST_CALLS: usize = 100_000;

/// The run that starts now.
///
/// # Errors
/// None can start, which the validation has told before.
pub fn new_run(policy: &Policy, now: Timestamp) -> Result<PolicyRun, Problem> {
    let facts = Facts { connection: Some(Connectivity::Usable), ..Facts::default() };
    match plan(policy, &dlq_crd::DlqPolicyStatus::default(), &facts, now) {
        Ok(Plan::Start(Start { run, .. })) => Ok(run),
        Ok(other) => Err(Problem::Failed(format!("no run can start: {other:?}"))),
        Err(question) => Err(Problem::Failed(format!("no run can start: {question:?}"))),
    }
}

/// The run with one cursor, and without the count that comes before an approval.
#[must_use]
pub fn plain(run: PolicyRun) -> PolicyRun {
    let limits = run.limits.map(|limits| Limits { parallelism: None, approval_above: None, ..limits });
    PolicyRun { limits, ..run }
}

/// The calls of a run that meets so many entries, all of which match and are acted on.
pub fn calls(work: &Work, run: PolicyRun, entries: u64, now: Timestamp) -> Vec<Call> {
    let (mut progress, mut now) = (Progress::new(work.clone(), run, 0), now);
    let (mut left, mut calls) = (entries, Vec::new());
    while calls.len() < MOST_CALLS {
        let call = match progress.next(now) {
            Step::Call(call) => call,
            Step::Wait(until) => {
                now = until;
                continue;
            }
            Step::Reserve(entries) => {
                progress.reserved(Reserved::Granted(Grant::unlimited(entries)));
                continue;
            }
            Step::Await | Step::Ask | Step::End(_) => break,
        };
        progress.sent(&call, now);
        let page = answer(&call, &mut left, calls.len());
        progress.answered(&call, &page, now);
        calls.push(call);
    }
    calls
}

/// A full page, and a cursor of its own where more is left.
fn answer(call: &Call, left: &mut u64, number: usize) -> Page {
    let count = match call {
        Call::Bulk { selection: Selection::Matching { count, .. }, .. } | Call::List { count, .. } => {
            u64::from(*count)
        }
        Call::Bulk { selection: Selection::Ids(ids), .. } => ids.len() as u64,
        Call::Single { .. } | Call::Get { .. } => 1,
    };
    let entries = count.min(*left);
    *left -= entries;
    let cursor = (*left > 0).then(|| Cursor(format!("{CURSOR}{number}")));
    Page { entries, cursor, ..Page::default() }
}

/// The same call, with the same name for whatever cursor.
#[must_use]
pub fn with_named_cursor(call: &Call) -> Call {
    let named = |cursor: &Option<Cursor>| cursor.as_ref().map(|_| Cursor(CURSOR.to_owned()));
    match call.clone() {
        Call::Bulk { action, selection: Selection::Matching { criteria, cursor, count }, overrides } => {
            let cursor = named(&cursor);
            Call::Bulk { action, selection: Selection::Matching { criteria, cursor, count }, overrides }
        }
        Call::List { criteria, cursor, count, detail } => {
            let cursor = named(&cursor);
            Call::List { criteria, cursor, count, detail }
        }
        other => other,
    }
}
