//! A connection that the policy may share with others, and the status that counts what its policies do in a day.

use std::sync::LazyLock;

use jiff::SignedDuration;

use super::api_server::Fault;
use super::process::trouble;
use super::world::World;
use crate::attempt::{FailedStep, Trouble};
use crate::budget::{Allowance, Reserved, Spent, Unused};
use crate::sample::permissions;
use crate::spec::{ConnectionName, SharedConnection};
use dlq_crd::ConnectionKind;

/// How many entries its policies may act on in a day.
const A_DAY: u64 = 90;

pub(super) static SHARED: LazyLock<SharedConnection> = LazyLock::new(|| {
    let name = ConnectionName::new(ConnectionKind::DlqConnection, "payments", "production".to_owned());
    let spec = serde_json::json!({
        "tokenSecretRef": { "name": "upstash" }, "limits": { "maxEntriesPerDay": A_DAY },
    });
    SharedConnection::of_namespace(name, &serde_json::from_value(spec).unwrap(), &permissions()).unwrap()
});

/// What the status of the connection says, and the books beside it.
#[derive(Debug, Default)]
pub(super) struct Counted {
    status: Option<Spent>,
    /// All that was ever written down as spent, whatever the day, less what was given back.
    written: u64,
    acted: u64,
}

impl World {
    /// Writes down what is spent. Whether that was done; none where there is no answer.
    fn spend(&mut self, next: Spent) -> Option<bool> {
        let fault = self.faults.pop().unwrap_or(Fault::None);
        if matches!(fault, Fault::Lost | Fault::Late) {
            return None;
        }
        let counted = &mut self.counted;
        let before =
            counted.status.filter(|status| status.day == next.day).map_or(0, |status| status.entries);
        counted.written = (counted.written + next.entries).saturating_sub(before);
        counted.status = Some(next);
        assert!(next.entries <= A_DAY, "more than a day's worth is granted: {next:?}");
        self.ledger.meet("a block of a budget");
        (fault != Fault::AnswerLost).then_some(true)
    }

    /// The process asks for entries.
    pub(super) fn reserve(&mut self, wanted: u64) -> Result<Reserved, Trouble> {
        let (limits, now) = (&SHARED.budget, self.now());
        for _ in 0..2 {
            let spent = self.counted.status;
            match self.process.budget.take(limits, spent, wanted, now) {
                Allowance::Granted(granted) => return Ok(Reserved::Granted(granted)),
                Allowance::Later(until) => return Ok(Reserved::Later(until)),
                Allowance::Spent => return Ok(Reserved::Spent),
                Allowance::Reserve(next) => {
                    if self.spend(next).is_none() {
                        self.ledger.meet("a block of a budget without an answer");
                        return Err(trouble(FailedStep::WriteStatus));
                    }
                    self.process.budget.reserved(spent, next);
                }
            }
        }
        panic!("a block that was reserved grants nothing");
    }

    /// What a turn did not use.
    pub(super) fn give_back(&mut self, unused: Unused) {
        let now = self.now();
        self.process.budget.give_back(unused, &SHARED.budget, now);
    }

    /// The process writes down what is left.
    pub(super) fn settle(&mut self) {
        let now = self.now();
        let settled =
            self.process.budget.settle(&SHARED.budget, self.counted.status, SignedDuration::ZERO, now);
        let Some(settlement) = settled else { return };
        if self.spend(settlement.next).is_some() {
            self.process.budget.settled(&settlement);
            self.ledger.meet("a block of a budget that is given back");
        }
    }

    /// So many entries were acted on of those that were asked for.
    pub(super) fn acted(&mut self, entries: u32) {
        let counted = &mut self.counted;
        counted.acted += u64::from(entries);
        assert!(counted.acted <= counted.written, "acts before it is written down: {counted:?}");
    }
}
