//! Claims, takes over, works on, and ends a run.

use std::time::Duration;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use kube::runtime::controller::Action;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::connections::Connected;
use super::context::{Context, PolicyRef};
use super::error::Error;
use super::halt::RunHalt;
use super::look::{AFTER_CONFLICT, Look, Missed, Planned};
use super::persist::PersistError;
use super::reconcile::wait;
use super::slots::{Asked, Slot};
use crate::crd::{ConcurrencyPolicy, DlqPolicyStatus, PolicyRun, Reason};
use crate::drain::{Checkpoint, CheckpointError, Halt, Slice, SliceEnd};
use crate::policy::{Activity, CancelCause, Ending, Note, Progress, status};

/// How long a run is worked on before others get their turn and the object is read afresh.
const SLICE: Duration = Duration::from_secs(10);
/// How soon the next slice begins.
const NEXT_SLICE: Duration = Duration::from_millis(1);
/// How soon to look again after the run was found to be another process'.
const AFTER_LOSS: Duration = Duration::from_secs(1);
/// How long a final write is tried before it is left to the next look.
const FINAL_WRITE: Duration = Duration::from_secs(5);

/// An offset between our clock and Upstash's that somebody should look into.
const NOTABLE_OFFSET: SignedDuration = SignedDuration::from_secs(5);

/// A run that this process works on, between two slices.
pub(crate) struct Session {
    run_id: String,
    uid: String,
    progress: Progress,
    connected: Connected,
    /// The Secret was read again after a refusal.
    looked_again: bool,
}

impl Look<'_> {
    /// Claims a new run and works on it.
    pub(crate) async fn start(
        self,
        planned: Planned,
        run: PolicyRun,
        missed: Missed,
    ) -> Result<Action, Error> {
        let Planned { next, mut notes } = planned;
        drop(self.context.memory.take_session(self.reference));
        info!(policy = %self.reference, run_id = %run.id, action = %run.action, dry_run = run.dry_run, "run starts");
        if self.policy.clock_offset.abs() > NOTABLE_OFFSET {
            let offset_ms = self.policy.clock_offset.as_millis();
            warn!(policy = %self.reference, offset_ms, "Upstash's clock is not ours; windows follow Upstash's");
        }
        let (next, more) = status::claimed(&self.policy, &next, run, missed, &self.context.holder, self.now);
        notes.extend(more);
        self.take(&next, notes).await
    }

    /// Works on the run that goes on, which may be another process' until now.
    pub(crate) async fn go_on(mut self, planned: Planned, run: &PolicyRun) -> Result<Action, Error> {
        let Planned { next, notes } = planned;
        let (context, reference) = (self.context, self.reference);
        let Some(session) = self.session(run) else {
            let taken = status::taken_over(run, &context.holder);
            info!(policy = %reference, run_id = %run.id, interruptions = taken.interruptions, "run taken over");
            let next = DlqPolicyStatus { current_run: Some(taken), ..next };
            return self.take(&next, notes).await;
        };
        let next = DlqPolicyStatus { current_run: Some(session.progress.run().clone()), ..next };
        match self.write_unchanged(&next, notes).await {
            Ok(true) => Box::pin(self.work(session)).await,
            outcome => {
                context.memory.keep_session(reference.clone(), session);
                outcome.map(|_| Action::requeue(AFTER_CONFLICT))
            }
        }
    }

    /// Ends the run that goes on.
    pub(crate) async fn cancel(
        mut self,
        planned: Planned,
        run: &PolicyRun,
        why: &CancelCause,
    ) -> Result<Action, Error> {
        let Planned { next, mut notes } = planned;
        let (context, reference) = (self.context, self.reference);
        let session = self.session(run);
        let run = session.as_ref().map_or_else(
            || status::taken_over(run, &context.holder),
            |session| session.progress.run().clone(),
        );
        let ending = Ending::cancelled(why.message());
        let (next, more) = status::finished(&self.policy, &next, &run, &ending, self.now);
        notes.extend(more);
        match self.write_unchanged(&next, notes).await {
            Ok(true) => {
                info!(policy = %reference, run_id = %run.id, processed = run.processed, "{}", ending.message);
                Ok(Action::requeue(NEXT_SLICE))
            }
            outcome => {
                if let Some(session) = session {
                    context.memory.keep_session(reference.clone(), session);
                }
                outcome.map(|_| Action::requeue(AFTER_CONFLICT))
            }
        }
    }

    /// The run as this process knows it from the slice before, if it is still this process'.
    fn session(&self, run: &PolicyRun) -> Option<Session> {
        let session = self.context.memory.take_session(self.reference)?;
        let is_this = session.run_id == run.id && session.uid == self.observed.uid();
        (is_this && run.holder.as_deref() == Some(&self.context.holder)).then_some(session)
    }

    /// Makes the run in `next` this process', and works on it. The account is looked up first: a run that is claimed
    /// can begin.
    async fn take(mut self, next: &DlqPolicyStatus, notes: Vec<Note>) -> Result<Action, Error> {
        let again = Ok(Action::requeue(AFTER_CONFLICT));
        let (Some(run), Ok(work)) = (next.current_run.clone(), self.policy.work.clone()) else {
            return again;
        };
        let connected = match self.connected.take() {
            Some(connected) => connected,
            None => match self.context.connections.look(self.object().0, &work.connection).await? {
                Ok(connected) => connected,
                // The Secret went since the plan was made; the next plan says so.
                Err(_) => return again,
            },
        };
        let activity = status::activity(&self.observed.status, &run, self.now);
        let session = Session {
            run_id: run.id.clone(),
            uid: self.observed.uid().to_owned(),
            progress: Progress::new(work, run, self.context.retry_limit).seen_as(activity),
            connected,
            looked_again: false,
        };
        match self.write_unchanged(next, notes).await {
            Ok(true) => Box::pin(self.work(session)).await,
            Ok(false) => again,
            Err(error) => {
                // It may be ours all the same: the next look tells, and then nothing was done that we do not know.
                self.context.memory.keep_session(self.reference.clone(), session);
                Err(error)
            }
        }
    }

    /// Works on the current run for a slice.
    async fn work(mut self, mut session: Session) -> Result<Action, Error> {
        let context = self.context;
        let halt = RunHalt::new(
            &context.memory,
            context.stop.clone(),
            self.heads.clone(),
            self.reference.clone(),
            self.observed.key(),
        );
        // Once for the slice: a checkpoint after the instant names the next one.
        let replaced_at = self.replaced_at();
        let slot = match self.slot(&session, &halt).await {
            Ok(slot) => slot,
            Err(end) => return Box::pin(self.conclude(end, session, replaced_at)).await,
        };
        let client = session.connected.client.clone();
        let slice = Slice {
            client: &client,
            now: &context.clock,
            halt: &halt,
            checkpoint_interval: context.checkpoint_interval,
            length: self.until(replaced_at).min(SLICE),
            audit: context.audit,
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
        let keep = |session| context.memory.keep_session(reference.clone(), session);
        match end {
            SliceEnd::Finished(ending) => {
                let namespace = self.object().0;
                if matches!(ending.reason, Reason::Unauthorized | Reason::Forbidden) {
                    context.connections.refuse(namespace, &connection, session.connected.fingerprint);
                } else if session.progress.run().pages > 0 && !session.progress.run().dry_run {
                    // A dry run tells nothing of what the token may do.
                    context.connections.accept(namespace, &connection, session.connected.fingerprint);
                }
                self.finish(session, &ending).await
            }
            SliceEnd::Waiting(until) => {
                let left = wait(until, (context.clock)());
                keep(session);
                Ok(Action::requeue(self.until(replaced_at).min(left)))
            }
            SliceEnd::Halted if self.heads.get(reference).is_none() && !context.stop.is_cancelled() => {
                // Gone, or no longer among the policies that this process looks after.
                release(context, reference, session).await;
                Ok(Action::await_change())
            }
            SliceEnd::Yielded | SliceEnd::Halted => {
                keep(session);
                Ok(Action::requeue(NEXT_SLICE))
            }
            SliceEnd::TokenRefused(error) => {
                let namespace = self.object().0.to_owned();
                let refused = session.connected.fingerprint;
                if !session.looked_again {
                    session.looked_again = true;
                    let look = context.connections.look(&namespace, &connection).await;
                    let newer = look.map(|found| found.ok().filter(|newer| newer.fingerprint != refused));
                    match newer {
                        Ok(None) => {}
                        Ok(Some(newer)) => {
                            info!(policy = %reference, "the token was refused; the run goes on with the Secret's newer one");
                            session.connected = newer;
                            keep(session);
                            return Ok(Action::requeue(NEXT_SLICE));
                        }
                        Err(error) => {
                            session.looked_again = false;
                            keep(session);
                            return Err(error);
                        }
                    }
                }
                context.connections.refuse(&namespace, &connection, refused);
                self.finish(session, &Ending::unauthorized(&error.to_string())).await
            }
            SliceEnd::Lost => {
                warn!(policy = %reference, run_id = session.run_id, "the run is no longer this process'");
                Ok(Action::requeue(AFTER_LOSS))
            }
            SliceEnd::Stuck(problem) => {
                keep(session);
                Err(Error::Checkpoint(problem))
            }
        }
    }

    /// When the next instant ends the run, where it does.
    fn replaced_at(&self) -> Option<Timestamp> {
        let replaces = self.policy.concurrency == ConcurrencyPolicy::Replace;
        self.observed.status.next_schedule_time.as_ref().filter(|_| replaces).map(|next| next.0)
    }

    fn until(&self, time: Option<Timestamp>) -> Duration {
        time.map_or(Duration::MAX, |time| wait(time, (self.context.clock)()))
    }

    /// A slot, or what ended the wait for it.
    async fn slot(&mut self, session: &Session, halt: &RunHalt<'_>) -> Result<Slot, SliceEnd> {
        let place = match self.context.slots.ask(self.object().0, session.connected.fingerprint) {
            Asked::Granted(slot) => return Ok(slot),
            Asked::Queued(place) => place,
        };
        let replaced_at = self.replaced_at();
        self.tell(session, Activity::Queued).await?;
        let granted = place.granted();
        tokio::pin!(granted);
        while !halt.is_set() {
            // No longer than that: who leaves the line comes back behind everybody else.
            if replaced_at.is_some_and(|at| at <= (self.context.clock)()) {
                return Err(SliceEnd::Yielded);
            }
            tokio::select! {
                slot = &mut granted => {
                    // Who held the run when the wait began may not hold it any more.
                    self.tell(session, session.progress.activity()).await?;
                    return Ok(slot);
                }
                () = sleep(self.until(replaced_at)) => {}
                () = halt.raised() => {}
            }
        }
        Err(SliceEnd::Halted)
    }

    /// Writes what the run does.
    async fn tell(&mut self, session: &Session, activity: Activity) -> Result<(), SliceEnd> {
        let (run, now) = (session.progress.run(), (self.context.clock)());
        let next = status::running(&self.policy, &self.observed.status, run, activity, now);
        self.save(&next).await.map_err(|error| match error {
            CheckpointError::Lost => SliceEnd::Lost,
            CheckpointError::Failed(problem) => SliceEnd::Stuck(problem),
        })
    }

    /// Writes the end of a run: run, conditions, history and totals at once.
    async fn finish(mut self, session: Session, ending: &Ending) -> Result<Action, Error> {
        let (context, now) = (self.context, (self.context.clock)());
        let run = session.progress.run();
        let (next, notes) = status::finished(&self.policy, &self.observed.status, run, ending, now);
        let duration_ms = now.duration_since(run.start_time.timestamp()).as_millis();
        let since = Instant::now();
        loop {
            match self.save(&next).await {
                Ok(()) => break,
                Err(CheckpointError::Lost) => {
                    warn!(policy = %self.reference, run_id = run.id, "the run ended, and is no longer this process'");
                    return Ok(Action::requeue(AFTER_LOSS));
                }
                Err(CheckpointError::Failed(problem)) if since.elapsed() >= FINAL_WRITE => {
                    context.memory.keep_session(self.reference.clone(), session);
                    return Err(Error::Checkpoint(problem));
                }
                Err(CheckpointError::Failed(problem)) => {
                    warn!(policy = %self.reference, problem, "cannot write the end of the run yet");
                    sleep(AFTER_CONFLICT).await;
                }
            }
        }
        info!(policy = %self.reference, run_id = run.id, action = %run.action, result = %ending.result,
            reason = %ending.reason, pages = run.pages, processed = run.processed, duration_ms, "{}", ending.message);
        context.events.publish(self.reference, Some(self.observed.uid()), notes).await;
        Ok(Action::requeue(NEXT_SLICE))
    }
}

/// Gives back all runs that wait for their next slice. For a clean stop, when nothing is worked on any more.
pub(crate) async fn release_all(context: &Context) {
    let sessions = context.memory.drain_sessions();
    join_all(
        sessions.into_iter().map(|(policy, session)| async move { release(context, &policy, session).await }),
    )
    .await;
}

/// Gives a run back, so that whoever takes it over knows that its counts are whole.
pub(crate) async fn release(context: &Context, policy: &PolicyRef, session: Session) {
    let mut run = session.progress.run().clone();
    run.holder = Some(String::new());
    let object =
        (policy.namespace.as_deref().unwrap_or_default(), policy.name.as_str(), session.uid.as_str());
    match context.status.release(object, &run, &context.holder).await {
        // A conflict: there is nothing left to give back.
        Ok(()) | Err(PersistError::Conflict) => {}
        Err(problem) => warn!(%policy, run_id = session.run_id, %problem, "cannot give the run back"),
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
