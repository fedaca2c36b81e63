//! Tries the tokens of shared connections, and writes their statuses.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use kube::runtime::reflector::Store;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::controller::api::connection::{NotWritten, write};
use crate::controller::connections::Connected;
use crate::controller::context::Context;
use crate::controller::names::{lock, named};
use crate::controller::shared::object::ConnectionObject;
use crate::controller::watched::policy::WatchedPolicy;
use crate::runtime::leadership::Term;
use dlq_crd::{ConnectionKind, Reason, TokenRefusal};
use dlq_policy::plan::{Freshness, LOOK_AGAIN};
use dlq_policy::status::connection::{
    Checked, Users, connection, events, holds_for, is_invalid, is_ready, next_check, works_since,
};
use dlq_policy::{ConnectionName, Invalid};
use dlq_upstash::types::{Call, Criteria, Detail};

/// How often statuses are looked over: their policies are counted, and tokens that are due are tried.
const ROUND: Duration = Duration::from_secs(5);
/// How soon after a change that happens: more may follow.
const SETTLE: Duration = Duration::from_millis(200);
/// How often the Secret of a token that does not work is read again.
const READ_AGAIN: Duration = LOOK_AGAIN.unsigned_abs();
/// What is left of a block of a budget is given back once nobody took of it for so long.
const IDLE: SignedDuration = SignedDuration::from_secs(10);
/// How soon another token is noticed: what is refused so shortly before is refused with that one.
const NOTICED_WITHIN: SignedDuration = SignedDuration::from_secs(5);
/// How many connections are tried at once.
const AT_ONCE: usize = 4;

/// What this installation sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight {
    /// Only policies with some labels.
    pub(crate) has_selector: bool,
    /// Only policies in some namespaces.
    pub(crate) has_namespaces: bool,
}

impl Sight {
    /// What the policies tell that this process sees. None where the connection is another installation's to look at.
    fn users(self, name: &ConnectionName, seen: Option<&Seen>) -> Option<Users> {
        let is_cluster_wide = name.kind == ConnectionKind::ClusterDlqConnection;
        let misses_some = self.has_selector || (self.has_namespaces && is_cluster_wide);
        let sees_all = !misses_some;
        let Seen { policies, is_read_only } = match seen {
            Some(seen) => *seen,
            None if sees_all => Seen::default(),
            None => return None,
        };
        Some(Users {
            policies: sees_all.then_some(policies),
            is_read_only: (sees_all || is_read_only).then_some(is_read_only),
        })
    }
}

/// What was seen of the policies of a connection.
#[derive(Clone, Copy, Default)]
struct Seen {
    policies: i64,
    is_read_only: bool,
}

/// A connection's token, as it was last tried here.
struct Tried {
    /// When its Secret was last read, and when Upstash was last asked.
    read: Instant,
    asked: Instant,
    /// Of the connection, and of its Secret.
    generation: i64,
    secret: String,
    /// What came of it.
    checked: Option<Checked>,
}

impl Tried {
    /// What came of the same a short while ago. It was not written, or the question would not come up.
    fn answer(&self, object: &ConnectionObject, secret: &str) -> Option<Checked> {
        let checked = self.checked.as_ref()?;
        let is_same = self.generation == object.generation && self.secret == secret;
        // The status, whose times are whole seconds, is due a moment earlier than this ends.
        let holds_for = holds_for(checked).unsigned_abs().saturating_sub(ROUND);
        (is_same && self.asked.elapsed() < holds_for).then(|| checked.clone())
    }
}

/// Since when the token is in use that a connection has now: what policies were refused before tells nothing of it.
struct InUse {
    uid: String,
    since: Timestamp,
}

impl InUse {
    /// As the process finds it: what was refused before the status said that the token works is known to its writer.
    fn found(object: &ConnectionObject) -> Self {
        Self { uid: object.uid.clone(), since: works_since(&object.status).unwrap_or(Timestamp::MIN) }
    }
}

/// Keeps the statuses of shared connections current.
pub(crate) struct Checks {
    context: Arc<Context>,
    policies: Vec<Store<WatchedPolicy>>,
    sight: Sight,
    tried: Mutex<HashMap<ConnectionName, Tried>>,
    in_use: Mutex<HashMap<ConnectionName, InUse>>,
    /// Why the status of a connection cannot be written, which is logged once.
    unwritten: Mutex<HashMap<ConnectionName, String>>,
}

impl Checks {
    /// `policies`: all that this process watches.
    pub(crate) fn new(context: Arc<Context>, policies: Vec<Store<WatchedPolicy>>, sight: Sight) -> Self {
        Self {
            context,
            policies,
            sight,
            tried: Mutex::default(),
            in_use: Mutex::default(),
            unwritten: Mutex::default(),
        }
    }

    /// Works while this process leads, until it is to stop.
    pub(crate) async fn run(self) {
        let stop = &self.context.stop;
        // A count of what is not listed yet would be written as the truth.
        for policies in &self.policies {
            if !matches!(stop.run_until_cancelled(policies.wait_until_ready()).await, Some(Ok(()))) {
                return;
            }
        }
        // A write that is cancelled may still take effect: the watch shows it.
        stop.run_until_cancelled(async { tokio::join!(self.rounds(), self.settle()) }).await;
    }

    async fn rounds(&self) {
        loop {
            self.pause().await;
            if let Some(term) = self.context.leadership.term() {
                self.round(&term).await;
            }
        }
    }

    /// Gives back what is left of blocks, however long an account takes to answer meanwhile.
    async fn settle(&self) {
        loop {
            sleep(ROUND).await;
            if self.context.leadership.term().is_some() {
                self.context.budgets.settle(self.now(), IDLE).await;
            } else {
                // What it held is another leader's to grant.
                self.context.budgets.forget();
            }
        }
    }

    async fn pause(&self) {
        tokio::select! {
            () = self.context.shared.changed.notified() => sleep(SETTLE).await,
            () = sleep(ROUND) => {}
        }
    }

    async fn round(&self, term: &Term) {
        let all = self.context.shared.all();
        let names: HashSet<_> = all.iter().map(|object| &object.name).collect();
        lock(&self.tried).retain(|name, _| names.contains(name));
        lock(&self.unwritten).retain(|name, _| names.contains(name));
        if all.is_empty() {
            return;
        }
        let since = self.in_use(&all, &names);
        let mut seen = HashMap::<ConnectionName, Seen>::new();
        for policy in self.policies.iter().flat_map(Store::state) {
            if let Some(name) = policy.connection() {
                let since = since.get(&name).copied().unwrap_or(Timestamp::MIN);
                let seen = seen.entry(name).or_default();
                seen.policies += 1;
                seen.is_read_only |= policy.summary().refusal.as_deref().is_some_and(|(refusal, at)| {
                    *refusal == TokenRefusal::ReadOnlyToken && at.is_none_or(|at| at >= since)
                });
            }
        }
        let looks = all.into_iter().filter_map(|object| {
            let users = self.sight.users(&object.name, seen.get(&object.name))?;
            Some(self.look(term, object.name, users))
        });
        stream::iter(looks).buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    /// Since when each connection has the token that it has now.
    fn in_use(
        &self,
        all: &[ConnectionObject],
        names: &HashSet<&ConnectionName>,
    ) -> HashMap<ConnectionName, Timestamp> {
        let mut in_use = lock(&self.in_use);
        in_use.retain(|name, _| names.contains(name));
        for object in all {
            let known = in_use.get(&object.name);
            if known.is_none_or(|known| known.uid != object.uid) {
                in_use.insert(object.name.clone(), InUse::found(object));
            }
        }
        in_use.iter().map(|(name, in_use)| (name.clone(), in_use.since)).collect()
    }

    /// Looks at one connection, and writes what differs.
    async fn look(&self, term: &Term, name: ConnectionName, mut users: Users) {
        // Others had their turn since the round began.
        let Some(object) = self.context.shared.object(&name) else { return };
        let unreadable = unreadable(&object);
        // A count that can be read again is no edit of the spec.
        let is_corrected = unreadable.is_none() && object.shared.is_ok() && is_invalid(&object.status);
        let is_due = is_corrected || next_check(&object.status, object.generation) <= self.now();
        let is_asked = is_due || self.may_have_changed(&object);
        let checked = match unreadable {
            Some(invalid) => Some(Checked::Invalid(invalid)),
            None if is_asked => self.ask(term, &object, is_due, &mut users).await,
            None => None,
        };
        if is_due && checked.is_none() || term.is_over() {
            return;
        }
        let next = connection(&object.status, object.generation, checked.as_ref(), users, self.now());
        if next == object.status {
            return;
        }
        let connection = named(&name);
        match write(&self.context.client, &object, &next).await {
            Ok(written) => {
                lock(&self.unwritten).remove(&name);
                info!(connection, "wrote the connection's status");
                self.context.events.publish(&name, &object.uid, events(&object.status, &next));
                self.context.shared.wrote(&object, next, written);
            }
            // Another process or an edit came first; the watch shows it.
            Err(NotWritten::Conflict) => {}
            Err(NotWritten::Failed(problem)) => {
                let before = lock(&self.unwritten).insert(name.clone(), problem.clone());
                if before.as_ref() != Some(&problem) {
                    warn!(connection, problem, "cannot write the connection's status");
                }
            }
        }
    }

    /// Whether the Secret of a token that does not work is to be read again.
    fn may_have_changed(&self, object: &ConnectionObject) -> bool {
        let tried = lock(&self.tried);
        !is_ready(&object.status)
            && tried.get(&object.name).is_none_or(|tried| tried.read.elapsed() >= READ_AGAIN)
    }

    /// Tries the token by listing one entry; none where nothing was found out. Where the connection `is_due` for no other
    /// reason, another version of its Secret is one.
    async fn ask(
        &self,
        term: &Term,
        object: &ConnectionObject,
        is_due: bool,
        users: &mut Users,
    ) -> Option<Checked> {
        let Context { connections, .. } = &*self.context;
        let account = match &object.shared {
            Ok(shared) => &shared.account,
            Err(invalid) => return Some(Checked::Invalid(invalid.clone())),
        };
        let is_edited = object.status.observed_generation != Some(object.generation);
        if !is_edited && let Some(Err(missing)) = connections.known(account) {
            return Some(Checked::Invalid(missing));
        }
        let Connected { client, secret, .. } = match connections.look(account, Freshness::New).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(missing)) => return Some(Checked::Invalid(missing)),
            Err(trouble) => {
                warn!(connection = named(&object.name), problem = %trouble, "cannot read the connection's Secret");
                return None;
            }
        };
        let generation = object.generation;
        let now = Instant::now();
        let mut tried = Tried { read: now, asked: now, generation, secret, checked: None };
        let mut is_new = is_edited && object.status.observed_generation > Some(0);
        if let Some(before) = lock(&self.tried).get_mut(&object.name) {
            if let Some(answer) = before.answer(object, &tried.secret).filter(|_| is_due) {
                return Some(answer);
            }
            is_new |= before.secret != tried.secret;
            if !is_due && !is_new {
                before.read = now;
                return None;
            }
        }
        if is_new {
            // What policies were refused with says nothing of this one.
            users.is_read_only = users.is_read_only.map(|_| false);
            let since = self.now().saturating_sub(NOTICED_WITHIN).unwrap_or(Timestamp::MIN);
            lock(&self.in_use).insert(object.name.clone(), InUse { uid: object.uid.clone(), since });
        }
        let call =
            Call::List { criteria: Criteria::default(), cursor: None, count: 1, detail: Detail::default() };
        let time = term.time_for_a_call();
        if time.is_zero() {
            return None;
        }
        tried.checked = match timeout(time, client.send(&call, self.now())).await {
            Ok(Ok(answer)) => Some(Checked::Asked(answer.map(drop))),
            Ok(Err(_)) | Err(_) => None,
        };
        let checked = tried.checked.clone();
        lock(&self.tried).insert(object.name.clone(), tried);
        checked
    }

    fn now(&self) -> Timestamp {
        (self.context.clock)()
    }
}

/// A connection whose day cannot be counted grants nothing.
fn unreadable(object: &ConnectionObject) -> Option<Invalid> {
    let shared = object.shared.as_ref().ok()?;
    shared.budget.max_entries_per_day?;
    let unreadable = object.spent().err()?;
    Some(Invalid::new(Reason::InvalidSpec, &format!("{}: {unreadable}", object.name)))
}
