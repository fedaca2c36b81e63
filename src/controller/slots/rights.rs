//! The rights to a turn with a policy.

use super::Slots;
use crate::controller::watched::class::Class;

/// How many turns there are at once from the read to the first write: when thousands are due, the API server is not asked
/// for all of them together.
const TURNS: u16 = 32;
/// How many of those with nothing due, beside them.
const HOUSEKEEPING: u16 = 8;

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
}
