//! The kubectl plugin as people run it: its binary, at a terminal and in scripts, against the simulator, the real API server
//! and an operator.

mod act;
mod drain;
mod explain;
mod interrupted_drain;
mod lint;
mod person;
mod preview;
mod program;
mod see;
mod terminal;
mod tokens;
