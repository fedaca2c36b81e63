//! What a turn holds and knows while it is under way.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::controller::connections::Connected;
use crate::controller::metrics::RunWaits;
use crate::controller::slots::{Slot, slots_of};
use crate::controller::watched::policy::ChangeKey;
use dlq_policy::ConnectionName;
use dlq_policy::attempt::{AccountId, Interrupt, Seen};
use dlq_upstash::Client;

/// What changes while a turn is under way.
pub(super) struct State {
    /// The right to look at a policy, until calls are made or waited for.
    pub(super) turn: Option<Slot>,
    /// The permits, each for a call.
    pub(super) slots: Option<(AccountId, Vec<Slot>)>,
    /// The account of the run, and the one that was found in this turn.
    pub(super) accounts: [Option<Connected>; 2],
    pub(super) waits: Option<RunWaits>,
    /// What was read or heard of the policy: anything else is news.
    pub(super) known: Vec<ChangeKey>,
    pub(super) told: Option<Interrupt>,
    pub(super) seen: Option<(ChangeKey, Arc<Seen>)>,
    /// The object after the last write.
    pub(super) written: Option<Box<RawValue>>,
}

impl State {
    fn connected(&self, account: AccountId) -> Option<&Connected> {
        self.accounts.iter().flatten().find(|connected| connected.fingerprint == account)
    }

    pub(super) fn client(&self, account: AccountId) -> Option<Client> {
        self.connected(account).map(|connected| connected.client.clone())
    }

    /// Whose slots a run with an account takes: those of the connection that policies share, whatever its token, or the
    /// account's own.
    pub(super) fn slots_of(&self, account: AccountId) -> u64 {
        self.shared(account).map_or(account, |name| slots_of(&name))
    }

    /// The connection that policies share, if that is whose account it is.
    pub(super) fn shared(&self, account: AccountId) -> Option<ConnectionName> {
        self.connected(account)?.shared.clone()
    }
}
