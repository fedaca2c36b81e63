//! Why a run must end before it is done.

use crate::run::outcome::Outcome;
use crate::spec::invalid::Invalid;
use dlq_crd::PolicyRun;

/// Why a run must end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CancelCause {
    /// The annotation `cancelAt`.
    Requested,
    /// `spec.suspend`.
    Suspended,
    /// The annotation `paused` or `--pause-all`.
    Paused,
    /// Action, filters, overrides, match, loopProtection, connection or dryRun were edited.
    SpecChanged,
    /// The URL or the token reference of the shared connection was edited.
    ConnectionChanged,
    /// The spec cannot be run any more.
    Invalid(Invalid),
    /// `--force-dry-run`.
    ForceDryRun,
    /// The next scheduled time is due, and `concurrencyPolicy` is `Replace`.
    Replaced,
    /// It waited for an approval for as long as it may.
    NotApproved,
    /// It waits for its Secret, and has taken as long as it may.
    DeadlineExceeded,
}

impl CancelCause {
    /// How the run ends.
    pub fn outcome(&self, run: &PolicyRun) -> Outcome {
        Outcome::cancelled(match self {
            Self::Requested => "cancelled by the annotation dlq-operator.dev/cancelAt".to_owned(),
            Self::Suspended => "cancelled because spec.suspend is true".to_owned(),
            Self::Paused => "cancelled because the policy is paused".to_owned(),
            Self::SpecChanged => {
                "cancelled because action, filters, overrides, match, loopProtection, connection or dryRun changed"
                    .to_owned()
            }
            Self::ConnectionChanged => {
                "cancelled because url or tokenSecretRef of the connection that spec.connection names changed, or the operator's \
                 QSTASH_URL where it has no url"
                    .to_owned()
            }
            Self::Invalid(invalid) => format!("cancelled because {}", invalid.message),
            Self::ForceDryRun => "cancelled because the operator runs with --force-dry-run".to_owned(),
            Self::Replaced => {
                "cancelled because the next scheduled time is due and concurrencyPolicy is Replace".to_owned()
            }
            Self::NotApproved => return Outcome::expired(run),
            Self::DeadlineExceeded => return Outcome::deadline_exceeded(run),
        })
    }
}
