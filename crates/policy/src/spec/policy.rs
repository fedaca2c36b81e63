//! What a user wrote, as the operator understands it.

use super::backlog::Backlog;
use super::by_listing::ByListing;
use super::connection::ConnectionRef;
use super::invalid::Invalid;
use super::selection::Selected;
use crate::schedule::Schedule;
use dlq_crd::{ConcurrencyPolicy, Limits, SpecTrigger};
use dlq_upstash::types::{Action, Overrides};

/// A policy as the operator understands it. Later steps cannot fail on what a user wrote.
#[derive(Clone, Debug)]
pub struct Policy {
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.creationTimestamp`.
    pub created: Option<jiff::Timestamp>,
    /// The hash of action, filters, overrides, match, loopProtection, connection and dryRun; empty when the spec cannot be read.
    pub spec_hash: String,
    /// What a run does.
    pub work: Result<Work, Invalid>,
    /// What starts a run where there is no schedule.
    pub trigger: SpecTrigger,
    /// When runs start; `None`: as `trigger` says.
    pub schedule: Result<Option<Schedule>, Invalid>,
    /// How late a run may start.
    pub starting_deadline: Option<jiff::SignedDuration>,
    /// What a scheduled time does during a run.
    pub concurrency: ConcurrencyPolicy,
    /// `spec.suspend`.
    pub suspend: bool,
    /// What pauses it, if something does.
    pub paused: Option<Pause>,
    /// `--force-dry-run`.
    pub force_dry_run: bool,
    /// What the annotations ask for.
    pub requests: Requests,
    /// Limits of the next run.
    pub limits: Limits,
    /// How many failures in a row open the circuit.
    pub open_circuit_after: Option<i64>,
    /// What is counted between runs.
    pub backlog: Option<Box<Backlog>>,
    /// How many ended runs are kept.
    pub history_limit: usize,
}

impl Policy {
    /// Whether somebody keeps its runs from starting, but for dry runs by request.
    pub(crate) fn is_suspended_or_paused(&self) -> bool {
        self.suspend || self.paused.is_some()
    }
}

/// What a run does, to which entries, as whom.
#[derive(Clone, Debug)]
pub struct Work {
    /// The action, as the resource names it.
    pub action: dlq_crd::Action,
    /// `spec.dryRun`.
    pub dry_run: bool,
    /// Which entries.
    pub selected: Selected,
    /// Settings of the new workflow runs.
    pub overrides: Overrides,
    /// What is decided on entries that are listed; none: they are acted on in bulk, unseen.
    pub by_listing: Option<ByListing>,
    /// The account.
    pub connection: ConnectionRef,
}

impl Work {
    /// Whether a label counts how often each workflow run was acted on: `spec.loopProtection`.
    pub fn counts_attempts(&self) -> bool {
        self.by_listing.as_ref().is_some_and(|by_listing| by_listing.max_attempts.is_some())
    }

    /// The action, as the API names it.
    pub fn api_action(&self) -> Action {
        match self.action {
            dlq_crd::Action::Resume => Action::Resume,
            dlq_crd::Action::Restart => Action::Restart,
            dlq_crd::Action::Delete => Action::Delete,
        }
    }
}

/// What pauses a policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Pause {
    /// The annotation `paused`, with its value.
    Annotation(String),
    /// `--pause-all`, whatever the annotation says.
    Flag,
}

/// What the annotations ask for; see [`dlq_crd::annotations`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Requests {
    /// `requestedAt`.
    pub run: Option<Request>,
    /// `requestedMode`.
    pub mode: Mode,
    /// `requestedBy`.
    pub requested_by: Option<String>,
    /// `requestReason`.
    pub request_reason: Option<String>,
    /// `cancelAt`.
    pub cancel: Option<Request>,
    /// `resetAt`.
    pub reset: Option<Request>,
    /// `approvedRun`.
    pub approved: Option<Request>,
}

/// How a requested run acts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Mode {
    /// As the spec says.
    #[default]
    AsSpecified,
    /// It lists and counts only.
    DryRun,
    /// Nobody knows: no run starts.
    Unknown(String),
}

/// The value of an annotation that is handled once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// The value, or a hash of one that is too long, by which the status remembers it.
    pub value: String,
    /// Too long to be taken.
    pub too_long: bool,
}
