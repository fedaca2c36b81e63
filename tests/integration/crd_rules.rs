//! The rules of the resources, as a table of manifests. The real API server judges each of them; what CEL decides is
//! judged by a CEL implementation in this process too, so that the rules depend on no oddity of either.

mod account;
mod ages;
mod backlog;
mod completeness;
mod connections;
mod dates;
mod filters;
mod limits;
mod listing;
mod local;
mod overrides;
mod shape;
mod shared_limits;
mod timing;

use serde_json::{Value, json};

use crate::cluster::{Judge, Refusal, decoded};

/// A manifest, and what becomes of it.
pub(crate) struct Row {
    /// The kind of the manifest.
    pub(crate) kind: &'static str,
    /// Reads as a sentence.
    pub(crate) name: &'static str,
    /// Without `apiVersion`, `kind` and `metadata`.
    pub(crate) manifest: Value,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Copy)]
pub(crate) enum Verdict {
    Accepted,
    Rejected {
        field: &'static str,
        /// A part of the message: the one that tells the way out.
        message: &'static str,
    },
}

impl Row {
    /// That of a policy, which most are.
    fn new(name: &'static str, manifest: Value, verdict: Verdict) -> Self {
        Self { kind: "DlqPolicy", name, manifest, verdict }
    }

    /// The same of another kind.
    fn of(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }
}

fn accepted(name: &'static str, spec: Value) -> Row {
    Row::new(name, json!({ "spec": spec }), Verdict::Accepted)
}

fn rejected(name: &'static str, spec: Value, field: &'static str, message: &'static str) -> Row {
    Row::new(name, json!({ "spec": spec }), Verdict::Rejected { field, message })
}

/// A valid spec with these fields in place of its own.
fn spec(fields: Value) -> Value {
    let mut spec = json!({ "action": "resume", "filters": { "labels": ["payments"] } });
    let Value::Object(fields) = fields else { panic!("the fields of a spec are an object") };
    spec.as_object_mut().unwrap().extend(fields);
    spec
}

fn filters(filters: Value) -> Value {
    spec(json!({ "filters": filters }))
}

/// A string of so many characters.
fn text(length: usize) -> String {
    "x".repeat(length)
}

/// So many different strings.
fn texts(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("text-{number}")).collect()
}

/// Every manifest, and what becomes of it.
pub(crate) fn table() -> Vec<Row> {
    [
        shape::rows(),
        filters::rows(),
        ages::rows(),
        dates::rows(),
        overrides::rows(),
        timing::rows(),
        limits::rows(),
        account::rows(),
        listing::rows(),
        backlog::rows(),
        connections::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// All that is wrong, at once.
pub(crate) fn report(failures: &[String]) {
    assert!(failures.is_empty(), "{} of the table's rows:\n\n{}\n", failures.len(), failures.join("\n"));
}

/// Whether the refusal says this of this field, and complains of no other: only of what the field is in, where rules
/// cannot be evaluated, and of itself, that it checked no further.
fn says(refusal: &Refusal, field: &str, message: &str) -> bool {
    if refusal.causes.is_empty() {
        return refusal.message.contains(field) && refusal.message.contains(message);
    }
    refusal.causes.iter().any(|(at, said)| at == field && said.contains(message))
        && refusal
            .causes
            .iter()
            .all(|(at, _)| at == "<nil>" || at.starts_with(field) || field.starts_with(at))
}

#[tokio::test]
async fn the_api_server_judges_every_manifest_as_the_table_says() {
    let judge = Judge::new().await;
    let mut failures = Vec::new();
    for row in table() {
        let name = format!("{}: {}", row.kind, row.name);
        let mut manifest = row.manifest;
        manifest["kind"] = row.kind.into();
        match (judge.judge(&manifest).await, row.verdict) {
            (Ok(stored), Verdict::Accepted) => {
                if let Err(error) = decoded(row.kind, stored) {
                    failures.push(format!("{name}: accepted, but cannot be decoded: {error}"));
                }
            }
            (Ok(_), Verdict::Rejected { .. }) => failures.push(format!("{name}: accepted")),
            (Err(refusal), Verdict::Accepted) => failures.push(format!("{name}: {}", refusal.message)),
            (Err(refusal), Verdict::Rejected { field, message }) => {
                if !says(&refusal, field, message) {
                    failures.push(format!("{name}: expected {field}: {message}; got {refusal:#?}"));
                }
            }
        }
    }
    report(&failures);
}

#[test]
fn no_two_rows_of_a_kind_have_one_name() {
    let mut names: Vec<_> = table().iter().map(|row| (row.kind, row.name)).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
