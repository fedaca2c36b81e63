//! Likewise for the connections that policies share.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::values::{Fields, count, flag, number, object, one_of, seconds, text, texts};
use super::{alter, conditions, other};
use crate::{ClusterDlqConnectionSpec, ConnectionStatus, DlqConnectionSpec};

fn secret(place: Fields) -> BoxedStrategy<Value> {
    object([place, vec![("name", text()), ("key", text())]].concat(), vec![])
}

fn selector() -> BoxedStrategy<Value> {
    let operator = one_of(&["In", "NotIn", "Exists", "DoesNotExist"]);
    let condition = object(vec![("key", text()), ("operator", operator)], vec![("values", texts())]);
    let labels = btree_map("[a-z]{1,9}", "[a-z]{0,9}", 1..3).prop_map(|labels| json!(labels)).boxed();
    let conditions = vec(condition, 1..3).prop_map(Value::from).boxed();
    object(vec![], vec![("matchLabels", labels), ("matchExpressions", conditions)])
}

/// A spec whose Secret is named so, with these fields and what both kinds have.
fn spec(secret: BoxedStrategy<Value>, more: Fields) -> BoxedStrategy<Value> {
    let actions = vec(one_of(&["resume", "restart", "delete"]), 1..3).prop_map(Value::from).boxed();
    let limits = vec![
        ("entriesPerSecond", number()),
        ("maxConcurrentRuns", number()),
        ("maxEntriesPerDay", count()),
        ("approvalAbove", count()),
    ];
    let optional = vec![
        ("url", text()),
        ("allowedActions", actions),
        ("allowedCallbackUrls", texts()),
        ("allowedLabels", texts()),
        ("timeZone", text()),
        ("limits", object(vec![], limits)),
    ];
    // With what the API server defaults.
    let required = vec![("tokenSecretRef", secret), ("requireLoopProtection", flag())];
    object(required, [optional, more].concat())
}

fn status() -> BoxedStrategy<Value> {
    object(
        vec![],
        vec![
            ("observedGeneration", count()),
            ("conditions", conditions()),
            ("policies", count()),
            ("day", text()),
            ("entriesToday", count()),
            ("lastCheckTime", seconds()),
        ],
    )
}

fn assert_lasts<T: DeserializeOwned + Serialize>(value: &Value) -> Result<(), TestCaseError> {
    let typed: T = serde_json::from_value(value.clone()).unwrap();
    prop_assert_eq!(&serde_json::to_value(&typed).unwrap(), value);
    Ok(())
}

/// Whatever is read is written in a form that is read as the same.
fn assert_lasts_if_read<T>(value: Value) -> Result<(), TestCaseError>
where
    T: DeserializeOwned + PartialEq + Serialize + std::fmt::Debug,
{
    if let Ok(typed) = serde_json::from_value::<T>(value) {
        let written = serde_json::to_value(&typed).unwrap();
        prop_assert_eq!(serde_json::from_value::<T>(written).unwrap(), typed);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn a_connection_is_written_as_it_was_read(
        own in spec(secret(vec![]), vec![]),
        shared in spec(secret(vec![("namespace", text())]), vec![("namespaceSelector", selector())]),
        status in status(),
    ) {
        assert_lasts::<DlqConnectionSpec>(&own)?;
        assert_lasts::<ClusterDlqConnectionSpec>(&shared)?;
        assert_lasts::<ConnectionStatus>(&status)?;
    }

    #[test]
    fn values_of_a_connection_that_are_not_known_are_refused_or_kept_in_a_form_that_lasts(
        mut own in spec(secret(vec![]), vec![]),
        mut shared in spec(secret(vec![("namespace", text())]), vec![("namespaceSelector", selector())]),
        mut status in status(),
        alterations in vec((0_usize..20, other()), 1..4),
    ) {
        for (place, new) in alterations {
            for value in [&mut own, &mut shared, &mut status] {
                alter(value, place, new.clone());
            }
        }
        assert_lasts_if_read::<DlqConnectionSpec>(own)?;
        assert_lasts_if_read::<ClusterDlqConnectionSpec>(shared)?;
        assert_lasts_if_read::<ConnectionStatus>(status)?;
    }
}
