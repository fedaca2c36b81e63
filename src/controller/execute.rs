//! Claims, takes over, works on, and ends a run.

use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::runtime::reflector::Store;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::connections::Connected;
use super::context::{Context, PolicyRef, Slot};
use super::error::Error;
use super::halt::RunHalt;
use super::head::PolicyHead;
use super::observe::{Observed, decode};
use super::persist::{PersistError, Precondition};
use super::reconcile::wait;
use crate::crd::{DlqPolicyStatus, PolicyRun};
use crate::drain::{Checkpoint, CheckpointError, Halt, Slice, SliceEnd};
use crate::policy::{Activity, Ending, Note, Plan, Policy, Progress, status};

/// How long a run is worked on before others get their turn and the object is read afresh.
const SLICE: Duration = Duration::from_secs(10);
/// How soon the next slice begins.
const NEXT_SLICE: Duration = Duration::from_millis(1);
/// How soon to look again after somebody else was faster.
const AFTER_CONFLICT: Duration = Duration::from_millis(100);
/// How soon to look again after the run was found to be another process'.
const AFTER_LOSS: Duration = Duration::from_secs(1);
/// How long a final write is tried before it is left to the next look.
const FINAL_WRITE: Duration = Duration::from_secs(5);

/// A run that this process works on, between two slices.
pub(crate) struct Session {
    run_id: String,
    uid: String,
    progress: Progress,
    connected: Connected,
    /// The Secret was read again after a refusal.
    looked_again: bool,
}

/// A look at a policy that has a run.
pub(crate) struct Execution<'a> {
    pub(crate) context: &'a Context,
    pub(crate) reference: &'a PolicyRef,
    pub(crate) policy: Policy,
    pub(crate) observed: Observed,
    /// The account, if somebody looked for it already.
    pub(crate) connected: Option<Connected>,
    pub(crate) heads: Store<PolicyHead>,
}

/// Executes a plan that has a run.
pub(crate) async fn run(mut execution: Execution<'_>, plan: Plan, now: Timestamp) -> Result<Action, Error> {
    let (context, reference) = (execution.context, execution.reference);
    let (next, mut notes) = status::observed(&execution.policy, &execution.observed.status, &plan, now);
    match plan {
        Plan::Start { run, missed } => {
            info!(policy = %reference, run_id = %run.id, action = %run.action, dry_run = run.dry_run, "run starts");
            let (next, more) = status::claimed(&execution.policy, &next, run, missed, &context.holder, now);
            notes.extend(more);
            execution.take(&next, notes).await
        }
        Plan::Continue { run } => {
            let Some(session) = execution.session(&run) else {
                let taken = status::taken_over(&run, &context.holder);
                info!(policy = %reference, run_id = %run.id, interruptions = taken.interruptions, "run taken over");
                let next = DlqPolicyStatus { current_run: Some(taken), ..next };
                return execution.take(&next, notes).await;
            };
            let next = DlqPolicyStatus { current_run: Some(session.progress.run().clone()), ..next };
            match execution.write_unchanged(&next, notes).await {
                Ok(true) => Box::pin(execution.work(session)).await,
                outcome => {
                    context.memory.keep_session(reference.clone(), session);
                    outcome.map(|_| Action::requeue(AFTER_CONFLICT))
                }
            }
        }
        Plan::Cancel { run, why } => {
            let session = execution.session(&run);
            let run = session.as_ref().map_or_else(
                || status::taken_over(&run, &context.holder),
                |session| session.progress.run().clone(),
            );
            let ending = Ending::cancelled(why.message());
            let (next, more) = status::finished(&execution.policy, &next, &run, &ending, now);
            notes.extend(more);
            match execution.write_unchanged(&next, notes).await {
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
        Plan::Invalid(_)
        | Plan::Suspended
        | Plan::Paused
        | Plan::CircuitOpen
        | Plan::Waiting { .. }
        | Plan::Idle { .. }
        | Plan::Missed { .. } => Ok(Action::requeue(NEXT_SLICE)),
    }
}

/// Gives back all runs that wait for their next slice, so that whoever takes them over knows that their counts are
/// whole. For a clean stop, when nothing is worked on any more.
pub(crate) async fn release_all(context: &Context) {
    join_all(context.memory.drain_sessions().into_iter().map(async |(policy, session)| {
        let mut run = session.progress.run().clone();
        run.holder = Some(String::new());
        let object =
            (policy.namespace.as_deref().unwrap_or_default(), policy.name.as_str(), session.uid.as_str());
        if let Err(problem) = context.status.release(object, &run, &context.holder).await {
            warn!(%policy, run_id = session.run_id, %problem, "cannot give the run back");
        }
    }))
    .await;
}

impl Execution<'_> {
    fn object(&self) -> (&str, &str, &str) {
        let namespace = self.reference.namespace.as_deref().unwrap_or_default();
        (namespace, self.reference.name.as_str(), self.observed.uid())
    }

    /// Writes a decision on what was read. `false` when somebody wrote in between.
    async fn write_unchanged(&mut self, next: &DlqPolicyStatus, notes: Vec<Note>) -> Result<bool, Error> {
        let resource_version = self.observed.metadata.resource_version.as_deref().unwrap_or_default();
        let unchanged = Precondition::Unchanged { resource_version };
        let status = &self.context.status;
        match status.write(self.object(), &self.observed.raw_status, next, unchanged).await {
            Ok(written) => {
                self.note_written(next, written);
                self.context.events.publish(self.reference, Some(self.observed.uid()), notes).await;
                Ok(true)
            }
            Err(PersistError::Conflict) => Ok(false),
            Err(error) => Err(Error::Persist(error)),
        }
    }

    /// Keeps what was written, so that the next write knows what differs.
    fn note_written(&mut self, next: &DlqPolicyStatus, written: Option<kube::api::DynamicObject>) {
        if let Some(object) = written {
            let written = decode(object);
            self.observed.metadata.resource_version = written.metadata.resource_version;
            self.observed.raw_status = written.raw_status;
        }
        self.observed.status = next.clone();
    }

    /// The run as this process knows it from the slice before, if it is still this process'.
    fn session(&self, run: &PolicyRun) -> Option<Session> {
        let session = self.context.memory.take_session(self.reference)?;
        (session.run_id == run.id && run.holder.as_deref() == Some(&self.context.holder)).then_some(session)
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
        if !self.write_unchanged(next, notes).await? {
            return again;
        }
        let session = Session {
            run_id: run.id.clone(),
            uid: self.observed.uid().to_owned(),
            progress: Progress::new(work, run, self.context.retry_limit),
            connected,
            looked_again: false,
        };
        Box::pin(self.work(session)).await
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
        let slot = match self.slot(&session, &halt).await {
            Ok(Some(slot)) => slot,
            stopped => {
                context.memory.keep_session(self.reference.clone(), session);
                return stopped.map(|_| Action::requeue(NEXT_SLICE));
            }
        };
        let client = session.connected.client.clone();
        let slice = Slice {
            client: &client,
            now: &context.clock,
            halt: &halt,
            checkpoint_interval: context.checkpoint_interval,
            length: SLICE,
            audit: context.audit,
            checkpoint: &mut RunCheckpoint { execution: &mut self },
        };
        let end = slice.work(&mut session.progress).await;
        drop((slot, halt));
        Box::pin(self.conclude(end, session)).await
    }

    async fn conclude(self, end: SliceEnd, mut session: Session) -> Result<Action, Error> {
        let (context, reference) = (self.context, self.reference);
        let connection = session.progress.connection().clone();
        let keep = |session| context.memory.keep_session(reference.clone(), session);
        match end {
            SliceEnd::Finished(ending) => {
                if session.progress.run().pages > 0 {
                    context.connections.accept(self.object().0, &connection);
                }
                self.finish(session, &ending).await
            }
            SliceEnd::Waiting(until) => {
                keep(session);
                Ok(Action::requeue(wait(until, (context.clock)())))
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

    /// A slot; `None` when something stopped the wait for it.
    async fn slot(&mut self, session: &Session, halt: &RunHalt<'_>) -> Result<Option<Slot>, Error> {
        let slots = &self.context.slots;
        let connection = session.connected.fingerprint;
        if let Some(slot) = slots.try_take(connection) {
            return Ok(Some(slot));
        }
        let (run, now) = (session.progress.run(), (self.context.clock)());
        let queued = status::running(&self.policy, &self.observed.status, run, Activity::Queued, now);
        match self.save(&queued).await {
            Ok(()) => {}
            Err(CheckpointError::Lost) => return Ok(None),
            Err(CheckpointError::Failed(problem)) => return Err(Error::Checkpoint(problem)),
        }
        let taken = slots.take(connection);
        tokio::pin!(taken);
        while !halt.is_set() {
            tokio::select! {
                slot = &mut taken => return Ok(slot),
                () = halt.raised() => {}
            }
        }
        Ok(None)
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

    /// Writes a state of our run.
    async fn save(&mut self, next: &DlqPolicyStatus) -> Result<(), CheckpointError> {
        let id = self.observed.status.current_run.as_ref().map(|run| run.id.clone()).unwrap_or_default();
        let ours = Precondition::OurRun { id: &id, holder: &self.context.holder };
        match self.context.status.write(self.object(), &self.observed.raw_status, next, ours).await {
            Ok(written) => {
                self.note_written(next, written);
                Ok(())
            }
            Err(PersistError::Conflict) => Err(CheckpointError::Lost),
            Err(PersistError::Timeout) => {
                // It may have been written: what differs is no longer known, so everything is written next time.
                self.observed.raw_status = Value::Object(serde_json::Map::new());
                Err(CheckpointError::Failed("no answer from the API server in time".to_owned()))
            }
            Err(error) => Err(CheckpointError::Failed(error.to_string())),
        }
    }
}

/// Writes checkpoints of the run under way.
struct RunCheckpoint<'a, 'b> {
    execution: &'a mut Execution<'b>,
}

impl Checkpoint for RunCheckpoint<'_, '_> {
    async fn save(&mut self, run: &PolicyRun, activity: Activity) -> Result<(), CheckpointError> {
        let now = (self.execution.context.clock)();
        let next =
            status::running(&self.execution.policy, &self.execution.observed.status, run, activity, now);
        self.execution.save(&next).await
    }
}
