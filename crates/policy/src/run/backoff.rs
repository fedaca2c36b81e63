//! How long to wait before a call is repeated.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// Exponential, from half a second to 30 s, with full jitter: `jitter`, a random number from 0 to 1, takes its share,
/// so that many runs that failed together do not come back together. `failures` counts from 1.
pub fn delay(failures: u32, jitter: f64) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    FIRST.saturating_mul(doubled).min(LONGEST).mul_f64(jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits: Vec<_> = (1..=9).map(|failures| delay(failures, 1.0).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!(delay(u32::MAX, 1.0), LONGEST);
    }

    #[test]
    fn jitter_takes_its_share() {
        assert_eq!(delay(3, 0.0), Duration::ZERO);
        assert_eq!(delay(3, 0.25), Duration::from_millis(500));
    }
}
