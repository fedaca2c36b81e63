//! Policies and answers that mean no good, or are as large as they may be.

mod addresses;
mod answers;
mod sizes;
mod tenancy;
