//! What a user wrote, and what it means.

pub(crate) mod duration;
pub(crate) mod hash;
pub mod permissions;
pub(crate) mod selection;
pub mod validate;

pub use permissions::Permissions;
pub use selection::Selected;
pub use validate::{ConnectionRef, Invalid, Policy, Requests, Work, validate};
