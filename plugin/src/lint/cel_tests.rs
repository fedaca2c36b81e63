use std::collections::BTreeSet;

use super::*;

/// The keywords that are read, and those that restrict nothing.
const READ: [&str; 22] = [
    "additionalProperties",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "nullable",
    "pattern",
    "properties",
    "required",
    "title",
    "type",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
];

fn keywords(schema: &Value, into: &mut BTreeSet<String>) {
    for (keyword, value) in schema.as_object().into_iter().flatten() {
        into.insert(keyword.clone());
        match keyword.as_str() {
            "properties" => {
                value.as_object().into_iter().flatten().for_each(|(_, field)| keywords(field, into));
            }
            "items" | "additionalProperties" => keywords(value, into),
            _ => {}
        }
    }
}

#[test]
fn the_definitions_use_no_keyword_that_is_not_read() {
    for (kind, Definition { schema, .. }) in Definitions::new().kinds {
        let mut found = BTreeSet::new();
        let mut schema = schema;
        schema["properties"].as_object_mut().unwrap().remove("status");
        keywords(&schema, &mut found);
        found.retain(|keyword| !READ.contains(&keyword.as_str()));
        assert!(found.is_empty(), "{kind}: {found:?}");
    }
}

#[test]
fn every_rule_compiles() {
    for (kind, Definition { rules, .. }) in Definitions::new().kinds {
        assert!(!rules.has_errors(), "{kind}: {:?}", rules.compilation_errors());
    }
}

/// So that no new rule goes unchecked: each that is left out here is checked in another way.
#[test]
fn only_two_rules_are_left_out() {
    fn left_out(schema: &Value, into: &mut Vec<String>) {
        match schema {
            Value::Object(fields) => {
                if fields
                    .get("rule")
                    .and_then(Value::as_str)
                    .is_some_and(|rule| rule.contains("timestamp(int("))
                {
                    into.push(fields["message"].as_str().unwrap().to_owned());
                }
                fields.values().for_each(|field| left_out(field, into));
            }
            Value::Array(items) => items.iter().for_each(|item| left_out(item, into)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    for crd in [DlqPolicy::crd(), DlqConnection::crd(), ClusterDlqConnection::crd()] {
        left_out(&serde_json::to_value(crd).unwrap(), &mut found);
    }
    let [interval, newer] = &found[..] else { panic!("{found:?}") };
    assert!(interval.starts_with("the interval must be at least a minute"), "{interval}");
    assert_eq!(*newer, "newerThan must be longer than olderThan, else no entry can match");
}

#[test]
fn a_host_is_found_as_the_api_server_finds_it() {
    for (url, expected) in [
        ("https://app.example.com/api", true),
        ("https://app.example.com", true),
        ("https:///api", false),
        ("https://?x", false),
        ("https://\\api", false),
        ("https:api", false),
    ] {
        assert_eq!(has_host(url), expected, "{url}");
    }
}
