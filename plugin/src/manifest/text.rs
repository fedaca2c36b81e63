//! From the text of a file to its objects.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::Value;
use serde_saphyr::{Options, Spanned};

use super::lines::{self, Lines};
use super::{Document, Unreadable};

/// The most bytes of one file. What a chart renders is far below.
const MOST_BYTES: u64 = 16 * 1024 * 1024;

/// A file's text, and its name in messages.
pub(super) struct Text {
    source: String,
    text: String,
}

/// # Errors
/// It cannot be read, is too large, or is not UTF-8.
pub(super) fn file(path: &Path) -> Result<Text, Unreadable> {
    let source = path.display().to_string();
    let file =
        File::open(path).map_err(|error| unreadable(&source, 0, format!("cannot be opened: {error}")))?;
    read(source, file)
}

/// # Errors
/// As [`file()`].
pub(super) fn standard_input() -> Result<Text, Unreadable> {
    read(STANDARD_INPUT_NAME.to_owned(), io::stdin().lock())
}

const STANDARD_INPUT_NAME: &str = "standard input";

fn read(source: String, from: impl Read) -> Result<Text, Unreadable> {
    let mut bytes = Vec::new();
    from.take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(&source, 0, format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MOST_BYTES {
        let most = MOST_BYTES / 1024 / 1024;
        let what = format!("larger than {most} MiB; give the manifests of policies and connections alone");
        return Err(unreadable(&source, 0, what));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        unreadable(&source, line, "not UTF-8; save the file as UTF-8".to_owned())
    })?;
    Ok(Text { source, text })
}

fn unreadable(source: &str, line: usize, what: String) -> Unreadable {
    Unreadable { file: source.to_owned(), line, what }
}

impl Text {
    /// Its objects of any kind, those of lists one by one. Empty documents are none.
    ///
    /// # Errors
    /// It is no YAML, or expands to more than any manifest does.
    pub(super) fn documents(&self) -> Result<Vec<Document>, Unreadable> {
        let text = self.text.trim_start_matches('\u{feff}');
        let parsed: Vec<Spanned<Value>> = serde_saphyr::from_multiple_with_options(text, options())
            .map_err(|error| self.not_yaml(&error))?;
        let mut lines = lines::of_documents(text);
        let mut documents = Vec::new();
        for Spanned { value, referenced, .. } in parsed {
            let line = usize::try_from(referenced.line()).unwrap_or(0).max(1);
            let lines = lines.remove(&line).unwrap_or_default();
            self.open(value, line, lines, &mut documents);
        }
        Ok(documents)
    }

    fn open(&self, mut value: Value, line: usize, lines: Lines, into: &mut Vec<Document>) {
        // `List`, and that of one kind, such as `DlqPolicyList`.
        let is_list = value["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
        if is_list && let Value::Array(items) = value["items"].take() {
            for (index, item) in items.into_iter().enumerate() {
                let lines = lines.below(&format!("items[{index}]"));
                let line = lines.of("").unwrap_or(line);
                into.push(Document { source: self.source.clone(), line, value: item, lines });
            }
        } else {
            into.push(Document { source: self.source.clone(), line, value, lines });
        }
    }

    fn not_yaml(&self, error: &serde_saphyr::Error) -> Unreadable {
        let line = error.location().and_then(|location| usize::try_from(location.line()).ok()).unwrap_or(0);
        let why = error.without_snippet().to_string();
        let why = why.lines().next().unwrap_or_default();
        let way_out = if self.text.contains("{{") && self.source != STANDARD_INPUT_NAME {
            "; render a template of a Helm chart first, and pipe the output of helm template into -f -"
        } else {
            ""
        };
        // What the parser's own options are called helps nobody here.
        let why = why.split(", set DuplicateKeyPolicy").next().unwrap_or_default();
        unreadable(&self.source, line, format!("not YAML that can be read: {why}{way_out}"))
    }
}

/// Room for what large charts render within [`MOST_BYTES`]; the limits of aliases stay, as few bytes can expand to any
/// number.
fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 20_000,
            max_nodes: 2_000_000,
            max_events: 4_000_000,
        },
    }
}
