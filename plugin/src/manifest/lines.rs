//! On which line each field of a document stands.

use std::collections::HashMap;
use std::sync::Arc;

use serde_saphyr::granit_parser::{Event, Parser};

/// The lines of the fields of a document, or of a part of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    by_path: Arc<HashMap<String, usize>>,
    root: String,
}

impl Lines {
    /// The line of a field, or of the nearest one around it.
    pub(super) fn of(&self, field: &str) -> Option<usize> {
        let mut path = joined(&self.root, field);
        loop {
            if let Some(line) = self.by_path.get(&path) {
                return Some(*line);
            }
            if path.len() <= self.root.len() {
                return None;
            }
            path.truncate(path.rfind(['.', '[']).unwrap_or(0));
        }
    }

    /// Those below a field, by their paths from there.
    pub(super) fn below(&self, field: &str) -> Self {
        Self { by_path: Arc::clone(&self.by_path), root: joined(&self.root, field) }
    }
}

fn joined(path: &str, key: &str) -> String {
    match (path, key) {
        (path, "") => path.to_owned(),
        ("", key) => key.to_owned(),
        (path, key) => format!("{path}.{key}"),
    }
}

/// A mapping or a sequence that is being read.
enum Open {
    Mapping { path: String, key: Option<String> },
    Sequence { path: String, next: usize },
}

/// Where a node stands.
enum Place {
    Key,
    Value(String),
}

/// The lines of each document, by the line that it begins on. Of a text that was read as YAML before; aliases stand where
/// they are used.
pub(super) fn of_documents(text: &str) -> HashMap<usize, Lines> {
    let mut documents = HashMap::new();
    let (mut lines, mut open) = (HashMap::new(), Vec::new());
    let mut parser = Parser::new_from_str(text);
    while let Some(Ok((event, span))) = parser.next_event() {
        let line = span.start.line();
        match event {
            Event::DocumentStart(..) => {
                lines = HashMap::new();
                open.clear();
            }
            Event::DocumentEnd => {
                if let Some(first) = lines.get("").copied() {
                    let by_path = Arc::new(std::mem::take(&mut lines));
                    documents.insert(first, Lines { by_path, root: String::new() });
                }
            }
            Event::MappingEnd | Event::SequenceEnd => drop(open.pop()),
            Event::Scalar(text, ..) => match place(&mut open) {
                Place::Key => set_key(&mut open, &text, line, &mut lines),
                Place::Value(path) => drop(lines.entry(path).or_insert(line)),
            },
            Event::Alias(_) => {
                if let Place::Value(path) = place(&mut open) {
                    lines.entry(path).or_insert(line);
                }
            }
            Event::MappingStart(..) => {
                let path = begin(&mut open, line, &mut lines);
                open.push(Open::Mapping { path, key: None });
            }
            Event::SequenceStart(..) => {
                let path = begin(&mut open, line, &mut lines);
                open.push(Open::Sequence { path, next: 0 });
            }
            _ => {}
        }
    }
    documents
}

/// The path of a mapping or sequence that begins.
fn begin(open: &mut [Open], line: usize, lines: &mut HashMap<String, usize>) -> String {
    match place(open) {
        // What is no text is the key of no field.
        Place::Key => "?".to_owned(),
        Place::Value(path) => {
            lines.entry(path.clone()).or_insert(line);
            path
        }
    }
}

fn place(open: &mut [Open]) -> Place {
    match open.last_mut() {
        None => Place::Value(String::new()),
        Some(Open::Mapping { path, key }) => {
            key.take().map_or(Place::Key, |key| Place::Value(joined(path, &key)))
        }
        Some(Open::Sequence { path, next }) => {
            *next += 1;
            Place::Value(format!("{path}[{}]", *next - 1))
        }
    }
}

fn set_key(open: &mut [Open], text: &str, line: usize, lines: &mut HashMap<String, usize>) {
    if let Some(Open::Mapping { path, key }) = open.last_mut() {
        lines.entry(joined(path, text)).or_insert(line);
        *key = Some(text.to_owned());
    }
}
