//! Commands that show: what there is, where it stands, what it did.

mod foreseen;
#[cfg(test)]
mod golden_tests;
pub mod history;
pub mod list;
mod output;
pub mod progress;
mod selection;
mod sheet;
pub mod status;
pub mod top;
pub mod trouble;
mod watch;
pub mod words;

pub use self::output::{Output, document, name};
pub use self::selection::{selected, selection};
pub(crate) use self::watch::unheard;
pub use self::words::span;
