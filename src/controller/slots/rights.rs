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
/// How many look at what waits in the DLQ, beside both, and how many of them in one account: a look has many calls.
const LOOKS: u16 = 8;
const LOOKS_PER_CONNECTION: u16 = 4;

/// How long what can wait lets turns that are due go first, and how often it looks whether they have.
const LONGEST_COURTESY: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);

/// The right to a turn, by class.
pub(crate) struct Rights {
    due: Slots,
    housekeeping: Slots,
    looks: Slots,
}

impl Default for Rights {
    fn default() -> Self {
        Self {
            due: Slots::new(TURNS, TURNS),
            housekeeping: Slots::new(HOUSEKEEPING, HOUSEKEEPING),
            looks: Slots::new(LOOKS, LOOKS_PER_CONNECTION),
        }
    }
}

impl Rights {
    pub(crate) fn of(&self, class: Class) -> &Slots {
        match class {
            Class::Due => &self.due,
            Class::Housekeeping => &self.housekeeping,
            Class::Look => &self.looks,
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
