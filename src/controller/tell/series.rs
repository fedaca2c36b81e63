//! Which events become one series, and when a series is written: a policy that fails every second must not flood the API
//! server.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use dlq_policy::{EventReason, ObjectEvent};

/// After this long without the same again, the same is an event of its own.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(360);
/// How often what is to be forgotten is looked for.
const BETWEEN_SWEEPS: Duration = Duration::from_secs(10);
/// So often a series is written whenever it grows; people watch the first few.
const WRITTEN_AT_ONCE: i32 = 10;
/// After that, how much time lies between two writes.
const BETWEEN_WRITES: Duration = Duration::from_secs(10);
/// So many new events of one reason a policy may have at once: the texts of failures may differ each time.
const MOST_NEW: u32 = 25;
/// And one more each time that this has passed.
const ONE_MORE_AFTER: Duration = Duration::from_secs(60);

/// What to do about an event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Telling {
    /// A new event.
    New,
    /// The event of this name, once more.
    Again {
        /// Its name.
        name: String,
        /// How often by now.
        count: i32,
    },
    /// It is counted, and written with one that comes later.
    Later,
    /// There are too many already.
    TooMany,
}

/// The events of some policies, by the policies' UIDs.
#[derive(Default)]
pub(super) struct AllSeries {
    series: HashMap<Key, Series>,
    budgets: HashMap<(String, EventReason), Budget>,
    swept: Option<Instant>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Key {
    uid: String,
    reason: EventReason,
    text: String,
}

impl Key {
    fn new(uid: &str, event: &ObjectEvent) -> Self {
        Self { uid: uid.to_owned(), reason: event.reason, text: event.text.clone() }
    }
}

struct Series {
    name: String,
    count: i32,
    seen: Instant,
    written: Instant,
}

/// What is left of a policy's new events of one reason.
struct Budget {
    left: u32,
    since: Instant,
}

impl AllSeries {
    /// Counts an event, and says what to do about it.
    pub(super) fn count(&mut self, uid: &str, event: &ObjectEvent, now: Instant) -> Telling {
        self.forget(now);
        let Some(series) = self.series.get_mut(&Key::new(uid, event)) else {
            let budget = self.budgets.get(&(uid.to_owned(), event.reason));
            let may_be_new = budget.is_none_or(|budget| budget.left > 0);
            return if may_be_new { Telling::New } else { Telling::TooMany };
        };
        series.count = series.count.saturating_add(1);
        series.seen = now;
        if series.count > WRITTEN_AT_ONCE && now.duration_since(series.written) < BETWEEN_WRITES {
            return Telling::Later;
        }
        series.written = now;
        Telling::Again { name: series.name.clone(), count: series.count }
    }

    /// Remembers an event that was written.
    pub(super) fn begin(&mut self, uid: &str, event: &ObjectEvent, name: String, now: Instant) {
        self.series.insert(Key::new(uid, event), Series { name, count: 1, seen: now, written: now });
        let whole = Budget { left: MOST_NEW, since: now };
        let budget = self.budgets.entry((uid.to_owned(), event.reason)).or_insert(whole);
        budget.left = budget.left.saturating_sub(1);
    }

    /// Forgets an event that is no longer there.
    pub(super) fn end(&mut self, uid: &str, event: &ObjectEvent) {
        self.series.remove(&Key::new(uid, event));
    }

    fn forget(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now.duration_since(swept) < BETWEEN_SWEEPS) {
            return;
        }
        self.swept = Some(now);
        self.series.retain(|_, series| now.duration_since(series.seen) < FORGOTTEN_AFTER);
        self.budgets.retain(|_, budget| {
            let more = now.duration_since(budget.since).as_secs() / ONE_MORE_AFTER.as_secs();
            let more = u32::try_from(more).unwrap_or(MOST_NEW).min(MOST_NEW);
            budget.left = budget.left.saturating_add(more);
            budget.since += ONE_MORE_AFTER * more;
            budget.left < MOST_NEW
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn failed(text: &str) -> ObjectEvent {
        ObjectEvent::new(EventReason::RunFailed, text)
    }

    /// Counts an event, and what came of it.
    fn tell(all: &mut AllSeries, uid: &str, text: &str, now: Instant) -> Telling {
        let telling = all.count(uid, &failed(text), now);
        if telling == Telling::New {
            all.begin(uid, &failed(text), format!("{uid} {text}"), now);
        }
        telling
    }

    #[test]
    fn the_same_of_the_same_policy_is_one_series_and_nothing_else_is() {
        let (mut all, now) = (AllSeries::default(), Instant::now());
        let again = |name: &str, count| Telling::Again { name: name.to_owned(), count };
        assert_eq!(tell(&mut all, "a", "down", now), Telling::New);
        assert_eq!(tell(&mut all, "a", "down", now), again("a down", 2));
        assert_eq!(tell(&mut all, "b", "down", now), Telling::New);
        assert_eq!(tell(&mut all, "a", "gone", now), Telling::New);
        assert_eq!(tell(&mut all, "a", "down", now), again("a down", 3));
        all.end("a", &failed("down"));
        assert_eq!(tell(&mut all, "a", "down", now), Telling::New);
        let much_later = now + FORGOTTEN_AFTER;
        assert_eq!(tell(&mut all, "a", "down", much_later), Telling::New);
    }

    #[test]
    fn a_failure_every_second_is_written_every_ten_and_counted_in_full() {
        let (mut all, start) = (AllSeries::default(), Instant::now());
        let tellings: Vec<_> =
            (0..1000).map(|run| tell(&mut all, "a", "down", start + SECOND * run)).collect();
        let written: Vec<_> = tellings
            .iter()
            .filter_map(
                |telling| if let Telling::Again { count, .. } = telling { Some(*count) } else { None },
            )
            .collect();
        assert_eq!(written[..12], [2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 40]);
        assert_eq!((written.len(), written.last()), (108, Some(&1000)));
    }

    #[test]
    fn a_policy_has_so_many_new_events_and_then_one_a_minute() {
        let (mut all, start) = (AllSeries::default(), Instant::now());
        let is_new = |telling| telling == Telling::New;
        let new = (0..600).filter(|run| is_new(tell(&mut all, "a", &run.to_string(), start + SECOND * *run)));
        assert_eq!(new.count(), 25 + 9);
        assert_eq!(tell(&mut all, "b", "down", start + SECOND * 600), Telling::New, "another policy's own");
        let invalid = ObjectEvent::new(EventReason::UncertainPage, "no");
        assert_eq!(all.count("a", &invalid, start + SECOND * 600), Telling::New, "another reason's own");
        let later = start + SECOND * 600 + ONE_MORE_AFTER * MOST_NEW;
        assert_eq!(tell(&mut all, "c", "down", later), Telling::New);
        assert_eq!(all.budgets.len(), 1, "what is whole again takes no memory");
    }
}
