//! What can be done about the failure function of an entry. The entry stays in the DLQ.

use crate::{
    entry::{Entry, FailureFunctionState},
    refusal::Refusal,
};

use super::{Dlq, unknown_entry};

impl Dlq {
    /// Runs a failed failure function again: it is in progress until it is cancelled.
    pub fn rerun_failure_function(&mut self, dlq_id: &str) -> Result<&Entry, Refusal> {
        self.change_state(
            dlq_id,
            FailureFunctionState::CallbackFail,
            FailureFunctionState::CallbackInProgress,
            "the failure function has not failed",
        )
    }

    /// Cancels a failure function that is running.
    pub fn cancel_failure_function(&mut self, dlq_id: &str) -> Result<&Entry, Refusal> {
        self.change_state(
            dlq_id,
            FailureFunctionState::CallbackInProgress,
            FailureFunctionState::CallbackCanceled,
            "no failure function is running",
        )
    }

    fn change_state(
        &mut self,
        dlq_id: &str,
        from: FailureFunctionState,
        to: FailureFunctionState,
        refusal: &str,
    ) -> Result<&Entry, Refusal> {
        let position = self.position(dlq_id).ok_or_else(unknown_entry)?;
        let entry = self.entries.get_mut(&position).ok_or_else(unknown_entry)?;
        if entry.failure_function_state != Some(from) {
            return Err(Refusal::bad_request(refusal));
        }
        entry.failure_function_state = Some(to);
        Ok(entry)
    }
}
