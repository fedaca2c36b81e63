//! Why a policy cannot run.

use dlq_crd::Reason;

/// Why a policy cannot run: a reason for machines, a sentence that names the field and the way out.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Invalid {
    /// For the `Ready` condition.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

impl Invalid {
    pub fn new(reason: Reason, message: &str) -> Self {
        Self { reason, message: message.to_owned() }
    }

    pub(crate) fn spec(field: &str, problem: &str) -> Self {
        Self::new(Reason::InvalidSpec, &format!("{field}: {problem}"))
    }
}
