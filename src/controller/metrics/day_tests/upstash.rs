//! What Upstash answers in the course of the day.

use std::time::Duration;

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};

use super::clock::{at, now};
use dlq_upstash::error::{ApiError, ErrorClass};
use dlq_upstash::types::{Call, Cursor, DlqId, ListedEntry, Page, Selection};

/// An answer, and how long it took.
pub(super) struct Answer {
    pub(super) result: Result<Page, ApiError>,
    pub(super) took: Duration,
}

impl Answer {
    pub(super) fn status(&self) -> Option<u16> {
        self.result.as_ref().map_or_else(|error| error.status, |_| Some(200))
    }
}

/// Answers a call of a policy that so many entries match.
pub(super) fn answer(call: &Call, backlog: &mut u64, dice: &mut Rng) -> Answer {
    let now = now();
    let took = Duration::from_millis(40 + dice.u64(0..60) + dice.u64(0..14).pow(2));
    if (at(9, 20)..at(10, 10)).contains(&now) {
        return if dice.f64() < 0.75 {
            let took = took + Duration::from_millis(dice.u64(300..3_000));
            refused(ErrorClass::Unavailable, Some(503), None, took)
        } else {
            let error = ApiError::transport("no answer in time", dice.f64() < 0.3);
            Answer { result: Err(error), took: Duration::from_secs(10) }
        };
    }
    if (at(14, 0)..at(15, 0)).contains(&now) && dice.f64() < 0.3 {
        return refused(ErrorClass::RateLimited, Some(429), Some(Duration::from_secs(dice.u64(3..9))), took);
    }
    if let Call::List { cursor, count, .. } = call {
        return Answer { result: Ok(listed(cursor.as_ref(), *count, *backlog, now)), took };
    }
    let Call::Bulk { selection, .. } = call else {
        panic!("the day's policies list or act in bulk: {call:?}")
    };
    let asked = match selection {
        Selection::Matching { count, .. } => u64::from(*count),
        Selection::Ids(ids) => ids.len() as u64,
    };
    let entries = asked.min(*backlog);
    *backlog -= entries;
    let is_left = *backlog > 0 && matches!(selection, Selection::Matching { .. });
    let page = Page {
        entries,
        workflow_run_ids: (0..entries).map(|number| format!("wfr_{number}")).collect(),
        listed: Vec::new(),
        cursor: is_left.then(|| Cursor(format!("{backlog} are left"))),
    };
    Answer { result: Ok(page), took }
}

/// A page of what waits: an entry for each hour of the last three days, again and again.
fn listed(cursor: Option<&Cursor>, count: u32, backlog: u64, now: Timestamp) -> Page {
    let left = cursor.map_or(backlog, |cursor| cursor.0.parse().unwrap());
    let entries = left.min(count.into());
    let entry = |number: u64| {
        let age = i64::try_from(number % 72).unwrap();
        let failed = (now - SignedDuration::from_hours(age)).as_millisecond();
        let response_status = Some(if number.is_multiple_of(4) { 429 } else { 503 });
        ListedEntry { response_status, ..ListedEntry::bare(DlqId(format!("{failed}-{number}"))) }
    };
    Page {
        entries,
        workflow_run_ids: Vec::new(),
        listed: (left - entries..left).map(entry).collect(),
        cursor: (left > entries).then(|| Cursor((left - entries).to_string())),
    }
}

fn refused(class: ErrorClass, status: Option<u16>, retry_after: Option<Duration>, took: Duration) -> Answer {
    let error = ApiError { class, status, message: "not now".to_owned(), retry_after, may_have_acted: false };
    Answer { result: Err(error), took }
}
