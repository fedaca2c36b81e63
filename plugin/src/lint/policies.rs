//! What the operator makes of policies and of the connections they name, by its own library.

use std::collections::BTreeMap;

use dlq_crd::{ClusterDlqConnection, ConnectionKind, DlqConnection, DlqPolicy, DlqPolicySpec, Reason};
use dlq_policy::spec::permissions::{UPSTASH_URL, UPSTASH_URLS, UrlPattern, base_url};
use dlq_policy::spec::validate::Source;
use dlq_policy::{ConnectionName, Invalid, Permissions, Policy, SharedConnection, validate};
use serde_json::Value;
use url::Url;

use super::finding::Finding;
use super::rule::Rule;
use crate::manifest::Document;
use crate::outcome::Problem;

/// A policy that can be read, and what the operator makes of it.
pub(super) struct Linted<'a> {
    pub(super) document: &'a Document,
    pub(super) spec: DlqPolicySpec,
    pub(super) policy: Policy,
}

/// The shared connections among the documents.
pub(super) type Connections = BTreeMap<ConnectionName, Result<SharedConnection, Invalid>>;

/// What an operator without further limits allows: Upstash's own URLs, and in every namespace its own connection.
pub(super) fn permissions() -> Result<Permissions, Problem> {
    let failed = |error: &dyn std::fmt::Display| Problem::Failed(format!("Upstash's own URLs: {error}"));
    let urls = UPSTASH_URLS.split(',').map(str::parse).collect::<Result<_, _>>();
    Ok(Permissions {
        urls: urls.map_err(|error| failed(&error))?,
        actions: Vec::new(),
        callback_urls: Vec::new(),
        default_url: base_url(UPSTASH_URL).map_err(|error| failed(&error))?,
        default_connection_namespaces: Vec::new(),
        pause_all: false,
        force_dry_run: false,
    })
}

/// Reads a connection, if the document is one.
pub(super) fn connection(
    document: &Document,
    permissions: &Permissions,
    connections: &mut Connections,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let permissions = with_url(document, permissions, "spec.url", &mut findings);
    let name = |kind| ConnectionName::new(kind, document.namespace(), document.name().to_owned());
    let read = match document.kind() {
        "DlqConnection" => {
            serde_json::from_value::<DlqConnection>(document.value.clone()).map(|connection| {
                let name = name(ConnectionKind::DlqConnection);
                (name.clone(), SharedConnection::of_namespace(name, &connection.spec, &permissions))
            })
        }
        "ClusterDlqConnection" => {
            serde_json::from_value::<ClusterDlqConnection>(document.value.clone()).map(|connection| {
                if connection.spec.namespace_selector.is_none() {
                    let message =
                        "no namespace may use it; add namespaceSelector with the labels of those that may";
                    findings.push(Finding::new(Rule::ConnectionClosed, document, "spec", message));
                }
                let name = name(ConnectionKind::ClusterDlqConnection);
                (name.clone(), SharedConnection::of_cluster(name, &connection.spec, &permissions))
            })
        }
        _ => return findings,
    };
    match read {
        Ok((name, connection)) => {
            if let Err(problem) = &connection {
                let message = problem.message.strip_prefix(&format!("{name}: ")).unwrap_or(&problem.message);
                findings.push(of_invalid(document, &Invalid::new(problem.reason, message)));
            }
            connections.insert(name, connection);
        }
        Err(error) => findings.push(unreadable(document, &error)),
    }
    findings
}

/// Reads a policy as the operator does.
pub(super) fn policy<'a>(
    document: &'a Document,
    permissions: &Permissions,
    connections: &Connections,
) -> (Option<Linted<'a>>, Vec<Finding>) {
    let mut findings = Vec::new();
    let read = match serde_json::from_value::<DlqPolicy>(document.value.clone()) {
        Ok(read) => read,
        Err(error) => return (None, vec![unreadable(document, &error)]),
    };
    let mut permissions = with_url(document, permissions, "spec.connection.url", &mut findings);
    permissions.default_connection_namespaces = vec![document.namespace().to_owned()];
    let named =
        read.spec.connection.as_ref().and_then(|named| ConnectionName::of(named, document.namespace()));
    let elsewhere = named
        .as_ref()
        .map(|name| Invalid::new(Reason::ConnectionNotFound, &format!("{name} is not among the files")));
    let shared = match (&named, &elsewhere) {
        (Some(name), Some(elsewhere)) => Some(match connections.get(name) {
            Some(Ok(connection)) => Ok(connection),
            // Said of the connection itself.
            Some(Err(_)) => Err(elsewhere),
            None => {
                let message = format!(
                    "{name} is not among the files, so that its guardrails are not checked; give its file with -f too"
                );
                findings.push(Finding::new(
                    Rule::ConnectionElsewhere,
                    document,
                    "spec.connection.name",
                    message,
                ));
                Err(elsewhere)
            }
        }),
        _ => None,
    };
    let annotations = read.metadata.annotations.unwrap_or_default();
    let source = Source {
        namespace: document.namespace(),
        name: document.name(),
        generation: 1,
        created: None,
        annotations: &annotations,
        spec: Ok(&read.spec),
        shared,
    };
    let policy = validate(&source, &permissions);
    findings.extend(policy.work.as_ref().err().map(|invalid| of_invalid(document, invalid)));
    findings.extend(policy.schedule.as_ref().err().map(|invalid| of_invalid(document, invalid)));
    (Some(Linted { document, spec: read.spec, policy }), findings)
}

fn unreadable(document: &Document, error: &serde_json::Error) -> Finding {
    Finding::new(Rule::InvalidSpec, document, "spec", format!("the operator cannot read it: {error}"))
}

/// The permissions with the URL of a field, so that the rest is checked too; that it is not Upstash's is a finding.
fn with_url(
    document: &Document,
    permissions: &Permissions,
    field: &str,
    findings: &mut Vec<Finding>,
) -> Permissions {
    let mut permissions = permissions.clone();
    let text = document.value.pointer(&format!("/{}", field.replace('.', "/"))).and_then(Value::as_str);
    let url = text.and_then(|text| base_url(text).ok());
    let is_foreign = |url: &Url| !permissions.urls.iter().any(|pattern| pattern.matches(url));
    if let Some(url) = url.filter(is_foreign) {
        let message = format!(
            "{} is not Upstash's; an operator sends no token there unless --allowed-url names it",
            url.as_str().trim_end_matches('/')
        );
        findings.push(Finding::new(Rule::UrlNotAllowed, document, field, message));
        permissions.urls.push(UrlPattern::from(url));
    }
    permissions
}

/// The operator's message begins with the field.
fn of_invalid(document: &Document, invalid: &Invalid) -> Finding {
    let rule = match invalid.reason {
        Reason::InvalidSchedule => Rule::InvalidSchedule,
        Reason::InvalidTimeZone => Rule::InvalidTimeZone,
        Reason::GuardrailViolated => Rule::GuardrailViolated,
        _ => Rule::InvalidSpec,
    };
    let message = invalid.message.as_str();
    let end = message.find([':', ' ']).unwrap_or(message.len());
    let (field, rest) = message.split_at(end);
    if !field.starts_with("spec") {
        return Finding::new(rule, document, "spec", message);
    }
    Finding::new(rule, document, field, rest.trim_start_matches([':', ' ']))
}
