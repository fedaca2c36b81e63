//! The manifests in a folder and those below it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::outcome::Problem;

/// What the name of a manifest's file ends with.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// The files in order of their paths. Hidden folders such as `.git` are left out, and links to folders, which may lead in
/// a circle.
pub(super) fn manifests(folder: &Path) -> Result<Vec<PathBuf>, Problem> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |error: std::io::Error| {
            Problem::Failed(format!("cannot read the folder {}: {error}", folder.display()))
        };
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
            if kind.is_dir() {
                if !entry.file_name().to_string_lossy().starts_with('.') {
                    folders.push(path);
                }
            } else if is_manifest(&path) && path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
}
