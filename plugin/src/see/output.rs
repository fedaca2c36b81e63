//! In which form objects are printed: `-o`.

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cluster::Stored;
use crate::outcome::Problem;

/// In which form.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Output {
    /// A table for people
    #[default]
    Table,
    /// The table with further columns
    Wide,
    /// The objects as JSON
    Json,
    /// The objects as YAML
    Yaml,
    /// Their names, a line each
    Name,
}

/// A policy in a form for programs; none for a form for people.
pub(super) fn object(policy: &Stored, output: Output) -> Result<Option<String>, Problem> {
    match output {
        Output::Name => Ok(Some(name(policy))),
        output => document(policy.object(), output),
    }
}

/// Policies likewise, as one list.
pub(super) fn objects(policies: &[Stored], output: Output) -> Result<Option<String>, Problem> {
    if output == Output::Name {
        return Ok(Some(policies.iter().map(name).collect()));
    }
    let items: Vec<_> = policies.iter().map(Stored::object).collect();
    document(&json!({ "apiVersion": "v1", "kind": "List", "items": items }), output)
}

/// Any document as JSON or YAML; none for another form.
pub fn document(document: &impl Serialize, output: Output) -> Result<Option<String>, Problem> {
    let said = |problem: &dyn std::error::Error| Problem::Failed(format!("cannot print that: {problem}"));
    // Through a value: its keys are in order.
    let value: Value = serde_json::to_value(document).map_err(|problem| said(&problem))?;
    match output {
        Output::Json => serde_json::to_string_pretty(&value)
            .map(|text| Some(text + "\n"))
            .map_err(|problem| said(&problem)),
        Output::Yaml => serde_saphyr::to_string(&value).map(Some).map_err(|problem| said(&problem)),
        Output::Table | Output::Wide | Output::Name => Ok(None),
    }
}

/// As kubectl names it.
pub fn name(policy: &Stored) -> String {
    format!("dlqpolicy.dlq-operator.dev/{}\n", policy.name())
}
