use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::*;
use crate::error::ErrorClass;
use crate::response::{self, MAX_CURSOR_BYTES};
use crate::token::Token;
use crate::types::{ListedEntry, MAX_RESPONSE_BODY_BYTES, Operation, Page};

const DETAILS: [Detail; 2] = [Detail::Brief, Detail::Response];

/// More than is kept of any entry.
const MOST_OF_AN_ENTRY: usize = 1 << 20;

/// All that is read, and some that is not.
const FIELDS: [&str; 22] = [
    "dlqId",
    "workflowUrl",
    "workflowRunId",
    "workflowCreatedAt",
    "label",
    "labels",
    "failureFunctionState",
    "callerIP",
    "callerIp",
    "flowControlKey",
    "responseStatus",
    "responseHeader",
    "responseHeaders",
    "responseBody",
    "responseBodyBase64",
    "body",
    "header",
    "cursor",
    "messages",
    "",
    "dlqid",
    "a \"name\" of more than thirty-two bytes: dlqId",
];

fn pruned_by(mut pruner: Pruner, answer: &[u8], piece: usize) -> Vec<u8> {
    let mut left = Vec::new();
    answer.chunks(piece.max(1)).for_each(|piece| pruner.push(piece, &mut left));
    left
}

/// What is left of a list that arrives in pieces of this size.
fn pruned(answer: &[u8], detail: Detail, piece: usize) -> Vec<u8> {
    pruned_by(Pruner::new(Form::Answer, detail), answer, piece)
}

fn read(operation: Operation, body: &[u8]) -> Result<Page, ErrorClass> {
    let token = Token::parse("a-token-that-is-nowhere").unwrap();
    response::read(operation, StatusCode::OK, &HeaderMap::new(), body, Timestamp::UNIX_EPOCH, &token)
        .map_err(|error| error.class)
}

/// What is read of the whole list without a filter.
fn whole(answer: &[u8], detail: Detail) -> Result<Page, ErrorClass> {
    let mut page = read(Operation::List, answer)?;
    if detail == Detail::Brief {
        for entry in &mut page.listed {
            let ListedEntry { response_headers, response_body, .. } = entry;
            (*response_headers, *response_body) = Default::default();
        }
    }
    Ok(page)
}

fn listed(answer: &str, detail: Detail) -> Vec<ListedEntry> {
    read(Operation::List, &pruned(answer.as_bytes(), detail, 7)).unwrap().listed
}

#[test]
fn of_an_entry_all_that_is_read_is_kept_and_nothing_else() {
    let entry = json!({
        "dlqId": "a", "workflowUrl": "u", "workflowRunId": "r", "workflowCreatedAt": 1, "label": "x", "labels": ["x"],
        "failureFunctionState": "s", "callerIP": "i", "callerIp": "i", "flowControlKey": "k", "responseStatus": 500,
    });
    let mut response = entry.clone();
    response["responseHeader"] = json!({ "A": ["1", "2"], "B": "3" });
    response["responseBody"] = "b".into();
    response["responseBodyBase64"] = "Yg==".into();
    let mut more = response.clone();
    for (name, value) in [
        ("header", json!({ "a": ["dlqId"] })),
        ("body", json!("}]{[\\\"")),
        ("messages", json!([{ "dlqId": "b", "more": [[], {}, [{}]] }])),
        ("deep", json!([[[{ "dlqId": [1.5e9, true, null] }]]])),
        ("number", json!(-1.5e-9)),
        ("nothing", Value::Null),
    ] {
        more[name] = value;
    }
    let list = |entry: &Value| json!({ "messages": [entry, {}, entry], "cursor": "c" });
    let odd = json!({ "more": [1, { "messages": 2 }], "messages": [more, { "b": 1 }, more], "cursor": "c", "x": "y" });
    for odd in [odd.to_string(), serde_json::to_string_pretty(&odd).unwrap()] {
        for (detail, expected) in [(Detail::Brief, &entry), (Detail::Response, &response)] {
            let left = pruned(odd.as_bytes(), detail, 3);
            assert_eq!(serde_json::from_slice::<Value>(&left).unwrap(), list(expected));
        }
        let spaces = odd.replace(['\n', ' '], "").len();
        assert!(pruned(odd.as_bytes(), Detail::Response, 3).len() < spaces);
    }
    let left = pruned_by(Pruner::new(Form::Entry, Detail::Brief), more.to_string().as_bytes(), 5);
    assert_eq!(serde_json::from_slice::<Value>(&left).unwrap(), entry);
}

#[test]
fn only_answers_that_show_entries_are_cut_down() {
    let (criteria, id) = (crate::types::Criteria::default(), crate::types::DlqId("a".into()));
    let list = |detail| Call::List { criteria: criteria.clone(), cursor: None, count: 1, detail };
    assert_eq!(Pruner::of(&list(Detail::Response)).unwrap().detail, Detail::Response);
    assert_eq!(Pruner::of(&list(Detail::Brief)).unwrap().detail, Detail::Brief);
    let (action, overrides) = (crate::types::Action::Resume, crate::types::Overrides::default());
    assert!(Pruner::of(&Call::Single { action, id: id.clone(), overrides }).is_none());
    let pruner = Pruner::of(&Call::Get { id }).unwrap();
    let left = pruned_by(pruner, br#"{"dlqId":"a","messages":[{"dlqId":"b"}],"responseBody":"b"}"#, 1);
    assert_eq!(left, br#"{"dlqId":"a"}"#);
}

#[test]
fn a_long_text_is_cut_by_what_it_says_and_what_follows_is_read() {
    let written = ["x", "\u{e9}", "\u{20ac}", "\u{1f600}", "\\\"", "\\\\", "\\n", "\\/", "\u{7f}"];
    let escaped = ["\\u0041", "\\u00e9", "\\u20AC", "\\ud83d\\uDE00", "\\u0000", "\\u0022", "\\u2028"];
    for text in written.into_iter().chain(escaped) {
        let says: String = serde_json::from_str(&format!("\"{text}\"")).unwrap();
        for before in 0..6 {
            let (pad, long) = ("y".repeat(before), text.repeat(70_000 / says.len()));
            let answer = format!(
                r#"{{"messages":[{{"responseBody":"{pad}{long}","dlqId":"a","workflowUrl":"{pad}{long}"}},{{"dlqId":"b"}}]}}"#
            );
            let entries = listed(&answer, Detail::Response);
            let most = |bytes: usize| pad.clone() + &says.repeat((bytes - before) / says.len());
            assert_eq!(entries[0].workflow_url.as_deref(), Some(most(MAX_TEXT_BYTES).as_str()), "{text}");
            let body = most(MAX_RESPONSE_BODY_BYTES);
            assert_eq!(entries[0].response_body.as_deref(), Some(body.as_str()), "{text}");
            assert_eq!(entries[1].id.0, "b");
        }
    }
}

#[test]
fn half_a_character_is_replaced_and_hides_no_other_entry() {
    for (written, says) in [
        (r"\ud83d", "\u{fffd}"),
        (r"\ude00", "\u{fffd}"),
        (r"\ud83dx", "\u{fffd}x"),
        (r"\ud83d\n", "\u{fffd}\n"),
        (r"\ud83d\ud83d\ude00", "\u{fffd}\u{1f600}"),
        (r"\ude00\ud83d", "\u{fffd}\u{fffd}"),
    ] {
        let answer =
            format!(r#"{{"messages":[{{"dlqId":"a","responseBody":"{written}"}},{{"dlqId":"b"}}]}}"#);
        let entries = listed(&answer, Detail::Response);
        assert_eq!((entries.len(), entries[0].response_body.as_deref()), (2, Some(says)), "{written}");
        assert_eq!(listed(&answer, Detail::Brief).len(), 2);
    }
}

#[test]
fn a_header_whose_name_is_cut_would_be_another_one() {
    let (longest, longer) = ("x".repeat(MAX_TEXT_BYTES), "y".repeat(MAX_TEXT_BYTES + 1));
    let headers = json!({ longest.as_str(): "a", longer.as_str(): "b" });
    let answer = json!({ "messages": [{ "dlqId": "a", "responseHeader": headers }] }).to_string();
    assert!(listed(&answer, Detail::Response)[0].response_headers.keys().eq([&longest]));
}

#[test]
fn a_cursor_stays_whole_or_is_refused() {
    for (text, bytes) in [("c", 1), ("\u{e9}", 2), ("\u{1f600}", 4), ("\\u0041", 1), ("\\u003d", 1)] {
        for cursor in [1, 5000, MAX_CURSOR_BYTES, MAX_CURSOR_BYTES + 4, 100_000] {
            let (cursor, count) = (text.repeat(cursor / bytes), cursor / bytes);
            let entry = r#"{"dlqId":"a","body":"x"}"#;
            for answer in [
                format!(r#"{{"messages":[{entry},{entry}],"cursor":"{cursor}"}}"#),
                format!(r#"{{"cursor":"{cursor}","messages":[{entry},{entry}]}}"#),
            ] {
                let page = read(Operation::List, &pruned(answer.as_bytes(), Detail::Brief, 333));
                let says: String = serde_json::from_str(&format!("\"{cursor}\"")).unwrap();
                let expected = if count * bytes > MAX_CURSOR_BYTES {
                    Err(ErrorClass::Unavailable)
                } else {
                    Ok(Some(says).filter(|says| !says.is_empty()))
                };
                assert_eq!(page.map(|page| page.cursor.map(|cursor| cursor.0)), expected, "{text} {count}");
            }
        }
    }
}

#[test]
fn an_answer_of_another_form_is_read_as_it_would_be_without_a_filter() {
    for (answer, entries) in [
        (r#"{"messages":null}"#, Some(0)),
        (r#"{"messages":[]}"#, Some(0)),
        (r#" { "messages" : [ ] , "cursor" : null } "#, Some(0)),
        (r#"{"messages":[{},{"dlqId":"a"}],"cursor":""}"#, Some(2)),
        (r#"{"m\u0065ssages":[{"dlq\u0049d":"a"}]}"#, Some(1)),
        (r#"{"body":{"messages":[{}]},"messages":[{"a":{"messages":[{},{}]}}]}"#, Some(1)),
        ("{}", None),
        ("", None),
        ("null", None),
        ("[]", None),
        ("\"messages\"", None),
        ("17", None),
        ("<html>", None),
        (r#"{"messages":{}}"#, None),
        (r#"{"messages":"a"}"#, None),
        (r#"{"messages":100000000000000000000000000000000000000000000000000}"#, None),
        (r#"{"messages":[null]}"#, None),
        (r#"{"messages":[{},"a"]}"#, None),
        (r#"{"messages":[7]}"#, None),
        (r#"{"messages":[],"cursor":7}"#, None),
        (r#"{"messages":[],"cursor":{}}"#, None),
        (r#"{"messages":[],"messages":[]}"#, None),
        (r#"{"messages":[],"cursor":"a","cursor":"a"}"#, None),
        (r#"{"messages":[{"dlqId":"a","x":1,"dlqId":"b"}]}"#, None),
        (r#"{"messages":[]}{"#, None),
        (r#"{"messages":[],}"#, None),
        (r#"{"messages":[{}{}]}"#, None),
        (r#"{"messages":[{},]}"#, None),
        (r#"{"messages":[{"a":1,,"b":2}]}"#, None),
        (r#"{"messages":[{"a" 1}]}"#, None),
        (r#"{"messages":[{"a":}]}"#, None),
        (r#"{"messages":[{"a":1 2}]}"#, None),
        (r#"{"messages":[{1:"a"}]}"#, None),
        (r#"{"messages":[}]}"#, None),
        (r#"{"messages":[{]}}"#, None),
        (r#"{"messages":[{"dlqId":"\u12"}]}"#, None),
    ] {
        for detail in DETAILS {
            assert_eq!(whole(answer.as_bytes(), detail).ok().map(|page| page.entries), entries, "{answer}");
            let left = read(Operation::List, &pruned(answer.as_bytes(), detail, 2));
            assert_eq!(left, whole(answer.as_bytes(), detail), "{answer}");
        }
    }
}

/// Values with so many bytes, each with too much of something else.
fn large_values(bytes: usize) -> Vec<String> {
    let long = "x".repeat(bytes);
    let many = |item: &str| item.repeat(bytes / item.len()) + item.trim_end_matches(',');
    vec![
        format!("\"{long}\""),
        format!("\"{}\"", many("\\u0001")),
        "1".repeat(bytes),
        "[".repeat(bytes / 2) + &"]".repeat(bytes / 2),
        format!("[{}]", many("\"\",")),
        format!("[{}]", many("\"xxxxxxxxxxxxxxxxx\",")),
        format!("[{}]", many("{},")),
        format!("[\"{long}\",{}]", many("7,")),
        format!("{{\"{long}\":\"a\",\"b\":\"{long}\"}}"),
        format!("{{{}}}", many("\"\":\"\",")),
        format!("{{{}}}", many("\"a\":[\"\",\"\"],")),
        format!("{{{}}}", many("\"a\":{},")),
        format!("{{\"a\":[{}],\"b\":\"c\"}}", many("\"\",")),
        format!("{}1{}", " ".repeat(bytes / 2), "\n".repeat(bytes / 2)),
    ]
}

#[test]
fn of_twice_as_much_no_more_is_kept() {
    // More than the most of one text, 16 KiB that say a byte each in six.
    const MUCH: usize = 150_000;
    let kept = |answer: &str| {
        let left = pruned(answer.as_bytes(), Detail::Response, 65_536);
        (left.len(), read(Operation::List, &left).map(|page| page.entries))
    };
    let entry = |value: &str| {
        let fields = FIELDS.map(|name| format!("{}:{value}", json!(name))).join(",");
        format!("{{\"messages\":[{{{fields}}}]}}")
    };
    for (much, twice) in large_values(MUCH).iter().zip(large_values(2 * MUCH)) {
        let (bytes, entries) = kept(&entry(much));
        assert!(bytes < MOST_OF_AN_ENTRY && entries == Ok(1), "{bytes} bytes of {}", &much[..40]);
        assert_eq!(kept(&entry(&twice)).0, bytes, "of {}", &much[..40]);
        for name in ["cursor", "more", &"x".repeat(MUCH)] {
            let answer = |value: &str| format!("{{\"{name}\":{value},\"messages\":[{{\"dlqId\":\"a\"}}]}}");
            assert_eq!(kept(&answer(&twice)), kept(&answer(much)), "{} of {}", &name[..4], &much[..40]);
        }
    }
    for field in ["\"dlqId\":\"a\"", "\"x\":\"a\"", "\"responseHeader\":{}", "\"responseBody\":\"a\""] {
        let (kept, _) = kept(&format!("{{\"messages\":[{{{}}}]}}", vec![field; 10_000].join(",")));
        assert!(kept < 100, "{kept} bytes of {field}");
    }
    let (kept, _) = kept(&format!("{{{},\"messages\":[]}}", vec!["\"cursor\":\"a\""; 10_000].join(",")));
    assert!(kept < 100, "{kept} bytes of cursors");
    for byte in [0x80, 0xc3, 0xff] {
        let answer = [br#"{"messages":[{"dlqId":""#.as_slice(), &vec![byte; MUCH]].concat();
        assert!(pruned(&answer, Detail::Brief, 65_536).len() < 2 * MAX_TEXT_BYTES);
    }
}

/// Texts with what is escaped, long ones, and those that begin as others do.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "\\PC{0,12}",
        2 => any::<String>(),
        2 => select(["", "a", "QUJD", "w6k=", "w6", "1763640000000-7", "https://a.example/b"].as_slice())
            .prop_map(str::to_owned),
        1 => (any::<char>(), 0_usize..6000).prop_map(|(c, count)| c.to_string().repeat(count)),
        1 => (select(["xxxx", "\u{e9}", "\u{1f600}", "QUJD"].as_slice()), 1000_usize..6000)
            .prop_map(|(text, count)| text.repeat(count)),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => (0_u16..1000).prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        4 => text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((text(), inner), 0..4)
                .prop_map(|fields| fields.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

/// Headers that come near what is kept of them.
fn headers() -> impl Strategy<Value = Value> {
    let values = prop_oneof![text().prop_map(Value::from), vec(text(), 0..4).prop_map(Value::from), value()];
    vec(("[A-Ca-c]{0,2}", values), 0..24)
        .prop_map(|fields| fields.into_iter().collect::<serde_json::Map<_, _>>().into())
}

/// An object whose fields are in any order, each at most once.
#[derive(Clone, Debug)]
struct Object(Vec<(String, Value)>);

impl Object {
    fn new(fields: Vec<(String, Value)>) -> Self {
        let mut names = std::collections::BTreeSet::new();
        Self(fields.into_iter().filter(|(name, _)| names.insert(name.clone())).collect())
    }

    fn written(&self) -> String {
        let fields: Vec<_> = self.0.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
        format!("{{{}}}", fields.join(","))
    }
}

fn entry() -> impl Strategy<Value = Object> {
    let name = || prop_oneof![6 => select(FIELDS.as_slice()).prop_map(str::to_owned), 1 => text()];
    let field = prop_oneof![
        4 => (name(), value()),
        3 => (name(), text().prop_map(Value::from)),
        1 => (Just("labels".to_owned()), vec(text(), 0..24).prop_map(Value::from)),
        2 => (select(["responseHeader", "responseHeaders"].as_slice()).prop_map(str::to_owned), headers()),
    ];
    let id = (Just("dlqId".to_owned()), "[a-z0-9-]{1,20}".prop_map(Value::from));
    (vec(field, 0..12), prop::option::of(id), any::<prop::sample::Index>()).prop_map(
        |(mut fields, id, place)| {
            fields.extend(id);
            let place = place.index(fields.len().max(1)).min(fields.len());
            fields.rotate_left(place);
            Object::new(fields)
        },
    )
}

/// As encoders write a text: spaces around marks, and everything as an escape that may be one.
fn rewritten(answer: &str, with_spaces: bool, with_escapes: bool) -> String {
    let mut left = String::new();
    let (mut is_text, mut is_escape) = (false, false);
    for c in answer.chars() {
        match c {
            _ if is_escape => is_escape = false,
            '\\' => is_escape = true,
            '"' => is_text = !is_text,
            c if is_text && with_escapes && (!c.is_ascii() || c == '=' || c == 'a') => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    left.extend(["\\u", &format!("{unit:04X}")]);
                }
                continue;
            }
            ':' | ',' | '{' | '}' | '[' | ']' if !is_text && with_spaces => {
                left.extend(["\n  ", &c.to_string(), "\t "]);
                continue;
            }
            _ => {}
        }
        left.push(c);
    }
    left
}

/// A list as the API gives it, with any fields and any values, in any order.
fn answer() -> impl Strategy<Value = String> {
    let cursor = prop_oneof![3 => text().prop_map(Value::from), 1 => Just(Value::Null), 1 => value()];
    let other = ("\\PC{0,8}", value());
    let shape = (any::<bool>(), any::<bool>(), any::<bool>());
    (vec(entry(), 0..5), prop::option::of(cursor), vec(other, 0..3), shape).prop_map(
        |(entries, cursor, others, (reversed, with_spaces, with_escapes))| {
            let entries: Vec<_> = entries.iter().map(Object::written).collect();
            let mut fields = vec![format!("\"messages\":[{}]", entries.join(","))];
            fields.extend(cursor.map(|cursor| format!("\"cursor\":{cursor}")));
            let others = Object::new(others);
            let others = others.0.iter().filter(|(name, _)| !["messages", "cursor"].contains(&name.as_str()));
            fields.extend(others.map(|(name, value)| format!("{}:{value}", json!(name))));
            if reversed {
                fields.reverse();
            }
            rewritten(&format!("{{{}}}", fields.join(",")), with_spaces, with_escapes)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn what_is_kept_reads_as_the_whole_does_whatever_the_pieces(
        answer in answer(), detail in select(DETAILS.as_slice()), piece in 1_usize..200,
    ) {
        let left = pruned(answer.as_bytes(), detail, piece);
        prop_assert_eq!(read(Operation::List, &left), whole(answer.as_bytes(), detail));
        prop_assert_eq!(&left, &pruned(answer.as_bytes(), detail, answer.len()));
        prop_assert!(serde_json::from_slice::<Value>(&left).is_ok());
        // Nothing more is left out of what is left.
        prop_assert_eq!(&left, &pruned(&left, detail, piece));
    }

    #[test]
    fn one_entry_reads_as_it_does_in_a_list(entry in entry(), piece in 1_usize..200) {
        let (entry, listed) = (entry.written(), format!("{{\"messages\":[{}]}}", entry.written()));
        let left = pruned_by(Pruner::new(Form::Entry, Detail::Brief), entry.as_bytes(), piece);
        let list = pruned(listed.as_bytes(), Detail::Brief, piece);
        let expected = format!("{{\"messages\":[{}]}}", String::from_utf8(left.clone()).unwrap());
        prop_assert_eq!(String::from_utf8(list).unwrap(), expected);
        prop_assert_eq!(read(Operation::Get, &left).is_ok(), read(Operation::Get, entry.as_bytes()).is_ok());
    }

    #[test]
    fn what_broke_off_is_no_page(answer in answer(), detail in select(DETAILS.as_slice()), place in any::<prop::sample::Index>()) {
        let begun = &answer.trim_end().as_bytes()[..place.index(answer.trim_end().len())];
        let left = pruned(begun, detail, 50);
        prop_assert_eq!(read(Operation::List, &left), Err(ErrorClass::Unavailable));
    }

    #[test]
    fn any_bytes_panic_nothing_and_take_no_more_room_than_they_have(
        answer in prop_oneof![vec(any::<u8>(), 0..9000), "[\\[\\]{}\":,\\\\u0-9a-f ]{0,300}".prop_map(String::into_bytes)],
        altered in (answer(), vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)),
        detail in select(DETAILS.as_slice()),
        piece in 1_usize..99,
    ) {
        let (mut odd, changes) = (altered.0.into_bytes(), altered.1);
        for (place, byte) in changes {
            let place = place.index(odd.len());
            odd[place] = byte;
        }
        for bytes in [answer, odd] {
            let left = pruned(&bytes, detail, piece);
            // A value of another form, and the mark of what is no JSON.
            prop_assert!(left.len() <= 3 * bytes.len() + 8);
            prop_assert_eq!(&left, &pruned(&bytes, detail, bytes.len()));
            let _ = read(Operation::List, &left);
        }
    }
}
