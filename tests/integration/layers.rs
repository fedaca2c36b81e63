//! The layers of `src/`, which are modules of one crate: who may use whom. Between the crates the compiler keeps them
//! apart. The tables below are the rule; the rest finds who breaks it.

mod circles;
mod source;
mod walk_through;

use std::fs;
use std::path::Path;

use testbed::workspace_root;

use crate::documents::below;
use source::{Module, Source};

/// What each layer of the operator may use of the others. The composition root, `cli`, may use everything.
const MAY_USE: [(&str, &[&str]); 5] = [
    ("main", &["cli"]),
    ("lib", &[]),
    ("config", &["runtime"]),
    (
        "controller",
        &["config", "runtime::clock", "runtime::leadership", "runtime::metrics", "runtime::shutdown"],
    ),
    ("runtime", &[]),
];

/// The libraries, which know of each other only what their manifests say.
const LIBRARIES: [&str; 4] = ["crd", "drain", "policy", "upstash"];

/// What must not occur in a layer, be it a crate, a module or a word: what its manifest cannot keep out.
const MUST_NOT_NAME: [(&str, &[&str]); 5] = [
    (
        "policy",
        &[
            "async",
            "await",
            "std::env",
            "std::fs",
            "std::thread",
            "std::time::Instant",
            "SystemTime",
            "Timestamp::now",
            "Zoned::now",
        ],
    ),
    ("crd", &["async", "await", "std::env", "std::fs", "std::net", "Timestamp::now"]),
    ("drain", &["std::env"]),
    ("upstash", &["std::env"]),
    ("runtime", &["dlq_crd", "dlq_drain", "dlq_policy", "dlq_upstash"]),
];

/// Names that say nothing.
const EMPTY_NAMES: [&str; 8] =
    ["utils", "util", "common", "helper", "helpers", "manager", "managers", "misc"];

/// Lines of a file before its tests.
const LONGEST_FILE: usize = 350;
const LONGEST_MAIN: usize = 40;

/// Everything that is wrong with one file. `path` is relative to `src/`, or begins with the name of a library.
fn violations(path: &str, text: &str) -> Vec<String> {
    let module = Module::of(path);
    if module.is_test() {
        return Vec::new();
    }
    let source = Source::before_tests(text);
    let mut found = Vec::new();
    let layer = module.layer();

    if !LIBRARIES.contains(&layer) {
        for (line, used) in source.used(&module) {
            if let Some(why) = refusal(layer, &used) {
                found.push(format!("{path}:{line}: {why}"));
            }
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
    let mut files = read(&workspace_root().join("src"));
    for library in LIBRARIES {
        let sources = read(&workspace_root().join("crates").join(library).join("src"));
        assert!(!sources.is_empty(), "there are no sources of {library}");
        files.extend(sources.into_iter().map(|(path, text)| (format!("{library}/{path}"), text)));
    }
    let violations: Vec<_> = files.iter().flat_map(|(path, text)| violations(path, text)).collect();
    assert!(violations.is_empty(), "in the sources:\n{}", violations.join("\n"));
}

/// The packages that a manifest names, without those for its tests.
fn dependencies(manifest: &str) -> Vec<String> {
    let text = fs::read_to_string(workspace_root().join(manifest)).unwrap();
    let of_tests = text.find("[dev-dependencies]").unwrap_or(text.len());
    let names = text[..of_tests].lines().filter(|line| line.contains('=') || line.contains("workspace"));
    names.filter_map(|line| line.split(['=', '.', ' ']).next()).map(str::to_owned).collect()
}

#[track_caller]
fn assert_depends_on_none_of(manifest: &str, unwanted: &[&str], why: &str) {
    let dependencies = dependencies(manifest);
    assert!(!dependencies.is_empty(), "{manifest} names nothing");
    let found: Vec<_> = dependencies.iter().filter(|name| unwanted.contains(&name.as_str())).collect();
    assert!(found.is_empty(), "{manifest} depends on {found:?}: {why}");
}

#[test]
fn the_pure_core_cannot_wait_or_send() {
    for manifest in ["crates/crd/Cargo.toml", "crates/policy/Cargo.toml"] {
        let unwanted = ["fastrand", "futures", "hyper", "reqwest", "tokio", "tokio-util", "tracing"];
        assert_depends_on_none_of(manifest, &unwanted, "what decides must not wait, send or log");
    }
    assert_depends_on_none_of(
        "crates/policy/Cargo.toml",
        &["kube"],
        "it knows resources, not how to read them",
    );
}

#[test]
fn a_run_needs_no_kubernetes() {
    for manifest in ["crates/drain/Cargo.toml", "crates/upstash/Cargo.toml"] {
        assert_depends_on_none_of(manifest, &["kube", "k8s-openapi"], "people use it without a cluster");
    }
}

#[test]
fn the_simulator_shares_nothing_with_the_operator() {
    let ours = ["dlq-crd", "dlq-drain", "dlq-operator", "dlq-policy", "dlq-upstash", "testbed"];
    assert_depends_on_none_of("simulator/Cargo.toml", &ours, "a shared type would hide a shared mistake");
}

#[test]
fn the_testbed_starts_the_operator_and_does_not_link_it() {
    let ours = ["dlq-drain", "dlq-operator", "dlq-policy", "dlq-upstash"];
    assert_depends_on_none_of("testbed/Cargo.toml", &ours, "what is tested is the program");
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
            "config.rs",
            "use crate::controller::Context;",
            "config.rs:1: `config` uses `crate::controller::Context`, and may use runtime",
        );
    }

    #[test]
    fn an_import_in_nested_braces_is_found() {
        assert_finds(
            "controller/mod.rs",
            "use crate::{\n  config::{Config},\n  runtime::{clock, admin},\n};",
            "crate::runtime::admin",
        );
    }

    #[test]
    fn a_path_in_an_expression_is_found() {
        assert_finds(
            "runtime/lease.rs",
            "fn f() -> u8 { crate::config::Config::new::<u8>().x }",
            "crate::config",
        );
    }

    #[test]
    fn a_path_in_a_macro_is_found() {
        assert_finds("runtime/metrics.rs", "fn f() { println!(\"{}\", crate::cli::X); }", "crate::cli::X");
    }

    #[test]
    fn a_path_through_super_is_found() {
        assert_finds(
            "controller/metrics/waits.rs",
            "use super::super::super::runtime::admin;",
            "crate::runtime::admin",
        );
        assert_finds(
            "runtime/mod.rs",
            "mod inner { use super::super::config::Config; }",
            "crate::config::Config",
        );
    }

    #[test]
    fn a_part_of_a_layer_that_is_not_open_is_found() {
        assert_finds("controller/mod.rs", "use crate::runtime::leader;", "crate::runtime::leader");
    }

    #[test]
    fn main_may_use_the_command_line_alone() {
        assert_finds_nothing("main.rs", "fn main() { dlq_operator::cli::main() }");
        assert_finds("main.rs", "fn main() { dlq_operator::controller::run() }", "crate::controller::run");
    }

    #[test]
    fn a_layer_that_is_not_in_the_table_is_found() {
        assert_finds("plugins/mod.rs", "use crate::config::Config;", "a layer that the table does not know");
    }

    #[test]
    fn what_a_pure_layer_must_not_name_is_found() {
        assert_finds("policy/plan.rs", "async fn f() {}", "must not name `async`");
        assert_finds("runtime/admin.rs", "use dlq_policy::Plan;", "must not name `dlq_policy`");
        assert_finds("policy/plan.rs", "use std::{collections::BTreeMap, env};", "must not name `std::env`");
        assert_finds(
            "policy/plan.rs",
            "fn f() { jiff::Timestamp::now(); }",
            "must not name `Timestamp::now`",
        );
    }

    #[test]
    fn what_is_allowed_is_not_found() {
        assert_finds_nothing("controller/mod.rs", "use crate::{config::Config, runtime::clock};");
        assert_finds_nothing("controller/mod.rs", "mod inner { use super::watch; }");
        assert_finds_nothing(
            "runtime/lease.rs",
            "pub(crate) fn f() {} use super::clock; use self::inner::X;",
        );
        assert_finds_nothing("cli.rs", "use crate::{controller, runtime::admin};");
        assert_finds_nothing("policy/plan.rs", "use crate::hash; use dlq_crd::Reason;");
    }

    #[test]
    fn comments_strings_and_tests_are_not_code() {
        assert_finds_nothing("policy/plan.rs", "/// [`crate::plan`] is not async.\nfn f() {}");
        assert_finds_nothing("policy/plan.rs", "/* await /* nested */ async */ fn f() {}");
        assert_finds_nothing(
            "policy/plan.rs",
            "const A: &str = \"await \\\" async\"; const B: &str = r#\"a \" async\"#;",
        );
        assert_finds_nothing(
            "policy/plan.rs",
            "fn f<'a>(x: &'a str) -> char { '\"' }\n#[cfg(test)]\nmod tests { async fn f() {} }",
        );
        assert_finds_nothing("policy/plan/tests.rs", "async fn f() {}");
        assert_finds_nothing("policy/plan_tests.rs", "async fn f() {}");
    }

    #[test]
    fn a_long_file_is_found_but_not_for_its_tests() {
        let lines = |count: usize| "fn f() {}\n".repeat(count);
        assert_finds_nothing(
            "policy/plan.rs",
            &format!("{}#[cfg(test)]\nmod tests {{}}\n{}", lines(350), lines(350)),
        );
        assert_finds("policy/plan.rs", &lines(351), "351 lines before its tests, more than 350");
        assert_finds("main.rs", &lines(41), "41 lines before its tests, more than 40");
    }

    #[test]
    fn a_name_that_says_nothing_is_found() {
        assert_finds("policy/utils.rs", "", "a module named `utils`");
        assert_finds("policy/common/plan.rs", "", "a module named `common`");
        assert_finds("policy/plan.rs", "mod helpers { }", "a module named `helpers`");
    }
}
