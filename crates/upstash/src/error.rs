//! What can go wrong with a call, classified once.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// The longest part of an answer's text that is kept, in characters. A status' message has 256: what to do about it has
/// to fit in as well.
pub const MAX_MESSAGE_CHARS: usize = 160;

/// What a failure means for the one who called.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ErrorClass {
    /// 429: too many requests.
    RateLimited,
    /// 408, 425, 5xx, no connection, no answer in time, or one that cannot be read: may pass by itself.
    Unavailable,
    /// The answer is larger than is read, or too large to arrive in time. One that shows fewer entries may not be.
    TooLarge,
    /// 401: the token is not known.
    Unauthorized,
    /// 403: the token may not do this.
    Forbidden,
    /// 404: the entry is not, or not all entries are, in the DLQ.
    NotFound,
    /// 412: a quota of the plan is used up. A daily one passes by itself, and no other does.
    QuotaExceeded,
    /// 400: the request, its cursor, or an entry in it was refused.
    Refused,
    /// Any other 3xx or 4xx: this is not how the API answers.
    Unexpected,
}

/// A call that did not lead to a page.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub struct ApiError {
    /// What it means.
    pub class: ErrorClass,
    /// The answer's status, when one came.
    pub status: Option<u16>,
    /// The first part of what the answer says, or what happened to the connection. Holds no control character.
    pub message: String,
    /// How long the answer's own headers ask to wait.
    pub retry_after: Option<Duration>,
    /// Whether the call may have acted nevertheless: it was sent, and no readable answer came, or one that says nothing of
    /// it: 500, 502, 504, or another code that proxies give, without Upstash's own error body.
    pub may_have_acted: bool,
}

impl ApiError {
    /// An answer that was too large.
    pub fn too_large(message: &str) -> Self {
        Self { class: ErrorClass::TooLarge, ..Self::transport(message, true) }
    }

    /// A failure of the connection, before or after the request was sent.
    pub fn transport(message: &str, sent: bool) -> Self {
        Self {
            class: ErrorClass::Unavailable,
            status: None,
            message: printable(message),
            retry_after: None,
            may_have_acted: sent,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) if self.message.is_empty() => write!(f, "Upstash answered {status}"),
            Some(status) => write!(f, "Upstash answered {status}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// An error with its causes, each once: some libraries repeat their causes in their own message.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        source = cause.source();
    }
    message
}

/// The first part of a text from outside, without control characters: fit for a log line, an event and a condition.
pub fn printable(text: &str) -> String {
    let beginning: String = text.chars().take(4 * MAX_MESSAGE_CHARS).collect();
    let mut words = visible(&beginning).split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = words.char_indices().nth(MAX_MESSAGE_CHARS) {
        words.truncate(cut);
    }
    words
}

/// A text from outside with spaces for what is not seen and changes how the rest is: control characters, those that turn
/// the direction of writing, and those without width.
pub fn visible(text: &str) -> String {
    let is_hidden = |c: char| {
        let is_format = matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
        c.is_control() || is_format
    };
    text.chars().map(|c| if is_hidden(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_from_outside_are_cut_and_lose_control_characters() {
        assert_eq!(printable("a\u{1b}[31m\r\n\tb"), "a [31m b");
        assert_eq!(printable("a\u{9b}31mb\u{7f}\u{2028}c"), "a 31mb c");
        assert_eq!(printable("resume\u{202e}eteled\u{200b}\u{feff}"), "resume eteled");
        assert_eq!(printable(&"é".repeat(10_000)).chars().count(), MAX_MESSAGE_CHARS);
    }
}
