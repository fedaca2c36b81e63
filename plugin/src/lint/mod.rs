//! `kubectl dlq lint`: what is wrong with policies and connections, without a cluster.
//!
//! ```text
//! manifest ─▶ cel, schema (as the API server) ─▶ policies (as the operator) ─▶ times, pairs ─▶ text, sarif
//! ```

mod cel;
mod finding;
mod overlap;
mod pairs;
mod policies;
mod rule;
mod sarif;
mod schema;
mod suggestion;
mod text;
mod times;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use dlq_policy::spec::{duration, is_dns_name};
use jiff::{SignedDuration, Timestamp};

use self::cel::Definitions;
pub use self::finding::Finding;
use self::policies::Connections;
pub use self::rule::{Level, Rule};
use self::schema::Broken;
use self::suggestion::suggestion;
use crate::clock;
use crate::manifest::{self, Document};
use crate::outcome::{Outcome, Problem};
use crate::terminal::print;

/// The version of the resources that there is.
const VERSION: &str = "dlq-operator.dev/v1alpha1";

/// Check policies and connections without a cluster
#[derive(Args, Debug)]
pub struct LintArgs {
    /// Files, folders, or - for standard input
    #[arg(short, long = "filename", value_name = "FILE", required = true, num_args = 1..)]
    filenames: Vec<PathBuf>,

    /// How long the Upstash plan keeps entries, such as 3d
    #[arg(long, value_name = "DURATION", value_parser = retention)]
    retention: Option<SignedDuration>,

    /// How to print the findings
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// A line for each finding
    Text,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

fn retention(text: &str) -> Result<SignedDuration, String> {
    duration::parse(text)
        .filter(SignedDuration::is_positive)
        .ok_or_else(|| "must be a duration longer than 0, such as 3d or 36h".to_owned())
}

/// Prints what is wrong; errors among it make the exit code 1.
///
/// # Errors
/// A file cannot be read, or there is an error among the findings.
pub fn run(args: &LintArgs) -> Result<Outcome, Problem> {
    let (documents, unreadable) = manifest::read_all(&args.filenames)?;
    let mut findings: Vec<_> = unreadable.into_iter().map(Finding::unreadable).collect();
    findings.extend(lint(&documents, args.retention, clock::now())?);
    let report = match args.output {
        Output::Text => text::report(&documents, &findings),
        Output::Sarif => sarif::report(&findings)?,
    };
    print(&report)?;
    match findings.iter().filter(|finding| finding.level == Level::Error).count() {
        0 => Ok(Outcome::Done),
        1 => Err(Problem::Failed("1 error found; fix it before you apply".to_owned())),
        errors => Err(Problem::Failed(format!("{errors} errors found; fix them before you apply"))),
    }
}

/// What is wrong with manifests, in the order of the files and their lines.
///
/// # Errors
/// None that a manifest causes.
pub fn lint(
    documents: &[Document],
    retention: Option<SignedDuration>,
    now: Timestamp,
) -> Result<Vec<Finding>, Problem> {
    let definitions = Definitions::new();
    let mut findings = Vec::new();
    let mut readable = Vec::new();
    for document in documents {
        let broken = refused(document, &definitions);
        // Unknown fields are dropped, the rest is read.
        if broken.iter().all(|finding| finding.rule == Rule::UnknownField) {
            readable.push(document);
        }
        findings.extend(broken);
    }
    findings.extend(duplicates(&readable));

    let permissions = policies::permissions()?;
    let mut connections = Connections::new();
    for document in &readable {
        findings.extend(policies::connection(document, &permissions, &mut connections));
    }
    let mut linted = Vec::new();
    for document in readable.into_iter().filter(|document| document.kind() == "DlqPolicy") {
        let (policy, problems) = policies::policy(document, &permissions, &connections);
        findings.extend(problems);
        linted.extend(policy);
    }
    for policy in &linted {
        findings.extend(times::check(policy, retention, now));
    }
    findings.extend(pairs::check(&linted, now));

    let place: BTreeMap<_, _> =
        documents.iter().enumerate().map(|(index, document)| (document.source.as_str(), index)).collect();
    findings.sort_by_key(|finding| (place.get(finding.source.as_str()).copied(), finding.line));
    Ok(findings)
}

/// Why the API server would refuse an object.
pub fn as_the_api_server(document: &Document) -> Vec<Finding> {
    refused(document, &Definitions::new())
}

fn refused(document: &Document, definitions: &Definitions) -> Vec<Finding> {
    let version = document.value["apiVersion"].as_str().unwrap_or_default();
    if !definitions.kinds().any(|kind| kind == document.kind()) {
        let kinds: Vec<_> = definitions.kinds().collect();
        let meant = suggestion(document.kind(), kinds.iter().copied()).map_or_else(
            || format!("there are {}", kinds.join(", ")),
            |meant| format!("did you mean {meant}?"),
        );
        let message = format!("{:?} is no kind of dlq-operator.dev; {meant}", document.kind());
        return vec![Finding::new(Rule::UnknownKind, document, "kind", message)];
    }
    let mut findings = Vec::new();
    if version != VERSION {
        let message = format!("{version:?} is no version that there is; write {VERSION}");
        findings.push(Finding::new(Rule::UnknownVersion, document, "apiVersion", message));
    }
    if document.name().is_empty() && document.value["metadata"]["generateName"].is_null() {
        findings.push(Finding::new(Rule::MissingField, document, "metadata.name", "is required; add it"));
    }
    findings.extend(metadata(document));
    let broken = definitions.judge(document.kind(), &document.value);
    findings.extend(
        broken
            .into_iter()
            .map(|Broken { rule, field, message }| Finding::new(rule, document, &field, message)),
    );
    findings
}

/// What the API server asks of the metadata of any object.
fn metadata(document: &Document) -> Vec<Finding> {
    let metadata = &document.value["metadata"];
    let invalid = |field: &str, message: &str| {
        Finding::new(Rule::InvalidValue, document, &format!("metadata.{field}"), message)
    };
    let mut findings = Vec::new();
    if !document.name().is_empty() && !is_dns_name(document.name()) {
        findings
            .push(invalid("name", "is no name of an object; use lower-case letters, digits, - and . only"));
    }
    let namespace = document.namespace();
    if !namespace.is_empty() && (!is_dns_name(namespace) || namespace.contains('.')) {
        let message = "is no name of a namespace; use lower-case letters, digits and - only";
        findings.push(invalid("namespace", message));
    }
    for field in ["labels", "annotations"] {
        for (key, value) in metadata[field].as_object().into_iter().flatten() {
            if !value.is_string() {
                findings.push(invalid(&format!("{field}.{key}"), "must be a text; put it into quotes"));
            }
        }
    }
    findings
}

fn duplicates(documents: &[&Document]) -> Vec<Finding> {
    let mut seen: BTreeMap<(&str, &str, &str), &Document> = BTreeMap::new();
    let mut findings = Vec::new();
    for document in documents.iter().filter(|document| !document.name().is_empty()) {
        let identity = (document.kind(), document.namespace(), document.name());
        match seen.get(&identity) {
            Some(first) => {
                let message = format!(
                    "is in {}:{} too, and the one applied last wins; give one of them another name, or remove it",
                    first.source, first.line
                );
                findings.push(Finding::new(Rule::DuplicateObject, document, "metadata.name", message));
            }
            None => drop(seen.insert(identity, document)),
        }
    }
    findings
}

#[cfg(test)]
#[path = "lint_tests.rs"]
mod tests;
