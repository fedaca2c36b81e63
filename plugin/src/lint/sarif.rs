//! The findings as SARIF 2.1.0, which code scanning shows beside the changed lines.

use std::path::{Component, Path};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;

use super::finding::Finding;
use super::rule::{Level, Rule};
use crate::outcome::Problem;

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";
/// What a path may not hold as it is.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b':')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

#[derive(Serialize)]
struct Log {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run; 1],
}

#[derive(Serialize)]
struct Run {
    tool: Tool,
    results: Vec<Entry>,
}

#[derive(Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Serialize)]
struct Driver {
    name: &'static str,
    version: &'static str,
    rules: Vec<Descriptor>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    id: &'static str,
    short_description: Message,
    default_configuration: Configuration,
}

#[derive(Serialize)]
struct Configuration {
    level: Level,
}

#[derive(Serialize)]
struct Message {
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    rule_id: &'static str,
    rule_index: usize,
    level: Level,
    message: Message,
    locations: [Location; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: PhysicalLocation,
    logical_locations: [LogicalLocation; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: ArtifactLocation,
    region: Region,
}

#[derive(Serialize)]
struct ArtifactLocation {
    uri: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogicalLocation {
    fully_qualified_name: String,
    kind: &'static str,
}

/// The report. The times of schedules are nothing to report.
///
/// # Errors
/// None that a finding causes.
pub(super) fn report(findings: &[Finding]) -> Result<String, Problem> {
    let rules: Vec<_> = Rule::ALL.into_iter().filter(|rule| *rule != Rule::NextRuns).collect();
    let results = findings
        .iter()
        .filter_map(|finding| Some(entry(finding, rules.iter().position(|rule| *rule == finding.rule)?)))
        .collect();
    let rules = rules.into_iter().map(|rule| Descriptor {
        id: rule.id(),
        short_description: Message { text: rule.description().to_owned() },
        default_configuration: Configuration { level: rule.level() },
    });
    let driver = Driver { name: "kubectl-dlq", version: env!("CARGO_PKG_VERSION"), rules: rules.collect() };
    let log = Log { schema: SCHEMA, version: "2.1.0", runs: [Run { tool: Tool { driver }, results }] };
    serde_json::to_string_pretty(&log)
        .map(|text| text + "\n")
        .map_err(|error| Problem::Failed(format!("cannot write SARIF: {error}")))
}

fn entry(finding: &Finding, rule_index: usize) -> Entry {
    let Finding { rule, level, source, line, object, field, message } = finding;
    let at = if field.is_empty() { object.clone() } else { format!("{object} {field}") };
    Entry {
        rule_id: rule.id(),
        rule_index,
        level: *level,
        message: Message { text: format!("{at}: {message}") },
        locations: [Location {
            physical_location: PhysicalLocation {
                artifact_location: ArtifactLocation { uri: uri(source) },
                region: Region { start_line: *line },
            },
            logical_locations: [LogicalLocation { fully_qualified_name: at, kind: "object" }],
        }],
    }
}

/// The path from where the command runs, as a URI; that of a file elsewhere from the root.
fn uri(source: &str) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let path = Path::new(source);
    let path = path.strip_prefix(&here).unwrap_or(path);
    let parts = path.components().filter(|part| !matches!(part, Component::CurDir | Component::RootDir));
    let parts: Vec<_> = parts
        .map(|part| utf8_percent_encode(&part.as_os_str().to_string_lossy(), PATH).to_string())
        .collect();
    let root = if path.is_absolute() { "file:///" } else { "" };
    format!("{root}{}", parts.join("/"))
}

#[cfg(test)]
#[path = "sarif_tests.rs"]
mod tests;
