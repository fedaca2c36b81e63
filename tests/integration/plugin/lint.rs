//! `kubectl dlq lint`, as the binary that people install.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use testbed::{Helm, ScratchDir, binary, workspace_root};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::crd_rules::{Verdict, report, table};

/// What the API server would say; the other rules are the operator's and common sense.
const OF_THE_API_SERVER: [&str; 5] =
    ["unknown-kind", "unknown-field", "missing-field", "invalid-value", "broken-rule"];

/// Runs the plugin in the workspace's root.
async fn lint(args: &[&str], input: &str) -> Output {
    let mut command = Command::new(binary("kubectl-dlq").await.unwrap());
    command
        .current_dir(workspace_root())
        .arg("lint")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let write = async {
        // One that has seen enough reads no further.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
    };
    tokio::join!(child.wait_with_output(), write).0.unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// The results of a report in SARIF.
fn results(output: &Output) -> Vec<Value> {
    let log: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", stdout(output), stderr(output)));
    log["runs"][0]["results"].as_array().unwrap().clone()
}

#[tokio::test]
async fn the_examples_lint_without_errors() {
    let output = lint(&["-f", "examples"], "").await;
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    let last = stdout(&output).lines().last().unwrap();
    assert!(last.starts_with("checked ") && last.contains(" objects: 0 errors, "), "{last}");
    let ladder = stdout(&output).lines().find(|line| line.contains("ladder-resume: spec.schedule")).unwrap();
    assert!(ladder.starts_with("examples/ladder.yaml:22: note: "), "{ladder}");
}

#[tokio::test]
async fn an_error_has_its_line_and_makes_the_command_fail() {
    let folder = ScratchDir::create("lint").unwrap();
    let path = folder.path().join("policy.yaml");
    let example = std::fs::read_to_string(workspace_root().join("examples/resume-scheduled.yaml")).unwrap();
    std::fs::write(&path, example.replace("filters:", "filter:")).unwrap();
    let output = lint(&["-f", path.to_str().unwrap()], "").await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("spec.filter: unknown field; did you mean filters? [unknown-field]"));
    assert!(stderr(&output).starts_with("error: 2 errors found"), "{}", stderr(&output));
    let none = lint(&["-f", "examples/admission"], "").await;
    assert_eq!(none.status.code(), Some(1));
    assert!(stderr(&none).contains("holds no DlqPolicy"), "{}", stderr(&none));
    assert_eq!(lint(&[], "").await.status.code(), Some(2), "without -f");
    assert_eq!(lint(&["-f", "examples", "--retention", "soon"], "").await.status.code(), Some(2));
}

/// What people pipe: objects of all kinds, and among them policies.
#[tokio::test]
async fn the_output_of_helm_template_is_read_from_standard_input() {
    let helm = Helm::offline().await.unwrap();
    let policy = std::fs::read_to_string(workspace_root().join("examples/delete-old.yaml")).unwrap();
    let policy: Value = serde_saphyr::from_str(&policy).unwrap();
    let values = json!({ "extraObjects": [policy] });
    let chart = workspace_root().join("charts/dlq-operator");
    let args = ["template", "test", chart.to_str().unwrap(), "--include-crds", "--values", "-"];
    let rendered = helm.run_with_input(&args, &values.to_string()).await.unwrap().ok().unwrap();
    assert!(rendered.matches("\n---").count() > 5, "{rendered}");
    let output = lint(&["-f", "-", "--retention", "1d"], &rendered).await;
    assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
    let found = stdout(&output).lines().find(|line| line.contains("[matches-nothing]")).unwrap();
    let line: usize =
        found.strip_prefix("standard input:").unwrap().split(':').next().unwrap().parse().unwrap();
    assert!(rendered.lines().nth(line - 1).unwrap().trim_start().starts_with("olderThan:"), "{found}");
    assert!(stdout(&output).ends_with("checked 1 object: 1 error, 0 warnings\n"), "{}", stdout(&output));
}

#[tokio::test]
async fn sarif_names_files_from_where_the_command_runs() {
    let output = lint(&["-f", "examples/simulator", "-o", "sarif"], "").await;
    assert_eq!(output.status.code(), Some(0));
    let results = results(&output);
    let place = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "examples/simulator/policy.yaml");
    assert!(place["region"]["startLine"].as_u64().unwrap() > 1);
}

/// The table is judged by the real API server in a test beside it: with this one both judges say the same.
#[tokio::test]
async fn lint_judges_every_manifest_as_the_api_server_does() {
    let rows = table();
    let documents = rows.iter().enumerate().map(|(index, row)| {
        let mut manifest = row.manifest.clone();
        manifest["apiVersion"] = "dlq-operator.dev/v1alpha1".into();
        manifest["kind"] = row.kind.into();
        manifest["metadata"]["name"] = format!("row-{index}").into();
        manifest.to_string()
    });
    let output = lint(&["-f", "-", "-o", "sarif"], &documents.collect::<Vec<_>>().join("\n---\n")).await;
    let mut found: BTreeMap<usize, BTreeSet<(String, String)>> = BTreeMap::new();
    for result in results(&output).iter().filter(|result| result["level"] == "error") {
        let place = result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"].as_str().unwrap();
        let [_, name, rest @ ..] = &place.split(' ').collect::<Vec<_>>()[..] else { panic!("{place}") };
        let index = name.strip_prefix("row-").unwrap().parse().unwrap();
        let field = rest.first().copied().unwrap_or_default().to_owned();
        found.entry(index).or_default().insert((result["ruleId"].as_str().unwrap().to_owned(), field));
    }
    let none = BTreeSet::new();
    let mut failures = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let found = found.get(&index).unwrap_or(&none);
        let name = format!("{}: {}", row.kind, row.name);
        match row.verdict {
            Verdict::Accepted => {
                if found.iter().any(|(rule, _)| OF_THE_API_SERVER.contains(&rule.as_str())) {
                    failures.push(format!("{name}: accepted by the API server; lint says {found:?}"));
                }
            }
            Verdict::Rejected { field, .. } => {
                let names_it =
                    |(_, at): &(String, String)| at == field || field.contains(&format!("\"{at}\""));
                if !found.iter().any(names_it) {
                    failures
                        .push(format!("{name}: refused by the API server at {field}; lint says {found:?}"));
                }
            }
        }
    }
    report(&failures);
}
