//! Policies in a simulated world: a clock that is set, an Upstash that fails in every way it can, an API server that
//! loses writes and answers, processes that crash. Whatever happens in which order, what a policy promises holds.

mod api_server;
mod approvals;
mod books;
mod day;
mod ledger;
mod looks;
mod operations;
mod pace;
mod process;
mod properties;
mod refusals;
mod schedules;
mod schema;
mod shared;
mod side_by_side;
mod told;
mod upstash;
mod world;
