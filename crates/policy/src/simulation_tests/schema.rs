//! Judges a status as the API server does. It knows the keywords that the definition's status uses, and no other: a
//! keyword that it does not know is an error of its own, so that nothing goes unjudged.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jiff::Timestamp;
use kube::CustomResourceExt;
use kube_cel::{CompiledSchema, Validator, compile_schema};
use serde_json::{Map, Value};

use dlq_crd::DlqPolicy;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let definition = serde_json::to_value(DlqPolicy::crd()).unwrap();
    let status = "/spec/versions/0/schema/openAPIV3Schema/properties/status";
    definition.pointer(status).expect("the definition has a status").clone()
});

/// Where the status has rules in CEL.
static RULES: LazyLock<Option<CompiledSchema>> = LazyLock::new(|| {
    SCHEMA.to_string().contains("x-kubernetes-validations").then(|| compile_schema(&SCHEMA))
});

/// What the API server would refuse or drop.
pub(super) fn problems(before: &Value, status: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    check(&SCHEMA, status, "status", &mut problems);
    if let Some(rules) = &*RULES
        && let Err(errors) = Validator::new().validate_compiled(rules, status, Some(before))
    {
        problems.extend(errors.iter().map(ToString::to_string));
    }
    problems
}

fn check(schema: &Value, value: &Value, at: &str, problems: &mut Vec<String>) {
    let schema = schema.as_object().expect("a schema is an object");
    if value.is_null() && schema.get("nullable") == Some(&Value::Bool(true)) {
        return;
    }
    let none = Vec::new();
    for (keyword, wanted) in schema {
        let holds = match keyword.as_str() {
            "type" => is_of_type(value, wanted.as_str().unwrap()),
            "format" => has_format(value, wanted.as_str().unwrap()),
            "enum" => wanted.as_array().unwrap().contains(value),
            "minimum" => value.as_f64().is_none_or(|number| number >= wanted.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= wanted.as_f64().unwrap()),
            "maxLength" => value.as_str().is_none_or(|text| within(text.chars().count(), wanted)),
            "maxItems" => value.as_array().is_none_or(|items| within(items.len(), wanted)),
            "required" => value.as_object().is_none_or(|fields| {
                wanted.as_array().unwrap().iter().all(|name| fields.contains_key(name.as_str().unwrap()))
            }),
            "x-kubernetes-list-map-keys" => has_distinct_keys(value, wanted.as_array().unwrap()),
            "properties" => {
                check_fields(wanted.as_object().unwrap(), value, at, problems);
                true
            }
            "items" => {
                for (index, item) in value.as_array().unwrap_or(&none).iter().enumerate() {
                    check(wanted, item, &format!("{at}[{index}]"), problems);
                }
                true
            }
            "nullable"
            | "default"
            | "description"
            | "x-kubernetes-list-type"
            | "x-kubernetes-map-type"
            | "x-kubernetes-validations" => true,
            unknown => panic!("the schema has the keyword {unknown}, which is not judged here"),
        };
        if !holds {
            problems.push(format!("{at}: {value} breaks {keyword}: {wanted}"));
        }
    }
}

/// A field that the definition does not name is dropped, so it is a mistake.
fn check_fields(known: &Map<String, Value>, value: &Value, at: &str, problems: &mut Vec<String>) {
    for (name, field) in value.as_object().into_iter().flatten() {
        let path = format!("{at}.{name}");
        match known.get(name) {
            Some(schema) => check(schema, field, &path, problems),
            None => problems.push(format!("{path}: no such field")),
        }
    }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64(),
        unknown => panic!("the schema has the type {unknown}, which is not judged here"),
    }
}

fn has_format(value: &Value, name: &str) -> bool {
    match name {
        "int64" => value.is_i64(),
        "int32" => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        "date-time" => value.as_str().is_some_and(|text| {
            text.as_bytes().get(10) == Some(&b'T') && text.ends_with('Z') && text.parse::<Timestamp>().is_ok()
        }),
        unknown => panic!("the schema has the format {unknown}, which is not judged here"),
    }
}

fn within(length: usize, most: &Value) -> bool {
    u64::try_from(length).unwrap() <= most.as_u64().unwrap()
}

fn has_distinct_keys(value: &Value, keys: &[Value]) -> bool {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let key =
        |item: &Value| keys.iter().map(|key| item[key.as_str().unwrap()].to_string()).collect::<Vec<_>>();
    items.iter().map(key).collect::<BTreeSet<_>>().len() == items.len()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run() -> Value {
        json!({"id": "1-spec", "trigger": "Spec", "action": "resume", "startTime": "2026-11-20T12:00:00.000Z"})
    }

    fn judged(fields: &Value) -> Vec<String> {
        problems(&Value::Null, fields)
    }

    #[test]
    fn a_sound_status_is_accepted() {
        let condition = |kind: &str| {
            json!({"type": kind, "status": "True", "reason": "Idle", "message": "",
                "lastTransitionTime": "2026-11-20T12:00:00Z"})
        };
        let status = json!({
            "observedGeneration": 3, "phase": "Running", "processed": 7, "currentRun": run(), "history": [run()],
            "conditions": [condition("Ready"), condition("Running")],
            "scheduleSince": "2026-11-20T12:00:00Z", "totals": {"runs": 1, "failedRuns": 0, "processed": 0},
        });
        assert_eq!(judged(&status), Vec::<String>::new());
        assert_eq!(judged(&json!({"lastRun": null})), Vec::<String>::new());
    }

    #[test]
    fn what_the_api_server_refuses_or_drops_is_found() {
        let with = |name: &str, value: Value| {
            let mut run = run();
            run[name] = value;
            json!({"currentRun": run})
        };
        let without_action = json!({"currentRun": {
            "id": "1-spec", "trigger": "Spec", "startTime": "2026-11-20T12:00:00.000Z"}});
        let table = [
            ("a wrong type", json!({"processed": "7"})),
            ("a fraction", json!({"missedSchedules": 1.5})),
            ("a phase that there is not", json!({"phase": "Sleeping"})),
            ("a reason that there is not", with("reason", json!("Bored"))),
            ("a text for a date", json!({"scheduleSince": "yesterday"})),
            ("a day that there is not", with("startTime", json!("2026-02-30T12:00:00.000Z"))),
            ("a date without time", with("startTime", json!("2026-11-20"))),
            ("a long history", json!({"history": vec![run(); 51]})),
            ("a long list of samples", with("sampleWorkflowRunIds", json!(vec!["wfr_1"; 11]))),
            ("a long sample", with("sampleWorkflowRunIds", json!(["w".repeat(257)]))),
            ("a long message", json!({"message": "é".repeat(1025)})),
            ("a long cursor", with("cursor", json!("c".repeat(16_385)))),
            ("a page of no entries", with("limits", json!({"pageSize": 0}))),
            ("more entries per second than fit", with("limits", json!({"entriesPerSecond": 1_u64 << 31}))),
            ("a run without action", without_action),
            ("an unknown field", json!({"mood": "fine"})),
            ("an unknown field of a run", with("mood", json!("fine"))),
            ("null where nothing may be missing", with("id", Value::Null)),
            (
                "two conditions of one type",
                json!({"conditions": vec![json!({"type": "Ready", "status": "True",
                "reason": "Idle", "message": "", "lastTransitionTime": "2026-11-20T12:00:00Z"}); 2]}),
            ),
        ];
        for (what, status) in table {
            assert!(!judged(&status).is_empty(), "{what} was accepted");
        }
    }
}
