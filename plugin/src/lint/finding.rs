//! What is wrong, and where.

use super::rule::{Level, Rule};
use crate::manifest::{Document, Unreadable};

/// Something that is wrong with a manifest, or good to know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// Which rule says so.
    pub rule: Rule,
    /// How severe it is here: the rule's level or less.
    pub level: Level,
    /// The file.
    pub source: String,
    /// The line, from 1.
    pub line: usize,
    /// The object, such as `DlqPolicy payments/resume`.
    pub object: String,
    /// The field, such as `spec.filters.labels[0]`; empty: the object as a whole.
    pub field: String,
    /// What is wrong, and the way out.
    pub message: String,
}

impl Finding {
    /// Of a field, with the rule's level.
    pub fn new(rule: Rule, document: &Document, field: &str, message: impl Into<String>) -> Self {
        Self {
            rule,
            level: rule.level(),
            source: document.source.clone(),
            line: document.line_of(field),
            object: object(document),
            field: field.to_owned(),
            message: message.into(),
        }
    }

    /// Of a file that is no manifest.
    pub(super) fn unreadable(Unreadable { file, line, what }: Unreadable) -> Self {
        let rule = Rule::Unreadable;
        let (object, field) = ("a file".to_owned(), String::new());
        Self { rule, level: rule.level(), source: file, line: line.max(1), object, field, message: what }
    }

    /// The same, only good to know.
    pub(super) fn only_noted(self) -> Self {
        Self { level: Level::Note, ..self }
    }
}

/// An object's kind and name, with the namespace where it has one.
pub(super) fn object(document: &Document) -> String {
    let kind = if document.kind().is_empty() { "an object" } else { document.kind() };
    match (document.namespace(), document.name()) {
        (_, "") => kind.to_owned(),
        ("", name) => format!("{kind} {name}"),
        (namespace, name) => format!("{kind} {namespace}/{name}"),
    }
}
