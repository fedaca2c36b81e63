//! The kubectl plugin as people run it: its binary, against the simulator and the real API server.

mod drain;
mod explain;
mod interrupted_drain;
mod lint;
mod preview;
mod program;
mod tokens;
