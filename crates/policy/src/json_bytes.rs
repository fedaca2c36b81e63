//! The size of what is written to the API server.

use serde::Serialize;

/// How long something is in the JSON of the API server, which escapes more than ours: an upper bound.
pub(crate) fn json_bytes(value: &impl Serialize) -> usize {
    let text = serde_json::to_vec(value).unwrap_or_default();
    let more = |bytes: &[u8]| match bytes {
        [b'<' | b'>' | b'&', ..] => 5,
        [b'\\', b'b' | b'f', ..] => 4,
        [0xe2, 0x80, 0xa8 | 0xa9, ..] => 3,
        _ => 0,
    };
    text.len() + (0..text.len()).map(|start| more(&text[start..])).sum::<usize>()
}
