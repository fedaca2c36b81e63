//! The kubectl plugin, as a person uses it.

mod lint;
