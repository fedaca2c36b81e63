//! The Markdown pages: their links lead somewhere, and they leave no reason out.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testbed::workspace_root;

use crate::generated_files::schema;

/// Every page that is ours.
pub(crate) fn pages() -> Vec<PathBuf> {
    let root = workspace_root();
    let mut pages = Vec::new();
    for folder in [".", "bench", "simulator", "tests/sdk", "tests/openapi", "charts/dlq-operator"] {
        pages.push(root.join(folder).join("README.md"));
    }
    pages.extend(["CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root.join(name)));
    below(&root.join("docs"), "md", &mut pages);
    pages
}

/// The files below a folder whose names end so, in order.
pub(crate) fn below(dir: &Path, extension: &str, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            below(&path, extension, into);
        } else if path.extension().is_some_and(|found| found == extension) {
            into.push(path);
        }
    }
}

/// The targets of `[text](target)` on a page.
fn links(page: &str) -> Vec<&str> {
    page.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

/// A heading's anchor, as forges make it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let mut dead = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let leads_somewhere = target.exists()
                && (heading.is_empty()
                    || fs::read_to_string(&target)
                        .unwrap()
                        .lines()
                        .any(|line| line.starts_with('#') && anchor(line) == heading));
            if !leads_somewhere {
                dead.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

#[test]
fn the_guide_explains_every_reason() {
    let guide = fs::read_to_string(workspace_root().join("docs/guide.md")).unwrap();
    let schema = schema();
    let reasons = &schema["properties"]["status"]["properties"]["lastRun"]["properties"]["reason"]["enum"];
    let reasons: Vec<_> = reasons.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(reasons.len() > 20, "the reasons are not found in the definition");
    let missing: Vec<_> =
        reasons.into_iter().filter(|reason| !guide.contains(&format!("| `{reason}` |"))).collect();
    assert!(missing.is_empty(), "docs/guide.md does not explain {missing:?}");
}

#[test]
fn pages_that_tell_how_to_build_say_that_it_takes_linux() {
    for page in ["README.md", "CONTRIBUTING.md", "docs/guide.md"] {
        let text = fs::read_to_string(workspace_root().join(page)).unwrap();
        let build = |section: &&str| ["make test", "cargo build"].iter().any(|how| section.contains(how));
        let section = text.split("\n## ").find(build).unwrap_or_else(|| panic!("{page} builds nothing"));
        for needed in ["Linux", "Rust toolchain"] {
            assert!(section.contains(needed), "{page} does not ask for {needed}");
        }
    }
}
