//! The structure that a resource's definition asks for: types, enums, patterns, bounds, required and unknown fields.
//!
//! Read as the API server reads a structural schema, with strict field validation as `kubectl apply` asks for it. A test
//! makes sure that the definitions use no keyword that is not read here.

use std::fmt::Write as _;

use regex::Regex;
use serde_json::{Map, Value};

use super::rule::Rule;
use super::suggestion::suggestion;

/// What of a manifest the definition does not allow.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Broken {
    pub(super) rule: Rule,
    pub(super) field: String,
    pub(super) message: String,
}

/// Checks a value against its schema.
pub(super) struct Checker<'a> {
    /// The schema of the whole, in which the right place of a misplaced field is looked for.
    whole: &'a Value,
    broken: Vec<Broken>,
}

impl<'a> Checker<'a> {
    /// What is wrong with a value at `path`, by this schema.
    pub(super) fn check(schema: &'a Value, path: &str, value: &Value) -> Vec<Broken> {
        let mut checker = Self { whole: schema, broken: Vec::new() };
        checker.value(schema, path, value);
        checker.broken
    }

    fn say(&mut self, rule: Rule, field: &str, message: impl Into<String>) {
        self.broken.push(Broken { rule, field: field.to_owned(), message: message.into() });
    }

    fn invalid(&mut self, field: &str, message: impl Into<String>) {
        self.say(Rule::InvalidValue, field, message);
    }

    fn value(&mut self, schema: &Value, path: &str, value: &Value) {
        if !self.has_type(schema, path, value) {
            return;
        }
        if let Some(known) = schema["enum"].as_array()
            && !known.contains(value)
        {
            let words: Vec<_> = known.iter().map(word).collect();
            let meant = value.as_str().and_then(|text| suggestion(text, words.iter().map(String::as_str)));
            let meant = meant.map(|word| format!("; did you mean {word}?")).unwrap_or_default();
            self.invalid(path, format!("{value} is none of {}{meant}", words.join(", ")));
            return;
        }
        match value {
            Value::String(text) => self.text(schema, path, text),
            Value::Number(_) => self.number(schema, path, value),
            Value::Array(items) => self.list(schema, path, items),
            Value::Object(fields) => self.object(schema, path, fields),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn has_type(&mut self, schema: &Value, path: &str, value: &Value) -> bool {
        let expected = schema["type"].as_str().unwrap_or_default();
        let is_whole = |value: &Value| {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        };
        let fits = match value {
            // An enum takes null only where it lists it.
            Value::Null => schema["nullable"] == true,
            Value::Bool(_) => matches!(expected, "boolean" | ""),
            Value::Number(_) => {
                matches!(expected, "number" | "") || (expected == "integer" && is_whole(value))
            }
            Value::String(_) => matches!(expected, "string" | ""),
            Value::Array(_) => matches!(expected, "array" | ""),
            Value::Object(_) => matches!(expected, "object" | ""),
        };
        if !fits {
            let found = match value {
                Value::Null => "null",
                Value::Bool(_) => "a boolean",
                Value::Number(_) => "a number",
                Value::String(_) => "a string",
                Value::Array(_) => "a list",
                Value::Object(_) => "an object",
            };
            let expected = match expected {
                "boolean" => "true or false",
                "integer" => "a whole number",
                "number" => "a number",
                "string" => "a string; put it in quotes",
                "array" => "a list",
                _ => "an object",
            };
            self.invalid(path, format!("is {found} and must be {expected}"));
        }
        fits
    }

    fn text(&mut self, schema: &Value, path: &str, text: &str) {
        let length = text.chars().count() as u64;
        if let Some(least) = schema["minLength"].as_u64().filter(|least| length < *least) {
            self.invalid(
                path,
                if least == 1 {
                    "is empty; give a value, or remove it".to_owned()
                } else {
                    format!("has {length} characters and must have at least {least}")
                },
            );
        }
        if let Some(most) = schema["maxLength"].as_u64().filter(|most| length > *most) {
            self.invalid(path, format!("has {length} characters and may have at most {most}"));
        }
        let pattern = schema["pattern"].as_str().and_then(|pattern| Regex::new(pattern).ok());
        let is_date = schema["format"] == "date-time";
        if pattern.is_some_and(|pattern| !pattern.is_match(text)) || (is_date && !is_time(text)) {
            let example = if is_date {
                "an RFC 3339 time such as 2026-11-01T00:00:00Z"
            } else {
                "of the form that the reference gives"
            };
            self.invalid(path, format!("{text:?} is not {example}"));
        }
    }

    fn number(&mut self, schema: &Value, path: &str, value: &Value) {
        let number = value.as_f64().unwrap_or(f64::NAN);
        if let Some(least) = schema["minimum"].as_f64().filter(|least| number < *least) {
            self.invalid(path, format!("is {value} and must be at least {least}"));
        }
        if let Some(most) = schema["maximum"].as_f64().filter(|most| number > *most) {
            self.invalid(path, format!("is {value} and may be at most {most}"));
        }
    }

    fn list(&mut self, schema: &Value, path: &str, items: &[Value]) {
        let count = items.len() as u64;
        if schema["minItems"].as_u64().is_some_and(|least| count < least) {
            self.invalid(path, "is empty; give a value, or remove it");
        }
        if let Some(most) = schema["maxItems"].as_u64().filter(|most| count > *most) {
            self.invalid(path, format!("has {count} items and may have at most {most}"));
            // A list of any length is no reason for as many complaints.
            return;
        }
        for (index, item) in items.iter().enumerate() {
            let at = format!("{path}[{index}]");
            self.value(&schema["items"], &at, item);
            if schema["x-kubernetes-list-type"] == "set" && items[..index].contains(item) {
                self.invalid(&at, format!("{item} is there twice; remove it once"));
            }
        }
    }

    fn object(&mut self, schema: &Value, path: &str, fields: &Map<String, Value>) {
        if let Some(most) = schema["maxProperties"].as_u64().filter(|most| fields.len() as u64 > *most) {
            self.invalid(path, format!("has {} fields and may have at most {most}", fields.len()));
            return;
        }
        let known = schema["properties"].as_object();
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if fields.get(name).is_none_or(Value::is_null) && schema["properties"][name]["default"].is_null()
            {
                self.say(Rule::MissingField, &joined(path, name), "is required; add it");
            }
        }
        for (name, value) in fields {
            let at = joined(path, name);
            let field = known.and_then(|known| known.get(name));
            match (field, known, &schema["additionalProperties"]) {
                // Reads as the default, or was reported as missing.
                (Some(field), ..)
                    if value.is_null() && (!field["default"].is_null() || is_required(schema, name)) => {}
                (Some(field), ..) => self.value(field, &at, value),
                (None, _, values) if values.is_object() => self.value(values, &at, value),
                (None, Some(known), _) => self.unknown(&at, name, known),
                // An object without a word on its fields, such as metadata.
                (None, None, _) => {}
            }
        }
    }

    fn unknown(&mut self, path: &str, name: &str, known: &Map<String, Value>) {
        let mut message = "unknown field".to_owned();
        if let Some(meant) = suggestion(name, known.keys().map(String::as_str)) {
            let _ = write!(message, "; did you mean {meant}?");
        } else if let Some(place) = place_of(self.whole, "", name) {
            let _ = write!(message, "; did you mean {place}?");
        } else {
            let names: Vec<_> = known.keys().map(String::as_str).collect();
            let _ = write!(message, "; remove it: there are {}", names.join(", "));
        }
        self.say(Rule::UnknownField, path, message);
    }
}

fn is_required(schema: &Value, name: &str) -> bool {
    schema["required"].as_array().is_some_and(|required| required.iter().any(|known| known == name))
}

/// Where in a schema a field of this name is.
fn place_of(schema: &Value, path: &str, name: &str) -> Option<String> {
    let fields = schema["properties"].as_object().into_iter().flatten();
    let mut fields = fields.filter(|(field, _)| *field != "status");
    let items =
        schema["items"].is_object().then(|| place_of(&schema["items"], &format!("{path}[]"), name)).flatten();
    items.or_else(|| {
        fields
            .clone()
            .find(|(field, _)| *field == name)
            .map(|(field, _)| joined(path, field))
            .or_else(|| fields.find_map(|(field, schema)| place_of(schema, &joined(path, field), name)))
    })
}

pub(super) fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

fn is_time(text: &str) -> bool {
    text.parse::<jiff::Timestamp>().is_ok()
}
