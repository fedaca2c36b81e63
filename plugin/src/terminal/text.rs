//! Text in columns.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// How many columns a text takes. It holds no escape sequences.
pub fn width_of(text: &str) -> usize {
    text.width()
}

/// The text, cut to so many columns; an ellipsis says so.
pub fn fit(text: &str, columns: usize) -> String {
    if width_of(text) <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    let mut taken = 0;
    let kept = text.chars().take_while(|character| {
        taken += character.width().unwrap_or(0);
        taken <= room
    });
    let mut kept: String = kept.collect();
    kept.truncate(kept.trim_end().len());
    kept.push('…');
    kept
}

/// The text in lines of at most so many columns, broken at spaces, and within words that are longer.
pub fn wrapped(text: &str, columns: Option<usize>) -> Vec<String> {
    let Some(columns) = columns else { return vec![text.to_owned()] };
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && width_of(&line) + 1 + width_of(word) > columns {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for character in word.chars() {
            if !line.is_empty() && width_of(&line) + character.width().unwrap_or(0) > columns {
                lines.push(std::mem::take(&mut line));
            }
            line.push(character);
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_is_cut_at_a_column() {
        assert_eq!(fit("payments", 8), "payments");
        assert_eq!(fit("payments", 5), "paym…");
        assert_eq!(fit("two words", 5), "two…");
        assert_eq!(fit("支払い", 4), "支…");
        assert_eq!(fit("payments", 1), "…");
        assert_eq!(fit("payments", 0), "");
    }

    #[test]
    fn a_sentence_is_wrapped_between_words() {
        assert_eq!(wrapped("one two three", Some(7)), ["one two", "three"]);
        assert_eq!(wrapped("one two three", Some(3)), ["one", "two", "thr", "ee"]);
        assert_eq!(wrapped("one two", None), ["one two"]);
        assert_eq!(wrapped("", Some(7)), [""]);
    }
}
