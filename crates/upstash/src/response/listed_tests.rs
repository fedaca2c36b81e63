use base64::engine::general_purpose::{STANDARD as BASE64, STANDARD_NO_PAD};
use serde_json::{Value, json};

use super::*;

const TOKEN: &str = "eyJ0b2tlbiI6/fixed+7w==";

fn read(message: &Value) -> ListedEntry {
    try_read(message).unwrap()
}

fn try_read(message: &Value) -> Option<ListedEntry> {
    let mut message = message.clone();
    message["dlqId"] = "a".into();
    entry(serde_json::from_value(message).unwrap(), &Token::parse(TOKEN).unwrap())
}

fn headers(field: &str, value: &Value) -> Value {
    json!(read(&json!({ field: value })).response_headers)
}

#[test]
fn headers_have_names_in_lower_case_each_with_its_values() {
    for (value, expected) in [
        (json!({ "Content-Type": ["text/html"] }), json!({ "content-type": ["text/html"] })),
        (json!({ "A": ["1", "2"], "B": "3" }), json!({ "a": ["1", "2"], "b": ["3"] })),
        (json!({ "A": "1", "a": ["2", ""], "\u{c4}": "3" }), json!({ "a": ["1", "2", ""], "\u{c4}": ["3"] })),
        (json!({ "a": ["1", 2, null, ["3"], { "b": "4" }, "5"] }), json!({ "a": ["1", "5"] })),
        (json!({ "a": 1, "b": null, "c": { "d": "e" }, "f": [], "g": [7], "h": "i" }), json!({ "h": ["i"] })),
        (
            json!({ "a": ["x", TOKEN, "y"], "b": format!("Bearer {TOKEN}"), TOKEN: "c" }),
            json!({ "a": ["x", "y"] }),
        ),
        (json!({}), json!({})),
        (json!(null), json!({})),
        (json!("a: b"), json!({})),
        (json!(["a", "b"]), json!({})),
        (json!([{ "a": "b" }]), json!({})),
    ] {
        assert_eq!(headers("responseHeader", &value), expected, "{value}");
        assert_eq!(headers("responseHeaders", &value), expected, "{value}");
        assert_eq!(headers("header", &value), json!({}), "that is the request's");
    }
    let both = json!({ "responseHeader": { "a": "1" }, "responseHeaders": { "b": "2" } });
    assert_eq!(json!(read(&both).response_headers), json!({ "a": ["1"] }));
}

#[test]
fn headers_are_read_until_they_are_too_many() {
    let headers = |value: &Value| read(&json!({ "responseHeader": value })).response_headers;
    let long = "x".repeat(3 * MAX_TEXT_BYTES);
    let some = headers(&json!({ "a": long, &long: "b", "c": [long, "d"] }));
    let lengths = |name: &str| some[name].iter().map(String::len).collect::<Vec<_>>();
    assert_eq!((some.len(), lengths("a"), lengths("c")), (2, vec![MAX_TEXT_BYTES], vec![MAX_TEXT_BYTES, 1]));
    for (values, many) in [(1, "x".repeat(100)), (200, String::new()), (50, long.clone()), (3, "y".repeat(5))]
    {
        let all: serde_json::Map<_, _> =
            (0..800).map(|index| (format!("{index:05}"), json!(vec![many.as_str(); values]))).collect();
        let some = headers(&all.into());
        let bytes = |text: &str| text.len() + TEXT_OVERHEAD;
        let of = |(name, values): (&String, &Vec<String>)| {
            bytes(name) + values.iter().map(|value| bytes(value)).sum::<usize>()
        };
        let sum: usize = some.iter().map(of).sum();
        assert!(sum <= MAX_TEXTS_BYTES && sum > MAX_TEXTS_BYTES - 2 * MAX_TEXT_BYTES, "{sum} bytes");
        assert!(
            some.keys().map(String::as_str).eq((0..some.len()).map(|index| format!("{index:05}"))),
            "the first"
        );
    }
}

#[test]
fn an_entry_with_too_many_labels_is_not_read_as_one_that_counts_may_be_among_those_left_out() {
    let labels = |count: usize| json!({ "labels": vec!["x"; count] });
    assert_eq!(read(&labels(1_800)).labels.unwrap().len(), 1_800);
    for count in [1_900, 100_000] {
        assert_eq!(try_read(&labels(count)), None, "{count}");
    }
}

#[test]
fn of_a_body_the_first_whole_characters_are_read() {
    let body = |body: &str| read(&json!({ "responseBody": body })).response_body.unwrap();
    for text in ["x", "\u{e9}", "\u{20ac}", "\u{1f600}"] {
        for before in 0..4 {
            let long = "y".repeat(before) + &text.repeat(20_000);
            let beginning = body(&long);
            assert!(long.starts_with(&beginning) && beginning.len() <= MAX_RESPONSE_BODY_BYTES);
            assert!(beginning.len() + text.len() > MAX_RESPONSE_BODY_BYTES);
            let base64 = json!({ "responseBodyBase64": BASE64.encode(&long) });
            assert_eq!(read(&base64).response_body, Some(beginning));
        }
    }
    assert_eq!(body(""), "");
}

#[test]
fn a_body_in_base64_counts_where_there_is_no_other_and_it_is_text() {
    let text = |text: &str| Some(text.to_owned());
    let token = BASE64.encode(format!("Bearer {TOKEN}"));
    let (not_text, cut) = (BASE64.encode([0xff, 0xfe]), BASE64.encode(&"\u{e9}".as_bytes()[..1]));
    let late = [vec![b'x'; MAX_RESPONSE_BODY_BYTES], vec![0xff; 9]].concat();
    let early = [vec![b'x'; MAX_RESPONSE_BODY_BYTES - 9], vec![0xff; 99]].concat();
    for (message, expected) in [
        (json!({ "responseBodyBase64": BASE64.encode("caf\u{e9}") }), text("caf\u{e9}")),
        (json!({ "responseBodyBase64": STANDARD_NO_PAD.encode("caf\u{e9}s") }), text("caf\u{e9}s")),
        (json!({ "responseBodyBase64": "YQ==", "responseBody": "b" }), text("b")),
        (json!({ "responseBodyBase64": "YQ==", "responseBody": "" }), text("")),
        (json!({ "responseBodyBase64": "YQ==", "responseBody": null }), text("a")),
        (json!({ "responseBodyBase64": "YQ==", "responseBody": { "a": "b" } }), text("a")),
        (json!({ "responseBodyBase64": "" }), text("")),
        (json!({ "responseBodyBase64": not_text }), None),
        (json!({ "responseBodyBase64": cut }), None),
        (json!({ "responseBodyBase64": BASE64.encode(late) }), Some("x".repeat(MAX_RESPONSE_BODY_BYTES))),
        (json!({ "responseBodyBase64": BASE64.encode(early) }), None),
        (json!({ "responseBodyBase64": "not base64" }), None),
        (json!({ "responseBodyBase64": ["YQ=="] }), None),
        (json!({ "responseBodyBase64": token }), None),
        (json!({ "responseBody": format!("Bearer {TOKEN}") }), None),
        (json!({ "responseBody": 7 }), None),
        (json!({ "body": "the request's" }), None),
    ] {
        assert_eq!(read(&message).response_body, expected, "{message:.200}");
    }
}
