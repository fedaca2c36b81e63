//! Waiting for a condition, which is how every test waits.

use std::{fmt::Display, time::Duration};

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

const FIRST_INTERVAL: Duration = Duration::from_millis(10);
const LONGEST_INTERVAL: Duration = Duration::from_millis(250);

/// What one look at a condition gives: the value waited for, or why it is not there yet.
pub trait Outcome {
    type Value;

    fn met(self) -> Result<Self::Value, String>;
}

impl<T> Outcome for Option<T> {
    type Value = T;

    fn met(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing yet".to_owned())
    }
}

impl<T, E: Display> Outcome for Result<T, E> {
    type Value = T;

    fn met(self) -> Result<T, String> {
        // The alternate form: anyhow then shows the causes too.
        self.map_err(|error| format!("{error:#}"))
    }
}

impl Outcome for bool {
    type Value = ();

    fn met(self) -> Result<(), String> {
        self.then_some(()).ok_or_else(|| "not so yet".to_owned())
    }
}

/// Looks again and again, at short intervals, until `look` gives `Some`, `Ok` or `true`. An error says what was waited
/// for, and what the last look saw; so let `look` give `Err(state)` where a failure should tell the state.
pub async fn eventually<O: Outcome>(
    timeout: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> O,
) -> Result<O::Value> {
    let mut patience = Patience::new(timeout, what);
    let mut state = "nothing, as the first look never ended".to_owned();
    loop {
        // A look that hangs must not outlast the deadline; what the one before saw still tells something.
        match tokio::time::timeout(patience.left(), look()).await.map(Outcome::met) {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(seen)) => state = seen,
            Err(_) => {}
        }
        patience.not_yet(&state).await?;
    }
}

/// The same as a loop, for the testbed itself: with a closure its futures could not move between threads (the
/// compiler cannot tell yet that an `AsyncFnMut`'s futures are `Send`), and nobody could spawn them.
pub(crate) struct Patience<'a> {
    what: &'a str,
    timeout: Duration,
    start: Instant,
    interval: Duration,
}

impl<'a> Patience<'a> {
    pub(crate) fn new(timeout: Duration, what: &'a str) -> Self {
        Self { what, timeout, start: Instant::now(), interval: FIRST_INTERVAL }
    }

    fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.start.elapsed())
    }

    /// Waits a little before the next look, or fails with the state seen when it is too late for another.
    pub(crate) async fn not_yet(&mut self, state: impl Display) -> Result<()> {
        let left = self.left();
        if left.is_zero() {
            // The alternate form: anyhow then shows the causes too.
            bail!("waited {:?} in vain until {}; last seen: {state:#}", self.timeout, self.what);
        }
        sleep(self.interval.min(left)).await;
        self.interval = (self.interval * 2).min(LONGEST_INTERVAL);
        Ok(())
    }
}
