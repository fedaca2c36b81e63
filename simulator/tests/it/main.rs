//! The simulator over real sockets.

// Clippy takes a module for a test's only when it says so itself.
#[cfg(test)]
mod calls;
#[cfg(test)]
mod conservation;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod filter_faults;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod malformed;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod process;
#[cfg(test)]
mod service;
