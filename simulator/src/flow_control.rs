//! Flow control, as its header and the seeds write it: `parallelism=5, rate=10, period=1m`.

/// The longest `period` that the service takes: a week, in seconds.
pub const LONGEST_PERIOD: u64 = 7 * 24 * 3600;

/// The numbers of flow control. Each may be left out, but not all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlowControl {
    pub parallelism: Option<u64>,
    pub rate: Option<u64>,
    /// In seconds.
    pub period: Option<u64>,
}

impl FlowControl {
    /// Reads a text in which each part stands at most once, and none is zero.
    pub fn parse(text: &str) -> Option<Self> {
        let mut read = Self::default();
        for part in text.split(',') {
            let (name, value) = part.trim().split_once('=')?;
            let (field, number) = match name {
                "parallelism" => (&mut read.parallelism, positive(value)?),
                "rate" => (&mut read.rate, positive(value)?),
                "period" => (&mut read.period, seconds(value)?),
                _ => return None,
            };
            if field.replace(number).is_some() {
                return None;
            }
        }
        Some(read)
    }
}

fn positive(text: &str) -> Option<u64> {
    let all_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number: u32 = text.parse().ok().filter(|_| all_digits)?;
    (number > 0).then_some(number.into())
}

/// A duration of one unit, or of seconds when it has none.
fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = match text.as_bytes().last()? {
        b's' => (&text[..text.len() - 1], 1),
        b'm' => (&text[..text.len() - 1], 60),
        b'h' => (&text[..text.len() - 1], 3600),
        b'd' => (&text[..text.len() - 1], 24 * 3600),
        _ => (text, 1),
    };
    Some(positive(number)? * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read_as_a_number() {
        let all = FlowControl { parallelism: Some(5), rate: Some(10), period: Some(60) };
        assert_eq!(FlowControl::parse("parallelism=5, rate=10, period=1m"), Some(all));
        let rate = FlowControl { rate: Some(1), ..FlowControl::default() };
        assert_eq!(FlowControl::parse("rate=1"), Some(rate));
    }

    #[test]
    fn a_period_is_read_in_seconds() {
        for (text, period) in [
            ("period=30", 30),
            ("period=30s", 30),
            ("period=2m", 120),
            ("period=3h", 10_800),
            ("period=7d", LONGEST_PERIOD),
        ] {
            assert_eq!(FlowControl::parse(text).and_then(|read| read.period), Some(period), "{text}");
        }
    }

    #[test]
    fn what_is_repeated_zero_or_unknown_cannot_be_read() {
        for text in ["", "rate", "rate=0", "rate=+1", "rate=1, rate=2", "speed=1", "period=s", "period=1w"] {
            assert_eq!(FlowControl::parse(text), None, "{text}");
        }
    }
}
