//! The findings for people, and for editors that read `file:line: level: message`.

use std::fmt::Write as _;

use super::finding::Finding;
use super::rule::{Level, Rule};
use crate::manifest::Document;

/// A line for each finding, and how many there are.
pub(super) fn report(documents: &[Document], findings: &[Finding]) -> String {
    let mut report = String::new();
    for Finding { rule, level, source, line, object, field, message } in findings {
        let field = if field.is_empty() { String::new() } else { format!(" {field}:") };
        let _ = writeln!(report, "{source}:{line}: {level}: {object}:{field} {message} [{}]", rule.id());
    }
    let count = |level| {
        findings.iter().filter(|finding| finding.level == level && finding.rule != Rule::NextRuns).count()
    };
    let _ = writeln!(
        report,
        "checked {}: {}, {}",
        counted(documents.len(), "object"),
        counted(count(Level::Error), "error"),
        counted(count(Level::Warning), "warning")
    );
    report
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
