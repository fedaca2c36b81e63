//! The rules of docs/adr/0021, over two definitions: nothing is read but these.

use serde_json::{Map, Value};

/// What may only grow, and what may only shrink. One that is new where there was none is as bad as a tighter one.
const UPPER: [&str; 5] = ["maxLength", "maxItems", "maxProperties", "maximum", "exclusiveMaximum"];
const LOWER: [&str; 5] = ["minLength", "minItems", "minProperties", "minimum", "exclusiveMinimum"];
/// What may go, but neither come nor change.
const ONLY_DROPPED: [&str; 5] = ["pattern", "format", "multipleOf", "uniqueItems", "not"];
/// What must stay as it is: it decides how objects are stored and how appliers merge them.
const FIXED: [&str; 6] = [
    "type",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
];

/// How the second definition breaks what was stored under the first, each line with the path of what does.
pub(crate) fn breaks(before: &Value, now: &Value) -> Vec<String> {
    let mut broken = Vec::new();
    for field in ["group", "scope", "names"] {
        if before["spec"][field] != now["spec"][field] {
            broken.push(format!("spec.{field}: changed"));
        }
    }
    for version in versions(before) {
        let name = version["name"].as_str().unwrap_or_default();
        let Some(new) = versions(now).iter().find(|new| new["name"] == version["name"]) else {
            broken.push(format!("{name}: removed"));
            continue;
        };
        if version["served"] == true && new["served"] != true {
            broken.push(format!("{name}: no longer served"));
        }
        if version["storage"] == true && new["storage"] != true {
            broken.push(format!("{name}: no longer stored; objects must be converted first"));
        }
        if version["subresources"] != new["subresources"] {
            broken.push(format!("{name}: other subresources"));
        }
        let schema = |version: &Value| version["schema"]["openAPIV3Schema"].clone();
        compare(name, &schema(version), &schema(new), &mut broken);
    }
    broken
}

fn versions(definition: &Value) -> &[Value] {
    definition["spec"]["versions"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn compare(path: &str, before: &Value, now: &Value, broken: &mut Vec<String>) {
    let mut say = |what: String| broken.push(format!("{path}: {what}"));
    // Only the operator writes a status: how appliers would merge it is nobody's concern.
    let is_free = |key: &str| key == "x-kubernetes-map-type" && is_status(path);
    for key in FIXED.iter().filter(|key| before[**key] != now[**key] && !is_free(key)) {
        say(format!("{key} changed from {} to {}", before[*key], now[*key]));
    }
    if before["nullable"] == true && now["nullable"] != true {
        say("null is no longer taken".to_owned());
    }
    for key in ONLY_DROPPED.iter().filter(|key| !now[**key].is_null() && before[**key] != now[**key]) {
        say(format!("{key} is new or another: {}", now[*key]));
    }
    let is_tighter =
        |key: &str, tighter: fn(f64, f64) -> bool| match (before[key].as_f64(), now[key].as_f64()) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(before), Some(now)) => tighter(now, before),
        };
    for key in UPPER.iter().filter(|key| is_tighter(key, |now, before| now < before)) {
        say(format!("{key} is new or lower: {}", now[*key]));
    }
    for key in LOWER.iter().filter(|key| is_tighter(key, |now, before| now > before)) {
        say(format!("{key} is new or higher: {}", now[*key]));
    }
    // A status begins with its default, and is then written: what it began with means nothing later.
    if before["default"] != now["default"] && !is_status(path) {
        say("another default: stored objects without the field would mean something else".to_owned());
    }
    match (items(before, "enum"), items(now, "enum")) {
        (Some(values), Some(now)) => {
            for gone in values.iter().filter(|value| !now.contains(value)) {
                say(format!("the value {gone} is no longer taken"));
            }
        }
        (None, Some(_)) => say("only some values are taken now".to_owned()),
        (_, None) => {}
    }
    for field in items(now, "required").unwrap_or_default() {
        let was_required = items(before, "required").is_some_and(|required| required.contains(field));
        // The API server fills defaults in as it reads.
        let has_default = field.as_str().is_some_and(|name| !now["properties"][name]["default"].is_null());
        if !was_required && !has_default {
            say(format!("{field} is required now"));
        }
    }
    for rule in items(now, "x-kubernetes-validations").unwrap_or_default() {
        let is_known = items(before, "x-kubernetes-validations")
            .is_some_and(|rules| rules.iter().any(|known| known["rule"] == rule["rule"]));
        let spares = lets_stored_values_be(rule) && !is_status(path);
        if !is_known && !spares {
            say(format!("a new rule that stored values may break: {}", rule["rule"]));
        }
    }
    let no_fields = Map::new();
    for (name, field) in before["properties"].as_object().unwrap_or(&no_fields) {
        let path = format!("{path}.{name}");
        match now["properties"].get(name) {
            Some(new) => compare(&path, field, new, broken),
            None => broken.push(format!("{path}: removed")),
        }
    }
    for (key, name) in [("items", "[]"), ("additionalProperties", "{}")] {
        if before[key].is_object() {
            compare(&format!("{path}{name}"), &before[key], &now[key], broken);
        }
    }
}

/// Whether a rule says of itself that a value which was there before may stay.
fn lets_stored_values_be(rule: &Value) -> bool {
    rule["optionalOldSelf"] == true && rule["rule"].as_str().is_some_and(|rule| rule.contains("oldSelf"))
}

fn is_status(path: &str) -> bool {
    path.split('.').nth(1) == Some("status")
}

fn items<'a>(schema: &'a Value, key: &str) -> Option<&'a [Value]> {
    schema[key].as_array().map(Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A definition of one version, whose `spec` has these fields.
    fn of(spec: Value) -> Value {
        json!({ "spec": { "group": "g", "scope": "Namespaced", "names": {}, "versions": [{
            "name": "v1", "served": true, "storage": true, "subresources": { "status": {} },
            "schema": { "openAPIV3Schema": { "type": "object", "properties": {
                "spec": spec,
                "status": { "type": "object", "properties": { "phase": { "type": "string", "enum": ["A"] } } },
            } } },
        }] } })
    }

    fn spec() -> Value {
        json!({
            "type": "object",
            "required": ["action"],
            "properties": {
                "action": { "type": "string", "enum": ["resume", "delete"] },
                "labels": {
                    "type": "array", "x-kubernetes-list-type": "set", "maxItems": 50, "minItems": 1, "nullable": true,
                    "items": { "type": "string", "pattern": "^a" },
                },
                "limit": { "type": "integer", "minimum": 1, "default": 10 },
            },
            "x-kubernetes-validations": [{ "rule": "self.limit > 0", "message": "no" }],
        })
    }

    /// What breaks when the value at a pointer into `spec` becomes another one.
    fn broken_by(pointer: &str, key: &str, value: Value) -> Vec<String> {
        let mut now = spec();
        now.pointer_mut(pointer).unwrap()[key] = value;
        breaks(&of(spec()), &of(now))
    }

    #[test]
    fn nothing_breaks_when_nothing_changes() {
        assert_eq!(breaks(&of(spec()), &of(spec())), Vec::<String>::new());
    }

    #[test]
    fn what_adds_or_loosens_breaks_nothing() {
        let rules = |rule: Value| json!([{ "rule": "self.limit > 0", "message": "other words" }, rule]);
        let ratcheted = json!({ "rule": "oldSelf.hasValue() || self.limit > 1", "optionalOldSelf": true });
        let table = [
            ("/properties", "note", json!({ "type": "object", "required": ["a"], "maxProperties": 1 })),
            ("/properties/action", "enum", json!(["delete", "resume", "restart"])),
            ("/properties/action", "enum", Value::Null),
            ("/properties/labels", "maxItems", json!(51)),
            ("/properties/labels", "minItems", Value::Null),
            ("/properties/labels/items", "pattern", Value::Null),
            ("/properties/limit", "minimum", json!(0)),
            ("/properties/limit", "nullable", json!(true)),
            ("/properties/limit", "description", json!("in other words")),
            ("", "required", json!([])),
            ("", "required", json!(["action", "limit"])),
            ("", "x-kubernetes-validations", json!([])),
            ("", "x-kubernetes-validations", rules(ratcheted)),
        ];
        for (pointer, key, value) in table {
            assert_eq!(
                broken_by(pointer, key, value.clone()),
                Vec::<String>::new(),
                "{pointer}/{key}: {value}"
            );
        }
    }

    #[test]
    fn what_takes_away_or_tightens_is_named_with_its_path() {
        let rules = json!([{ "rule": "self.limit > 0" }, { "rule": "self.limit < 9" }]);
        let half =
            json!([{ "rule": "self.limit > 0" }, { "rule": "self.limit < 9", "optionalOldSelf": true }]);
        let table = [
            ("/properties/action", "enum", json!(["resume"]), "v1.spec.action: the value \"delete\""),
            ("/properties/action", "type", json!("integer"), "v1.spec.action: type changed"),
            ("/properties/action", "maxLength", json!(6), "v1.spec.action: maxLength is new"),
            ("/properties/action", "format", json!("uuid"), "v1.spec.action: format is new"),
            ("/properties/limit", "enum", json!([1]), "v1.spec.limit: only some values"),
            ("/properties/limit", "minimum", json!(2), "v1.spec.limit: minimum is new or higher"),
            ("/properties/limit", "maximum", json!(99), "v1.spec.limit: maximum is new"),
            ("/properties/limit", "default", json!(11), "v1.spec.limit: another default"),
            ("/properties/labels", "maxItems", json!(49), "v1.spec.labels: maxItems is new or lower"),
            ("/properties/labels", "nullable", json!(false), "v1.spec.labels: null"),
            (
                "/properties/labels",
                "x-kubernetes-list-type",
                json!("atomic"),
                "v1.spec.labels: x-kubernetes-list-type",
            ),
            (
                "/properties/labels/items",
                "pattern",
                json!("^b"),
                "v1.spec.labels[]: pattern is new or another",
            ),
            ("", "required", json!(["action", "labels"]), "v1.spec: \"labels\" is required"),
            ("", "x-kubernetes-validations", rules, "v1.spec: a new rule that stored values may break"),
            ("", "x-kubernetes-validations", half, "v1.spec: a new rule that stored values may break"),
        ];
        for (pointer, key, value, expected) in table {
            let broken = broken_by(pointer, key, value);
            assert_eq!(broken.len(), 1, "{expected}: {broken:?}");
            assert!(broken[0].starts_with(expected), "{expected}: {broken:?}");
        }
    }

    #[test]
    fn a_field_that_goes_or_gets_another_name_is_named() {
        let mut now = spec();
        let limit = now["properties"].as_object_mut().unwrap().remove("limit").unwrap();
        now["properties"]["atMost"] = limit;
        assert_eq!(breaks(&of(spec()), &of(now)), ["v1.spec.limit: removed"]);
    }

    #[test]
    fn a_version_stays_served_and_stored_with_its_subresources() {
        let change = |key: &str, value: Value| {
            let mut now = of(spec());
            now["spec"]["versions"][0][key] = value;
            breaks(&of(spec()), &now)
        };
        assert_eq!(change("name", json!("v2")), ["v1: removed"]);
        assert_eq!(change("served", json!(false)), ["v1: no longer served"]);
        assert_eq!(
            change("storage", json!(false)),
            ["v1: no longer stored; objects must be converted first"]
        );
        assert_eq!(change("subresources", json!({})), ["v1: other subresources"]);
        let mut now = of(spec());
        now["spec"]["scope"] = "Cluster".into();
        assert_eq!(breaks(&of(spec()), &now), ["spec.scope: changed"]);
    }

    #[test]
    fn a_further_version_breaks_nothing() {
        let mut now = of(spec());
        let mut beta = now["spec"]["versions"][0].clone();
        beta["name"] = "v2".into();
        beta["storage"] = false.into();
        now["spec"]["versions"].as_array_mut().unwrap().push(beta);
        assert_eq!(breaks(&of(spec()), &now), Vec::<String>::new());
    }

    #[test]
    fn no_rule_of_a_status_is_new_as_the_operator_would_be_refused() {
        let status = |change: fn(&mut Value)| {
            let mut now = of(spec());
            change(&mut now["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]);
            breaks(&of(spec()), &now)
        };
        let rule = |status: &mut Value| {
            status["x-kubernetes-validations"] =
                json!([{ "rule": "oldSelf.hasValue()", "optionalOldSelf": true }]);
        };
        assert_eq!(
            status(rule),
            ["v1.status: a new rule that stored values may break: \"oldSelf.hasValue()\""]
        );
        assert_eq!(status(|status| status["default"] = json!({ "phase": "A" })), Vec::<String>::new());
        assert_eq!(
            status(|status| status["properties"]["phase"]["enum"] = json!(["B"])),
            ["v1.status.phase: the value \"A\" is no longer taken"]
        );
    }
}
