//! The rights to a turn with a policy.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Slots;
use crate::controller::watched::class::Class;

/// How many turns there are at once from the read to the first write: when thousands are due, the API server is not asked
/// for all of them together.
const TURNS: u16 = 32;
/// How many of those with nothing due, beside them.
const HOUSEKEEPING: u16 = 8;

/// How long what can wait lets turns that are due go first, and how often it looks whether they have.
const LONGEST_COURTESY: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);

/// The right to a turn, by class.
pub(crate) struct Rights {
    due: Slots,
    housekeeping: Slots,
}

impl Default for Rights {
    fn default() -> Self {
        Self { due: Slots::new(TURNS, TURNS), housekeeping: Slots::new(HOUSEKEEPING, HOUSEKEEPING) }
    }
}

impl Rights {
    pub(crate) fn of(&self, class: Class) -> &Slots {
        match class {
            Class::Due => &self.due,
            Class::Housekeeping => &self.housekeeping,
        }
    }

    /// Lets the turns that are due and in line go first, for a while: a run that is late matters more than an event that is.
    pub(crate) async fn let_due_go_first(&self) {
        let until = Instant::now() + LONGEST_COURTESY;
        while self.due.has_line() && Instant::now() < until {
            sleep(LOOK).await;
        }
    }
}
