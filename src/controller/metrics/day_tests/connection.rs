//! A connection that a policy of the day shares: the budget that ships, over a status that is kept here.

use std::sync::{Arc, Mutex};

use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::clock;
use super::object::permissions;
use crate::controller::names::lock;
use crate::controller::shared::SharedConnections;
use dlq_crd::{ConnectionKind, ConnectionStatus};
use dlq_policy::budget::{Allowance, Budget, Reserved, Spent, Unused};
use dlq_policy::status::connection::{Checked, Users, connection};
use dlq_policy::{ConnectionName, SharedConnection};

/// Where its policies are.
pub(super) const NAMESPACE: &str = "shop";
pub(super) const NAME: &str = "archive";
const KIND: ConnectionKind = ConnectionKind::DlqConnection;

/// The connection, and what the leader holds of its budget.
pub(super) struct DayConnection {
    pub(super) known: Arc<SharedConnections>,
    budget: Mutex<Budget>,
}

impl DayConnection {
    /// One whose token works, of which nothing is spent.
    pub(super) fn new() -> Self {
        let known = Arc::new(SharedConnections::new(permissions(), 0));
        let it = Self { known, budget: Mutex::default() };
        let users = Users { policies: Some(1), is_read_only: Some(false) };
        let asked = Checked::Asked(Ok(()));
        it.show(&connection(&ConnectionStatus::default(), 1, Some(&asked), users, clock::now()));
        it
    }

    fn name() -> ConnectionName {
        ConnectionName::new(KIND, NAMESPACE, NAME.to_owned())
    }

    /// The watch shows it with this status.
    fn show(&self, status: &ConnectionStatus) {
        let object: Value = json!({
            "apiVersion": "dlq-operator.dev/v1alpha1", "kind": KIND.as_str(),
            "metadata": { "name": NAME, "namespace": NAMESPACE, "uid": NAME, "generation": 1 },
            "spec": { "tokenSecretRef": { "name": "upstash" }, "limits": { "maxEntriesPerDay": 40_000 } },
            "status": status,
        });
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        self.known.shown(self.known.read(KIND, object));
    }

    pub(super) fn shared(&self) -> Arc<SharedConnection> {
        self.known.object(&Self::name()).unwrap().shared.unwrap()
    }

    /// Another process leads.
    pub(super) fn hand_over(&self) {
        *lock(&self.budget) = Budget::default();
    }

    pub(super) fn reserve(&self, wanted: u64) -> Reserved {
        let (limits, mut budget) = (&self.shared().budget, lock(&self.budget));
        loop {
            let status = self.known.object(&Self::name()).unwrap().status;
            let spent = Spent::of(&status).unwrap();
            match budget.take(limits, spent, wanted, clock::now()) {
                Allowance::Granted(grant) => return Reserved::Granted(grant),
                Allowance::Later(until) => return Reserved::Later(until),
                Allowance::Spent => return Reserved::Spent,
                Allowance::Reserve(next) => {
                    let (day, entries_today) = (Some(next.day.to_string()), i64::try_from(next.entries).ok());
                    self.show(&ConnectionStatus { day, entries_today, ..status });
                    budget.reserved(spent, next);
                }
            }
        }
    }

    pub(super) fn give_back(&self, unused: Unused) {
        lock(&self.budget).give_back(unused, &self.shared().budget, clock::now());
    }
}
