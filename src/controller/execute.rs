//! Claims, takes over, works on, and ends a run.

use std::time::Duration;

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
use crate::policy::{Activity, Ending, Note, Plan, Policy, Progress, Work, status};
use crate::upstash::ApiError;

/// How long a run is worked on before others get their turn and the object is read afresh.
const SLICE: Duration = Duration::from_secs(10);
/// How soon the next slice begins.
const NEXT_SLICE: Duration = Duration::from_millis(1);
/// How soon to look again after somebody else was faster.
const AFTER_CONFLICT: Duration = Duration::from_millis(100);
/// How long a final write is tried before it is left to the next look.
const FINAL_WRITE: Duration = Duration::from_secs(5);

/// A run that this process works on, between two slices.
pub(crate) struct Session {
    run_id: String,
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
    pub(crate) heads: Store<PolicyHead>,
}

/// Executes a plan that has a run.
pub(crate) async fn run(mut execution: Execution<'_>, plan: Plan, now: Timestamp) -> Result<Action, Error> {
    let context = execution.context;
    let (next, mut notes) = status::observed(&execution.policy, &execution.observed.status, &plan, now);
    match plan {
        Plan::Start { run, missed } => {
            info!(policy = %execution.reference, run_id = %run.id, action = %run.action, dry_run = run.dry_run, "run starts");
            let (next, more) = status::claimed(&execution.policy, &next, run, missed, &context.holder, now);
            notes.extend(more);
            if !execution.write_unchanged(&next, notes).await? {
                return Ok(Action::requeue(AFTER_CONFLICT));
            }
        }
        Plan::Continue { run } => {
            let taken = status::taken_over(&run, &context.holder);
            let next = DlqPolicyStatus { current_run: Some(taken), ..next };
            if !execution.write_unchanged(&next, notes).await? {
                return Ok(Action::requeue(AFTER_CONFLICT));
            }
        }
        Plan::Cancel { run, why } => {
            context.memory.take_session(execution.reference);
            let run = status::taken_over(&run, &context.holder);
            let (next, more) =
                status::finished(&execution.policy, &next, &run, &Ending::cancelled(why.message()), now);
            info!(policy = %execution.reference, run_id = %run.id, processed = run.processed, "{}", why.message());
            notes.extend(more);
            execution.write_unchanged(&next, notes).await?;
            return Ok(Action::requeue(NEXT_SLICE));
        }
        _ => return Ok(Action::requeue(NEXT_SLICE)),
    }
    execution.work().await
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

    /// Works on the current run for a slice.
    async fn work(mut self) -> Result<Action, Error> {
        let context = self.context;
        let (Some(run), Ok(work)) = (self.observed.status.current_run.clone(), self.policy.work.clone())
        else {
            return Ok(Action::requeue(NEXT_SLICE));
        };
        let mut session = match self.session(&run, &work).await? {
            Some(session) => session,
            None => return Ok(Action::requeue(AFTER_CONFLICT)),
        };
        let halt = RunHalt::new(
            &context.memory,
            context.stop.clone(),
            self.heads.clone(),
            self.reference.clone(),
            self.observed.key(),
        );
        let Some(slot) = self.slot(&session, &halt).await? else {
            context.memory.keep_session(self.reference.clone(), session);
            return self.release_if_stopping(&halt).await;
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
        drop(slot);
        self.conclude(end, session, &work, &halt).await
    }

    async fn conclude(
        self,
        end: SliceEnd,
        mut session: Session,
        work: &Work,
        halt: &RunHalt<'_>,
    ) -> Result<Action, Error> {
        let context = self.context;
        let (memory, reference) = (&context.memory, self.reference);
        match end {
            SliceEnd::Finished(ending) => {
                let run = session.progress.run().clone();
                if run.pages > 0 {
                    context.connections.accept(self.object().0, &work.connection);
                }
                self.finish(session, &run, &ending).await
            }
            SliceEnd::Waiting(until) => {
                memory.keep_session(reference.clone(), session);
                Ok(Action::requeue(wait(until, (context.clock)())))
            }
            SliceEnd::Yielded => {
                memory.keep_session(reference.clone(), session);
                Ok(Action::requeue(NEXT_SLICE))
            }
            SliceEnd::Halted => {
                memory.keep_session(reference.clone(), session);
                self.release_if_stopping(halt).await
            }
            SliceEnd::TokenRefused(error) => {
                let namespace = self.object().0.to_owned();
                let refused = session.connected.fingerprint;
                if !session.looked_again
                    && let Ok(newer) = context.connections.look(&namespace, &work.connection).await?
                    && newer.fingerprint != refused
                {
                    info!(policy = %reference, "the token was refused; the Secret holds another, the run goes on with it");
                    session.looked_again = true;
                    session.connected = newer;
                    memory.keep_session(reference.clone(), session);
                    return Ok(Action::requeue(NEXT_SLICE));
                }
                context.connections.refuse(&namespace, &work.connection, refused);
                let run = session.progress.run().clone();
                self.finish(session, &run, &unauthorized(&error)).await
            }
            SliceEnd::Lost => {
                warn!(policy = %reference, run_id = session.run_id, "the run is another process'");
                Ok(Action::requeue(Duration::from_secs(1)))
            }
            SliceEnd::Stuck(problem) => {
                memory.keep_session(reference.clone(), session);
                Err(Error::Checkpoint(problem))
            }
        }
    }

    /// The run as this process knows it, or taken up from its status.
    async fn session(&self, run: &PolicyRun, work: &Work) -> Result<Option<Session>, Error> {
        let kept = self.context.memory.take_session(self.reference);
        if let Some(session) = kept.filter(|session| session.run_id == run.id) {
            return Ok(Some(session));
        }
        let connected = match self.context.connections.look(self.object().0, &work.connection).await? {
            Ok(connected) => connected,
            // The Secret went between the plan and now; the next plan says so.
            Err(_) => return Ok(None),
        };
        Ok(Some(Session {
            run_id: run.id.clone(),
            progress: Progress::new(work.clone(), run.clone(), self.context.retry_limit),
            connected,
            looked_again: false,
        }))
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

    /// Gives a run back at a clean stop, so that whoever takes it over knows that its counts are whole.
    async fn release_if_stopping(mut self, halt: &RunHalt<'_>) -> Result<Action, Error> {
        if !halt.is_stopping() {
            return Ok(Action::requeue(NEXT_SLICE));
        }
        let mut next = self.observed.status.clone();
        if let Some(run) = &mut next.current_run {
            run.holder = Some(String::new());
        }
        if let Err(problem) = self.save(&next).await {
            warn!(policy = %self.reference, %problem, "cannot give the run back");
        }
        Ok(Action::await_change())
    }

    /// Writes the end of a run: run, conditions, history and totals at once.
    async fn finish(mut self, session: Session, run: &PolicyRun, ending: &Ending) -> Result<Action, Error> {
        let (context, now) = (self.context, (self.context.clock)());
        let (next, notes) = status::finished(&self.policy, &self.observed.status, run, ending, now);
        let duration_ms = now.duration_since(run.start_time.timestamp()).as_millis();
        let since = Instant::now();
        loop {
            match self.save(&next).await {
                Ok(()) => break,
                Err(CheckpointError::Lost) => {
                    warn!(policy = %self.reference, run_id = run.id, "the run ended, and is another process'");
                    return Ok(Action::requeue(Duration::from_secs(1)));
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

fn unauthorized(error: &ApiError) -> Ending {
    Ending::unauthorized(&error.to_string())
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
