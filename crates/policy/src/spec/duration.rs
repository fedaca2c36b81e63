//! The durations of a policy: `7d`, `1h30m`, `90s`, `250ms`.

use jiff::SignedDuration;

/// Reads days, hours, minutes, seconds and milliseconds, each at most once and in this order. A day is 24 hours: these
/// durations are spans of failure times, not calendar days. `None` for anything else.
pub fn parse(text: &str) -> Option<SignedDuration> {
    const UNITS: [(&str, i64); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let (_, millis) = units.by_ref().find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(*millis)?)?;
        rest = tail;
    }
    (!text.is_empty()).then(|| SignedDuration::from_millis(total))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_add_up() {
        let table = [
            ("7d", 7 * 86_400_000),
            ("1h30m", 5_400_000),
            ("90s", 90_000),
            ("250ms", 250),
            ("1d2h3m4s5ms", 93_784_005),
            ("0s", 0),
            ("9999d", 9999 * 86_400_000),
        ];
        for (text, millis) in table {
            assert_eq!(parse(text), Some(SignedDuration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "7", "d", "1m1h", "1h1h", "-1s", "1.5h", "1h ", "1w", "99999999999999999999d", "1s1ms1"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_span_that_is_not_negative_or_is_refused(text in "([0-9]{0,21}(d|h|m|s|ms|w|é|-)?){0,7}|\\PC{0,40}") {
            prop_assert!(parse(&text).is_none_or(|span| !span.is_negative()));
        }

        #[test]
        fn what_the_schema_admits_is_read_as_the_sum_of_its_parts(
            days in prop::option::of(0_i64..=9999),
            parts in prop::array::uniform4(prop::option::of(0_i64..=999_999)),
        ) {
            let units = [("d", days, 86_400_000), ("h", parts[0], 3_600_000), ("m", parts[1], 60_000), ("s", parts[2], 1000), ("ms", parts[3], 1)];
            let text: String =
                units.iter().filter_map(|(unit, number, _)| number.map(|number| format!("{number}{unit}"))).collect();
            let millis: i64 = units.iter().map(|(_, number, millis)| number.unwrap_or(0) * millis).sum();
            let expected = (!text.is_empty()).then(|| SignedDuration::from_millis(millis));
            prop_assert_eq!(parse(&text), expected);
        }
    }
}
