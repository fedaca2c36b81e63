//! The tokens of a test, and the search for them in what must not show any.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// A word shorter than this may be anywhere by chance.
const LEAST_TELLING_BYTES: usize = 8;

/// Tokens that one simulator was told, or that a test remembers by itself.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Arc<Mutex<BTreeSet<String>>>);

impl Tokens {
    /// Looks for this one, too.
    pub fn remember(&self, token: &str) {
        if token.len() >= LEAST_TELLING_BYTES {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned());
        }
    }

    /// The first line that shows a token, plain or as Secrets have it, with the token.
    pub fn shown_in(&self, text: &str) -> Option<String> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        tokens.into_iter().find_map(|token| {
            let forms = [token.clone(), base64(token.as_bytes())];
            let line = text.lines().find(|line| forms.iter().any(|form| line.contains(form)))?;
            Some(format!("the token {token} is shown: {line}"))
        })
    }
}

/// Base64 without what depends on the end of the text.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups =
        bytes.chunks_exact(3).map(|group| group.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte)));
    groups.flat_map(|bits| [18, 12, 6, 0].map(|shift| char::from(DIGITS[bits >> shift & 63]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_plain_and_as_a_secret_has_it() {
        let tokens = Tokens::default();
        tokens.remember("scene-token-7f3a");
        tokens.remember("run");
        for text in ["a\nBearer scene-token-7f3a\nb", "{\"token\":\"c2NlbmUtdG9rZW4tN2YzYQ==\"}"] {
            assert!(tokens.shown_in(text).unwrap().contains("scene-token-7f3a"), "{text}");
        }
        assert_eq!(tokens.shown_in("the run of scene-token continues"), None);
    }
}
