//! A candidate whose clocks can be wrong and whose tasks can be stopped.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use dlq_operator::runtime::clock::{Clock, Moment, SystemClock};
use dlq_operator::runtime::leadership::{Leadership, Term};
use dlq_operator::runtime::lease::{Elector, LeaseOptions};
use kube::Client;
use testbed::eventually;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{LEASE, NAME};
use crate::scene::PATIENCE;

/// The machine's clocks, the wall clock wrong by so many seconds.
struct SkewedClock {
    clock: SystemClock,
    seconds: AtomicI64,
}

impl Clock for SkewedClock {
    fn moment(&self) -> Moment {
        let now = self.clock.moment();
        let skew = jiff::SignedDuration::from_secs(self.seconds.load(Ordering::Relaxed));
        Moment { wall: now.wall + skew, ..now }
    }
}

/// A future that can be frozen, as a process is by SIGSTOP: its clocks go on, its tasks do not.
struct Freezable<F> {
    future: Pin<Box<F>>,
    frost: Arc<Frost>,
}

#[derive(Default)]
struct Frost {
    is_on: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl<F: Future> Future for Freezable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        *self.frost.waker.lock().unwrap() = Some(context.waker().clone());
        if self.frost.is_on.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        self.future.as_mut().poll(context)
    }
}

pub(super) struct Candidate {
    pub(super) identity: String,
    pub(super) leadership: Leadership,
    frost: Arc<Frost>,
    clock: Arc<SkewedClock>,
    stop_leading: CancellationToken,
    task: JoinHandle<()>,
}

impl Drop for Candidate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Candidate {
    pub(super) fn start(client: Client, namespace: &str, identity: &str, skew: i64) -> Self {
        let clock = Arc::new(SkewedClock { clock: SystemClock::start(), seconds: AtomicI64::new(skew) });
        let options = LeaseOptions {
            namespace: namespace.to_owned(),
            name: NAME.to_owned(),
            identity: identity.to_owned(),
            duration: LEASE,
        };
        let elector = Elector::new(client, options, Arc::<SkewedClock>::clone(&clock));
        let (leadership, stop_leading) = (elector.leadership(), CancellationToken::new());
        let frost = Arc::new(Frost::default());
        let run = Box::pin(elector.run(stop_leading.clone()));
        let task = tokio::spawn(Freezable { future: run, frost: Arc::clone(&frost) });
        Self { identity: identity.to_owned(), leadership, frost, clock, stop_leading, task }
    }

    pub(super) fn leads(&self) -> bool {
        self.leadership.term().is_some()
    }

    pub(super) async fn term(&self) -> Term {
        let what = format!("{} leads", self.identity);
        eventually(PATIENCE, &what, async || self.leadership.term()).await.unwrap()
    }

    pub(super) async fn release(&mut self) {
        self.stop_leading.cancel();
        (&mut self.task).await.unwrap();
    }

    /// Stops its tasks, and nothing else.
    pub(super) fn freeze(&self) {
        self.frost.is_on.store(true, Ordering::SeqCst);
    }

    pub(super) fn thaw(&self) {
        self.frost.is_on.store(false, Ordering::SeqCst);
        if let Some(waker) = self.frost.waker.lock().unwrap().take() {
            waker.wake();
        }
    }

    /// Sets its wall clock, which its monotonic clock knows nothing of.
    pub(super) fn set_wall_clock_forward(&self, seconds: i64) {
        self.clock.seconds.fetch_add(seconds, Ordering::SeqCst);
    }
}
