//! Files that import each other in a circle can only be read together.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use testbed::workspace_root;

use super::read;
use super::source::{Module, Source};

/// Which file imports which, below a folder.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// The file of the longest part of a path that is a module.
fn file_of(modules: &BTreeMap<Vec<String>, String>, path: &[String]) -> Option<String> {
    (1..=path.len()).rev().find_map(|length| modules.get(&path[..length])).cloned()
}

/// What `lib.rs` offers under a shorter name, by that name.
fn offered(root: &str) -> BTreeMap<String, Vec<String>> {
    let mut offered = BTreeMap::new();
    for text in root.split(';').filter_map(|item| item.trim().strip_prefix("pub use ")) {
        let (module, names) = text.rsplit_once("::").unwrap_or(("", text));
        let module: Vec<_> = module.split("::").map(str::to_owned).collect();
        for name in names.trim_matches(['{', '}']).split(',').map(str::trim) {
            offered.insert(name.to_owned(), module.clone());
        }
    }
    offered
}

/// `folder` holds a crate's sources; only what is in its module `within` counts, or everything.
fn imports(folder: &str, within: &str) -> Imports {
    let files = read(&workspace_root().join(folder));
    let root = fs::read_to_string(workspace_root().join(folder).join("lib.rs")).unwrap();
    imports_of(&files, &root, within)
}

fn imports_of(files: &[(String, String)], root: &str, within: &str) -> Imports {
    let offered = offered(root);
    let is_within = |path: &str| path != "lib.rs" && path.starts_with(within);
    let files: Vec<_> = files.iter().filter(|(path, _)| is_within(path)).collect();
    let modules: BTreeMap<_, _> =
        files.iter().map(|(path, _)| (Module::of(path).names(), path.clone())).collect();
    let mut imports = Imports::new();
    for (path, text) in files.iter().filter(|(path, _)| !Module::of(path).is_test()) {
        let of_file = imports.entry(path.clone()).or_default();
        for (_, mut used) in Source::before_tests(text).imported(&Module::of(path)) {
            if let Some(module) = used.first().and_then(|first| offered.get(first)) {
                used = module.clone();
            }
            of_file.extend(file_of(&modules, &used).filter(|file| file != path));
        }
    }
    imports
}

/// A circle, if there is one.
fn circle(imports: &Imports) -> Option<Vec<String>> {
    fn walk(file: &str, imports: &Imports, way: &mut Vec<String>, done: &mut BTreeSet<String>) -> bool {
        if let Some(start) = way.iter().position(|passed| passed == file) {
            way.drain(..start);
            return true;
        }
        if done.contains(file) {
            return false;
        }
        way.push(file.to_owned());
        if imports[file].iter().any(|next| walk(next, imports, way, done)) {
            return true;
        }
        way.pop();
        done.insert(file.to_owned());
        false
    }
    let (mut way, mut done) = (Vec::new(), BTreeSet::new());
    imports.keys().any(|file| walk(file, imports, &mut way, &mut done)).then_some(way)
}

#[test]
fn no_files_of_the_controller_import_each_other_in_a_circle() {
    let imports = imports("src", "controller");
    assert!(imports.len() > 20, "{imports:?}");
    assert_eq!(circle(&imports), None);
}

#[test]
fn no_files_of_the_core_import_each_other_in_a_circle() {
    let imports = imports("crates/policy/src", "");
    assert!(imports.len() > 30, "{imports:?}");
    assert_eq!(circle(&imports), None);
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let found = |files: &[(String, String)]| circle(&imports_of(files, "pub use plan::Plan;", ""));
    let there = file("plan/mod.rs", "mod due; use crate::status::Status; pub use self::due::Due;");
    for back in ["use crate::plan::Plan;", "use crate::Plan;", "fn f() -> crate::plan::Plan {}"] {
        assert!(found(&[there.clone(), file("status.rs", back)]).is_some(), "{back}");
    }
    assert!(found(&[file("a/mod.rs", "use self::b::B;"), file("a/b.rs", "use super::A;")]).is_some());
    let none = [
        there,
        file("status.rs", "use crate::run::Run;"),
        file("plan/due.rs", "use super::Plan;"),
        file("run.rs", ""),
    ];
    assert_eq!(found(&none), None, "what a module only offers, it does not need");
}
