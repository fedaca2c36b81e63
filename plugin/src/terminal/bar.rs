//! Bars.

/// A bar of so many columns, of which a share is full.
pub fn bar(part: i64, whole: i64, columns: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let (part, whole) = (part.clamp(0, whole.max(0)), whole.max(1));
    let eighths = i128::from(part) * i128::try_from(columns * 8).unwrap_or(0) / i128::from(whole);
    // Something is not nothing.
    let eighths = if part > 0 { eighths.max(1) } else { eighths };
    let eighths = usize::try_from(eighths).unwrap_or(0).min(columns * 8);
    let rest = EIGHTHS.get(eighths % 8).copied().unwrap_or_default();
    "█".repeat(eighths / 8) + rest
}

#[cfg(test)]
mod tests {
    use super::bar;

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        assert_eq!(bar(0, 10, 4), "");
        assert_eq!(bar(5, 10, 4), "██");
        assert_eq!(bar(10, 10, 4), "████");
        assert_eq!(bar(99, 10, 4), "████");
        assert_eq!(bar(1, 1_000_000, 4), "▏");
        assert_eq!(bar(-3, 10, 4), "");
        assert_eq!(bar(3, 0, 4), "");
        assert_eq!(bar(i64::MAX, i64::MAX, 2), "██");
    }
}
