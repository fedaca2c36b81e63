//! Grants entries of shared connections' limits. What a day allows is reserved in the connection's status, block by block,
//! before anything of it is granted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex as AsyncMutex;
use tracing::{debug, warn};

use crate::controller::api::connection::{NotWritten, read, write};
use crate::controller::names::{lock, named};
use crate::controller::shared::SharedConnections;
use crate::controller::shared::object::ConnectionObject;
use crate::controller::tell::events::Events;
use dlq_crd::ConnectionStatus;
use dlq_policy::attempt::{FailedStep, Trouble};
use dlq_policy::budget::{Allowance, Budget, BudgetLimits, Grant, Reserved, Spent, Unused};
use dlq_policy::status::connection::budget_spent;
use dlq_policy::{ConnectionName, Invalid};

/// How often a write that others came before is tried again.
const MOST_TRIES: u32 = 5;

/// A connection, which another of the same name may replace.
type Key = (ConnectionName, String);

/// What this process may still do with each connection.
pub(crate) struct Budgets {
    client: kube::Client,
    shared: Arc<SharedConnections>,
    events: Arc<Events>,
    held: Mutex<HashMap<Key, Arc<AsyncMutex<Budget>>>>,
    /// Of which day, and of which limit, it was told that everything is spent.
    told: Mutex<HashMap<Key, (Date, u64)>>,
}

impl Budgets {
    pub(crate) fn new(client: kube::Client, shared: Arc<SharedConnections>, events: Arc<Events>) -> Self {
        Self { client, shared, events, held: Mutex::default(), told: Mutex::default() }
    }

    /// Grants up to so many entries of a connection. One that was deleted has no limits any more.
    pub(crate) async fn reserve(
        &self,
        name: &ConnectionName,
        wanted: u64,
        now: Timestamp,
    ) -> Result<Reserved, Trouble> {
        let mut is_fresh = false;
        for _ in 0..MOST_TRIES {
            let Some(object) = self.shared.object(name) else {
                return Ok(Reserved::Granted(Grant::unlimited(wanted)));
            };
            let held = self.budget(&object);
            // Others wait for the write that serves them too.
            let mut budget = held.lock().await;
            let Some(object) = self.shared.object(name).filter(|now| now.uid == object.uid) else { continue };
            let limits = limits(&object).map_err(|invalid| failed(&invalid.message))?;
            let spent = spent(&object, &limits)?;
            match budget.take(&limits, spent, wanted, now) {
                Allowance::Granted(grant) => return Ok(Reserved::Granted(grant)),
                Allowance::Later(at) => return Ok(Reserved::Later(at)),
                Allowance::Spent if is_fresh => {
                    self.tell_spent(&object, limits.counted_day(spent, now), limits.max_entries_per_day);
                    return Ok(Reserved::Spent);
                }
                // It ends the run: the watch may be behind somebody who raised the limit or corrected the count.
                Allowance::Spent => {
                    self.read(&object).await.map_err(|problem| failed(&problem))?;
                    is_fresh = true;
                }
                Allowance::Reserve(next) => match self.write(&object, next).await {
                    Ok(true) => budget.reserved(spent, next),
                    Ok(false) => {}
                    Err(problem) => return Err(failed(&problem)),
                },
            }
        }
        Err(failed("others write its status all the time"))
    }

    /// Tells, once for each limit of a day, that nothing is left of it.
    fn tell_spent(&self, object: &ConnectionObject, day: Date, limit: Option<u64>) {
        let Some(limit) = limit else { return };
        let key = (object.name.clone(), object.uid.clone());
        if lock(&self.told).insert(key, (day, limit)) != Some((day, limit)) {
            self.events.publish(&object.name, &object.uid, vec![budget_spent(day, limit)]);
        }
    }

    /// Takes back what was granted and not acted on, and counts what was acted on beyond that.
    pub(crate) async fn give_back(&self, name: &ConnectionName, unused: Unused, now: Timestamp) {
        let object = self.shared.object(name);
        if let Some((object, limits)) = object.and_then(|object| limits(&object).ok().map(|it| (object, it)))
        {
            self.budget(&object).lock().await.give_back(unused, &limits, now);
        }
    }

    /// Writes down what is left of blocks of which nobody took `for_so_long`.
    pub(crate) async fn settle(&self, now: Timestamp, for_so_long: SignedDuration) {
        lock(&self.told).retain(|(name, uid), _| self.shared.object(name).is_some_and(|it| it.uid == *uid));
        let all: Vec<_> = lock(&self.held).iter().map(|(key, it)| (key.clone(), Arc::clone(it))).collect();
        for ((name, uid), budget) in all {
            let Some(object) = self.shared.object(&name).filter(|object| object.uid == uid) else {
                lock(&self.held).remove(&(name, uid));
                continue;
            };
            let Ok(limits) = limits(&object) else { continue };
            let mut budget = budget.lock().await;
            let Ok(spent) = object.spent() else { continue };
            // Dropped in the middle of the write, it stays spent.
            let Some(settlement) = budget.settle(&limits, spent, for_so_long, now) else { continue };
            match self.write(&object, settlement.next).await {
                Ok(true) => {
                    budget.settled(&settlement);
                    debug!(connection = named(&name), "gave back what was left of a block");
                }
                Ok(false) => budget.not_settled(settlement),
                Err(problem) => {
                    warn!(connection = named(&name), problem, "cannot write the connection's budget");
                }
            }
        }
    }

    /// Forgets what is reserved: it stays spent.
    pub(crate) fn forget(&self) {
        lock(&self.held).clear();
    }

    fn budget(&self, object: &ConnectionObject) -> Arc<AsyncMutex<Budget>> {
        let key = (object.name.clone(), object.uid.clone());
        Arc::clone(lock(&self.held).entry(key).or_default())
    }

    /// Whether it was written. Where others came first, what they wrote is known then.
    async fn write(&self, object: &ConnectionObject, spent: Spent) -> Result<bool, String> {
        let next = ConnectionStatus {
            day: Some(spent.day.to_string()),
            entries_today: Some(i64::try_from(spent.entries).unwrap_or(i64::MAX)),
            ..object.status.clone()
        };
        match write(&self.client, object, &next).await {
            Ok(version) => {
                self.shared.wrote(object, next, version);
                Ok(true)
            }
            Err(NotWritten::Conflict) => {
                self.read(object).await?;
                Ok(false)
            }
            Err(NotWritten::Failed(problem)) => Err(problem),
        }
    }

    /// Has the connection known as it stands now.
    async fn read(&self, object: &ConnectionObject) -> Result<(), String> {
        let current = read(&self.client, &object.name).await?;
        let current = current.map(|current| self.shared.read(object.name.kind, current));
        self.shared.read_again(object, current);
        Ok(())
    }
}

fn limits(object: &ConnectionObject) -> Result<BudgetLimits, Invalid> {
    object.shared.as_ref().map(|shared| shared.budget.clone()).map_err(Clone::clone)
}

/// What the status says of the day; where no day is limited it says nothing that matters.
fn spent(object: &ConnectionObject, limits: &BudgetLimits) -> Result<Option<Spent>, Trouble> {
    if limits.max_entries_per_day.is_none() {
        return Ok(None);
    }
    object.spent().map_err(|unreadable| failed(&format!("{}: {unreadable}", object.name)))
}

fn failed(problem: &str) -> Trouble {
    let problem = format!("cannot reserve entries in the connection's status: {problem}");
    Trouble { step: FailedStep::WriteStatus, problem, is_of_everybody: false }
}
