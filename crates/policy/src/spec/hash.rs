//! Hashes that stay the same over restarts and versions.

use std::fmt::Write as _;

use serde::Serialize;
use sha2::{Digest, Sha256};

use dlq_crd::{Action, Connection, DlqPolicySpec, Filters, LoopProtection, Match, Overrides};

/// The part of a spec that says what is done with what: a new combination is new work.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Work<'a> {
    action: Action,
    filters: &'a Filters,
    #[serde(skip_serializing_if = "Option::is_none")]
    overrides: Option<&'a Overrides>,
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    matching: Option<&'a Match>,
    #[serde(skip_serializing_if = "Option::is_none")]
    loop_protection: Option<&'a LoopProtection>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<&'a Connection>,
    dry_run: bool,
}

/// The hash of action, filters, overrides, match, loopProtection, connection and dryRun.
pub(crate) fn spec_hash(spec: &DlqPolicySpec) -> String {
    // When a run starts and how much it may do is no part of what it does: a new field has to say which it is.
    let DlqPolicySpec {
        action,
        filters,
        overrides,
        matching,
        loop_protection,
        connection,
        dry_run,
        trigger: _,
        schedule: _,
        time_zone: _,
        jitter: _,
        starting_deadline_seconds: _,
        concurrency_policy: _,
        suspend: _,
        limits: _,
        failure_policy: _,
        backlog: _,
        history_limit: _,
    } = spec;
    let work = Work {
        action: *action,
        filters,
        overrides: overrides.as_ref(),
        matching: matching.as_ref(),
        loop_protection: loop_protection.as_ref(),
        connection: connection.as_ref(),
        dry_run: *dry_run,
    };
    // Structs of strings, numbers and lists always have a JSON form.
    text_hash(&serde_json::to_string(&work).unwrap_or_default())
}

/// Sixteen hex digits for a text.
pub(crate) fn text_hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(8).fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A number spread evenly over all `u64`, for a text.
pub(crate) fn spread(text: &str) -> u64 {
    Sha256::digest(text.as_bytes()).first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
