//! Starts the watches and the controllers, and ends them.

mod secrets;

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, ready};
use futures::{StreamExt, stream};
use jiff::SignedDuration;
use kube::Api;
use kube::runtime::controller::{self, Action, Config as ControllerConfig};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{Controller, WatchStreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::config::Config;
use crate::controller::api::persist::StatusWriter;
use crate::controller::connections::Connections;
use crate::controller::context::Context;
use crate::controller::error::Error;
use crate::controller::memory::Memory;
use crate::controller::metrics::Metrics;
use crate::controller::names::{Clock, PolicyRef};
use crate::controller::reconcile::release::{RELEASE_TIMEOUT, release, release_all};
use crate::controller::reconcile::{error_policy, reconcile};
use crate::controller::slots::Slots;
use crate::controller::tell::events::Events;
use crate::controller::watched::Watched;
use crate::controller::watched::head::PolicyHead;
use crate::runtime::leadership::Leadership;
use dlq_policy::attempt::{Interrupt, Settings};
use dlq_upstash::client::Transport;

/// How many policies are looked at at once: when thousands are due, the API server is not asked for all of them together.
const LOOKS: u16 = 32;
/// How long a watch lasts before it is renewed, in seconds: one that hangs is noticed soon after.
const WATCH_TIMEOUT: u32 = 60;
/// How long running looks may take to end once the process is to stop: a call's grace and the writes after it.
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

/// Looks after the policies until `stop`. `on_filled` is called once every watch has seen all its policies.
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
    let context = Arc::new(Context {
        status: StatusWriter::new(client.clone(), Arc::clone(&metrics)),
        events: Events::new(&client, clock, &config.pod_name),
        connections: Connections::new(client.clone(), transport, config.default_connection, &holder),
        client,
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
        looks: Slots::new(LOOKS, LOOKS),
        memory: Memory::default(),
        metrics,
    });
    let (filled, mut cache) = watch::channel(0_usize);
    let watches = scopes.len();
    tokio::spawn(async move {
        if cache.wait_for(|filled| *filled >= watches).await.is_ok() {
            on_filled();
        }
    });
    let controllers = join_all(
        scopes
            .into_iter()
            .map(|scope| control(scope, watcher_config.clone(), Arc::clone(&context), filled.clone())),
    );
    let ending = async {
        tokio::select! {
            _ = controllers => {}
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
    context.events.flush().await;
}

/// Watches and manages the policies of one namespace, or of all.
async fn control(
    scope: Option<String>,
    config: watcher::Config,
    context: Arc<Context>,
    filled: watch::Sender<usize>,
) {
    let client = context.client.clone();
    let api = scope
        .as_deref()
        .map_or_else(|| Api::all(client.clone()), |namespace| Api::namespaced(client.clone(), namespace));
    let (heads, writer) = reflector::store::<PolicyHead>();
    let (known, all) = (heads.clone(), heads.clone());
    let (granted, permits) = mpsc::unbounded_channel();
    let watched = Watched { heads: heads.clone(), granted };
    let permits = stream::unfold(permits, async |mut permits| Some((permits.recv().await?, permits)));
    context.metrics.watch(heads.clone());
    let stop = context.stop.clone();
    let waking = Arc::clone(&context);
    let mut is_filled = false;
    let (relisted, relists) = watch::channel(());
    let relists = stream::unfold(relists, async |mut relists| {
        relists.changed().await.ok()?;
        Some(((), relists))
    });
    let secrets = watcher::Config { timeout: config.timeout, ..watcher::Config::default() };
    let changed_secrets = secrets::changed(scope.as_deref(), secrets, Arc::clone(&context));
    let triggers = watcher(api, config)
        .default_backoff()
        .modify(move |head| {
            let before = known.get(&ObjectRef::from_obj(head)).map(|before| before.key());
            head.note_news(before.as_ref());
        })
        .reflect(writer)
        .inspect(move |event| match event {
            Ok(Event::Apply(head) | Event::InitApply(head)) => {
                waking.memory.wake(&ObjectRef::from_obj(head));
            }
            Ok(Event::Delete(head)) => {
                let policy = ObjectRef::from_obj(head);
                waking.memory.wake(&policy);
                let_go(&waking, policy);
            }
            // The store's own signal reaches only one of several who wait for it.
            Ok(Event::InitDone) => {
                // A watch that began anew tells of no deletion that came in between.
                let ours = |policy: &PolicyRef| scope.is_none() || policy.namespace == scope;
                for policy in waking.memory.remembered().into_iter().filter(ours) {
                    if all.get(&policy).is_none() {
                        let_go(&waking, policy);
                    }
                }
                if is_filled {
                    // What it told of on its first pages was not in the store yet, and may have been passed over.
                    relisted.send_replace(());
                } else {
                    is_filled = true;
                    filled.send_modify(|count| *count += 1);
                }
            }
            Ok(Event::Init) => {}
            Err(error) => warn!(%error, "the watch of policies failed; is the definition installed?"),
        })
        .applied_objects()
        // Errors end here: the controller would hold back all else for a while, a new term among it.
        .filter_map(|head| ready(head.ok().filter(PolicyHead::is_news).map(Ok)));
    Controller::for_stream(triggers, heads)
        .with_config(ControllerConfig::default())
        .reconcile_all_on(stream::select(context.leadership.gained(), relists))
        .reconcile_on(changed_secrets)
        .reconcile_on(permits)
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(move |head, context| reconcile(head, context, watched.clone()), error_policy, context)
        .for_each(async |outcome: Outcome| {
            if let Err(error) = outcome {
                // Reported where it happened; what is left is an object that went in the meantime.
                debug!(%error, "look failed");
            }
        })
        .await;
}

/// Forgets a policy that nobody looks at again, here at least: its labels may have changed. Its run is given back.
fn let_go(context: &Arc<Context>, policy: PolicyRef) {
    context.metrics.forget(&policy);
    if let Some(session) = context.memory.forget(&policy) {
        let context = Arc::clone(context);
        tokio::spawn(async move { release(&context, &policy, session, Interrupt::Gone).await });
    }
}

type Outcome = Result<(ObjectRef<PolicyHead>, Action), controller::Error<Error, watcher::Error>>;
