//! Everything the two ports share: tokens, DLQs and fault rules.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
};

use serde::Deserialize;

use crate::{
    clock::{self, Millis},
    dlq::{Dlq, Lag, Refail},
    entry::Seed,
    faults::{FaultPlan, Faults},
    random::{self, Random},
    refusal::Refusal,
    service::{NewService, Order, Service},
};

/// The ledger of this name takes the calls that belong to no DLQ.
pub const UNAUTHORIZED: &str = "_unauthorized";

/// What a token opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub dlq: String,
    pub read_only: bool,
}

/// A token as it is set. Without a DLQ it opens the one of its own name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NewToken {
    pub dlq: Option<String>,
    pub read_only: bool,
}

/// A clock as it is set: how far it is from the machine's.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewClock {
    pub offset_ms: i32,
}

/// What a seed file holds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SeedFile {
    pub tokens: BTreeMap<String, NewToken>,
    pub entries: BTreeMap<String, Seed>,
    pub refail: BTreeMap<String, Refail>,
    pub lag: BTreeMap<String, Lag>,
    pub service: BTreeMap<String, NewService>,
    pub faults: FaultPlan,
    pub clock: NewClock,
}

/// The state of a simulator.
#[derive(Debug)]
pub struct Simulator {
    tokens: RwLock<HashMap<String, Token>>,
    dlqs: RwLock<HashMap<String, Arc<Mutex<Dlq>>>>,
    faults: Mutex<Faults>,
    seeds: Mutex<Random>,
    /// The order of every DLQ that was given none.
    order: Order,
    /// How far the service's clock is from ours, in milliseconds.
    clock_offset: AtomicI64,
}

impl Default for Simulator {
    fn default() -> Self {
        Self {
            tokens: RwLock::default(),
            dlqs: RwLock::default(),
            faults: Mutex::default(),
            clock_offset: AtomicI64::new(0),
            order: Order::default(),
            seeds: Mutex::new(Random::seeded(random::hash(&clock::now().to_be_bytes()))),
        }
    }
}

impl Simulator {
    /// One whose DLQs have this order unless they are given another.
    pub fn with_order(order: Order) -> Self {
        Self { order, ..Self::default() }
    }

    pub fn put_token(&self, name: String, new: NewToken) {
        let token = Token { dlq: new.dlq.unwrap_or_else(|| name.clone()), read_only: new.read_only };
        self.tokens.write().unwrap_or_else(PoisonError::into_inner).insert(name, token);
    }

    pub fn delete_token(&self, name: &str) {
        self.tokens.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    pub fn token(&self, name: &str) -> Option<Token> {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The DLQ of that name; an empty one when there was none.
    pub fn dlq(&self, name: &str) -> Arc<Mutex<Dlq>> {
        if let Some(dlq) = self.dlqs.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Arc::clone(dlq);
        }
        let seed = lock(&self.seeds).number();
        let mut dlqs = self.dlqs.write().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let mut dlq = Dlq::new(name, seed);
            dlq.set_service(Service { order: self.order, ..Service::default() });
            Arc::new(Mutex::new(dlq))
        };
        Arc::clone(dlqs.entry(name.to_owned()).or_insert_with(new))
    }

    /// Sets the switches of a DLQ, in place of all it had.
    pub fn set_service(&self, dlq: &str, new: NewService) -> Result<(), Refusal> {
        let service = new.into_service(self.order)?;
        lock(&self.dlq(dlq)).set_service(service);
        Ok(())
    }

    /// Forgets everything about a DLQ. Tokens for it stay.
    pub fn forget(&self, name: &str) {
        self.dlqs.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// What the service's clock says.
    pub fn now(&self) -> Millis {
        clock::now().saturating_add(self.clock_offset())
    }

    pub fn clock_offset(&self) -> Millis {
        self.clock_offset.load(Ordering::Relaxed)
    }

    pub fn set_clock(&self, clock: NewClock) {
        self.clock_offset.store(clock.offset_ms.into(), Ordering::Relaxed);
    }

    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    /// Takes over what a seed file holds.
    pub fn apply(&self, file: SeedFile) -> Result<(), Refusal> {
        file.faults.check()?;
        self.set_clock(file.clock);
        for (name, token) in file.tokens {
            self.put_token(name, token);
        }
        for (name, refail) in file.refail {
            lock(&self.dlq(&name)).set_refail(Some(refail));
        }
        for (name, lag) in file.lag {
            lock(&self.dlq(&name)).set_lag(Some(lag));
        }
        for (name, service) in file.service {
            self.set_service(&name, service)?;
        }
        for (name, seed) in file.entries {
            lock(&self.dlq(&name)).seed(seed, self.now())?;
        }
        self.faults().append(file.faults);
        Ok(())
    }
}

/// Locks, whatever became of an earlier holder: the state is only ever changed in whole steps.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{operation::Action, overrides::Overrides, query::Selection};

    #[test]
    fn a_dlq_can_have_its_order_from_the_start() {
        let file =
            r#"{ "service": { "a": { "order": "newestFirst" } }, "entries": { "b": { "entries": [] } } }"#;
        let simulator = Simulator::default();
        simulator.apply(serde_json::from_str(file).expect("a seed file")).expect("applicable");
        let order = |dlq| lock(&simulator.dlq(dlq)).service().order;
        assert_eq!([order("a"), order("b")], [Order::NewestFirst, Order::OldestFirst]);
        let impossible = r#"{ "service": { "a": { "mostPerCall": { "delete": 0 } } } }"#;
        let refused = simulator.apply(serde_json::from_str(impossible).expect("a seed file"));
        assert_eq!(refused.map_err(|refusal| refusal.status.as_u16()), Err(400));
    }

    #[test]
    fn a_dlq_can_lag_from_the_start() {
        let file =
            r#"{ "entries": { "a": { "entries": [{ "dlqId": "one" }] } }, "lag": { "a": { "ms": 50 } } }"#;
        let simulator = Simulator::default();
        simulator.apply(serde_json::from_str(file).expect("a seed file")).expect("applicable");
        let dlq = simulator.dlq("a");
        let mut dlq = lock(&dlq);
        let one = Selection::Ids(vec!["one".into()]);
        for seq in [1, 2] {
            let acted = dlq.act(Action::Delete, &one, &Overrides::default(), seq, simulator.now());
            assert_eq!(acted.map(|acted| acted.dlq_ids.len()), Ok(1));
        }
    }
}
