//! The annotations that control a policy by hand. Each new value of the `…At` ones and of
//! `approvedRun` is handled once.

/// Starts a run now. Any new value counts; the time of asking is a good one.
pub const REQUESTED_AT: &str = "dlq-operator.dev/requestedAt";
/// How the requested run acts: [`DRY_RUN`], or absent.
pub const REQUESTED_MODE: &str = "dlq-operator.dev/requestedMode";
/// The value of [`REQUESTED_MODE`] for a run that lists and counts only.
pub const DRY_RUN: &str = "DryRun";
/// Who asked for the run: free text, copied to it.
pub const REQUESTED_BY: &str = "dlq-operator.dev/requestedBy";
/// Why the run was asked for: free text, copied to it.
pub const REQUEST_REASON: &str = "dlq-operator.dev/requestReason";
/// Ends the current run.
pub const CANCEL_AT: &str = "dlq-operator.dev/cancelAt";
/// Closes the circuit.
pub const RESET_AT: &str = "dlq-operator.dev/resetAt";
/// Starts the run that waits for approval under this ID.
pub const APPROVED_RUN: &str = "dlq-operator.dev/approvedRun";
/// Any value but empty or `false` holds the policy, as `spec.suspend` does.
pub const PAUSED: &str = "dlq-operator.dev/paused";

/// All of them.
pub const ALL: [&str; 8] =
    [REQUESTED_AT, REQUESTED_MODE, REQUESTED_BY, REQUEST_REASON, CANCEL_AT, RESET_AT, APPROVED_RUN, PAUSED];

/// The longest value that is taken, in bytes.
pub const MAX_VALUE_BYTES: usize = 256;
