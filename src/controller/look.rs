//! One look at one policy: what was read and decided, and how the status is written from it.

use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::reflector::Store;
use serde_json::Value;

use super::connections::Connected;
use super::context::{Context, PolicyRef};
use super::error::Error;
use super::head::{HeadKey, PolicyHead};
use super::observe::{Observed, decode};
use super::persist::{PersistError, Precondition};
use super::report;
use super::slots::Slot;
use crate::crd::{DlqPolicyStatus, PolicyRun};
use crate::drain::CheckpointError;
use crate::policy::tally::{EndedRun, tally};
use crate::policy::{Note, Policy, note};
use crate::runtime::leadership::Term;

/// How soon to look again after somebody else was faster.
pub(crate) const AFTER_CONFLICT: Duration = Duration::from_millis(100);

/// The latest instant that was missed before a run, and how many were.
pub(crate) type Missed = Option<(Timestamp, i64)>;

/// What a plan makes of the status before anything is done, and what it tells.
pub(crate) struct Planned {
    pub(crate) next: DlqPolicyStatus,
    pub(crate) notes: Vec<Note>,
}

/// One look at one policy.
pub(crate) struct Look<'a> {
    pub(crate) context: &'a Context,
    pub(crate) reference: &'a PolicyRef,
    pub(crate) policy: Policy,
    pub(crate) observed: Observed,
    /// The account, if somebody looked for it already.
    pub(crate) connected: Option<Connected>,
    pub(crate) heads: Store<PolicyHead>,
    /// What the watch knew before the policy was read.
    pub(crate) watched: Option<HeadKey>,
    pub(crate) now: Timestamp,
    /// The time in which this process leads.
    pub(crate) term: Term,
    /// Held until the run's work begins or waits, else to the end.
    pub(crate) turn: Option<Slot>,
}

impl Look<'_> {
    /// Namespace, name and uid.
    pub(crate) fn object(&self) -> (&str, &str, &str) {
        let namespace = self.reference.namespace.as_deref().unwrap_or_default();
        (namespace, self.reference.name.as_str(), self.observed.uid())
    }

    /// The span of what this look does for a run.
    pub(crate) fn span(&self, run: &PolicyRun) -> tracing::Span {
        report::slice(self.reference, self.observed.uid(), run, &self.context.holder)
    }

    /// Writes a decision on what was read. `false` when somebody wrote in between.
    pub(crate) async fn write_unchanged(
        &mut self,
        next: &DlqPolicyStatus,
        notes: Vec<Note>,
    ) -> Result<bool, Error> {
        let resource_version = self.observed.metadata.resource_version.as_deref().unwrap_or_default();
        let unchanged = Precondition::Unchanged { status: &self.observed.raw_status, resource_version };
        let status = &self.context.status;
        let wanted = self.observed.written_as(next).map_err(|error| Error::Persist(error.into()))?;
        match status.write(self.object(), &self.observed.raw_status, wanted, unchanged).await {
            Ok(written) => {
                self.note_written(next, written, notes);
                Ok(true)
            }
            Err(PersistError::Conflict) => Ok(false),
            Err(error) => Err(Error::Persist(error)),
        }
    }

    /// Drops what this process knows of a run that goes on no more. When the write of its end was never answered, this is
    /// where it is learnt that the run ended.
    pub(crate) fn drop_session(&self) {
        let Some(session) = self.context.memory.take_session(self.reference) else { return };
        // Another process may have ended it, and told so.
        let Some(ended) = session.ended.filter(|_| session.uid == self.observed.uid()) else { return };
        let is_this = |run: &&PolicyRun| {
            (&run.id, run.start_time, run.completion_time)
                == (&ended.run.id, ended.run.start_time, Some(ended.at.into()))
        };
        if let Some(run) = self.observed.status.last_run.as_ref().filter(is_this).and_then(EndedRun::of) {
            self.context.metrics.ended(self.reference, &run);
            report::run_ended(self.reference, self.observed.uid(), &ended);
            self.context.events.publish(self.reference, self.observed.uid(), ended.notes);
        }
    }

    /// Keeps what was written, so that the next write knows what differs, and tells of it.
    fn note_written(
        &mut self,
        next: &DlqPolicyStatus,
        written: Option<kube::api::DynamicObject>,
        notes: Vec<Note>,
    ) {
        let notes = note::of_first_entries(&self.observed.status, next).into_iter().chain(notes).collect();
        self.context.events.publish(self.reference, self.observed.uid(), notes);
        let news = tally(&self.policy, &self.observed.status, next);
        self.context.metrics.tell(self.reference, &news);
        if let Some(object) = written {
            let written = decode(object);
            self.observed.metadata.resource_version = written.metadata.resource_version;
            self.observed.raw_status = written.raw_status;
        }
        self.observed.status = next.clone();
    }

    /// Writes a state of our run.
    pub(crate) async fn save(
        &mut self,
        next: &DlqPolicyStatus,
        notes: &[Note],
    ) -> Result<(), CheckpointError> {
        let id = self.observed.status.current_run.as_ref().map(|run| run.id.clone()).unwrap_or_default();
        let ours = Precondition::OurRun { id: &id, holder: &self.context.holder };
        let wanted =
            self.observed.written_as(next).map_err(|error| CheckpointError::Failed(error.to_string()))?;
        match self.context.status.write(self.object(), &self.observed.raw_status, wanted, ours).await {
            Ok(written) => {
                self.note_written(next, written, notes.to_vec());
                Ok(())
            }
            Err(PersistError::Conflict) => Err(CheckpointError::Lost),
            Err(error) => {
                // It may have been written all the same: what differs is no longer known, so the whole status is
                // written next time.
                self.observed.raw_status = Value::Null;
                Err(CheckpointError::Failed(error.to_string()))
            }
        }
    }
}
