//! One look at one policy: what was read and decided, and how the status is written from it.

use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::reflector::Store;

use super::context::{Context, PolicyRef};
use super::error::Error;
use super::found::Found;
use super::head::{HeadKey, PolicyHead};
use super::observe::{Observed, decode, observe};
use super::persist::{PersistError, Precondition};
use super::report;
use super::slots::Slot;
use crate::runtime::leadership::Term;
use dlq_crd::{DlqPolicyStatus, PolicyRun};
use dlq_drain::CheckpointError;
use dlq_policy::{Policy, changes, status};

/// How soon to look again after somebody else was faster.
pub(crate) const AFTER_CONFLICT: Duration = Duration::from_millis(100);

/// One look at one policy.
pub(crate) struct Look<'a> {
    pub(crate) context: &'a Context,
    pub(crate) reference: &'a PolicyRef,
    pub(crate) policy: Policy,
    pub(crate) observed: Observed,
    pub(crate) found: Found,
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
    pub(crate) async fn write_unchanged(&mut self, next: &DlqPolicyStatus) -> Result<bool, Error> {
        let resource_version = self.observed.metadata.resource_version.as_deref().unwrap_or_default();
        let unchanged = Precondition::Unchanged { status: self.observed.stored(), resource_version };
        let status = &self.context.status;
        let next = &self.revised(next);
        let wanted = self.observed.written_as(next).map_err(|error| Error::Persist(error.into()))?;
        match status.write(self.object(), self.observed.stored(), wanted, unchanged).await {
            Ok(written) => {
                self.note_written(next, written);
                Ok(true)
            }
            Err(PersistError::Conflict) => Ok(false),
            Err(error) => {
                self.context.doubt(self.reference, &self.observed, next.clone());
                Err(Error::Persist(error))
            }
        }
    }

    /// Keeps what was written, so that the next write knows what differs, and tells of it.
    fn note_written(&mut self, next: &DlqPolicyStatus, written: Option<kube::api::DynamicObject>) {
        let changes = changes(&self.policy, &self.observed.status, next);
        self.context.tell(self.reference, self.observed.uid(), changes);
        if let Some(object) = written {
            // What went before and got no answer is part of it, or came too late.
            drop(self.context.memory.take_in_doubt(self.reference));
            let written = decode(object);
            self.observed.metadata.resource_version = written.metadata.resource_version;
            self.observed.raw_status = written.raw_status;
            self.observed.is_stale = false;
        }
        self.observed.status = next.clone();
    }

    /// Writes a state of our run.
    pub(crate) async fn save(&mut self, next: &DlqPolicyStatus) -> Result<(), CheckpointError> {
        match self.try_save(next).await {
            // The conflict may be with an earlier write of this process, which got no answer. Boxed: it is rare, and there
            // may be thousands of runs.
            Err(CheckpointError::Lost) => {
                Box::pin(async {
                    self.read_again().await?;
                    self.try_save(next).await
                })
                .await
            }
            outcome => outcome,
        }
    }

    async fn try_save(&mut self, next: &DlqPolicyStatus) -> Result<(), CheckpointError> {
        let failed = |error: &dyn std::error::Error| CheckpointError::Failed(error.to_string());
        let Some(ours) = self.observed.raw_status.get("currentRun").map(Precondition::OurRun) else {
            return Err(CheckpointError::Lost);
        };
        let next = &self.revised(next);
        let wanted = self.observed.written_as(next).map_err(|error| failed(&error))?;
        match self.context.status.write(self.object(), self.observed.stored(), wanted, ours).await {
            Ok(written) => {
                self.note_written(next, written);
                Ok(())
            }
            Err(PersistError::Conflict) => Err(CheckpointError::Lost),
            Err(error) => {
                self.context.doubt(self.reference, &self.observed, next.clone());
                // It may have been written nevertheless: what differs is no longer known, so the whole status is
                // written next time.
                self.observed.is_stale = true;
                Err(failed(&error))
            }
        }
    }

    /// Learns whether the write that got no answer was done.
    async fn read_again(&mut self) -> Result<(), CheckpointError> {
        let (namespace, name, _) = self.object();
        let read = observe(&self.context.client, namespace, name).await;
        let read = read.map_err(|error| CheckpointError::Failed(error.to_string()))?;
        let read = read.filter(|read| read.uid() == self.observed.uid()).ok_or(CheckpointError::Lost)?;
        let (known, found) = (&self.observed.status.current_run, &read.status.current_run);
        if !status::is_next_revision(known.as_ref(), found.as_ref()) {
            return Err(CheckpointError::Lost);
        }
        self.context.settle(self.reference, &self.policy, &read);
        self.observed = Observed { spec: self.observed.spec.clone(), ..read };
        Ok(())
    }

    /// The status with the revision that its write makes.
    pub(crate) fn revised(&self, next: &DlqPolicyStatus) -> DlqPolicyStatus {
        status::revised(&self.observed.status, next.clone(), self.observed.is_stale)
    }
}
