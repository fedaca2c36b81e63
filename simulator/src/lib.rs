//! Upstash Workflow's DLQ API in memory, with faults on demand.
//!
//! `dlq` and what it uses is pure; `api` and `admin` put it on two ports; `server` binds and serves them.

pub mod admin;
pub mod answer;
pub mod api;
pub mod cli;
pub mod clock;
pub mod cursor;
pub mod delivery;
pub mod dlq;
pub mod entry;
pub mod faults;
pub mod filter;
pub mod flow_control;
pub mod ledger;
pub mod operation;
pub mod overrides;
pub mod query;
pub mod random;
pub mod refusal;
pub mod server;
pub mod service;
pub mod simulator;
pub mod wire;
