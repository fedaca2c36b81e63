//! Holds a status to a size, whatever answers and annotations bring.

use crate::json_bytes::json_bytes;
use dlq_crd::DlqPolicyStatus;

/// The most that a status takes in the API server's JSON. A list of a thousand policies is read by people, too.
pub(crate) const MAX_STATUS_BYTES: usize = 64 * 1024;

/// Leaves away what is missed least, if the status is too large: the cursor of the run before the current one, and then
/// the oldest of the history. What is left is bounded field by field.
pub(crate) fn fit(status: &mut DlqPolicyStatus) {
    if json_bytes(status) <= MAX_STATUS_BYTES {
        return;
    }
    if status.current_run.is_some()
        && let Some(last) = &mut status.last_run
    {
        last.cursor = None;
    }
    let mut bytes = json_bytes(status);
    while bytes > MAX_STATUS_BYTES
        && let Some(oldest) = status.history.pop()
    {
        bytes -= json_bytes(&oldest);
    }
}

#[cfg(test)]
#[path = "size_tests.rs"]
mod tests;
