//! Claims, takes over, works on, and ends a run.

use std::time::Duration;

use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use kube::runtime::controller::Action;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::error::Error;
use super::halt::RunHalt;
use super::look::{AFTER_CONFLICT, Look};
use super::reconcile::wait;
use super::report::Named;
use super::session::{Session, release};
use super::slots::{Asked, Slot};
use dlq_crd::{DlqPolicyStatus, PolicyRun};
use dlq_drain::{Checkpoint, CheckpointError, Halt, LONGEST_OWN_WAIT, Slice, SliceEnd};
use dlq_policy::plan::due;
use dlq_policy::{Activity, CancelCause, Outcome, Progress, Start, Step, status};

/// How long a run is worked on before others get their turn and the object is read afresh.
const SLICE: Duration = Duration::from_secs(10);
/// How soon the next slice begins.
const NEXT_SLICE: Duration = Duration::from_millis(1);
/// How soon a status that names an instant which has passed is written anew: schedules may have one every second.
const SHORTEST_REFRESH: Duration = Duration::from_secs(5);
/// How soon to look again after the run was found to be another process'.
const AFTER_LOSS: Duration = Duration::from_secs(1);
/// How long a final write is tried before it is left to the next look.
const FINAL_WRITE: Duration = Duration::from_secs(5);
/// How long to wait between two tries of it.
const FINAL_WRITE_RETRY: Duration = Duration::from_millis(250);

/// An offset between our clock and Upstash's that somebody should look into.
const NOTABLE_OFFSET: SignedDuration = SignedDuration::from_secs(5);

impl Look<'_> {
    /// Claims a new run and works on it.
    pub(crate) async fn start(self, next: &DlqPolicyStatus, start: Start) -> Result<Action, Error> {
        let run = &start.run;
        drop(self.context.memory.take_session(self.reference));
        debug!(policy = %Named(self.reference), run_id = run.id, action = %run.action, dry_run = run.dry_run, "run starts");
        if self.found.facts.clock_offset.abs() > NOTABLE_OFFSET {
            let offset_ms = self.found.facts.clock_offset.as_millis();
            warn!(policy = %Named(self.reference), offset_ms, "Upstash's clock is not ours; windows follow Upstash's");
        }
        let next = status::claimed(&self.policy, next, start, &self.context.holder, self.now);
        self.take(&next).await
    }

    /// Works on the run in progress, which may be another process' until now.
    pub(crate) async fn go_on(mut self, next: DlqPolicyStatus, run: &PolicyRun) -> Result<Action, Error> {
        let (context, reference) = (self.context, self.reference);
        let Some(session) = self.session(run) else {
            let taken = status::taken_over(run, &context.holder);
            info!(policy = %Named(reference), run_id = %run.id, interruptions = taken.interruptions, "run taken over");
            let next = DlqPolicyStatus { current_run: Some(taken), ..next };
            return self.take(&next).await;
        };
        let next = DlqPolicyStatus { current_run: Some(session.progress.run().clone()), ..next };
        match self.write_unchanged(&next).await {
            Ok(true) => Box::pin(self.work(session)).await,
            outcome => {
                self.keep(session).await;
                outcome.map(|_| Action::requeue(AFTER_CONFLICT))
            }
        }
    }

    /// Ends the run in progress.
    pub(crate) async fn cancel(
        mut self,
        next: &DlqPolicyStatus,
        run: &PolicyRun,
        why: &CancelCause,
    ) -> Result<Action, Error> {
        let (context, reference) = (self.context, self.reference);
        let session = self.session(run);
        let run = session
            .as_ref()
            .map_or_else(|| status::taken_over(run, &context.holder), |session| session.progress.ended_run());
        let outcome = why.outcome(&run);
        if *why != CancelCause::Replaced {
            context.memory.leave_line(reference);
        }
        let next = status::finished(&self.policy, next, &run, &outcome, self.now);
        match self.write_unchanged(&next).await {
            Ok(true) => Ok(Action::requeue(NEXT_SLICE)),
            outcome => {
                if let Some(session) = session {
                    self.keep(session).await;
                }
                outcome.map(|_| Action::requeue(AFTER_CONFLICT))
            }
        }
    }

    /// The run as this process knows it from the slice before, if it is still this process'.
    fn session(&self, run: &PolicyRun) -> Option<Session> {
        let session = self.context.memory.take_session(self.reference)?;
        let is_this = session.progress.run().id == run.id
            && session.progress.run().start_time == run.start_time
            && session.uid == self.observed.uid();
        (is_this && run.holder.as_deref() == Some(&self.context.holder)).then_some(session)
    }

    /// Makes the run in `next` this process', and works on it. The account is looked up first: a run that is claimed
    /// can begin.
    async fn take(mut self, next: &DlqPolicyStatus) -> Result<Action, Error> {
        let again = Ok(Action::requeue(AFTER_CONFLICT));
        let (Some(run), Ok(work)) = (next.current_run.clone(), self.policy.work.clone()) else {
            return again;
        };
        let connected = match self.found.connected.take() {
            Some(connected) => connected,
            None => match self.context.connections.look(self.object().0, &work.connection).await? {
                Ok(connected) => connected,
                // The Secret went since the plan was made; the next plan says so.
                Err(_) => return again,
            },
        };
        let activity = status::activity(&self.observed.status, &run, self.now);
        let written_run = json!(self.revised(next).current_run);
        let session = Session {
            uid: self.observed.uid().to_owned(),
            stored_run: self.observed.raw_status.get("currentRun").cloned().unwrap_or_default(),
            written_run,
            progress: Progress::new(work, run, self.context.retry_limit).seen_as(activity),
            connected,
            looked_again_at: None,
            waits: self.context.metrics.run_waits(),
        };
        // Looking for the token may have taken longer than the term.
        if self.term.is_over() {
            return Ok(Action::await_change());
        }
        match self.write_unchanged(next).await {
            Ok(true) => Box::pin(self.work(session)).await,
            Ok(false) => again,
            Err(error) => {
                // It may be ours nevertheless: the next look tells, and then nothing was done that we do not know.
                self.keep(session).await;
                Err(error)
            }
        }
    }

    /// Works on the current run for a slice.
    async fn work(mut self, mut session: Session) -> Result<Action, Error> {
        let context = self.context;
        // Once for the slice: a checkpoint after the instant names the next one.
        let replaced_at = self.replaced_at();
        let (heads, policy, term) = (self.heads.clone(), self.reference.clone(), self.term.clone());
        let known = self.watched.iter().cloned().chain([self.observed.key()]).collect();
        let halt = RunHalt::new(context, heads, policy, known, term, replaced_at);
        let slot = match self.slot(&mut session, &halt).await {
            Ok(slot) => slot,
            Err(end) => return Box::pin(self.conclude(end, session, replaced_at)).await,
        };
        drop(self.turn.take());
        let client = session.connected.client.clone();
        let slice = Slice {
            client: &client,
            now: &context.clock,
            halt: &halt,
            checkpoint_interval: context.checkpoint_interval,
            length: SLICE,
            audit: context.audit,
            policy: &Named(self.reference).to_string(),
            meter: &session.waits,
            checkpoint: &mut RunCheckpoint { look: &mut self },
        };
        let end = slice.work(&mut session.progress).await;
        drop((slot, halt));
        Box::pin(self.conclude(end, session, replaced_at)).await
    }

    async fn conclude(
        self,
        end: SliceEnd,
        mut session: Session,
        replaced_at: Option<Timestamp>,
    ) -> Result<Action, Error> {
        let (context, reference) = (self.context, self.reference);
        let connection = session.progress.connection().clone();
        if let Some(written) = self.observed.raw_status.get("currentRun") {
            session.written_run = written.clone();
        }
        match end {
            SliceEnd::Finished(outcome) => {
                let refused_secret = outcome.refusal().map(|_| session.connected.secret.clone());
                Box::pin(self.finish(session, &Outcome { refused_secret, ..outcome })).await
            }
            SliceEnd::Lost => {
                warn!(policy = %Named(reference), run_id = session.progress.run().id, "the run is no longer this process'");
                Ok(Action::requeue(AFTER_LOSS))
            }
            _ if self.is_gone() => {
                // Or no longer among the policies that this process manages.
                drop(context.memory.forget(reference));
                let run = session.progress.run();
                info!(policy = %Named(reference), run_id = run.id, action = %run.action, pages = run.pages,
                    processed = run.processed, "the policy is gone, or is another's to manage: the run is left");
                release(context, reference, session).await;
                Ok(Action::await_change())
            }
            SliceEnd::Waiting(until) => {
                if session.progress.activity() == Activity::Throttled {
                    // Also a wait that began in another process.
                    session.waits.begin((context.clock)(), until);
                }
                let left = wait(until, (context.clock)());
                self.keep(session).await;
                let instant = replaced_at.map_or_else(|| self.until_refresh(), |at| self.until(Some(at)));
                Ok(Action::requeue(instant.min(left)))
            }
            SliceEnd::Yielded | SliceEnd::Halted => {
                self.keep(session).await;
                Ok(Action::requeue(NEXT_SLICE))
            }
            SliceEnd::TokenRefused(error) => {
                let namespace = self.object().0.to_owned();
                let refused = session.connected.fingerprint;
                let pages = session.progress.run().pages;
                if session.looked_again_at != Some(pages) {
                    session.looked_again_at = Some(pages);
                    let look = context.connections.look(&namespace, &connection).await;
                    let newer = look.map(|found| found.ok().filter(|newer| newer.fingerprint != refused));
                    match newer {
                        Ok(None) => {}
                        Ok(Some(newer)) => {
                            info!(policy = %Named(reference), "the token was refused; the run continues with the Secret's newer one");
                            session.connected = newer;
                            self.keep(session).await;
                            return Ok(Action::requeue(NEXT_SLICE));
                        }
                        Err(error) => {
                            session.looked_again_at = None;
                            self.keep(session).await;
                            return Err(error);
                        }
                    }
                }
                let refused_secret = Some(session.connected.secret.clone());
                let outcome = Outcome { refused_secret, ..Outcome::unauthorized(&error.to_string()) };
                Box::pin(self.finish(session, &outcome)).await
            }
            SliceEnd::Stuck(problem) => {
                self.keep(session).await;
                Err(Error::Checkpoint(problem))
            }
        }
    }

    /// Whether the policy was deleted, or is no longer among those that this process manages.
    fn is_gone(&self) -> bool {
        self.heads.get(self.reference).is_none() && !self.context.stop.is_cancelled()
    }

    /// Keeps the run for the next slice; for none where its policy is gone.
    async fn keep(&self, session: Session) {
        let memory = &self.context.memory;
        memory.keep_session(self.reference.clone(), session);
        // Looked up afterwards: the watch tells of a deletion once, and may have told before this.
        if self.is_gone()
            && let Some(session) = memory.forget(self.reference)
        {
            Box::pin(release(self.context, self.reference, session)).await;
        }
    }

    /// When the next instant ends the run, where it does.
    fn replaced_at(&self) -> Option<Timestamp> {
        self.next_instant().filter(|_| due::replaces(&self.policy, &self.observed.status))
    }

    /// When the next instant comes, which may end the run, and makes the status name another.
    fn next_instant(&self) -> Option<Timestamp> {
        self.observed.status.next_schedule_time.as_ref().map(|next| next.0)
    }

    /// How long the status of a run that waits names a time to come.
    fn until_refresh(&self) -> Duration {
        self.until(self.next_instant()).max(SHORTEST_REFRESH)
    }

    fn until(&self, time: Option<Timestamp>) -> Duration {
        time.map_or(Duration::MAX, |time| wait(time, (self.context.clock)()))
    }

    /// A slot, or what makes the run need none.
    async fn slot(&mut self, session: &mut Session, halt: &RunHalt<'_>) -> Result<Slot, SliceEnd> {
        let mut is_queued = false;
        loop {
            let now = (self.context.clock)();
            if halt.is_set() {
                return Err(SliceEnd::Halted);
            }
            let needs_none = match session.progress.next(now) {
                Step::End(outcome) => Some(SliceEnd::Finished(outcome)),
                Step::Wait(until) if wait(until, now) > LONGEST_OWN_WAIT => Some(SliceEnd::Waiting(until)),
                Step::Wait(_) | Step::Call(_) => None,
            };
            if let Some(end) = needs_none {
                self.context.memory.leave_line(self.reference);
                return Err(end);
            }
            let connection = session.connected.fingerprint;
            let mut place = match self.context.memory.take_place(self.reference, connection) {
                Some(place) => place,
                None => match self.context.slots.ask(self.object().0, connection) {
                    Asked::Granted(slot) => return Ok(slot),
                    Asked::Queued(place) => place.granted().boxed(),
                },
            };
            // Each time: the status names the next instant, and that passes.
            if !is_queued || self.next_instant().is_some_and(|next| next <= now) {
                self.tell(&session.progress, Activity::Queued).await?;
                is_queued = true;
            }
            drop(self.turn.take());
            let look_again = self.until_refresh().min(self.until(session.progress.deadline()));
            tokio::select! {
                slot = &mut place => {
                    // Who held the run when the wait began may not hold it any more.
                    self.tell(&session.progress, session.progress.activity()).await?;
                    return Ok(slot);
                }
                () = sleep(look_again) => {}
                () = halt.raised() => {}
            }
            self.context.memory.keep_place(self.reference.clone(), connection, place);
        }
    }

    /// Writes what the run does.
    async fn tell(&mut self, progress: &Progress, activity: Activity) -> Result<(), SliceEnd> {
        let (run, now) = (progress.run(), (self.context.clock)());
        let next = status::running(&self.policy, &self.observed.status, run, activity, now);
        self.save(&next).await.map_err(|error| match error {
            CheckpointError::Lost => SliceEnd::Lost,
            CheckpointError::Failed(problem) => SliceEnd::Stuck(problem),
        })
    }

    /// Writes the end of a run: run, conditions, history and totals at once.
    async fn finish(mut self, session: Session, outcome: &Outcome) -> Result<Action, Error> {
        let (context, now) = (self.context, (self.context.clock)());
        let run = session.progress.ended_run();
        let next = status::finished(&self.policy, &self.observed.status, &run, outcome, now);
        let since = Instant::now();
        loop {
            match self.save(&next).await {
                Ok(()) => return Ok(Action::requeue(NEXT_SLICE)),
                Err(CheckpointError::Lost) => {
                    // A write before this one may have been done: the next look tells.
                    if !context.memory.is_in_doubt(self.reference) {
                        warn!(policy = %Named(self.reference), run_id = session.progress.run().id, "the run ended, and is no longer this process'");
                    }
                    return Ok(Action::requeue(AFTER_LOSS));
                }
                Err(CheckpointError::Failed(problem)) if since.elapsed() >= FINAL_WRITE => {
                    self.keep(session).await;
                    return Err(Error::Checkpoint(problem));
                }
                Err(CheckpointError::Failed(problem)) => {
                    warn!(policy = %Named(self.reference), problem, "cannot write the end of the run yet");
                    sleep(FINAL_WRITE_RETRY).await;
                }
            }
        }
    }
}

/// Writes checkpoints of the run under way.
struct RunCheckpoint<'a, 'b> {
    look: &'a mut Look<'b>,
}

impl Checkpoint for RunCheckpoint<'_, '_> {
    async fn save(&mut self, run: &PolicyRun, activity: Activity) -> Result<(), CheckpointError> {
        let now = (self.look.context.clock)();
        let next = status::running(&self.look.policy, &self.look.observed.status, run, activity, now);
        self.look.save(&next).await
    }
}
