//! Numbers, spans and times as people read them.

use std::time::Duration;

use dlq_crd::Action;
use jiff::{SignedDuration, Timestamp};

/// A number with a comma at each thousand.
pub fn number(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// So many of something: `1 entry`, `2,000 entries`.
pub fn count(count: i64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// So many entries.
pub fn entries(entries: impl TryInto<i64>) -> String {
    count(entries.try_into().unwrap_or(i64::MAX), "entry", "entries")
}

/// A span as kubectl writes it, in its two greatest units: `45s`, `12m`, `2d4h`.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let two = |great: u64, unit: &str, small: u64, small_unit: &str| {
        if small == 0 { format!("{great}{unit}") } else { format!("{great}{unit}{small}{small_unit}") }
    };
    match (seconds / 60, seconds / 3600, seconds / 86_400) {
        (0, ..) if seconds == 0 && !span.is_zero() => format!("{}ms", span.as_millis().max(1)),
        (0 | 1, ..) => format!("{seconds}s"),
        (minutes @ 2..=9, ..) => two(minutes, "m", seconds % 60, "s"),
        (minutes, 0..=2, _) => format!("{minutes}m"),
        (minutes, hours @ 3..=7, _) => two(hours, "h", minutes % 60, "m"),
        (_, hours, 0..=1) => format!("{hours}h"),
        (_, hours, days @ 2..=7) => two(days, "d", hours % 24, "h"),
        (.., days) => format!("{days}d"),
    }
}

/// How long ago something was.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    format!("{} ago", age(then, now))
}

/// How old something is.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    let passed = now.duration_since(then).max(SignedDuration::ZERO);
    span(Duration::from_secs(passed.unsigned_abs().as_secs()))
}

/// When something will be: `in 3m`, or `now` where it is due.
pub fn ahead(then: Timestamp, now: Timestamp) -> String {
    let left = then.duration_since(now);
    if left.is_positive() {
        format!("in {}", span(Duration::from_secs(left.unsigned_abs().as_secs())))
    } else {
        "now".to_owned()
    }
}

/// A time to the second, in UTC.
pub fn at(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Values as a choice: `a, b or c`.
pub fn any_of(values: &[String]) -> String {
    match values {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// What is being done: `resuming`.
pub fn doing(action: Action) -> &'static str {
    match action {
        Action::Resume => "resuming",
        Action::Restart => "restarting",
        Action::Delete => "deleting",
    }
}

/// What was done: `resumed`.
pub fn done(action: Action) -> &'static str {
    match action {
        Action::Resume => "resumed",
        Action::Restart => "restarted",
        Action::Delete => "deleted",
    }
}

/// The text with a capital at its start.
pub fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas_at_thousands() {
        for (value, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (-1_234_567, "-1,234,567")] {
            assert_eq!(number(value), text);
        }
        assert_eq!((entries(1).as_str(), entries(2000).as_str()), ("1 entry", "2,000 entries"));
    }

    #[test]
    fn spans_are_as_kubectl_writes_them() {
        for (seconds, text) in [
            (0, "0s"),
            (45, "45s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (660, "11m"),
            (3600 * 3, "3h"),
            (3600 * 4 + 120, "4h2m"),
            (3600 * 30, "30h"),
            (86_400 * 2 + 3600, "2d1h"),
            (86_400 * 30, "30d"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text, "{seconds}");
        }
        assert_eq!(span(Duration::from_millis(250)), "250ms");
    }

    #[test]
    fn what_is_due_is_now_and_what_lies_ahead_is_no_age() {
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let later: Timestamp = "2026-11-20T12:00:30Z".parse().unwrap();
        assert_eq!((ahead(later, now), ahead(now, later)), ("in 30s".to_owned(), "now".to_owned()));
        assert_eq!((ago(now, later), age(later, now)), ("30s ago".to_owned(), "0s".to_owned()));
    }
}
