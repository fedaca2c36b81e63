//! What a user wrote, and what it means.

mod backlog;
pub(crate) mod by_listing;
mod connection;
mod connection_name;
pub mod duration;
pub(crate) mod expression;
pub(crate) mod hash;
pub(crate) mod invalid;
mod overrides;
pub mod permissions;
pub(crate) mod policy;
pub(crate) mod selection;
mod shared;
pub mod validate;

pub use backlog::Backlog;
pub use by_listing::{ByListing, Statuses};
pub use connection::{ConnectionRef, is_dns_name};
pub use connection_name::ConnectionName;
pub use expression::Expression;
pub use invalid::Invalid;
pub use permissions::Permissions;
pub use policy::{Policy, Request, Requests, Work};
pub use selection::Selected;
pub use shared::SharedConnection;
pub use validate::validate;
