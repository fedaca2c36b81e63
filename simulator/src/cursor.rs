//! Cursors: where a page ended, in a form that callers cannot read or forge by accident.

use crate::{clock::Millis, random};

/// Where an entry stands in the DLQ: by time of failure, then in order of arrival.
///
/// A cursor holds the position of the last entry a page dealt with, not an offset, so that it stays right while
/// entries leave the DLQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub failed_at: Millis,
    pub sequence: u64,
}

impl Position {
    /// Before every entry, whichever comes first.
    pub const START: Self = Self { failed_at: Millis::MIN, sequence: 0 };

    /// The first position that is newer.
    #[must_use]
    pub fn next(self) -> Self {
        Self { sequence: self.sequence.saturating_add(1), ..self }
    }

    /// The last position that is older.
    #[must_use]
    pub fn previous(self) -> Self {
        match self.sequence.checked_sub(1) {
            Some(sequence) => Self { sequence, ..self },
            None => Self { failed_at: self.failed_at.saturating_sub(1), sequence: u64::MAX },
        }
    }
}

/// A cursor that is malformed, altered, or from another DLQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid cursor")]
pub struct InvalidCursor;

/// Writes a position as a cursor of the DLQ named `dlq`.
///
/// `salt` changes the text without changing the meaning. The text holds `+`, `/` and `=` on purpose: a caller that
/// does not percent-encode it gets a 400.
pub fn encode(dlq: &str, position: Position, salt: u64) -> String {
    let body = format!("{:x}+{:x}/{salt:x}", position.failed_at, position.sequence);
    let tag = tag(dlq, &body);
    format!("{body}/{tag:016x}==")
}

/// Reads a cursor back. It must have been written for the same DLQ.
pub fn decode(dlq: &str, cursor: &str) -> Result<Position, InvalidCursor> {
    let (body, tag_text) =
        cursor.strip_suffix("==").and_then(|rest| rest.rsplit_once('/')).ok_or(InvalidCursor)?;
    if format!("{:016x}", tag(dlq, body)) != tag_text {
        return Err(InvalidCursor);
    }
    let (failed_at, rest) = body.split_once('+').ok_or(InvalidCursor)?;
    let (sequence, _salt) = rest.split_once('/').ok_or(InvalidCursor)?;
    let failed_at = u64::from_str_radix(failed_at, 16).map_err(|_| InvalidCursor)?.cast_signed();
    let sequence = u64::from_str_radix(sequence, 16).map_err(|_| InvalidCursor)?;
    Ok(Position { failed_at, sequence })
}

fn tag(dlq: &str, body: &str) -> u64 {
    random::hash(format!("{dlq}\n{body}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOMEWHERE: Position = Position { failed_at: 1_763_647_200_123, sequence: 42 };

    #[test]
    fn a_cursor_reads_back_as_the_position_it_was_made_from() {
        for position in [SOMEWHERE, Position::START] {
            assert_eq!(decode("a", &encode("a", position, 7)), Ok(position));
        }
    }

    #[test]
    fn a_cursor_of_another_dlq_is_refused() {
        assert_eq!(decode("b", &encode("a", SOMEWHERE, 0)), Err(InvalidCursor));
    }

    #[test]
    fn a_cursor_with_any_character_changed_is_refused() {
        let cursor = encode("a", SOMEWHERE, 0);
        for index in 0..cursor.len() {
            let mut altered = cursor.clone().into_bytes();
            altered[index] = if altered[index] == b'1' { b'2' } else { b'1' };
            let altered = String::from_utf8(altered).expect("ASCII stays ASCII");
            assert_eq!(decode("a", &altered), Err(InvalidCursor), "{altered}");
        }
        assert_eq!(decode("a", ""), Err(InvalidCursor));
        assert_eq!(decode("a", "ü=="), Err(InvalidCursor));
    }

    #[test]
    fn salt_changes_the_text_but_not_the_meaning() {
        let (plain, salted) = (encode("a", SOMEWHERE, 0), encode("a", SOMEWHERE, 1));
        assert_ne!(plain, salted);
        assert_eq!(decode("a", &plain), decode("a", &salted));
    }
}
