//! Values of a spec or a status, whatever is in them.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value};

pub(super) type Fields = Vec<(&'static str, BoxedStrategy<Value>)>;

pub(super) fn text() -> BoxedStrategy<Value> {
    prop_oneof![3 => "\\PC{0,20}", 1 => any::<String>()].prop_map(Value::from).boxed()
}

pub(super) fn texts() -> BoxedStrategy<Value> {
    vec(text(), 1..4).prop_map(Value::from).boxed()
}

pub(super) fn number() -> BoxedStrategy<Value> {
    (0_i32..=i32::MAX).prop_map(Value::from).boxed()
}

/// A count that is left out when it is 0.
pub(super) fn some() -> BoxedStrategy<Value> {
    (1_i64..=i64::MAX).prop_map(Value::from).boxed()
}

pub(super) fn count() -> BoxedStrategy<Value> {
    (0_i64..=i64::MAX).prop_map(Value::from).boxed()
}

pub(super) fn flag() -> BoxedStrategy<Value> {
    any::<bool>().prop_map(Value::from).boxed()
}

pub(super) fn one_of(values: &'static [&'static str]) -> BoxedStrategy<Value> {
    prop::sample::select(values).prop_map(Value::from).boxed()
}

pub(super) fn time(format: fn(jiff::Timestamp) -> String) -> BoxedStrategy<Value> {
    (0_i64..253_370_764_800_000)
        .prop_map(move |millis| format(jiff::Timestamp::from_millisecond(millis).unwrap()).into())
        .boxed()
}

pub(super) fn seconds() -> BoxedStrategy<Value> {
    time(|at| format!("{:.0}", jiff::Timestamp::from_second(at.as_second()).unwrap()))
}

pub(super) fn millis() -> BoxedStrategy<Value> {
    time(|at| format!("{at:.3}"))
}

/// An object with these fields, of which those that are not required may be left out.
pub(super) fn object(required: Fields, optional: Fields) -> BoxedStrategy<Value> {
    let required =
        required.into_iter().map(|(name, value)| value.prop_map(move |value| Some((name, value))).boxed());
    let optional = optional
        .into_iter()
        .map(|(name, value)| prop::option::of(value.prop_map(move |value| (name, value))).boxed());
    let fields: Vec<_> = required.chain(optional).collect();
    fields
        .prop_map(|fields| {
            let fields = fields.into_iter().flatten().map(|(name, value)| (name.to_owned(), value));
            Value::Object(fields.collect::<Map<_, _>>())
        })
        .boxed()
}
