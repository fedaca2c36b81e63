//! The layers of `src/`: who may use whom. The tables below are the rule; the rest finds who breaks it.

mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use testbed::workspace_root;

use crate::documents::below;
use source::{Module, Source};

/// What each layer may use of the others. The composition root, `cli`, may use everything.
const MAY_USE: [(&str, &[&str]); 9] = [
    ("main", &["cli"]),
    ("lib", &[]),
    ("config", &["crd", "upstash", "policy", "runtime"]),
    (
        "controller",
        &[
            "config",
            "drain",
            "policy",
            "crd",
            "upstash",
            "runtime::clock",
            "runtime::leadership",
            "runtime::metrics",
            "runtime::shutdown",
        ],
    ),
    ("drain", &["policy", "crd", "upstash"]),
    ("policy", &["crd", "upstash::types", "upstash::error"]),
    ("upstash", &[]),
    ("crd", &[]),
    ("runtime", &[]),
];

/// What must not occur in a layer, be it a crate, a module or a word.
const MUST_NOT_NAME: [(&str, &[&str]); 4] = [
    (
        "policy",
        &[
            "async",
            "await",
            "tokio",
            "kube",
            "reqwest",
            "std::env",
            "std::fs",
            "std::time::Instant",
            "SystemTime",
            "Timestamp::now",
            "Zoned::now",
        ],
    ),
    ("crd", &["async", "await", "tokio", "reqwest", "std::env", "std::fs", "Timestamp::now"]),
    ("drain", &["kube", "k8s_openapi", "reqwest", "std::env"]),
    ("upstash", &["kube", "k8s_openapi", "std::env"]),
];

/// Names that say nothing.
const EMPTY_NAMES: [&str; 8] =
    ["utils", "util", "common", "helper", "helpers", "manager", "managers", "misc"];

/// Lines of a file before its tests.
const LONGEST_FILE: usize = 400;
const LONGEST_MAIN: usize = 40;

/// Everything that is wrong with one file. `path` is relative to `src/`.
fn violations(path: &str, text: &str) -> Vec<String> {
    let module = Module::of(path);
    if module.is_test() {
        return Vec::new();
    }
    let source = Source::before_tests(text);
    let mut found = Vec::new();
    let layer = module.layer();

    for (line, used) in source.used(&module) {
        if let Some(why) = refusal(layer, &used) {
            found.push(format!("{path}:{line}: {why}"));
        }
    }
    for (_, words) in MUST_NOT_NAME.iter().filter(|(name, _)| *name == layer) {
        for word in *words {
            if let Some(line) = source.first_line_with(word) {
                found.push(format!("{path}:{line}: `{layer}` must not name `{word}`"));
            }
        }
    }
    let longest = if path == "main.rs" { LONGEST_MAIN } else { LONGEST_FILE };
    if source.lines() > longest {
        found.push(format!("{path}: {} lines before its tests, more than {longest}", source.lines()));
    }
    for name in module.names().into_iter().chain(source.inline_modules()) {
        if EMPTY_NAMES.contains(&name.as_str()) {
            found.push(format!("{path}: a module named `{name}` says nothing of what is in it"));
        }
    }
    found
}

/// Why a layer may not use a path (without the leading `crate`).
fn refusal(layer: &str, used: &[String]) -> Option<String> {
    if layer == "cli" || used.first().is_none_or(|first| first == layer) {
        return None;
    }
    let path = used.join("::");
    let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == layer) else {
        return Some(format!("`{layer}` is a layer that the table does not know"));
    };
    let begins_with = |allowed: &str| {
        let parts: Vec<&str> = allowed.split("::").collect();
        used.len() >= parts.len() && parts.iter().zip(used).all(|(part, name)| part == name)
    };
    if allowed.iter().any(|entry| begins_with(entry)) {
        return None;
    }
    let allowed =
        if allowed.is_empty() { "nothing else of the crate".to_owned() } else { allowed.join(", ") };
    Some(format!("`{layer}` uses `crate::{path}`, and may use {allowed}"))
}

fn read(dir: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    below(dir, "rs", &mut files);
    files
        .into_iter()
        .map(|file| {
            let path = file.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            (path, fs::read_to_string(file).unwrap())
        })
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    let violations: Vec<_> =
        read(&workspace_root().join("src")).iter().flat_map(|(path, text)| violations(path, text)).collect();
    assert!(violations.is_empty(), "in src/:\n{}", violations.join("\n"));
}

#[test]
fn the_simulator_shares_nothing_with_the_operator() {
    let manifest = fs::read_to_string(workspace_root().join("simulator/Cargo.toml")).unwrap();
    let ours = ["dlq-operator", "testbed"];
    let shared: BTreeSet<_> = manifest
        .lines()
        .filter_map(|line| line.split(['=', '.', ' ']).next())
        .filter(|name| ours.contains(name))
        .collect();
    assert!(
        shared.is_empty(),
        "simulator/Cargo.toml depends on {shared:?}: a shared type would hide a shared mistake"
    );
}

#[test]
fn the_testbed_starts_the_operator_and_does_not_link_it() {
    let manifest = fs::read_to_string(workspace_root().join("testbed/Cargo.toml")).unwrap();
    assert!(
        !manifest.lines().any(|line| line.starts_with("dlq-operator")),
        "testbed/Cargo.toml links the operator"
    );
}

/// Rules for the rules: planted violations are found, and nothing else is.
mod planted {
    use super::violations;

    #[track_caller]
    fn assert_finds(path: &str, text: &str, expected: &str) {
        let found = violations(path, text);
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "expected one of {expected:?}, found {found:?}"
        );
    }

    #[track_caller]
    fn assert_finds_nothing(path: &str, text: &str) {
        assert_eq!(violations(path, text), Vec::<String>::new());
    }

    #[test]
    fn an_import_against_the_direction_is_found() {
        assert_finds(
            "policy/plan.rs",
            "use crate::drain::Drain;",
            "policy/plan.rs:1: `policy` uses `crate::drain::Drain`, and may use crd, upstash::types, upstash::error",
        );
    }

    #[test]
    fn an_import_in_nested_braces_is_found() {
        assert_finds(
            "drain/mod.rs",
            "use crate::{\n  policy::{plan, hash},\n  runtime::{clock},\n};",
            "crate::runtime::clock",
        );
    }

    #[test]
    fn a_path_in_an_expression_is_found() {
        assert_finds(
            "upstash/client.rs",
            "fn f() -> u8 { crate::config::Config::new::<u8>().x }",
            "crate::config",
        );
    }

    #[test]
    fn a_path_in_a_macro_is_found() {
        assert_finds("runtime/metrics.rs", "fn f() { println!(\"{}\", crate::crd::X); }", "crate::crd::X");
    }

    #[test]
    fn a_path_through_super_is_found() {
        assert_finds(
            "policy/plan/gates.rs",
            "use super::super::super::runtime::clock;",
            "crate::runtime::clock",
        );
        assert_finds("crd/mod.rs", "mod inner { use super::super::policy::plan; }", "crate::policy::plan");
    }

    #[test]
    fn a_part_of_a_layer_that_is_not_open_is_found() {
        assert_finds("policy/plan.rs", "use crate::upstash::client::Client;", "crate::upstash::client");
        assert_finds("controller/mod.rs", "use crate::runtime::leader;", "crate::runtime::leader");
    }

    #[test]
    fn main_may_use_the_command_line_alone() {
        assert_finds_nothing("main.rs", "fn main() { dlq_operator::cli::main() }");
        assert_finds("main.rs", "fn main() { dlq_operator::controller::run() }", "crate::controller::run");
    }

    #[test]
    fn a_layer_that_is_not_in_the_table_is_found() {
        assert_finds("plugins/mod.rs", "use crate::crd::DlqPolicy;", "a layer that the table does not know");
    }

    #[test]
    fn what_a_pure_layer_must_not_name_is_found() {
        assert_finds("policy/plan.rs", "async fn f() {}", "must not name `async`");
        assert_finds("policy/plan.rs", "use tokio::time;", "must not name `tokio`");
        assert_finds("policy/plan.rs", "use std::{collections::BTreeMap, env};", "must not name `std::env`");
        assert_finds(
            "policy/plan.rs",
            "fn f() { jiff::Timestamp::now(); }",
            "must not name `Timestamp::now`",
        );
        assert_finds("drain/mod.rs", "use kube::Api;", "must not name `kube`");
    }

    #[test]
    fn what_is_allowed_is_not_found() {
        assert_finds_nothing(
            "policy/plan.rs",
            "use crate::{crd::Reason, policy::hash, upstash::types::Call};",
        );
        assert_finds_nothing("policy/mod.rs", "mod inner { use super::plan; }");
        assert_finds_nothing("policy/plan.rs", "pub(crate) fn f() {} use super::hash; use self::inner::X;");
        assert_finds_nothing("cli.rs", "use crate::{controller, runtime::leader};");
        assert_finds_nothing("drain/mod.rs", "use crate::upstash::client::Client;");
    }

    #[test]
    fn comments_strings_and_tests_are_not_code() {
        assert_finds_nothing("policy/plan.rs", "/// [`crate::drain`] is async.\nfn f() {}");
        assert_finds_nothing("policy/plan.rs", "/* tokio /* nested */ async */ fn f() {}");
        assert_finds_nothing(
            "policy/plan.rs",
            "const A: &str = \"crate::drain \\\" async\"; const B: &str = r#\"a \" tokio\"#;",
        );
        assert_finds_nothing(
            "policy/plan.rs",
            "fn f<'a>(x: &'a str) -> char { '\"' }\n#[cfg(test)]\nmod tests { use crate::drain; }",
        );
        assert_finds_nothing("policy/plan/tests.rs", "use crate::drain;");
        assert_finds_nothing("policy/plan_tests.rs", "use crate::drain;");
    }

    #[test]
    fn a_long_file_is_found_but_not_for_its_tests() {
        let lines = |count: usize| "fn f() {}\n".repeat(count);
        assert_finds_nothing(
            "policy/plan.rs",
            &format!("{}#[cfg(test)]\nmod tests {{}}\n{}", lines(400), lines(400)),
        );
        assert_finds("policy/plan.rs", &lines(401), "401 lines before its tests, more than 400");
        assert_finds("main.rs", &lines(41), "41 lines before its tests, more than 40");
    }

    #[test]
    fn a_name_that_says_nothing_is_found() {
        assert_finds("policy/utils.rs", "", "a module named `utils`");
        assert_finds("policy/common/plan.rs", "", "a module named `common`");
        assert_finds("policy/plan.rs", "mod helpers { }", "a module named `helpers`");
    }
}
