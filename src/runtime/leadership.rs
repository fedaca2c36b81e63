//! Whether this process may act: the terms in which it leads.
//!
//! A term counts from the moment just before the last renewal was sent, so it ends before anybody else can take the
//! lease. It ends by the clock: a process that was frozen, or whose machine was suspended, finds its term over at once,
//! whatever its tasks have noticed.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::clock::{Clock, Moment};
use super::election::Timing;

/// How long who waits for the end of a term may be late when a clock jumps.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Tells whether this process leads.
#[derive(Clone)]
pub struct Leadership(Option<Arc<Terms>>);

impl Leadership {
    /// Where nobody is elected: one term without an end.
    pub fn always() -> Self {
        Self(None)
    }

    pub(super) fn of(terms: Arc<Terms>) -> Self {
        Self(Some(terms))
    }

    /// The current term, by the clock. Who has none starts nothing.
    pub fn term(&self) -> Option<Term> {
        self.0.as_ref().map_or(Some(Term(None)), |terms| terms.current())
    }

    /// Yields each time a term begins, and at once if one is under way. Never ends.
    pub fn gained(&self) -> BoxStream<'static, ()> {
        let Some(terms) = self.0.clone() else { return stream::pending().boxed() };
        let begun = terms.begun.subscribe();
        stream::unfold((begun, terms, None::<Term>), async |(mut begun, terms, last)| {
            loop {
                let newest = begun.borrow_and_update().clone();
                if let Some(term) = newest.filter(|term| !term.is(last.as_ref()) && !term.is_over()) {
                    return Some(((), (begun, terms, Some(term))));
                }
                // The sender lives in `terms`.
                begun.changed().await.ok()?;
            }
        })
        .boxed()
    }
}

impl fmt::Debug for Leadership {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Leadership").field(&self.term()).finish()
    }
}

/// The time in which this process leads. Once ended it never returns.
#[derive(Clone)]
pub struct Term(Option<Arc<Held>>);

struct Held {
    watch: Arc<Stopwatch>,
    timing: Timing,
    /// By the stopwatch.
    renewed_at: Mutex<Duration>,
    ended: CancellationToken,
}

/// Counts the time that may have passed, from look to look: when the wall clock is set back, only what passed since the
/// look before is lost on it, and a machine that is suspended later is still found out.
struct Stopwatch {
    clock: Arc<dyn Clock>,
    counted: Mutex<(Moment, Duration)>,
}

/// A lock is never held while somebody waits, and what it guards is whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stopwatch {
    fn now(&self) -> Duration {
        let mut counted = lock(&self.counted);
        let now = self.clock.moment();
        let (seen, so_far) = *counted;
        let total = so_far.saturating_add(now.at_most_since(&seen));
        *counted = (now, total);
        total
    }
}

impl Held {
    /// The time since the last renewal; none once the term has ended.
    fn age(&self, renewed_at: Duration) -> Option<Duration> {
        if self.ended.is_cancelled() {
            return None;
        }
        let age = self.watch.now().saturating_sub(renewed_at);
        if age < self.timing.renew_deadline() {
            return Some(age);
        }
        // A clock that is set back does not bring it back.
        self.ended.cancel();
        None
    }
}

impl Term {
    /// Whether it has ended, by the clock.
    pub fn is_over(&self) -> bool {
        self.0.as_ref().is_some_and(|held| held.age(*lock(&held.renewed_at)).is_none())
    }

    /// Waits until it ends.
    pub async fn over(&self) {
        let Some(held) = &self.0 else { return std::future::pending().await };
        loop {
            let Some(age) = held.age(*lock(&held.renewed_at)) else { return };
            let left = held.timing.renew_deadline().saturating_sub(age);
            tokio::select! {
                () = held.ended.cancelled() => return,
                () = tokio::time::sleep(left.min(LOOK_INTERVAL)) => {}
            }
        }
    }

    /// How long a call that is sent now may take, so that it ends before another can lead. Zero when it has ended.
    pub fn time_for_a_call(&self) -> Duration {
        let Some(held) = &self.0 else { return Duration::MAX };
        let age = held.age(*lock(&held.renewed_at));
        age.map_or(Duration::ZERO, |age| held.timing.call_deadline().saturating_sub(age))
    }

    fn is(&self, other: Option<&Self>) -> bool {
        match (&self.0, other.and_then(|other| other.0.as_ref())) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// Counts from `sent` on, if it is not over.
    fn extend(&self, sent: Sent) -> bool {
        let Some(held) = &self.0 else { return true };
        let mut renewed_at = lock(&held.renewed_at);
        let goes_on = held.age(*renewed_at).is_some();
        if goes_on {
            *renewed_at = sent.0.max(*renewed_at);
        }
        goes_on
    }

    fn end(&self) {
        if let Some(held) = &self.0 {
            held.ended.cancel();
        }
    }
}

impl fmt::Debug for Term {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Term").field("is_over", &self.is_over()).finish_non_exhaustive()
    }
}

/// The terms of one candidate, as its elector begins, prolongs and ends them.
pub(super) struct Terms {
    watch: Arc<Stopwatch>,
    timing: Timing,
    begun: watch::Sender<Option<Term>>,
}

/// When a request was about to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent(Duration);

/// What a renewal has done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Renewal {
    /// The term lasts.
    Prolonged,
    /// A term has begun.
    Begun,
    /// Its answer came too late to begin one.
    TooLate,
}

impl Terms {
    pub(super) fn new(clock: Arc<dyn Clock>, timing: Timing) -> Self {
        let counted = Mutex::new((clock.moment(), Duration::ZERO));
        Self { watch: Arc::new(Stopwatch { clock, counted }), timing, begun: watch::Sender::new(None) }
    }

    /// Notes that a request is about to be sent.
    pub(super) fn sending(&self) -> Sent {
        Sent(self.watch.now())
    }

    /// The current term.
    pub(super) fn current(&self) -> Option<Term> {
        self.begun.borrow().clone().filter(|term| !term.is_over())
    }

    /// What is left of the current term, until new work begins no more.
    pub(super) fn left(&self) -> Option<Duration> {
        let term = self.current()?;
        let held = term.0.as_ref()?;
        let age = held.age(*lock(&held.renewed_at))?;
        Some(held.timing.renew_deadline().saturating_sub(age))
    }

    /// The lease was ours in an answer to what was sent just after `sent`.
    pub(super) fn renewed(&self, sent: Sent) -> Renewal {
        if self.begun.borrow().as_ref().is_some_and(|term| term.extend(sent)) {
            return Renewal::Prolonged;
        }
        let held = Held {
            watch: Arc::clone(&self.watch),
            timing: self.timing,
            renewed_at: Mutex::new(sent.0),
            ended: CancellationToken::new(),
        };
        let term = Term(Some(Arc::new(held)));
        if term.is_over() {
            return Renewal::TooLate;
        }
        self.begun.send_replace(Some(term));
        Renewal::Begun
    }

    /// The lease is not ours any more, or is about to be given back.
    pub(super) fn end(&self) {
        if let Some(term) = self.begun.borrow().as_ref() {
            term.end();
        }
    }
}

#[cfg(test)]
#[path = "leadership_tests.rs"]
mod tests;
