//! The one place that reads the clock, so that everything else can be given a time.

use jiff::Timestamp;

/// What time it is.
pub(crate) fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    Timestamp::now()
}
