//! What Upstash can do to a run: every fault of the simulator, alone and mixed, and endpoints that are dead.

#![expect(clippy::print_stdout, reason = "figures, for whoever runs it with --nocapture")]

mod endpoints;
mod faults;
