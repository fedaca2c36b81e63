//! What is read from the API server and written to it.

pub(crate) mod connection;
pub(crate) mod observe;
pub(crate) mod persist;
mod unknown;

/// Whose fields the operator's writes are.
const FIELD_MANAGER: &str = "dlq-operator";
