//! What runs look for of what earlier ones made, and leave for later ones.

use jiff::{SignedDuration, Timestamp};

use super::label_probes::LabelProbes;
use super::returns::Returns;
use dlq_crd::DlqPolicyStatus;

/// What runs look for of what earlier ones made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    /// Whether they have their labels.
    pub(crate) label_probes: LabelProbes,
    /// How many are back.
    pub(crate) returns: Returns,
}

impl Past {
    /// What a status says of it. `clock_offset`: what to add to our time to get Upstash's.
    pub(crate) fn of(status: &DlqPolicyStatus, clock_offset: SignedDuration, now: Timestamp) -> Self {
        Self {
            label_probes: LabelProbes::new(&status.label_probes, now),
            returns: Returns::of(&status.history, clock_offset),
        }
    }

    /// The status with what a run learnt.
    pub(crate) fn noted(&self, status: &DlqPolicyStatus) -> DlqPolicyStatus {
        let mut status = status.clone();
        self.returns.note(&mut status);
        status.label_probes = self.label_probes.kept().to_vec();
        status
    }
}
