//! Policies and connections from `-f`: files, standard input, folders.
//!
//! What `helm template` and `kustomize build` print holds objects of other kinds too, which are left out; the items of a
//! `List` are taken one by one. Each document knows the line of each of its fields.

mod folder;
mod lines;
mod text;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

use self::lines::Lines;
use crate::outcome::Problem;

/// The group of the resources.
const GROUP: &str = "dlq-operator.dev/";
/// The resources' kinds.
const KINDS: [&str; 3] = ["DlqPolicy", "DlqConnection", "ClusterDlqConnection"];
/// What stands for standard input, as in kubectl.
const STANDARD_INPUT: &str = "-";

/// An object of the operator's kinds, and where it stands.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file's path as given, or found in a folder; `standard input`.
    pub source: String,
    /// The line of its first field, from 1.
    pub line: usize,
    /// The object.
    pub value: Value,
    lines: Lines,
}

impl Document {
    /// One that stands alone in a file.
    #[cfg(test)]
    pub(crate) fn alone(value: Value) -> Self {
        Self { source: "policy.yaml".to_owned(), line: 1, value, lines: Lines::default() }
    }

    /// The line of a field such as `spec.filters.labels[0]`, or of the nearest one around it that is written there.
    pub fn line_of(&self, field: &str) -> usize {
        self.lines.of(field).unwrap_or(self.line)
    }

    /// `kind`; empty where it has none.
    pub fn kind(&self) -> &str {
        self.value["kind"].as_str().unwrap_or_default()
    }

    /// `metadata.name`; empty where it has none.
    pub fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// `metadata.namespace`; empty where it has none, which leaves the namespace to kubectl.
    pub fn namespace(&self) -> &str {
        self.value["metadata"]["namespace"].as_str().unwrap_or_default()
    }
}

/// A file that is no manifest, and why.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{}: {what}", place(.file, *.line))]
pub struct Unreadable {
    /// The file, as in [`Document::source`].
    pub file: String,
    /// Where in it, from 1; 0 where that is not known.
    pub line: usize,
    /// What is wrong, and the way out.
    pub what: String,
}

/// What a file, a folder or standard input holds.
#[derive(Default)]
struct Found {
    documents: Vec<Document>,
    /// How many objects are of other kinds.
    others: usize,
    unreadable: Vec<Unreadable>,
}

/// Reads the policies and connections of a file, of a folder and those below it, or of standard input (`-`).
///
/// # Errors
/// It cannot be read, is no YAML, or holds no object of the operator's kinds.
pub fn read(path: &Path) -> Result<Vec<Document>, Problem> {
    let Found { documents, unreadable, .. } = found(path)?;
    match unreadable.into_iter().next() {
        Some(unreadable) => Err(Problem::Failed(unreadable.to_string())),
        None => Ok(documents),
    }
}

/// Reads all that `-f` names, in the order given, and what cannot be read among it.
///
/// # Errors
/// A place does not exist, or holds no object of the operator's kinds.
pub fn read_all(paths: &[PathBuf]) -> Result<(Vec<Document>, Vec<Unreadable>), Problem> {
    let (mut documents, mut unreadable) = (Vec::<Document>::new(), Vec::<Unreadable>::new());
    // A file that is named by itself and by its folder is read once.
    let real = |source: &str| std::fs::canonicalize(source).unwrap_or_else(|_| PathBuf::from(source));
    let mut known = BTreeSet::new();
    for path in paths {
        let found = found(path)?;
        let sources = found.documents.iter().map(|document| &document.source);
        let sources = sources.chain(found.unreadable.iter().map(|unreadable| &unreadable.file));
        let sources: BTreeSet<_> = sources.map(|source| real(source)).collect();
        documents.extend(found.documents.into_iter().filter(|it| !known.contains(&real(&it.source))));
        unreadable.extend(found.unreadable.into_iter().filter(|it| !known.contains(&real(&it.file))));
        known.extend(sources);
    }
    Ok((documents, unreadable))
}

fn found(path: &Path) -> Result<Found, Problem> {
    let (place, texts) = if path.as_os_str() == STANDARD_INPUT {
        ("standard input".to_owned(), vec![text::standard_input()])
    } else if path.is_dir() {
        let files = folder::manifests(path)?;
        let texts = files.iter().map(|file| text::file(file)).collect();
        (format!("the folder {}", path.display()), texts)
    } else {
        (path.display().to_string(), vec![text::file(path)])
    };
    let mut found = Found::default();
    for text in texts {
        match text.and_then(|text| text.documents()) {
            Ok(documents) => {
                let (ours, others): (Vec<_>, Vec<_>) =
                    documents.into_iter().partition(|document| is_ours(&document.value));
                found.documents.extend(ours);
                found.others += others.len();
            }
            Err(unreadable) => found.unreadable.push(unreadable),
        }
    }
    if found.documents.is_empty() && found.unreadable.is_empty() {
        let others = match found.others {
            0 => "nothing in it is a manifest".to_owned(),
            1 => "the one object in it is of another kind".to_owned(),
            others => format!("the {others} objects in it are of other kinds"),
        };
        return Err(Problem::Failed(format!(
            "{place} holds no DlqPolicy, DlqConnection or ClusterDlqConnection: {others}; name a file that holds one \
             with -f"
        )));
    }
    Ok(found)
}

fn place(source: &str, line: usize) -> String {
    if line > 0 { format!("{source}:{line}") } else { source.to_owned() }
}

fn is_ours(object: &Value) -> bool {
    let says = |field: &str| object[field].as_str().unwrap_or_default();
    says("apiVersion").starts_with(GROUP) || KINDS.contains(&says("kind"))
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
