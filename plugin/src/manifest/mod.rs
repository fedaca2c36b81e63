//! Policies and connections from `-f`: files, standard input, folders.
//!
//! What `helm template` and `kustomize build` print holds objects of other kinds too, which are left out; the items of a
//! `List` are taken one by one. Each document knows the line of each of its fields.

mod folder;
mod lines;
mod text;

use std::path::{Path, PathBuf};

use serde_json::Value;

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

/// Reads the policies and connections of a file, of a folder and those below it, or of standard input (`-`).
///
/// # Errors
/// It cannot be read, is no YAML, or holds no object of the operator's kinds.
pub fn read(path: &Path) -> Result<Vec<Document>, Problem> {
    let (place, texts) = if path.as_os_str() == STANDARD_INPUT {
        ("standard input".to_owned(), vec![text::standard_input()?])
    } else if path.is_dir() {
        let files = folder::manifests(path)?;
        let texts = files.iter().map(|file| text::file(file)).collect::<Result<_, _>>()?;
        (format!("the folder {}", path.display()), texts)
    } else {
        (path.display().to_string(), vec![text::file(path)?])
    };
    let (mut documents, mut others) = (Vec::new(), 0);
    for text in texts {
        for document in text.documents()? {
            if is_ours(&document.value) {
                documents.push(document);
            } else {
                others += 1;
            }
        }
    }
    if documents.is_empty() {
        let found = match others {
            0 => "nothing in it is a manifest".to_owned(),
            1 => "the one object in it is of another kind".to_owned(),
            others => format!("the {others} objects in it are of other kinds"),
        };
        return Err(Problem::Failed(format!(
            "{place} holds no DlqPolicy, DlqConnection or ClusterDlqConnection: {found}; name a file that holds one \
             with -f"
        )));
    }
    Ok(documents)
}

/// Reads all that `-f` names, in the order given.
///
/// # Errors
/// As [`read`], for the first that cannot be read.
pub fn read_all(paths: &[PathBuf]) -> Result<Vec<Document>, Problem> {
    let mut documents = Vec::new();
    for path in paths {
        documents.extend(read(path)?);
    }
    Ok(documents)
}

fn is_ours(object: &Value) -> bool {
    let says = |field: &str| object[field].as_str().unwrap_or_default();
    says("apiVersion").starts_with(GROUP) || KINDS.contains(&says("kind"))
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
