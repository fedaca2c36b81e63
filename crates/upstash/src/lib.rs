//! Upstash Workflow's DLQ API: what a call is, what it looks like on the wire, what its answer means.
//!
//! [`request`] and [`response`] are pure; [`client`] is the one place that sends. Source of the facts: the pages of
//! Upstash's REST reference on the DLQ (bulk resume, restart and delete, their single forms, list and get).

#[cfg(feature = "client")]
pub mod client;
pub mod clock;
pub mod error;
pub mod request;
pub mod response;
pub mod token;
pub mod types;

#[cfg(feature = "client")]
pub use client::{Client, ClientOptions};
pub use error::{ApiError, ErrorClass};
pub use token::Token;
pub use types::{Action, Call, Criteria, Cursor, Detail, DlqId, Operation, Overrides, Page, Selection};
