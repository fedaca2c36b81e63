//! Starts the watches, and ends them.

mod connections;
mod housekeeping;
mod secrets;
mod users;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::{StreamExt, stream};
use jiff::SignedDuration;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::connections::Follow;
use self::housekeeping::Housekeeping;
use self::users::wake_users;
use crate::config::Config;
use crate::controller::api::persist::StatusWriter;
use crate::controller::budgets::Budgets;
use crate::controller::checks::{Checks, Sight};
use crate::controller::connections::Connections;
use crate::controller::context::Context;
use crate::controller::dispatch::{Trigger, dispatch};
use crate::controller::looks::Looks;
use crate::controller::memory::Memory;
use crate::controller::metrics::Metrics;
use crate::controller::names::{Clock, PolicyRef};
use crate::controller::reconcile::release::{RELEASE_TIMEOUT, release, release_all};
use crate::controller::shared::SharedConnections;
use crate::controller::slots::Slots;
use crate::controller::slots::rights::Rights;
use crate::controller::tell::events::Events;
use crate::controller::watched::Watched;
use crate::controller::watched::class::Class;
use crate::controller::watched::in_hand::InHand;
use crate::controller::watched::policy::WatchedPolicy;
use crate::runtime::leadership::Leadership;
use dlq_policy::attempt::{Interrupt, Settings};
use dlq_upstash::client::Transport;

/// How long a watch lasts before it is renewed, in seconds: one that hangs is noticed soon after.
const WATCH_TIMEOUT: u32 = 60;
/// How long turns may take to end once the process is to stop: a call's grace and the writes after it.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// What the process is made of, for the controller.
pub struct Process {
    /// The cluster.
    pub client: kube::Client,
    /// How calls of the API are sent.
    pub transport: Transport,
    /// The clock.
    pub clock: Clock,
    /// Whether it may act.
    pub leadership: Leadership,
    /// Its name, as the holder of runs: no other process has it, nor the one that ran in this pod before.
    pub holder: String,
    /// Where its work is counted.
    pub metrics: Arc<Metrics>,
}

/// Manages the policies until `stop`. `on_filled` is called once every watch has seen all its policies.
pub async fn run(
    process: Process,
    config: Config,
    on_filled: impl FnOnce() + Send + 'static,
    stop: CancellationToken,
) {
    let Process { client, transport, clock, leadership, holder, metrics } = process;
    info!(holder, namespaces = config.namespaces.join(","), selector = config.selector, "managing policies");
    let scopes: Vec<Option<String>> = if config.namespaces.is_empty() {
        vec![None]
    } else {
        config.namespaces.into_iter().map(Some).collect()
    };
    let watcher_config = watcher::Config {
        label_selector: config.selector,
        timeout: Some(WATCH_TIMEOUT),
        ..watcher::Config::default()
    };
    let sight = Sight {
        has_selector: watcher_config.label_selector.is_some(),
        has_namespaces: scopes.iter().any(Option::is_some),
    };
    let follow = Follow::new(client.clone(), &scopes, config.cluster_connections, watcher_config.timeout);
    let shared = Arc::new(SharedConnections::new(config.permissions.clone(), follow.lists()));
    metrics.watch_connections(Arc::clone(&shared));
    let rights = Arc::<Rights>::default();
    let events = Arc::new(Events::new(&client, clock, &config.pod_name, &rights));
    let context = Arc::new(Context {
        status: StatusWriter::new(client.clone(), Arc::clone(&metrics)),
        events: Arc::clone(&events),
        connections: Connections::new(client.clone(), transport, config.default_connection, &holder),
        shared: Arc::clone(&shared),
        budgets: Budgets::new(client.clone(), Arc::clone(&shared), events),
        looks: Looks::default(),
        client: client.clone(),
        permissions: config.permissions,
        clock,
        leadership,
        settings: Arc::new(Settings {
            holder,
            retry_limit: config.retry_limit,
            checkpoint_interval: SignedDuration::try_from(config.checkpoint_interval)
                .unwrap_or(SignedDuration::MAX),
        }),
        watch_secrets: config.watch_secrets,
        audit: config.audit,
        stop: stop.clone(),
        slots: Slots::new(config.max_concurrent_runs, config.max_runs_per_connection),
        rights,
        memory: Memory::default(),
        in_hand: InHand::default(),
        metrics,
    });
    let (filled, mut cache) = watch::channel(0_usize);
    let watches = scopes.len();
    tokio::spawn(async move {
        if cache.wait_for(|filled| *filled >= watches).await.is_ok() {
            on_filled();
        }
    });
    let follow = follow.run(Arc::clone(&shared));
    let (stores, writers): (Vec<_>, Vec<_>) = scopes.iter().map(|_| reflector::store()).unzip();
    let check = Checks::new(Arc::clone(&context), stores.clone(), sight).run();
    let controllers =
        join_all(scopes.into_iter().zip(stores.into_iter().zip(writers)).map(|(scope, store)| {
            control(scope, watcher_config.clone(), Arc::clone(&context), store, filled.clone())
        }));
    let ending = async {
        tokio::select! {
            _ = controllers => {}
            ((), ()) = async { tokio::join!(follow, check) } => {}
            () = async { stop.cancelled().await; tokio::time::sleep(STOP_TIMEOUT).await } => {
                warn!("some work did not end in time");
            }
        }
        stop.cancel();
    };
    // What waits is given back while calls under way have their grace.
    let waiting = async {
        stop.cancelled().await;
        let until = Instant::now() + RELEASE_TIMEOUT;
        release_all(&context, until).await;
        until
    };
    let ((), until) = tokio::join!(ending, waiting);
    release_all(&context, until).await;
    if context.leadership.term().is_some() {
        // What cannot be given back in time stays spent.
        let _ = timeout_at(until, context.budgets.settle((context.clock)(), SignedDuration::ZERO)).await;
    }
    context.events.flush().await;
}

/// Watches and manages the policies of one namespace, or of all.
async fn control(
    scope: Option<String>,
    config: watcher::Config,
    context: Arc<Context>,
    (store, writer): (Store<WatchedPolicy>, Writer<WatchedPolicy>),
    filled: watch::Sender<usize>,
) {
    let client = context.client.clone();
    let api = scope
        .as_deref()
        .map_or_else(|| Api::all(client.clone()), |namespace| Api::namespaced(client.clone(), namespace));
    context.metrics.watch(store.clone());
    let (again, permits) = mpsc::unbounded_channel();
    let first = Arc::new(Notify::new());
    let watched = Watched {
        store: store.clone(),
        again,
        round: Arc::clone(&first),
        shared: Arc::clone(&context.shared),
    };
    let secrets = watcher::Config { timeout: config.timeout, ..watcher::Config::default() };
    let due = |policy| vec![(policy, Class::Due)];
    let secrets = secrets::changed(scope.as_deref(), secrets, Arc::clone(&context)).map(due);
    let permits =
        stream::unfold(permits, async |mut permits| Some((permits.recv().await?, permits))).map(due);
    let (triggers, turns) = mpsc::unbounded_channel();
    let turns = stream::unfold(turns, async |mut turns| Some((turns.recv().await?, turns)));
    let begun = stream::unfold(Arc::clone(&first), async |begin| {
        begin.notified().await;
        Some(((), begin))
    });
    let rounds = stream::select(context.leadership.gained(), begun.boxed());
    let housekeeping = Housekeeping {
        selector: config.label_selector.clone(),
        watched: watched.clone(),
        context: Arc::clone(&context),
        triggers,
    };
    let (known, keeper) = (store.clone(), Arc::clone(&context));
    let mut news = News { context: Arc::clone(&context), scope, store, filled: Some((filled, first)) };
    let policies = watcher(api, config)
        .default_backoff()
        .modify(move |watched| shown(watched, &known, &keeper))
        .reflect(writer)
        .map(move |event| news.of(event));
    let triggers = stream::select_all([policies.boxed(), turns.boxed(), secrets.boxed(), permits.boxed()]);
    tokio::select! {
        () = dispatch(triggers.boxed(), Arc::clone(&context), watched.clone()) => {}
        () = wake_users(context, watched) => {}
        () = housekeeping.rounds(rounds) => {}
    }
}

/// Takes in what the watch shows, and keeps the whole object where a turn is to begin at once.
fn shown(watched: &mut WatchedPolicy, known: &Store<WatchedPolicy>, context: &Context) {
    let policy = ObjectRef::from_obj(watched);
    let before = known.get(&policy).map(|before| before.key());
    watched.note_news(before.as_ref());
    let object = watched.take_object();
    // A turn under way may be about to write; where this process does not lead, another one writes.
    let is_new = context.in_hand.is_shown(&policy, watched.meta().resource_version.as_deref())
        && !context.memory.is_working(&policy)
        && context.leadership.term().is_some();
    let is_wanted = is_new && watched.is_news() && watched.class((context.clock)()) == Class::Due;
    if let Some(object) = object.filter(|_| is_wanted) {
        context.in_hand.put(policy, &object);
    }
}

/// What events of a watch lead to.
struct News {
    context: Arc<Context>,
    scope: Option<String>,
    store: Store<WatchedPolicy>,
    /// Notified once, when the watch has seen all its policies.
    filled: Option<(watch::Sender<usize>, Arc<Notify>)>,
}

impl News {
    fn of(&mut self, event: watcher::Result<Event<WatchedPolicy>>) -> Vec<Trigger> {
        let memory = &self.context.memory;
        match event {
            Ok(Event::Apply(watched)) => {
                let policy = ObjectRef::from_obj(&watched);
                memory.wake(&policy);
                let is_of_interest = watched.is_news() || self.is_left_behind(&policy, &watched);
                return is_of_interest.then_some((policy, Class::Due)).into_iter().collect();
            }
            Ok(Event::Delete(watched)) => {
                let policy = ObjectRef::from_obj(&watched);
                memory.wake(&policy);
                let_go(&self.context, policy);
            }
            Ok(Event::InitDone) => {
                // A watch that began anew tells of no deletion that came in between.
                let ours = |policy: &PolicyRef| self.scope.is_none() || policy.namespace == self.scope;
                for policy in memory.remembered().into_iter().filter(ours) {
                    memory.wake(&policy);
                    if self.store.get(&policy).is_none() {
                        let_go(&self.context, policy);
                    }
                }
                let Some((filled, first)) = self.filled.take() else { return self.changed() };
                filled.send_modify(|count| *count += 1);
                first.notify_one();
            }
            Ok(Event::Init | Event::InitApply(_)) => {}
            Err(error) => warn!(%error, "the watch of policies failed; is the definition installed?"),
        }
        Vec::new()
    }

    /// The policies that changed before the watch began anew.
    fn changed(&self) -> Vec<Trigger> {
        let all = self.store.state().into_iter();
        let all = all.map(|watched| (ObjectRef::from_obj(&*watched), watched));
        let changed =
            all.filter(|(policy, watched)| watched.is_news() || self.is_left_behind(policy, watched));
        changed.map(|(policy, _)| (policy, Class::Due)).collect()
    }

    /// Whether this process leads and the policy has a run that it does not know: the last leader's claim came late. A run that
    /// waits for an approval is nobody's.
    fn is_left_behind(&self, policy: &PolicyRef, watched: &WatchedPolicy) -> bool {
        let Context { leadership, memory, in_hand, .. } = &*self.context;
        watched.summary().is_running
            && !watched.summary().awaits_approval
            && leadership.term().is_some()
            && !memory.is_working(policy)
            && !memory.holds_run(policy)
            && in_hand.is_shown(policy, watched.meta().resource_version.as_deref())
    }
}

/// Forgets a policy that nobody looks at again, here at least: its labels may have changed. Its run is given back.
fn let_go(context: &Arc<Context>, policy: PolicyRef) {
    context.metrics.forget(&policy);
    context.in_hand.forget(&policy);
    if let Some(session) = context.memory.forget(&policy) {
        let context = Arc::clone(context);
        tokio::spawn(async move { release(&context, &policy, session, Interrupt::Gone).await });
    }
}
