//! What a turn was granted of the budget that the connection's policies share, and what of it is given back.

use super::Attempt;
use super::effect::{AccountId, Next};
use super::stage::{Stage, Then};
use super::told::Trouble;
use crate::budget::{Reserved, Unused};

impl Attempt {
    /// Takes in what was granted.
    pub(super) fn reserved(&mut self, reserved: Result<Reserved, Trouble>) {
        let Some(held) = &mut self.held else { return };
        let activity = held.progress.activity();
        match reserved {
            Ok(reserved) => held.progress.reserved(reserved),
            Err(trouble) if matches!(self.stage, Stage::Work) => {
                self.save(activity, Then::HandBack(Next::Retry(trouble)));
            }
            Err(_) => {}
        }
    }

    /// What was granted in this turn and is of no use any more; below 0: what was acted on beyond that.
    pub fn take_unused(&mut self) -> Option<(AccountId, Unused)> {
        if let Some(held) = &mut self.held {
            self.turn.unused = self.turn.unused.and(held.progress.take_unused());
        }
        let unused = std::mem::take(&mut self.turn.unused);
        self.turn.granted_by.filter(|_| unused.entries != 0).map(|account| (account, unused))
    }

    /// Works on the run no more.
    pub(super) fn let_go(&mut self) {
        if let Some(mut held) = self.held.take() {
            self.turn.unused = self.turn.unused.and(held.progress.take_unused());
        }
    }
}
