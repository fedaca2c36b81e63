//! The one place that reads the clock.

use jiff::Timestamp;

/// What time it is.
pub fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    Timestamp::now()
}
