use std::fs;

use tempfile::TempDir;

use super::*;

const POLICY: &str = "apiVersion: dlq-operator.dev/v1alpha1
kind: DlqPolicy
metadata:
  name: resume
spec:
  action: resume
  filters:
    labels:
      - payments
      - orders
";

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn read_text(text: &[u8]) -> Result<Vec<Document>, String> {
    let folder = folder(&[("policy.yaml", text)]);
    read(&folder.path().join("policy.yaml"))
        .map_err(|problem| problem.to_string().replace(&format!("{}/", folder.path().display()), ""))
}

fn problem(text: &[u8]) -> String {
    read_text(text).expect_err("refused")
}

#[test]
fn a_field_has_its_line_and_what_is_not_written_that_of_what_it_would_be_in() {
    let text = format!("# a comment\n---\n{POLICY}");
    let documents = read_text(text.as_bytes()).unwrap();
    let [document] = &documents[..] else { panic!("{documents:?}") };
    assert_eq!(document.line, 3);
    let lines = [
        "spec.action",
        "spec.filters.labels[1]",
        "spec.filters.olderThan",
        "spec.limits",
        "metadata.name",
        "status",
    ]
    .map(|field| document.line_of(field));
    assert_eq!(lines, [8, 12, 9, 7, 6, 3]);
}

#[test]
fn other_kinds_are_left_out_and_lists_are_opened() {
    let text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: web }}\n---\n\n---\n# nothing\n---\napiVersion: v1\nkind: List\nitems:\n\
         - apiVersion: v1\n  kind: Secret\n- kind: DlqPolicy\n  spec:\n    action: delete\n---\n{POLICY}"
    );
    let documents = read_text(text.as_bytes()).unwrap();
    let found: Vec<_> = documents
        .iter()
        .map(|document| (document.kind(), document.line, document.line_of("spec.action")))
        .collect();
    assert_eq!(found, [("DlqPolicy", 14, 16), ("DlqPolicy", 18, 23)]);
}

#[test]
fn json_is_read_too() {
    let documents = read_text(b"{\"kind\": \"DlqPolicy\",\n \"spec\": {\n \"action\": \"resume\"}}").unwrap();
    assert_eq!(documents[0].line_of("spec.action"), 3);
}

#[test]
fn anchors_and_merge_keys_are_read() {
    let text = "kind: DlqPolicy\nx: &filters\n  labels: [a]\nspec:\n  filters: *filters\n  match:\n    <<: *filters\n";
    let documents = read_text(text.as_bytes()).unwrap();
    assert_eq!(documents[0].value["spec"]["filters"]["labels"][0], "a");
    assert_eq!(documents[0].value["spec"]["match"]["labels"][0], "a");
    assert_eq!(documents[0].line_of("spec.filters.labels[0]"), 5, "where the alias stands");
}

#[test]
fn a_folder_is_read_with_those_below_it_but_for_hidden_ones() {
    let folder = folder(&[
        ("b/policy.yml", POLICY.as_bytes()),
        ("a.yaml", POLICY.as_bytes()),
        ("c/d/policy.JSON", b"{\"kind\": \"DlqPolicy\"}"),
        (".git/policy.yaml", POLICY.as_bytes()),
        ("notes.md", b"\xff"),
    ]);
    let documents = read(folder.path()).unwrap();
    let names: Vec<_> = documents
        .iter()
        .map(|document| document.source.replace(&format!("{}/", folder.path().display()), ""))
        .collect();
    assert_eq!(names, ["a.yaml", "b/policy.yml", "c/d/policy.JSON"]);
}

#[test]
fn a_place_without_a_policy_is_an_error_that_says_what_is_there() {
    let empty = folder(&[("notes.md", b"")]);
    let said = read(empty.path()).unwrap_err().to_string();
    assert!(said.starts_with("the folder ") && said.contains("holds no DlqPolicy"), "{said}");
    assert!(problem(b"").contains("nothing in it is a manifest"));
    assert!(
        problem(b"kind: Secret\n---\nkind: Service\n").contains("the 2 objects in it are of other kinds")
    );
    let missing = read(Path::new("/no/such/file.yaml")).unwrap_err().to_string();
    assert!(missing.starts_with("/no/such/file.yaml: cannot be opened"), "{missing}");
}

#[test]
fn what_is_no_yaml_is_refused_with_its_line() {
    let tab = problem(b"kind: DlqPolicy\nspec:\n\taction: resume\n");
    assert!(tab.starts_with("policy.yaml:3: not YAML"), "{tab}");
    let twice = problem(b"kind: DlqPolicy\nspec: {}\nspec: {}\n");
    assert!(twice.starts_with("policy.yaml:3: not YAML"), "{twice}");
    let latin = problem(b"kind: DlqPolicy\n# caf\xe9\n");
    assert!(latin.starts_with("policy.yaml:2: not UTF-8"), "{latin}");
    let template = problem(b"kind: DlqPolicy\n{{- if .Values.on }}\nspec: {}\n{{- end }}\n");
    assert!(template.contains("pipe the output of helm template into -f -"), "{template}");
}

#[test]
fn bombs_are_refused_at_once() {
    let mut bomb = vec!["a0: &a0 [x, x, x, x, x, x, x, x, x]".to_owned()];
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push(format!("a{level}: &a{level} [{aliases}]"));
    }
    problem(bomb.join("\n").as_bytes());
    problem("[".repeat(100_000).as_bytes());
    problem("{a: ".repeat(100_000).as_bytes());
    let large = "# a comment that is long enough\n".repeat(17 * 1024 * 1024 / 32);
    assert!(problem(large.as_bytes()).contains("larger than 16 MiB"));
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_change_nothing() {
    let text = format!("\u{feff}{}", POLICY.replace('\n', "\r\n"));
    let documents = read_text(text.as_bytes()).unwrap();
    assert_eq!((documents[0].line, documents[0].line_of("spec.filters.labels[0]")), (1, 9));
}

#[test]
fn a_file_that_is_named_twice_is_read_once() {
    let folder = folder(&[("a.yaml", POLICY.as_bytes())]);
    let paths = [folder.path().to_owned(), folder.path().join("a.yaml"), folder.path().join("./a.yaml")];
    assert_eq!(read_all(&paths).unwrap().0.len(), 1);
}
