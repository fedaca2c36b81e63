//! Shortens the texts of a JSON answer while it arrives: bodies and headers of customers may be large, and nobody reads them
//! here.

use crate::response::MAX_CURSOR_BYTES;

/// So many bytes are kept of each text of an entry, and never a part of a character. What is told of it is shorter.
const MAX_TEXT_BYTES: usize = 4096;
/// Likewise of the answer's own texts: a cursor that is too long must be seen to be.
const MAX_OWN_TEXT_BYTES: usize = MAX_CURSOR_BYTES + 1;

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum At {
    #[default]
    BetweenTexts,
    Text,
    /// After a backslash.
    Escape,
    /// So many hex digits of an escape are still to come.
    Digits(u8),
}

/// Where in an answer the last byte was.
#[derive(Debug, Default)]
pub(crate) struct Shortener {
    at: At,
    /// How many objects and lists the text is in.
    depth: usize,
    /// What is kept of this text so far.
    kept: usize,
    /// The text is not at its limit.
    keeps: bool,
    /// The number that the digits of an escape make, and whether a second one belongs to it.
    code: u32,
    is_half: bool,
}

impl Shortener {
    /// Appends what is kept of the next bytes.
    pub(crate) fn push(&mut self, mut bytes: &[u8], into: &mut Vec<u8>) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.at == At::Text && !self.keeps {
                let is_plain = |byte: &u8| !matches!(byte, b'"' | b'\\');
                let skipped = bytes.iter().take_while(|byte| is_plain(byte)).count();
                if skipped > 0 {
                    bytes = &bytes[skipped..];
                    continue;
                }
            }
            if self.is_kept(byte) {
                into.push(byte);
            }
            bytes = rest;
        }
    }

    fn has_room(&self) -> bool {
        self.kept < if self.depth > 1 { MAX_TEXT_BYTES } else { MAX_OWN_TEXT_BYTES }
    }

    fn is_kept(&mut self, byte: u8) -> bool {
        match (self.at, byte) {
            (At::BetweenTexts, b'"') => {
                (self.at, self.kept, self.keeps, self.is_half) = (At::Text, 0, true, false);
                return true;
            }
            (At::BetweenTexts, _) => {
                match byte {
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                }
                return true;
            }
            (At::Text, b'"') => {
                self.at = At::BetweenTexts;
                return true;
            }
            (At::Text, b'\\') => {
                self.at = At::Escape;
                // The two halves of a character stay together.
                self.keeps &= self.has_room() || self.is_half;
                self.is_half = false;
            }
            (At::Text, _) => {
                let begins_a_character = byte & 0b1100_0000 != 0b1000_0000;
                self.keeps &= !begins_a_character || self.has_room();
                self.is_half = false;
            }
            (At::Escape, b'u') => (self.at, self.code) = (At::Digits(4), 0),
            (At::Escape, _) => self.at = At::Text,
            (At::Digits(left), _) => {
                self.code = (self.code << 4) | char::from(byte).to_digit(16).unwrap_or_default();
                self.at = if left > 1 { At::Digits(left - 1) } else { At::Text };
                self.is_half = left == 1 && (0xd800..0xdc00).contains(&self.code);
            }
        }
        self.kept += usize::from(self.keeps);
        self.keeps
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// What is left of an answer that arrives in pieces of this size.
    fn shortened(answer: &[u8], piece: usize) -> Vec<u8> {
        let (mut shortener, mut left) = (Shortener::default(), Vec::new());
        answer.chunks(piece.max(1)).for_each(|piece| shortener.push(piece, &mut left));
        left
    }

    /// The beginning of each text.
    fn expected(value: &Value) -> Value {
        match value {
            Value::String(text) => text.chars().take(20).collect::<String>().into(),
            Value::Array(items) => items.iter().map(expected).collect(),
            Value::Object(fields) => {
                fields.iter().map(|(key, value)| (key.clone(), expected(value))).collect()
            }
            other => other.clone(),
        }
    }

    #[test]
    fn a_long_text_is_cut_and_what_follows_is_read() {
        for text in ["x", "é", "\u{1f600}", "\"", "\\", "\n", "\u{7f}"] {
            let long = text.repeat(100_000);
            let answer = json!([{ "body": long, "after": [1, "short", long] }]).to_string();
            let left = shortened(answer.as_bytes(), 1000);
            assert!(left.len() < 3 * MAX_TEXT_BYTES, "{} bytes of {text:?}", left.len());
            let read: Value = serde_json::from_slice(&left).unwrap();
            assert!(long.starts_with(read[0]["body"].as_str().unwrap()), "{text:?}");
            assert_eq!((&read[0]["after"][0], &read[0]["after"][1]), (&json!(1), &json!("short")));
        }
    }

    #[test]
    fn a_cursor_stays_whole_or_is_longer_than_any_that_is_taken() {
        let list = |cursor: usize| {
            let entry = json!({ "dlqId": "a", "body": "x".repeat(100_000) });
            json!({ "messages": [entry, entry], "cursor": "c".repeat(cursor) }).to_string()
        };
        for cursor in [1, 5000, MAX_CURSOR_BYTES, MAX_CURSOR_BYTES + 1, 100_000] {
            let read: Value = serde_json::from_slice(&shortened(list(cursor).as_bytes(), 333)).unwrap();
            let left = read["cursor"].as_str().unwrap().len();
            assert_eq!(left, cursor.min(MAX_CURSOR_BYTES + 1));
            assert!(read["messages"][1]["body"].as_str().unwrap().len() <= MAX_TEXT_BYTES);
        }
    }

    #[test]
    fn a_character_in_two_escapes_stays_whole_at_the_limit() {
        for before in MAX_TEXT_BYTES - 14..MAX_TEXT_BYTES + 2 {
            let text = "x".repeat(before);
            let answer = format!(r#"[["{text}\ud83d\ude00\ud83d\ude00 and more"]]"#);
            let read: Vec<Vec<String>> = serde_json::from_slice(&shortened(answer.as_bytes(), 7)).unwrap();
            assert!(read[0][0].starts_with(&"x".repeat(before.min(MAX_TEXT_BYTES))), "{before}");
        }
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            (any::<char>(), 0_usize..6000).prop_map(|(c, count)| c.to_string().repeat(count).into()),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..4)
                    .prop_map(|fields| fields.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_left_says_the_same_but_for_the_ends_of_long_texts(
            value in json_value(), piece in 1_usize..200, is_pretty in any::<bool>(),
        ) {
            let text = if is_pretty {
                serde_json::to_string_pretty(&value).unwrap()
            } else {
                value.to_string()
            };
            let left = shortened(text.as_bytes(), piece);
            let read: Value = serde_json::from_slice(&left).unwrap();
            prop_assert_eq!(expected(&read), expected(&value));
            if left.len() < MAX_TEXT_BYTES {
                prop_assert_eq!(left, text.into_bytes());
            }
        }

        #[test]
        fn what_is_no_json_panics_nothing(bytes in prop::collection::vec(any::<u8>(), 0..9000), piece in 1_usize..99) {
            let left = shortened(&bytes, piece);
            prop_assert!(left.len() <= bytes.len());
        }
    }
}
