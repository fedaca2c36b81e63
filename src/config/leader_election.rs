//! The flags of the leader election.

use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::duration;
use crate::runtime::election::LONGEST_LEASE;

const SHORTEST_LEASE: Duration = Duration::from_secs(3);

/// The flags of the leader election.
#[derive(Args, Debug)]
pub(super) struct LeaseFlags {
    /// Act only as the leader, whom the replicas elect through a Lease
    #[arg(long, env = "DLQ_OPERATOR_LEADER_ELECT", value_parser = BoolishValueParser::new(), action = ArgAction::Set,
        num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    leader_elect: bool,

    /// Name of the Lease; default: `dlq-operator`, and a hash of --selector and --namespaces where they are set
    #[arg(long, env = "DLQ_OPERATOR_LEASE_NAME", value_name = "NAME")]
    lease_name: Option<String>,

    /// Namespace of the Lease; default: the operator's own
    #[arg(long, env = "DLQ_OPERATOR_LEASE_NAMESPACE", value_name = "NAMESPACE")]
    lease_namespace: Option<String>,

    /// How long the Lease of a leader who is gone is waited for; from 3s to 1h
    #[arg(long, env = "DLQ_OPERATOR_LEASE_DURATION", default_value = "15s", value_parser = lease_duration,
        value_name = "DURATION")]
    lease_duration: Duration,
}

/// The lease that the leader holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeaseConfig {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How long it is held without a renewal: whole seconds.
    pub duration: Duration,
}

/// A flag of the leader election whose value cannot be used.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// `--lease-name`.
    #[error(
        "--lease-name {0:?} cannot be used: write up to 253 lower-case letters, digits, `-` and `.`, each part between \
         dots beginning and ending with a letter or digit"
    )]
    Name(String),
    /// `--lease-namespace`.
    #[error(
        "--lease-namespace {0:?} cannot be used: write up to 63 lower-case letters, digits and `-`, beginning and ending \
         with a letter or digit"
    )]
    Namespace(String),
    /// `POD_NAMESPACE`, where `--lease-namespace` is not set.
    #[error(
        "--leader-elect needs a namespace for its lease: set --lease-namespace, as POD_NAMESPACE is {0:?}, which is \
         no namespace"
    )]
    PodNamespace(String),
    /// Neither is set.
    #[error("--leader-elect needs a namespace for its lease: set --lease-namespace, or POD_NAMESPACE")]
    NoNamespace,
}

impl LeaseFlags {
    /// The lease to hold; none without an election. `namespaces` are in order and each there once.
    pub(super) fn config(
        self,
        namespaces: &[String],
        selector: Option<&str>,
        pod_namespace: Option<&str>,
    ) -> Result<Option<LeaseConfig>, LeaseError> {
        let Self { leader_elect, lease_name, lease_namespace, lease_duration } = self;
        let given = |flag: Option<String>| flag.filter(|value| !value.is_empty());
        let (name, namespace) = (given(lease_name), given(lease_namespace));
        // What is wrong is told even while it is not used.
        if let Some(name) = name.as_ref().filter(|name| !is_subdomain(name)) {
            return Err(LeaseError::Name(name.clone()));
        }
        if let Some(namespace) = namespace.as_ref().filter(|namespace| !is_label(namespace)) {
            return Err(LeaseError::Namespace(namespace.clone()));
        }
        if !leader_elect {
            return Ok(None);
        }
        let namespace = match (namespace, pod_namespace) {
            (Some(namespace), _) => namespace,
            (None, Some(own)) if is_label(own) => own.to_owned(),
            (None, Some(own)) => return Err(LeaseError::PodNamespace(own.to_owned())),
            (None, None) => return Err(LeaseError::NoNamespace),
        };
        let name = name.unwrap_or_else(|| default_name(namespaces, selector));
        Ok(Some(LeaseConfig { namespace, name, duration: lease_duration }))
    }
}

/// Replicas that manage the same policies share a lease, and others do not.
fn default_name(namespaces: &[String], selector: Option<&str>) -> String {
    const NAME: &str = "dlq-operator";
    let selector = selector.map(normal_selector).unwrap_or_default();
    if namespaces.is_empty() && selector.is_empty() {
        return NAME.to_owned();
    }
    // No namespace and no selector has a line break.
    let hash = Sha256::digest(format!("{}\n{selector}", namespaces.join(",")).as_bytes());
    let hash = hash.iter().take(4).fold(0_u32, |number, byte| (number << 8) | u32::from(*byte));
    format!("{NAME}-{hash:08x}")
}

/// A selector whose requirements are in order, with a space only between words: however it is laid out, a lease of
/// the same name must come of it.
fn normal_selector(selector: &str) -> String {
    let mut requirements = vec![String::new()];
    let mut depth = 0_u32;
    for c in selector.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        match requirements.last_mut() {
            Some(last) if c != ',' || depth > 0 => last.push(c),
            _ => requirements.push(String::new()),
        }
    }
    let mut requirements: Vec<_> = requirements.iter().map(|text| normal_requirement(text)).collect();
    requirements.retain(|requirement| !requirement.is_empty());
    requirements.sort();
    requirements.dedup();
    requirements.join(",")
}

fn normal_requirement(requirement: &str) -> String {
    let (operator, values) = match requirement.split_once('(') {
        Some((operator, values)) => (operator, Some(values.trim_end().trim_end_matches(')'))),
        None => (requirement, None),
    };
    let words: Vec<_> = operator.split_whitespace().collect();
    let Some(values) = values else { return words.concat().replace("==", "=") };
    let mut values: Vec<_> = values.split(',').map(str::trim).collect();
    values.sort_unstable();
    values.dedup();
    format!("{} ({})", words.join(" "), values.join(","))
}

/// A DNS label, as a namespace's name is one.
fn is_label(name: &str) -> bool {
    let is_alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 63
        && name.starts_with(is_alphanumeric)
        && name.ends_with(is_alphanumeric)
        && name.chars().all(|c| is_alphanumeric(c) || c == '-')
}

/// A DNS subdomain, as most names are. A part may be longer than a label.
fn is_subdomain(name: &str) -> bool {
    let is_alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 253
        && name.split('.').all(|part| {
            part.starts_with(is_alphanumeric)
                && part.ends_with(is_alphanumeric)
                && part.chars().all(|c| is_alphanumeric(c) || c == '-')
        })
}

fn lease_duration(text: &str) -> Result<Duration, String> {
    let lease = duration(text)?;
    if !(SHORTEST_LEASE..=LONGEST_LEASE).contains(&lease) {
        return Err("must be between 3s and 1h".to_owned());
    }
    if lease.subsec_nanos() != 0 {
        return Err("must be in whole seconds".to_owned());
    }
    Ok(lease)
}

#[cfg(test)]
#[path = "leader_election_tests.rs"]
mod tests;
