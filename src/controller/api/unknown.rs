//! What a newer operator wrote into a status and this one does not understand: it stays.

use serde_json::Value;

/// What makes two runs the same one.
const IDENTITY: [&str; 2] = ["id", "startTime"];

/// `next`, with what `stored` holds beyond what was understood of it. `understood` is `stored`, read and written again.
pub(crate) fn keep(stored: &Value, understood: &Value, next: Value) -> Value {
    if next == *understood {
        return stored.clone();
    }
    match (stored, understood, next) {
        (Value::Object(stored), Value::Object(understood), Value::Object(mut next))
            // What was said of one run says nothing of the next.
            if IDENTITY.iter().all(|key| understood.get(*key) == next.get(*key)) =>
        {
            for (key, value) in stored {
                match (understood.get(key), next.get_mut(key)) {
                    (Some(understood), Some(next)) => *next = keep(value, understood, next.take()),
                    (None, None) if !value.is_null() => {
                        next.insert(key.clone(), value.clone());
                    }
                    _ => {}
                }
            }
            Value::Object(next)
        }
        (Value::Array(stored), Value::Array(understood), Value::Array(next)) => next
            .into_iter()
            .map(|item| {
                let place = understood.iter().position(|known| *known == item);
                place.and_then(|place| stored.get(place)).cloned().unwrap_or(item)
            })
            .collect(),
        (_, _, next) => next,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What this operator understands, in short.
    fn understood(mut stored: Value) -> Value {
        fn strip(value: &mut Value) {
            match value {
                Value::Object(fields) => {
                    fields.retain(|key, _| !key.starts_with("new"));
                    fields.values_mut().for_each(strip);
                }
                Value::Array(items) => items.iter_mut().for_each(strip),
                _ => {}
            }
        }
        strip(&mut stored);
        stored
    }

    fn kept(stored: &Value, next: Value) -> Value {
        keep(stored, &understood(stored.clone()), next)
    }

    #[test]
    fn fields_that_are_not_known_stay_wherever_they_are() {
        let stored = json!({ "message": "a", "newField": [1], "totals": { "runs": 1, "newCount": 5 } });
        assert_eq!(
            kept(&stored, json!({ "message": "b", "totals": { "runs": 2 } })),
            json!({ "message": "b", "newField": [1], "totals": { "runs": 2, "newCount": 5 } })
        );
    }

    #[test]
    fn fields_that_are_known_go_when_they_are_taken_away() {
        assert_eq!(kept(&json!({ "a": 1, "b": 2, "c": { "d": 1 } }), json!({ "b": 2 })), json!({ "b": 2 }));
    }

    #[test]
    fn a_run_keeps_what_was_said_of_it_and_hands_none_of_it_to_the_next() {
        let run = |id: &str, pages: u32| json!({ "id": id, "startTime": "t", "pages": pages });
        let mut stored = json!({ "lastRun": run("one", 1) });
        stored["lastRun"]["newWord"] = "x".into();
        assert_eq!(kept(&stored, json!({ "lastRun": run("one", 2) }))["lastRun"]["newWord"], "x");
        assert_eq!(kept(&stored, json!({ "lastRun": run("two", 2) }))["lastRun"], run("two", 2));
    }

    #[test]
    fn entries_of_a_list_keep_theirs_when_others_come_and_go() {
        let stored = json!([{ "id": 3, "newWord": "c" }, { "id": 2 }, { "id": 1, "newWord": "a" }]);
        assert_eq!(
            kept(&stored, json!([{ "id": 4 }, { "id": 3 }, { "id": 2 }])),
            json!([{ "id": 4 }, { "id": 3, "newWord": "c" }, { "id": 2 }])
        );
    }

    #[test]
    fn a_value_that_is_not_known_stays_until_one_that_is_takes_its_place() {
        let (stored, understood) = (json!({ "phase": "Resting", "pages": 1 }), json!({ "pages": 1 }));
        assert_eq!(keep(&stored, &understood, json!({ "pages": 2 }))["phase"], "Resting");
        assert_eq!(keep(&stored, &understood, json!({ "phase": "Running" }))["phase"], "Running");
    }

    #[test]
    fn a_null_is_nothing_to_keep() {
        assert_eq!(
            keep(&json!({ "a": null, "b": 1 }), &json!({ "b": 1 }), json!({ "b": 2 })),
            json!({ "b": 2 })
        );
    }

    #[test]
    fn of_no_status_nothing_is_kept() {
        assert_eq!(keep(&Value::Null, &Value::Null, json!({ "a": 1 })), json!({ "a": 1 }));
    }
}
