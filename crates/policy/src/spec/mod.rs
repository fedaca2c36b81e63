//! What a user wrote, and what it means.

mod connection;
pub(crate) mod duration;
pub(crate) mod hash;
mod overrides;
pub mod permissions;
pub(crate) mod selection;
pub mod validate;

pub use connection::ConnectionRef;
pub use permissions::Permissions;
pub use selection::Selected;
pub use validate::{Invalid, Policy, Requests, Work, validate};
