//! One run's page loop: asks [`Progress`] what comes next, sends it, folds the answer in, keeps the checkpoint.
//!
//! It knows no Kubernetes. Where checkpoints go is behind [`Checkpoint`]; what may stop it is behind [`Halt`].

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout};
use tracing::field::{Empty, display};
use tracing::{Instrument, Span, debug, info, info_span, warn};

use dlq_crd::PolicyRun;
use dlq_policy::run::progress::Failure;
use dlq_policy::{Activity, Outcome, Progress, Step};
use dlq_upstash::error::ErrorClass;
use dlq_upstash::types::{Call, Page};
use dlq_upstash::{ApiError, Client};

/// As the operator's own lines, so that one filter (`info,dlq_operator=debug`) shows all that belongs to a run.
const LOG: &str = "dlq_operator::drain";

/// A wait longer than this is handed back, so that it holds no slot.
pub const LONGEST_OWN_WAIT: Duration = Duration::from_secs(1);
/// No call is made once a due checkpoint has been failing for this long.
const LONGEST_WITHOUT_CHECKPOINT: Duration = Duration::from_secs(5);
/// How long to wait before a checkpoint that failed is tried again.
const CHECKPOINT_RETRY: Duration = Duration::from_millis(250);

/// Where a run's state is kept.
pub trait Checkpoint {
    /// Writes the run's state, if the run is still this process'.
    fn save(
        &mut self,
        run: &PolicyRun,
        activity: Activity,
    ) -> impl Future<Output = Result<(), CheckpointError>> + Send;
}

/// Why a checkpoint was not written.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CheckpointError {
    /// The run belongs to another process, has ended, or its policy is gone.
    #[error("the run is no longer this process'")]
    Lost,
    /// It may go better next time.
    #[error("cannot write the checkpoint: {0}")]
    Failed(String),
}

/// What stops a slice early.
pub trait Halt {
    /// Whether to stop, asked before each call.
    fn is_set(&self) -> bool;
    /// Waits until there may be a reason to stop; [`Halt::is_set`] tells.
    fn raised(&self) -> impl Future<Output = ()> + Send;
    /// How long a call under way may still take, once [`Halt::is_set`]. `None`: to its end, as nothing that has come
    /// speaks against it.
    fn grace(&self) -> impl Future<Output = Option<Duration>> + Send;
    /// How long a call that is made now may take at most.
    fn longest_call(&self) -> Duration;
    /// Whether another process may act by now, so that no answer is relied upon and nothing is written.
    fn is_lost(&self) -> bool;
}

/// Measures how long a run waits because Upstash asked for it.
pub trait Meter {
    /// A call is made now.
    fn calls(&self);
    /// Upstash answered 429, and the run waits.
    fn rate_limited(&self, until: Timestamp);
}

/// How a slice of a run's work ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SliceEnd {
    /// The run is over; its last state is not written yet.
    Finished(Outcome),
    /// It continues at this time.
    Waiting(Timestamp),
    /// The slice's time is up.
    Yielded,
    /// Something changed, or the process is to stop.
    Halted,
    /// The token was refused: the run continues with another or not at all.
    TokenRefused(ApiError),
    /// The run is another process'.
    Lost,
    /// The checkpoint cannot be written.
    Stuck(String),
}

/// What a slice needs beyond the run.
pub struct Slice<'a, H, C, M> {
    /// The account.
    pub client: &'a Client,
    /// The clock.
    pub now: &'a (dyn Fn() -> Timestamp + Send + Sync),
    /// What stops the slice early.
    pub halt: &'a H,
    /// Where the state goes.
    pub checkpoint: &'a mut C,
    /// How much time may pass between two checkpoints; zero: write after every page.
    pub checkpoint_interval: Duration,
    /// How long the slice may take.
    pub length: Duration,
    /// Measures waits.
    pub meter: &'a M,
    /// Whether to log the new workflow runs of each page.
    pub audit: bool,
    /// Whose run it is, for logs.
    pub policy: &'a str,
}

impl<H: Halt, C: Checkpoint, M: Meter> Slice<'_, H, C, M> {
    /// Works on a run until it ends, must wait, is stopped, or the slice's time is up. But for [`SliceEnd::Finished`],
    /// [`SliceEnd::Lost`] and [`SliceEnd::Stuck`] the state is written when this returns, unless another process may act.
    pub async fn work(mut self, progress: &mut Progress) -> SliceEnd {
        let until = Instant::now() + self.length;
        let mut due = CheckpointDue::new(self.checkpoint_interval);
        let end = loop {
            if self.halt.is_set() {
                break SliceEnd::Halted;
            }
            if Instant::now() >= until {
                break SliceEnd::Yielded;
            }
            match progress.next((self.now)()) {
                Step::End(outcome) => return SliceEnd::Finished(outcome),
                Step::Wait(time) => {
                    let wait = Duration::try_from(time.duration_since((self.now)())).unwrap_or_default();
                    if wait > LONGEST_OWN_WAIT {
                        break SliceEnd::Waiting(time);
                    }
                    self.pause(wait).await;
                }
                // It was thawed just now: others may act.
                Step::Call(_) if self.halt.longest_call().is_zero() => break SliceEnd::Halted,
                Step::Call(call) => match self.call(progress, &call).await {
                    None => due.landed(),
                    Some(end) => break end,
                },
            }
            if due.is_due() {
                due.trying();
                match self.checkpoint.save(progress.run(), progress.activity()).await {
                    Ok(()) => due.saved(),
                    Err(CheckpointError::Lost) => return SliceEnd::Lost,
                    Err(CheckpointError::Failed(problem)) => {
                        warn!(target: LOG, policy = self.policy, run_id = progress.run().id, problem, "checkpoint failed");
                        due.failed();
                        if due.failed_for() >= LONGEST_WITHOUT_CHECKPOINT {
                            return SliceEnd::Stuck(problem);
                        }
                    }
                }
            }
        };
        self.settle(progress, end).await
    }

    /// Writes the state before handing back.
    async fn settle(&mut self, progress: &Progress, end: SliceEnd) -> SliceEnd {
        let since = Instant::now();
        loop {
            if self.halt.is_lost() {
                return SliceEnd::Halted;
            }
            match self.checkpoint.save(progress.run(), progress.activity()).await {
                Ok(()) => return end,
                Err(CheckpointError::Lost) => return SliceEnd::Lost,
                Err(CheckpointError::Failed(problem)) if since.elapsed() >= LONGEST_WITHOUT_CHECKPOINT => {
                    return SliceEnd::Stuck(problem);
                }
                Err(CheckpointError::Failed(problem)) => {
                    warn!(target: LOG, policy = self.policy, run_id = progress.run().id, problem, "checkpoint failed");
                    sleep(CHECKPOINT_RETRY).await;
                }
            }
        }
    }

    async fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait;
        while !self.halt.is_set() && Instant::now() < until {
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = self.halt.raised() => {}
            }
        }
    }

    /// The span of one call.
    fn page_span(&self, run: &PolicyRun, call: &Call) -> Span {
        info_span!(
            target: "trace",
            "page",
            otel.client = true,
            policy = self.policy,
            run_id = run.id,
            action = %run.action,
            operation = %call.operation(),
            page = run.pages + 1,
            entries = Empty,
            processed = Empty,
            otel.error = Empty
        )
    }

    /// Sends one call and folds its answer in.
    async fn call(&self, progress: &mut Progress, call: &Call) -> Option<SliceEnd> {
        self.meter.calls();
        let started = Instant::now();
        let span = self.page_span(progress.run(), call);
        let answer = match self.send(call).instrument(span.clone()).await {
            Some(Ok(answer)) => answer,
            Some(Err(problem)) => {
                span.record("otel.error", display(&problem));
                progress.unsendable(&problem.to_string());
                return None;
            }
            None => {
                span.record("otel.error", "abandoned");
                info!(target: LOG, policy = self.policy, run_id = progress.run().id, operation = %call.operation(), "call abandoned");
                progress.abandoned(call, (self.now)());
                return Some(SliceEnd::Halted);
            }
        };
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match answer {
            Ok(page) => {
                progress.answered(call, &page, (self.now)());
                let run = progress.run();
                span.record("entries", page.entries).record("processed", run.processed);
                debug!(target: LOG, policy = self.policy, run_id = run.id, action = %run.action, operation = %call.operation(),
                    page = run.pages, entries = page.entries, processed = run.processed, duration_ms, "page");
                if self.audit && call.operation().acts() {
                    let ids = serde_json::Value::from(page.workflow_run_ids.clone());
                    info!(target: "audit", policy = self.policy, run_id = run.id, action = %run.action,
                        generation = run.generation, trigger = run.trigger.as_str(), requested_by = run.requested_by,
                        request_reason = run.request_reason, page = run.pages, entries = page.entries,
                        processed = run.processed, duration_ms, workflow_run_ids = %ids, "page acknowledged");
                }
                None
            }
            Err(error) => {
                span.record("otel.error", display(&error));
                let run = progress.run();
                warn!(target: LOG, policy = self.policy, run_id = run.id, action = %run.action, operation = %call.operation(),
                    duration_ms, %error, "call failed");
                match progress.failed(call, &error, (self.now)(), fastrand::f64()) {
                    Failure::GoOn => {
                        let until =
                            progress.run().waiting_until.filter(|_| error.class == ErrorClass::RateLimited);
                        if let Some(until) = until {
                            self.meter.rate_limited(until.timestamp());
                        }
                        None
                    }
                    Failure::TokenRefused => Some(SliceEnd::TokenRefused(error)),
                }
            }
        }
    }

    /// The answer, or `None` when the call was given up on: after something ended the run it may take its grace time and
    /// no longer. One that comes when another process may act is as good as none.
    async fn send(
        &self,
        call: &Call,
    ) -> Option<Result<Result<Page, ApiError>, dlq_upstash::request::RequestError>> {
        let answer = timeout(self.halt.longest_call(), self.client.send(call, (self.now)()));
        tokio::pin!(answer);
        let answer = loop {
            tokio::select! {
                answer = &mut answer => break answer.ok(),
                () = self.halt.raised() => {}
            }
            if self.halt.is_set() {
                let grace = tokio::select! {
                    answer = &mut answer => break answer.ok(),
                    grace = self.halt.grace() => grace,
                };
                if let Some(grace) = grace {
                    break timeout(grace, answer).await.ok().and_then(Result::ok);
                }
            }
        };
        answer.filter(|_| !self.halt.is_lost())
    }
}

/// When the next checkpoint is due: a page has landed, and the last write is long enough ago.
struct CheckpointDue {
    interval: Duration,
    saved: Instant,
    unsaved: bool,
    failing_since: Option<Instant>,
    tried: Option<Instant>,
}

impl CheckpointDue {
    fn new(interval: Duration) -> Self {
        Self { interval, saved: Instant::now(), unsaved: false, failing_since: None, tried: None }
    }

    fn landed(&mut self) {
        self.unsaved = true;
    }

    /// After a failure not for every page: a server in trouble must not be asked as often as Upstash answers.
    fn is_due(&self) -> bool {
        let is_soon = self.tried.is_some_and(|tried| tried.elapsed() < CHECKPOINT_RETRY)
            && self.failed_for() < LONGEST_WITHOUT_CHECKPOINT;
        self.unsaved && self.saved.elapsed() >= self.interval && !is_soon
    }

    fn saved(&mut self) {
        *self = Self::new(self.interval);
    }

    fn trying(&mut self) {
        self.failing_since.get_or_insert_with(Instant::now);
    }

    fn failed(&mut self) {
        self.tried = Some(Instant::now());
    }

    fn failed_for(&self) -> Duration {
        self.failing_since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}
