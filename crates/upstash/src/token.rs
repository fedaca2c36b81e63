//! A token that cannot be printed.

use std::hash::{DefaultHasher, Hash, Hasher};

#[cfg(feature = "client")]
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

/// The longest token that is taken, in bytes.
const MAX_BYTES: usize = 8192;

/// Real tokens are much longer.
const LEAST_TELLING_BYTES: usize = 12;

/// A QStash token. Its `Debug` shows nothing of it, and it leaves the process only in the `Authorization` header.
#[derive(Clone, Debug)]
pub struct Token(SecretString);

/// Why a text cannot be a token. None of these shows the text.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum TokenError {
    /// Nothing there.
    #[error("the token is empty")]
    Empty,
    /// Too much there.
    #[error("the token is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// A header could not carry it.
    #[error("the token holds a character other than visible ASCII")]
    NotAHeader,
}

impl Token {
    /// Reads a token from a Secret or the environment; one newline at the end is dropped.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        if text.is_empty() {
            Err(TokenError::Empty)
        } else if text.len() > MAX_BYTES {
            Err(TokenError::TooLong)
        } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Err(TokenError::NotAHeader)
        } else {
            Ok(Self(SecretString::from(text)))
        }
    }

    /// `Bearer …`, marked so that no HTTP library prints it.
    #[cfg(feature = "client")]
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0.expose_secret())).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// A text without the token, should somebody have echoed it.
    pub(super) fn redact(&self, text: &str) -> String {
        text.replace(self.0.expose_secret(), "[token]")
    }

    /// Whether a text holds the token. One so short that it may be in any text by chance is not looked for.
    pub(super) fn is_in(&self, text: &str) -> bool {
        let token = self.0.expose_secret();
        token.len() >= LEAST_TELLING_BYTES && text.contains(token)
    }

    /// A number that tells two tokens apart within this process, and tells nothing of them.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.expose_secret().hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_newline_at_the_end_is_dropped() {
        for text in ["secret", "secret\n", "secret\r\n"] {
            assert_eq!(Token::parse(text).unwrap().0.expose_secret(), "secret");
        }
        assert_eq!(Token::parse("secret\n\n").unwrap_err(), TokenError::NotAHeader);
    }

    #[test]
    fn what_a_header_cannot_carry_is_refused() {
        for text in ["a b", "a\u{0}", "ä", "a\nb"] {
            assert_eq!(Token::parse(text).unwrap_err(), TokenError::NotAHeader, "{text:?}");
        }
        assert_eq!(Token::parse("\n").unwrap_err(), TokenError::Empty);
        assert_eq!(Token::parse(&"x".repeat(10_000)).unwrap_err(), TokenError::TooLong);
    }

    #[test]
    fn an_echoed_token_is_taken_out() {
        let token = Token::parse("hunter2").unwrap();
        assert_eq!(token.redact("no such token: hunter2!"), "no such token: [token]!");
    }

    #[test]
    fn a_token_does_not_print() {
        let token = Token::parse("hunter2").unwrap();
        assert!(!format!("{token:?} {:?}", token.authorization()).contains("hunter2"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_token_that_a_header_carries_or_is_refused_without_being_shown(text in any::<String>()) {
            match Token::parse(&text) {
                Ok(token) => {
                    let value = token.authorization().unwrap();
                    prop_assert!(value.is_sensitive() && value.to_str().is_ok());
                    prop_assert_eq!(token.redact(""), "");
                }
                Err(error) => prop_assert!([TokenError::Empty, TokenError::TooLong, TokenError::NotAHeader].contains(&error)),
            }
        }

        #[test]
        fn a_token_is_in_no_text_that_it_was_taken_out_of(
            token in "[!-~]{12,200}",
            text in ("\\PC{0,40}", "\\PC{0,40}"),
            end in "(\r?\n)?",
        ) {
            let parsed = Token::parse(&format!("{token}{end}")).unwrap();
            let told = parsed.redact(&format!("{}{token}{}{token}", text.0, text.1));
            prop_assert!(!told.contains(&token) && told.contains("[token]"));
            prop_assert!(parsed.is_in(&(text.0 + &token)) && !parsed.is_in(&told));
            let shown = format!("{parsed:?} {parsed:#?} {:?}", parsed.authorization());
            prop_assert!(!shown.contains(&token));
        }
    }
}
