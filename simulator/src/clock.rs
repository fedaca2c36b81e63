//! The one place that asks for the time: everything else is handed `now`.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix milliseconds, the unit of every time in the API.
pub type Millis = i64;

/// The time now.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn now() -> Millis {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since_epoch.as_millis()).unwrap_or(Millis::MAX)
}
